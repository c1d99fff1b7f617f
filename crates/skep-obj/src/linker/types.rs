//! The types of all files together, and what they say about instructions.

use skep_btf::ext::{CoreRelo, ExtBuilder, FuncInfo, Group, LineInfo, Record};
use skep_btf::{Builder, ByteOrder, Linkage, SecVar, Shape, Type, TypeId, dedup};

use super::Unit;
use super::sections::Layout;
use super::symbols::Globals;
use crate::elf::{Bind, SymbolPlace};
use crate::error::{Error, Result};

/// The bytes of `.BTF` and `.BTF.ext`.
pub(super) struct Merged {
    pub(super) btf: Vec<u8>,
    pub(super) ext: Option<Vec<u8>>,
}

/// Puts the types of all files together.
pub(super) fn merge(units: &[Unit<'_>], layout: &Layout, globals: &Globals) -> Result<Merged> {
    let mut builder = Builder::with_order(ByteOrder::Little);
    let ids = reserve(units, layout, globals, &mut builder)?;
    for (unit, ids) in units.iter().zip(&ids) {
        copy(unit, ids, &mut builder).map_err(|e| e.file(unit.file).section(".BTF"))?;
    }
    for section in variables(units, layout, globals, &ids)? {
        builder.add_datasec(&section.name, section.bytes, &section.vars);
    }
    let all = builder.finish_btf(None)?;
    let mut deduped = dedup::dedup(&all)?;
    let mut ext = ExtBuilder::default();
    for (number, (unit, ids)) in units.iter().zip(&ids).enumerate() {
        let mut info = Instructions { unit, number, layout, ids, types: &mut deduped, ext: &mut ext };
        info.collect().map_err(|e| e.file(unit.file).section(".BTF.ext"))?;
    }
    let has_ext = units.iter().any(|unit| unit.ext.is_some());
    Ok(Merged { ext: has_ext.then(|| ext.finish(ByteOrder::Little)), btf: deduped.builder.finish() })
}

/// What the types of one file are called in the result, by number.
struct Ids(Vec<Slot>);

/// What one type is called in the result.
#[derive(Clone, Copy, Debug)]
enum Slot {
    /// A number of its own.
    Own(TypeId),
    /// The number of another file's variable or function, which stands for this one.
    Shared(TypeId),
    /// It is left out.
    None,
}

impl Ids {
    fn get(&self, id: TypeId) -> TypeId {
        match self.0.get(id.0 as usize) {
            Some(&(Slot::Own(id) | Slot::Shared(id))) => id,
            Some(Slot::None) | None => TypeId::VOID,
        }
    }
}

/// Gives every type a number. Variables and functions that files share get that of the one which stands for all.
fn reserve(
    units: &[Unit<'_>],
    layout: &Layout,
    globals: &Globals,
    builder: &mut Builder,
) -> Result<Vec<Ids>> {
    let mut all = Vec::new();
    let mut shared = Vec::new();
    for (number, unit) in units.iter().enumerate() {
        let mut slots = vec![Slot::None];
        for ty in unit.btf.types() {
            let ty = ty.map_err(|e| Error::from(e).file(unit.file).section(".BTF"))?;
            let standing = shared_name(&ty).and_then(|name| globals.type_of(name));
            slots.push(match standing {
                Some(standing) if standing != (number, ty.id) => {
                    shared.push(((number, ty.id), standing));
                    Slot::None
                }
                _ if is_left_out(unit, number, layout, globals, &ty) => Slot::None,
                _ => Slot::Own(builder.reserve()),
            });
        }
        all.push(Ids(slots));
    }
    for ((unit, id), (of_unit, of)) in shared {
        all[unit].0[id.0 as usize] = Slot::Shared(all[of_unit].get(of));
    }
    Ok(all)
}

/// The name of a variable or function that other files can see.
fn shared_name<'a>(ty: &Type<'a>) -> Option<&'a str> {
    match ty.shape {
        Shape::Var { linkage, .. } | Shape::Func { linkage, .. } if linkage != Linkage::Static => {
            Some(ty.name)
        }
        _ => None,
    }
}

/// Sections are made anew. Variables of a section that is left out, such as a second licence, go with it, and so do
/// their tags.
fn is_left_out(unit: &Unit<'_>, number: usize, layout: &Layout, globals: &Globals, ty: &Type<'_>) -> bool {
    match ty.shape {
        Shape::Datasec(_) => true,
        Shape::Var { linkage, .. } if linkage != Linkage::Static => globals.type_of(ty.name).is_none(),
        Shape::Var { .. } => unit.elf.symbols.iter().any(|symbol| {
            let place = match symbol.place {
                SymbolPlace::Section(section) => layout.place(number, section),
                _ => return false,
            };
            symbol.bind == Bind::Local && symbol.name == ty.name && place.is_none()
        }),
        Shape::DeclTag { ty: tagged, .. } => unit
            .btf
            .type_by_id(tagged)
            .is_ok_and(|tagged| is_left_out(unit, number, layout, globals, &tagged)),
        _ => false,
    }
}

/// Copies the types whose numbers are not another's.
fn copy(unit: &Unit<'_>, ids: &Ids, builder: &mut Builder) -> Result<()> {
    for ty in unit.btf.types() {
        let ty = ty?;
        if let Some(&Slot::Own(id)) = ids.0.get(ty.id.0 as usize) {
            builder.copy_to(id, &ty, &|id| ids.get(id))?;
        }
    }
    Ok(())
}

/// A section of variables in the making.
struct Variables {
    name: String,
    bytes: u32,
    vars: Vec<SecVar>,
}

/// The variables of all sections, at their places in the sections that come out.
fn variables(units: &[Unit<'_>], layout: &Layout, globals: &Globals, ids: &[Ids]) -> Result<Vec<Variables>> {
    let mut sections: Vec<Variables> = Vec::new();
    for (number, unit) in units.iter().enumerate() {
        for ty in unit.btf.types() {
            let ty = ty?;
            let Shape::Datasec(section) = ty.shape else { continue };
            let vars = section.vars.iter().collect::<skep_btf::Result<Vec<_>>>()?;
            let placed = Placed { unit, number, layout, globals, section: ty.name };
            let vars = vars.into_iter().filter_map(|var| placed.place(var, &ids[number]).transpose());
            let vars = vars.collect::<Result<Vec<_>>>().map_err(|e| e.file(unit.file).section(ty.name))?;
            match sections.iter_mut().find(|section| section.name == ty.name) {
                Some(section) => section.vars.extend(vars),
                None => {
                    let bytes = layout.section(ty.name).map_or(0, |section| section.size as u32);
                    sections.push(Variables { name: ty.name.to_owned(), bytes, vars });
                }
            }
        }
    }
    // A section without variables is one whose externs have all been found elsewhere.
    sections.retain(|section| !section.vars.is_empty());
    sections.iter_mut().for_each(|section| section.vars.sort_by_key(|var| var.offset));
    Ok(sections)
}

/// The variables of one section of one file.
struct Placed<'a> {
    unit: &'a Unit<'a>,
    number: usize,
    layout: &'a Layout,
    globals: &'a Globals,
    section: &'a str,
}

impl Placed<'_> {
    /// Where a variable is; `None` if another file's stands for it, or it is left out.
    fn place(&self, var: SecVar, ids: &Ids) -> Result<Option<SecVar>> {
        let ty = self.unit.btf.type_by_id(var.ty)?;
        if ids.get(var.ty) == TypeId::VOID {
            return Ok(None);
        }
        let Some(name) = shared_name(&ty) else {
            let section =
                self.unit.elf.section(self.section).and_then(|(at, _)| self.layout.place(self.number, at));
            let moved = |place: super::sections::Place| place.offset as u32 + var.offset;
            return Ok(section.map(|place| SecVar {
                ty: ids.get(var.ty),
                offset: moved(place),
                bytes: var.bytes,
            }));
        };
        if self.globals.type_of(name) != Some((self.number, var.ty)) {
            return Ok(None);
        }
        let symbol =
            self.unit.elf.symbols.iter().find(|symbol| symbol.name == name && symbol.bind != Bind::Local);
        let symbol = symbol.ok_or_else(|| Error::corrupt("the variable has no symbol").symbol(name))?;
        let offset = match symbol.place {
            SymbolPlace::Section(section) => match self.layout.place(self.number, section) {
                Some(place) => place.offset + symbol.value,
                None => return Ok(None),
            },
            _ => 0,
        };
        Ok(Some(SecVar { ty: ids.get(var.ty), offset: offset as u32, bytes: var.bytes }))
    }
}

/// What one file says about its instructions.
struct Instructions<'a> {
    unit: &'a Unit<'a>,
    number: usize,
    layout: &'a Layout,
    ids: &'a Ids,
    types: &'a mut dedup::Dedup,
    ext: &'a mut ExtBuilder,
}

impl Instructions<'_> {
    fn collect(&mut self) -> Result<()> {
        let unit = self.unit;
        let Some(ext) = &unit.ext else { return Ok(()) };
        for group in ext.func_info() {
            self.each(&group, |info, section, by, record: FuncInfo| {
                let ty = info.types.id(info.ids.get(record.ty));
                info.ext.add_func(section, FuncInfo { insn_off: record.insn_off + by, ty });
                Ok(())
            })?;
        }
        for group in ext.line_info() {
            self.each(&group, |info, section, by, record: LineInfo| {
                let file_off = info.string(record.file_off)?;
                let text_off = info.string(record.text_off)?;
                info.ext.add_line(section, record.moved(by, file_off, text_off));
                Ok(())
            })?;
        }
        for group in ext.core_relos() {
            self.each(&group, |info, section, by, record: CoreRelo| {
                let (ty, access_off) =
                    (info.types.id(info.ids.get(record.ty)), info.string(record.access_off)?);
                let insn_off = record.insn_off + by;
                info.ext.add_core_relo(section, CoreRelo { insn_off, ty, access_off, ..record });
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Shows the records of a section that has been taken, with its name in the result and the bytes it has moved by.
    fn each<R: Record>(
        &mut self,
        group: &Group<'_, R>,
        mut add: impl FnMut(&mut Self, u32, u32, R) -> Result<()>,
    ) -> Result<()> {
        let name = group.section(&self.unit.btf)?;
        let place = self.unit.elf.section(name).and_then(|(at, _)| self.layout.place(self.number, at));
        let Some(place) = place else { return Ok(()) };
        let section = self.types.builder.add_string(name);
        for record in group.records() {
            add(self, section, place.offset as u32, record)?;
        }
        Ok(())
    }

    /// A string of the file, where the result has it.
    fn string(&mut self, off: u32) -> Result<u32> {
        Ok(self.types.builder.add_string(self.unit.btf.string(off)?))
    }
}
