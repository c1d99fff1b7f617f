//! Programs that extend, or trace, a function of another program.

use std::sync::Arc;

use skep_btf::{Btf, Kind};
use skep_isa::uapi::ProgType;
use skep_obj::{AttachPoint, LinkedProgram};
use skep_runtime::command::ObjectKind;
use skep_runtime::info::{self, BtfInfo, ProgInfo};
use skep_runtime::{Fd, SharedRuntime};

use super::Options;
use crate::{Error, Result};

/// The other program and the id of its function, for a program of which the caller has said what it extends.
pub(super) fn target(
    runtime: &SharedRuntime,
    program: &LinkedProgram,
    options: &Options,
) -> Result<Option<(Fd, u32)>> {
    let said = options.extends.iter().find(|(name, _)| *name == program.name);
    let Some((_, other)) = said else {
        return match program.prog_type {
            ProgType::EXT => Err(Error::usage(
                format!(
                    "program `{}` replaces a function of another program, and nobody has said of which",
                    program.name
                ),
                "name it in `Options::extends`, or leave the program out: `SEC(\"?freplace/FUNCTION\")`",
            )),
            _ => Ok(None),
        };
    };
    let AttachPoint::Btf { name: Some(function), .. } = &program.attach else {
        return Err(Error::usage(
            format!("program `{}` does not say which function it is for", program.name),
            format!("write `SEC(\"{}/FUNCTION\")`", program.section),
        ));
    };
    let btf = types_of(runtime, *other)?;
    let id = btf.find(function, Kind::Func).ok_or_else(|| {
        Error::usage(
            format!("program `{}`: the other program has no function `{function}`", program.name),
            "only global functions can be replaced",
        )
    })?;
    Ok(Some((*other, id.0)))
}

/// The types that a loaded program has come with.
fn types_of(runtime: &SharedRuntime, program: Fd) -> Result<Btf> {
    let id = ProgInfo::of(runtime, program, &[])?.btf_id;
    let types = info::open_id(runtime, ObjectKind::Btf, id)?;
    let bytes = BtfInfo::data(runtime, types.fd())?;
    Ok(Btf::parse(Arc::new(bytes))?)
}
