//! The ptrace hook: stops threads of a command or process where programs want to look, and lets them go on.
//!
//! One thread does it all, because ptrace(2) belongs to the thread that attached: wait for a report, tell the
//! [`Observer`], resume. A thread under the tracer is *running* or in exactly one stop; every stop is answered by one
//! resume, so nobody is left stopped:
//!
//! ```text
//! new child ──trapped──▶ held until its parent reports the fork ──▶ running
//! running ──seccomp/call stop──▶ observer ──▶ running            (filtered call; with an exit stop if one is wanted)
//! running ──signal──▶ running with that signal
//! running ──group stop──▶ listening ──SIGCONT──▶ trapped ──▶ running
//! running ──breakpoint──▶ observer ──▶ running behind it           (see [`probe`])
//! running ──sample due──▶ interrupted ──▶ observer ──▶ running     (see [`sample`])
//! running ──exit event──▶ observer ──▶ running ──▶ gone
//! ```
//!
//! Which calls stop is said by a [`Mode`]. A filter stays with its processes for ever, so after a release the tracer goes
//! on passing the filtered calls on (*shepherding*), without programs, until the last of them is gone.

mod filter;
mod interest;
mod launch;
mod probe;
mod sample;
mod seize;
mod stop;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::sync::Arc;

pub(crate) use interest::{CallSet, Interest};
pub(crate) use launch::{CommandLine, Ready};
pub(crate) use probe::{Hit, Seen, Site};
use probe::{Places, Returns, SpaceId, Spaces};
use sample::{Sampled, Sampler};
use stop::Stop;

use crate::session::Progress;
use crate::sys::ptrace::{self, CallInfo, Entry, Registers, Resume, SignalInfo, reg};
use crate::sys::{Tid, process};
use crate::task::Task;

/// A system call as it is entered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// Its number in the table it was called through; -1 when it is not known any more.
    pub(crate) nr: i64,
    /// Its arguments.
    pub(crate) args: [u64; 6],
    /// A 32-bit or x32 call, whose numbers are of another table.
    pub(crate) foreign: bool,
}

/// What looks at the traced threads while they are stopped.
pub(crate) trait Observer: Send {
    /// A system call begins.
    fn entered(&mut self, task: &mut Task, call: &Call);
    /// A system call has returned `ret`, a negative errno included.
    fn returned(&mut self, task: &mut Task, call: &Call, ret: i64);
    /// A thread has made another one, which has not run yet.
    fn forked(&mut self, parent: &mut Task, child: &mut Task);
    /// A process has begun another program.
    fn executed(&mut self, task: &mut Task, old_tid: Tid);
    /// A thread is about to end; `code` is as `task_struct.exit_code`, `last` says that its process ends with it.
    fn exiting(&mut self, task: &mut Task, code: i32, last: bool);
    /// A signal is about to be delivered.
    fn signalled(&mut self, task: &mut Task, signal: &SignalInfo);
    /// A thread has reached a probed place.
    fn probed(&mut self, task: &mut Task, hit: Hit<'_>) -> Seen;
    /// A thread runs, and has used another `period_ns` of processor time.
    fn sampled(&mut self, task: &mut Task, regs: &Registers, period_ns: u64);
    /// Somebody else had taken away so many breakpoints, which are there again; hits may have been missed.
    fn repaired(&mut self, count: usize);
    /// A thread is gone, and its id may be used again.
    fn gone(&mut self, tid: Tid);
}

/// How system calls are made to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// By a seccomp filter: only those asked for.
    Filter,
    /// At the entry and exit of all of them, by `PTRACE_SYSCALL`.
    Every,
    /// Not at all.
    Never,
}

/// One thread under the tracer.
struct Tracee {
    task: Task,
    /// The call it is in, while an exit stop is wanted or every call stops.
    call: Option<Call>,
    /// Is the next stop to be the exit of the call?
    wants_exit: bool,
    /// Is it in its first stop, and its parent has not told of it yet?
    held: bool,
    /// Not to be observed: it is still the launcher of the command, not the command.
    quiet: bool,
    /// Has its end been observed?
    exited: bool,
    /// Where its breakpoints are; `None` while there is nothing to probe.
    space: Option<SpaceId>,
    /// The probed functions it is in.
    returns: Returns,
    /// It has visited the breakpoint at this address with this stack pointer, but has not got past it.
    passed: Option<(u64, u64)>,
    /// A signal that came while it did something for us.
    caught: i32,
    /// How far it is to its next samples.
    sampled: Sampled,
}

impl Tracee {
    fn new(task: Task) -> Self {
        Self {
            task,
            call: None,
            wants_exit: false,
            held: false,
            quiet: false,
            exited: false,
            space: None,
            returns: Returns::default(),
            passed: None,
            caught: 0,
            sampled: Sampled::default(),
        }
    }
}

/// The tracer of one session. It lives and dies on its thread.
pub(crate) struct Tracer {
    mode: Mode,
    interest: Interest,
    /// `None` once released.
    observer: Option<Box<dyn Observer>>,
    tracees: HashMap<Tid, Tracee>,
    /// Threads whose parents told of them before their own first stop.
    announced: HashSet<Tid>,
    /// The command's process, and whether it has been executed.
    launch: Option<launch::Launch>,
    /// Tells the session how far things are, and brings its wish to release.
    progress: Arc<Progress>,
    /// A child that ends when the session wants to be released: a wait for reports waits for that too.
    sentinel: Option<Tid>,
    /// Detach every tracee at its next stop?
    detaching: bool,
    /// Where probed files are probed.
    places: Places,
    spaces: Spaces,
    /// Says when to look at the clocks of the threads.
    sampler: Sampler,
    /// Reports that came while one thread was waited for.
    backlog: VecDeque<(Tid, i32)>,
}

/// Options of every tracee; forks, threads and programs are always followed.
///
/// A command with a filter, and so with breakpoints, cannot do without its tracer: it ends when that is killed. Others go on.
fn options(interest: &Interest, mode: Mode) -> i32 {
    let end = if mode == Mode::Filter { libc::PTRACE_O_EXITKILL } else { 0 };
    let exits = if interest.exits { libc::PTRACE_O_TRACEEXIT } else { 0 };
    exits
        | end
        | libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACESECCOMP
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEEXEC
}

impl Tracer {
    fn new(
        mode: Mode,
        interest: Interest,
        observer: Box<dyn Observer>,
        progress: Arc<Progress>,
    ) -> io::Result<Self> {
        let sentinel = Some(progress.spawn_sentinel()?);
        Ok(Self {
            mode,
            observer: Some(observer),
            tracees: HashMap::new(),
            announced: HashSet::new(),
            launch: None,
            progress,
            sentinel,
            detaching: false,
            places: Places::new(&interest.sites),
            spaces: Spaces::new(mode == Mode::Never),
            backlog: VecDeque::new(),
            sampler: Sampler::default(),
            interest,
        })
    }

    /// Traces until the last tracee is gone or let go.
    pub(crate) fn run(mut self) {
        self.start_sampling();
        loop {
            if self.tracees.is_empty() && !self.may_meet_more() {
                break;
            }
            match self.backlog.pop_front().map_or_else(ptrace::wait, |report| Ok(Some(report))) {
                Ok(None) => self.tick(),
                Ok(Some((tid, _))) if Some(tid) == self.sentinel => self.release(),
                Ok(Some((tid, status))) => self.handle(tid, Stop::decode(status)),
                Err(_) => break,
            }
        }
        self.dismiss_sentinel();
        self.spaces.restore();
        self.observer = None;
        self.progress.end();
    }

    /// With no known tracee left: may there be a child whose parent died before it could tell of it? The wait for it ends at
    /// once if not, for then there is nobody to wait for.
    fn may_meet_more(&mut self) -> bool {
        self.dismiss_sentinel();
        !self.detaching
    }

    fn dismiss_sentinel(&mut self) {
        if let Some(sentinel) = self.sentinel.take() {
            process::kill(sentinel, libc::SIGKILL);
            ptrace::reap(sentinel);
        }
    }

    /// Answers one report of a tracee.
    fn handle(&mut self, tid: Tid, stop: Stop) {
        match stop {
            Stop::Exited(_) | Stop::Killed(_) => self.bury(tid, stop),
            _ if self.detaching => self.detach(tid, stop),
            _ if !self.tracees.contains_key(&tid) => self.meet(tid),
            Stop::Seccomp | Stop::Call => self.at_call(tid),
            Stop::Forked => self.at_fork(tid),
            Stop::Executed => self.at_exec(tid),
            Stop::Exiting => self.at_exit(tid),
            Stop::Trapped if self.is_held(tid) => {}
            Stop::Trapped => self.at_interrupt(tid),
            Stop::Signal(libc::SIGTRAP) if self.at_trap(tid) => {}
            Stop::Signal(signal) => self.at_signal(tid, signal),
            Stop::Group => drop(ptrace::listen(tid)),
            _ => self.resume(tid, 0),
        }
    }

    /// Lets a tracee run to its next stop. It may have been killed meanwhile; then its end is reported next.
    fn resume(&self, tid: Tid, signal: i32) {
        let wants_exit = self.tracees.get(&tid).is_some_and(|tracee| tracee.wants_exit);
        let every = self.mode == Mode::Every && self.observer.is_some();
        let how = if wants_exit || every { Resume::Syscall } else { Resume::Cont };
        let _ = ptrace::resume(tid, how, signal);
    }

    /// Runs `see` on a tracee and the observer, unless programs run no more or the tracee is not to be observed.
    fn observe(&mut self, tid: Tid, see: impl FnOnce(&mut dyn Observer, &mut Tracee)) {
        let watched = !self.interest.watch.is_empty();
        if let (Some(observer), Some(tracee)) = (self.observer.as_deref_mut(), self.tracees.get_mut(&tid)) {
            tracee.task.refresh(watched);
            if !tracee.quiet {
                see(observer, tracee);
            }
        }
    }

    /// A seccomp stop or a stop of `PTRACE_SYSCALL`: the kernel knows whether it is an entry or an exit.
    fn at_call(&mut self, tid: Tid) {
        if self.observer.is_some() {
            match ptrace::call_info(tid) {
                Ok(CallInfo::Enter(entry)) => self.at_entry(tid, &entry),
                Ok(CallInfo::Exit { ret }) => self.at_return(tid, ret),
                Ok(CallInfo::None) | Err(_) => {}
            }
        }
        self.resume(tid, 0);
    }

    fn at_entry(&mut self, tid: Tid, entry: &Entry) {
        let foreign = entry.arch != filter::ARCH || entry.nr & u64::from(filter::X32_BIT) != 0;
        let call = Call { nr: entry.nr.cast_signed(), args: entry.args, foreign };
        let wanted = |set: &CallSet| {
            if foreign { self.interest.foreign && set.is_all() } else { set.contains(entry.nr) }
        };
        let enter = wanted(&self.interest.enter);
        let exit = wanted(&self.interest.exit) || self.maps(&call);
        self.launching(tid, &call);
        self.observe(tid, |observer, tracee| {
            tracee.call = Some(call);
            tracee.wants_exit = exit;
            if enter {
                observer.entered(&mut tracee.task, &call);
            }
            tracee.task.call_follows(&call);
        });
    }

    fn at_return(&mut self, tid: Tid, ret: i64) {
        let Some(tracee) = self.tracees.get_mut(&tid) else { return };
        tracee.wants_exit = false;
        let call = tracee.call.take().map_or_else(|| unseen_call(tid), returned_call);
        let seen = !call.foreign && u64::try_from(call.nr).is_ok_and(|nr| self.interest.exit.contains(nr));
        if seen || self.interest.exit.is_all() {
            self.observe(tid, |observer, tracee| observer.returned(&mut tracee.task, &call, ret));
        }
        if self.maps(&call) {
            self.mapped(tid, &call, ret);
        }
    }

    /// A tracee has made another thread or process, which stops before its first instruction.
    fn at_fork(&mut self, tid: Tid) {
        if let Ok(message) = ptrace::event_message(tid) {
            self.introduce(tid, message as Tid);
        }
        self.resume(tid, 0);
    }

    fn introduce(&mut self, parent: Tid, child: Tid) {
        let waiting = self.tracees.get(&child).is_some_and(|tracee| tracee.held);
        if !waiting {
            if self.tracees.contains_key(&child) {
                return;
            }
            self.announced.insert(child);
            self.tracees
                .insert(child, Tracee::new(Task::child(child, self.tracees.get(&parent).map(|p| &p.task))));
        }
        self.inherit_space(parent, child);
        let watched = !self.interest.watch.is_empty();
        if let (Some(observer), Some([Some(parent), Some(child)])) =
            (self.observer.as_deref_mut(), Some(self.tracees.get_disjoint_mut([&parent, &child])))
        {
            parent.task.refresh(watched);
            child.task.refresh(watched);
            observer.forked(&mut parent.task, &mut child.task);
        }
        if waiting {
            self.begin(child);
        }
    }

    /// The first stop of a thread that nobody told of yet: it waits for its parent's report, so that programs see the fork
    /// before what the child does.
    fn meet(&mut self, tid: Tid) {
        let mut tracee = Tracee::new(Task::new(tid));
        tracee.held = true;
        self.tracees.insert(tid, tracee);
        if self.sentinel.is_none() {
            // Everybody else is gone, the parent too.
            self.sentinel = self.progress.spawn_sentinel().ok();
            self.begin(tid);
        }
    }

    /// Is this the first stop of a thread? Starts it, if its parent has told of it already.
    fn is_held(&mut self, tid: Tid) -> bool {
        if self.announced.remove(&tid) {
            self.begin(tid);
            return true;
        }
        self.tracees.get(&tid).is_some_and(|tracee| tracee.held)
    }

    /// Lets a new thread run. The kernel shows the return of fork to programs in the child too.
    fn begin(&mut self, tid: Tid) {
        if let Some(tracee) = self.tracees.get_mut(&tid) {
            tracee.held = false;
        }
        if !self.interest.exit.is_empty() {
            let call = unseen_call(tid);
            let wanted =
                !call.foreign && u64::try_from(call.nr).is_ok_and(|nr| self.interest.exit.contains(nr));
            self.observe(tid, |observer, tracee| {
                if wanted {
                    observer.returned(&mut tracee.task, &call, 0);
                }
            });
        }
        if self.detaching { self.detach(tid, Stop::Trapped) } else { self.resume(tid, 0) }
    }

    /// A process executes a program. When a thread other than the first did it, that thread takes the first one's id.
    fn at_exec(&mut self, tid: Tid) {
        let old_tid = ptrace::event_message(tid).map_or(tid, |message| message as Tid);
        self.leave_space(old_tid);
        if old_tid != tid
            && let Some(mut tracee) = self.tracees.remove(&old_tid)
        {
            tracee.task = Task::new(tid);
            self.tracees.insert(tid, tracee);
            if let Some(observer) = &mut self.observer {
                observer.gone(old_tid);
            }
        }
        self.launched(tid);
        self.enter_space(tid, vec![tid]);
        self.observe(tid, |observer, tracee| {
            tracee.task.executed();
            observer.executed(&mut tracee.task, old_tid);
        });
        self.resume(tid, 0);
    }

    fn at_exit(&mut self, tid: Tid) {
        let code = ptrace::event_message(tid).unwrap_or(0) as i32;
        self.observe_exit(tid, code);
        self.resume(tid, 0);
    }

    fn observe_exit(&mut self, tid: Tid, code: i32) {
        let Some(tgid) = self.tracees.get(&tid).map(|tracee| tracee.task.tgid) else { return };
        let others =
            |(&other, tracee): (&Tid, &Tracee)| other != tid && tracee.task.tgid == tgid && !tracee.exited;
        let last = !self.tracees.iter().any(others);
        let wanted = self.interest.exits;
        self.observe(tid, |observer, tracee| {
            if wanted && !std::mem::replace(&mut tracee.exited, true) {
                observer.exiting(&mut tracee.task, code, last);
            }
        });
    }

    fn at_signal(&mut self, tid: Tid, signal: i32) {
        if self.interest.signals
            && let Ok(info) = ptrace::signal_info(tid)
        {
            self.observe(tid, |observer, tracee| observer.signalled(&mut tracee.task, &info));
        }
        if self.leave_copy(tid, signal) {
            self.resume(tid, signal);
        }
    }

    /// A thread is gone. One that was killed at the wrong moment has not reported its exit before.
    fn bury(&mut self, tid: Tid, stop: Stop) {
        let (code, signal) = match stop {
            Stop::Killed(signal) => (signal, Some(signal)),
            Stop::Exited(status) => (status << 8, None),
            _ => return,
        };
        self.observe_exit(tid, code);
        self.adopt_orphans(tid);
        self.leave_space(tid);
        self.tracees.remove(&tid);
        if let Some(observer) = &mut self.observer {
            observer.gone(tid);
        }
        self.command_ended(tid, code >> 8, signal);
        self.release_orphans();
    }

    /// Starts threads that wait for a report which can come no more, because the parent has died before it.
    fn release_orphans(&mut self) {
        let held: Vec<Tid> = self.tracees.iter().filter(|(_, t)| t.held).map(|(&tid, _)| tid).collect();
        held.into_iter().for_each(|tid| self.begin(tid));
    }

    /// Stops running programs. Without a filter the tracees are let go; with one they have to be shepherded.
    fn release(&mut self) {
        self.sentinel = None;
        self.spaces.restore();
        self.observer = None;
        self.sampler.stop();
        self.tracees.values_mut().for_each(|tracee| tracee.wants_exit = false);
        self.progress.released();
        if self.mode == Mode::Filter {
            return;
        }
        self.detaching = true;
        for (&tid, tracee) in &self.tracees {
            if !tracee.held {
                let _ = ptrace::interrupt(tid);
            }
        }
        self.release_orphans();
    }

    /// Lets a stopped tracee go for good.
    fn detach(&mut self, tid: Tid, stop: Stop) {
        let signal = match stop {
            Stop::Signal(libc::SIGTRAP) if self.undo_trap(tid) => 0,
            Stop::Signal(signal) => signal,
            _ if self.is_trap_pending(tid) => return self.resume(tid, 0),
            _ => 0,
        };
        if !self.leave_copy(tid, signal) {
            return;
        }
        if ptrace::detach(tid, signal).is_ok() {
            self.tracees.remove(&tid);
        }
    }
}

/// The call in which a thread is, read from its registers: for threads that were attached or made inside of one.
fn unseen_call(tid: Tid) -> Call {
    /// The 64-bit user code segment.
    const USER_CS: u64 = 0x33;
    match ptrace::registers(tid) {
        Ok(regs) => Call {
            nr: regs[reg::ORIG_RAX].cast_signed(),
            args: [0; 6],
            foreign: regs[reg::CS] != USER_CS || regs[reg::ORIG_RAX] & u64::from(filter::X32_BIT) != 0,
        },
        Err(_) => Call { nr: -1, args: [0; 6], foreign: true },
    }
}

/// A call as its exit shows it: rt_sigreturn restores all registers, so its number is lost.
fn returned_call(call: Call) -> Call {
    if !call.foreign && call.nr == libc::SYS_rt_sigreturn { Call { nr: -1, ..call } } else { call }
}
