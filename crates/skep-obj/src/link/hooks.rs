//! What of the kernel a program attaches to, where that is said by type: tracing, LSM and iterator programs.

use skep_btf::Kind;
use skep_isa::uapi::{AttachType, ProgType};

use super::{LinkedProgram, Target, Wanted};
use crate::attach::AttachPoint;
use crate::error::{Error, Result};
use crate::map::KernelType;

/// Fills in the type that a program attaches to; that there is none is the program's `result`.
pub(super) fn resolve(program: &mut LinkedProgram, target: &Target, file: &str) {
    if program.result.is_err() {
        return;
    }
    let result = wanted(program).and_then(|wanted| match wanted {
        Some(wanted) if target.deferred => {
            program.deferred.hook = Some(wanted);
            Ok(None)
        }
        Some(wanted) => find(&wanted, target).map(Some),
        None => Ok(None),
    });
    match result {
        Ok(found) => program.attach_btf = found,
        Err(error) => program.result = Err(error.file(file).section(&program.section).symbol(&program.name)),
    }
}

/// The type that says where the program attaches.
fn wanted(program: &LinkedProgram) -> Result<Option<Wanted>> {
    let (prefix, kind, name) = match (&program.attach, program.prog_type) {
        // The program that it replaces part of is the caller's to say.
        (_, ProgType::EXT) => return Ok(None),
        (AttachPoint::BtfTracepoint { name }, _) => ("btf_trace_", Kind::Typedef, Some(name.as_str())),
        (AttachPoint::Btf { attach_type: Some(attach_type), name }, _) => match *attach_type {
            AttachType::LSM_MAC | AttachType::LSM_CGROUP => ("bpf_lsm_", Kind::Func, name.as_deref()),
            AttachType::TRACE_ITER => ("bpf_iter_", Kind::Func, name.as_deref()),
            AttachType::TRACE_FENTRY | AttachType::TRACE_FEXIT | AttachType::MODIFY_RETURN => {
                ("", Kind::Func, name.as_deref())
            }
            // Newer ones attach to many functions, and are not told here which.
            _ => return Ok(None),
        },
        (AttachPoint::None, ProgType::TRACING | ProgType::LSM) => ("", Kind::Func, None),
        _ => return Ok(None),
    };
    let Some(name) = name else {
        return Err(Error::invalid("neither the section nor the caller says what to attach to")
            .hint(format!("write `SEC(\"{}/NAME\")`", program.section)));
    };
    let (module, name) = name.split_once(':').map_or((None, name), |(module, name)| (Some(module), name));
    Ok(Some(Wanted { name: format!("{prefix}{name}"), kind, module: module.map(str::to_owned) }))
}

fn find(wanted: &Wanted, target: &Target) -> Result<KernelType> {
    if target.btf.is_none() {
        return Err(Error::unresolved("it attaches by type, but the kernel's types are not known")
            .hint("the kernel needs `CONFIG_DEBUG_INFO_BTF`"));
    }
    let Wanted { name, kind, module } = wanted;
    let found = target.all_btf().find_map(|(n, btf)| {
        let here = n.map_or("vmlinux", |n| target.modules[n].name.as_str());
        let id = btf.find(name, *kind).filter(|id| n.is_none() || *id >= btf.first_id())?;
        module.as_ref().is_none_or(|module| module == here).then_some(KernelType { id, module: n })
    });
    found.ok_or_else(|| {
        Error::unresolved(format!("the kernel has no `{name}` to attach to"))
            .hint("it may be inlined, called otherwise in this kernel, or in a module that is not loaded")
    })
}
