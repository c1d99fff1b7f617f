//! Compiled code in memory, the way into it, and the thunks by which it comes back.
//!
//! Compiled code is entered with a run, [`Machine`], and calls thunks with it; both sides keep to C's calling convention.
//! A thunk answers a value and a status: zero to go on, anything else to leave the function, and the program with it when
//! something went wrong. Nothing unwinds through compiled code.
//!
//! What makes this sound: only what the verifier has accepted is compiled; a run is entered only with a context (and a
//! packet) as large as the program was seen to access, see [`Native::admits`]; thunks check what they access.
#![expect(unsafe_code, reason = "compiled code is called by address, and calls back by address")]

mod direct;
mod home;
mod pages;
mod plain;
mod records;
mod thunk;

use std::mem::offset_of;
use std::time::Instant;

use cranelift_codegen::FinalizedRelocTarget;
use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::entity::PrimaryMap;
use cranelift_codegen::ir::{ExternalName, UserExternalName, UserExternalNameRef};
use skep_isa::helper::id;

use super::shape::Function;
use super::source::Source;
use super::translate::Body;
use super::{Compiled, Declined};
use crate::Fault;
use crate::helper::HostFn;
use crate::machine::{Machine, UNASKED_CPU, UNASKED_TASK};
use crate::program::Input;
pub(super) use direct::Operation;
pub(crate) use home::Home;
use pages::Pages;
pub(super) use plain::Plain;
pub(super) use records::discard_since;

/// What a thunk or an entry answers; two registers.
#[repr(C)]
#[derive(Clone, Copy)]
struct Answer {
    value: u64,
    status: u64,
}

/// Go on; of a function, it came to its exit.
const DONE: u64 = 0;
/// Something went wrong, and the run says what.
const STOPPED: u64 = 1;
/// The run goes on in another program.
const TAIL_CALL: u64 = 2;
/// Leave the function as if it came to its exit.
const LEAVE: u64 = 4;

/// What of a thunk's status a function that is left answers.
pub(super) const STATUS_MASK: i64 = 3;

/// How the first function of a program and callbacks are called.
type Entry = unsafe extern "C" fn(*mut Machine<'static>, u64, u64, u64, u64, u64) -> Answer;

/// What compiled code calls.
#[derive(Clone, Copy, Debug)]
pub(super) enum Thunk {
    Helper,
    TailCall,
    TailCallInside,
    Load,
    Store,
    Atomic,
    LoadPacket,
}

impl Thunk {
    /// Its address, as a constant of the code.
    pub(super) fn address(self) -> i64 {
        let at = match self {
            Self::Helper => thunk::helper as *const (),
            Self::TailCall => thunk::tail_call as *const (),
            Self::TailCallInside => thunk::tail_call_inside as *const (),
            Self::Load => thunk::load as *const (),
            Self::Store => thunk::store as *const (),
            Self::Atomic => thunk::atomic as *const (),
            Self::LoadPacket => thunk::load_packet as *const (),
        };
        at.expose_provenance() as i64
    }
}

/// The address of a function of the embedder.
pub(super) fn host_address(run: HostFn) -> i64 {
    (run as *const ()).expose_provenance() as i64
}

/// Where the run keeps the slot of the instruction that calls a thunk.
pub(super) fn slot_offset() -> i32 {
    offset_of!(Machine<'static>, native_slot) as i32
}

/// What a run asks its world for once, and keeps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// The helper that asks.
    pub(super) helper: u32,
    /// Where the run keeps it, in how many bytes.
    pub(super) offset: i32,
    pub(super) bytes: u32,
    /// What is there before.
    pub(super) unasked: u64,
}

impl Asked {
    pub(super) const CPU: Self = Self {
        helper: id::bpf_get_smp_processor_id,
        offset: offset_of!(Machine<'static>, cpu) as i32,
        bytes: 4,
        unasked: UNASKED_CPU as u64,
    };
    const PID_TGID: Self = Self {
        helper: id::bpf_get_current_pid_tgid,
        offset: offset_of!(Machine<'static>, pid_tgid) as i32,
        bytes: 8,
        unasked: UNASKED_TASK,
    };

    /// What a helper asks for, if it is such.
    pub(super) fn of(helper: u32) -> Option<Self> {
        [Self::CPU, Self::PID_TGID].into_iter().find(|asked| asked.helper == helper)
    }
}

/// What compiled code refers to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Referent {
    /// The function of this number.
    Function(usize),
    /// An address, which the reference itself says.
    Address,
}

/// Functions are named by their numbers in this name space.
pub(super) const FUNCTIONS: u32 = 0;
/// The name of all addresses.
pub(super) const ADDRESS: UserExternalName = UserExternalName { namespace: 1, index: 0 };

/// What a name in compiled code means.
pub(super) fn referent(
    target: &FinalizedRelocTarget,
    names: &PrimaryMap<UserExternalNameRef, UserExternalName>,
) -> Option<Referent> {
    let FinalizedRelocTarget::ExternalName(ExternalName::User(name)) = target else { return None };
    let name = names.get(*name)?;
    Some(if *name == ADDRESS { Referent::Address } else { Referent::Function(name.index as usize) })
}

/// A program's machine code.
#[derive(Debug)]
pub(crate) struct Native {
    pages: Pages,
    /// Slots of functions that are called from outside, and their offsets in the pages.
    entries: Vec<(usize, usize)>,
    /// Where the program's first function begins.
    first: usize,
    /// Does it need a run?
    needs_run: bool,
    context_bytes: u64,
    needs_packet: bool,
    compiled: Compiled,
}

/// Puts functions into memory, one behind the other, and makes them know each other.
pub(super) fn link(
    source: &Source<'_>,
    functions: &[Function],
    bodies: &[Body],
    started: Instant,
) -> Result<Native, Declined> {
    let mut starts = Vec::with_capacity(bodies.len());
    let mut code = Vec::new();
    for body in bodies {
        code.resize(code.len().next_multiple_of(body.align.max(16) as usize), 0);
        starts.push(code.len());
        code.extend_from_slice(&body.code);
    }
    for (body, start) in bodies.iter().zip(&starts) {
        for (at, kind, addend, referent) in &body.references {
            let at = start + *at as usize;
            let done = match referent {
                Referent::Function(callee) => {
                    relocate(&mut code, at, *kind, starts[*callee] as i64 + addend - at as i64)
                }
                Referent::Address => write_address(&mut code, at, *kind, *addend),
            };
            done.ok_or_else(|| Declined::at(0, format!("`{kind:?}` is no way to refer to a {referent:?}")))?;
        }
    }
    let entries = functions.iter().zip(&starts).filter(|(function, _)| function.is_entry);
    let entries: Vec<(usize, usize)> = entries.map(|(function, start)| (function.start, *start)).collect();
    let first = entries.iter().find(|(slot, _)| *slot == 0).map(|(_, offset)| *offset);
    let first = first.ok_or_else(|| Declined::at(0, "no run comes to its first instruction"))?;
    let pages = Pages::new(&code).map_err(|e| Declined::at(0, format!("no memory for code: {e}")))?;
    Ok(Native {
        pages,
        entries,
        first,
        needs_run: functions.iter().any(|function| function.start == 0 && function.needs_run),
        context_bytes: source.context_bytes()?,
        needs_packet: source.needs_packet(),
        compiled: Compiled { code_bytes: code.len(), time: started.elapsed() },
    })
}

/// Writes the distance of a call; `None` for a relocation that is none of a call.
fn relocate(code: &mut [u8], at: usize, kind: Reloc, distance: i64) -> Option<()> {
    let operand = code.get_mut(at..at + 4)?;
    let bits = match kind {
        Reloc::X86CallPCRel4 | Reloc::X86PCRel4 => i32::try_from(distance).ok()?.cast_unsigned(),
        Reloc::Arm64Call => {
            let words = i32::try_from(distance >> 2).ok().filter(|words| words.unsigned_abs() < 1 << 25)?;
            let insn = u32::from_le_bytes([operand[0], operand[1], operand[2], operand[3]]);
            (insn & !0x03ff_ffff) | (words.cast_unsigned() & 0x03ff_ffff)
        }
        _ => return None,
    };
    operand.copy_from_slice(&bits.to_le_bytes());
    Some(())
}

/// Writes an address; `None` for a relocation that has no room for one.
fn write_address(code: &mut [u8], at: usize, kind: Reloc, address: i64) -> Option<()> {
    let operand = code.get_mut(at..at + 8).filter(|_| kind == Reloc::Abs8)?;
    operand.copy_from_slice(&address.to_le_bytes());
    Some(())
}

/// How a run of compiled code ended.
pub(crate) enum Called {
    /// With `r0`.
    Done(u64),
    /// By a fault.
    Stopped(Box<Fault>),
    /// By a tail call.
    TailCall,
}

impl Native {
    /// What it took to make it.
    pub(crate) fn compiled(&self) -> Compiled {
        self.compiled
    }

    /// The code.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.pages.bytes()
    }

    /// Is there what the code accesses without a check?
    #[inline]
    pub(crate) fn admits(&self, input: &Input<'_>) -> bool {
        match &input.packet {
            Some(packet) if input.ctx.is_empty() => self.admits_run(packet.context_bytes() as u64, true),
            packet => self.admits_run(input.ctx.len() as u64, packet.is_some()),
        }
    }

    /// The same of a run that has begun.
    #[inline]
    pub(crate) fn admits_run(&self, context_bytes: u64, packet: bool) -> bool {
        context_bytes >= self.context_bytes && (packet || !self.needs_packet)
    }

    #[inline]
    fn entry(&self, offset: usize) -> Entry {
        let at = self.pages.at(offset);
        // SAFETY: only offsets of functions that are called from outside come here; these have this signature.
        unsafe { std::mem::transmute::<*const u8, Entry>(at) }
    }

    /// Calls a function of the program that begins in a slot; `None` when there is no such function.
    pub(crate) fn call(&self, machine: &mut Machine<'_>, slot: usize, args: [u64; 5]) -> Option<Called> {
        let (_, offset) = self.entries.iter().find(|(start, _)| *start == slot)?;
        let [r1, r2, r3, r4, r5] = args;
        let run: *mut Machine<'_> = machine;
        // SAFETY: the function's code, made for this signature; the run lives while it runs, and thunks are the only
        // ones who look at it meanwhile.
        let answer = unsafe { self.entry(*offset)(run.cast(), r1, r2, r3, r4, r5) };
        Some(match answer.status {
            DONE => Called::Done(answer.value),
            TAIL_CALL => Called::TailCall,
            _ => Called::Stopped(machine.take_stopped()),
        })
    }
}
