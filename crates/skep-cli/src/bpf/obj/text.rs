//! An object as text: a table for each kind of thing in it.

use std::fmt;

use skep::btf::TypeId;
use skep::object::map::MapKind;
use skep::object::{ExternKind, MapDef, Object};

use super::super::failure::Outcome;
use super::super::json::Json;
use super::File;
use crate::table::{Align, Column, Table};
use crate::term;

/// Prints all of it.
pub(super) fn show(json: &mut Json, file: &File) -> Outcome {
    let object = &file.object;
    let licence = if object.license.is_empty() { "none" } else { &object.license };
    json.text(format_args!("{}: {} bytes, licence {licence}\n", file.name, file.bytes));
    let mut out = Vec::new();
    sections(&mut out, file);
    functions(&mut out, object);
    maps(&mut out, object);
    variables(&mut out, object);
    externs(&mut out, object);
    references(&mut out, object);
    json.bytes(&out);
    types(json, object)
}

/// Rows below a header, with every column as wide as its widest cell; nothing for no rows.
fn table(out: &mut Vec<u8>, titles: &[(&str, Align)], rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        return;
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let columns = titles.iter().enumerate().map(|(at, &(title, align))| Column {
        title: title.to_owned(),
        width: width(at),
        align,
    });
    let mut table = Table::new(columns.collect(), term::stdout_coloured());
    out.push(b'\n');
    for row in rows {
        table.row(out, &row).expect("invariant: memory takes any text");
    }
}

fn sections(out: &mut Vec<u8>, file: &File) {
    let shown = file.sections.iter().filter(|section| section.kind != "table");
    let row = |section: &skep::object::inspect::SectionView| {
        vec![
            section.name.clone(),
            section.kind.to_owned(),
            section.bytes.to_string(),
            none_for_zero(section.relocations),
            none_for_zero(section.functions),
        ]
    };
    let titles = [
        ("SECTION", Align::Left),
        ("KIND", Align::Left),
        ("BYTES", Align::Right),
        ("RELOCATIONS", Align::Right),
        ("FUNCTIONS", Align::Right),
    ];
    table(out, &titles, shown.map(row).collect());
}

fn functions(out: &mut Vec<u8>, object: &Object) {
    let all = object.functions();
    let programs = all.iter().filter(|function| function.is_program).map(|function| {
        let program = object.program(function.name);
        let prog_type = program.map_or_else(String::new, |program| program.prog_type.to_string());
        let attach = program.and_then(|program| program.expected_attach_type);
        let mut notes = Vec::new();
        if let Some(program) = program {
            notes.extend(program.sleepable().then_some("sleepable".to_owned()));
            notes.extend((!program.autoload).then_some("not loaded by default".to_owned()));
            notes.extend(program.section_error.as_ref().map(|e| e.message().to_owned()));
        }
        vec![
            function.name.to_owned(),
            function.section.to_owned(),
            prog_type,
            attach.map_or_else(|| "-".to_owned(), |attach| attach.to_string()),
            function.insns.len().to_string(),
            notes.join(", "),
        ]
    });
    let titles = [
        ("PROGRAM", Align::Left),
        ("SECTION", Align::Left),
        ("TYPE", Align::Left),
        ("ATTACH TYPE", Align::Left),
        ("INSNS", Align::Right),
        ("", Align::Left),
    ];
    table(out, &titles, programs.collect());
    let others = all.iter().filter(|function| !function.is_program).map(|function| {
        vec![
            function.name.to_owned(),
            function.section.to_owned(),
            function.linkage.to_owned(),
            function.insns.len().to_string(),
        ]
    });
    let titles = [
        ("FUNCTION", Align::Left),
        ("SECTION", Align::Left),
        ("LINKAGE", Align::Left),
        ("INSNS", Align::Right),
    ];
    table(out, &titles, others.collect());
}

fn maps(out: &mut Vec<u8>, object: &Object) {
    let sized = |id: TypeId, bytes: u32| match type_name(object, id) {
        Some(name) => format!("{name} ({bytes} B)"),
        None => format!("{bytes} B"),
    };
    let row = |map: &MapDef| {
        vec![
            map.name.clone(),
            map.map_type.to_string(),
            sized(map.key_type, map.key_size),
            sized(map.value_type, map.value_size),
            map.max_entries.to_string(),
            format!("{:#x}", map.map_flags),
            map_note(map),
        ]
    };
    let titles = [
        ("MAP", Align::Left),
        ("TYPE", Align::Left),
        ("KEY", Align::Left),
        ("VALUE", Align::Left),
        ("ENTRIES", Align::Right),
        ("FLAGS", Align::Right),
        ("", Align::Left),
    ];
    table(out, &titles, object.maps.iter().map(row).collect());
}

fn map_note(map: &MapDef) -> String {
    let mut notes = Vec::new();
    match map.kind {
        MapKind::Rodata | MapKind::Kconfig => notes.push("constants".to_owned()),
        MapKind::Data | MapKind::Bss => notes.push("variables".to_owned()),
        MapKind::StructOps => notes.push("functions for the kernel".to_owned()),
        _ => {}
    }
    if let Some(inner) = &map.inner {
        notes.push(format!("of {} maps", inner.map_type));
    }
    if map.pinning != skep::object::Pinning::None {
        notes.push("pinned by name".to_owned());
    }
    if !map.autocreate {
        notes.push("not created by default".to_owned());
    }
    notes.join(", ")
}

fn variables(out: &mut Vec<u8>, object: &Object) {
    let row = |variable: &skep::object::Variable| {
        let linkage = if variable.global { "global" } else { "static" };
        let ty = variable.type_id.and_then(|id| type_name(object, id)).unwrap_or_else(|| "-".to_owned());
        vec![
            variable.name.clone(),
            variable.section.clone(),
            variable.offset.to_string(),
            variable.size.to_string(),
            linkage.to_owned(),
            ty,
        ]
    };
    let titles = [
        ("VARIABLE", Align::Left),
        ("SECTION", Align::Left),
        ("OFFSET", Align::Right),
        ("BYTES", Align::Right),
        ("LINKAGE", Align::Left),
        ("TYPE", Align::Left),
    ];
    table(out, &titles, object.variables.iter().map(row).collect());
}

fn externs(out: &mut Vec<u8>, object: &Object) {
    let rows = object.externs.iter().map(|wanted| {
        let weak = if wanted.weak { "weak" } else { "strong" };
        vec![wanted.name.clone(), extern_kind(&wanted.kind).to_owned(), weak.to_owned()]
    });
    table(out, &[("EXTERN", Align::Left), ("KIND", Align::Left), ("LINKAGE", Align::Left)], rows.collect());
}

/// What the machine has to supply.
pub(super) fn extern_kind(kind: &ExternKind) -> &'static str {
    match kind {
        ExternKind::Kconfig { .. } => "kernel configuration",
        ExternKind::Ksym => "kernel symbol",
        ExternKind::Kvar(_) => "kernel variable",
        ExternKind::Kfunc(_) => "kernel function",
        _ => "unknown",
    }
}

fn references(out: &mut Vec<u8>, object: &Object) {
    let rows = object.functions().into_iter().flat_map(|function| {
        let name = function.name.to_owned();
        function.references.into_iter().map(move |reference| {
            vec![name.clone(), reference.insn.to_string(), reference.kind.to_owned(), reference.name]
        })
    });
    let titles =
        [("RELOCATION IN", Align::Left), ("INSN", Align::Right), ("KIND", Align::Left), ("TO", Align::Left)];
    table(out, &titles, rows.collect());
}

/// How many types there are, by kind.
fn types(json: &mut Json, object: &Object) -> Outcome {
    let Some(counts) = count_types(object)? else {
        json.text(format_args!("\nno types\n"));
        return Ok(());
    };
    let total: usize = counts.iter().map(|(_, count)| count).sum();
    let kinds: Vec<String> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    json.text(format_args!("\n{total} types: {}\n", kinds.join(", ")));
    Ok(())
}

/// How many types there are of each kind, in the order of the format's numbers.
pub(super) fn count_types(object: &Object) -> Outcome<Option<Vec<(String, usize)>>> {
    let Some(btf) = &object.btf else { return Ok(None) };
    let mut counts = std::collections::BTreeMap::new();
    for ty in btf.types() {
        let kind = ty?.kind();
        *counts.entry((kind.code(), kind.to_string())).or_insert(0) += 1;
    }
    Ok(Some(counts.into_iter().map(|((_, name), count)| (name, count)).collect()))
}

/// A type as C calls it.
pub(super) fn type_name(object: &Object, id: TypeId) -> Option<String> {
    let btf = object.btf.as_ref().filter(|_| id != TypeId::VOID)?;
    skep::btf::cdump::declaration(btf, id, "").ok().map(|text| first_line(&text))
}

/// Structures without a name are told by their first line.
fn first_line(text: &str) -> String {
    match text.trim().split_once('\n') {
        Some((first, _)) => format!("{first} … }}"),
        None => text.trim().to_owned(),
    }
}

fn none_for_zero(number: impl fmt::Display + PartialEq<usize>) -> String {
    if number == 0 { "-".to_owned() } else { number.to_string() }
}
