//! What an object's front end does before it loads it, said in a table: the object alone does not say where its programs go.

use std::collections::HashSet;
use std::fs;

use skep::object::section::SectionDef;
use skep::object::{Object, Program};

/// The table; its head says how it is read.
const TABLE: &str = include_str!("../../corpus/setup.txt");

/// Sets up an object that is called so.
pub(super) fn set_up(object: &mut Object, name: &str) -> Result<(), String> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    for line in lines {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [objects, what, rest @ ..] = words.as_slice() else { continue };
        if objects.split(',').any(|object| object == name) {
            step(object, what, rest).map_err(|e| format!("`{line}`: {e}"))?;
        }
    }
    Ok(())
}

fn step(object: &mut Object, what: &str, words: &[&str]) -> Result<(), String> {
    match (what, words) {
        ("attach", [program, sections]) => attach(object, program, sections),
        ("without", [pattern]) => {
            let meant = object.programs.iter_mut().filter(|program| fits(pattern, &program.name));
            meant.for_each(|program| program.autoload = false);
            Ok(())
        }
        ("entries", [map, number]) => {
            let found = object.maps.iter_mut().find(|found| found.name == *map).ok_or("no such map")?;
            found.max_entries = number.parse().map_err(|_| "not a number")?;
            Ok(())
        }
        _ => Err("neither `attach`, `without` nor `entries`".to_owned()),
    }
}

/// Puts a program where the first section says whose function there is, or else the last.
fn attach(object: &mut Object, name: &str, sections: &str) -> Result<(), String> {
    let Some(program) = object.programs.iter_mut().find(|program| program.name == name) else {
        // Versions of a tool differ in their programs.
        return Ok(());
    };
    let candidates: Vec<&str> = sections.split('|').collect();
    let functions = if candidates.len() > 1 { functions() } else { HashSet::new() };
    let has =
        |section: &&&str| section.split_once('/').is_some_and(|(_, function)| functions.contains(function));
    match candidates.iter().find(has).or(candidates.last()) {
        Some(section) => put(program, section),
        None => Err("no section".to_owned()),
    }
}

fn put(program: &mut Program, section: &str) -> Result<(), String> {
    let def = SectionDef::find(section).ok_or("no such section")?;
    program.prog_type = def.prog_type;
    program.expected_attach_type = def.attach_type;
    program.attach = def.attach_point(section).map_err(|e| e.to_string())?;
    program.section_error = None;
    Ok(())
}

/// Names of the kernel's functions.
fn functions() -> HashSet<String> {
    let text = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    text.lines().filter_map(|line| line.split_ascii_whitespace().nth(2)).map(str::to_owned).collect()
}

/// Does a pattern with one `*` at most fit?
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((start, end)) => {
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
        }
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_whole_names() {
        assert!(fits("*_entry", "file_open_entry") && fits("getattr_*", "getattr_exit") && fits("f", "f"));
        assert!(!fits("*_entry", "file_open_fentry_x") && !fits("f", "ff") && !fits("aa*aa", "aaa"));
    }

    #[test]
    fn every_line_of_the_table_is_understood() {
        let lines = TABLE.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            match words[1..] {
                ["attach", _, sections] => sections.split('|').for_each(|section| {
                    let def = SectionDef::find(section).unwrap_or_else(|| panic!("{line}"));
                    assert!(def.attach_point(section).is_ok(), "{line}");
                }),
                ["without", _] => {}
                ["entries", _, number] => assert!(number.parse::<u32>().is_ok(), "{line}"),
                _ => panic!("{line}"),
            }
        }
    }
}
