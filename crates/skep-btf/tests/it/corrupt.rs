//! Bytes that somebody has changed: whatever they are, reading ends, with an answer or an error.

use std::sync::Arc;
use std::time::{Duration, Instant};

use skep_btf::core::{Relo, Resolver};
use skep_btf::ext::Ext;
use skep_btf::{Btf, Builder, ErrorKind, Kind, Result, Shape, Type, TypeId};

use crate::relos::{data, fixture};

/// A small deterministic generator (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }

    /// Changes a few bytes, mostly to values that are interesting in this format, and sometimes cuts the end off.
    fn damage(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.next(4) {
            let at = self.next(bytes.len());
            bytes[at] = match self.next(4) {
                0 => self.next(256) as u8,
                1 => bytes[at] ^ 1 << self.next(8),
                2 => [0, 1, 0x7f, 0xff][self.next(4)],
                _ => bytes[self.next(bytes.len())],
            };
        }
        if self.next(8) == 0 {
            bytes.truncate(self.next(bytes.len()));
        }
        bytes
    }
}

/// Reads everything there is; answers how many types.
fn read_all(btf: &Btf) -> usize {
    let mut count = 0;
    for ty in btf.types() {
        let Ok(ty) = ty else { break };
        count += 1;
        let _ = read_type(btf, &ty);
    }
    assert!(count < btf.len());
    count
}

fn read_type(btf: &Btf, ty: &Type<'_>) -> Result<()> {
    let _ = (ty.describe(), btf.size_of(ty.id), btf.resolve(ty.id), btf.find(ty.name, ty.kind()));
    match ty.shape {
        Shape::Struct(composite) | Shape::Union(composite) => {
            composite.members.iter().try_for_each(|m| m.map(drop))
        }
        Shape::Enum(enumeration) | Shape::Enum64(enumeration) => {
            enumeration.values.iter().try_for_each(|value| value.map(drop))
        }
        Shape::FuncProto(proto) => proto.params.iter().try_for_each(|param| param.map(drop)),
        Shape::Datasec(section) => section.vars.iter().try_for_each(|var| var.map(drop)),
        _ => Ok(()),
    }
}

/// Resolves all relocations of `ext`.
fn resolve_all(local: &Btf, ext: &Ext, target: &Arc<Btf>) {
    let targets = [target.clone()];
    let mut resolver = Resolver::new(local, &targets);
    for record in ext.core_relos().flat_map(|group| group.records()) {
        let _ = Relo::read(local, &record).map(|relo| resolver.resolve(&relo));
    }
}

#[test]
fn damaged_bytes_never_panic_or_hang() {
    let (local, ext, target) = fixture();
    let (local_bytes, ext_bytes, target_bytes) =
        (data("relos.bpf.btf"), data("relos.bpf.btf_ext"), data("target.btf"));
    let mut random = Random(0x5eed_5eed_5eed_5eed);
    let mut parsed = 0;
    for _ in 0..1500 {
        let start = Instant::now();
        if let Ok(btf) = Btf::parse(Arc::new(random.damage(&local_bytes))) {
            parsed += 1;
            read_all(&btf);
            resolve_all(&btf, &ext, &target);
        }
        if let Ok(btf) = Btf::parse(Arc::new(random.damage(&target_bytes))) {
            let btf = Arc::new(btf);
            resolve_all(&local, &ext, &btf);
            if let Ok(split) = Btf::parse_split(Arc::new(random.damage(&target_bytes)), btf) {
                read_all(&split);
            }
        }
        if let Ok(ext) = Ext::parse(Arc::new(random.damage(&ext_bytes))) {
            resolve_all(&local, &ext, &target);
        }
        assert!(start.elapsed() < Duration::from_secs(10));
    }
    assert!(parsed > 500, "most damage leaves the header valid, {parsed}");
}

/// Does parsing fail, and say so?
fn check(bytes: &[u8], kind: ErrorKind, expected: &str) {
    let error = Btf::parse(Arc::new(bytes.to_vec())).unwrap_err();
    assert_eq!(error.kind(), kind);
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn headers_are_checked() {
    let good = data("target.btf");
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    check(&[], ErrorKind::Malformed, "the header needs 8 bytes, but there are 0");
    check(&good[..20], ErrorKind::Malformed, "the header needs 24 bytes, but there are 20");
    check(b"\x7fELF\x02\x01\x01\0", ErrorKind::Malformed, "not .BTF: magic `0x457f` instead of `0xeb9f`");
    check(&with(2, 9), ErrorKind::Unsupported, "version 9");
    check(&with(4, 8), ErrorKind::Malformed, "the header says it has 8 bytes");
    check(&good[..good.len() - 1], ErrorKind::Malformed, "the string section ends at offset");
    check(&with(good.len() - 1, b'x'), ErrorKind::Malformed, "does not end with NUL");
    check(&with(15, 0xff), ErrorKind::Malformed, "the type section ends at offset");
}

#[test]
fn a_type_that_is_wrong_is_named_when_it_is_read() {
    let mut b = Builder::new();
    let int = b.add_int("int", 4, Default::default());
    let ptr = b.add_ptr(int);
    let bytes = b.finish();
    // The second record begins 16 bytes after the first; its kind is the last byte of its second word.
    let kind_at = 24 + 16 + 7;
    let with_kind = |kind| {
        let mut bytes = bytes.clone();
        bytes[kind_at] = kind;
        Btf::parse(Arc::new(bytes)).unwrap()
    };
    let btf = with_kind(99);
    assert_eq!(btf.name(int).unwrap(), "int", "what comes before can be read");
    let error = btf.type_by_id(ptr).unwrap_err();
    assert_eq!(error.to_string(), "type 2: the record at offset 16 has unknown kind 99");
    assert_eq!(btf.types().filter(Result::is_err).count(), 1);
    let error = with_kind(Kind::Array.code()).type_by_id(ptr).unwrap_err();
    assert!(error.to_string().starts_with("type 2: the record at offset 16 has 0 elements"), "{error}");
}

#[test]
fn circles_end() {
    let mut b = Builder::new();
    let first = b.reserve();
    let second = b.add_typedef("second", first);
    b.set(first, skep_btf::Def::Const(second));
    let mut nested = b.add_struct("s", 1 << 31, &[]);
    for _ in 0..8 {
        nested = b.add_array(nested, TypeId::VOID, u32::MAX);
    }
    let btf = b.finish_btf(None).unwrap();
    assert!(btf.resolve(first).unwrap_err().to_string().contains("perhaps in a circle"));
    assert!(btf.size_of(second).is_err());
    assert!(btf.size_of(nested).unwrap_err().to_string().contains("larger than an address space"));
    assert!(btf.size_of(TypeId::VOID).unwrap_err().to_string().contains("`void` has no size"));
}

#[test]
fn kinds_of_newer_kernels_are_skipped_by_layout() {
    // An int, a type of kind 20 with two elements of eight bytes after a fixed word, and a pointer.
    let words: &[u32] = &[
        0x0001_eb9f,
        32, // header with a place for the layout
        0,
        56,
        144,
        1, // types, strings
        56,
        88, // layout
        0,
        1 << 24,
        4,
        32, // int
        0,
        20 << 24 | 2,
        0,
        7,
        1,
        2,
        3,
        4, // the unknown one, eight words
    ];
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.extend([0u32, 2 << 24, 1].iter().flat_map(|word| word.to_le_bytes()));
    // The pointer makes 60 bytes of types.
    bytes[12..16].copy_from_slice(&60u32.to_le_bytes());
    bytes[24..28].copy_from_slice(&60u32.to_le_bytes());
    let layout_len = 21 * 4u32;
    bytes[28..32].copy_from_slice(&layout_len.to_le_bytes());
    bytes[16..20].copy_from_slice(&(60 + layout_len).to_le_bytes());
    let mut layout = vec![0u8; layout_len as usize];
    layout[80] = 4;
    layout[81] = 8;
    bytes.extend(layout);
    bytes.push(0);
    let btf = Btf::parse(Arc::new(bytes)).unwrap();
    let kinds: Vec<_> = btf.types().map(|ty| ty.unwrap().kind()).collect();
    assert_eq!(kinds, [Kind::Int, Kind::Other(20), Kind::Ptr]);
}
