//! `skep iter`: programs that run for each of something when their pin is read.

use std::path::{Path, PathBuf};

use skep::host;
use skep::runtime::{AttachOptions, AttachTarget, Link};

use super::failure::{Failure, Outcome};
use super::pins;
use super::select;
use super::shell::Shell;
use super::words::Words;

/// `iter pin OBJ PATH [map MAP|cgroup DIR|pid PID]`: the object's first program.
pub(crate) fn pin(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let file = words.need("the object")?;
    let path = words.need("the path to pin to")?;
    let mut options = AttachOptions::default();
    // The map has to be open until the link is made.
    let mut over = None;
    if words.keyword("map") {
        let map = over.insert(select::map(shell, words)?);
        options.target = Some(AttachTarget::Map(map.map.fd()));
    } else if words.keyword("cgroup") {
        options.target = Some(AttachTarget::Cgroup(PathBuf::from(words.need("the control group")?)));
    } else if words.keyword("pid") {
        options.process = Some(words.number("the process")?);
    }
    words.end()?;
    std::fs::metadata(file).map_err(|e| Failure::file(file, &e).with_errno(e.raw_os_error().unwrap_or(1)))?;
    let object = skep::open(Path::new(file))?.object;
    object.require_programs()?;
    let linked = object.link(&host::target(&object))?;
    let loaded = skep::load(&shell.runtime()?, &object, linked)?;
    let Some(first) = loaded.programs.iter().flatten().next() else {
        return Err(Failure::new(format!("`{file}` has no program that loads")));
    };
    let link = first
        .program
        .attach(&first.linked.attach, &options)
        .map_err(|e| Failure::refused(&e).context(format_args!("program `{}`", first.linked.name)))?;
    pins::pin(shell, link.fd(), path)
}

/// `iter cat FILE`: what a pinned iterator writes.
pub(crate) fn cat(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let path = words.need("the pinned iterator")?;
    words.end()?;
    let link = Link::new(select::open_pinned(&shell.runtime()?, path)?);
    let text = link.iterate().map_err(|e| Failure::refused(&e).context(format_args!("`{path}`")))?;
    if shell.is_json() {
        shell.json.string(&String::from_utf8_lossy(&text));
    } else {
        shell.json.bytes(&text);
    }
    Ok(())
}
