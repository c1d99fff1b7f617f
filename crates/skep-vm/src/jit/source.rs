//! What is compiled: a verified program, decoded, with what was resolved when it was prepared.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_isa::helper::id;
use skep_isa::{CallTarget, Imm64, Op, decode};
use skep_verifier::Verified;
use skep_verifier::facts::{Access, Argument, Branch, Facts, Region};

use super::Declined;
use crate::code::Code;
use crate::map::Map;

/// How an access is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// By the address itself: the proof says that it lies in memory of this process.
    Direct,
    /// By asking the run, because it may be the kernel's memory, or is different things on different paths.
    Asked,
}

/// Longest context that is taken for granted.
const MAX_CONTEXT: i64 = 1 << 16;

/// A verified program.
pub(crate) struct Source<'a> {
    verified: &'a Verified,
    facts: &'a Facts,
    code: &'a [Code],
    /// Maps by the numbers that facts have for them.
    maps: BTreeMap<u32, &'a Arc<Map>>,
    ops: Vec<Option<Op>>,
    /// May memory of known size be the kernel's?
    kernel_memory: bool,
}

impl<'a> Source<'a> {
    pub(crate) fn new(
        verified: &'a Verified,
        code: &'a [Code],
        maps: &'a [Arc<Map>],
    ) -> Result<Self, Declined> {
        let facts =
            verified.facts().ok_or_else(|| Declined::at(0, "it was verified without facts for compiling"))?;
        let insns = verified.insns();
        let mut ops = vec![None; insns.len()];
        let mut slot = 0;
        while slot < insns.len() {
            let op = decode(insns, slot).map_err(|e| Declined::at(e.pc, e.kind.to_string()))?;
            ops[slot] = Some(op);
            slot += op.slots();
        }
        let mut source = Self { verified, facts, code, maps: BTreeMap::new(), ops, kernel_memory: false };
        source.maps = source.numbered(maps);
        let kernel_memory = source.ops().any(|(_, op)| Self::gives_kernel_memory(&op));
        source.kernel_memory = kernel_memory;
        Ok(source)
    }

    /// Maps by number: each is loaded somewhere, by that number.
    fn numbered(&self, maps: &'a [Arc<Map>]) -> BTreeMap<u32, &'a Arc<Map>> {
        let loaded = self.ops().filter_map(|(slot, op)| {
            let Op::LoadImm64 { imm: Imm64::MapIdx(number), .. } = op else { return None };
            let Code::LoadImm64 { imm: handle, .. } = self.code(slot) else { return None };
            let map = maps.iter().find(|map| map.handle() == handle)?;
            Some((u32::try_from(number).ok()?, map))
        });
        loaded.collect()
    }

    /// The map of a number.
    pub(super) fn map(&self, number: u32) -> Option<&'a Arc<Map>> {
        self.maps.get(&number).copied()
    }

    /// What a helper is called with, as far as it is proved.
    pub(super) fn arguments(&self, slot: usize) -> Option<[Argument; 5]> {
        self.facts.arguments(slot)
    }

    /// May memory of known size be the kernel's?
    pub(super) fn has_kernel_memory(&self) -> bool {
        self.kernel_memory
    }

    /// Instructions that some run may come to, with their slots.
    pub(super) fn ops(&self) -> impl Iterator<Item = (usize, Op)> + '_ {
        let all = self.ops.iter().enumerate().filter_map(|(slot, op)| Some((slot, (*op)?)));
        all.filter(|(slot, _)| self.is_reached(*slot))
    }

    pub(super) fn op(&self, slot: usize) -> Option<Op> {
        self.ops.get(slot).copied().flatten()
    }

    /// The same as the interpreter runs it: with addresses of maps and functions.
    pub(super) fn code(&self, slot: usize) -> Code {
        self.code.get(slot).copied().unwrap_or(Code::Nothing)
    }

    pub(super) fn is_reached(&self, slot: usize) -> bool {
        self.verified.is_reached(slot)
    }

    pub(super) fn branch(&self, slot: usize) -> Branch {
        self.facts.branch(slot)
    }

    /// Where a jump goes.
    pub(super) fn target(&self, slot: usize) -> Option<usize> {
        let off = self.op(slot)?.jump_offset()?;
        (slot + 1).checked_add_signed(off as isize)
    }

    /// The function that is called, or whose address is taken.
    pub(super) fn callee(&self, slot: usize) -> Option<usize> {
        match self.op(slot)? {
            Op::Call(CallTarget::Local(off)) | Op::LoadImm64 { imm: Imm64::Func(off), .. } => {
                (slot + 1).checked_add_signed(off as isize)
            }
            _ => None,
        }
    }

    /// Bytes of stack of the function that begins there.
    pub(crate) fn frame_bytes(&self, start: usize) -> u32 {
        let known = self.verified.subprograms().iter().find(|(first, _)| *first as usize == start);
        known.map_or(0, |(_, bytes)| bytes.next_multiple_of(16))
    }

    /// Arguments that a helper has, whoever serves it; of a kernel function, as many as there may be.
    pub(super) fn argument_count(&self, slot: usize) -> usize {
        match self.op(slot) {
            Some(Op::Call(CallTarget::Helper(number))) => {
                skep_isa::helper::by_id(number).map_or(5, |helper| helper.args.len().min(5))
            }
            _ => 5,
        }
    }

    /// How the access of a load, store or atomic operation is done.
    pub(crate) fn place(&self, slot: usize) -> Place {
        match self.facts.access(slot).map(|access| access.region) {
            Some(
                Region::Frame
                | Region::CallerFrame
                | Region::Context
                | Region::MapValue(_)
                | Region::MapKey(_)
                | Region::Packet,
            ) => Place::Direct,
            Some(Region::Memory) if !self.kernel_memory => Place::Direct,
            _ => Place::Asked,
        }
    }

    /// Bytes that the context must have, as far as it is accessed by address.
    pub(crate) fn context_bytes(&self) -> Result<u64, Declined> {
        let mut bytes = 0;
        for (slot, access) in self.accesses(Region::Context) {
            if access.min < 0 || access.max > MAX_CONTEXT {
                return Err(Declined::at(slot, "how far its context is accessed is not known"));
            }
            bytes = bytes.max(access.max as u64 + self.access_bytes(slot));
        }
        Ok(bytes)
    }

    /// Does it access packet data by address?
    pub(crate) fn needs_packet(&self) -> bool {
        self.accesses(Region::Packet).next().is_some()
    }

    /// Bytes of the access of an instruction.
    fn access_bytes(&self, slot: usize) -> u64 {
        match self.op(slot) {
            Some(
                Op::Load { size, .. }
                | Op::Store { size, .. }
                | Op::Atomic { size, .. }
                | Op::LoadAcquire { size, .. }
                | Op::StoreRelease { size, .. },
            ) => u64::from(size.bytes()),
            _ => 0,
        }
    }

    fn accesses(&self, region: Region) -> impl Iterator<Item = (usize, Access)> + '_ {
        let all = self.ops().filter_map(|(slot, _)| Some((slot, self.facts.access(slot)?)));
        all.filter(move |(_, access)| access.region == region)
    }

    /// Does an instruction need the run: a helper, or an access that is asked for?
    pub(super) fn needs_run(&self, slot: usize, op: &Op, callee_does: &dyn Fn(usize) -> bool) -> bool {
        match op {
            Op::Call(CallTarget::Local(_)) => self.callee(slot).is_some_and(callee_does),
            Op::Call(_) if matches!(self.code(slot), Code::CallHost { .. }) => false,
            Op::Call(_) if let Some(call) = self.map_call(slot) => call.needs_run(),
            Op::Call(_) | Op::LoadAbs { .. } | Op::LoadInd { .. } => true,
            Op::Load { .. }
            | Op::Store { .. }
            | Op::Atomic { .. }
            | Op::LoadAcquire { .. }
            | Op::StoreRelease { .. } => self.place(slot) == Place::Asked,
            _ => false,
        }
    }

    /// Can a program come by the kernel's memory, of known size, by this instruction?
    fn gives_kernel_memory(op: &Op) -> bool {
        matches!(
            op,
            Op::LoadImm64 { imm: Imm64::BtfId { .. }, .. }
                | Op::Call(CallTarget::Helper(id::bpf_per_cpu_ptr | id::bpf_this_cpu_ptr))
        )
    }
}
