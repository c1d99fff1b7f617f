//! `net attach` and `net detach`: programs without links, which stay until they are detached.

use skep::runtime::{Command, Fd};
use skep_isa::uapi::AttachType;
use skep_kernel::network;

use super::super::failure::{Failure, Outcome};
use super::super::select;
use super::super::shell::Shell;
use super::super::words::{Words, abbreviates};
use super::{device, expected};

const XDP_FLAGS_UPDATE_IF_NOEXIST: u32 = 1;
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
const XDP_FLAGS_HW_MODE: u32 = 1 << 3;
/// `BPF_F_BEFORE`: before all others.
const BEFORE: u32 = 1 << 3;
const EINVAL: i32 = 22;

/// A hook of devices.
#[derive(Clone, Copy)]
enum Hook {
    /// XDP, with flags that say in which mode.
    Xdp(u32),
    /// A hook with an order.
    Ordered(AttachType),
}

/// By bpftool's names; where a word is short for several, the first is meant.
const HOOKS: &[(&str, Hook)] = &[
    ("xdp", Hook::Xdp(0)),
    ("xdpgeneric", Hook::Xdp(XDP_FLAGS_SKB_MODE)),
    ("xdpdrv", Hook::Xdp(XDP_FLAGS_DRV_MODE)),
    ("xdpoffload", Hook::Xdp(XDP_FLAGS_HW_MODE)),
    ("tcx_ingress", Hook::Ordered(AttachType::TCX_INGRESS)),
    ("tcx_egress", Hook::Ordered(AttachType::TCX_EGRESS)),
    ("netkit_primary", Hook::Ordered(AttachType::NETKIT_PRIMARY)),
    ("netkit_peer", Hook::Ordered(AttachType::NETKIT_PEER)),
];

/// `net attach TYPE PROG dev NAME [overwrite|prepend]`
pub(crate) fn attach(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let (name, hook) = hook(words)?;
    let prog = select::prog(shell, words).map_err(invalid)?;
    let device = device(words).map_err(invalid)?;
    let (mut overwrite, mut prepend) = (false, false);
    if words.keyword("overwrite") {
        overwrite = true;
    } else if words.keyword("prepend") {
        prepend = true;
    } else if !words.is_empty() {
        return Err(invalid(expected("`overwrite` or `prepend`", words)));
    }
    let prog = prog.handle.fd();
    let attached = match hook {
        Hook::Xdp(mode) => {
            let flags = if overwrite { mode } else { mode | XDP_FLAGS_UPDATE_IF_NOEXIST };
            network::set_xdp(device, Some(prog), flags)
        }
        Hook::Ordered(attach_type) => {
            let flags = if prepend { BEFORE } else { 0 };
            let target = Fd(device.cast_signed());
            shell.runtime()?.bpf(Command::ProgAttach { prog, target, attach_type, flags }).map(drop)
        }
    };
    attached.map_err(|e| Failure::refused(&e).context(format_args!("cannot attach to `{name}`")))
}

/// `net detach TYPE dev NAME`
pub(crate) fn detach(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let (name, hook) = hook(words)?;
    let device = device(words).map_err(invalid)?;
    words.end().map_err(invalid)?;
    let detached = match hook {
        Hook::Xdp(mode) => network::set_xdp(device, None, mode),
        Hook::Ordered(attach_type) => {
            let target = Fd(device.cast_signed());
            shell.runtime()?.bpf(Command::ProgDetach { prog: None, target, attach_type }).map(drop)
        }
    };
    detached.map_err(|e| Failure::refused(&e).context(format_args!("cannot detach from `{name}`")))
}

fn hook(words: &mut Words<'_>) -> Outcome<(&'static str, Hook)> {
    let word = words.need("the kind of hook").map_err(invalid)?;
    let found = HOOKS.iter().find(|(name, _)| abbreviates(word, name));
    found.copied().ok_or_else(|| {
        let known: Vec<&str> = HOOKS.iter().map(|(name, _)| *name).collect();
        invalid(Failure::new(format!("devices have no hook `{word}`")))
            .hint(format!("they have {}", known.join(", ")))
    })
}

/// Words that do not fit are `EINVAL` here.
fn invalid(failure: Failure) -> Failure {
    failure.with_errno(EINVAL)
}
