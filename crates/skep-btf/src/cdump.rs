//! Types → C: a whole BTF as a header such as `vmlinux.h`, some types with what they need, or one declaration.
//!
//! The text compiles for BPF with the layouts that the BTF says: what C would place elsewhere is padded or packed, as
//! BTF does not keep the attributes that the source had. Names that C cannot hold twice in one name space get `___2`,
//! `___3` behind them, which CO-RE ignores. Types are written in the order of need: by value after their definition,
//! through a pointer after a forward declaration.
//!
//! The stages: [`plan`] says what is written in which order, [`layout`] what to pad and pack, [`write`] the text.
//! Corrupt BTF gives an error, never a panic, endless loop or flood: the text is bounded by the size of the BTF.
//!
//! ```
//! # use skep_btf::cdecl;
//! let types = cdecl::parse("struct list { struct list *next; long (*get)(int, ...); };")?;
//! let list = types.find("struct list").expect("it was declared");
//! let text = skep_btf::cdump::types(&types.btf, &[list])?;
//! assert_eq!(text, "struct list {\n\tstruct list *next;\n\tlong (*get)(int, ...);\n};\n\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod layout;
mod names;
mod plan;
mod table;
mod write;

use crate::{Btf, Result, Shape, TypeId};
use plan::Plan;
use table::Table;
use write::Writer;

/// What a header holds besides types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Declare the functions that the BTF marks as kfuncs.
    pub kfuncs: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { kfuncs: true }
    }
}

const HEAD: &str = "\
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)
#endif

#ifndef __ksym
#define __ksym __attribute__((section(\".ksyms\")))
#endif

#ifndef __weak
#define __weak __attribute__((weak))
#endif

";

const TAIL: &str = "\
#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute pop
#endif

#endif /* __VMLINUX_H__ */
";

/// All types as a header to compile BPF programs with. Of split BTF, its own types and what they need of the base.
#[doc(alias = "vmlinux.h")]
pub fn header(btf: &Btf, options: &Options) -> Result<String> {
    let table = Table::new(btf)?;
    let kfuncs = if options.kfuncs { table.kfuncs() } else { Vec::new() };
    let mut plan = Plan::new(&table);
    for id in btf.first_id().0..table.len() {
        plan.root(TypeId(id))?;
    }
    for kfunc in &kfuncs {
        plan.prototype(*kfunc)?;
    }
    // C takes about half the bytes of BTF; room that is not used takes no memory.
    let mut out = String::with_capacity(HEAD.len() + btf.bytes().len());
    out.push_str(HEAD);
    let mut writer = Writer::new(&table, out).for_all();
    writer.steps(&plan.finish())?;
    writer.kfuncs(&kfuncs)?;
    Ok(writer.finish() + TAIL)
}

/// The types with those ids, and what they need to be complete. What is only pointed to is declared, not defined.
pub fn types(btf: &Btf, ids: &[TypeId]) -> Result<String> {
    let table = Table::new(btf)?;
    let mut plan = Plan::new(&table);
    for id in ids {
        plan.root(*id)?;
    }
    let mut writer = Writer::new(&table, String::new());
    writer.steps(&plan.finish())?;
    Ok(writer.finish())
}

/// The same types as a header of their own.
pub fn selection(btf: &Btf, ids: &[TypeId]) -> Result<String> {
    Ok([HEAD, &types(btf, ids)?, TAIL].concat())
}

/// A declaration of `name` with that type, without `;`: `int (*name)(void)`. With an empty name, the type itself. A
/// function type is declared as the function, a [`Shape::Func`] or [`Shape::Var`] with the type it has.
pub fn declaration(btf: &Btf, id: TypeId, name: &str) -> Result<String> {
    let table = Table::new(btf)?;
    let id = match (table.function(id)?, &table.get(id)?.shape) {
        (Some((_, proto)), _) => proto,
        (None, Shape::Var { ty, .. }) => *ty,
        _ => id,
    };
    let mut writer = Writer::new(&table, String::new());
    writer.declare(id, name, 0)?;
    Ok(writer.finish())
}
