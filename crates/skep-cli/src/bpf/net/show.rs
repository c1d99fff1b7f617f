//! `net show`: programs of devices by kind of hook, the flow dissector of the namespace, netfilter.

use std::fs::File;
use std::os::fd::AsRawFd as _;

use skep::runtime::command::ObjectKind;
use skep::runtime::info;
use skep::runtime::link_info::{LinkDetail, LinkInfo};
use skep::runtime::{AttachTarget, Command, Fd, Reply, SharedRuntime};
use skep_isa::uapi::AttachType;
use skep_kernel::network::{self, Device, Filter};

use super::super::failure::{Failure, Outcome};
use super::super::json::Json;
use super::super::prog;
use super::super::shell::Shell;
use super::super::words::Words;
use super::device;

/// Hooks of devices that have an order, with bpftool's names.
const ORDERED: [(&str, AttachType); 4] = [
    ("tcx/ingress", AttachType::TCX_INGRESS),
    ("tcx/egress", AttachType::TCX_EGRESS),
    ("netkit/primary", AttachType::NETKIT_PRIMARY),
    ("netkit/peer", AttachType::NETKIT_PEER),
];

/// `net show [dev NAME]`
pub(crate) fn show(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let only = if words.is_empty() { None } else { Some(device(words)?) };
    words.end()?;
    let runtime = shell.runtime()?;
    let dissector = flow_dissector(&runtime)?;
    let devices = network::devices(only)?;
    let is_json = shell.is_json();
    if is_json {
        shell.json.begin_array();
        shell.json.begin_object();
    }
    section(shell, "xdp", |shell| {
        devices.iter().filter(|device| !device.xdp.is_empty()).for_each(|device| xdp(shell, device));
        Ok(())
    })?;
    section(shell, "tc", |shell| devices.iter().try_for_each(|device| traffic(shell, &runtime, device)))?;
    section(shell, "flow_dissector", |shell| {
        if let Some(id) = dissector {
            match is_json {
                true => {
                    shell.json.begin_object();
                    shell.json.unsigned_field("id", id);
                    shell.json.end_object();
                }
                false => shell.json.text(format_args!("id {id}")),
            }
        }
        Ok(())
    })?;
    section(shell, "netfilter", |shell| netfilter(shell, &runtime))?;
    if is_json {
        shell.json.end_object();
        shell.json.end_array();
    }
    Ok(())
}

/// A list with a name.
fn section(shell: &mut Shell, name: &str, content: impl FnOnce(&mut Shell) -> Outcome) -> Outcome {
    if shell.is_json() {
        shell.json.name(name);
        shell.json.begin_array();
        content(shell)?;
        shell.json.end_array();
    } else {
        shell.json.text(format_args!("{name}:\n"));
        content(shell)?;
        shell.json.text(format_args!("\n"));
    }
    Ok(())
}

fn begin(json: &mut Json, is_json: bool, device: &Device) {
    if is_json {
        json.begin_object();
        json.string_field("devname", &device.name);
        json.unsigned_field("ifindex", device.index);
    } else {
        json.text(format_args!("{}({})", device.name, device.index));
    }
}

fn end(json: &mut Json, is_json: bool) {
    if is_json {
        json.end_object();
    } else {
        json.text(format_args!("\n"));
    }
}

fn xdp(shell: &mut Shell, device: &Device) {
    let is_json = shell.is_json();
    let json = &mut shell.json;
    begin(json, is_json, device);
    if is_json && device.mixed {
        json.name("multi_attachments");
        json.begin_array();
    }
    for program in &device.xdp {
        if !is_json {
            json.text(format_args!(" {} id {}", program.mode.name(), program.prog_id));
            continue;
        }
        if device.mixed {
            json.begin_object();
        }
        json.string_field("mode", program.mode.name());
        json.unsigned_field("id", program.prog_id);
        if device.mixed {
            json.end_object();
        }
    }
    if is_json && device.mixed {
        json.end_array();
    }
    end(json, is_json);
}

/// Programs with an order, then filters.
fn traffic(shell: &mut Shell, runtime: &SharedRuntime, device: &Device) -> Outcome {
    for (place, attach_type) in ORDERED {
        let target = AttachTarget::Device(device.name.clone());
        // A kernel without the hook, or a device that does not have it, has nothing there.
        let Ok(hook) = runtime.query(&target, attach_type) else { continue };
        for attached in &hook.programs {
            let name = prog_name(runtime, attached.prog_id);
            ordered(shell, device, place, name.as_deref(), (attached.prog_id, attached.link_id));
        }
    }
    network::filters(device.index)?.iter().for_each(|found| filter(shell, device, found));
    Ok(())
}

fn ordered(
    shell: &mut Shell,
    device: &Device,
    place: &str,
    name: Option<&str>,
    (prog_id, link_id): (u32, u32),
) {
    let is_json = shell.is_json();
    let json = &mut shell.json;
    begin(json, is_json, device);
    if is_json {
        json.string_field("kind", place);
        if let Some(name) = name {
            json.string_field("name", name);
        }
        json.unsigned_field("prog_id", prog_id);
        json.array_field::<u32>("prog_flags", []);
        json.unsigned_field("link_id", link_id);
        json.array_field::<u32>("link_flags", []);
    } else {
        let name = name.map(|name| format!(" {name}")).unwrap_or_default();
        json.text(format_args!(" {place}{name} prog_id {prog_id} "));
        if link_id != 0 {
            json.text(format_args!("link_id {link_id} "));
        }
    }
    end(json, is_json);
}

fn filter(shell: &mut Shell, device: &Device, filter: &Filter) {
    let is_json = shell.is_json();
    let json = &mut shell.json;
    begin(json, is_json, device);
    if is_json {
        json.string_field("kind", &filter.place);
        program_json(json, filter.name.as_deref(), filter.prog_id);
        if !filter.actions.is_empty() {
            json.name("act");
            json.begin_array();
            for action in &filter.actions {
                json.begin_object();
                program_json(json, action.name.as_deref(), action.prog_id);
                json.end_object();
            }
            json.end_array();
        }
    } else {
        json.text(format_args!(" {}", filter.place));
        program_text(json, filter.name.as_deref(), " ", filter.prog_id);
        if !filter.actions.is_empty() {
            json.text(format_args!(" act ["));
            for action in &filter.actions {
                json.text(format_args!("{{"));
                program_text(json, action.name.as_deref(), "", action.prog_id);
                json.text(format_args!("}}"));
            }
            json.text(format_args!("] "));
        }
    }
    end(json, is_json);
}

fn program_json(json: &mut Json, name: Option<&str>, id: Option<u32>) {
    if let Some(name) = name {
        json.string_field("name", name);
    }
    if let Some(id) = id {
        json.unsigned_field("id", id);
    }
}

fn program_text(json: &mut Json, name: Option<&str>, before: &str, id: Option<u32>) {
    if let Some(name) = name {
        json.text(format_args!("{before}{name}"));
    }
    if let Some(id) = id {
        json.text(format_args!(" id {id}"));
    }
}

/// The full name of a program.
fn prog_name(runtime: &SharedRuntime, id: u32) -> Option<String> {
    prog::full_name(runtime, info::open_id(runtime, ObjectKind::Prog, id).ok()?)
}

/// The flow dissector of this network namespace.
fn flow_dissector(runtime: &SharedRuntime) -> Outcome<Option<u32>> {
    const NAMESPACE: &str = "/proc/self/ns/net";
    const EINVAL: i32 = 22;
    let namespace = File::open(NAMESPACE).map_err(|e| Failure::file(NAMESPACE, &e))?;
    let mut prog_ids = [0];
    let command = Command::ProgQuery {
        target: Fd(namespace.as_raw_fd()),
        attach_type: AttachType::FLOW_DISSECTOR,
        flags: 0,
        prog_ids: &mut prog_ids,
        link_ids: &mut [],
    };
    match runtime.bpf(command) {
        Ok(Reply::Query { count: 1.., .. }) => Ok(Some(prog_ids[0])),
        Ok(_) => Ok(None),
        // Kernels before 5.0 do not say.
        Err(e) if e.errno() == EINVAL => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Links to netfilter, in the order in which they run.
fn netfilter(shell: &mut Shell, runtime: &SharedRuntime) -> Outcome {
    let mut found = Vec::new();
    for id in info::ids(runtime, ObjectKind::Link)? {
        // One that is gone by now is not shown.
        let Ok(link) = info::open_id(runtime, ObjectKind::Link, id) else { continue };
        let Ok(info) = LinkInfo::of(runtime, link.fd()) else { continue };
        if let LinkDetail::Netfilter { pf, hooknum, priority, flags } = info.detail {
            found.push(((pf, hooknum, priority, flags), info.prog_id));
        }
    }
    found.sort_unstable();
    for ((pf, hook, priority, flags), prog_id) in found {
        if shell.is_json() {
            let json = &mut shell.json;
            json.begin_object();
            json.unsigned_field("pf", pf);
            json.unsigned_field("hook", hook);
            json.name("prio");
            json.signed(priority);
            json.unsigned_field("flags", flags);
            json.unsigned_field("id", prog_id);
            json.end_object();
        } else {
            let flags = if flags == 0 { String::new() } else { format!(" flags {flags:#x}") };
            let place = netfilter_place(pf, hook);
            shell.json.text(format_args!("\n\t{place} prio {priority}{flags} prog_id {prog_id}"));
        }
    }
    Ok(())
}

/// Names of a family and of its hook (`NFPROTO_*`, `enum nf_inet_hooks`).
fn netfilter_place(pf: u32, hook: u32) -> String {
    const FAMILIES: [(u32, &str); 5] = [(1, "inet"), (2, "ip"), (3, "arp"), (7, "bridge"), (10, "ip6")];
    const HOOKS: [&str; 5] = ["prerouting", "input", "forward", "output", "postrouting"];
    const ARP_HOOKS: [&str; 2] = ["input", "output"];
    let family = FAMILIES.iter().find(|(number, _)| *number == pf);
    let hooks: &[&str] = if pf == 3 { &ARP_HOOKS } else { &HOOKS };
    let family = family.map_or_else(|| format!("pf: {pf}"), |(_, name)| (*name).to_owned());
    match hooks.get(hook as usize) {
        Some(name) => format!("{family} {name}"),
        None => format!("{family}, hook {hook},"),
    }
}
