//! Options before, between and behind the words of a command.

use std::path::PathBuf;

use super::failure::{Failure, Outcome};
use crate::args::RuntimeChoice;

/// What holds for a whole command line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) json: bool,
    pub(crate) pretty: bool,
    /// Look up where objects are pinned.
    pub(crate) show_pinned: bool,
    /// Never mount the bpf file system.
    pub(crate) no_mount: bool,
    /// Show the verifier's log.
    pub(crate) debug: bool,
    pub(crate) version: bool,
    pub(crate) help: bool,
    /// What split BTF continues.
    pub(crate) base_btf: Option<PathBuf>,
    pub(crate) runtime: Option<RuntimeChoice>,
    /// Write a light skeleton.
    pub(crate) light: bool,
    /// Which language a skeleton is in.
    pub(crate) language: Option<Language>,
    /// Programs that are not loaded with their object.
    pub(crate) without: Vec<String>,
}

/// A language that skeletons are written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Language {
    /// For the `skep` crate.
    #[default]
    Rust,
    /// For libbpf.
    C,
}

/// An option: its letter, its name, what it is for, what it does.
pub(crate) struct Row {
    pub(crate) letter: Option<char>,
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    effect: Effect,
}

enum Effect {
    Flag(fn(&mut Options)),
    /// What the value is called, and what takes it.
    Value(&'static str, fn(&mut Options, &str) -> Outcome),
}

impl Row {
    /// What the option's value is called, if it has one.
    pub(crate) fn value(&self) -> Option<&'static str> {
        match self.effect {
            Effect::Flag(_) => None,
            Effect::Value(name, _) => Some(name),
        }
    }
}

/// All options, in the order in which help lists them.
pub(crate) const OPTIONS: &[Row] = &[
    flag('j', "json", "Print JSON", |o| o.json = true),
    flag('p', "pretty", "Print JSON over several lines", |o| (o.json, o.pretty) = (true, true)),
    flag('f', "bpffs", "Say where objects are pinned", |o| o.show_pinned = true),
    flag('n', "nomount", "Never mount the bpf file system", |o| o.no_mount = true),
    flag('d', "debug", "Show the verifier's log", |o| o.debug = true),
    flag('m', "mapcompat", "No effect: map definitions of every age are read", |_| {}),
    flag('l', "legacy", "No effect: map definitions of every age are read", |_| {}),
    flag('L', "use-loader", "Write a light skeleton, or try its loader", |o| o.light = true),
    flag('V', "version", "Print the version", |o| o.version = true),
    flag('h', "help", "Print help", |o| o.help = true),
    Row {
        letter: Some('B'),
        name: "base-btf",
        about: "What split BTF continues, such as /sys/kernel/btf/vmlinux",
        effect: Effect::Value("FILE", |o, value| {
            o.base_btf = Some(value.into());
            Ok(())
        }),
    },
    Row {
        letter: None,
        name: "lang",
        about: "Language of a skeleton: `rust` (the default) or `c`, for libbpf",
        effect: Effect::Value("LANGUAGE", |o, value| {
            o.language = Some(language(value)?);
            Ok(())
        }),
    },
    Row {
        letter: None,
        name: "without",
        about: "Leave a program out when its object is loaded, or those that a pattern fits",
        effect: Effect::Value("PROGRAM", |o, value| {
            o.without.push(value.to_owned());
            Ok(())
        }),
    },
    Row {
        letter: None,
        name: "runtime",
        about: "Whose objects: `kernel` (the default) or `user`",
        effect: Effect::Value("RUNTIME", |o, value| {
            o.runtime = Some(runtime(value)?);
            Ok(())
        }),
    },
];

const fn flag(letter: char, name: &'static str, about: &'static str, set: fn(&mut Options)) -> Row {
    Row { letter: Some(letter), name, about, effect: Effect::Flag(set) }
}

fn runtime(name: &str) -> Outcome<RuntimeChoice> {
    match name {
        "kernel" => Ok(RuntimeChoice::Kernel),
        "user" => Ok(RuntimeChoice::User),
        _ => Err(Failure::new(format!("there is no runtime `{name}`")).hint("it is `kernel` or `user`")),
    }
}

fn language(name: &str) -> Outcome<Language> {
    match name {
        "rust" => Ok(Language::Rust),
        "c" => Ok(Language::C),
        _ => Err(Failure::new(format!("skeletons are not written in `{name}`")).hint("it is `rust` or `c`")),
    }
}

/// Tells options from words, wherever they stand; behind `--` everything is a word. Options before a wrong one count.
pub(crate) fn parse(line: &[String]) -> (Options, Outcome<Vec<String>>) {
    let mut options = Options::default();
    let words = words(&mut options, line);
    (options, words)
}

fn words(options: &mut Options, line: &[String]) -> Outcome<Vec<String>> {
    let mut words = Vec::new();
    let mut line = line.iter();
    while let Some(word) = line.next() {
        if word == "--" {
            words.extend(line.by_ref().cloned());
        } else if let Some(name) = word.strip_prefix("--") {
            long(options, name, &mut line)?;
        } else if word.len() > 1 && word.starts_with('-') && !is_number(word) {
            letters(options, &word[1..], &mut line)?;
        } else {
            words.push(word.clone());
        }
    }
    Ok(words)
}

/// Values may be negative; no option's letter is a digit.
fn is_number(word: &str) -> bool {
    word.as_bytes().get(1).is_some_and(u8::is_ascii_digit)
}

/// `--name`, `--name VALUE` or `--name=VALUE`; a name may be cut short where only one begins so.
fn long<'a>(options: &mut Options, text: &str, rest: &mut impl Iterator<Item = &'a String>) -> Outcome {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    let exact = OPTIONS.iter().find(|row| row.name == name);
    let mut meant = OPTIONS.iter().filter(|row| !name.is_empty() && row.name.starts_with(name));
    match (exact, meant.next(), meant.next()) {
        (Some(row), ..) | (None, Some(row), None) => apply(options, row, value, rest),
        _ => {
            Err(Failure::new(format!("there is no option `--{name}`")).hint("`skep help` lists the options"))
        }
    }
}

/// `-jp`: one letter after another; the value of the last may follow at once.
fn letters<'a>(options: &mut Options, text: &str, rest: &mut impl Iterator<Item = &'a String>) -> Outcome {
    for (at, letter) in text.char_indices() {
        let Some(row) = OPTIONS.iter().find(|row| row.letter == Some(letter)) else {
            return Err(
                Failure::new(format!("there is no option `-{letter}`")).hint("`skep help` lists the options")
            );
        };
        let behind = &text[at + letter.len_utf8()..];
        if row.value().is_some() {
            return apply(options, row, Some(behind).filter(|value| !value.is_empty()), rest);
        }
        apply(options, row, None, rest)?;
    }
    Ok(())
}

fn apply<'a>(
    options: &mut Options,
    row: &Row,
    value: Option<&str>,
    rest: &mut impl Iterator<Item = &'a String>,
) -> Outcome {
    match (&row.effect, value) {
        (Effect::Flag(set), None) => {
            set(options);
            Ok(())
        }
        (Effect::Flag(_), Some(_)) => {
            Err(Failure::new(format!("the option `--{}` takes no value", row.name)))
        }
        (Effect::Value(_, set), Some(value)) => set(options, value),
        (Effect::Value(what, set), None) => match rest.next() {
            Some(value) => set(options, value),
            None => Err(Failure::new(format!("the option `--{}` needs a value, {what}", row.name))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Outcome<(Options, Vec<String>)> {
        let (options, words) = parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        Ok((options, words?))
    }

    #[test]
    fn options_stand_anywhere() {
        let (options, words) = parsed("map -jf show --base-btf=x --runt user -- -p -").unwrap();
        assert_eq!(words, ["map", "show", "-p", "-"]);
        assert!(options.json && options.show_pinned && !options.pretty);
        assert_eq!(options.base_btf.as_deref(), Some("x".as_ref()));
        assert_eq!(options.runtime, Some(RuntimeChoice::User));
        let (options, words) = parsed("-pB vmlinux btf").unwrap();
        assert_eq!((options.base_btf, words), (Some("vmlinux".into()), vec!["btf".to_owned()]));
    }

    #[test]
    fn negative_numbers_are_words() {
        let (options, words) =
            parsed("map update id 5 key typed -1 value typed -20 -j --without a --without=b").unwrap();
        assert_eq!(words, ["map", "update", "id", "5", "key", "typed", "-1", "value", "typed", "-20"]);
        assert!(options.json && options.without == ["a", "b"]);
    }

    #[test]
    fn what_is_no_option_is_said() {
        for line in ["-x", "-jx", "--nothing", "--json=1", "-B", "--runtime windows", "--", "--=1"] {
            let result = parsed(line);
            assert_eq!(result.is_ok(), line == "--", "{line}");
        }
    }
}
