//! What a kernel supplies: configuration values, symbols, variables, functions; and what happens where it
//! does not.

use std::collections::HashMap;
use std::sync::Arc;

use skep_btf::{Btf, Builder, IntEncoding, Kind, Linkage, Member, Param, Shape, TypeId};
use skep_obj::link::Module;
use skep_obj::{ErrorKind, ExternKind, Linked, LinkedProgram, Target};

use crate::fixture::{link, object};

fn param(ty: TypeId) -> Param<'static> {
    Param { name: "p", ty }
}

/// A kernel with the function and the variable that the object wants, and, in a module, the optional
/// function.
fn kernel() -> Target {
    let mut types = Builder::new();
    let int = types.add_int("int", 4, IntEncoding { signed: true, ..IntEncoding::default() });
    let task = types.add_struct("task_struct", 8, &[]);
    let pointer = types.add_ptr(task);
    let release = types.add_func_proto(TypeId::VOID, &[param(pointer)]);
    types.add_func("bpf_release", release, Linkage::Static);
    let counters =
        types.add_struct("per_cpu", 4, &[Member { name: "count", ty: int, bit_offset: 0, bitfield_bits: 0 }]);
    types.add_var("counters", counters, Linkage::Global);
    let btf = Arc::new(types.finish_btf(None).expect("types of a kernel"));

    let mut module = Builder::split(&btf);
    let optional = module.add_func_proto(int, &[param(int)]);
    module.add_func("bpf_optional", optional, Linkage::Static);
    let module = module.finish_btf(Some(btf.clone())).expect("types of a module");

    let config = "CONFIG_BPF=y\nCONFIG_MODULE=m\n# CONFIG_NO is not set\nCONFIG_NAME=\"skep\"\n\
                  CONFIG_WIDE=0xffffffffffffffff\nCONFIG_HZ=250\n";
    Target {
        btf: Some(btf),
        modules: vec![Module { name: "mod".into(), btf: Arc::new(module) }],
        kconfig: Some(Target::parse_kconfig(config)),
        ksyms: HashMap::from([("init_task".into(), 0xffff_ffff_8200_0000)]),
        kernel_version: 0x61200,
        ..Target::default()
    }
}

fn program<'l>(linked: &'l Linked, name: &str) -> &'l LinkedProgram {
    linked.programs.iter().find(|p| p.name == name).expect(name)
}

fn id(btf: &Btf, name: &str, kind: Kind) -> i32 {
    btf.find(name, kind).expect(name).0 as i32
}

#[test]
fn configuration_values_are_in_their_map() {
    let object = object("externs");
    let wanted: Vec<_> = object.wanted_kconfig().collect();
    assert_eq!(wanted, ["CONFIG_WIDE", "CONFIG_HZ", "CONFIG_MODULE", "CONFIG_BPF", "CONFIG_NAME"]);
    let linked = link(&object, &kernel());
    let map = linked.maps.iter().find(|m| m.name == "externs.kconfig").expect("the map");
    let mut expected = Vec::new();
    expected.extend(u64::MAX.to_le_bytes());
    expected.extend([250u32, 2, 0x61200].iter().flat_map(|word| word.to_le_bytes()));
    expected.push(1);
    expected.extend(b"skep\0\0\0\0");
    assert_eq!(map.data, expected);
    assert!(map.is_frozen());
    assert_eq!(program(&linked, "config").result, Ok(()));
}

#[test]
fn values_that_do_not_fit_fail_the_program_that_wants_them() {
    let mut target = kernel();
    let refused = |target: &Target| {
        let linked = link(&object("externs"), target);
        assert_eq!(program(&linked, "functions").result, Ok(()));
        let error = program(&linked, "config").result.clone().expect_err("the value does not fit");
        assert_eq!(error.kind(), ErrorKind::Unresolved);
        error.to_string()
    };
    for (name, value) in
        [("CONFIG_HZ", "5000000000"), ("CONFIG_BPF", "m"), ("CONFIG_NAME", "7"), ("CONFIG_MODULE", "x")]
    {
        let before = target.kconfig.as_mut().and_then(|c| c.insert(name.into(), value.into()));
        let error = refused(&target);
        assert!(error.contains(name) && error.contains(value), "{error}");
        target.kconfig.as_mut().and_then(|c| c.insert(name.into(), before.expect("it was set")));
    }
}

#[test]
fn weak_values_may_be_missing_and_strong_ones_not() {
    let linked = link(&object("externs"), &Target { kconfig: None, ..kernel() });
    assert_eq!(program(&linked, "config").result, Ok(()));
    let map = linked.maps.iter().find(|m| m.name == "externs.kconfig").expect("the map");
    assert_eq!(map.data.iter().filter(|b| **b != 0).count(), 2, "the version alone is known");
}

#[test]
fn symbols_and_variables_become_addresses_and_types() {
    let target = kernel();
    let linked = link(&object("externs"), &target);
    let program = program(&linked, "symbols");
    assert_eq!(program.result, Ok(()));
    let loads: Vec<_> = program
        .insns
        .windows(2)
        .filter(|pair| pair[0].code == 0x18)
        .map(|pair| (pair[0].src().0, pair[0].imm, pair[1].imm))
        .collect();
    let btf = target.btf.as_ref().expect("types");
    let counters = id(btf, "counters", Kind::Var);
    assert!(loads.contains(&(0, 0x8200_0000_u32 as i32, -1)), "init_task: {loads:x?}");
    assert!(loads.contains(&(3, counters, 0)), "counters: {loads:x?}");
    assert_eq!(loads.iter().filter(|load| **load == (0, 0, 0)).count(), 2, "the missing ones: {loads:x?}");
}

#[test]
fn functions_are_called_by_type_and_module() {
    let target = kernel();
    let linked = link(&object("externs"), &target);
    let program = program(&linked, "functions");
    assert_eq!(program.result, Ok(()));
    let calls: Vec<_> =
        program.insns.iter().filter(|i| i.code == 0x85).map(|i| (i.src().0, i.imm, i.off)).collect();
    let release = id(target.btf.as_ref().expect("types"), "bpf_release", Kind::Func);
    let optional = id(&target.modules[0].btf, "bpf_optional", Kind::Func);
    assert_eq!(calls, [(2, release, 0), (2, optional, 1)]);
    assert_eq!(linked.kfunc_modules, [0]);
    // Its address is tested for being there.
    let address = program.module_refs.first().expect("an instruction that wants the module's descriptor");
    assert_eq!((program.insns[address.insn].imm, address.module), (optional, 0));
}

#[test]
fn missing_functions_are_poisoned_or_fail_their_program_alone() {
    let linked = link(&object("externs"), &Target { modules: Vec::new(), ..kernel() });
    let functions = program(&linked, "functions");
    assert_eq!(functions.result, Ok(()));
    let poison = functions.poisoned.first().expect("the optional function is missing");
    assert!(poison.reason.contains("bpf_optional"), "{}", poison.reason);
    assert_eq!(functions.insns[poison.insn].imm / 1_000_000, 2002);
    assert_eq!(functions.poison(poison.insn), Some(poison.reason.as_str()));

    let error = program(&linked, "broken").result.clone().expect_err("a function is missing");
    assert_eq!(error.kind(), ErrorKind::Unresolved);
    let text = error.to_string();
    assert!(text.contains("externs.bpf.o: section `raw_tp/sys_enter`: `broken`: insn 1 ("), "{text}");
    assert!(text.contains("return bpf_missing(2);") && text.contains("no function `bpf_missing`"), "{text}");
}

#[test]
fn types_to_load_define_what_was_external() {
    let linked = link(&object("externs"), &kernel());
    let btf = linked.btf.expect("types");
    for ty in btf.types() {
        let ty = ty.expect("types that can be read");
        if let Shape::Var { linkage, .. } | Shape::Func { linkage, .. } = ty.shape {
            assert_ne!(linkage, Linkage::Extern, "{}", ty.describe());
        }
        if let Shape::Datasec(section) = ty.shape {
            for entry in section.vars.iter() {
                let entry = entry.expect("an entry that can be read");
                let kind = btf.type_by_id(entry.ty).expect("its type").kind();
                assert_eq!(kind, Kind::Var, "{}", ty.describe());
                assert!(entry.offset + entry.bytes <= section.bytes, "{}", ty.describe());
            }
        }
    }
}

#[test]
fn symbols_can_be_left_to_the_loader() {
    let object = object("externs");
    let deferred = link(&object, &Target { deferred: true, ..kernel() });
    let known = link(&object, &kernel());
    for (left, filled) in deferred.programs.iter().zip(&known.programs) {
        assert_eq!(left.result, Ok(()), "{}", left.name);
        assert!(filled.deferred.externs.is_empty(), "{}", filled.name);
        assert_eq!(
            left.deferred.externs.is_empty(),
            left.name == "config",
            "values of the configuration are no symbols"
        );
        for reference in &left.deferred.externs {
            let ext = &deferred.externs[reference.ext];
            let insn = left.insns[reference.insn];
            let pseudo = match ext.kind {
                ExternKind::Kfunc(_) if insn.code == 0x85 => 2,
                ExternKind::Ksym => 0,
                _ => 3,
            };
            assert_eq!((insn.src().0, insn.imm), (pseudo, 0), "{}: {}", left.name, ext.name);
        }
    }
}
