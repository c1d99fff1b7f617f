//! What does not depend on values: references to maps and kernel functions, how control flows, which registers are live.

use skep_isa::uapi::{MapType, ProgType};
use skep_isa::{CallTarget, Imm64, Op};

use super::{Verifier, helpers, kfuncs};
use crate::flow::{self, CallShape};
use crate::input::Input;
use crate::liveness;
use crate::reg::BtfRef;
use crate::stop::{Res, reject, unsupported};
use crate::types::Types;

impl Verifier<'_> {
    /// Everything that does not depend on values.
    pub(super) fn prepare(&mut self) -> Res {
        self.find_globals();
        self.resolve_kfuncs()?;
        self.check_abnormal_returns()?;
        self.check_references()?;
        self.check_attach()?;
        let shapes: Vec<CallShape> = (0..self.code.len()).map(|pc| self.call_shape(pc)).collect();
        let shapes = |pc: u32| shapes.get(pc as usize).copied().unwrap_or_default();
        let code = &mut self.code;
        let entries: Vec<u32> = code.subprogs.iter().filter(|s| s.is_exception_cb).map(|s| s.start).collect();
        // A watcher of all paths wants those of callbacks, too; they end where the call comes back to a state.
        let rounds = self.watch.as_ref().is_none_or(|watch| !watch.exhaustive);
        self.marks = flow::mark(code, &shapes, &entries, rounds)?;
        let prog = self.prog_type();
        let args = |pc: u32| match self.code.op(pc) {
            Some(Op::Call(CallTarget::Helper(id))) => {
                crate::helper::find(*id, prog).map(|p| p.args.len() as u32)
            }
            Some(Op::Call(CallTarget::Kfunc { .. })) => self.kfunc_at(pc).map(|k| k.params.len() as u32),
            _ => None,
        };
        self.live = liveness::live_registers(&self.code, &args);
        Ok(())
    }

    /// What the call at `pc` does to the flow of control.
    fn call_shape(&self, pc: u32) -> CallShape {
        match self.code.op(pc) {
            Some(&Op::Call(CallTarget::Helper(id))) => CallShape {
                sync_callback: helpers::calls_back(id),
                async_callback: id == helpers::id::TIMER_SET_CALLBACK,
                iter_next: false,
                changes_pkt_data: helpers::changes_pkt_data(id),
                might_sleep: crate::helper::find(id, ProgType::UNSPEC).is_some_and(|p| p.might_sleep),
            },
            Some(Op::Call(CallTarget::Kfunc { .. })) => {
                self.kfunc_at(pc).map_or_else(CallShape::default, kfuncs::Resolved::shape)
            }
            _ => CallShape::default(),
        }
    }

    /// Legacy packet loads and tail calls may return for the function they are in: it must return a number.
    fn check_abnormal_returns(&self) -> Res {
        for i in 1..self.code.subprogs.len() as u32 {
            let info = &self.code.subprogs[i as usize];
            let what = match (info.has_ld_abs, info.has_tail_call) {
                (true, _) => "LD_ABS",
                (_, true) => "tail_call",
                _ => continue,
            };
            let Some(func) = self.subprog_type(i) else {
                reject!("{what} is not allowed in subprogs without BTF");
            };
            let number =
                self.types.proto(func).is_some_and(|(r, p)| self.types.is_scalar(self.types.at(r, p.ret)));
            if !number {
                reject!("{what} is only allowed in functions that return 'int'.");
            }
        }
        Ok(())
    }

    /// Map and type references name something.
    fn check_references(&mut self) -> Res {
        for pc in 0..self.code.len() {
            self.pc = pc;
            match self.code.op(pc) {
                Some(Op::LoadImm64 { imm: Imm64::MapIdx(i) | Imm64::MapIdxValue { idx: i, .. }, .. }) => {
                    if usize::try_from(*i).ok().is_none_or(|i| i >= self.input.maps.len()) {
                        reject!("fd {i} is not pointing to valid bpf_map");
                    }
                    self.check_map_program(*i as u32)?;
                }
                Some(Op::LoadImm64 { imm: Imm64::MapFd(fd) | Imm64::MapFdValue { fd, .. }, .. }) => {
                    reject!("fd {fd} is not pointing to valid bpf_map");
                }
                _ => {}
            }
        }
        self.pc = 0;
        Ok(())
    }

    /// Maps that go only with some program types (`check_map_prog_compatibility`).
    fn check_map_program(&self, map: u32) -> Res {
        let data = &self.maps[map as usize];
        let prog = self.prog_type();
        let tracing = matches!(
            prog,
            ProgType::KPROBE
                | ProgType::TRACEPOINT
                | ProgType::PERF_EVENT
                | ProgType::RAW_TRACEPOINT
                | ProgType::RAW_TRACEPOINT_WRITABLE
        );
        use crate::record::FieldKind;
        let has = |kind| data.record.first(kind).is_some();
        if (has(FieldKind::ListHead) || has(FieldKind::RbRoot)) && tracing {
            reject!("tracing progs cannot use bpf_{{list_head,rb_root}} yet");
        }
        if data.record.has_lock()
            && (prog == ProgType::SOCKET_FILTER || (tracing && has(FieldKind::SpinLock)))
        {
            let who = if prog == ProgType::SOCKET_FILTER { "socket filter progs" } else { "tracing progs" };
            reject!("{who} cannot use bpf_spin_lock yet");
        }
        if has(FieldKind::Timer) && tracing {
            reject!("tracing progs cannot use bpf_timer yet");
        }
        if has(FieldKind::Workqueue) && tracing {
            reject!("tracing progs cannot use bpf_wq yet");
        }
        if self.input.sleepable && !sleepable_map(data.info.ty) {
            reject!("Sleepable programs can only use array, hash, ringbuf and local storage maps");
        }
        Ok(())
    }
}

/// First instruction of the function that the main program names to be called on exceptions.
pub(super) fn exception_callback(input: &Input<'_>, types: &Types) -> Res<Option<u32>> {
    let Some((_, main)) = input.func_info.iter().find(|(insn, _)| *insn == 0) else { return Ok(None) };
    let main = BtfRef { obj: BtfRef::PROGRAM, id: *main };
    let mut names = types.decl_tags(main, None).filter_map(|tag| tag.strip_prefix("exception_callback:"));
    let Some(name) = names.next() else { return Ok(None) };
    if names.next().is_some() {
        reject!("multiple exception callback tags for main subprog");
    }
    let named = |id: u32| types.name(BtfRef { obj: BtfRef::PROGRAM, id }) == name;
    match input.func_info.iter().find(|(_, id)| named(*id)) {
        Some((insn, _)) => Ok(Some(*insn)),
        None => unsupported!("exception callback `{name}` that is not in the program"),
    }
}

fn sleepable_map(ty: MapType) -> bool {
    matches!(
        ty,
        MapType::HASH
            | MapType::LRU_HASH
            | MapType::ARRAY
            | MapType::PERCPU_HASH
            | MapType::PERCPU_ARRAY
            | MapType::LRU_PERCPU_HASH
            | MapType::ARRAY_OF_MAPS
            | MapType::HASH_OF_MAPS
            | MapType::RINGBUF
            | MapType::USER_RINGBUF
            | MapType::INODE_STORAGE
            | MapType::SK_STORAGE
            | MapType::TASK_STORAGE
            | MapType::CGRP_STORAGE
            | MapType::QUEUE
            | MapType::STACK
            | MapType::ARENA
    )
}
