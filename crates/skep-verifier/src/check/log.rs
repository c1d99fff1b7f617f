//! What the analysis writes down as it goes: instructions, states, branches. Each hook is one test where nothing is
//! written down.

use std::cell::{RefCell, RefMut};

use skep_btf::Kind;
use skep_isa::disasm::{Names, insn_text};
use skep_isa::text::Style;
use skep_isa::{AtomicOp, CallTarget, Imm64, Insn, Op, Operand};

use super::Verifier;
use super::precision::Trace;
use crate::input::{Attach, MapInfo};
use crate::log::Recording;
use crate::log::print::{self, Touched};
use crate::log::record::Recorder;
use crate::reg::{Base, BtfRef, Reg};
use crate::state::{RefKind, Slot, SlotKind, StateId};
use crate::stop::{Res, Stop};

/// Registers that a call leaves or reads.
const CALL_REGS: u16 = 0x3f;

impl<'a> Verifier<'a> {
    /// Writes down what happens from here on.
    pub(super) fn record(&mut self, recording: Option<Recording<'a>>) {
        let Some(recording) = recording else { return };
        // Templates of inner maps follow the maps of the program, and have no names.
        let named = self.input.maps.len();
        let name = |i: usize, info: &MapInfo| if i < named { info.name.clone() } else { String::new() };
        let maps = self.maps.iter().map(|map| &map.info).enumerate();
        let maps = maps.map(|(i, info)| (name(i, info), info.key_size, info.value_size)).collect();
        let names = print::Names { maps, types: self.types };
        self.recorder = Some(Box::new(RefCell::new(Recorder::new(recording, names, self.code.ops.len()))));
        self.log_preparations();
    }

    /// A walk of a function begins. Of the main program the kernel tells where it could not be a global function.
    pub(super) fn log_begin(&self, subprog: u32) {
        let Some(mut recorder) = self.logger() else { return };
        recorder.begin();
        if let (0, Some(_), Err(Stop::Reject(message))) = (subprog, self.subprog_type(0), self.global_args(0))
        {
            recorder.put(format_args!("{message}\n"));
        }
    }

    /// A walk of a function ended.
    pub(super) fn log_walked(&self, result: &Res) {
        if let (Some(mut recorder), Ok(())) = (self.logger(), result) {
            recorder.finish_function();
        }
    }

    /// A path is put off.
    pub(super) fn log_put_off(&self) {
        if let Some(mut recorder) = self.logger() {
            recorder.put_off();
        }
    }

    /// The path put off last goes on.
    pub(super) fn log_resume(&self) {
        if let Some(mut recorder) = self.logger() {
            recorder.resume();
        }
    }

    /// The recorder, where there is a log.
    fn logger(&self) -> Option<RefMut<'_, Recorder<'a>>> {
        let recorder = self.recorder.as_deref()?.borrow_mut();
        recorder.is_logging().then_some(recorder)
    }

    /// The recorder, where there is a log of all paths.
    fn full_logger(&self) -> Option<RefMut<'_, Recorder<'a>>> {
        self.logger().filter(|recorder| recorder.logs_all())
    }

    /// The instruction at hand is about to be executed.
    #[inline]
    pub(crate) fn log_instruction(&self) {
        if self.recorder.is_some() {
            self.write_instruction();
        }
    }

    #[cold]
    fn write_instruction(&self) {
        let (pc, prev) = (self.pc, self.prev_pc);
        let text = self.insn_text(pc);
        let touches = self.touches(pc);
        let Some(recorder) = self.recorder.as_deref() else { return };
        let mut recorder = recorder.borrow_mut();
        recorder.count(pc);
        if !recorder.is_logging() {
            return;
        }
        if std::mem::take(&mut recorder.resumed) && recorder.logs_all() {
            recorder.put(format_args!("\nfrom {} to {pc}:", prev as i32));
            recorder.whole_frame(&self.cur, self.cur.curframe());
        }
        recorder.touched.slots |= recorder.written_by_call(&self.cur);
        if !recorder.touched.is_empty() {
            recorder.touched_state(&self.cur, pc);
        }
        recorder.source_line(pc);
        recorder.instruction(pc, &text);
        recorder.touched = touches;
        if matches!(self.code.op(pc), Some(Op::Call(CallTarget::Helper(_) | CallTarget::Kfunc { .. }))) {
            recorder.before_call(&self.cur);
        }
    }

    /// The path is covered by a remembered state.
    pub(crate) fn log_covered(&self) {
        let (pc, prev) = (self.pc, self.prev_pc);
        let Some(mut recorder) = self.logger() else { return };
        if recorder.resumed {
            recorder.put(format_args!("\nfrom {} to {pc}: safe\n", prev as i32));
        } else {
            recorder.put(format_args!("{pc}: safe\n"));
        }
    }

    /// Both sides of a branch are narrowed.
    pub(crate) fn log_branch(&self) {
        let pc = self.pc;
        if let Some(mut recorder) = self.logger() {
            recorder.touched_state(&self.cur, pc);
        }
    }

    /// A frame was made: everything in it is new.
    pub(crate) fn log_new_frame(&self) {
        if let Some(mut recorder) = self.logger() {
            recorder.touched = Touched::ALL;
        }
    }

    /// A global function is called; it is verified on its own.
    pub(super) fn log_global_call(&self, subprog: u32) {
        if let Some(mut recorder) = self.logger() {
            let name = self.subprog_name(subprog);
            recorder.put(format_args!("Func#{subprog} ('{name}') is global and assumed valid.\n"));
        }
    }

    /// A function was entered.
    pub(crate) fn log_call(&self) {
        if let Some(mut recorder) = self.logger() {
            let top = self.cur.curframe();
            recorder.put(format_args!("caller:\n"));
            recorder.whole_frame(&self.cur, top - 1);
            recorder.put(format_args!("callee:\n"));
            recorder.whole_frame(&self.cur, top);
        }
    }

    /// A function is about to be left for its caller.
    pub(crate) fn log_leave(&self) {
        if let Some(mut recorder) = self.logger() {
            recorder.put(format_args!("returning from callee:\n"));
            recorder.whole_frame(&self.cur, self.cur.curframe());
        }
    }

    /// It was left, and the caller goes on here.
    pub(crate) fn log_returned(&self, to: u32) {
        if let Some(mut recorder) = self.logger() {
            recorder.put(format_args!("to caller at {to}:\n"));
            recorder.whole_frame(&self.cur, self.cur.curframe());
            recorder.resumed = true;
        }
    }

    /// A return that the kernel does not announce: of a tail call, of a packet load beyond the end.
    pub(super) fn log_quietly(&self) {
        if let Some(mut recorder) = self.logger() {
            recorder.resumed = false;
        }
    }

    /// An access lies outside of its memory; the rejection follows.
    pub(super) fn log_outside(&self, regno: usize, off: i64, size: u32, bytes: u32) {
        let Some(mut recorder) = self.logger() else { return };
        let (reg, bytes) = (self.cur.reg(regno), bytes as i32);
        match reg.ty.base {
            Base::MapKey => recorder
                .put(format_args!("invalid access to map key, key_size={bytes} off={off} size={size}\n")),
            Base::MapValue => recorder
                .put(format_args!("invalid access to map value, value_size={bytes} off={off} size={size}\n")),
            Base::Packet | Base::PacketMeta | Base::PacketEnd => recorder.put(format_args!(
                "invalid access to packet, off={off} size={size}, R{regno}(id={},off={off},r={bytes})\n",
                reg.id
            )),
            _ => recorder
                .put(format_args!("invalid access to memory, mem_size={bytes} off={off} size={size}\n")),
        }
    }

    /// References that nobody released; the rejection follows.
    pub(super) fn log_leaks(&self) {
        let Some(mut recorder) = self.logger() else { return };
        for reference in self.cur.refs.iter().filter(|r| r.kind == RefKind::Ptr) {
            recorder.put(format_args!(
                "Unreleased reference id={} alloc_insn={}\n",
                reference.id, reference.insn
            ));
        }
    }

    /// A loop came back to where it was.
    pub(super) fn log_endless(&self, old: StateId) {
        let pc = self.pc;
        let old = &self.states[old.0 as usize].state;
        let Some(mut recorder) = self.logger() else { return };
        recorder.source_line(pc);
        recorder.put(format_args!("infinite loop detected at insn {pc}\ncur state:"));
        recorder.whole_frame(&self.cur, self.cur.curframe());
        recorder.put(format_args!("old state:"));
        recorder.whole_frame(old, self.cur.curframe());
        recorder.said_why = true;
    }

    /// Precision goes back through the steps of one state.
    pub(super) fn log_walk_back(&self, trace: &Trace, last: u32, first: u32, next: Option<u32>) {
        let Some(mut recorder) = self.full_logger() else { return };
        let (frame, next) = (trace.frame(), next.map_or(-1, i64::from));
        let last = last as i32;
        recorder.put(format_args!(
            "mark_precise: frame{frame}: last_idx {last} first_idx {first} subseq_idx {next} \n"
        ));
    }

    /// Precision goes back over an instruction.
    pub(super) fn log_step_back(&self, pc: u32, trace: &Trace) {
        if self.code.op(pc).is_none() {
            return;
        }
        let Some(mut recorder) = self.full_logger() else { return };
        let frame = trace.frame();
        let (regs, slots) = masks(trace, frame);
        let text = self.insn_text(pc);
        recorder
            .put(format_args!("mark_precise: frame{frame}: regs={regs} stack={slots} before {pc}: {text}\n"));
    }

    /// Precision arrived in a remembered state.
    pub(super) fn log_marked(&self, state: StateId, trace: &Trace) {
        let Some(mut recorder) = self.full_logger() else { return };
        for frame in (0..=trace.frame()).rev() {
            let (regs, slots) = masks(trace, frame);
            recorder
                .put(format_args!("mark_precise: frame{frame}: parent state regs={regs} stack={slots}: "));
            recorder.whole_frame(&self.states[state.0 as usize].state, frame);
        }
    }

    /// What is precise in a remembered state that covers the current one.
    pub(super) fn log_propagated(&self, trace: &Trace) {
        let Some(mut recorder) = self.full_logger() else { return };
        for frame in (0..=trace.frame()).rev() {
            let (regs, slots) = trace.masks(frame);
            let regs = (0..10).filter(|i| regs & (1 << i) != 0).map(|i| format!("r{i}"));
            let slots = (0..64).filter(|i| slots & (1 << i) != 0).map(|i| format!("fp{}", -8 * (i + 1)));
            let marks: Vec<String> = regs.chain(slots).collect();
            if !marks.is_empty() {
                recorder.put(format_args!("frame {frame}: propagating {}\n", marks.join(",")));
            }
        }
    }

    /// The way back is not known: everything becomes precise.
    pub(super) fn log_forced(&self, frame: usize) {
        if let Some(mut recorder) = self.full_logger() {
            recorder.put(format_args!(
                "mark_precise: frame{frame}: falling back to forcing all scalars precise\n"
            ));
        }
    }

    /// The scalars of a state that become precise that way.
    pub(super) fn log_forced_in(&self, state: StateId) {
        let Some(mut recorder) = self.full_logger() else { return };
        let imprecise = |reg: &Reg| reg.is_scalar() && !reg.precise;
        for (f, frame) in self.states[state.0 as usize].state.frames.iter().enumerate() {
            for i in (0..10).filter(|&i| imprecise(&frame.regs[i])) {
                recorder.put(format_args!("force_precise: frame{f}: forcing r{i} to be precise\n"));
            }
            for (i, slot) in frame.stack.iter().enumerate() {
                if slot.is_spill() && imprecise(&slot.reg) {
                    let off = -8 * (i as i64 + 1);
                    recorder.put(format_args!("force_precise: frame{f}: forcing fp{off} to be precise\n"));
                }
            }
        }
    }

    /// A field of the context is a pointer to a kernel type.
    pub(super) fn log_context_argument(&self, arg: usize, ty: BtfRef) {
        let Some(mut recorder) = self.logger() else { return };
        let func = match &self.input.attach {
            Attach::Kernel { obj, id } => {
                self.types.name(self.types.canonical(BtfRef { obj: *obj, id: *id }))
            }
            _ => self.member_name(),
        };
        let func = func.strip_prefix("btf_trace_").unwrap_or(func);
        let kind = self
            .types
            .shape(ty)
            .map_or("", |shape| if shape.kind() == Kind::Union { "UNION" } else { "STRUCT" });
        let name = self.types.name(ty);
        recorder.put(format_args!("func '{func}' arg{arg} has btf_id {} type {kind} '{name}'\n", ty.id));
    }

    /// A function is verified on its own.
    pub(crate) fn log_function(&self, subprog: usize, done: bool) {
        let Some(mut recorder) = self.logger() else { return };
        let name = self.subprog_name(subprog as u32);
        if done {
            recorder.put(format_args!(
                "Func#{subprog} ('{name}') is safe for any args that match its prototype\n"
            ));
        } else {
            recorder.put(format_args!("Validating {name}() func#{subprog}...\n"));
        }
    }

    /// What is known before any path is walked: where functions begin, which registers live where.
    pub(crate) fn log_preparations(&self) {
        if !self.logger().is_some_and(|recorder| recorder.logs_all()) {
            return;
        }
        let mut text = String::new();
        for (i, subprog) in self.code.subprogs.iter().enumerate() {
            text += &format!("func#{i} @{}\n", subprog.start);
        }
        text += "Live regs before insn:\n";
        for pc in (0..self.code.len()).filter(|&pc| self.code.op(pc).is_some()) {
            let live = self.live.get(pc as usize).copied().unwrap_or(0);
            let letter =
                |i: u32| if live & (1 << i) != 0 { char::from_digit(i, 10).unwrap_or('?') } else { '.' };
            let letters: String = (0..10).map(letter).collect();
            let scc = match self.marks.get(pc as usize).map_or(0, |mark| mark.scc) {
                0 => String::new(),
                scc => scc.to_string(),
            };
            text += &format!("{scc:>3} {pc:>3}: {letters} {}\n", self.insn_text(pc));
        }
        if let Some(mut recorder) = self.logger() {
            recorder.put(format_args!("{text}"));
        }
    }

    /// The end of the log: why it ended, and what it cost. Gives the counts of instructions.
    pub(super) fn log_end(&mut self, result: &Res) -> Vec<u32> {
        let Some(recorder) = self.recorder.take() else { return Vec::new() };
        let mut recorder = recorder.into_inner();
        if let (Err(stop), false) = (result, recorder.said_why) {
            recorder.put(format_args!("{}\n", stop.text()));
        }
        let stats = &self.stats;
        recorder.put(format_args!(
            "processed {} insns (limit {}) max_states_per_insn {} total_states {} peak_states {} mark_read 0\n",
            self.insns_processed,
            super::MAX_INSNS,
            stats.max_states_per_insn,
            stats.total_states,
            stats.peak_states
        ));
        recorder.finish()
    }

    /// An instruction as the kernel's log writes it, with names of kernel functions.
    pub(crate) fn insn_text(&self, pc: u32) -> String {
        let insns: &[Insn] = self.input.insns;
        insn_text(insns, pc as usize, Style::Kernel, &Called { v: self, pc }).unwrap_or_default()
    }

    /// Registers and slots that an instruction reads or writes, before it does.
    fn touches(&self, pc: u32) -> Touched {
        let Some(op) = self.code.op(pc) else { return Touched::default() };
        let bit = |reg: skep_isa::Reg| 1u16 << reg.0.min(15);
        let operand = |src: Operand| match src {
            Operand::Reg(reg) => bit(reg),
            Operand::Imm(_) => 0,
        };
        let (regs, base) = match *op {
            Op::Alu { dst, src, .. } => (bit(dst) | operand(src), None),
            Op::MovSx { dst, src, .. } | Op::AddrSpaceCast { dst, src, .. } => (bit(dst) | bit(src), None),
            Op::Neg { dst, .. } | Op::Endian { dst, .. } | Op::LoadImm64 { dst, .. } => (bit(dst), None),
            Op::Load { dst, base, off, .. } | Op::LoadAcquire { dst, base, off, .. } => {
                (bit(dst) | bit(base), Some((base, off)))
            }
            Op::LoadAbs { .. } => (CALL_REGS | 1 << 6, None),
            Op::LoadInd { src, .. } => (CALL_REGS | 1 << 6 | bit(src), None),
            Op::Store { base, off, src, .. } => (bit(base) | operand(src), Some((base, off))),
            Op::StoreRelease { base, off, src, .. } => (bit(base) | bit(src), Some((base, off))),
            Op::Atomic { op, base, off, src, .. } => {
                let result = if op == AtomicOp::Cmpxchg { 1 } else { 0 };
                (bit(base) | bit(src) | result, Some((base, off)))
            }
            Op::Ja { .. } | Op::MayGoto { .. } => (0, None),
            Op::Jump { dst, src, .. } => (bit(dst) | operand(src), None),
            Op::Call(_) => return Touched { regs: CALL_REGS, slots: self.argument_objects() },
            Op::Exit => (0, None),
        };
        Touched { regs, slots: base.map_or(0, |(base, off)| self.touched_slot(base, off)) }
    }

    /// Slots of the dynptrs and iterators that a call is given.
    fn argument_objects(&self) -> u64 {
        let mut slots = 0;
        for reg in (1..=5).map(|n| self.cur.reg(n)).filter(|reg| reg.ty.is(Base::Stack)) {
            let at = i64::from(reg.off) + reg.val.bits.value as i64;
            let Ok(slot) = usize::try_from((-at - 1) / 8) else { continue };
            let frame = self.cur.frames.get(reg.frame());
            let object =
                |slot: &Slot| matches!(slot.kind[7], SlotKind::Dynptr | SlotKind::Iter | SlotKind::IrqFlag);
            if frame.and_then(|frame| frame.stack.get(slot)).is_some_and(object) {
                slots |= 3u64.checked_shl(slot.saturating_sub(1) as u32).unwrap_or(0);
            }
        }
        slots
    }

    fn touched_slot(&self, base: skep_isa::Reg, off: i16) -> u64 {
        let reg = self.cur.reg(base.0.min(10) as usize);
        if !reg.ty.is(Base::Stack) || !reg.val.is_const() {
            return 0;
        }
        let at = i64::from(off) + i64::from(reg.off) + reg.val.bits.value as i64;
        u32::try_from((-at - 1) / 8).ok().and_then(|slot| 1u64.checked_shl(slot)).unwrap_or(0)
    }
}

/// Registers and slots as `mark_precise` lines name them.
fn masks(trace: &Trace, frame: usize) -> (String, String) {
    let (regs, slots) = trace.masks(frame);
    let regs: Vec<String> = (0..16).filter(|i| regs & (1 << i) != 0).map(|i| format!("r{i}")).collect();
    let slots: Vec<String> =
        (0..64).filter(|i| slots & (1 << i) != 0).map(|i| format!("{}", -8 * (i + 1))).collect();
    (regs.join(","), slots.join(","))
}

/// The log of a program that is refused before any path is walked.
pub(super) fn log_refusal(recording: Option<Recording<'_>>, stop: &Stop) {
    if let Some(Recording { sink: Some(mut sink), level: Some(_), .. }) = recording {
        sink(&format!(
            "{}\nprocessed 0 insns (limit {}) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n",
            stop.text(),
            super::MAX_INSNS
        ));
    }
}

/// Names for the instruction at hand.
struct Called<'v, 'a> {
    v: &'v Verifier<'a>,
    pc: u32,
}

impl Names for Called<'_, '_> {
    fn call(&self, target: CallTarget) -> Option<String> {
        match target {
            CallTarget::Kfunc { .. } => {
                let resolved = self.v.kfunc_at(self.pc)?;
                Some(resolved.name.clone())
            }
            _ => None,
        }
    }

    /// Maps and functions have no address here.
    fn imm64(&self, imm: Imm64) -> Option<String> {
        match imm {
            Imm64::Value(_) => None,
            _ => Some("0x0".to_owned()),
        }
    }
}
