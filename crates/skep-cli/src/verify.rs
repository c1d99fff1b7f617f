//! `skep verify`: open → link → verdict on each program, without loading anything unless the kernel is to be asked too.

mod kernel;
mod log;
mod print;
mod verdict;

use std::path::Path;
use std::process::ExitCode;

use skep::object::Object;
use skep::{Error, Result, host};
use skep_isa::uapi::ProgType;
use skep_verifier::Subject;

use crate::args::VerifyArgs;
use crate::term;
use kernel::Kernel;
use verdict::{Asked, Verdict};

/// Says of every program whether this machine's kernel version would accept it. Status 1 when one is rejected.
pub(crate) fn verify(args: &VerifyArgs) -> Result<ExitCode> {
    let kernel = args.against.map(|_| Kernel::open()).transpose()?;
    let mut verdicts = Vec::new();
    for file in &args.files {
        verify_file(file, args, kernel.as_ref(), &mut verdicts)?;
    }
    if let (Some(program), true) = (&args.program, verdicts.is_empty()) {
        return Err(Error::usage(
            format!("there is no program `{program}`"),
            "`skep verify FILE` lists them",
        ));
    }
    let printed = match (args.json, args.log) {
        (true, _) => print::json(&verdicts),
        // The log was printed as it was written; it says everything.
        (false, Some(_)) => Ok(()),
        (false, None) => print::text(&verdicts, args.against.is_some()),
    };
    printed.map_err(|e| Error::file("stdout".as_ref(), e))?;
    Ok(if verdicts.iter().any(Verdict::is_rejected) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn verify_file(
    file: &Path,
    args: &VerifyArgs,
    kernel: Option<&Kernel>,
    verdicts: &mut Vec<Verdict>,
) -> Result<()> {
    let mut object = skep::open(file)?.object;
    object.require_programs()?;
    load_everything(&mut object, args.prog_type);
    let mut target = host::target(&object);
    // Arguments of helpers and contexts have the kernel's types, whether the object names any or not.
    target.btf = target.btf.or_else(host::kernel_btf);
    let linked = object.link(&target)?;
    let subject = Subject::new(&linked, &target);
    if (args.json || args.stats) && verdicts.is_empty() {
        subject.warm_up();
    }
    let explain =
        args.explain || (!args.no_explain && !args.json && args.log.is_none() && term::stdout_is_terminal());
    let asked =
        Asked { log: args.log, json: args.json, explain, stats: args.stats, only: args.program.is_some() };
    for index in 0..linked.programs.len() {
        if args.program.as_ref().is_none_or(|name| linked.programs[index].name == *name) {
            let mut verdict = Verdict::of(file, &linked, &subject, index, &asked)?;
            verdict.kernel = kernel.map(|kernel| kernel.ask(&object, &linked, index));
            verdicts.push(verdict);
        }
    }
    Ok(())
}

/// Every program is of interest, also those that are not loaded by default. What a section does not say, the caller does, or
/// the type of the program's context.
fn load_everything(object: &mut Object, fallback: Option<ProgType>) {
    for index in 0..object.programs.len() {
        let guess = fallback.or_else(|| object.type_by_context(&object.programs[index]));
        let program = &mut object.programs[index];
        program.autoload = true;
        if let (ProgType::UNSPEC, Some(prog_type)) = (program.prog_type, guess) {
            program.prog_type = prog_type;
            program.section_error = None;
        }
    }
}
