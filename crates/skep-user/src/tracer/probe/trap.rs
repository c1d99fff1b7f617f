//! What happens when a thread runs into a breakpoint, and when it makes, shares or replaces an address space.

use std::ops::Range;

use super::super::{Call, Tracer};
use super::returns::Pending;
use super::space::{ANYWHERE, Space, SpaceId};
use super::step::Next;
use super::{Hit, SiteId};
use crate::sys::ptrace::{self, Registers, WholeSignalInfo, reg};
use crate::sys::{Tid, memory, process};

/// `si_code` of the signal that a breakpoint instruction raises.
const SI_KERNEL: i32 = 0x80;

/// What a breakpoint is for, for one visit.
struct Visit {
    address: u64,
    site: Option<SiteId>,
    is_return: bool,
    is_loader: bool,
    before_frame: bool,
}

impl Tracer {
    /// A thread has got SIGTRAP. If that is from a breakpoint of ours the thread goes on, and the answer is true.
    pub(in crate::tracer) fn at_trap(&mut self, tid: Tid) -> bool {
        let Some(space) = self.tracees.get(&tid).and_then(|tracee| tracee.space) else { return false };
        if !ptrace::signal_info(tid).is_ok_and(|info| info.code == SI_KERNEL) {
            return false;
        }
        let Ok(mut regs) = ptrace::registers(tid) else { return true };
        let address = regs[reg::RIP].wrapping_sub(1);
        regs[reg::RIP] = address;
        if self.is_gone(space, address, tid) {
            let _ = ptrace::set_registers(tid, &regs);
            self.resume(tid, 0);
            return true;
        }
        let Some(visit) = self.visit_of(space, address, tid) else { return false };
        self.visit(tid, space, &visit, &mut regs);
        let signal = if regs[reg::RIP] == address {
            self.pass(tid, space, address, regs)
        } else {
            // A program sent the thread elsewhere.
            ptrace::set_registers(tid, &regs).ok().map(|()| 0)
        };
        if let Some(signal) = signal {
            self.resume(tid, signal);
        }
        true
    }

    /// Is there no breakpoint any more where a thread has run into one?
    fn is_gone(&self, space: SpaceId, address: u64, tid: Tid) -> bool {
        let Some(space) = self.spaces.all.get(&space) else { return false };
        let known = space.breakpoints.contains_key(&address);
        (known && space.restored) || (!known && !Space::is_breakpoint(tid, address))
    }

    /// What a breakpoint is for; `None` when it is the program's own.
    fn visit_of(&mut self, id: SpaceId, address: u64, tid: Tid) -> Option<Visit> {
        if !self.spaces.all.get(&id)?.breakpoints.contains_key(&address) {
            // Moved by mremap(2), or inherited from a parent that died before it could tell.
            let elsewhere =
                self.spaces.all.values().find_map(|space| space.breakpoints.get(&address).cloned());
            self.scan(id, tid, &ANYWHERE);
            let space = self.spaces.all.get_mut(&id)?;
            if !space.breakpoints.contains_key(&address) {
                space.adopt(tid, address, &elsewhere?);
            }
        }
        let space = self.spaces.all.get_mut(&id)?;
        let before_frame = space.step(tid, address)?.is_before_frame();
        let known = space.breakpoints.get(&address)?;
        Some(Visit {
            address,
            site: known.site,
            is_return: known.is_return,
            is_loader: known.is_loader,
            before_frame,
        })
    }

    /// Tells the observer all there is to see here.
    fn visit(&mut self, tid: Tid, space: SpaceId, visit: &Visit, regs: &mut Registers) {
        if visit.is_return {
            self.returned_to(tid, visit, regs);
        }
        let here = (visit.address, regs[reg::RSP]);
        let passed = self.tracees.get_mut(&tid).and_then(|tracee| tracee.passed.take());
        if let Some(site) = visit.site.filter(|_| passed != Some(here)) {
            self.reached(tid, space, site, visit, regs);
        }
        if visit.is_loader {
            self.scan(space, tid, &ANYWHERE);
        }
    }

    fn returned_to(&mut self, tid: Tid, visit: &Visit, regs: &mut Registers) {
        self.observe(tid, |observer, tracee| {
            for mut pending in tracee.returns.back(visit.address, regs[reg::RSP]) {
                let hit = Hit {
                    site: pending.site,
                    ret: true,
                    address: pending.address,
                    before_frame: false,
                    regs,
                    session: &mut pending.session,
                };
                observer.probed(&mut tracee.task, hit);
            }
        });
    }

    fn reached(&mut self, tid: Tid, space: SpaceId, site: SiteId, visit: &Visit, regs: &mut Registers) {
        let (entry, mut ret) = (self.interest.sites[site].entry, self.interest.sites[site].ret);
        let mut session = 0;
        if entry {
            self.observe(tid, |observer, tracee| {
                let hit = Hit {
                    site,
                    ret: false,
                    address: visit.address,
                    before_frame: visit.before_frame,
                    regs,
                    session: &mut session,
                };
                ret &= !observer.probed(&mut tracee.task, hit).skip_return;
            });
        }
        if !ret || self.observer.is_none() {
            return;
        }
        let slot = regs[reg::RSP];
        let Some(return_address) = read_word(tid, slot) else { return };
        if self.spaces.all.get_mut(&space).is_some_and(|space| space.insert_return(tid, return_address))
            && let Some(tracee) = self.tracees.get_mut(&tid)
        {
            tracee.returns.enter(Pending { site, address: visit.address, slot, return_address, session });
        }
    }

    /// Gets a thread past the breakpoint at which it stands; answers the signal to go on with, or `None` when it is gone.
    fn pass(&mut self, tid: Tid, id: SpaceId, address: u64, mut regs: Registers) -> Option<i32> {
        let step = self.spaces.all.get_mut(&id)?.step(tid, address)?;
        let before = regs;
        let ready = match step.go(&mut regs, |at| read_word(tid, at)) {
            Next::Done { pushed: None } => true,
            Next::Done { pushed: Some(value) } => {
                memory::write(tid, regs[reg::RSP], &value.to_ne_bytes()).is_ok_and(|bytes| bytes == 8)
            }
            Next::Copy => {
                let slot = self.slot(tid, id, address, &before);
                slot.inspect(|&slot| regs[reg::RIP] = slot).is_some()
            }
            Next::InPlace => false,
        };
        if ready {
            ptrace::set_registers(tid, &regs).ok()?;
            return Some(self.tracees.get_mut(&tid).map_or(0, |tracee| std::mem::take(&mut tracee.caught)));
        }
        self.pass_in_place(tid, id, address, &before)
    }

    /// The place of the copy of an instruction, made if there is none yet.
    fn slot(&mut self, tid: Tid, id: SpaceId, address: u64, regs: &Registers) -> Option<u64> {
        let space = self.spaces.all.get_mut(&id)?;
        if let Some(slot) = space.breakpoints.get(&address)?.slot {
            return Some(slot);
        }
        let step = space.step(tid, address)?;
        let made = (0..space.copies.len()).find_map(|copies| space.fill_slot(tid, copies, address, &step));
        if made.is_some() || space.no_room {
            return made;
        }
        let room = self.make_room(tid, address, regs);
        let space = self.spaces.all.get_mut(&id)?;
        space.no_room = room.is_none();
        space.copies.push(room?);
        space.fill_slot(tid, space.copies.len() - 1, address, &step)
    }

    /// Executes the instruction where it is. Other threads that come by in this moment are not seen.
    fn pass_in_place(&mut self, tid: Tid, id: SpaceId, address: u64, regs: &Registers) -> Option<i32> {
        self.spaces.all.get(&id)?.lift(tid, address, true);
        let after = self.single_step(tid, regs);
        if let Some(space) = self.spaces.all.get(&id) {
            space.lift(tid, address, false);
        }
        after.map(|(_, caught)| caught)
    }

    /// A thread stops for another reason, such as a signal: if it is in a copy of an instruction it goes to where that
    /// belongs, so that signal handlers and debuggers see addresses of the program. `false` when it is gone instead, or
    /// stops again first.
    pub(in crate::tracer) fn leave_copy(&mut self, tid: Tid, signal: i32) -> bool {
        let space = self.tracees.get(&tid).and_then(|tracee| self.spaces.all.get_mut(&tracee.space?));
        let Some(space) = space.filter(|space| !space.copies.is_empty()) else { return true };
        let Ok(mut regs) = ptrace::registers(tid) else { return true };
        let Some((address, done)) = space.copy_at(regs[reg::RIP]) else { return true };
        let Some(step) = space.step(tid, address) else { return true };
        regs[reg::RIP] = if done == 0 { address } else { step.end() };
        let restored = space.restored;
        let info = ptrace::whole_signal_info(tid).ok().filter(|_| signal != 0);
        match info {
            // Where signals keep coming the thread would never get past the instruction otherwise.
            Some(info) if done == 0 && !info.is_fault() => return self.finish_copy(tid, &info, step.end()),
            _ if done == 0 && !restored => {
                let passed = Some((address, regs[reg::RSP]));
                self.tracees.entry(tid).and_modify(|tracee| tracee.passed = passed);
            }
            _ => {}
        }
        ptrace::set_registers(tid, &regs).is_ok()
    }

    /// Executes the copy before which a signal came, and lets the signal come behind it.
    fn finish_copy(&mut self, tid: Tid, signal: &WholeSignalInfo, end: u64) -> bool {
        let Ok(regs) = ptrace::registers(tid) else { return false };
        match self.single_step(tid, &regs) {
            Some((mut after, _)) => {
                if self.spaces_have_copy(tid, after[reg::RIP]) {
                    after[reg::RIP] = end;
                }
                ptrace::set_registers(tid, &after).is_ok() && ptrace::set_signal_info(tid, signal).is_ok()
            }
            None => {
                // The instruction itself raised another signal, which goes first.
                let tgid = self.tracees.get(&tid).map_or(tid, |tracee| tracee.task.tgid);
                let _ = process::send_signal(tgid, Some(tid), signal.signal());
                false
            }
        }
    }

    fn spaces_have_copy(&self, tid: Tid, address: u64) -> bool {
        let space = self.tracees.get(&tid).and_then(|tracee| self.spaces.all.get(&tracee.space?));
        space.is_some_and(|space| space.copy_at(address).is_some())
    }

    /// Before a thread is let go: has it run into a breakpoint that it has not told of yet?
    pub(in crate::tracer) fn is_trap_pending(&self, tid: Tid) -> bool {
        let Some(id) = self.tracees.get(&tid).and_then(|tracee| tracee.space) else { return false };
        let Ok(regs) = ptrace::registers(tid) else { return false };
        let before = regs[reg::RIP].wrapping_sub(1);
        let known = self.spaces.all.get(&id).is_some_and(|space| space.breakpoints.contains_key(&before));
        known && crate::procfs::is_pending(tid, libc::SIGTRAP)
    }

    /// After everything was put back: the address at which a thread has run into a breakpoint is executed again.
    pub(in crate::tracer) fn undo_trap(&mut self, tid: Tid) -> bool {
        let Some(id) = self.tracees.get(&tid).and_then(|tracee| tracee.space) else { return false };
        let Ok(mut regs) = ptrace::registers(tid) else { return false };
        regs[reg::RIP] = regs[reg::RIP].wrapping_sub(1);
        let ours = ptrace::signal_info(tid).is_ok_and(|info| info.code == SI_KERNEL)
            && self.is_gone(id, regs[reg::RIP], tid);
        ours && ptrace::set_registers(tid, &regs).is_ok()
    }

    /// Puts breakpoints into what is mapped in a range.
    pub(in crate::tracer) fn scan(&mut self, id: SpaceId, tid: Tid, range: &Range<u64>) {
        if self.observer.is_some()
            && let Some(space) = self.spaces.all.get_mut(&id)
        {
            space.scan(tid, range, &mut self.places, &self.interest.sites);
        }
    }

    /// A process begins another program, or is attached: with an address space that has nothing of ours.
    pub(in crate::tracer) fn enter_space(&mut self, tid: Tid, members: Vec<Tid>) {
        if self.places.is_empty() || self.observer.is_none() {
            return;
        }
        let id = self.spaces.fresh(members.clone());
        for member in members {
            self.leave_space(member);
            if let Some(tracee) = self.tracees.get_mut(&member) {
                tracee.space = Some(id);
                tracee.returns.clear();
                tracee.passed = None;
            }
        }
        self.scan(id, tid, &ANYWHERE);
        if self.spaces.follow_loader {
            self.spaces.watch_loader(id, tid);
        }
    }

    /// A thread is gone from its address space.
    pub(in crate::tracer) fn leave_space(&mut self, tid: Tid) {
        if let Some(id) = self.tracees.get_mut(&tid).and_then(|tracee| tracee.space.take()) {
            self.spaces.leave(id, tid);
        }
    }

    /// A thread has died. Those that it made and could not tell of have its address space, or a copy.
    pub(in crate::tracer) fn adopt_orphans(&mut self, parent: Tid) {
        let Some(id) = self.tracees.get(&parent).and_then(|tracee| tracee.space) else { return };
        let orphans = self.tracees.iter().filter(|(_, tracee)| tracee.held && tracee.space.is_none());
        for orphan in orphans.map(|(&tid, _)| tid).collect::<Vec<_>>() {
            let same = self.tracees[&orphan].task.tgid == self.tracees[&parent].task.tgid;
            let space = self.spaces.child(id, orphan, same);
            self.tracees.entry(orphan).and_modify(|tracee| tracee.space = space);
        }
    }

    /// A thread has made another thread or process, in its own address space or in a copy.
    pub(in crate::tracer) fn inherit_space(&mut self, parent: Tid, child: Tid) {
        let Some((id, returns)) = self.tracees.get(&parent).and_then(|p| Some((p.space?, p.returns.clone())))
        else {
            return;
        };
        let flags = clone_flags(parent);
        let shares = flags & libc::CLONE_VM as u64 != 0;
        let space = self.spaces.child(id, child, shares);
        if let Some(child) = self.tracees.get_mut(&child) {
            child.space = space;
            if !shares || flags & libc::CLONE_VFORK as u64 != 0 {
                child.returns = returns;
            }
        }
    }

    /// Does a call map part of a file, or make mapped memory executable?
    pub(in crate::tracer) fn maps(&self, call: &Call) -> bool {
        let wanted = match call.nr {
            libc::SYS_mmap => call.args[3] & libc::MAP_ANONYMOUS as u64 == 0,
            libc::SYS_mprotect => call.args[2] & libc::PROT_EXEC as u64 != 0,
            _ => false,
        };
        wanted && !call.foreign && !self.places.is_empty()
    }

    /// A call that maps has returned.
    pub(in crate::tracer) fn mapped(&mut self, tid: Tid, call: &Call, ret: i64) {
        let start = if call.nr == libc::SYS_mmap { ret.cast_unsigned() } else { call.args[0] };
        const ERRORS: i64 = -4096;
        if !(ERRORS..0).contains(&ret)
            && let Some(id) = self.tracees.get(&tid).and_then(|tracee| tracee.space)
        {
            self.scan(id, tid, &(start..start.saturating_add(call.args[1])));
        }
    }
}

fn read_word(tid: Tid, address: u64) -> Option<u64> {
    let mut bytes = [0; 8];
    memory::read(tid, address, &mut bytes).is_ok_and(|n| n == 8).then(|| u64::from_ne_bytes(bytes))
}

/// How a thread in its stop after fork, vfork or clone shares with what it made (`CLONE_*`).
fn clone_flags(parent: Tid) -> u64 {
    const FORK: u64 = libc::SYS_fork as u64;
    const VFORK: u64 = libc::SYS_vfork as u64;
    const CLONE: u64 = libc::SYS_clone as u64;
    const CLONE3: u64 = libc::SYS_clone3 as u64;
    let Ok(regs) = ptrace::registers(parent) else { return 0 };
    match regs[reg::ORIG_RAX] {
        FORK => 0,
        VFORK => (libc::CLONE_VM | libc::CLONE_VFORK) as u64,
        CLONE => regs[reg::RDI],
        // The first member of `struct clone_args`.
        CLONE3 => read_word(parent, regs[reg::RDI]).unwrap_or(0),
        _ => 0,
    }
}
