//! Test runs of tracing programs: Linux calls functions that it has for this, and what is attached to them runs. The program
//! of the command runs only if it is attached.

use std::sync::Arc;

use skep_isa::uapi::AttachType;
use skep_runtime::command::TestRun;
use skep_runtime::{Error, Reply, Result};
use skep_vm::Errno;

use super::{Outcome, UserRuntime, World, faulted, finish};
use crate::hook::tested::{CHANGED, Call, FIRST_CHANGED, TRACED};
use crate::hook::{Event, Moment};
use crate::objects::{Link, Prog};

impl UserRuntime {
    pub(super) fn test_functions(&self, prog: &Prog, run: TestRun<'_>, world: &mut World) -> Result<Reply> {
        if run.flags != 0 || run.cpu != 0 || run.batch_size != 0 {
            return Err(Error::os(Errno::EINVAL.0, "tracing programs take no flags in test runs"));
        }
        let links = self.objects.attached();
        let mut session = Session { links: &links, world };
        let retval = match prog.spec.attach_type {
            Some(AttachType::TRACE_FENTRY | AttachType::TRACE_FEXIT) => session.trace(),
            Some(AttachType::MODIFY_RETURN) => session.change(),
            _ => Err(Error::os(
                Errno::EFAULT.0,
                "test runs call functions, and this program does not look at any",
            )),
        };
        finish(run, &[], None, &Outcome { retval: retval?, duration_ns: 0 })
    }
}

/// Calls of functions, with the programs that look at them.
struct Session<'a> {
    links: &'a [Arc<Link>],
    world: &'a mut World,
}

impl Session<'_> {
    fn trace(&mut self) -> Result<u32> {
        for (index, call) in TRACED.iter().enumerate() {
            self.call(index, call)?;
        }
        Ok(0)
    }

    /// What the functions returned, and in the upper half how many of them have run.
    fn change(&mut self) -> Result<u32> {
        let (mut returned, mut ran) = (0, 0);
        for (n, call) in CHANGED.iter().enumerate() {
            let (result, was_run) = self.call(FIRST_CHANGED + n, call)?;
            returned += result as u16;
            ran += u32::from(was_run);
        }
        Ok(ran << 16 | u32::from(returned))
    }

    /// Calls a function; answers what it returned, and whether it ran itself.
    fn call(&mut self, index: usize, call: &Call) -> Result<(u64, bool)> {
        self.run(index, Moment::Entry, call, None)?;
        let instead = self.run(index, Moment::Changed, call, Some(0))?;
        let result = if instead == 0 { call.result } else { instead };
        self.run(index, Moment::Return, call, Some(result))?;
        Ok((result, instead == 0))
    }

    /// Runs the programs that look at this moment; those that answer in the function's place do so until one is not zero.
    fn run(&mut self, index: usize, moment: Moment, call: &Call, result: Option<u64>) -> Result<u64> {
        let mut result = result;
        for link in self.links.iter().filter(|link| link.hook.event == (Event::Tested { index, moment })) {
            self.world.call(call.arguments, result, link.cookie);
            let words = call.arguments.iter().chain(result.as_ref());
            let mut context: Vec<u8> = words.flat_map(|word| word.to_ne_bytes()).collect();
            let answer = link.prog().code.run(&mut context, self.world).map_err(faulted)?;
            if moment == Moment::Changed {
                result = Some(answer);
                if answer != 0 {
                    break;
                }
            }
        }
        Ok(result.unwrap_or(0))
    }
}
