//! `cargo xtask objects`: compiles the BPF sources of the repository to the objects beside them.
//!
//! The objects are in the repository so that running the tools takes no clang. They come out the same bytes on every
//! machine: one version of clang, the bundled `vmlinux.h`, no path of the machine, no debug information but BTF. A test
//! checks that they are what their sources say.

use std::fs;
use std::path::{Path, PathBuf};

use object::build;
use skep_cc::{Arch, Clang, Options, Vmlinux};

use crate::root;

/// The major version of clang that makes the objects: Debian 12's, the oldest that writes all the BTF they use.
const CLANG_MAJOR: u32 = 14;

/// Directories whose `*.bpf.c` have objects beside them.
const DIRECTORIES: &[&str] =
    &["tools", "bench", "crates/skep-cli/tests/rejections", "crates/skep-kernel/tests/objects"];

/// Writes every object.
pub(crate) fn objects(_args: &[String]) -> Result<(), String> {
    let clang = Clang::find_major(CLANG_MAJOR).ok_or_else(|| {
        format!("the objects are made by clang {CLANG_MAJOR}; install the package `clang-{CLANG_MAJOR}`")
    })?;
    for source in sources()? {
        let object = source.with_extension("o");
        let bytes = compile(&clang, &source)?;
        fs::write(root().join(&object), &bytes)
            .map_err(|e| format!("cannot write `{}`: {e}", object.display()))?;
        println!("{}: {} bytes, {}", object.display(), bytes.len(), clang.version());
    }
    Ok(())
}

/// The sources, relative to the root, in order.
fn sources() -> Result<Vec<PathBuf>, String> {
    let mut sources = Vec::new();
    for directory in DIRECTORIES {
        let entries =
            fs::read_dir(root().join(directory)).map_err(|e| format!("cannot read `{directory}`: {e}"))?;
        let names = entries.flatten().map(|entry| Path::new(directory).join(entry.file_name()));
        sources.extend(names.filter(|path| path.to_string_lossy().ends_with(".bpf.c")));
    }
    sources.sort();
    Ok(sources)
}

/// Compiles a source the way that does not depend on the machine.
fn compile(clang: &Clang, source: &Path) -> Result<Vec<u8>, String> {
    let options = Options {
        vmlinux: Vmlinux::Bundled,
        arch: Some(Arch::X86),
        source_root: Some(root()),
        ..Options::default()
    };
    let compiled = skep_cc::compile_with(clang, source, &options).map_err(|e| e.to_string())?;
    if !compiled.warnings.is_empty() {
        return Err(format!("clang warns of `{}`:\n{}", source.display(), compiled.warnings));
    }
    strip(&compiled.object).map_err(|e| format!("cannot strip the object of `{}`: {e}", source.display()))
}

/// Takes DWARF out of an object; BTF stays.
fn strip(object: &[u8]) -> build::Result<Vec<u8>> {
    let mut builder = build::elf::Builder::read(object)?;
    for section in &mut builder.sections {
        section.delete = section.name.starts_with(b".debug_") || section.name.starts_with(b".rel.debug_");
    }
    builder.delete_orphans();
    // LLVM keeps names of sections and of symbols in one table; the builder wants two.
    let names = builder.sections.add();
    names.name = b".shstrtab"[..].into();
    names.sh_type = object::elf::SHT_STRTAB;
    names.data = build::elf::SectionData::SectionString;
    let mut bytes = Vec::new();
    builder.write(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

    use super::*;

    #[test]
    fn objects_are_what_their_sources_say() {
        let exact = Clang::find_major(CLANG_MAJOR);
        let Some(clang) = exact.clone().or_else(|| Clang::find().ok()) else {
            println!("skipped: no clang is installed");
            return;
        };
        for source in sources().expect("the directories are in the repository") {
            let object = root().join(source.with_extension("o"));
            let committed = fs::read(&object).unwrap_or_else(|e| panic!("`{}`: {e}", object.display()));
            let current = compile(&clang, &source).unwrap_or_else(|e| panic!("{e}"));
            let same =
                if exact.is_some() { committed == current } else { shape(&committed) == shape(&current) };
            assert!(same, "`{}` is not up to date: run `cargo xtask objects`", object.display());
        }
        if exact.is_none() {
            println!(
                "skipped: comparing instructions takes clang {CLANG_MAJOR}, this is `{}`",
                clang.version()
            );
        }
    }

    /// What does not depend on the version of the compiler: sections, and the symbols in each.
    fn shape(object: &[u8]) -> Vec<String> {
        let elf = object::File::parse(object).expect("an ELF object");
        let sections = elf.sections().map(|section| section.name().expect("a name").to_owned());
        let symbols = elf.symbols().filter(object::ObjectSymbol::is_global);
        let symbols = symbols.map(|symbol| {
            let section = symbol.section_index().and_then(|index| elf.section_by_index(index).ok());
            let place = section.map(|section| section.name().expect("a name").to_owned());
            format!("{} in {}", symbol.name().expect("a name"), place.unwrap_or_default())
        });
        let mut shape: Vec<String> = sections.chain(symbols).collect();
        shape.sort();
        shape
    }
}
