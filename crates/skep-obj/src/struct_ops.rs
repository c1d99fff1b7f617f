//! `struct_ops`: structures of functions that a kernel subsystem calls, as maps.
//!
//! An object holds a structure as its compiler knew it; [`collect`] describes it. A kernel may have added,
//! moved or removed members, so [`fit`] writes the structure anew as the target has it.

use skep_btf::core::essential_name;
use skep_btf::{Btf, Composite, Kind, Member, Seq, Shape, Type, TypeId};
use skep_isa::uapi::{AttachType, MapType, ProgType};

use crate::elf::{Elf, Section};
use crate::error::{Error, Result};
use crate::function::Function;
use crate::link::{LinkedProgram, Target};
use crate::map::{F_LINK, KernelType, MapDef, MapKind, Slot, SlotTarget, program_at};
use crate::object::Object;
use crate::types::{TypedVariable, Types};

/// What the kernel calls the type of a map's value: this before the structure's name.
const VALUE_PREFIX: &str = "bpf_struct_ops_";

/// Reads the sections of such structures.
pub(crate) fn collect(elf: &Elf<'_>, types: Option<&Types>, functions: &[Function]) -> Result<Vec<MapDef>> {
    let mut maps = Vec::new();
    for (index, section) in elf.sections.iter().enumerate() {
        let name = section.name.strip_prefix('?').unwrap_or(&section.name);
        if section.data.is_empty() || !matches!(name, ".struct_ops" | ".struct_ops.link") {
            continue;
        }
        let in_section = || -> Result<Vec<_>> {
            let types = types
                .ok_or_else(|| Error::unsupported("`struct_ops` without `.BTF`").hint("compile with `-g`"))?;
            types
                .variables(&section.name)?
                .iter()
                .map(|v| describe(elf, types, functions, index, v))
                .collect()
        };
        maps.extend(in_section().map_err(|e: Error| e.section(&section.name))?);
    }
    Ok(maps)
}

fn describe(
    elf: &Elf<'_>,
    types: &Types,
    functions: &[Function],
    index: usize,
    variable: &TypedVariable,
) -> Result<MapDef> {
    let section = &elf.sections[index];
    let ty = types.btf.resolve(variable.type_id)?;
    let Shape::Struct(structure) = ty.shape else {
        return Err(Error::corrupt(format!("`{}` is no structure", ty.describe())).symbol(&variable.name));
    };
    let start = variable.offset as usize;
    let data =
        section.data.get(start..).and_then(|rest| rest.get(..structure.bytes as usize)).ok_or_else(|| {
            Error::corrupt(format!(
                "{} bytes at offset {start} of a section of {}",
                structure.bytes,
                section.data.len()
            ))
            .symbol(&variable.name)
        })?;
    let slots = callbacks(elf, types, functions, section, variable, structure)
        .map_err(|e| e.symbol(&variable.name))?;
    Ok(MapDef {
        key_size: 4,
        value_size: structure.bytes,
        max_entries: 1,
        map_flags: if section.name.ends_with(".link") { F_LINK } else { 0 },
        value_type: ty.id,
        data: data.to_vec(),
        slots,
        autocreate: !section.name.starts_with('?'),
        place: Some((index, variable.offset.into())),
        ..MapDef::new(&*variable.name, MapKind::StructOps, MapType::STRUCT_OPS)
    })
}

/// Which programs the structure's members are set to; relocations say so.
fn callbacks(
    elf: &Elf<'_>,
    types: &Types,
    functions: &[Function],
    section: &Section<'_>,
    variable: &TypedVariable,
    structure: Composite<'_>,
) -> Result<Vec<Slot>> {
    let start = u64::from(variable.offset);
    let inside = start..start + u64::from(structure.bytes);
    let mut slots = Vec::new();
    for raw in section.relocs.iter().filter(|raw| inside.contains(&raw.offset)) {
        let symbol = &elf.symbols[raw.symbol];
        let at = (raw.offset - start) as u32;
        let member = structure.members.iter().flatten().find(|m| m.bit_offset == at * 8);
        let member = member
            .ok_or_else(|| Error::corrupt(format!("a reference at byte {at}, where no member begins")))?;
        if !is_function_pointer(types, member.ty)? {
            return Err(Error::unsupported(format!(
                "member `{}` refers to `{}`, but is no function pointer",
                member.name, symbol.name
            )));
        }
        let program = program_at(symbol, functions).ok_or_else(|| {
            Error::invalid(format!(
                "member `{}` is set to `{}`, which is no program",
                member.name, symbol.name
            ))
            .hint("put `SEC(\"struct_ops\")` in front of the function, and do not make it `static`")
        })?;
        slots.push(Slot { at, target: SlotTarget::Program(program) });
    }
    Ok(slots)
}

fn is_function_pointer(types: &Types, id: TypeId) -> Result<bool> {
    Ok(match types.btf.resolve(id)?.shape {
        Shape::Ptr(to) => matches!(types.btf.resolve(to)?.shape, Shape::FuncProto(_)),
        _ => false,
    })
}

/// Gives all such maps the target's shape, and loads their programs exactly where a map wants them.
///
/// A map that does not fit the target is not created, and the programs that it was to hold cannot be loaded.
pub(crate) fn fit_all(object: &Object, maps: &mut [MapDef], programs: &mut [LinkedProgram], target: &Target) {
    let Some(btf) = &object.btf else {
        return;
    };
    for map in maps.iter_mut().filter(|m| m.kind == MapKind::StructOps && m.autocreate) {
        let fitted = fit(btf, map, programs, target).map_err(|e| e.symbol(&map.name).file(&object.file));
        if let Err(error) = fitted {
            map.autocreate = false;
            for program in map.slots.iter().filter_map(Slot::program) {
                programs[program].result = Err(error.clone());
            }
        }
    }
    for (index, program) in
        programs.iter_mut().enumerate().filter(|(_, p)| p.prog_type == ProgType::STRUCT_OPS)
    {
        let holds = |map: &MapDef| {
            map.kind == MapKind::StructOps && map.slots.iter().any(|s| s.program() == Some(index))
        };
        if object.maps.iter().any(holds) {
            // Where the structure does not fit, the program stays wanted, so that its error is told.
            let wants = |(before, after): (&MapDef, &MapDef)| {
                before.autocreate && holds(before) && (!after.autocreate || holds(after))
            };
            program.autoload = object.maps.iter().zip(&*maps).any(wants);
        } else if program.result.is_ok() {
            let error = Error::invalid("no `struct_ops` structure refers to the program");
            let hint = "set a member of a structure in `SEC(\".struct_ops.link\")` to it";
            program.result =
                Err(error.hint(hint).section(&program.section).symbol(&program.name).file(&object.file));
        }
    }
}

/// Writes a structure as the target has it, and tells its programs which member they are.
fn fit(object: &Btf, map: &mut MapDef, programs: &mut [LinkedProgram], target: &Target) -> Result<()> {
    let local = object.type_by_id(map.value_type)?;
    let found = Kernel::find(target, essential_name(local.name))?;
    let mut value = vec![0; found.value_bytes as usize];
    let mut slots = Vec::new();
    let members = local.composite().map(|c| c.members);
    for member in members.iter().flat_map(Seq::iter) {
        let member = member?;
        let start = (member.bit_offset / 8) as usize;
        let slot = map.slots.iter().find(|slot| slot.at as usize == start);
        let bytes =
            object.size_of(member.ty).ok().and_then(|size| map.data.get(start..)?.get(..size as usize));
        let is_set = slot.is_some() || bytes.is_some_and(|bytes| bytes.iter().any(|b| *b != 0));
        let Some((index, counterpart)) = found.member(member.name)? else {
            if is_set && slot.is_none() {
                return Err(Error::unresolved(format!(
                    "the kernel's `{}` has no member `{}`",
                    local.describe(),
                    member.name
                ))
                .hint("leave the member zero, or run a newer kernel"));
            }
            continue;
        };
        let at = found.data_offset + counterpart.bit_offset / 8;
        match slot {
            Some(Slot { target: SlotTarget::Program(program), .. }) => {
                assign(&mut programs[*program], &found, index, member.name)?;
                slots.push(Slot { at, target: SlotTarget::Program(*program) });
            }
            _ => copy(object, &member, &found, &counterpart, bytes.unwrap_or_default(), at, &mut value)?,
        }
    }
    map.kernel_value_type = Some(KernelType { id: found.value_type, module: found.module });
    map.value_size = found.value_bytes;
    map.data = value;
    map.slots = slots;
    Ok(())
}

/// The structure and the type of the map's value in the kernel or a module.
struct Kernel<'t> {
    btf: &'t Btf,
    module: Option<usize>,
    structure: Type<'t>,
    value_type: TypeId,
    value_bytes: u32,
    /// Where in the value the structure is.
    data_offset: u32,
}

impl<'t> Kernel<'t> {
    fn find(target: &'t Target, name: &str) -> Result<Self> {
        for (module, btf) in target.all_btf() {
            let Some(id) = btf.find(&format!("{VALUE_PREFIX}{name}"), Kind::Struct) else {
                continue;
            };
            let Some(structure) = btf.find(name, Kind::Struct) else {
                continue;
            };
            let value = btf.type_by_id(id)?;
            let members = value.composite().map(|c| c.members);
            let data = members.iter().flat_map(Seq::iter).flatten().find(|m| m.ty == structure);
            let (Some(composite), Some(data)) = (value.composite(), data) else {
                continue;
            };
            return Ok(Self {
                btf,
                module,
                structure: btf.type_by_id(structure)?,
                value_type: id,
                value_bytes: composite.bytes,
                data_offset: data.bit_offset / 8,
            });
        }
        Err(Error::unresolved(format!("the kernel has no `struct_ops` type `{name}`"))
            .hint("the kernel is too old, or the module that defines it is not loaded"))
    }

    fn member(&self, name: &str) -> Result<Option<(u32, Member<'t>)>> {
        let members = self.structure.composite().map(|c| c.members);
        for (index, member) in members.iter().flat_map(Seq::iter).enumerate() {
            let member = member?;
            if member.name == name {
                return Ok(Some((index as u32, member)));
            }
        }
        Ok(None)
    }
}

/// Tells a program which member of which structure it is; it can be only one.
fn assign(program: &mut LinkedProgram, kernel: &Kernel<'_>, index: u32, member: &str) -> Result<()> {
    let error =
        |message: String| Err(Error::invalid(message).symbol(&program.name).section(&program.section));
    if program.prog_type != ProgType::STRUCT_OPS {
        return error(format!(
            "it implements member `{member}`, but is a program of type `{}`",
            program.prog_type
        ));
    }
    let place = KernelType { id: kernel.structure.id, module: kernel.module };
    let attach_type = AttachType(index);
    if program.attach_btf.is_some_and(|before| before != place)
        || program.expected_attach_type.is_some_and(|before| before != attach_type)
    {
        return error(format!("it implements member `{member}` and another one"));
    }
    program.attach_btf = Some(place);
    program.expected_attach_type = Some(attach_type);
    Ok(())
}

/// Copies a member that is no program; it has to be of the same kind and size in the kernel.
fn copy(
    object: &Btf,
    member: &Member<'_>,
    kernel: &Kernel<'_>,
    counterpart: &Member<'_>,
    bytes: &[u8],
    at: u32,
    value: &mut [u8],
) -> Result<()> {
    let differs = |what: &str| {
        Error::unresolved(format!("member `{}` has another {what} in the kernel's structure", member.name))
    };
    if member.bitfield_bits != 0 || counterpart.bitfield_bits != 0 {
        return Err(Error::unsupported(format!("member `{}` is a bit field", member.name)));
    }
    let (here, there) = (object.resolve(member.ty)?, kernel.btf.resolve(counterpart.ty)?);
    if here.kind() != there.kind() {
        return Err(differs("kind"));
    }
    if matches!(here.shape, Shape::Ptr(_)) {
        return Ok(());
    }
    if object.size_of(member.ty)? != kernel.btf.size_of(counterpart.ty)? {
        return Err(differs("size"));
    }
    let place = value.get_mut(at as usize..).and_then(|rest| rest.get_mut(..bytes.len()));
    place.ok_or_else(|| differs("place"))?.copy_from_slice(bytes);
    Ok(())
}
