//! The relocations of an object that clang compiled, against types that clang compiled.
//!
//! `BLESS=1 cargo test -p skep-btf` writes the expected answers anew. All but the last were compared with libbpf's; libbpf
//! takes the last for negative and refuses to load.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use skep_btf::Btf;
use skep_btf::core::{Relo, Resolver};
use skep_btf::ext::Ext;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// The bytes of a file beside the tests.
pub(crate) fn data(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap()
}

/// The object's types and relocations, and the types they are resolved against.
pub(crate) fn fixture() -> (Btf, Ext, Arc<Btf>) {
    let btf = |name| Btf::parse(Arc::new(data(name))).unwrap();
    let ext = Ext::parse(Arc::new(data("relos.bpf.btf_ext"))).unwrap();
    (btf("relos.bpf.btf"), ext, Arc::new(btf("target.btf")))
}

/// What every relocation answers, one a line.
fn answers() -> String {
    let (local, ext, target) = fixture();
    let targets = [target];
    let mut resolver = Resolver::new(&local, &targets);
    let mut out = String::new();
    for group in ext.core_relos() {
        writeln!(out, "{}", group.section(&local).unwrap()).unwrap();
        for record in group.records() {
            let relo = Relo::read(&local, &record).unwrap();
            let answer = resolver.resolve(&relo).unwrap();
            let new = answer.new.map_or_else(|| "none".to_owned(), |new| new.to_string());
            write!(out, "    {:>3} {}: {} -> {new}", relo.insn_off / 8, relo.describe(&local), answer.orig)
                .unwrap();
            if let Some(access) = answer.access.filter(|access| access.orig_bytes != access.new_bytes) {
                write!(out, ", {} -> {} bytes", access.orig_bytes, access.new_bytes).unwrap();
            }
            if let Some(missing) = answer.missing {
                write!(out, " ({missing})").unwrap();
            }
            out.push('\n');
        }
    }
    out
}

#[test]
fn an_object_is_answered_as_libbpf_does() {
    let answers = answers();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path("relos.expected"), &answers).unwrap();
    }
    assert_eq!(answers, String::from_utf8(data("relos.expected")).unwrap());
}

#[test]
fn functions_and_lines_name_their_sources() {
    let (btf, ext, _) = fixture();
    let functions: Vec<_> = ext
        .func_info()
        .flat_map(|group| group.records().map(|func| btf.name(func.ty).unwrap()).collect::<Vec<_>>())
        .collect();
    assert_eq!(functions, ["fields", "loads", "types", "values"]);
    for group in ext.line_info() {
        for line in group.records() {
            assert!(btf.string(line.file_off).unwrap().ends_with("relos.bpf.c"));
            assert!(line.line() > 0);
            btf.string(line.text_off).unwrap();
        }
    }
}
