//! `skep token`: what mounts of the bpf file system delegate to those who open them.

use std::fs;

use super::failure::{Failure, Outcome};
use super::shell::Shell;
use super::words::Words;

/// What may be delegated: the mount option, and its name here.
const DELEGATIONS: [(&str, &str); 4] = [
    ("delegate_cmds", "allowed_cmds"),
    ("delegate_maps", "allowed_maps"),
    ("delegate_progs", "allowed_progs"),
    ("delegate_attachs", "allowed_attachs"),
];

/// Names in a line of text.
const NAMES_IN_LINE: usize = 4;

/// `token list`: the mounts that delegate something.
pub(crate) fn list(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    words.end()?;
    let table = fs::read_to_string("/proc/mounts").map_err(|e| Failure::file("/proc/mounts", &e))?;
    if shell.is_json() {
        shell.json.begin_array();
    }
    table.lines().filter_map(delegating).for_each(|(path, options)| mount(shell, &path, options));
    if shell.is_json() {
        shell.json.end_array();
    }
    Ok(())
}

/// Path and options of a mount of the bpf file system that delegates.
fn delegating(line: &str) -> Option<(String, &str)> {
    let mut fields = line.split(' ').skip(1);
    let (path, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
    (kind == "bpf" && options.contains("delegate_")).then(|| (path.replace("\\040", " "), options))
}

/// What an option says, as a list.
fn delegated<'a>(options: &'a str, wanted: &str) -> Vec<&'a str> {
    let value = options.split(',').find_map(|option| option.strip_prefix(wanted)?.strip_prefix('='));
    value.map(|value| value.split(':').collect()).unwrap_or_default()
}

fn mount(shell: &mut Shell, path: &str, options: &str) {
    let json = &mut shell.json;
    if shell.options.json {
        json.begin_object();
        json.string_field("token_info", path);
        for (option, name) in DELEGATIONS {
            json.name(name);
            json.begin_array();
            delegated(options, option).into_iter().for_each(|what| json.string(what));
            json.end_array();
        }
        json.end_object();
        return;
    }
    json.text(format_args!("token_info  {path}"));
    for (option, name) in DELEGATIONS {
        json.text(format_args!("\n\t{name}:"));
        for (number, what) in delegated(options, option).into_iter().enumerate() {
            if number % NAMES_IN_LINE == 0 {
                json.text(format_args!("\n\t  "));
            }
            json.text(format_args!("{what:<20}"));
        }
    }
    json.text(format_args!("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_that_delegate_are_told_apart() {
        let line = "none /run/my\\040token bpf rw,delegate_cmds=prog_load:map_create,delegate_maps=any 0 0";
        let (path, options) = delegating(line).unwrap();
        assert_eq!(path, "/run/my token");
        assert_eq!(delegated(options, "delegate_cmds"), ["prog_load", "map_create"]);
        assert_eq!(delegated(options, "delegate_maps"), ["any"]);
        assert!(delegated(options, "delegate_progs").is_empty());
        assert!(delegating("bpf /sys/fs/bpf bpf rw,mode=700 0 0").is_none());
        assert!(delegating("x /delegate_cmds tmpfs rw 0 0").is_none());
    }
}
