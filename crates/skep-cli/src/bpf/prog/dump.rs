//! `prog dump { xlated | jited } PROG`.

use std::fs;

use skep::runtime::info::{ProgArray, ProgInfo};

use super::super::failure::{Failure, Outcome};
use super::super::select::{self, FullNames, SelectedProg};
use super::super::shell::Shell;
use super::super::words::Words;
use super::jited::Jited;
use super::show;
use super::xlated::{Shown, Xlated};

const ARRAYS: &[ProgArray] = &[
    ProgArray::Xlated,
    ProgArray::Jited,
    ProgArray::JitedKsyms,
    ProgArray::JitedFuncLens,
    ProgArray::FuncInfo,
    ProgArray::LineInfo,
];

/// Where a dump goes and what it shows.
#[derive(Default)]
struct Wanted<'a> {
    file: Option<&'a str>,
    shown: Shown,
    visual: bool,
}

/// Prints a program, or writes its bytes to a file.
pub(crate) fn dump(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let is_jited = if words.keyword("jited") {
        true
    } else if words.keyword("xlated") {
        false
    } else {
        return Err(
            Failure::new("say which code").hint("`xlated` is what the verifier left, `jited` machine code")
        );
    };
    let selected = select::progs(shell, words)?;
    let wanted = wanted(words)?;
    let [prog] = &selected[..] else { return dump_several(shell, &selected, &wanted, is_jited) };
    let runtime = shell.runtime()?;
    let info = ProgInfo::of(&runtime, prog.handle.fd(), ARRAYS)?;
    if let Some(file) = wanted.file {
        let bytes = info.bytes(if is_jited { ProgArray::Jited } else { ProgArray::Xlated });
        return fs::write(file, bytes).map_err(|e| Failure::file(file, &e));
    }
    write(shell, &info, &wanted, is_jited)
}

/// Each with its header; `file` has room for one.
fn dump_several(
    shell: &mut Shell,
    selected: &[SelectedProg],
    wanted: &Wanted<'_>,
    is_jited: bool,
) -> Outcome {
    if let (Some(file), [.., prog]) = (wanted.file, selected) {
        return Err(select::several("programs", &prog.info.name)
            .context(format_args!("`{file}` would have the code of one")));
    }
    let runtime = shell.runtime()?;
    let mut names = FullNames::default();
    if shell.is_json() {
        shell.json.begin_array();
    }
    for (nth, prog) in selected.iter().enumerate() {
        let info = ProgInfo::of(&runtime, prog.handle.fd(), ARRAYS)?;
        let name = names.of(&runtime, prog.handle.fd(), &info);
        if shell.is_json() {
            shell.json.begin_object();
            show::header_json(&mut shell.json, &info, &name);
            shell.json.name("insns");
            write(shell, &info, wanted, is_jited)?;
            shell.json.end_object();
            continue;
        }
        if nth > 0 {
            shell.json.text(format_args!("\n"));
        }
        show::header_text(&mut shell.json, &info, &name);
        write(shell, &info, wanted, is_jited)?;
    }
    if shell.is_json() {
        shell.json.end_array();
    }
    Ok(())
}

fn write(shell: &mut Shell, info: &ProgInfo, wanted: &Wanted<'_>, is_jited: bool) -> Outcome {
    let runtime = shell.runtime()?;
    let is_json = shell.is_json();
    if is_jited {
        Jited::of(&runtime, info)?.write(&mut shell.json, is_json, wanted.shown);
        return Ok(());
    }
    let xlated = Xlated::of(&runtime, info)?;
    match (wanted.visual, is_json) {
        (true, true) => {
            let graph = xlated.dot()?;
            shell.json.begin_object();
            shell.json.string_field("graph", &graph);
            shell.json.end_object();
            Ok(())
        }
        (true, false) => {
            shell.json.bytes(xlated.dot()?.as_bytes());
            Ok(())
        }
        (false, true) => xlated.write_json(&mut shell.json, wanted.shown),
        (false, false) => xlated.write_text(&mut shell.json, wanted.shown),
    }
}

fn wanted<'a>(words: &mut Words<'a>) -> Outcome<Wanted<'a>> {
    let mut wanted = Wanted::default();
    while !words.is_empty() {
        if words.keyword("file") {
            wanted.file = Some(words.need("the file")?);
        } else if words.keyword("opcodes") {
            wanted.shown.opcodes = true;
        } else if words.keyword("linum") {
            wanted.shown.linum = true;
        } else if words.keyword("visual") {
            wanted.visual = true;
        } else {
            words.end().map_err(Failure::aside)?;
        }
    }
    Ok(wanted)
}
