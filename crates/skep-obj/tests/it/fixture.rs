//! The compiled test objects, and whether they are current.

use std::path::{Path, PathBuf};
use std::process::Command;

use skep_obj::{Linked, Object, Target};

pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

pub(crate) fn bytes(name: &str) -> Vec<u8> {
    let path = directory().join(format!("{name}.bpf.o"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub(crate) fn object(name: &str) -> Object {
    let file = format!("{name}.bpf.o");
    Object::read(&bytes(name), &file).unwrap_or_else(|e| panic!("{e:?}"))
}

pub(crate) fn link(object: &Object, target: &Target) -> Linked {
    object.link(target).unwrap_or_else(|e| panic!("{e:?}"))
}

/// Names of all test objects.
pub(crate) fn names() -> Vec<String> {
    let files = std::fs::read_dir(directory()).expect("the directory of test objects");
    let names =
        files.filter_map(|file| file.ok()?.file_name().to_str()?.strip_suffix(".bpf.c").map(str::to_owned));
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

/// Compiles every source anew into a directory of its own; with `SKEP_BLESS` set, the objects beside the
/// sources are replaced. Compilers differ in detail, so what is compared is what we read: programs, maps and
/// variables.
#[test]
fn objects_are_current() {
    let Some(clang) = clang() else { return };
    let scratch = std::env::temp_dir().join(format!("skep-obj-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).expect("a scratch directory");
    for name in names() {
        let fresh = scratch.join(format!("{name}.bpf.o"));
        compile(clang, &name, &fresh);
        bless(&fresh, &name);
        let compiled = std::fs::read(&fresh).expect("what clang wrote");
        let compiled =
            Object::read(&compiled, &format!("{name}.bpf.o")).expect("what clang wrote is an object");
        assert_eq!(
            summary(&compiled),
            summary(&object(&name)),
            "{name}: `SKEP_BLESS=1 cargo test` compiles it anew"
        );
    }
    std::fs::remove_dir_all(&scratch).expect("the scratch directory");
}

/// The compiler, if there is one.
pub(crate) fn clang() -> Option<&'static str> {
    let found = ["clang-19", "clang", "clang-14"].into_iter().find(|name| runs(name));
    if found.is_none() {
        println!("skipped: no clang; install the package `clang`");
    }
    found
}

/// Replaces a test object by a fresh one, if that is wished.
pub(crate) fn bless(fresh: &Path, name: &str) {
    if std::env::var_os("SKEP_BLESS").is_some() {
        // DWARF is half of an object, and nobody reads it.
        let stripped = Command::new("llvm-strip-19").arg("-g").arg(fresh).status();
        assert!(stripped.is_ok_and(|status| status.success()), "llvm-strip-19 {name}");
        std::fs::copy(fresh, directory().join(format!("{name}.bpf.o")))
            .expect("the object beside its source");
    }
}

/// Compiles without a trace of where; a line `// clang: FLAGS` in the source adds flags.
pub(crate) fn compile(clang: &str, name: &str, object: &Path) {
    let source = format!("{name}.bpf.c");
    let text = std::fs::read_to_string(directory().join(&source)).expect("the source");
    let flags = text.lines().find_map(|line| line.strip_prefix("// clang: ")).unwrap_or_default();
    let status = Command::new(clang)
        .args([
            "-target",
            "bpf",
            "-O2",
            "-g",
            "-mcpu=v3",
            "-Wall",
            "-Wno-unused",
            "-fdebug-compilation-dir=.",
        ])
        .args(flags.split_whitespace())
        .args(["-c", &source, "-o"])
        .arg(object)
        .current_dir(directory())
        .status();
    assert!(status.is_ok_and(|status| status.success()), "{clang} {name}");
}

pub(crate) fn runs(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

pub(crate) fn summary(object: &Object) -> Vec<String> {
    let programs = object.programs.iter().map(|p| format!("program {} {}", p.section, p.name));
    let maps = object.maps.iter().map(|m| format!("map {} {:?} {}", m.name, m.map_type, m.value_size));
    let variables = object.variables.iter().map(|v| format!("variable {} {} {}", v.section, v.name, v.size));
    programs.chain(maps).chain(variables).collect()
}
