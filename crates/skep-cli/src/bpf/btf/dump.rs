//! `btf dump`: types as records or as C.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use skep::btf::{Btf, TypeId, cdump};
use skep::host;

use super::super::failure::{EINVAL, ENOENT, Failure, Outcome};
use super::super::select;
use super::super::shell::Shell;
use super::super::words::Words;
use super::raw::Raw;
use super::show;

/// First bytes of BTF, in either byte order.
const MAGIC: [[u8; 2]; 2] = [[0x9f, 0xeb], [0xeb, 0x9f]];
const KERNEL_DIRECTORY: &str = "/sys/kernel/btf/";

/// Prints the types of an object, a program, a map or a file.
pub(crate) fn dump(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let (btf, mut roots) = source(shell, words)?;
    let mut as_c = false;
    while !words.is_empty() {
        if words.keyword("format") {
            as_c = format(words)?;
        } else if words.keyword("root_id") {
            roots.push(TypeId(words.number("the type's id").map_err(|e| e.with_errno(EINVAL))?));
        } else {
            words.end().map_err(|e| e.with_errno(EINVAL))?;
        }
    }
    if let Some(&root) = roots.iter().find(|root| root.0 as usize >= btf.len()) {
        return Err(Failure::new(format!("there is no type {root}")));
    }
    let is_json = shell.is_json();
    match (as_c, is_json) {
        (true, true) => {
            Err(Failure::new("C is not JSON").hint("leave `-j` or `format c` out").with_errno(EOPNOTSUPP))
        }
        (true, false) => write_c(shell, &btf, &roots),
        (false, _) => Raw { json: &mut shell.json, is_json, btf: &btf }.write(&roots),
    }
}

fn format(words: &mut Words<'_>) -> Outcome<bool> {
    match words.need("the format").map_err(|e| e.with_errno(EINVAL))? {
        "c" => Ok(true),
        "raw" => Ok(false),
        other => Err(Failure::new(format!("there is no format `{other}`"))
            .hint("there are `raw` and `c`")
            .with_errno(EINVAL)),
    }
}

fn write_c(shell: &mut Shell, btf: &Btf, roots: &[TypeId]) -> Outcome {
    let text = if roots.is_empty() {
        cdump::header(btf, &cdump::Options::default())?
    } else {
        cdump::selection(btf, roots)?
    };
    shell.json.bytes(text.as_bytes());
    Ok(())
}

/// The types that are meant, and which of them.
fn source(shell: &mut Shell, words: &mut Words<'_>) -> Outcome<(Btf, Vec<TypeId>)> {
    if words.keyword("id") {
        let id = words.number("the id")?;
        return Ok((show::open(shell, id)?, Vec::new()));
    }
    if words.keyword("map") {
        return of_map(shell, words);
    }
    if words.keyword("prog") {
        let info = select::prog(shell, words)?.info;
        return match info.btf_id {
            0 => Err(Failure::new("the program has no types").with_errno(ENOENT)),
            id => Ok((show::open(shell, id)?, Vec::new())),
        };
    }
    if words.keyword("file") {
        let file = words.need("the file")?;
        return Ok((of_file(shell, file)?, Vec::new()));
    }
    let failure = match words.peek() {
        Some(word) => Failure::new(format!("`{word}` has no types")),
        None => Failure::new("say whose types"),
    };
    Err(failure.hint("`id ID`, `map MAP`, `prog PROG` or `file FILE`"))
}

fn of_map(shell: &mut Shell, words: &mut Words<'_>) -> Outcome<(Btf, Vec<TypeId>)> {
    let info = select::map(shell, words)?.info;
    let (key, value) = (TypeId(info.btf_key_type_id), TypeId(info.btf_value_type_id));
    let roots = if words.keyword("key") {
        vec![key]
    } else if words.keyword("value") {
        vec![value]
    } else if words.keyword("all") {
        Vec::new()
    } else {
        words.keyword("kv");
        vec![key, value]
    };
    match info.btf_id {
        0 => Err(Failure::new("the map has no types").with_errno(ENOENT)),
        id => Ok((show::open(shell, id)?, roots.into_iter().filter(|&root| root != TypeId::VOID).collect())),
    }
}

/// Types in a file: BTF as it is, or a section of an ELF file.
pub(crate) fn of_file(shell: &Shell, file: &str) -> Outcome<Btf> {
    let unreadable = |e: std::io::Error| Failure::file(file, &e).with_errno(e.raw_os_error().unwrap_or(1));
    if file == host::KERNEL_BTF && shell.options.base_btf.is_none() {
        return parsed(file, Btf::parse(host::kernel_btf_bytes().map_err(unreadable)?));
    }
    let bytes = fs::read(file).map_err(unreadable)?;
    match base(shell, file)? {
        Some(base) => parsed(file, Btf::parse_split(Arc::new(section(file, bytes)?), base)),
        None => parsed(file, Btf::parse(Arc::new(section(file, bytes)?))),
    }
}

/// Types in a file's bytes, which stand for themselves.
pub(crate) fn of_bytes(file: &str, bytes: Vec<u8>) -> Outcome<Btf> {
    parsed(file, Btf::parse(Arc::new(section(file, bytes)?)))
}

fn section(file: &str, bytes: Vec<u8>) -> Outcome<Vec<u8>> {
    if MAGIC.iter().any(|magic| bytes.starts_with(magic)) {
        return Ok(bytes);
    }
    let section = skep::object::elf_section(&bytes, ".BTF");
    let section = section.map_err(|e| Failure::new(format!("`{file}`: {e}")).with_errno(NOT_ELF))?;
    Ok(section.ok_or_else(|| Failure::new(format!("`{file}` has no types")).with_errno(ENOENT))?.to_vec())
}

fn parsed(file: &str, btf: skep::btf::Result<Btf>) -> Outcome<Btf> {
    btf.map_err(|e| Failure::new(format!("`{file}`: {e}")).with_errno(EINVAL))
}

/// What a file's types continue: what the caller says, or, for the kernel's modules, the kernel's.
fn base(shell: &Shell, file: &str) -> Outcome<Option<Arc<Btf>>> {
    if let Some(base) = &shell.options.base_btf {
        let bytes = fs::read(base).map_err(|e| Failure::file(base.display(), &e))?;
        return of_bytes(&base.display().to_string(), bytes).map(|base| Some(Arc::new(base)));
    }
    let is_module =
        Path::new(file).strip_prefix(KERNEL_DIRECTORY).is_ok_and(|name| name != Path::new("vmlinux"));
    Ok(is_module.then(host::kernel_btf).flatten())
}

const EOPNOTSUPP: i32 = 95;
/// libbpf's `LIBBPF_ERRNO__FORMAT`, which bpftool's exit status passes on for what is no ELF file.
pub(crate) const NOT_ELF: i32 = 4001;
