//! The command line: what can be said, and nothing of what it does.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use skep_isa::uapi::ProgType;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "skep",
    version,
    about = "A complete eBPF system: run, inspect and verify eBPF programs, with or without the kernel",
    after_help = "Data goes to stdout, everything else to stderr. `NO_COLOR` turns colours off."
)]
pub(crate) struct Cli {
    /// Who runs programs: Linux's own BPF subsystem, or Skep's in user space; by default the kernel where the caller may
    /// use it
    #[arg(long, global = true, value_enum, env = "SKEP_RUNTIME", value_name = "RUNTIME")]
    pub(crate) runtime: Option<RuntimeChoice>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The runtimes by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RuntimeChoice {
    /// Linux's BPF subsystem, through bpf(2)
    Kernel,
    /// Skep's own, in user space, without privileges
    User,
}

/// What runs verified programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineChoice {
    /// The interpreter, until compiled code is there after a few runs
    Auto,
    /// Compiled code from the first run on
    Jit,
    /// The interpreter, with checks of what is not proved
    Interpreter,
    /// The interpreter, with a check of every access
    Checked,
}

/// What to do.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one for each process")]
pub(crate) enum Command {
    /// Run an object: load it, attach everything in it, print its records until it ends
    Run(RunArgs),
    /// Say whether the kernel would accept an object's programs, without loading them
    Verify(VerifyArgs),
    /// Make a project: a BPF program, its skeleton in Rust, and a program that uses it
    New(NewArgs),
    /// Print a script that completes `skep` in a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write all manual pages into a directory
    Man {
        /// Directory
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
    },
}

/// `skep new`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  skep new execmon && cd execmon && cargo run -- make")]
pub(crate) struct NewArgs {
    /// Directory to make; its name is the project's
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,

    /// Source tree of Skep that the project is to use; by default the one that this binary was built from, if it is still
    /// there, otherwise the published version
    #[arg(long, value_name = "DIR")]
    pub(crate) skep: Option<PathBuf>,
}

/// `skep run`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  skep run opensnoop.bpf.o -- cat /etc/os-release      what does `cat` open?
  skep run opensnoop.bpf.c --set targ_failed=true -p 4711
  skep run stripped.bpf.o --event 'struct event { int pid; char comm[16]; }' -- make
  skep run syscount.bpf.o -o json -- ls | jq .
  skep run bashreadline.bpf.o --attach printret=uretprobe:/bin/bash:readline -- bash -i
  skep run xdp.bpf.o --in a.pcap --out b.pcap --drops c.pcap
  skep run -a execsnoop.bpf.o                          what does anybody execute, until Ctrl-C?

The exit status is the command's own (128 + N when signal N killed it); 1 when an object cannot be run, 2 for bad use,
126 and 127 when the command cannot be started.")]
pub(crate) struct RunArgs {
    /// Compiled object (`.bpf.o`), or C source (`.bpf.c`, compiled with the local clang)
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Set a global variable of the object before it is loaded; may be repeated
    #[arg(long = "set", value_name = "VAR=VALUE", value_parser = parse_assignment)]
    pub(crate) set: Vec<Assignment>,

    /// Type of the records: a name in the object's BTF, C text that declares it, or a header file; `TYPE@MAP` or
    /// `FILE:TYPE` where there are several
    #[arg(long = "event", value_name = "TYPE")]
    pub(crate) event: Vec<String>,

    /// How records are printed
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
    pub(crate) output: Format,

    /// Observe this running process, its threads and the children it makes from now on
    #[arg(short, long, value_name = "PID", conflicts_with = "argv")]
    pub(crate) pid: Option<u32>,

    /// Show the whole machine, not only the process tree of CMD or PID (kernel runtime); without either, until interrupted
    #[arg(short, long)]
    pub(crate) all: bool,

    /// Attach a program elsewhere than its section says: a section's name, with its place behind `:` or `/`; may be
    /// repeated, also for one program
    #[arg(long, value_name = "PROGRAM=SECTION", value_parser = parse_attachment)]
    pub(crate) attach: Vec<Attachment>,

    /// Leave a program of the object out, or those that a pattern with `*` and `?` fits; may be repeated
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) without: Vec<String>,

    /// Run programs that the verifier rejects, too: user runtime only, with every access checked while they run
    #[arg(long)]
    pub(crate) unverified: bool,

    /// What runs verified programs in the user runtime
    #[arg(long, value_enum, value_name = "ENGINE", default_value = "auto")]
    pub(crate) engine: EngineChoice,

    /// Run the object's packet program on this capture (pcap or pcapng; `-` for standard input)
    #[arg(long = "in", value_name = "CAPTURE", conflicts_with_all = ["argv", "pid", "all"])]
    pub(crate) input: Option<PathBuf>,

    /// Run the object's packet program on this network device until interrupted: a TAP device, made if there is none, or
    /// any other by a packet socket
    #[arg(long, value_name = "NAME", conflicts_with_all = ["argv", "pid", "all", "input"])]
    pub(crate) device: Option<String>,

    /// Write the packets that go on, as the program left them (pcapng where the name ends so)
    #[arg(long = "out", value_name = "CAPTURE")]
    pub(crate) out: Option<PathBuf>,

    /// Write the packets that are dropped, as they came
    #[arg(long, value_name = "CAPTURE")]
    pub(crate) drops: Option<PathBuf>,

    /// The program to run on packets, where the object has several
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) program: Option<String>,

    /// Do not print the maps and variables that hold results at the end
    #[arg(long)]
    pub(crate) no_results: bool,

    /// The command to start and observe, with its children
    #[arg(last = true, value_name = "CMD")]
    pub(crate) argv: Vec<OsString>,
}

/// `skep verify`.
#[derive(Debug, Args)]
#[command(
    after_help = "The verdict is Linux 6.18's, for a caller with all privileges and the kernel types of this machine: accept, reject, or
unsupported where the verifier has not been built that far. Exit status: 0 when nothing is rejected, 1 when something is,
2 for bad use."
)]
pub(crate) struct VerifyArgs {
    /// Compiled objects, or C sources
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// Only this program
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) program: Option<String>,

    /// What programs are whose section does not say it, such as `xdp` or `sched_cls`; by default what the type of their
    /// context says
    #[arg(long = "type", value_name = "TYPE", value_parser = parse_prog_type)]
    pub(crate) prog_type: Option<ProgType>,

    /// Print a JSON array, one object a program
    #[arg(short, long)]
    pub(crate) json: bool,

    /// Write the analysis in the format of the kernel's log: 1 the path that was walked last, 2 all paths and how
    /// precision travels
    #[arg(long, value_name = "LEVEL", value_parser = parse_log_level)]
    pub(crate) log: Option<LogLevel>,

    /// Say of each rejection what failed, why and where on its path, and what to do; the default on a terminal
    #[arg(long)]
    pub(crate) explain: bool,

    /// Do not explain, on a terminal either
    #[arg(long, conflicts_with = "explain")]
    pub(crate) no_explain: bool,

    /// Say where the work was spent: the source lines on which most instructions were walked
    #[arg(long)]
    pub(crate) stats: bool,

    /// Ask the kernel as well, and compare: loads each program, which needs the privilege to
    #[arg(long, value_enum, value_name = "WHOM")]
    pub(crate) against: Option<Against>,
}

/// With whose verdict ours is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Against {
    /// This machine's kernel
    Kernel,
}

/// How records are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns under a header
    Table,
    /// One JSON object a line
    Json,
    /// The records' bytes in hexadecimal, one record a line
    Raw,
}

/// How much a log has.
pub(crate) type LogLevel = skep_verifier::log::Level;

fn parse_prog_type(text: &str) -> Result<ProgType, String> {
    ProgType::from_name(text).ok_or_else(|| format!("no program type is called `{text}`"))
}

fn parse_log_level(text: &str) -> Result<LogLevel, String> {
    match text {
        "1" => Ok(LogLevel::Path),
        "2" => Ok(LogLevel::All),
        _ => Err("a log has level 1 or 2".to_owned()),
    }
}

/// `VAR=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) variable: String,
    pub(crate) value: String,
}

/// `PROGRAM=SECTION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attachment {
    pub(crate) program: String,
    pub(crate) section: String,
}

fn parse_attachment(text: &str) -> Result<Attachment, String> {
    match text.split_once('=') {
        Some((program, section)) if !program.is_empty() && !section.is_empty() => {
            Ok(Attachment { program: program.to_owned(), section: section.to_owned() })
        }
        _ => Err("expected PROGRAM=SECTION, such as `trace_malloc=uprobe:libc.so.6:malloc`".to_owned()),
    }
}

fn parse_assignment(text: &str) -> Result<Assignment, String> {
    match text.split_once('=') {
        Some((variable, value)) if !variable.trim().is_empty() => {
            Ok(Assignment { variable: variable.trim().to_owned(), value: value.to_owned() })
        }
        _ => Err("expected VAR=VALUE, such as `targ_pid=4711`".to_owned()),
    }
}
