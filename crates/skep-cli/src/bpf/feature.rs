//! `skep feature`: what the runtime supports.

mod print;
mod system;

use std::fs;

use skep::features::{Prober, Support, Trait};
use skep_isa::helper::{self, Helper};
use skep_isa::uapi::{AttachType, LinkType, MapType, ProgType};

use super::failure::{Failure, Outcome};
use super::shell::Shell;
use super::words::Words;
use crate::args::RuntimeChoice;
use print::Printer;

/// What is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Component {
    Kernel,
    Device(String),
}

/// What the words say.
#[derive(Default)]
struct Wishes {
    component: Option<Component>,
    /// Also helpers whose use the kernel remarks on in its log.
    full: bool,
    unprivileged: bool,
    /// Write macros whose names begin so.
    macros: Option<String>,
}

/// Helpers whose use the kernel remarks on in its log.
const REMARKED: [&str; 3] = ["bpf_trace_printk", "bpf_trace_vprintk", "bpf_probe_write_user"];

/// `feature probe [kernel|dev NAME] [full] [unprivileged] [macros [prefix PREFIX]]`
pub(crate) fn probe(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let wishes = wishes(words)?;
    if wishes.unprivileged {
        drop_privileges()?;
    }
    // What the user runtime supports does not depend on a daemon's objects.
    let runtime = match shell.choice() {
        Some(RuntimeChoice::User) => shell.passing_runtime()?,
        _ => shell.runtime()?,
    };
    let mut prober = Prober::new(&runtime);
    if wishes.unprivileged {
        prober = prober.as_anybody();
    }
    let device = match &wishes.component {
        Some(Component::Device(name)) => Some(ifindex(name)?),
        _ => None,
    };
    if let Some(ifindex) = device {
        prober = prober.on_device(ifindex);
    }
    let macros = wishes.macros.filter(|_| !shell.is_json());
    let is_json = shell.is_json();
    let mut printer = Printer::new(&mut shell.json, is_json, macros);
    printer.begin();
    if device.is_none() {
        system::print(&mut printer);
    }
    sections(&mut printer, &prober, device.is_some(), wishes.full);
    printer.end();
    Ok(())
}

fn wishes(words: &mut Words<'_>) -> Outcome<Wishes> {
    let mut wishes = Wishes::default();
    let mut has_prefix = false;
    while let Some(word) = words.peek() {
        let twice = || Err(Failure::new("it has been said already what is to be probed"));
        if words.keyword("kernel") {
            if wishes.component.replace(Component::Kernel).is_some() {
                return twice();
            }
        } else if words.keyword("dev") {
            if wishes.component.is_some() {
                return twice();
            }
            wishes.component = Some(Component::Device(words.need("the device")?.to_owned()));
        } else if words.keyword("full") {
            wishes.full = true;
        } else if wishes.macros.is_none() && words.keyword("macros") {
            wishes.macros = Some(String::new());
        } else if words.keyword("prefix") {
            if has_prefix || wishes.macros.is_none() {
                return Err(Failure::new("`prefix` goes once, behind `macros`"));
            }
            (wishes.macros, has_prefix) = (Some(words.need("the prefix")?.to_owned()), true);
        } else if words.keyword("unprivileged") {
            wishes.unprivileged = true;
        } else {
            return Err(Failure::new(format!("`{word}` is too much"))
                .hint("`kernel`, `dev NAME`, `full`, `unprivileged`, `macros [prefix PREFIX]`"));
        }
    }
    Ok(wishes)
}

/// Goes on without capabilities, to see what everybody may.
fn drop_privileges() -> Outcome {
    use rustix::thread::{CapabilitySet, CapabilitySets};
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, sets)
        .map_err(|e| Failure::new(format!("cannot drop privileges: {e}")))
}

fn ifindex(name: &str) -> Outcome<u32> {
    let text = (!name.contains('/')).then(|| fs::read_to_string(format!("/sys/class/net/{name}/ifindex")));
    let number = text.and_then(Result::ok).and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| Failure::new(format!("there is no network device `{name}`")))
}

/// All but the configuration of the system.
fn sections(printer: &mut Printer<'_>, prober: &Prober, on_device: bool, full: bool) {
    printer.section("syscall_config", "Scanning system call availability...", "System call availability");
    let bpf = prober.bpf();
    printer.feature("have_bpf_syscall", "bpf() syscall", "BPF_SYSCALL", &bpf);
    printer.end_section();
    if !bpf.is_yes() {
        return;
    }
    let types = program_types(printer, prober, on_device);
    map_types(printer, prober, on_device);
    helpers(printer, prober, &types, full);
    if !on_device {
        attach_types(printer, prober);
    }
    misc(printer, prober, on_device);
}

/// Only these can be offloaded.
const ON_DEVICES: ([ProgType; 2], [MapType; 2]) =
    ([ProgType::SCHED_CLS, ProgType::XDP], [MapType::HASH, MapType::ARRAY]);

fn program_types(printer: &mut Printer<'_>, prober: &Prober, on_device: bool) -> Vec<(ProgType, Support)> {
    printer.section("program_types", "Scanning eBPF program types...", "eBPF program types");
    let all = ProgType::ALL.iter().copied();
    let asked = all.filter(|&t| t != ProgType::UNSPEC && (!on_device || ON_DEVICES.0.contains(&t)));
    let types: Vec<(ProgType, Support)> = asked.map(|t| (t, prober.prog_type(t))).collect();
    for (prog_type, support) in &types {
        printer.typed("program_type", "prog_type", &prog_type.to_string(), support);
    }
    printer.end_section();
    types
}

fn map_types(printer: &mut Printer<'_>, prober: &Prober, on_device: bool) {
    printer.section("map_types", "Scanning eBPF map types...", "eBPF map types");
    let all = MapType::ALL.iter().copied();
    for map_type in all.filter(|&t| t != MapType::UNSPEC && (!on_device || ON_DEVICES.1.contains(&t))) {
        printer.typed("map_type", "map_type", &map_type.to_string(), &prober.map_type(map_type));
    }
    printer.end_section();
}

fn helpers(printer: &mut Printer<'_>, prober: &Prober, types: &[(ProgType, Support)], full: bool) {
    printer.section("helpers", "Scanning eBPF helper functions...", "eBPF helper functions");
    printer.helper_macro();
    for (prog_type, support) in types {
        let asked = helper::ALL.iter().filter(|helper| full || !REMARKED.contains(&helper.name));
        let answer = |helper: &'static Helper| {
            let is_there = support.is_yes() && prober.helper(*prog_type, helper).is_yes();
            (helper.name, is_there)
        };
        printer.helpers(&prog_type.to_string(), support.is_yes(), asked.map(answer));
    }
    printer.end_section();
}

fn attach_types(printer: &mut Printer<'_>, prober: &Prober) {
    printer.section("attach_types", "Scanning eBPF attach types...", "eBPF attach types");
    for &attach_type in AttachType::ALL {
        printer.typed(
            "attach_type",
            "attach_type",
            &attach_type.to_string(),
            &prober.attach_type(attach_type),
        );
    }
    printer.end_section();
}

fn misc(printer: &mut Printer<'_>, prober: &Prober, on_device: bool) {
    printer.section("misc", "Scanning miscellaneous eBPF features...", "eBPF misc features");
    for (wanted, field, plain, define) in [
        (Trait::LargePrograms, "have_large_insn_limit", "Large program size limit", "LARGE_INSN_LIMIT"),
        (Trait::BoundedLoops, "have_bounded_loops", "Bounded loop support", "BOUNDED_LOOPS"),
        (Trait::IsaV2, "have_v2_isa_extension", "ISA extension v2", "V2_ISA_EXTENSION"),
        (Trait::IsaV3, "have_v3_isa_extension", "ISA extension v3", "V3_ISA_EXTENSION"),
        (Trait::IsaV4, "have_v4_isa_extension", "ISA extension v4", "V4_ISA_EXTENSION"),
    ] {
        printer.feature(field, plain, define, &prober.has(wanted));
    }
    if !on_device {
        printer.feature("have_map_batch", "Batch operations on maps", "MAP_BATCH", &prober.batch());
        printer.number("insn_limit", "Program size limit", "INSN_LIMIT", "instructions", prober.insns_max());
    }
    printer.end_section();
}

/// `feature list_builtins GROUP`: what this version knows by name, whatever the runtime supports.
pub(crate) fn list_builtins(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let group = words.need("the group").map_err(|e| e.hint(GROUPS).aside())?;
    words.end()?;
    let names: Vec<&str> = match group {
        _ if is_short_for(group, "prog_types") => ProgType::ALL.iter().filter_map(|t| t.name()).collect(),
        _ if is_short_for(group, "map_types") => MapType::ALL.iter().filter_map(|t| t.name()).collect(),
        _ if is_short_for(group, "attach_types") => AttachType::ALL.iter().filter_map(|t| t.name()).collect(),
        _ if is_short_for(group, "link_types") => LinkType::ALL.iter().filter_map(|t| t.name()).collect(),
        _ if is_short_for(group, "helpers") => {
            std::iter::once("bpf_unspec").chain(helper::ALL.iter().map(|helper| helper.name)).collect()
        }
        _ => return Err(Failure::new(format!("there is no group `{group}`")).hint(GROUPS)),
    };
    if shell.is_json() {
        shell.json.begin_array();
        names.iter().for_each(|name| shell.json.string(name));
        shell.json.end_array();
    } else {
        names.iter().for_each(|name| shell.json.text(format_args!("{name}\n")));
    }
    Ok(())
}

const GROUPS: &str = "`prog_types`, `map_types`, `attach_types`, `link_types` or `helpers`";

fn is_short_for(word: &str, group: &str) -> bool {
    super::words::abbreviates(word, group)
}
