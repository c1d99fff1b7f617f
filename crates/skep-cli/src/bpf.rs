//! Commands on BPF objects, in bpftool's grammar: `skep [OPTIONS] OBJECT COMMAND …`.
//!
//! One table, [`FAMILIES`], says what there is; the parser, help, shell completion and manual pages are read from it. Each
//! family has a module of its own, whose functions take the words behind the command and write to [`Shell::json`], as JSON
//! or as text. Exit statuses and JSON members are bpftool's; messages are ours.

mod batch;
mod btf;
mod btf_value;
mod cgroup;
mod daemon;
mod doctor;
mod failure;
mod feature;
mod generate;
mod holders;
mod iter;
mod json;
mod link;
mod map;
mod net;
mod obj;
mod options;
mod perf;
mod pins;
mod prog;
mod select;
mod shell;
mod stop;
mod struct_ops;
mod table;
mod token;
mod top;
mod words;

use std::process::ExitCode;

pub(crate) use options::OPTIONS;
#[cfg(test)]
pub(crate) use table::Command as ObjectCommand;
pub(crate) use table::{FAMILIES, Family};

use crate::term;
use failure::{Failure, Outcome};
use options::Options;
use shell::Shell;
use words::{Words, abbreviates};

/// Serves the command line if it is one of ours: the first word that is no option names a family, perhaps cut short.
pub(crate) fn serve(line: &[String], is_reserved: impl Fn(&str) -> bool) -> Option<ExitCode> {
    let (options, words) = options::parse(line);
    let first = match &words {
        Ok(words) => words.first().map(String::as_str),
        Err(_) => line.iter().map(String::as_str).find(|word| !word.starts_with('-')),
    };
    match (&words, first) {
        (_, Some(word)) if FAMILIES.iter().any(|family| family.name == word) => {}
        (Ok(_), Some(word)) if options.json && (word == "help" || !is_reserved(word)) => {}
        (_, Some(word)) if is_reserved(word) || !is_ours(word) => return None,
        (Ok(_), None) if !options.version && !options.json => return None,
        (Err(_), None) => return None,
        _ => {}
    }
    Some(run(options, words))
}

fn is_ours(word: &str) -> bool {
    ["batch", "version"]
        .into_iter()
        .chain(FAMILIES.iter().map(|f| f.name))
        .any(|name| abbreviates(word, name))
}

/// One command line from its words to its exit status.
fn run(options: Options, words: Outcome<Vec<String>>) -> ExitCode {
    let mut shell = Shell::new(options);
    let result = match words {
        Ok(_) if shell.options.version => version(&mut shell),
        Ok(words) => readable_base(&shell).and_then(|()| dispatch(&mut shell, &words)),
        Err(failure) => Err(failure),
    };
    let status = shell.conclude(result);
    shell.json.flush();
    if let Some(error) = shell.json.failure() {
        report(&Failure::file("stdout", error));
        return ExitCode::from(u8::MAX);
    }
    ExitCode::from(status)
}

/// Types that others continue have to be there, whether the command asks for them or not.
fn readable_base(shell: &Shell) -> Outcome {
    let Some(base) = &shell.options.base_btf else { return Ok(()) };
    std::fs::metadata(base).map(drop).map_err(|e| Failure::file(base.display(), &e))
}

/// Finds family and command and calls the command.
fn dispatch(shell: &mut Shell, words: &[String]) -> Outcome {
    let mut words = Words::new(words);
    let first = words.next().unwrap_or("help");
    if abbreviates(first, "batch") {
        return batch::batch(shell, &mut words);
    }
    if abbreviates(first, "version") && !FAMILIES.iter().any(|family| abbreviates(first, family.name)) {
        return version(shell);
    }
    if first == "help" {
        if !shell.is_json() {
            shell.json.text(format_args!("{}", crate::manual::whole().render_help()));
        }
        return Ok(());
    }
    let Some(family) = FAMILIES.iter().find(|family| abbreviates(first, family.name)) else {
        return Err(Failure::usage(format!("there is no object `{first}`"))
            .hint(format!("there are {}", FAMILIES.iter().map(|f| f.name).collect::<Vec<_>>().join(", "))));
    };
    if shell.options.help {
        return help(shell, family);
    }
    let mut from_word = words.clone();
    let first = &family.commands[0];
    let Some(word) = words.next().or(first.explicit.then_some("help")) else {
        return (first.run)(shell, &mut words);
    };
    if abbreviates(word, "help") {
        return help(shell, family);
    }
    match (family.find(word), family.commands.iter().find(|command| command.implied)) {
        (Some(command), _) => (command.run)(shell, &mut words),
        (None, Some(command)) => (command.run)(shell, &mut from_word),
        (None, None) => {
            Err(Failure::usage(format!("`{}` has no command `{word}`", family.name)).hint(format!(
                "it has {}; `skep {} help` says more",
                family.commands.iter().flat_map(table::Command::names).collect::<Vec<_>>().join(", "),
                family.name
            )))
        }
    }
}

/// What a family can do.
fn help(shell: &mut Shell, family: &Family) -> Outcome {
    if shell.options.json {
        return Ok(());
    }
    shell.json.text(format_args!("{}", family.help()));
    Ok(())
}

/// `version`, and `-V`.
fn version(shell: &mut Shell) -> Outcome {
    let version = env!("CARGO_PKG_VERSION");
    if shell.options.json {
        shell.json.begin_object();
        shell.json.string_field("version", version);
        shell.json.name("features");
        shell.json.begin_object();
        shell.json.bool_field("disassembler", true);
        shell.json.bool_field("skeletons", true);
        shell.json.end_object();
        shell.json.end_object();
    } else {
        shell.json.text(format_args!("skep {version}\n"));
    }
    Ok(())
}

/// Tells a failure on stderr.
fn report(failure: &Failure) {
    term::failure(failure.message(), failure.advice());
}
