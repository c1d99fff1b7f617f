//! Which definition each global symbol has, and the table of symbols that comes out.

use std::collections::HashMap;

use skep_btf::{Btf, Linkage, Shape, TypeId};

use super::sections::Layout;
use super::{Unit, agree};
use crate::elf::{Bind, Symbol, SymbolKind, SymbolPlace};
use crate::error::{Error, Result};

/// All global symbols, in the order in which the files name them.
pub(super) struct Globals {
    list: Vec<Global>,
    by_name: HashMap<String, usize>,
}

/// A symbol that files share.
pub(super) struct Global {
    name: String,
    /// File and number of the symbol that stands for it: a definition, if there is one.
    chosen: (usize, usize),
    /// The variable or function that describes that symbol, in that file's types.
    type_id: TypeId,
    state: State,
    /// Weak wherever it is named.
    weak: bool,
    /// Hidden somewhere.
    hidden: bool,
}

/// What is known of a symbol so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Extern,
    /// Defined, and other definitions win.
    Weak,
    Strong,
}

/// How a file's types describe a symbol.
#[derive(Clone, Copy, Debug)]
struct Described {
    id: TypeId,
    /// In section `.maps`?
    map: bool,
}

impl Globals {
    fn find(&self, name: &str) -> Option<&Global> {
        self.by_name.get(name).map(|&at| &self.list[at])
    }

    /// File and type that stand for the variable or function of this name.
    pub(super) fn type_of(&self, name: &str) -> Option<(usize, TypeId)> {
        self.find(name).map(|global| (global.chosen.0, global.type_id))
    }
}

/// Finds the definition of every symbol that is not local to its file.
pub(super) fn resolve(units: &[Unit<'_>], layout: &Layout) -> Result<Globals> {
    let mut globals = Globals { list: Vec::new(), by_name: HashMap::new() };
    for (number, unit) in units.iter().enumerate() {
        let described = describe(&unit.btf).map_err(|e| e.file(unit.file).section(".BTF"))?;
        for (at, symbol) in unit.elf.symbols.iter().enumerate() {
            if is_shared(symbol, layout, number) {
                let added = add(units, &mut globals, &described, (number, at), symbol);
                added.map_err(|e| e.file(unit.file).symbol(&symbol.name))?;
            }
        }
    }
    Ok(globals)
}

/// Is the symbol of interest to other files? What lies in a section that is left out is not.
fn is_shared(symbol: &Symbol<'_>, layout: &Layout, unit: usize) -> bool {
    let is_there = match symbol.place {
        SymbolPlace::Undefined => true,
        SymbolPlace::Section(section) => layout.place(unit, section).is_some(),
        SymbolPlace::Special => false,
    };
    is_there && symbol.bind != Bind::Local && !symbol.name.is_empty()
}

/// The variables and functions of a file that others can see, by name.
fn describe(btf: &Btf) -> Result<HashMap<&str, Described>> {
    let mut described = HashMap::new();
    for ty in btf.types() {
        let ty = ty?;
        match ty.shape {
            Shape::Var { linkage, .. } | Shape::Func { linkage, .. } if linkage != Linkage::Static => {
                described.entry(ty.name).or_insert(Described { id: ty.id, map: false });
            }
            _ => {}
        }
    }
    // What is in a section is what the symbol means, should there be several of one name.
    for ty in btf.types() {
        let ty = ty?;
        let Shape::Datasec(section) = ty.shape else { continue };
        for entry in section.vars.iter() {
            let id = entry?.ty;
            if let Some(known) = described.get_mut(btf.name(id)?) {
                *known = Described { id, map: ty.name == ".maps" };
            }
        }
    }
    Ok(described)
}

/// Takes one file's view of a symbol into account.
fn add(
    units: &[Unit<'_>],
    globals: &mut Globals,
    described: &HashMap<&str, Described>,
    chosen: (usize, usize),
    symbol: &Symbol<'_>,
) -> Result<()> {
    let Some(&Described { id, map }) = described.get(&*symbol.name) else {
        return Err(Error::invalid("the symbol has no type, so other objects cannot be checked against it")
            .hint("compile with `-g`; functions and variables written in assembly need `static`"));
    };
    let weak = symbol.bind == Bind::Weak;
    let state = match (symbol.is_extern(), weak) {
        (true, _) => State::Extern,
        (false, true) => State::Weak,
        (false, false) => State::Strong,
    };
    let Some(&at) = globals.by_name.get(&*symbol.name) else {
        globals.by_name.insert(symbol.name.to_string(), globals.list.len());
        let name = symbol.name.to_string();
        globals.list.push(Global { name, chosen, type_id: id, state, weak, hidden: symbol.hidden });
        return Ok(());
    };
    let global = &mut globals.list[at];
    let before = &units[global.chosen.0];
    if (global.state, state) == (State::Strong, State::Strong) {
        return Err(Error::invalid(format!("defined here and in `{}`", before.file))
            .hint("make one of them `__weak`, `static` or `extern`"));
    }
    let (theirs, ours) = ((&before.btf, global.type_id), (&units[chosen.0].btf, id));
    let agreed = if map { agree::maps(&symbol.name, theirs, ours) } else { agree::types(theirs, ours) };
    agreed.map_err(|why| Error::invalid(format!("{why}, between `{}` and here", before.file)))?;
    global.weak &= weak;
    global.hidden |= symbol.hidden;
    let wins = matches!(
        (global.state, state),
        (State::Extern, State::Weak | State::Strong) | (State::Weak, State::Strong)
    );
    if wins {
        (global.chosen, global.type_id, global.state) = (chosen, id, state);
    }
    Ok(())
}

/// The symbols that come out.
pub(super) struct Table {
    /// Without the empty one in front; local ones first.
    pub(super) symbols: Vec<OutSymbol>,
    /// How many are local.
    pub(super) locals: usize,
    /// By file, by the symbol's number in it: the number in the table, counted from 1.
    numbers: Vec<Vec<Option<usize>>>,
}

/// A symbol that comes out.
pub(super) struct OutSymbol {
    pub(super) name: String,
    pub(super) kind: SymbolKind,
    pub(super) bind: Bind,
    pub(super) hidden: bool,
    /// Section that comes out, and offset; `None` for what is defined elsewhere.
    pub(super) place: Option<(usize, u64)>,
    pub(super) size: u64,
}

impl Table {
    /// The number of what a file's symbol has become.
    pub(super) fn number(&self, unit: usize, symbol: usize) -> Option<usize> {
        *self.numbers.get(unit)?.get(symbol)?
    }
}

/// Makes the table: sections, then what is local to files, then what they share.
pub(super) fn table(units: &[Unit<'_>], layout: &Layout, globals: &Globals) -> Table {
    let mut symbols: Vec<OutSymbol> = (0..layout.sections.len())
        .map(|section| OutSymbol {
            name: String::new(),
            kind: SymbolKind::Section,
            bind: Bind::Local,
            hidden: false,
            place: Some((section, 0)),
            size: 0,
        })
        .collect();
    let mut numbers: Vec<Vec<Option<usize>>> = Vec::new();
    for (number, unit) in units.iter().enumerate() {
        let of_unit = unit.elf.symbols.iter().map(|symbol| local(layout, number, symbol, &mut symbols));
        numbers.push(of_unit.collect());
    }
    let locals = symbols.len();
    for (nth, global) in globals.list.iter().enumerate() {
        symbols.push(shared(units, layout, global));
        for (unit, of_unit) in units.iter().zip(&mut numbers) {
            for (symbol, number) in unit.elf.symbols.iter().zip(of_unit) {
                if symbol.bind != Bind::Local && symbol.name == global.name {
                    *number = Some(locals + nth + 1);
                }
            }
        }
    }
    Table { symbols, locals, numbers }
}

/// The number of a section's or a local symbol, which is added.
fn local(layout: &Layout, unit: usize, symbol: &Symbol<'_>, symbols: &mut Vec<OutSymbol>) -> Option<usize> {
    let SymbolPlace::Section(section) = symbol.place else { return None };
    let place = layout.place(unit, section).filter(|_| symbol.bind == Bind::Local)?;
    if symbol.kind == SymbolKind::Section {
        return Some(place.section + 1);
    }
    symbols.push(OutSymbol {
        name: symbol.name.to_string(),
        kind: symbol.kind,
        bind: Bind::Local,
        hidden: symbol.hidden,
        place: Some((place.section, place.offset.saturating_add(symbol.value))),
        size: symbol.size,
    });
    Some(symbols.len())
}

fn shared(units: &[Unit<'_>], layout: &Layout, global: &Global) -> OutSymbol {
    let (unit, at) = global.chosen;
    let symbol = &units[unit].elf.symbols[at];
    let place = match symbol.place {
        SymbolPlace::Section(section) => layout.place(unit, section),
        _ => None,
    };
    OutSymbol {
        name: global.name.clone(),
        kind: symbol.kind,
        bind: if global.weak { Bind::Weak } else { Bind::Global },
        hidden: global.hidden,
        place: place.map(|place| (place.section, place.offset.saturating_add(symbol.value))),
        size: symbol.size,
    }
}
