//! The binary `skep`: reads the command line, calls the library, prints.
//!
//! Data goes to stdout; diagnostics go to stderr as `error: …` and `hint: …`. Exit status: 0 on success, 1 when the work
//! failed, 2 for bad use; `skep run` passes the observed command's status on.

mod args;
mod bpf;
mod completion;
mod manual;
mod memory;
mod new;
mod run;
mod runtime;
mod table;
mod term;
mod verify;

use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

use args::{Cli, Command};

#[global_allocator]
static ALLOCATOR: memory::Allocator = memory::Allocator::new();

fn main() -> ExitCode {
    let line: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let is_reserved = |word: &str| Cli::command().find_subcommand(word).is_some() || word == "help";
    if let Some(status) = bpf::serve(&line, is_reserved) {
        return status;
    }
    if line.is_empty() {
        // As `skep help`: asking for nothing is no mistake.
        return manual::whole().print_help().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    let matches = manual::whole().get_matches_from(manual::with_help(std::env::args_os().collect()));
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let result = match cli.command {
        Command::Run(args) => run::run(cli.runtime, &args),
        Command::Verify(args) => verify::verify(&args),
        Command::New(args) => new::new(&args),
        Command::Completion { shell } => {
            let out = completion::write(shell, &mut std::io::stdout());
            out.map(|()| ExitCode::SUCCESS).map_err(|e| skep::Error::file(Path::new("stdout"), e))
        }
        Command::Man { directory } => manual::write(directory.as_deref()),
    };
    result.unwrap_or_else(|error| {
        term::error(&error);
        match error {
            skep::Error::Usage { .. } => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    })
}
