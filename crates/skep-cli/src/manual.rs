//! The whole command line as one table: what is parsed by words and options here, and the commands on objects, which take
//! bpftool's grammar. Help, completion scripts and manual pages are made of it.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Command, CommandFactory as _, ValueHint};
use skep::{Error, Result};

use crate::args::Cli;
use crate::bpf::{FAMILIES, Family, OPTIONS};

/// Words in usages that stand for files.
const FILES: [&str; 8] = ["FILE", "OBJ", "PATH", "DIR", "INPUT", "OUTPUT", "OBJECT", "CGROUP"];

/// Words in usages that stand for objects, and the words by which these are selected.
const SELECTORS: [(&str, &[&str]); 4] = [
    ("PROG", &["id", "name", "tag", "pinned"]),
    ("MAP", &["id", "name", "pinned"]),
    ("LINK", &["id", "pinned"]),
    ("BTF", &["id"]),
];

/// All commands.
pub(crate) fn whole() -> Command {
    let batch = Command::new("batch")
        .about("Run command lines from a file, one a line; `-` reads standard input")
        .override_usage("skep batch file FILE")
        .arg(words("file FILE"));
    let all = Cli::command().subcommands(FAMILIES.iter().map(family)).subcommand(batch);
    all.subcommand_help_heading("Commands")
}

/// A kind of object with its commands, and the options that they share.
fn family(family: &Family) -> Command {
    let named = family.commands.iter().flat_map(|command| command.names().map(move |name| (command, name)));
    let commands = named.map(|(command, name)| {
        let usage = format!("skep {} {name} {}", family.name, command.usage);
        let about = match name == command.name {
            true => command.about.to_owned(),
            false => format!("The same as {}", command.name),
        };
        let plain = Command::new(name).about(about).override_usage(usage.trim_end().to_owned());
        if command.usage.is_empty() { plain } else { plain.arg(words(command.usage)) }
    });
    let help = family.terms.iter().map(|term| format!("{term}\n")).collect::<String>();
    Command::new(family.name)
        .about(family.about)
        .after_help(help)
        .disable_help_flag(true)
        .subcommands(commands)
        .args(OPTIONS.iter().filter(|row| !["version", "runtime"].contains(&row.name)).map(|row| {
            let arg = Arg::new(row.name).long(row.name).help(row.about).global(true);
            let arg = row.letter.map_or(arg.clone(), |letter| arg.short(letter));
            match row.value() {
                Some(value) => arg.value_name(value).value_hint(ValueHint::AnyPath),
                None => arg.action(ArgAction::SetTrue),
            }
        }))
}

/// What may follow a command: the keywords of its usage, or else files.
fn words(usage: &'static str) -> Arg {
    let is_keyword = |word: &&str| word.len() > 1 && word.starts_with(|c: char| c.is_ascii_lowercase());
    let split = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    let mut keywords: Vec<&str> = usage.split(split).filter(is_keyword).collect();
    let objects = SELECTORS.iter().filter(|(object, _)| usage.split(split).any(|word| word == *object));
    for selector in objects.flat_map(|(_, selectors)| *selectors) {
        if !keywords.contains(selector) {
            keywords.push(selector);
        }
    }
    let words = Arg::new("words").num_args(0..).value_name("WORDS").help(usage);
    if !keywords.is_empty() {
        return words.value_parser(PossibleValuesParser::new(keywords));
    }
    let names_file = usage.split(split).any(|word| FILES.contains(&word));
    words.value_hint(if names_file { ValueHint::AnyPath } else { ValueHint::Other })
}

/// The command line with `skep COMMAND help` as `skep COMMAND --help`, unless a file of that name is meant.
pub(crate) fn with_help(mut line: Vec<OsString>) -> Vec<OsString> {
    let asks = line.len() == 3 && line[2] == "help" && line[1] != "help";
    if asks && !Path::new("help").exists() {
        line[2] = "--help".into();
    }
    line
}

/// `skep man [DIR]`: the page of `skep` itself on stdout, or a page for every command as a file.
pub(crate) fn write(directory: Option<&Path>) -> Result<ExitCode> {
    let Some(directory) = directory else {
        let page = clap_mangen::Man::new(whole());
        return match page.render(&mut std::io::stdout().lock()) {
            // Who has read enough closes the pipe.
            Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Error::file(Path::new("stdout"), e)),
            _ => Ok(ExitCode::SUCCESS),
        };
    };
    let failed = |e| Error::file(directory, e);
    fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(whole(), directory).map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_consistent() {
        whole().debug_assert();
    }

    #[test]
    fn keywords_are_completed_and_files_too() {
        let possible = |usage| {
            let values = words(usage).get_possible_values();
            values.iter().map(|value| value.get_name().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(
            possible("{ xlated|jited } PROG [file FILE]"),
            ["xlated", "jited", "file", "id", "name", "tag", "pinned"]
        );
        assert!(possible("FILE FILE").is_empty());
        assert_eq!(words("FILE FILE").get_value_hint(), ValueHint::AnyPath);
    }
}
