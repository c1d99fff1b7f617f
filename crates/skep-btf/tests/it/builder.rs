//! What is built reads back the same, in both byte orders, standalone and split.

use std::sync::Arc;

use skep_btf::{
    Btf, Builder, ByteOrder, Def, EnumValue, IntEncoding, Kind, Linkage, Member, Param, SecVar, Shape, TypeId,
};

const SIGNED: IntEncoding = IntEncoding { signed: true, char: false, bool: false };

fn member(name: &str, ty: TypeId, bit_offset: u32) -> Member<'_> {
    Member { name, ty, bit_offset, bitfield_bits: 0 }
}

/// One type of every kind; returns them in order of their ids.
fn one_of_each(order: ByteOrder) -> Btf {
    let mut b = Builder::with_order(order);
    let int = b.add_int("int", 4, SIGNED);
    let ptr = b.add_ptr(int);
    let array = b.add_array(int, int, 16);
    let flag = Member { name: "flag", ty: int, bit_offset: 35, bitfield_bits: 3 };
    b.add_struct("s", 80, &[member("a", int, 0), flag, member("buf", array, 64), member("next", ptr, 576)]);
    b.add_union("u", 8, &[member("x", int, 0), member("p", ptr, 0)]);
    b.add_enum("e", true, &[EnumValue { name: "MINUS", value: -1 }, EnumValue { name: "ONE", value: 1 }]);
    b.add_fwd("later", true);
    let typedef = b.add_typedef("int_t", int);
    let volatile = b.add_volatile(typedef);
    let constant = b.add_const(volatile);
    b.add_restrict(constant);
    let proto = b.next_id();
    let func = b.add_func("f", TypeId(proto.0 + 1), Linkage::Global);
    b.add_func_proto(int, &[Param { name: "arg", ty: ptr }, Param { name: "", ty: TypeId::VOID }]);
    let var = b.add_var("v", int, Linkage::Static);
    b.add_datasec(".data", 4, &[SecVar { ty: var, offset: 0, bytes: 4 }]);
    b.add_float("double", 8);
    b.add_decl_tag("tagged", func, Some(0));
    b.add_type_tag("user", int);
    b.add_enum64("e64", false, &[EnumValue { name: "BIG", value: u64::MAX.into() }]);
    b.finish_btf(None).unwrap()
}

#[test]
fn every_kind_reads_back() {
    for order in [ByteOrder::Little, ByteOrder::Big] {
        let btf = one_of_each(order);
        assert_eq!(btf.byte_order(), order);
        assert_eq!(btf.len(), 20);
        let mut codes: Vec<u8> = btf.types().map(|ty| ty.unwrap().kind().code()).collect();
        codes.sort_unstable();
        assert_eq!(codes, (1..20).collect::<Vec<_>>());

        let s = btf.find("s", Kind::Struct).unwrap();
        assert_eq!(btf.size_of(s).unwrap(), 80);
        let members = btf.type_by_id(s).unwrap().composite().unwrap().members;
        assert_eq!(members.len(), 4);
        let flag = members.get(1).unwrap();
        assert_eq!((flag.name, flag.bit_offset, flag.bitfield_bits), ("flag", 35, 3));
        assert_eq!(btf.size_of(members.get(2).unwrap().ty).unwrap(), 64);
        assert_eq!(btf.size_of(members.get(3).unwrap().ty).unwrap(), 8);
        assert!(members.get(4).is_err());

        let value = |name, kind, nth| {
            let ty = btf.type_by_id(btf.find(name, kind).unwrap()).unwrap();
            ty.enumeration().unwrap().values.get(nth).unwrap()
        };
        assert_eq!(value("e", Kind::Enum, 0), EnumValue { name: "MINUS", value: -1 });
        assert_eq!(value("e64", Kind::Enum64, 0).value, i128::from(u64::MAX));

        let Shape::Func { proto, linkage: Linkage::Global } =
            btf.type_by_id(btf.find("f", Kind::Func).unwrap()).unwrap().shape
        else {
            panic!("not a function");
        };
        let Shape::FuncProto(proto) = btf.type_by_id(proto).unwrap().shape else { panic!("not a signature") };
        let params: Vec<_> = proto.params.iter().map(|param| param.unwrap().name).collect();
        assert_eq!(params, ["arg", ""]);
        assert_eq!(btf.resolve(TypeId(11)).unwrap().name, "int");
        assert_eq!(btf.strip_modifiers(TypeId(11)).unwrap().name, "int_t");
    }
}

#[test]
fn split_continues_its_base() {
    let base = Arc::new(one_of_each(ByteOrder::NATIVE));
    let mut b = Builder::split(&base);
    assert_eq!(b.next_id(), TypeId(20));
    let int = base.find("int", Kind::Int).unwrap();
    b.add_struct("module", 4, &[member("a", int, 0)]);
    let own_s = b.add_struct("s", 1, &[]);
    let split = b.finish_btf(Some(base.clone())).unwrap();

    assert_eq!(split.len(), 22);
    let module = split.find("module", Kind::Struct).unwrap();
    assert_eq!(module, TypeId(20));
    assert_eq!(split.name(module).unwrap(), "module");
    assert_eq!(split.type_by_id(module).unwrap().composite().unwrap().members.get(0).unwrap().name, "a");
    assert_eq!(split.find("int", Kind::Int), Some(int), "the base's types are found");
    assert_eq!(split.find_all("s"), [base.find("s", Kind::Struct).unwrap(), own_s]);
    assert_eq!(split.find_own("s", Kind::Struct), Some(own_s));
    assert_eq!(split.find_own("int", Kind::Int), None);
    assert_eq!(base.find("module", Kind::Struct), None);
    assert_eq!(split.types().map(|ty| ty.unwrap().id.0).collect::<Vec<_>>(), (1..22).collect::<Vec<_>>());
    assert!(split.type_by_id(TypeId(22)).unwrap_err().to_string().contains("type 22 does not exist"));
}

#[test]
fn a_copy_keeps_ids_and_can_change() {
    let original = one_of_each(ByteOrder::NATIVE);
    let mut b = Builder::from_btf(&original).unwrap();
    let datasec = original.find(".data", Kind::Datasec).unwrap();
    b.set(datasec, Def::Datasec { name: ".bss", bytes: 8, vars: &[] });
    let later = b.reserve();
    let ptr = b.add_ptr(later);
    b.set(later, Def::Struct { name: "node", bytes: 8, members: &[member("next", ptr, 0)] });
    let copy = b.finish_btf(None).unwrap();

    assert_eq!(copy.find(".bss", Kind::Datasec), Some(datasec));
    assert_eq!(copy.find("s", Kind::Struct), original.find("s", Kind::Struct));
    assert_eq!(copy.find("node", Kind::Struct), Some(later));
    assert_eq!(copy.len(), original.len() + 2);
}
