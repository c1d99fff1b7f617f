//! `prog attach` and `prog detach`: sockets' maps, and the flow dissector.

use skep::runtime::{Command, Fd};
use skep_isa::uapi::AttachType;

use super::super::failure::{Failure, Outcome};
use super::super::select;
use super::super::shell::Shell;
use super::super::words::Words;

/// The hooks that have no link, with the names that scripts may use.
const HOOKS: &[(&str, AttachType)] = &[
    ("sk_msg_verdict", AttachType::SK_MSG_VERDICT),
    ("msg_verdict", AttachType::SK_MSG_VERDICT),
    ("sk_skb_verdict", AttachType::SK_SKB_VERDICT),
    ("skb_verdict", AttachType::SK_SKB_VERDICT),
    ("sk_skb_stream_verdict", AttachType::SK_SKB_STREAM_VERDICT),
    ("stream_verdict", AttachType::SK_SKB_STREAM_VERDICT),
    ("sk_skb_stream_parser", AttachType::SK_SKB_STREAM_PARSER),
    ("stream_parser", AttachType::SK_SKB_STREAM_PARSER),
    ("flow_dissector", AttachType::FLOW_DISSECTOR),
];

/// `prog attach PROG TYPE [MAP]`
pub(crate) fn attach(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    command(shell, words, true)
}

/// `prog detach PROG TYPE [MAP]`
pub(crate) fn detach(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    command(shell, words, false)
}

fn command(shell: &mut Shell, words: &mut Words<'_>, is_attach: bool) -> Outcome {
    let prog = select::prog(shell, words)?;
    let name = words.need("where to attach")?;
    let Some(&(_, attach_type)) = HOOKS.iter().find(|(known, _)| known.starts_with(name)) else {
        let known: Vec<&str> = HOOKS.iter().map(|(name, _)| *name).collect();
        return Err(Failure::new(format!("`{name}` is no hook of maps of sockets"))
            .hint(format!("there are {}; `skep net` and `skep cgroup` attach to others", known.join(", "))));
    };
    // The flow dissector belongs to the network namespace of the caller, and names no target.
    let map = match attach_type {
        AttachType::FLOW_DISSECTOR => None,
        _ => Some(select::map(shell, words)?),
    };
    words.end()?;
    let target = map.as_ref().map_or(Fd(0), |map| map.map.fd());
    let prog = prog.handle.fd();
    let command = match is_attach {
        true => Command::ProgAttach { prog, target, attach_type, flags: 0 },
        false => Command::ProgDetach { prog: Some(prog), target, attach_type },
    };
    shell.runtime()?.bpf(command).map(drop).map_err(Failure::from)
}
