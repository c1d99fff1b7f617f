//! The analysis: one value that holds everything known while paths are walked, and the driver that walks them.

pub(crate) mod alu;
pub(crate) mod args;
mod btf_access;
mod btf_context;
mod calls;
mod depth;
mod dynptr;
mod equal;
mod explore;
pub(crate) mod format;
mod globals;
mod graph;
pub(crate) mod helpers;
mod iter;
mod jump;
mod kfunc_args;
mod kfuncs;
mod live_stack;
mod locks;
mod log;
mod memory;
mod precision;
mod ret;
mod stack;
mod step;

use std::cell::RefCell;

use skep_isa::uapi::{MapType, ProgType};
use skep_isa::{CallTarget, Imm64, Op};

use crate::environment::{Environment, MapData};
use crate::flow::{self, CallShape, Marks};
use crate::input::{Attach, Input};
use crate::liveness::{self, RegSet};
use crate::log::Recording;
use crate::log::record::Recorder;
use crate::outcome::Stats;
use crate::program::Code;
use crate::reg::{Base, BtfRef, Detail, Reg, RegType};
use crate::state::{Frame, NO_CALLSITE, State, StateId};
use crate::stop::{Res, Stop, reject, unsupported};
use crate::types::Types;

/// The kernel's structure behind a map of this type.
pub(crate) fn map_struct(ty: MapType) -> Option<&'static str> {
    Some(match ty {
        MapType::ARRAY | MapType::PERCPU_ARRAY | MapType::PROG_ARRAY | MapType::PERF_EVENT_ARRAY => {
            "bpf_array"
        }
        MapType::CGROUP_ARRAY | MapType::ARRAY_OF_MAPS => "bpf_array",
        MapType::HASH | MapType::PERCPU_HASH | MapType::LRU_HASH | MapType::LRU_PERCPU_HASH => "bpf_htab",
        MapType::HASH_OF_MAPS => "bpf_htab",
        MapType::RINGBUF | MapType::USER_RINGBUF => "bpf_ringbuf_map",
        MapType::STACK_TRACE => "bpf_stack_map",
        MapType::LPM_TRIE => "lpm_trie",
        MapType::DEVMAP | MapType::DEVMAP_HASH => "bpf_dtab",
        MapType::SOCKMAP => "bpf_stab",
        MapType::SOCKHASH => "bpf_shtab",
        MapType::CPUMAP => "bpf_cpu_map",
        MapType::XSKMAP => "xsk_map",
        MapType::QUEUE | MapType::STACK => "bpf_queue_stack",
        MapType::SK_STORAGE | MapType::INODE_STORAGE | MapType::TASK_STORAGE | MapType::CGRP_STORAGE => {
            "bpf_local_storage_map"
        }
        MapType::CGROUP_STORAGE | MapType::PERCPU_CGROUP_STORAGE => "bpf_cgroup_storage_map",
        MapType::REUSEPORT_SOCKARRAY => "reuseport_array",
        MapType::STRUCT_OPS => "bpf_struct_ops_map",
        MapType::BLOOM_FILTER => "bpf_bloom_filter",
        MapType::ARENA => "bpf_arena",
        _ => return None,
    })
}

/// Instructions processed before a program is too large.
pub(crate) const MAX_INSNS: u32 = 1_000_000;

/// Everything known while paths are walked.
pub(crate) struct Verifier<'a> {
    pub(crate) input: &'a Input<'a>,
    environment: &'a Environment,
    pub(crate) types: &'a Types,
    pub(crate) maps: &'a [MapData],
    pub(crate) code: Code,
    pub(crate) marks: Vec<Marks>,
    pub(crate) live: Vec<RegSet>,
    pub(crate) live_stack: live_stack::LiveStack,
    /// The path being walked, and where it is.
    pub(crate) cur: State,
    pub(crate) pc: u32,
    pub(crate) prev_pc: u32,
    step_noted: bool,
    pending: Vec<explore::Pending>,
    states: Vec<explore::Explored>,
    heads: Vec<Vec<explore::Head>>,
    evicted: Vec<StateId>,
    evicted_enough: usize,
    freed: u32,
    loops: explore::Loops,
    backedges: Vec<explore::Backedge>,
    ids: equal::Ids,
    /// By instruction, once precision was asked for: see [`precision`].
    concerns: Vec<u16>,
    id_gen: u32,
    insns_processed: u32,
    jumps_processed: u32,
    prev_insns: u32,
    prev_jumps: u32,
    pub(crate) stats: Stats,
    strict_alignment: bool,
    /// The arena the program uses.
    arena: Option<u32>,
    /// Register type each memory instruction was first seen with.
    ptr_types: Vec<RegType>,
    /// References that `struct_ops` arguments carry, by offset.
    ref_args: Vec<(i32, u32)>,
    /// The per-CPU pointer of the running call is to an allocated object.
    percpu_alloc: bool,
    /// By instruction; empty where no kernel function is called.
    kfuncs: Vec<Option<kfuncs::Resolved>>,
    /// Writes down what happens, where that is wanted.
    recorder: Option<Box<RefCell<Recorder<'a>>>>,
    /// Instructions that some path has come to.
    pub(crate) reached: Vec<bool>,
    /// Who looks on, if anyone does.
    watch: Option<Watch<'a>>,
}

/// Someone who sees the state before each instruction of each path.
pub(crate) struct Watch<'a> {
    pub(crate) see: &'a mut dyn FnMut(u32, &State),
    /// Every path is to be walked to its end, also where a remembered state covers it.
    pub(crate) exhaustive: bool,
}

/// Where an analysis ended, and what it cost.
pub(crate) struct Ended {
    pub(crate) result: Res,
    pub(crate) pc: u32,
    pub(crate) stats: Stats,
    pub(crate) code: Option<Code>,
    /// How often each instruction was processed, where that was to be counted.
    pub(crate) counts: Vec<u32>,
    pub(crate) reached: Vec<bool>,
}

/// Runs the analysis.
pub(crate) fn run<'a>(
    input: &'a Input<'a>,
    environment: &'a Environment,
    recording: Option<Recording<'a>>,
    watch: Option<Watch<'a>>,
) -> Ended {
    match Verifier::new(input, environment, watch) {
        Err((pc, stop)) => {
            let (counts, reached) = (Vec::new(), Vec::new());
            log::log_refusal(recording, &stop);
            Ended { result: Err(stop), pc, stats: Stats::default(), code: None, counts, reached }
        }
        Ok(mut v) => {
            v.record(recording);
            let result = v.check();
            v.stats.insns_processed = v.insns_processed;
            let counts = v.log_end(&result);
            Ended { result, pc: v.pc, stats: v.stats, code: Some(v.code), counts, reached: v.reached }
        }
    }
}

impl<'a> Verifier<'a> {
    fn new(
        input: &'a Input<'a>,
        environment: &'a Environment,
        watch: Option<Watch<'a>>,
    ) -> Result<Self, (u32, Stop)> {
        let at_start = |stop| (0, stop);
        let Environment { types, maps, arena, .. } = environment;
        let callback = exception_callback(input, types).map_err(at_start)?;
        let mut code = Code::new(input.insns, callback.as_slice()).map_err(at_start)?;
        if let Some(subprog) = callback.and_then(|pc| code.subprog_at(pc)) {
            let info = &mut code.subprogs[subprog as usize];
            (info.is_cb, info.is_async_cb, info.is_exception_cb, info.called) = (true, true, true, true);
        }
        let n = code.ops.len();
        let mut v = Self {
            input,
            environment,
            types,
            maps,
            marks: Vec::new(),
            live: Vec::new(),
            live_stack: live_stack::LiveStack::default(),
            cur: State::without_frames(0),
            pc: 0,
            prev_pc: u32::MAX,
            step_noted: false,
            pending: Vec::new(),
            states: Vec::new(),
            heads: std::iter::repeat_with(Vec::new).take(n).collect(),
            evicted: Vec::new(),
            evicted_enough: explore::EVICTED_ENOUGH,
            freed: 0,
            loops: explore::Loops::default(),
            backedges: Vec::new(),
            ids: equal::Ids::default(),
            concerns: Vec::new(),
            id_gen: 0,
            insns_processed: 0,
            jumps_processed: 0,
            prev_insns: 0,
            prev_jumps: 0,
            stats: Stats::default(),
            strict_alignment: input.flags & 1 != 0,
            arena: *arena,
            ptr_types: vec![RegType::NOT_INIT; n],
            ref_args: Vec::new(),
            percpu_alloc: false,
            kfuncs: Vec::new(),
            recorder: None,
            reached: vec![false; n],
            watch,
            code,
        };
        v.prepare().map_err(|stop| (v.pc, stop))?;
        Ok(v)
    }

    /// Everything that does not depend on values.
    fn prepare(&mut self) -> Res {
        self.name_subprogs();
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

    /// Walks every path of the program and of each global function it calls.
    fn check(&mut self) -> Res {
        self.check_main()?;
        self.check_globals()?;
        self.check_depth()
    }

    fn check_main(&mut self) -> Res {
        let mut frame = self.entry_frame(0);
        frame.regs[1] = Reg::pointer(RegType::new(Base::Ctx), Detail::None);
        self.walk(frame)
    }

    /// Functions may call further ones, so this goes on until nothing new was called.
    fn check_globals(&mut self) -> Res {
        let mut verified = vec![false; self.code.subprogs.len()];
        loop {
            let next = (1..verified.len()).find(|&i| {
                let s = &self.code.subprogs[i];
                (s.global || s.is_exception_cb) && s.called && !verified[i]
            });
            let Some(i) = next else { return Ok(()) };
            verified[i] = true;
            self.pc = self.code.subprogs[i].start;
            self.log_function(i, false);
            let mut frame = self.entry_frame(i as u32);
            frame.in_exception_callback = self.code.subprogs[i].is_exception_cb;
            let mut regs = frame.regs;
            self.init_global_args(i as u32, &mut regs)?;
            frame.regs = regs;
            self.walk(frame)?;
            self.log_function(i, true);
        }
    }

    fn entry_frame(&mut self, subprog: u32) -> Frame {
        let instance = self.live_stack.root(&self.code, subprog);
        Frame::new(0, subprog, NO_CALLSITE, instance)
    }

    fn walk(&mut self, frame: Frame) -> Res {
        let start = self.code.subprogs[frame.subprog as usize].start;
        let subprog = frame.subprog;
        let refs = if subprog == 0 { std::mem::take(&mut self.cur.refs) } else { Vec::new() };
        self.cur = State::new(frame, start);
        self.cur.refs = refs;
        (self.pc, self.prev_pc) = (start, u32::MAX);
        self.log_begin(subprog);
        let result = self.walk_paths();
        self.log_walked(&result);
        self.forget_states();
        result
    }

    /// A fresh id.
    pub(crate) fn new_id(&mut self) -> u32 {
        self.id_gen += 1;
        self.id_gen
    }

    /// The program's type; extensions have that of their target.
    pub(crate) fn prog_type(&self) -> ProgType {
        self.input.prog_type
    }

    /// Name of the kernel structure a `struct_ops` program is a member of.
    pub(crate) fn struct_ops_name(&self) -> &str {
        match &self.input.attach {
            Attach::StructOps { ops, .. } => ops,
            _ => "",
        }
    }

    /// A register an instruction reads.
    pub(crate) fn check_readable_reg(&self, reg: u8) -> Res {
        if reg > 10 {
            reject!("R{reg} is invalid");
        }
        if self.cur.reg(reg as usize).ty.base == Base::NotInit {
            reject!("R{reg} !read_ok");
        }
        Ok(())
    }

    /// A register an instruction writes.
    pub(crate) fn check_writable_reg(&self, reg: usize) -> Res {
        match reg {
            10 => reject!("frame pointer is read only"),
            0..10 => Ok(()),
            _ => reject!("R{reg} is invalid"),
        }
    }

    /// A 64-bit immediate: a constant, a map, a value in it, a function, a kernel variable.
    pub(crate) fn load_imm(&mut self, dst: usize, imm: Imm64) -> Res {
        self.check_writable_reg(dst)?;
        let reg = match imm {
            Imm64::Value(x) => Reg::known(x),
            Imm64::MapIdx(i) => {
                let detail = Detail::Map { map: i as u32, uid: 0 };
                Reg::pointer(RegType::new(Base::MapPtr), detail)
            }
            Imm64::MapIdxValue { idx, off } => self.map_value_address(idx as u32, off)?,
            Imm64::Func(_) => {
                let Some(subprog) = self.code.callee(self.pc) else { unsupported!("address of no function") };
                if self.code.subprogs[subprog as usize].global {
                    reject!("callback function not static");
                }
                Reg::pointer(RegType::new(Base::Func), Detail::Func(subprog))
            }
            Imm64::BtfId { id, .. } => self.kernel_variable(id)?,
            other => unsupported!("immediate {other:?}"),
        };
        *self.cur.reg_mut(dst) = reg;
        Ok(())
    }

    fn map_value_address(&mut self, map: u32, off: u32) -> Res<Reg> {
        let data = &self.maps[map as usize];
        if data.info.ty == MapType::ARENA {
            return Ok(Reg { ty: RegType::new(Base::Arena), ..Reg::UNKNOWN });
        }
        if data.info.ty != MapType::ARRAY {
            reject!("no direct value access support for this map type");
        }
        if u64::from(off) >= u64::from(data.info.value_size) {
            reject!("invalid access to map value pointer, value_size={} off={off}", data.info.value_size);
        }
        let reg = Reg::pointer(RegType::new(Base::MapValue), Detail::Map { map, uid: 0 });
        Ok(Reg { off: off as i32, ..reg })
    }

    /// A kernel variable or function by BTF.
    fn kernel_variable(&mut self, id: u32) -> Res<Reg> {
        use crate::reg::Flags;
        use skep_btf::Shape;
        let module = self.input.module_vars.iter().find(|(pc, _)| *pc == self.pc);
        let obj = module.map_or(BtfRef::KERNEL, |(_, m)| *m as u16 + 2);
        let var = self.types.canonical(BtfRef { obj, id });
        let Some(shape) = self.types.shape(var) else {
            reject!("ldimm64 insn specifies invalid btf_id {id}.")
        };
        let ty = match shape {
            Shape::Var { ty, .. } => self.types.at(var, ty),
            Shape::Func { .. } => {
                let ty = RegType::flagged(Base::Mem, Flags::RDONLY);
                return Ok(Reg::pointer(ty, Detail::Mem { size: 0, dynptr: 0 }));
            }
            _ => reject!("pseudo btf_id {id} in ldimm64 isn't KIND_VAR or KIND_FUNC"),
        };
        let percpu = self.is_percpu_variable(var);
        let Some((stripped, _)) = self.types.strip(ty) else {
            unsupported!("kernel variable without a type")
        };
        if percpu {
            let ty = RegType::flagged(Base::BtfId, Flags::PERCPU);
            return Ok(Reg::pointer(ty, Detail::Btf(stripped)));
        }
        if self.types.is_struct(stripped) {
            return Ok(Reg::pointer(RegType::new(Base::BtfId), Detail::Btf(stripped)));
        }
        let Some(size) = self.types.size(stripped) else {
            reject!("ldimm64 unable to resolve the size of type '{}'", self.types.name(stripped))
        };
        let ty = RegType::flagged(Base::Mem, Flags::RDONLY);
        Ok(Reg::pointer(ty, Detail::Mem { size: size as u32, dynptr: 0 }))
    }

    fn is_percpu_variable(&self, var: BtfRef) -> bool {
        use skep_btf::{Kind, Shape};
        let Some(btf) = self.types.obj(var.obj) else { return false };
        let Some(section) = btf.find(".data..percpu", Kind::Datasec) else { return false };
        let Ok(t) = btf.type_by_id(section) else { return false };
        let Shape::Datasec(section) = t.shape else { return false };
        section.vars.iter().flatten().any(|v| v.ty.0 == var.id)
    }

    /// An instruction that sees different kinds of kernel pointers on different paths could not be compiled.
    pub(crate) fn check_same_pointer(&mut self, ty: RegType, load: bool) -> Res {
        use crate::reg::Flags;
        let guarded = |ty: RegType| ty.base == Base::Mem && ty.has(Flags::UNTRUSTED);
        let fixed = |ty: RegType| {
            let base = matches!(
                ty.base,
                Base::Ctx
                    | Base::Socket
                    | Base::SockCommon
                    | Base::TcpSock
                    | Base::XdpSock
                    | Base::BtfId
                    | Base::Arena
            );
            base || guarded(ty)
        };
        let probed = |ty: RegType| ty.base == Base::BtfId || guarded(ty);
        let seen = &mut self.ptr_types[self.pc as usize];
        if *seen == RegType::NOT_INIT {
            *seen = ty;
        } else if *seen != ty && (fixed(*seen) || fixed(ty)) {
            if !load || !probed(*seen) || !probed(ty) {
                reject!("same insn cannot be used with different pointers");
            }
            let memory = guarded(*seen) || guarded(ty);
            let flags = if memory { Flags::UNTRUSTED.with(Flags::RDONLY) } else { Flags::UNTRUSTED };
            *seen = RegType::flagged(if memory { Base::Mem } else { Base::BtfId }, flags);
        }
        Ok(())
    }
}

/// First instruction of the function that the main program names to be called on exceptions.
fn exception_callback(input: &Input<'_>, types: &Types) -> Res<Option<u32>> {
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
