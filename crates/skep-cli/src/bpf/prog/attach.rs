//! `prog attach` and `prog detach`: every hook that a program can have.
//!
//! Maps of sockets and the flow dissector hold programs themselves, as bpftool attaches them. For every other hook the
//! runtime makes a link, which has to be pinned: it would end with the command.

use std::path::PathBuf;

use skep::object::AttachPoint;
use skep::object::section::SectionDef;
use skep::runtime::{AttachOptions, AttachTarget, Command, Fd, Handle, Order};
use skep_isa::uapi::AttachType;

use super::super::failure::{EINVAL, Failure, Outcome};
use super::super::select::{self, SelectedMap, SelectedProg};
use super::super::shell::Shell;
use super::super::words::Words;
use super::super::{pins, words};

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

/// How XDP runs, with `net attach`'s names: `XDP_FLAGS_SKB_MODE`, `XDP_FLAGS_DRV_MODE`, `XDP_FLAGS_HW_MODE`.
const XDP_MODES: &[(&str, u32)] = &[("xdpgeneric", 1 << 1), ("xdpdrv", 1 << 2), ("xdpoffload", 1 << 3)];

/// `prog attach PROG TYPE [MAP]`, or `prog attach PROG SECTION [WHERE …] pin FILE`
pub(crate) fn attach(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    words.at_least(3, "it is `prog attach PROG TYPE …`").map_err(invalid)?;
    let prog = select::prog(shell, words)?;
    let name = words.need("where to attach")?;
    // A link that is pinned is no business of a map or a namespace.
    if let Some(attach_type) = hook(name).filter(|_| !words.contain("pin")) {
        return without_link(shell, words, &prog, attach_type, true);
    }
    let mode = XDP_MODES.iter().find(|(known, _)| *known == name).map(|(_, mode)| *mode);
    let options = AttachOptions { flags: mode.unwrap_or_default(), ..AttachOptions::default() };
    match point(if mode.is_some() { "xdp" } else { name })? {
        Some(point) => with_link(shell, words, &prog, &point, options),
        None => Err(unknown(name)),
    }
}

/// `prog detach PROG TYPE [MAP]`
pub(crate) fn detach(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    words.at_least(3, "it is `prog detach PROG TYPE [MAP]`").map_err(invalid)?;
    let prog = select::prog(shell, words)?;
    let name = words.need("where to detach from")?;
    match hook(name) {
        Some(attach_type) => without_link(shell, words, &prog, attach_type, false),
        None if point(name)?.is_some() => Err(Failure::new(format!("a link holds programs at `{name}`"))
            .hint("`skep link detach id ID` detaches it, as does removing its pin")),
        None => Err(unknown(name)),
    }
}

fn hook(name: &str) -> Option<AttachType> {
    HOOKS.iter().find(|(known, _)| words::abbreviates(name, known)).map(|(_, attach_type)| *attach_type)
}

/// The place that the name of a section says; `uprobe:PATH:FUNCTION` is `uprobe/PATH:FUNCTION`.
fn point(name: &str) -> Outcome<Option<AttachPoint>> {
    for section in [name.to_owned(), name.replacen(':', "/", 1)] {
        if let Some(def) = SectionDef::find(&section) {
            return Ok(Some(def.attach_point(&section)?));
        }
    }
    Ok(None)
}

fn unknown(name: &str) -> Failure {
    let known: Vec<&str> = HOOKS.iter().map(|(name, _)| *name).collect();
    invalid(Failure::new(format!("there is no hook `{name}`"))).hint(format!(
        "there are {}, and the sections of objects: `tracepoint/CATEGORY/NAME`, `uprobe/PATH:FUNCTION`, `xdp`, …",
        known.join(", ")
    ))
}

/// Whatever the reason, scripts see `EINVAL`.
fn invalid(failure: Failure) -> Failure {
    failure.with_errno(EINVAL)
}

fn without_link(
    shell: &mut Shell,
    words: &mut Words<'_>,
    prog: &SelectedProg,
    attach_type: AttachType,
    is_attach: bool,
) -> Outcome {
    // The flow dissector belongs to the network namespace of the caller, and names no target.
    let map = match attach_type {
        AttachType::FLOW_DISSECTOR => None,
        _ => {
            words.at_least(2, "name a map of sockets").map_err(invalid)?;
            Some(select::map(shell, words)?)
        }
    };
    words.end()?;
    let target = map.as_ref().map_or(Fd(0), |map| map.map.fd());
    let prog = prog.handle.fd();
    let command = match is_attach {
        true => Command::ProgAttach { prog, target, attach_type, flags: 0 },
        false => Command::ProgDetach { prog: Some(prog), target, attach_type },
    };
    shell.runtime()?.bpf(command).map(drop).map_err(|e| invalid(e.into()))
}

fn with_link(
    shell: &mut Shell,
    words: &mut Words<'_>,
    prog: &SelectedProg,
    point: &AttachPoint,
    options: AttachOptions,
) -> Outcome {
    let place = place(shell, words, options)?;
    let Some(pin) = place.pin else {
        return Err(Failure::new("`pin FILE` is missing")
            .hint("a link holds the program there, and ends with this command unless it has a name"));
    };
    let runtime = shell.runtime()?;
    let link = runtime.attach(prog.handle.fd(), point, &place.options).map_err(|e| Failure::refused(&e))?;
    let link = Handle::new(runtime, link);
    pins::pin(shell, link.fd(), pin)
}

/// What the words say of where a program goes.
#[derive(Default)]
struct Place<'a> {
    options: AttachOptions,
    pin: Option<&'a str>,
    /// Open until the link is made.
    map: Option<SelectedMap>,
}

fn place<'a>(shell: &mut Shell, words: &mut Words<'a>, options: AttachOptions) -> Outcome<Place<'a>> {
    let mut place = Place { options, ..Place::default() };
    while !words.is_empty() {
        if words.keyword("pin") {
            place.pin = Some(words.need("the file to pin the link to")?);
        } else if words.keyword("device") {
            place.options.target = Some(AttachTarget::Device(words.need("the device")?.to_owned()));
        } else if words.keyword("cgroup") {
            place.options.target = Some(AttachTarget::Cgroup(path(words, "the control group")?));
        } else if words.keyword("netns") {
            place.options.target = Some(AttachTarget::NetNs(path(words, "the network namespace")?));
        } else if words.keyword("map") {
            let map = place.map.insert(select::map(shell, words)?);
            place.options.target = Some(AttachTarget::Map(map.map.fd()));
        } else if words.keyword("netfilter") {
            place.options.target = Some(netfilter(words)?);
        } else if words.keyword("process") {
            place.options.process = Some(words.number("the process")?);
        } else if words.keyword("cookie") {
            place.options.cookie = words.number("the cookie")?.into();
        } else if words.keyword("first") {
            place.options.order = Order::First;
        } else if words.keyword("last") {
            place.options.order = Order::Last;
        } else {
            let word = words.next().unwrap_or_default();
            return Err(Failure::new(format!("`{word}` does not say where to attach")).hint(
                "there are `dev NAME`, `cgroup DIR`, `netns FILE`, `map MAP`, `netfilter FAMILY HOOK PRIORITY`, \
                 `process PID`, `cookie N`, `first`, `last` and `pin FILE`",
            ));
        }
    }
    Ok(place)
}

fn path(words: &mut Words<'_>, what: &str) -> Outcome<PathBuf> {
    words.need(what).map(PathBuf::from)
}

/// `netfilter ip|ip6 HOOK PRIORITY`
fn netfilter(words: &mut Words<'_>) -> Outcome<AttachTarget> {
    const HOOKS: [&str; 5] = ["prerouting", "input", "forward", "output", "postrouting"];
    let family = match words.need("the family, `ip` or `ip6`")? {
        "ip" => 2,
        "ip6" => 10,
        other => return Err(Failure::new(format!("`{other}` is no family: it is `ip` or `ip6`"))),
    };
    let name = words.need("the hook")?;
    let hook = HOOKS.iter().zip(0..).find(|(known, _)| **known == name).map(|(_, number)| number);
    let hook = hook.ok_or_else(|| {
        Failure::new(format!("netfilter has no hook `{name}`")).hint(format!("it has {}", HOOKS.join(", ")))
    })?;
    let word = words.need("the priority")?;
    let priority =
        word.parse().map_err(|_| Failure::new(format!("`{word}` is not a number for the priority")))?;
    Ok(AttachTarget::Netfilter { family, hook, priority })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_sections_are_places() {
        let is_point = |name| point(name).unwrap().is_some();
        for name in ["tracepoint/syscalls/sys_enter_write", "uprobe:/bin/sh:main", "xdp", "cgroup/connect4"] {
            assert!(is_point(name), "{name}");
        }
        assert!(!is_point("nowhere") && point("tracepoint/one").is_err());
        assert_eq!(hook("sk_skb_v"), Some(AttachType::SK_SKB_VERDICT));
        assert_eq!(hook("xdp"), None);
    }
}
