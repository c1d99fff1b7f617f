//! Puts several objects together into one, as static linkers do and as libbpf's does for eBPF.
//!
//! Sections of one name become one section. A symbol that one object only names is the one that another defines; of
//! several definitions at most one may be strong, and it wins over weak ones, which are found first come first served.
//! Both sides of a symbol must have types that agree, and maps of one name must be alike. Licences and kernel versions
//! are kept once, and must be the same. The types of all objects are put together without doubles, and what the compiler
//! says about instructions (`.BTF.ext`) follows them. DWARF is left out.
//!
//! What comes out is an object like any other: it can be loaded, and linked again.

mod agree;
mod sections;
mod symbols;
mod types;
mod write;

use skep_btf::Btf;
use skep_btf::ext::Ext;

use crate::elf::Elf;
use crate::error::{Error, Result};
use crate::types::shared;

/// One of the files to put together.
#[derive(Clone, Copy, Debug)]
pub struct Input<'d> {
    /// What errors call it.
    pub file: &'d str,
    /// Its bytes.
    pub bytes: &'d [u8],
}

/// The bytes of the object that has everything in `inputs`.
///
/// Errors name file and symbol: symbols defined twice, types that disagree, sections of different kinds, different
/// licences, and objects without types.
pub fn combine(inputs: &[Input<'_>]) -> Result<Vec<u8>> {
    let units = inputs.iter().map(Unit::read).collect::<Result<Vec<_>>>()?;
    let mut layout = sections::lay_out(&units)?;
    let globals = symbols::resolve(&units, &layout)?;
    let table = symbols::table(&units, &layout, &globals);
    sections::relocate(&units, &mut layout, &table)?;
    let types = types::merge(&units, &layout, &globals)?;
    write::object(&layout, &table, &types)
}

/// One file, read.
struct Unit<'d> {
    file: &'d str,
    elf: Elf<'d>,
    btf: Btf,
    ext: Option<Ext>,
}

impl<'d> Unit<'d> {
    fn read(input: &Input<'d>) -> Result<Self> {
        let read = || {
            let elf = Elf::parse(input.bytes)?;
            let Some((_, section)) = elf.section(".BTF") else {
                return Err(Error::unsupported("the object has no types, by which symbols are put together")
                    .hint("compile with `-g`, and strip with `llvm-strip -g`, which keeps types"));
            };
            let btf =
                Btf::parse(shared(section.data.to_vec())).map_err(|e| Error::from(e).section(".BTF"))?;
            let ext = match elf.section(".BTF.ext") {
                None => None,
                Some((_, section)) => Some(
                    Ext::parse(shared(section.data.to_vec()))
                        .map_err(|e| Error::from(e).section(".BTF.ext"))?,
                ),
            };
            Ok(Self { file: input.file, elf, btf, ext })
        };
        read().map_err(|e: Error| e.file(input.file))
    }
}
