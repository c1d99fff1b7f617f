//! In what two objects differ: programs and other functions, maps, variables, externs, types, licence.
//!
//! Compared is what the objects mean: functions by their instructions and by the names of what these refer to, types by
//! what can be reached from them. Where things are in the file, and in which order, does not count.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_btf::dedup::{self, Dedup};
use skep_btf::{Btf, Builder, Shape, Type, TypeId, cdump};
use skep_isa::disasm;
use skep_isa::table::{CALL, LD_IMM64};
use skep_isa::text::Style;

use crate::error::Result;
use crate::inspect::FunctionView;
use crate::map::{MapDef, Pinning};
use crate::object::Object;

/// Texts of more lines than this are not compared line by line.
const LINES_MAX: usize = 4000;

/// Something that is not the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `licence`, `program`, `function`, `map`, `variable`, `extern` or `type`.
    pub kind: &'static str,
    /// What it is called.
    pub name: String,
    /// How it differs.
    pub change: Change,
}

/// How something differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Only the second object has it.
    Added(String),
    /// Only the first object has it.
    Removed(String),
    /// Both have it: properties with their two values, and lines of code.
    Changed {
        /// What, and its value in the first and in the second object.
        properties: Vec<(&'static str, String, String)>,
        /// Lines that only one of them has, with those around.
        lines: Vec<Line>,
    },
}

/// A line of code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Both have it.
    Same(String),
    /// Only the first has it.
    Old(String),
    /// Only the second has it.
    New(String),
}

/// What differs, by kind and name.
pub fn diff(a: &Object, b: &Object) -> Result<Vec<Difference>> {
    let mut found = Vec::new();
    if a.license != b.license {
        let properties = vec![("licence", a.license.clone(), b.license.clone())];
        found.push(Difference {
            kind: "licence",
            name: String::new(),
            change: Change::Changed { properties, lines: Vec::new() },
        });
    }
    let types = Types::of(a, b)?;
    let names = [
        Names { btf: a.btf.as_deref(), id: &*types.first },
        Names { btf: b.btf.as_deref(), id: &*types.second },
    ];
    let sides = [&functions(a), &functions(b)];
    compare("program", sides.map(|all| all.iter().filter(|(_, f)| f.view.is_program).collect()), &mut found);
    compare(
        "function",
        sides.map(|all| all.iter().filter(|(_, f)| !f.view.is_program).collect()),
        &mut found,
    );
    compare_properties("map", [maps(a, &names[0]), maps(b, &names[1])], &mut found);
    compare_properties("variable", [variables(a, &names[0]), variables(b, &names[1])], &mut found);
    compare_properties("extern", [externs(a), externs(b)], &mut found);
    types.compare(a, b, &mut found)?;
    Ok(found)
}

/// A function with its code as text.
struct Code<'a> {
    view: FunctionView<'a>,
    attach: String,
    text: Vec<String>,
}

fn functions(object: &Object) -> BTreeMap<String, Code<'_>> {
    let all = object.functions().into_iter().map(|view| {
        let program = object.program(view.name).filter(|_| view.is_program);
        let attach = program.map_or_else(String::new, |program| program.prog_type.to_string());
        (view.name.to_owned(), Code { attach, text: text(&view), view })
    });
    by_name(all)
}

/// Things by their names. Static ones may share a name: the second is `NAME#2`.
fn by_name<T>(all: impl Iterator<Item = (String, T)>) -> BTreeMap<String, T> {
    let mut named = BTreeMap::new();
    for (name, thing) in all {
        let mut key = name.clone();
        let mut nth = 1;
        while named.contains_key(&key) {
            nth += 1;
            key = format!("{name}#{nth}");
        }
        named.insert(key, thing);
    }
    named
}

/// The instructions as text; behind those that refer to something, its name.
fn text(view: &FunctionView<'_>) -> Vec<String> {
    disasm::lines(view.insns, Style::Kernel, &())
        .map(|line| {
            let names: Vec<String> = view
                .references
                .iter()
                .filter(|reference| (line.pc..line.pc + line.insns.len()).contains(&reference.insn))
                .map(|reference| format!("{} {}", reference.kind, reference.name))
                .collect();
            let text = line.text.unwrap_or_else(|e| e.to_string());
            // What a reference puts into the instruction is said by its name.
            match (names.is_empty(), line.insns[0].code) {
                (false, LD_IMM64) => {
                    format!("{}    ; {}", text.split(" = ").next().unwrap_or_default(), names.join(", "))
                }
                (false, CALL) => format!("(85) call    ; {}", names.join(", ")),
                (false, _) => format!("{text}    ; {}", names.join(", ")),
                (true, _) => text,
            }
        })
        .collect()
}

fn compare(kind: &'static str, [a, b]: [BTreeMap<&String, &Code<'_>>; 2], found: &mut Vec<Difference>) {
    let mut names: Vec<&String> = a.keys().chain(b.keys()).copied().collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let whole =
            |code: &Code<'_>| format!("{} instructions in `{}`", code.view.insns.len(), code.view.section);
        let change = match (a.get(name), b.get(name)) {
            (Some(a), Some(b)) => match changed(a, b) {
                Some(change) => change,
                None => continue,
            },
            (Some(a), None) => Change::Removed(whole(a)),
            (None, Some(b)) => Change::Added(whole(b)),
            (None, None) => continue,
        };
        found.push(Difference { kind, name: name.clone(), change });
    }
}

fn changed(a: &Code<'_>, b: &Code<'_>) -> Option<Change> {
    let mut properties = Vec::new();
    let mut property = |what, a: String, b: String| {
        if a != b {
            properties.push((what, a, b));
        }
    };
    property("type", a.attach.clone(), b.attach.clone());
    property("section", a.view.section.to_owned(), b.view.section.to_owned());
    property("linkage", a.view.linkage.to_owned(), b.view.linkage.to_owned());
    property("instructions", a.view.insns.len().to_string(), b.view.insns.len().to_string());
    let lines = if a.text == b.text { Vec::new() } else { line_diff(&a.text, &b.text) };
    (!properties.is_empty() || !lines.is_empty()).then_some(Change::Changed { properties, lines })
}

/// Lines of both, as a longest common subsequence leaves them.
fn line_diff(a: &[String], b: &[String]) -> Vec<Line> {
    if a.len() > LINES_MAX || b.len() > LINES_MAX {
        return vec![Line::Old(format!("{} lines", a.len())), Line::New(format!("{} lines", b.len()))];
    }
    // `longest[i][j]` is for what is behind line `i` of one and line `j` of the other.
    let width = b.len() + 1;
    let mut longest = vec![0u16; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i * width + j] = match a[i] == b[j] {
                true => longest[(i + 1) * width + j + 1] + 1,
                false => longest[(i + 1) * width + j].max(longest[i * width + j + 1]),
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            lines.push(Line::Same(a[i].clone()));
            (i, j) = (i + 1, j + 1);
        } else if i < a.len() && (j == b.len() || longest[(i + 1) * width + j] >= longest[i * width + j + 1])
        {
            lines.push(Line::Old(a[i].clone()));
            i += 1;
        } else {
            lines.push(Line::New(b[j].clone()));
            j += 1;
        }
    }
    lines
}

/// Things by name, with their properties.
type Properties = BTreeMap<String, Vec<(&'static str, String)>>;

fn compare_properties(kind: &'static str, [a, b]: [Properties; 2], found: &mut Vec<Difference>) {
    let whole = |properties: &[(&'static str, String)]| {
        properties.iter().map(|(what, value)| format!("{what} {value}")).collect::<Vec<_>>().join(", ")
    };
    let mut names: Vec<&String> = a.keys().chain(b.keys()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let change = match (a.get(name), b.get(name)) {
            (Some(a), None) => Change::Removed(whole(a)),
            (None, Some(b)) => Change::Added(whole(b)),
            (Some(a), Some(b)) if a != b => {
                let differing = a.iter().zip(b).filter(|(a, b)| a != b);
                let properties = differing.map(|(a, b)| (a.0, a.1.clone(), b.1.clone())).collect();
                Change::Changed { properties, lines: Vec::new() }
            }
            _ => continue,
        };
        found.push(Difference { kind, name: name.clone(), change });
    }
}

fn pinning(pinning: Pinning) -> String {
    match pinning {
        Pinning::None => "none".to_owned(),
        Pinning::ByName => "by name".to_owned(),
        Pinning::Other(number) => number.to_string(),
    }
}

fn maps(object: &Object, types: &Names<'_>) -> Properties {
    let one = |map: &MapDef| {
        let mut properties = vec![
            ("type", map.map_type.to_string()),
            ("key", format!("{} B", map.key_size)),
            ("value", format!("{} B", map.value_size)),
            ("entries", map.max_entries.to_string()),
            ("flags", format!("{:#x}", map.map_flags)),
            ("pinning", pinning(map.pinning)),
            ("key's type", types.describe(map.key_type)),
        ];
        if map.is_data() {
            let contents = format!("{} B, checksum {:016x}", map.data.len(), checksum(&map.data));
            properties.push(("contents", contents));
        } else {
            properties.push(("value's type", types.describe(map.value_type)));
        }
        // Maps of variables are called after the file.
        let name = if map.is_data() {
            map.name.find('.').map_or(&*map.name, |at| &map.name[at..])
        } else {
            &map.name
        };
        (name.to_owned(), properties)
    };
    object.maps.iter().map(one).collect()
}

fn variables(object: &Object, types: &Names<'_>) -> Properties {
    let one = |variable: &crate::Variable| {
        let value = object.maps.get(variable.map).map(|map| variable.read(&map.data)).unwrap_or_default();
        let hex: String = value.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let more = if value.len() > 16 { format!("… ({:016x})", checksum(&value)) } else { String::new() };
        let properties = vec![
            ("section", variable.section.clone()),
            ("size", format!("{} B", variable.size)),
            ("value", format!("{hex}{more}")),
            ("type", types.describe(variable.type_id.unwrap_or(TypeId::VOID))),
        ];
        (variable.name.clone(), properties)
    };
    by_name(object.variables.iter().map(one))
}

fn externs(object: &Object) -> Properties {
    let one = |wanted: &crate::Extern| {
        let kind = match wanted.kind {
            crate::ExternKind::Kconfig { .. } => "kconfig",
            crate::ExternKind::Ksym => "ksym",
            crate::ExternKind::Kvar(_) => "kernel variable",
            crate::ExternKind::Kfunc(_) => "kfunc",
            crate::ExternKind::Unknown => "unknown",
        };
        (wanted.name.clone(), vec![("kind", kind.to_owned()), ("weak", wanted.weak.to_string())])
    };
    object.externs.iter().map(one).collect()
}

/// A number that differs where contents differ (FNV-1a).
fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Names of an object's types, with the numbers that they have among those of both objects.
struct Names<'a> {
    btf: Option<&'a Btf>,
    id: &'a dyn Fn(TypeId) -> TypeId,
}

impl Names<'_> {
    /// `struct event (#12)`: the same for types that mean the same.
    fn describe(&self, id: TypeId) -> String {
        match self.btf.and_then(|btf| btf.type_by_id(id).ok()).filter(|_| id != TypeId::VOID) {
            Some(ty) => {
                let name = self.btf.and_then(|btf| cdump::declaration(btf, id, "").ok());
                let name = name
                    .as_deref()
                    .and_then(|text| text.lines().next())
                    .map_or_else(|| ty.describe(), str::to_owned);
                format!("{} (#{})", name.trim(), (self.id)(id))
            }
            None => "none".to_owned(),
        }
    }
}

/// The types of both objects as one, without doubles: what means the same has the same number.
struct Types {
    first: Box<dyn Fn(TypeId) -> TypeId>,
    second: Box<dyn Fn(TypeId) -> TypeId>,
}

impl Types {
    fn of(a: &Object, b: &Object) -> Result<Self> {
        let mut builder = Builder::new();
        let by_first = append(&mut builder, a.btf.as_ref())?;
        let by_second = append(&mut builder, b.btf.as_ref())?;
        let together: Arc<Dedup> = Arc::new(dedup::dedup(&builder.finish_btf(None)?)?);
        let renamed = |by: u32| -> Box<dyn Fn(TypeId) -> TypeId> {
            let together = Arc::clone(&together);
            Box::new(move |id| match id {
                TypeId::VOID => id,
                TypeId(id) => together.id(TypeId(id + by)),
            })
        };
        Ok(Self { first: renamed(by_first), second: renamed(by_second) })
    }

    /// Structures, unions, enumerations and typedefs that differ.
    fn compare(&self, a: &Object, b: &Object, found: &mut Vec<Difference>) -> Result<()> {
        let sides = [(a, &self.first), (b, &self.second)];
        let [a, b] = sides.map(|(object, id)| definitions(object, id));
        let (a, b) = (a?, b?);
        let mut names: Vec<&String> = a.keys().chain(b.keys()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let change = match (a.get(name), b.get(name)) {
                (Some(a), None) => Change::Removed(a.size.clone()),
                (None, Some(b)) => Change::Added(b.size.clone()),
                // Where the lines are the same, the difference is in a type that is named there, and told there.
                (Some(a), Some(b)) if a.id != b.id && (a.lines != b.lines || a.size != b.size) => {
                    let size = (a.size != b.size).then(|| ("size", a.size.clone(), b.size.clone()));
                    Change::Changed {
                        properties: size.into_iter().collect(),
                        lines: line_diff(&a.lines, &b.lines),
                    }
                }
                _ => continue,
            };
            found.push(Difference { kind: "type", name: name.clone(), change });
        }
        Ok(())
    }
}

/// A type by its name.
struct Definition {
    /// Its number among the types of both objects.
    id: TypeId,
    size: String,
    /// Its members, values, or what it stands for.
    lines: Vec<String>,
}

fn definitions(object: &Object, id: &dyn Fn(TypeId) -> TypeId) -> Result<BTreeMap<String, Definition>> {
    let mut named = BTreeMap::new();
    for ty in object.btf.iter().flat_map(|btf| btf.types()) {
        let (ty, btf) = (ty?, object.btf.as_ref().expect("invariant: a type is of some BTF"));
        let Some(lines) = definition(btf, &ty)?.filter(|_| !ty.name.is_empty()) else { continue };
        let size = btf.size_of(ty.id).map_or_else(|_| "no size".to_owned(), |bytes| format!("{bytes} B"));
        named.insert(ty.describe(), Definition { id: id(ty.id), size, lines });
    }
    Ok(named)
}

/// What a type says of itself; `None` for types that are not shown.
fn definition(btf: &Btf, ty: &Type<'_>) -> Result<Option<Vec<String>>> {
    let describe = |id: TypeId| btf.type_by_id(id).map(|ty| ty.describe());
    Ok(match (ty.composite(), ty.enumeration(), ty.shape) {
        (Some(composite), ..) => {
            let mut lines = Vec::new();
            for member in composite.members.iter() {
                let member = member?;
                lines.push(format!("{} {} at bit {}", describe(member.ty)?, member.name, member.bit_offset));
            }
            Some(lines)
        }
        (_, Some(values), _) => {
            let line = |value: skep_btf::EnumValue<'_>| format!("{} = {}", value.name, value.value);
            Some(values.values.iter().map(|value| value.map(line)).collect::<skep_btf::Result<_>>()?)
        }
        (_, _, Shape::Typedef(to)) => Some(vec![describe(to)?]),
        _ => None,
    })
}

/// Adds the types of an object; answers by how much their numbers are moved.
fn append(builder: &mut Builder, btf: Option<&Arc<Btf>>) -> Result<u32> {
    let by = builder.next_id().0 - 1;
    let Some(btf) = btf else { return Ok(by) };
    let moved = |id: TypeId| if id == TypeId::VOID { id } else { TypeId(id.0 + by) };
    for ty in btf.types() {
        builder.copy(&ty?, &moved)?;
    }
    Ok(by)
}
