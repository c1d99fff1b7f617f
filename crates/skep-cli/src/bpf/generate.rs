//! `skep gen`: source text and objects made of objects.

use std::fs;
use std::sync::Arc;

use skep::btf::core::Minimal;
use skep::btf::ext::Ext;
use skep::object::Object;
use skep::object::linker::{self, Input};
use skep_skel::c::light;

use super::btf::dump;
use super::failure::{Failure, Outcome};
use super::options::Language;
use super::shell::Shell;
use super::words::Words;

/// `gen object OUTPUT INPUT…`
pub(crate) fn object(_: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let output = words.need("the file to write")?;
    let mut files = vec![words.need("an object")?];
    files.extend(std::iter::from_fn(|| words.next()));
    let contents = files.iter().map(|file| read(file)).collect::<Outcome<Vec<_>>>()?;
    let inputs: Vec<Input<'_>> =
        files.iter().zip(&contents).map(|(file, bytes)| Input { file, bytes }).collect();
    let linked = linker::combine(&inputs).map_err(|e| Failure::from(e).with_errno(EINVAL))?;
    write(output, &linked)
}

/// `gen min_core_btf INPUT OUTPUT OBJECT…`
pub(crate) fn min_core_btf(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let input = words.need("the types")?;
    let output = words.need("the file to write")?;
    let mut files = vec![words.need("an object")?];
    files.extend(std::iter::from_fn(|| words.next()));
    if shell.options.base_btf.is_some() {
        return Err(Failure::new("types that continue others (`-B`) cannot be made smaller")
            .hint("give the file that has all types, such as /sys/kernel/btf/vmlinux")
            .with_errno(EINVAL));
    }
    let target = [Arc::new(dump::of_file(shell, input)?)];
    let mut minimal = Minimal::new(&target);
    for file in files {
        let bytes = read(file)?;
        let section = skep::object::elf_section(&bytes, ".BTF.ext")
            .map_err(|e| Failure::from(e.file(file)).with_errno(dump::NOT_ELF))?;
        let section = section.ok_or_else(|| {
            Failure::new(format!("`{file}` has no section `.BTF.ext`"))
                .hint("compile with `-g`, and strip with `llvm-strip -g`, which keeps types")
                .with_errno(EINVAL)
        })?;
        let local = dump::of_bytes(file, bytes.clone())?;
        let added = Ext::parse(Arc::new(section.to_vec())).and_then(|ext| minimal.add(&local, &ext));
        added.map_err(|e| Failure::from(e).context(format_args!("`{file}`")).with_errno(EINVAL))?;
    }
    write(output, &minimal.finish()?.finish())
}

fn read(file: &str) -> Outcome<Vec<u8>> {
    fs::read(file).map_err(|e| Failure::file(file, &e).with_errno(e.raw_os_error().unwrap_or(EINVAL)))
}

fn write(file: &str, bytes: &[u8]) -> Outcome {
    fs::write(file, bytes).map_err(|e| Failure::file(file, &e).with_errno(e.raw_os_error().unwrap_or(EINVAL)))
}

/// `gen skeleton FILE [name NAME] [--lang rust|c] [-L]`; a light one is always C.
pub(crate) fn skeleton(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    if shell.options.light {
        return light_skeleton(shell, words);
    }
    let language = shell.options.language.unwrap_or_default();
    let source = Source::read(words, language)?;
    let Source { object, bytes, name } = &source;
    let text = match language {
        Language::Rust => skep_skel::rust::skeleton(object, bytes, name)?,
        Language::C => skep_skel::c::skeleton(object, bytes, name)?,
    };
    shell.json.bytes(text.as_bytes());
    Ok(())
}

/// Writes a skeleton that does without libbpf.
fn light_skeleton(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    if shell.options.language == Some(Language::Rust) {
        return Err(Failure::new("light skeletons are C").hint("leave `--lang rust` or `-L` out"));
    }
    let Source { object, name, .. } = Source::read(words, Language::C)?;
    let linked = object.link(&light::target(skep::host::target(&object)))?;
    shell.json.bytes(light::skeleton(&object, &linked, &name)?.as_bytes());
    Ok(())
}

/// `gen subskeleton FILE [name NAME]`: always C, for libbpf.
pub(crate) fn subskeleton(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let Source { object, name, .. } = Source::read(words, Language::C)?;
    shell.json.bytes(skep_skel::c::sub::subskeleton(&object, &name)?.as_bytes());
    Ok(())
}

/// What a skeleton is made of.
struct Source {
    object: Object,
    bytes: Vec<u8>,
    name: String,
}

impl Source {
    fn read(words: &mut Words<'_>, language: Language) -> Outcome<Self> {
        let file = words.need("the object")?;
        let given = if words.keyword("name") { Some(words.need("the name")?.to_owned()) } else { None };
        words.end()?;
        let name = given.unwrap_or_else(|| match language {
            Language::Rust => skep_skel::rust::name_of_file(file),
            Language::C => skep_skel::name_of_file(file),
        });
        if skep_skel::identifier(&name) != name.trim_start_matches("r#") {
            return Err(
                Failure::new(format!("`{name}` is no name in a source")).hint("`name NAME` gives another")
            );
        }
        let bytes = fs::read(file).map_err(|e| Failure::file(file, &e))?;
        if !bytes.starts_with(b"\x7fELF") {
            let hint = "name an object compiled with `clang -target bpf -c`";
            return Err(Failure::new(format!("`{file}` is no ELF file"))
                .hint(hint)
                .with_errno(dump::NOT_ELF));
        }
        Ok(Self { object: Object::read(&bytes, file)?, bytes, name })
    }
}

const EINVAL: i32 = 22;
