//! The command table: every object, its commands, their words. Nothing else lists commands.

use std::fmt::Write as _;

use super::failure::Outcome;
use super::options::OPTIONS;
use super::shell::Shell;
use super::words::{Words, abbreviates};
use super::{
    btf, cgroup, daemon, doctor, feature, generate, iter, link, map, net, obj, perf, prog, struct_ops, token,
    top,
};

/// Commands on one kind of object.
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// The first is meant where none is named, unless it has to be.
    pub(crate) commands: &'static [Command],
    /// What the words in capitals stand for.
    pub(crate) terms: &'static [&'static str],
}

/// One command.
pub(crate) struct Command {
    pub(crate) name: &'static str,
    /// Another name for it.
    pub(crate) alias: Option<&'static str>,
    /// What follows it.
    pub(crate) usage: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: fn(&mut Shell, &mut Words<'_>) -> Outcome,
    /// Is it meant where a word names no command? Then the word is its own.
    pub(crate) implied: bool,
    /// Is help meant where it is the family's first and no word follows that?
    pub(crate) explicit: bool,
}

impl Command {
    const fn implied(self) -> Self {
        Self { implied: true, ..self }
    }

    const fn explicit(self) -> Self {
        Self { explicit: true, ..self }
    }

    const fn or(self, alias: &'static str) -> Self {
        Self { alias: Some(alias), ..self }
    }

    /// What it is called: the name that help tells first, and the other one.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        [Some(self.name), self.alias].into_iter().flatten()
    }
}

impl Family {
    /// The first command that begins with `word`.
    pub(crate) fn find(&self, word: &str) -> Option<&'static Command> {
        self.commands.iter().find(|command| command.names().any(|name| abbreviates(word, name)))
    }

    /// The help text.
    pub(crate) fn help(&self) -> String {
        let mut text = format!("{}\n\n", self.about);
        for command in self.commands {
            let names = command.alias.map(|alias| format!("{{ {}|{alias} }}", command.name));
            let words = ["skep", self.name, names.as_deref().unwrap_or(command.name), command.usage];
            let usage: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
            let _ = writeln!(text, "  {}\n        {}", usage.join(" "), command.about);
        }
        let terms = self.terms.iter().map(|term| format!("  {term}\n")).collect::<String>();
        let _ = write!(text, "\n{terms}{}", if terms.is_empty() { "" } else { "\n" });
        text.push_str("options:\n");
        for row in OPTIONS {
            let letter = row.letter.map_or("    ".to_owned(), |letter| format!("-{letter}, "));
            let name = [row.name, row.value().unwrap_or_default()].join(" ");
            let _ = writeln!(text, "  {letter}--{name:<18} {}", row.about);
        }
        text
    }
}

const fn command(
    name: &'static str,
    usage: &'static str,
    about: &'static str,
    run: fn(&mut Shell, &mut Words<'_>) -> Outcome,
) -> Command {
    Command { name, alias: None, usage, about, run, implied: false, explicit: false }
}

const MAP: &str = "MAP := { id ID | name NAME | pinned FILE }";
const PROG: &str = "PROG := { id ID | name NAME | tag TAG | pinned FILE }";
const LINK: &str = "LINK := { id ID | pinned FILE }";
const SECTION: &str = "SECTION as in objects: tracepoint/syscalls/sys_enter_openat, uprobe/PATH:FUNCTION, xdp, cgroup/connect4, …";
const WHERE: &str = "WHERE := { dev NAME | cgroup DIR | netns FILE | map MAP | netfilter { ip|ip6 } HOOK PRIORITY | process PID | cookie N | first | last }";
const DEVICE_HOOK: &str = "TYPE := { xdp | xdpgeneric | xdpdrv | xdpoffload | tcx_ingress | tcx_egress | netkit_primary | netkit_peer }";
const STRUCT: &str = "STRUCT := { id ID | name NAME }";
const DATA: &str = "DATA := { [hex] BYTE … | typed VALUE }   VALUE as in C, by the map's types: 7, { .pid = 1, .comm = \"sh\" }";

/// Every kind of object. Where an abbreviation fits several, the first is meant.
pub(crate) const FAMILIES: &[Family] = &[
    Family {
        name: "prog",
        about: "Programs: what there is, what is in them, and loading more.",
        commands: &[
            command("show", "[PROG]", "List programs, or show one", prog::show::show).or("list"),
            command(
                "dump",
                "{ xlated|jited } PROG [file FILE | opcodes linum visual]",
                "Print a program as the verifier left it, or as machine code",
                prog::dump::dump,
            ),
            command("pin", "PROG FILE", "Give the program a name in the bpf file system", prog::pin),
            command(
                "load",
                "OBJ PATH [type TYPE] [map { idx N | name NAME } MAP] [pinmaps DIR] [autoattach] [kernel_btf FILE]",
                "Load an object and pin its first program; with `-L` and without a PATH, try it as a light skeleton",
                prog::load::load,
            ),
            command(
                "loadall",
                "OBJ DIR [type TYPE] [map { idx N | name NAME } MAP] [pinmaps DIR] [autoattach] [kernel_btf FILE]",
                "Load an object and pin all its programs",
                prog::load::loadall,
            ),
            command(
                "attach",
                "PROG { TYPE [MAP] | SECTION [WHERE …] pin FILE }",
                "Attach to a map of sockets, as flow dissector, or by a pinned link to any hook",
                prog::attach::attach,
            ),
            command("detach", "PROG TYPE [MAP]", "Take it away from there", prog::attach::detach),
            command(
                "tracelog",
                "[{ stdout|stderr } PROG]",
                "Print what programs print",
                prog::tracelog::tracelog,
            ),
            command(
                "profile",
                "PROG [duration SECONDS] METRIC …",
                "Count a program's runs and their time (run_time_ns)",
                prog::profile::profile,
            ),
            command(
                "run",
                "{ PROG | OBJ [program NAME] } data_in FILE [data_out FILE [data_size_out N]] [ctx_in FILE [ctx_out FILE [ctx_size_out N]]] [repeat N]",
                "Run a program on data, loaded or of an object",
                prog::run::run,
            ),
        ],
        terms: &[PROG, MAP, SECTION, WHERE],
    },
    Family {
        name: "map",
        about: "Maps: what there is, and what is in them.",
        commands: &[
            command("show", "[MAP]", "List maps, or show one", map::show::show).or("list"),
            command("dump", "MAP", "Print all elements", map::dump::dump),
            command(
                "update",
                "MAP [key DATA] [value { DATA | MAP | PROG }] [any|exist|noexist]",
                "Write an element",
                map::element::update,
            ),
            command("lookup", "MAP [key DATA]", "Print an element", map::element::lookup),
            command(
                "getnext",
                "MAP [key DATA]",
                "Print the key after a key, or the first",
                map::element::getnext,
            ),
            command("delete", "MAP key DATA", "Remove an element", map::element::delete),
            command("pin", "MAP FILE", "Give the map a name in the bpf file system", map::pin),
            command(
                "event_pipe",
                "MAP [cpu N index M]",
                "Print what programs send to a perf event array, until interrupted",
                map::events::event_pipe,
            ),
            command("peek", "MAP", "Print the next element of a queue or stack", map::queue::peek),
            command("push", "MAP value DATA", "Put an element on a stack", map::element::update),
            command("enqueue", "MAP value DATA", "Put an element in a queue", map::element::update),
            command("pop", "MAP", "Take an element from a stack", map::queue::take),
            command("dequeue", "MAP", "Take an element from a queue", map::queue::take),
            command("freeze", "MAP", "Make the map read-only for user space", map::freeze),
            command(
                "create",
                "FILE type TYPE key BYTES value BYTES entries N name NAME [flags N] [inner_map MAP] [dev NAME]",
                "Create a map and pin it",
                map::create::create,
            ),
            command(
                "events",
                "MAP [type TYPE] [count N]",
                "Print the records of a ring buffer or perf event array, decoded, until interrupted",
                map::events::events,
            ),
            command(
                "watch",
                "MAP [interval MS] [count N]",
                "Print elements as they appear, change and vanish, until interrupted",
                map::watch::watch,
            ),
        ],
        terms: &[MAP, PROG, DATA],
    },
    Family {
        name: "link",
        about: "Links: what holds programs to their hooks.",
        commands: &[
            command("show", "[LINK]", "List links, or show one", link::show).or("list"),
            command("pin", "LINK FILE", "Give the link a name in the bpf file system", link::pin),
            command("detach", "LINK", "Detach it, whoever holds it", link::detach),
            command("update", "LINK PROG [old PROG]", "Run another program there from now on", link::update),
        ],
        terms: &[LINK, PROG],
    },
    Family {
        name: "cgroup",
        about: "Control groups: what is attached to them.",
        commands: &[
            command("show", "CGROUP [effective]", "List what is attached to a control group", cgroup::show).or("list"),
            command("tree", "[ROOT] [effective]", "List it for all control groups", cgroup::tree),
            command("attach", "CGROUP TYPE PROG [multi|override]", "Attach a program", cgroup::attach),
            command("detach", "CGROUP TYPE PROG", "Detach a program", cgroup::detach),
        ],
        terms: &[PROG],
    },
    Family {
        name: "net",
        about: "Network devices: what is attached to them.",
        commands: &[
            command("show", "[dev NAME]", "List what is attached to devices, or to one", net::show).or("list"),
            command("attach", "TYPE PROG dev NAME [overwrite|prepend]", "Attach a program", net::attach),
            command("detach", "TYPE dev NAME", "Detach a program", net::detach),
        ],
        terms: &[PROG, DEVICE_HOOK],
    },
    Family {
        name: "perf",
        about: "Perf events: programs that processes hold there.",
        commands: &[
            command("show", "", "List descriptors that hold programs on probes and tracepoints", perf::show).or("list"),
        ],
        terms: &[],
    },
    Family {
        name: "iter",
        about: "Iterators: programs that run for each of something.",
        commands: &[
            command(
                "pin",
                "OBJ PATH [map MAP | cgroup DIR | pid PID]",
                "Load an object and pin its first program's iterator",
                iter::pin,
            )
            .explicit(),
            command("cat", "PATH", "Print what a pinned iterator writes", iter::cat),
        ],
        terms: &[MAP],
    },
    Family {
        name: "struct_ops",
        about: "Structures of functions that programs stand in for.",
        commands: &[
            command("show", "[STRUCT]", "List structures, or show some", struct_ops::show).or("list"),
            command("dump", "[STRUCT]", "Print what is in them", struct_ops::dump),
            command(
                "register",
                "OBJ [DIR]",
                "Load an object and have the kernel use its structures",
                struct_ops::register,
            ),
            command("unregister", "STRUCT", "End that", struct_ops::unregister),
        ],
        terms: &[STRUCT],
    },
    Family {
        name: "token",
        about: "Tokens: what mounts of the bpf file system delegate.",
        commands: &[
            command("show", "", "List mounts that delegate something", token::list).or("list"),
        ],
        terms: &[],
    },
    Family {
        name: "btf",
        about: "Types: of the kernel, of programs and maps, and in files.",
        commands: &[
            command("show", "[id ID]", "List types objects, or show one", btf::show::show).or("list"),
            command(
                "dump",
                "{ id ID | prog PROG | map MAP [key|value|kv|all] | file FILE } [format { raw|c }] [root_id ID …]",
                "Print types",
                btf::dump::dump,
            ),
        ],
        terms: &[MAP, PROG],
    },
    Family {
        name: "feature",
        about: "What the runtime supports: program, map and attach types, helpers, limits.",
        commands: &[
            command(
                "probe",
                "[kernel|dev NAME] [full] [unprivileged] [macros [prefix PREFIX]]",
                "Find out by trying; `macros` writes a C header",
                feature::probe,
            ),
            command(
                "list_builtins",
                "{ prog_types|map_types|attach_types|link_types|helpers }",
                "List what this version knows by name",
                feature::list_builtins,
            ),
        ],
        terms: &[],
    },
    Family {
        name: "obj",
        about: "Object files: what is in them, and in what they differ.",
        commands: &[
            command(
                "show",
                "FILE",
                "Sections, programs, maps, variables, externs, relocations and types; `skep obj FILE` is enough",
                obj::show,
            )
            .implied(),
            command(
                "code",
                "FILE [FUNCTION] [visual]",
                "Instructions with what they refer to, or their control flow as a graph for dot",
                obj::code,
            ),
            command("diff", "FILE FILE", "In what two objects differ; exit status 1 if they do", obj::diff),
        ],
        terms: &[],
    },
    Family {
        name: "doctor",
        about: "What this machine can run, and why not, for both runtimes.",
        commands: &[command(
            "check",
            "",
            "Kernel options, privileges, mounts, types, hooks; exit status 1 where neither runtime runs",
            doctor::examine,
        )],
        terms: &[],
    },
    Family {
        name: "top",
        about: "What programs cost, second by second: a screen on a terminal, tables or JSON documents elsewhere.",
        commands: &[command(
            "show",
            "[interval MS] [count N] [sort { cpu|events|ns|runs|time|id|name }]",
            "Show runs a second, nanoseconds a run and shares of a processor, until interrupted",
            top::top,
        )
        .implied()],
        terms: &[],
    },
    Family {
        name: "daemon",
        about: "The user runtime's objects, kept between commands (with --runtime user).",
        commands: &[
            command("start", "", "Serve other commands, until stopped", daemon::start),
            command("status", "", "Say who serves", daemon::status),
            command("stop", "", "End it, with all its objects", daemon::stop),
            command(
                "observe",
                "{ pid PID | -- CMD … }",
                "Have attached programs run on what a process or command does, until it ends",
                daemon::observe,
            ),
        ],
        terms: &[],
    },
    Family {
        name: "gen",
        about: "Source text and objects made of objects.",
        commands: &[
            command(
                "object",
                "OUTPUT INPUT…",
                "Put objects together into one, as a static linker does",
                generate::object,
            ),
            command(
                "skeleton",
                "FILE [name NAME]",
                "Write source text that embeds an object: Rust, C for libbpf, or with `-L` C that needs no libbpf to run",
                generate::skeleton,
            ),
            command(
                "subskeleton",
                "FILE [name NAME]",
                "Write a C header for a library that is linked into an object, to find its parts in it",
                generate::subskeleton,
            ),
            command(
                "min_core_btf",
                "INPUT OUTPUT OBJECT…",
                "Write the part of the types in INPUT that objects need for their relocations",
                generate::min_core_btf,
            ),
        ],
        terms: &[],
    },
];
