//! Files that are no good objects: what is said about them, and what to do.

use skep_obj::{Error, ErrorKind, Object};

use crate::fixture::{bytes, object};

fn refused(bytes: &[u8]) -> Error {
    Object::read(bytes, "dir/bad.bpf.o").expect_err("it is no good object")
}

/// Checks kind, words of the message, and words of the advice.
fn check(bytes: &[u8], kind: ErrorKind, message: &str, advice: &str) {
    let error = refused(bytes);
    assert_eq!(error.kind(), kind, "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with("dir/bad.bpf.o: ") && text.contains(message), "{text}");
    assert!(error.advice().is_some_and(|hint| hint.contains(advice)), "{error:?}");
}

/// The object with bytes replaced.
fn patched(at: usize, with: &[u8]) -> Vec<u8> {
    let mut bytes = bytes("programs");
    bytes[at..at + with.len()].copy_from_slice(with);
    bytes
}

#[test]
fn other_files_are_told_apart() {
    use ErrorKind::{Corrupt, NotAnObject};
    check(b"", NotAnObject, "the file is empty", "compile");
    check(b"#!/bin/sh\n", NotAnObject, "not an ELF file", "clang -target bpf");
    check(b"BC\xc0\xde....", NotAnObject, "not an ELF file", "bitcode");
    check(b"!<arch>\n", NotAnObject, "not an ELF file", "archive");
    check(&patched(4, &[1]), NotAnObject, "32-bit", "clang -target bpf");
    check(&patched(5, &[2]), NotAnObject, "big-endian", "bpfel");
    check(&patched(18, &62u16.to_le_bytes()), NotAnObject, "x86-64", "clang -target bpf");
    check(&patched(16, &2u16.to_le_bytes()), NotAnObject, "not a relocatable object", "clang -target bpf");
    check(b"\x7fELF", Corrupt, "ends after 4 bytes", "truncated");
}

#[test]
fn truncation_is_noticed_everywhere() {
    let whole = bytes("programs");
    for len in 0..whole.len() {
        let error = refused(&whole[..len]);
        let expected = if len < 4 { ErrorKind::NotAnObject } else { ErrorKind::Corrupt };
        assert_eq!(error.kind(), expected, "{len} bytes: {error:?}");
    }
}

#[test]
fn programs_are_required_where_they_are_to_run() {
    object("programs").require_programs().expect("it has some");
    let types_alone = "int x;";
    assert!(Object::read(types_alone.as_bytes(), "x.c").is_err());
    let mut without = object("programs");
    without.programs.clear();
    let error = without.require_programs().expect_err("it has none");
    assert!(error.to_string().contains("no section holds programs"), "{error}");
    assert!(error.advice().is_some_and(|hint| hint.contains("SEC(")), "{error:?}");
}

/// File offset and size of a section.
fn section(bytes: &[u8], wanted: &str) -> (usize, usize) {
    use object::{Object as _, ObjectSection as _};
    let file = object::File::parse(bytes).expect("an ELF file");
    let section = file.section_by_name(wanted).expect(wanted);
    let (start, size) = section.file_range().expect("bytes in the file");
    (start as usize, size as usize)
}

#[test]
fn a_relocation_to_nowhere_names_the_instruction() {
    let mut bytes = bytes("programs");
    let name = "tracepoint/syscalls/sys_enter_openat";
    let (code, _) = section(&bytes, name);
    // The first instruction becomes one that cannot refer to anything.
    let relocs = section(&bytes, &format!(".rel{name}")).0;
    let at = u64::from_le_bytes(bytes[relocs..relocs + 8].try_into().expect("eight bytes")) as usize;
    bytes[code + at] = 0xb7;
    let text = refused(&bytes).to_string();
    let place = format!("section `{name}`: `on_open`: insn {} (", at / 8);
    assert!(text.contains(&place) && text.contains("programs.bpf.c:"), "{text}");
    assert!(text.contains("a relocation for opcode 0xb7, which takes none"), "{text}");

    let mut bytes = crate::fixture::bytes("programs");
    bytes[relocs + 12..relocs + 16].copy_from_slice(&u32::MAX.to_le_bytes());
    let text = refused(&bytes).to_string();
    assert!(text.contains(name) && text.contains("names symbol 4294967295"), "{text}");
}

#[test]
fn a_call_to_nowhere_names_the_instruction() {
    let mut bytes = bytes("programs");
    let (text_start, size) = section(&bytes, ".text");
    let mut calls =
        (text_start..text_start + size).step_by(8).filter(|at| bytes[*at] == 0x85 && bytes[*at + 1] == 0x10);
    let call = calls.next_back().expect("a call in .text");
    bytes[call + 4..call + 8].copy_from_slice(&10_000i32.to_le_bytes());
    let text = refused(&bytes).to_string();
    assert!(text.contains("section `.text`: `") && text.contains("programs.bpf.c:"), "{text}");
    assert!(text.contains("where no function begins"), "{text}");
}
