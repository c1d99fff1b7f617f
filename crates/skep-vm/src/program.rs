//! A program that is ready to run: decoded, its maps and helpers resolved.

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

use skep_isa::uapi::ProgType;
use skep_isa::{CallTarget, DecodeError, Imm64, Insn, Op, Reg, decode};
use skep_verifier::Verified;

use crate::code::{Code, R};
use crate::direct::Direct;
use crate::helper::{self, HostFn};
use crate::interp::steps::Steps;
use crate::jit::{self, Compiled, Declined, Engine, Home, Native, Waiting};
use crate::machine::Machine;
use crate::map::Map;
use crate::memory::{Stack, Windows};
use crate::packet::Packet;
use crate::{Env, Errno, Fault};

/// What an instruction refers to a map by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MapRef {
    /// A descriptor (`BPF_PSEUDO_MAP_FD`).
    Fd(i32),
    /// An index into the array of descriptors given at load (`BPF_PSEUDO_MAP_IDX`).
    Index(i32),
}

/// Finds what instructions refer to. A closure from [`MapRef`] to a map is one.
pub trait Resolve {
    /// The map of a reference.
    fn map(&self, reference: MapRef) -> Option<Arc<Map>>;

    /// The address of a kernel variable (`BPF_PSEUDO_BTF_ID`), 0 for a weak one that is missing.
    fn ksym(&self, btf_id: u32, obj_fd: i32) -> Option<u64> {
        let _ = (btf_id, obj_fd);
        None
    }

    /// The embedder's own implementation of a helper, which comes before ours.
    fn host(&self, helper: u32) -> Option<HostFn> {
        let _ = helper;
        None
    }

    /// The name of a kernel function.
    fn kfunc(&self, btf_id: i32, fd_idx: i16) -> Option<String> {
        let _ = (btf_id, fd_idx);
        None
    }
}

impl<F: Fn(MapRef) -> Option<Arc<Map>>> Resolve for F {
    fn map(&self, reference: MapRef) -> Option<Arc<Map>> {
        self(reference)
    }
}

/// What is said about a program beside its instructions.
#[derive(Clone, Debug)]
pub struct ProgramInfo {
    /// For messages.
    pub name: String,
    /// The number that user space sees where a program is an element of a map.
    pub id: u32,
    /// What kind of program; decides what a few helpers do.
    pub prog_type: ProgType,
    /// Instructions that one run may take, counted where control goes backwards; a run that takes more is a fault.
    pub budget: u64,
    /// What runs it, if it is verified with facts for compiling; else the interpreter does.
    pub engine: Engine,
    /// Keeps the program's constants out of compiled code, so that nobody can place code in them.
    pub blind_constants: bool,
}

impl ProgramInfo {
    /// Budget when nothing else is said: about a second.
    pub const BUDGET: u64 = 1 << 30;

    /// A program of the default budget.
    pub fn new(name: &str, prog_type: ProgType) -> Self {
        Self {
            name: name.to_owned(),
            id: 0,
            prog_type,
            budget: Self::BUDGET,
            engine: Engine::default(),
            blind_constants: false,
        }
    }
}

/// A program, shareable between threads; every run has registers and stack of its own.
pub struct Program {
    info: ProgramInfo,
    code: Arc<[Code]>,
    /// The same with accesses that need no check, if it is verified with facts.
    direct: Option<Direct>,
    maps: Arc<[Arc<Map>]>,
    windows: Arc<Windows>,
    native: Arc<Home>,
    waiting: Waiting,
    verified: bool,
    /// What is called when it throws.
    exception_callback: Option<usize>,
    /// Itself, for what calls it later.
    shared: OnceLock<Weak<Self>>,
}

/// What a run begins with.
#[derive(Default)]
pub struct Input<'a> {
    /// The context; `r1` is its address.
    pub ctx: &'a mut [u8],
    /// A packet. Its context takes the place of `ctx` where that is empty.
    pub packet: Option<&'a mut Packet>,
    /// `r2` to `r5`.
    pub args: [u64; 4],
    /// A map whose values it may reach beside those of its own: that which an iterator goes through.
    pub map: Option<&'a Arc<Map>>,
}

impl Input<'_> {
    /// The same for a shorter time. Nothing is moved: words that were just written one by one are slow to read together.
    #[inline(always)]
    pub(crate) fn lend(&mut self) -> Input<'_> {
        Input { ctx: self.ctx, packet: self.packet.as_deref_mut(), args: self.args, map: self.map }
    }
}

impl Program {
    /// Decodes a program and resolves what it refers to. Nothing is verified: every run is checked.
    pub fn prepare(insns: &[Insn], resolve: &dyn Resolve, info: ProgramInfo) -> Result<Self, PrepareError> {
        Self::prepare_reached(insns, &|_| true, resolve, info)
    }

    /// The same for a verified program: what no run comes to may call what is not served here.
    pub fn prepare_verified(
        verified: &Verified,
        resolve: &dyn Resolve,
        info: ProgramInfo,
    ) -> Result<Self, PrepareError> {
        let reached = |slot| verified.is_reached(slot);
        let mut program = Self::prepare_reached(verified.insns(), &reached, resolve, info)?;
        program.verified = true;
        program.exception_callback = verified.exception_callback().map(|slot| slot as usize);
        if program.info.engine != Engine::Checked {
            program.direct = Direct::new(verified, &program.code, &program.maps);
        }
        match program.info.engine {
            Engine::Jit => {
                let blind = program.info.blind_constants;
                program.native.put(jit::compile(verified, &program.code, &program.maps, blind));
            }
            Engine::Auto if verified.facts().is_some() => program.waiting.put(verified.clone()),
            Engine::Checked | Engine::Interpreter | Engine::Auto => {}
        }
        Ok(program)
    }

    /// The function that is called when it throws, if it has its own.
    pub(crate) fn exception_callback(&self) -> Option<usize> {
        self.exception_callback
    }

    /// Takes note that the interpreter runs it, and has it compiled when that is worth it.
    #[inline]
    pub(crate) fn note_interpreted(&self) {
        if let Some(verified) = self.waiting.count() {
            self.start_compiling(verified);
        }
    }

    #[cold]
    fn start_compiling(&self, verified: Verified) {
        let (code, maps) = (Arc::clone(&self.code), Arc::clone(&self.maps));
        let (native, blind) = (Arc::downgrade(&self.native), self.info.blind_constants);
        jit::in_background(move || {
            // The program may be gone already.
            if let Some(native) = native.upgrade() {
                native.put(jit::compile(&verified, &code, &maps, blind));
            }
        });
    }

    fn prepare_reached(
        insns: &[Insn],
        reached: &dyn Fn(usize) -> bool,
        resolve: &dyn Resolve,
        info: ProgramInfo,
    ) -> Result<Self, PrepareError> {
        let mut preparing = Preparing { insns, reached, resolve, maps: Vec::new() };
        let code = preparing.lower()?;
        let maps: Arc<[Arc<Map>]> = preparing.maps.into();
        let windows = Arc::new(maps.iter().flat_map(|map| map.windows()).collect());
        let native = Arc::default();
        let (waiting, shared) = (Waiting::default(), OnceLock::new());
        Ok(Self {
            info,
            code,
            direct: None,
            maps,
            windows,
            native,
            waiting,
            verified: false,
            exception_callback: None,
            shared,
        })
    }

    /// Puts it where timers and work queues can find it: its functions may be called later, as long as it is held.
    pub fn share(self) -> Arc<Self> {
        let shared = Arc::new(self);
        let _ = shared.shared.set(Arc::downgrade(&shared));
        shared
    }

    pub(crate) fn shared(&self) -> Option<Weak<Self>> {
        self.shared.get().cloned()
    }

    /// Runs it on a context; answers `r0`.
    #[inline]
    pub fn run(&self, ctx: &mut [u8], env: &mut dyn Env) -> Result<u64, Box<Fault>> {
        match self.native.run_plain_context(ctx) {
            Some(value) => Ok(value),
            None => self.run_in_machine(&mut Input { ctx, ..Input::default() }, env),
        }
    }

    /// Runs it with a packet or more arguments.
    #[inline]
    pub fn run_with(&self, mut input: Input<'_>, env: &mut dyn Env) -> Result<u64, Box<Fault>> {
        match self.native.run_plain(&mut input) {
            Some(value) => Ok(value),
            None => self.run_in_machine(&mut input, env),
        }
    }

    /// The same for programs that need a run. By itself, so that those which do not have no use for its stack.
    #[inline(never)]
    fn run_in_machine(&self, input: &mut Input<'_>, env: &mut dyn Env) -> Result<u64, Box<Fault>> {
        if self.native().is_some_and(|native| native.admits(input)) {
            return Machine::run_native(self, input, env);
        }
        let mut stack = Stack::new();
        Machine::run(self, input, &mut stack, env)
    }

    /// Runs it on a packet, which afterwards is as the program has left it.
    #[inline]
    pub fn run_packet(&self, packet: &mut Packet, env: &mut dyn Env) -> Result<u64, Box<Fault>> {
        match self.native.run_plain_packet(packet, [0; 4]) {
            Some(value) => Ok(value),
            None => self.run_in_machine(&mut Input { packet: Some(packet), ..Input::default() }, env),
        }
    }

    /// What was said about it.
    pub fn info(&self) -> &ProgramInfo {
        &self.info
    }

    /// What became of compiling it; `None` while that is not known, or when it was not asked for.
    pub fn compiled(&self) -> Option<Result<Compiled, Declined>> {
        let native = self.native.outcome()?;
        Some(native.as_ref().map(Native::compiled).map_err(Clone::clone))
    }

    /// Its machine code, when there is some.
    pub fn machine_code(&self) -> Option<&[u8]> {
        self.native().map(Native::bytes)
    }

    #[inline]
    pub(crate) fn native(&self) -> Option<&Native> {
        self.native.native()
    }

    /// The maps that it refers to.
    pub fn maps(&self) -> &[Arc<Map>] {
        &self.maps
    }

    pub(crate) fn is_verified(&self) -> bool {
        self.verified
    }

    pub(crate) fn code(&self) -> &[Code] {
        &self.code
    }

    /// The quick way through it, if it was verified and such a run may go there.
    #[inline]
    pub(crate) fn steps_for(&self, context_bytes: u64, packet: bool) -> Option<&Steps> {
        self.direct.as_ref().and_then(|direct| direct.steps(context_bytes, packet))
    }

    pub(crate) fn windows(&self) -> &Arc<Windows> {
        &self.windows
    }

    /// The slot that a function's address stands for.
    pub(crate) fn function(&self, addr: u64) -> Option<usize> {
        function_at(addr).filter(|slot| *slot < self.code.len())
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("info", &self.info).field("maps", &self.maps).finish_non_exhaustive()
    }
}

/// Address of a program's first instruction, as `BPF_PSEUDO_FUNC` gives it: no memory can be there.
const FUNCTION_BASE: u64 = 0x0bf0_0000_0000_0000;

/// The slot that a number stands for if it is the address of a function.
pub(crate) fn function_at(addr: u64) -> Option<usize> {
    usize::try_from(addr.checked_sub(FUNCTION_BASE)?).ok()
}

/// A program on its way from slots to [`Code`].
struct Preparing<'a> {
    insns: &'a [Insn],
    /// Can a run come to this slot?
    reached: &'a dyn Fn(usize) -> bool,
    resolve: &'a dyn Resolve,
    maps: Vec<Arc<Map>>,
}

impl Preparing<'_> {
    /// One `Code` for each slot, and one behind the last for programs that run over their end.
    fn lower(&mut self) -> Result<Arc<[Code]>, PrepareError> {
        if self.insns.is_empty() {
            return Err(PrepareError::at(0, PrepareErrorKind::Empty));
        }
        let mut code = vec![Code::Nothing; self.insns.len() + 1];
        let mut pc = 0;
        while pc < self.insns.len() {
            let op =
                decode(self.insns, pc).map_err(|e| PrepareError::at(e.pc, PrepareErrorKind::Decode(e)))?;
            code[pc] = match self.lower_op(op, pc) {
                Err(kind) if kind.is_not_served() && !(self.reached)(pc) => Code::Nothing,
                lowered => lowered.map_err(|kind| PrepareError::at(pc, kind))?,
            };
            pc += op.slots();
        }
        Ok(code.into())
    }

    fn lower_op(&mut self, op: Op, pc: usize) -> Result<Code, PrepareErrorKind> {
        if written(&op) == Some(Reg::R10) {
            return Err(PrepareErrorKind::WritesFramePointer);
        }
        Ok(match op {
            Op::Alu { wide, op, dst, src } => Code::alu(wide, op, dst, src),
            Op::MovSx { wide, bits, dst, src } => {
                Code::MovSx { wide, bits, dst: dst.into(), src: src.into() }
            }
            Op::Neg { wide, dst } => Code::Neg { wide, dst: dst.into() },
            Op::Endian { kind, bits, dst } => Code::Endian { kind, bits, dst: dst.into() },
            Op::AddrSpaceCast { dst, src, .. } => Code::AddrSpaceCast { dst: dst.into(), src: src.into() },
            Op::LoadImm64 { dst, imm } => Code::LoadImm64 { dst: dst.into(), imm: self.imm64(imm, pc)? },
            Op::Load { size, signed, dst, base, off } => Code::load(size, signed, dst, base, off),
            Op::LoadAbs { size, imm } => Code::LoadPacket { size, index: None, imm },
            Op::LoadInd { size, src, imm } => Code::LoadPacket { size, index: Some(src.into()), imm },
            Op::Store { size, base, off, src } => Code::store(size, base, off, src),
            Op::Atomic { size, op, base, off, src } => {
                let (wide, base, src) = (size.bytes() == 8, base.into(), src.into());
                Code::Atomic { wide, op, base, src, off }
            }
            Op::LoadAcquire { size, dst, base, off } => {
                Code::LoadAcquire { size, dst: dst.into(), base: base.into(), off }
            }
            Op::StoreRelease { size, base, off, src } => {
                Code::StoreRelease { size, base: base.into(), src: src.into(), off }
            }
            Op::Ja { off, .. } => Code::Jump { target: self.target(pc, off)? },
            Op::Jump { wide, op, dst, src, off } => {
                Code::jump(wide, op, dst, src, self.target(pc, off.into())?)
            }
            Op::MayGoto { off } => Code::MayGoto { target: self.target(pc, off.into())? },
            Op::Call(target) => self.call(target, pc)?,
            Op::Exit => Code::Exit,
        })
    }

    /// The slot that an offset from the next one leads to.
    fn target(&self, pc: usize, off: i32) -> Result<u32, PrepareErrorKind> {
        let target = pc as i64 + 1 + i64::from(off);
        let inside = usize::try_from(target).is_ok_and(|target| target < self.insns.len());
        if inside { Ok(target as u32) } else { Err(PrepareErrorKind::JumpOutside(target)) }
    }

    fn call(&self, target: CallTarget, pc: usize) -> Result<Code, PrepareErrorKind> {
        match target {
            CallTarget::Helper(id) => {
                if let Some(run) = self.resolve.host(id) {
                    return Ok(Code::CallHost { run });
                }
                let helper = helper::serve(id).map_err(|refused| PrepareErrorKind::Helper { id, refused })?;
                Ok(Code::CallHelper { id: id as u16, run: helper })
            }
            CallTarget::Local(off) => Ok(Code::CallLocal { target: self.target(pc, off)? }),
            CallTarget::Indirect(reg) => Ok(Code::CallIndirect { reg: R::from(reg) }),
            CallTarget::Kfunc { btf_id, fd_idx } => {
                let name = self.resolve.kfunc(btf_id, fd_idx).unwrap_or_else(|| format!("#{btf_id}"));
                helper::kfunc::serve(&name)
                    .map(|run| Code::CallHelper { id: helper::KFUNC, run })
                    .ok_or(PrepareErrorKind::Kfunc(name))
            }
        }
    }

    fn imm64(&mut self, imm: Imm64, pc: usize) -> Result<u64, PrepareErrorKind> {
        match imm {
            Imm64::Value(value) => Ok(value),
            Imm64::MapFd(fd) => Ok(self.map(MapRef::Fd(fd))?.handle()),
            Imm64::MapIdx(idx) => Ok(self.map(MapRef::Index(idx))?.handle()),
            Imm64::MapFdValue { fd, off } => self.map_value(MapRef::Fd(fd), off),
            Imm64::MapIdxValue { idx, off } => self.map_value(MapRef::Index(idx), off),
            Imm64::BtfId { id, obj_fd } => self.resolve.ksym(id, obj_fd).ok_or(PrepareErrorKind::Ksym(id)),
            Imm64::Func(off) => Ok(FUNCTION_BASE + u64::from(self.target(pc, off)?)),
        }
    }

    fn map(&mut self, reference: MapRef) -> Result<Arc<Map>, PrepareErrorKind> {
        let map = self.resolve.map(reference).ok_or(PrepareErrorKind::Map(reference))?;
        if !self.maps.iter().any(|known| Arc::ptr_eq(known, &map)) {
            self.maps.push(Arc::clone(&map));
        }
        Ok(map)
    }

    fn map_value(&mut self, reference: MapRef, off: u32) -> Result<u64, PrepareErrorKind> {
        let map = self.map(reference)?;
        let name = || map.spec().name.clone();
        map.direct_value(off).ok_or_else(|| PrepareErrorKind::MapValue { map: name(), off })
    }
}

/// The register that an instruction writes, calls aside.
fn written(op: &Op) -> Option<Reg> {
    match *op {
        Op::Alu { dst, .. }
        | Op::MovSx { dst, .. }
        | Op::Neg { dst, .. }
        | Op::Endian { dst, .. }
        | Op::AddrSpaceCast { dst, .. }
        | Op::LoadImm64 { dst, .. }
        | Op::Load { dst, .. }
        | Op::LoadAcquire { dst, .. } => Some(dst),
        Op::Atomic { op, src, .. } if op.fetches() => Some(src),
        _ => None,
    }
}

/// Why a program cannot be prepared, and where.
#[derive(Clone, Debug)]
pub struct PrepareError {
    /// The slot of the instruction.
    pub insn: usize,
    /// What is wrong with it.
    pub kind: PrepareErrorKind,
}

/// What keeps an instruction from being run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PrepareErrorKind {
    /// There are no instructions.
    Empty,
    /// It is no instruction.
    Decode(DecodeError),
    /// It jumps or calls out of the program.
    JumpOutside(i64),
    /// It writes `r10`.
    WritesFramePointer,
    /// The map that it refers to does not exist.
    Map(MapRef),
    /// It refers into the value of a map that is no array of one element, or behind that value.
    MapValue {
        /// Name of the map.
        map: String,
        /// Offset into the value.
        off: u32,
    },
    /// The kernel variable that it refers to does not exist.
    Ksym(u32),
    /// It calls a helper that is not served.
    Helper {
        /// Its number.
        id: u32,
        /// Its name and what it needs.
        refused: helper::Refused,
    },
    /// It calls a kernel function that is not served.
    Kfunc(String),
}

impl PrepareErrorKind {
    /// Something that the kernel has and this machine lacks.
    fn is_not_served(&self) -> bool {
        matches!(self, Self::Helper { .. } | Self::Kfunc(_) | Self::Ksym(_))
    }
}

impl PrepareError {
    fn at(insn: usize, kind: PrepareErrorKind) -> Self {
        Self { insn, kind }
    }

    /// What the kernel answers in this case; `EOPNOTSUPP` for what only user space lacks.
    pub fn errno(&self) -> Errno {
        match self.kind {
            PrepareErrorKind::Map(_) => Errno::EBADF,
            PrepareErrorKind::Helper { .. } | PrepareErrorKind::Kfunc(_) => Errno::EOPNOTSUPP,
            PrepareErrorKind::WritesFramePointer => Errno::EACCES,
            _ => Errno::EINVAL,
        }
    }
}

impl fmt::Display for PrepareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instruction {}: ", self.insn)?;
        match &self.kind {
            PrepareErrorKind::Empty => f.write_str("there are no instructions"),
            PrepareErrorKind::Decode(e) => write!(f, "{}", e.kind),
            PrepareErrorKind::JumpOutside(target) => {
                write!(f, "goes to slot {target}, outside of the program")
            }
            PrepareErrorKind::WritesFramePointer => f.write_str("writes `r10`, which is read-only"),
            PrepareErrorKind::Map(MapRef::Fd(fd)) => write!(f, "descriptor {fd} is no map"),
            PrepareErrorKind::Map(MapRef::Index(index)) => write!(f, "there is no map of index {index}"),
            PrepareErrorKind::MapValue { map, off } => {
                write!(f, "map `{map}` has no byte {off} that can be addressed directly")
            }
            PrepareErrorKind::Ksym(id) => write!(f, "kernel variable of type {id} is not known"),
            PrepareErrorKind::Helper { id, refused: helper::Refused { name: None, .. } } => {
                write!(f, "there is no helper of number {id}")
            }
            PrepareErrorKind::Helper { refused, .. } => write!(f, "{refused}"),
            PrepareErrorKind::Kfunc(name) => {
                write!(f, "kernel function `{name}` is not served in user space; the kernel runtime has it")
            }
        }
    }
}

impl std::error::Error for PrepareError {}
