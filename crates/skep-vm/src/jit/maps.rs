//! Operations on maps, where it is proved which map is meant and that key and value lie in this process's memory. The
//! element of an array is computed by the program itself; other maps are called, and only those with a value for each
//! processor and ring buffers need the run.

use std::sync::Arc;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use skep_isa::helper::id;
use skep_isa::uapi::MapType;
use skep_isa::{CallTarget, JmpOp, Op, Operand};
use skep_verifier::facts::{Argument, Region};

use super::native::{Asked, Operation};
use super::source::Source;
use super::translate::{PROVED, Translator};
use crate::clock;
use crate::map::{Layout, Map, flags};

/// How a helper on a map is compiled.
pub(super) enum MapCall {
    /// The address of an array's element.
    Element(Layout),
    /// A call with the address of the map.
    Call(Operation, i64),
}

/// The answer of a look-up in an array: an address if the element exists, or null.
#[derive(Clone, Copy)]
pub(super) struct Element {
    pub(super) answer: Value,
    pub(super) exists: Value,
    pub(super) address: Value,
}

impl MapCall {
    /// Does it ask the run?
    pub(super) fn needs_run(&self) -> bool {
        match self {
            Self::Element(_) => self.asks().is_some(),
            Self::Call(operation, _) => operation.takes_run(),
        }
    }

    /// What it asks the run without a call.
    pub(super) fn asks(&self) -> Option<Asked> {
        match self {
            Self::Element(layout) => layout.cpus.map(|_| Asked::CPU),
            Self::Call(..) => None,
        }
    }
}

impl Source<'_> {
    /// How the helper of an instruction is compiled, if it is one on a known map.
    pub(super) fn map_call(&self, slot: usize) -> Option<MapCall> {
        let operation = match self.op(slot)? {
            Op::Call(CallTarget::Helper(id::bpf_map_lookup_elem)) => Operation::Find,
            Op::Call(CallTarget::Helper(id::bpf_map_update_elem)) => Operation::Update,
            Op::Call(CallTarget::Helper(id::bpf_map_delete_elem)) => Operation::Delete,
            Op::Call(CallTarget::Helper(id::bpf_ringbuf_reserve)) => Operation::Reserve,
            _ => return None,
        };
        let arguments = self.arguments(slot)?;
        let Argument::Map(number) = arguments[0] else { return None };
        let map = self.map(number)?;
        let own_memory = |argument| self.is_own_memory(argument);
        let known = match operation {
            Operation::Reserve => true,
            Operation::Update => own_memory(arguments[1]) && own_memory(arguments[2]),
            _ => own_memory(arguments[1]),
        };
        if !known || !serves(map, operation) {
            return None;
        }
        let operation = match operation {
            Operation::Find if map.spec().is_percpu() => Operation::FindHere,
            Operation::Update if map.spec().is_percpu() => Operation::UpdateHere,
            Operation::Update if map.is_of_words() => Operation::UpdateWord,
            other => other,
        };
        match map.layout() {
            Some(layout) if matches!(operation, Operation::Find | Operation::FindHere) => {
                Some(MapCall::Element(layout))
            }
            _ => Some(MapCall::Call(operation, Arc::as_ptr(map).expose_provenance() as i64)),
        }
    }

    /// Does an argument point to memory that stays this process's, whatever the program does?
    fn is_own_memory(&self, argument: Argument) -> bool {
        let Argument::Memory(access) = argument else { return false };
        match access.region {
            Region::Frame | Region::CallerFrame | Region::MapValue(_) | Region::MapKey(_) => true,
            Region::Memory => !self.has_kernel_memory(),
            _ => false,
        }
    }
}

/// Kinds whose operations ask nothing but the processor of a run, with keys and values of a size that is copied on the stack.
fn serves(map: &Map, operation: Operation) -> bool {
    let spec = map.spec();
    let kind = matches!(
        spec.map_type,
        MapType::ARRAY
            | MapType::HASH
            | MapType::LRU_HASH
            | MapType::LPM_TRIE
            | MapType::PERCPU_ARRAY
            | MapType::PERCPU_HASH
            | MapType::LRU_PERCPU_HASH
    );
    let fits = spec.key_size.max(spec.value_size) as usize <= Operation::MAX_BYTES;
    match operation {
        Operation::Reserve => map.ring().is_some(),
        Operation::Find | Operation::FindHere => kind && spec.key_size as usize <= Operation::MAX_BYTES,
        _ => kind && fits && spec.map_flags & flags::RDONLY_PROG == 0,
    }
}

impl Translator<'_> {
    /// Compiles a helper on a map; the result is that for `r0`.
    pub(super) fn call_map(&mut self, call: &MapCall) -> Value {
        match call {
            MapCall::Element(layout) => self.element(layout),
            MapCall::Call(operation, map) => self.operate(*operation, *map),
        }
    }

    /// The address of the element whose index `r2` points to, or null.
    fn element(&mut self, layout: &Layout) -> Value {
        let key = self.wide(2);
        let index = self.at.ins().load(I32, PROVED, key, 0);
        let entries = self.at.ins().iconst(I32, i64::from(layout.entries));
        let exists = self.at.ins().icmp(IntCC::UnsignedLessThan, index, entries);
        let base = self.address_of(layout.base);
        let index = self.at.ins().uextend(I64, index);
        let values = layout.stride * layout.cpus.unwrap_or(1) as usize;
        let values = self.at.ins().iconst(I64, values as i64);
        let offset = self.at.ins().imul(index, values);
        let (exists, offset) = match layout.cpus {
            Some(cpus) => self.value_here(exists, offset, cpus, layout.stride),
            None => (exists, offset),
        };
        let address = self.at.ins().iadd(base, offset);
        let null = self.at.ins().iconst(I64, 0);
        let answer = self.at.ins().select(exists, address, null);
        self.elements.insert(answer, Element { answer, exists, address });
        answer
    }

    /// The element that a jump tests the address of, and whether it jumps where there is one.
    pub(super) fn tested_element(&self, last: &Op) -> Option<(Element, bool)> {
        let Op::Jump { wide: true, op, dst, src: Operand::Imm(0), .. } = last else { return None };
        let jumps = match op {
            JmpOp::Eq => false,
            JmpOp::Ne => true,
            _ => return None,
        };
        let element = self.elements.get(&self.held(dst.0.into())?)?;
        Some((*element, jumps))
    }

    /// The offset of this processor's value behind that of the element, and whether there is one.
    fn value_here(&mut self, exists: Value, offset: Value, cpus: u32, stride: usize) -> (Value, Value) {
        let cpu = self.ask_once(Asked::CPU);
        // A run is on one of the processors that are possible.
        let exists = if cpus >= clock::possible_cpus().max(1) {
            exists
        } else {
            let cpus = self.at.ins().iconst(I64, i64::from(cpus));
            let has_value = self.at.ins().icmp(IntCC::UnsignedLessThan, cpu, cpus);
            self.at.ins().band(exists, has_value)
        };
        let stride = self.at.ins().iconst(I64, stride as i64);
        let behind = self.at.ins().imul(cpu, stride);
        (exists, self.at.ins().iadd(offset, behind))
    }

    fn operate(&mut self, operation: Operation, map: i64) -> Value {
        let map = self.at.ins().iconst(I64, map);
        let arguments = operation.arguments();
        let run = self.run.filter(|_| operation.takes_run());
        let mut values: Vec<Value> = run.into_iter().chain([map]).collect();
        values.extend((2..2 + arguments).map(|n| self.wide(n)));
        self.call_address(operation.address(), &values)
    }
}
