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
mod imm;
mod iter;
mod jump;
mod kfunc_args;
mod kfuncs;
mod live_stack;
mod locks;
mod log;
mod memory;
mod precision;
mod prepare;
mod ret;
mod stack;
mod step;

use std::cell::RefCell;

use skep_isa::uapi::{MapType, ProgType};

use crate::environment::{Environment, MapData};
use crate::flow::Marks;
use crate::input::{Attach, Input};
use crate::liveness::RegSet;
use crate::log::Recording;
use crate::log::record::Recorder;
use crate::outcome::Stats;
use crate::program::Code;
use crate::reg::{Base, Detail, Reg, RegType};
use crate::state::{Frame, NO_CALLSITE, State, StateId};
use crate::stop::{Res, Stop, reject};
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
    let code = match read(input, environment) {
        Ok(code) => code,
        Err(stop) => return refused(recording, 0, stop),
    };
    let mut v = Verifier::new(input, environment, watch, code);
    if let Err(stop) = v.prepare() {
        return refused(recording, v.pc, stop);
    }
    v.record(recording);
    let result = v.check();
    v.stats.insns_processed = v.insns_processed;
    let counts = v.log_end(&result);
    Ended { result, pc: v.pc, stats: v.stats, code: Some(v.code), counts, reached: v.reached }
}

/// The program, decoded, with the function for exceptions among its functions.
fn read(input: &Input<'_>, environment: &Environment) -> Res<Code> {
    let callback = prepare::exception_callback(input, &environment.types)?;
    let mut code = Code::new(input.insns, callback.as_slice())?;
    if let Some(subprog) = callback.and_then(|pc| code.subprog_at(pc)) {
        let info = &mut code.subprogs[subprog as usize];
        (info.is_cb, info.is_async_cb, info.is_exception_cb, info.called) = (true, true, true, true);
    }
    Ok(code)
}

/// The end of a program of which no path was walked.
fn refused(recording: Option<Recording<'_>>, pc: u32, stop: Stop) -> Ended {
    let (counts, reached) = (Vec::new(), Vec::new());
    log::log_refusal(recording, &stop);
    Ended { result: Err(stop), pc, stats: Stats::default(), code: None, counts, reached }
}

impl<'a> Verifier<'a> {
    fn new(input: &'a Input<'a>, environment: &'a Environment, watch: Option<Watch<'a>>, code: Code) -> Self {
        let Environment { types, maps, arena, .. } = environment;
        let n = code.ops.len();
        Self {
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
            kfuncs: Vec::new(),
            recorder: None,
            reached: vec![false; n],
            watch,
            code,
        }
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
