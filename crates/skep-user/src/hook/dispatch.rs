//! Events → programs: which links are attached where, and running them while the thread is stopped.
//!
//! Tables are made once, when a session starts: an array over system call numbers for entries and returns, a short list
//! for everything else. A link that is detached or closed later is passed over.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use skep_btf::Btf;

use super::context::Context;
use super::layout::{Layout, Record};
use super::probe::{self, Watcher};
use super::world::{Probe, World};
use super::{Event, Form};
use crate::Diagnostic;
use crate::kernel::types::Types;
use crate::kernel::{KernelMemory, Object, ObjectKind};
use crate::objects::Link;
use crate::output::Printk;
use crate::runtime::Diagnostics;
use crate::sys::Tid;
use crate::sys::ptrace::{Registers, SignalInfo};
use crate::sys::time::clock_ns;
use crate::task::Task;
use crate::tracer::{Call, CallSet, Hit, Interest, Observer, Seen};

/// Programs by what they look at.
struct Tables {
    /// By system call number.
    enter: Vec<Vec<Weak<Link>>>,
    /// By system call number.
    ret: Vec<Vec<Weak<Link>>>,
    /// Those that see every call, foreign ones too.
    any_enter: Vec<Weak<Link>>,
    any_ret: Vec<Weak<Link>>,
    others: Vec<(Event, Weak<Link>)>,
    /// By the number of the site.
    probes: Vec<Vec<Watcher>>,
}

/// Helpers that tell credentials: `bpf_get_current_uid_gid`, `bpf_get_ns_current_pid_tgid`.
const CREDENTIAL_HELPERS: [u32; 2] = [15, 120];

impl Tables {
    fn new(links: &[Arc<Link>]) -> Self {
        let calls = || (0..CallSet::LIMIT).map(|_| Vec::new()).collect();
        let mut tables = Self {
            enter: calls(),
            ret: calls(),
            any_enter: Vec::new(),
            any_ret: Vec::new(),
            others: Vec::new(),
            probes: probe::sites(links).1,
        };
        for link in links {
            let event = link.hook.event;
            let link = Arc::downgrade(link);
            match event {
                Event::Enter(Some(nr)) => tables.enter[nr as usize].push(link),
                Event::Return(Some(nr)) => tables.ret[nr as usize].push(link),
                Event::Enter(None) => tables.any_enter.push(link),
                Event::Return(None) => tables.any_ret.push(link),
                Event::Probe
                | Event::ProbeReturn
                | Event::ProbeSession
                | Event::Tested { .. }
                | Event::Iterated => {}
                event => tables.others.push((event, link)),
            }
        }
        tables
    }

    fn of_call<'a>(table: &'a [Vec<Weak<Link>>], call: &Call) -> &'a [Weak<Link>] {
        let nr = usize::try_from(call.nr).ok().filter(|_| !call.foreign);
        nr.and_then(|nr| table.get(nr)).map_or(&[], Vec::as_slice)
    }
}

/// What the tracer has to stop for, so that these links see what they are attached to.
pub(crate) fn interest(links: &[Arc<Link>]) -> Interest {
    let mut interest = Interest::default();
    for link in links {
        match link.hook.event {
            Event::Enter(Some(nr)) => interest.enter.insert(nr),
            Event::Return(Some(nr)) => interest.exit.insert(nr),
            Event::Enter(None) => (interest.enter, interest.foreign) = (CallSet::ALL, true),
            Event::Return(None) => (interest.exit, interest.foreign) = (CallSet::ALL, true),
            Event::Exit => interest.exits = true,
            // Parents are told of the end of children, whose names are gone by then.
            Event::SignalGenerate => (interest.signals, interest.exits) = (true, true),
            Event::SignalDeliver => interest.signals = true,
            Event::Fork | Event::NewTask | Event::Exec => {}
            Event::Probe
            | Event::ProbeReturn
            | Event::ProbeSession
            | Event::Tested { .. }
            | Event::Iterated => {}
            Event::Sample { period_ns } if interest.periods.contains(&period_ns) => {}
            Event::Sample { period_ns } => interest.periods.push(period_ns),
        }
    }
    interest.sites = probe::sites(links).0;
    // Without a filter there is nothing to watch by: then credentials are read again at each stop.
    if !interest.calls().is_empty() && links.iter().any(|link| link.prog().spec.calls(&CREDENTIAL_HELPERS)) {
        interest.watch = Task::watched();
    }
    interest
}

/// Runs programs on what the tracer observes.
pub(crate) struct Dispatcher {
    tables: Tables,
    layouts: Layouts,
    runner: Runner,
    /// Has it been told that breakpoints were put back?
    repaired: bool,
    /// Names of threads that have ended last.
    ended: VecDeque<(Tid, [u8; 16])>,
}

/// How many threads that have ended are remembered.
const REMEMBERED: usize = 64;

/// Layouts of the records in use.
struct Layouts(Vec<(Record, Layout)>);

impl Layouts {
    fn new(btf: Option<&Btf>) -> Self {
        let all = [
            Record::Fork,
            Record::NewTask,
            Record::Exec,
            Record::Exit,
            Record::SignalGenerate,
            Record::SignalDeliver,
        ];
        Self(all.into_iter().map(|record| (record, record.layout(btf))).collect())
    }

    fn get(&self, wanted: Record) -> &Layout {
        let found = self.0.iter().find(|(record, _)| *record == wanted);
        &found.expect("invariant: every record has a layout").1
    }
}

/// What running a program needs beside the event.
struct Runner {
    memory: KernelMemory,
    context: Context,
    printk: Arc<Printk>,
    diagnostics: Option<Diagnostics>,
}

impl Dispatcher {
    /// Runs these links' programs; `btf` lays out what they read of the kernel.
    pub(crate) fn new(
        links: &[Arc<Link>],
        btf: Arc<Btf>,
        printk: Arc<Printk>,
        diagnostics: Option<Diagnostics>,
    ) -> Self {
        let layouts = Layouts::new(Some(&btf));
        let memory = KernelMemory::new(Types::new(btf));
        let runner = Runner { memory, context: Context::default(), printk, diagnostics };
        Self { tables: Tables::new(links), layouts, runner, repaired: false, ended: VecDeque::new() }
    }

    /// Runs the programs of an event that is no system call; `record` and `arguments` fill the context in either form.
    fn other(
        &mut self,
        event: Event,
        task: &mut Task,
        mut record: impl FnMut(&mut Context, &Layouts, &mut Task),
        arguments: &[u64],
    ) {
        self.runner.memory.begin();
        let wanted = self.tables.others.iter().filter(|(known, _)| *known == event);
        for link in wanted.filter_map(|(_, link)| link.upgrade()) {
            match link.hook.form {
                Form::Record => record(&mut self.runner.context, &self.layouts, task),
                Form::Arguments => self.runner.context.arguments(arguments),
                Form::Registers | Form::Sample => continue,
            }
            self.runner.run(&link, task, link.cookie, None);
        }
    }

    fn wants(&self, event: Event) -> bool {
        self.tables.others.iter().any(|(known, _)| *known == event)
    }
}

impl Runner {
    /// Runs a link's program on the context; answers what it answers. A fault ends the run, not the traced command, and is
    /// told once.
    fn run(&mut self, link: &Link, task: &mut Task, cookie: u64, probe: Option<&mut Probe>) -> Option<u64> {
        let prog = link.prog();
        let mut world = World {
            task,
            memory: &mut self.memory,
            printk: &self.printk,
            diagnostics: self.diagnostics.as_ref(),
            cookie,
            probe,
        };
        let fault = match prog.code.run(self.context.bytes(), &mut world) {
            Ok(answer) => return Some(answer),
            Err(fault) => fault,
        };
        if !prog.faulted.swap(true, Ordering::Relaxed)
            && let Some(tell) = &self.diagnostics
        {
            tell(Diagnostic::Fault { prog_id: prog.id, insn: fault.insn, message: fault.to_string() });
        }
        None
    }
}

fn address(kind: ObjectKind, tid: Tid) -> u64 {
    Object { kind, tid }.addr()
}

impl Observer for Dispatcher {
    fn entered(&mut self, task: &mut Task, call: &Call) {
        self.runner.memory.begin();
        let wanted = Tables::of_call(&self.tables.enter, call).iter().chain(&self.tables.any_enter);
        for link in wanted.filter_map(Weak::upgrade) {
            match link.hook.form {
                Form::Record => self.runner.context.enter(task.tid, call),
                Form::Arguments => {
                    let regs = address(ObjectKind::Regs, task.tid);
                    self.runner.context.arguments(&[regs, call.nr.cast_unsigned()]);
                }
                Form::Registers => {
                    self.runner.context.function_entry(address(ObjectKind::Regs, task.tid));
                }
                Form::Sample => continue,
            }
            self.runner.run(&link, task, link.cookie, None);
        }
    }

    fn returned(&mut self, task: &mut Task, call: &Call, ret: i64) {
        self.runner.memory.begin();
        let wanted = Tables::of_call(&self.tables.ret, call).iter().chain(&self.tables.any_ret);
        for link in wanted.filter_map(Weak::upgrade) {
            match link.hook.form {
                Form::Record => self.runner.context.ret(task.tid, call, ret),
                Form::Arguments => {
                    let regs = address(ObjectKind::Regs, task.tid);
                    self.runner.context.arguments(&[regs, ret.cast_unsigned()]);
                }
                Form::Registers => self.runner.context.function_return(ret),
                Form::Sample => continue,
            }
            self.runner.run(&link, task, link.cookie, None);
        }
    }

    fn forked(&mut self, parent: &mut Task, child: &mut Task) {
        let started = (clock_ns(libc::CLOCK_MONOTONIC), clock_ns(libc::CLOCK_BOOTTIME));
        self.runner.memory.known(child.tid).started_ns = Some(started);
        if self.tables.others.is_empty() {
            return;
        }
        let (child_tid, child_comm) = (child.tid, child.comm());
        let tasks = [address(ObjectKind::Task, parent.tid), address(ObjectKind::Task, child_tid)];
        let newtask = |context: &mut Context, layouts: &Layouts, task: &mut Task| {
            context.record(layouts.get(Record::NewTask), task.tid).number("pid", child_tid.into()).text(
                "comm",
                "__data_loc_comm",
                &child_comm,
            );
        };
        self.other(Event::NewTask, parent, newtask, &[tasks[1], 0]);
        let fork = |context: &mut Context, layouts: &Layouts, task: &mut Task| {
            let parent_comm = task.comm();
            context
                .record(layouts.get(Record::Fork), task.tid)
                .text("parent_comm", "__data_loc_parent_comm", &parent_comm)
                .number("parent_pid", task.tid.into())
                .text("child_comm", "__data_loc_child_comm", &child_comm)
                .number("child_pid", child_tid.into());
        };
        self.other(Event::Fork, parent, fork, &tasks);
    }

    fn executed(&mut self, task: &mut Task, old_tid: Tid) {
        self.warn_of_set_id(task);
        if !self.wants(Event::Exec) {
            return;
        }
        let name = crate::procfs::auxiliary(task.tid, libc::AT_EXECFN).map(|at| exec_name(task.tid, at));
        let name: Arc<[u8]> = name.unwrap_or_default().into();
        self.runner.memory.known(task.tid).exec_name = Some(Arc::clone(&name));
        let arguments = [
            address(ObjectKind::Task, task.tid),
            i64::from(old_tid).cast_unsigned(),
            address(ObjectKind::Binprm, task.tid),
        ];
        let record = |context: &mut Context, layouts: &Layouts, task: &mut Task| {
            context
                .record(layouts.get(Record::Exec), task.tid)
                .text("filename", "__data_loc_filename", &name)
                .number("pid", task.tid.into())
                .number("old_pid", old_tid.into());
        };
        self.other(Event::Exec, task, record, &arguments);
    }

    fn exiting(&mut self, task: &mut Task, code: i32, last: bool) {
        self.runner.memory.known(task.tid).exit_code = Some(code);
        if self.wants(Event::SignalGenerate) {
            self.ended.truncate(REMEMBERED - 1);
            self.ended.push_front((task.tid, task.comm()));
        }
        let arguments = [address(ObjectKind::Task, task.tid), u64::from(last)];
        let record = |context: &mut Context, layouts: &Layouts, task: &mut Task| {
            let (comm, nice) = (task.comm(), task.stat().nice);
            context
                .record(layouts.get(Record::Exit), task.tid)
                .text("comm", "__data_loc_comm", &comm)
                .number("pid", task.tid.into())
                .number("prio", 120 + nice)
                .number("group_dead", last.into());
        };
        self.other(Event::Exit, task, record, &arguments);
    }

    fn signalled(&mut self, task: &mut Task, signal: &SignalInfo) {
        if self.wants(Event::SignalGenerate) {
            self.generated(task, signal);
        }
        let arguments = [signed(signal.signal.into()), address(ObjectKind::SigInfo, task.tid), 0];
        let record = |context: &mut Context, layouts: &Layouts, task: &mut Task| {
            context
                .record(layouts.get(Record::SignalDeliver), task.tid)
                .number("sig", signal.signal.into())
                .number("errno", signal.errno.into())
                .number("code", signal.code.into());
        };
        self.other(Event::SignalDeliver, task, record, &arguments);
    }

    fn probed(&mut self, task: &mut Task, hit: Hit<'_>) -> Seen {
        self.runner.memory.begin();
        let mut wants_return = false;
        let mut probe = Probe::of(&hit);
        for watcher in &self.tables.probes[hit.site] {
            let here = match watcher.event {
                Event::Probe => !hit.ret,
                Event::ProbeReturn => hit.ret,
                _ => true,
            };
            let Some(link) = watcher.link.upgrade() else { continue };
            wants_return |= watcher.event == Event::ProbeReturn;
            if here {
                self.runner.context.registers(hit.regs, *hit.session);
                let answer = self.runner.run(&link, task, watcher.cookie, Some(&mut probe));
                wants_return |= watcher.event == Event::ProbeSession && answer == Some(0);
                if answer.is_some() {
                    self.runner.context.changed_registers(hit.regs, hit.session);
                }
            }
        }
        Seen { skip_return: !wants_return }
    }

    fn sampled(&mut self, task: &mut Task, regs: &Registers, period_ns: u64) {
        self.runner.memory.begin();
        let wanted = self.tables.others.iter().filter(|(event, _)| *event == Event::Sample { period_ns });
        for link in wanted.filter_map(|(_, link)| link.upgrade()) {
            self.runner.context.sample(regs, period_ns);
            self.runner.run(&link, task, link.cookie, None);
        }
    }

    fn repaired(&mut self, count: usize) {
        if let Some(tell) = self.runner.diagnostics.as_ref().filter(|_| !self.repaired) {
            self.repaired = true;
            tell(Diagnostic::ProbesRepaired { count });
        }
    }

    fn gone(&mut self, tid: Tid) {
        self.runner.memory.forget(tid);
    }
}

/// `si_code` of signals that `si_pid` sent with kill(2), sigqueue(3) and tgkill(2).
const SENT: [i32; 3] = [0, -1, SI_TKILL];
const SI_TKILL: i32 = -6;

fn signed(value: i64) -> u64 {
    value.cast_unsigned()
}

impl Dispatcher {
    /// A signal was sent, a while ago: the kernel runs programs in its sender then. ptrace shows no SIGKILL, and a blocked
    /// signal only when it is unblocked.
    fn generated(&mut self, task: &mut Task, signal: &SignalInfo) {
        let sent = signal.pid > 0 && (SENT.contains(&signal.code) || signal.signal == libc::SIGCHLD);
        let (receiver, comm, group) = (task.tid, task.comm(), signal.code != SI_TKILL);
        let info = address(ObjectKind::SigInfo, receiver);
        let arguments =
            [signed(signal.signal.into()), info, address(ObjectKind::Task, receiver), u64::from(group), 0];
        let record = |context: &mut Context, layouts: &Layouts, sender: &mut Task| {
            context
                .record(layouts.get(Record::SignalGenerate), sender.tid)
                .number("sig", signal.signal.into())
                .number("errno", signal.errno.into())
                .number("code", signal.code.into())
                .text("comm", "__data_loc_comm", &comm)
                .number("pid", receiver.into())
                .number("group", group.into());
        };
        if sent && signal.pid != receiver {
            let name = self.ended.iter().find(|(tid, _)| *tid == signal.pid).map(|(_, name)| *name);
            self.other(Event::SignalGenerate, &mut Task::sender(signal.pid, name), record, &arguments);
        } else {
            self.other(Event::SignalGenerate, task, record, &arguments);
        }
    }

    /// Says so when a program would have gained rights without us.
    fn warn_of_set_id(&self, task: &mut Task) {
        let Some(tell) = &self.runner.diagnostics else { return };
        if let Some(owner) = crate::procfs::set_id_owner(task.tid)
            && task.status().uids[1] != owner
            && let Some(path) = crate::procfs::executable(task.tid)
        {
            tell(Diagnostic::SetIdIgnored {
                pid: task.tgid.cast_unsigned(),
                path: path.display().to_string(),
            });
        }
    }
}

/// The name that a program was executed by, from its own memory.
fn exec_name(tid: Tid, at: u64) -> Vec<u8> {
    let mut name = vec![0; libc::PATH_MAX as usize];
    // A page at a time: the stack may end behind the name.
    let mut length = 0;
    while length < name.len() {
        let piece = (4096 - (at + length as u64) % 4096).min((name.len() - length) as u64) as usize;
        match crate::sys::memory::read(tid, at + length as u64, &mut name[length..length + piece]) {
            Ok(bytes) if bytes > 0 => {
                if let Some(end) = name[length..length + bytes].iter().position(|&byte| byte == 0) {
                    name.truncate(length + end);
                    return name;
                }
                length += bytes;
            }
            _ => break,
        }
    }
    name.truncate(length);
    name
}
