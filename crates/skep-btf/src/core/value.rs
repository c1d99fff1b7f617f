//! Computes the answer to a relocation's question from an access in the local types and one in the target's.

use super::spec::{Spec, Step};
use super::{Access, ReloKind, Resolution, Subject};
use crate::{Btf, ByteOrder, Error, Int, IntEncoding, Member, Result, Shape, Type, TypeId};

/// The answer to "which number has the local type".
pub(crate) fn local_id(id: TypeId) -> Resolution {
    // Linking objects renumbers types without changing instructions, so there is nothing to validate.
    Resolution {
        orig: id.0.into(),
        new: Some(id.0.into()),
        validate: false,
        access: None,
        target: None,
        missing: None,
    }
}

/// The answer for a target in which the access was found, or was not.
pub(crate) fn resolve(local: &Spec<'_>, target: Option<&Spec<'_>>) -> Result<Resolution> {
    let orig = Answer::of(local)?;
    let new = target.map(Answer::of).transpose()?;
    let access = match (orig.memory, new.as_ref().and_then(|new| new.memory)) {
        (Some(a), Some(b)) => {
            Some(Access { orig_bytes: a.bytes, new_bytes: b.bytes, resizable: resizable(a, b) })
        }
        _ => None,
    };
    let new = match new {
        Some(new) => Some(new.value),
        None => without_target(local.kind),
    };
    Ok(Resolution { orig: orig.value, new, validate: orig.validate, access, target: None, missing: None })
}

/// The answer where the target has nothing that matches. Questions about types are answered with 0, too.
fn without_target(kind: ReloKind) -> Option<u64> {
    match (kind, kind.subject()) {
        (ReloKind::FieldExists | ReloKind::EnumvalExists, _) | (_, Subject::Type) => Some(0),
        _ => None,
    }
}

/// The answer in one of the two BTFs.
struct Answer<'a> {
    value: u64,
    /// Do all compilers agree on it?
    validate: bool,
    memory: Option<Memory<'a>>,
}

/// The memory of a field.
#[derive(Clone, Copy)]
struct Memory<'a> {
    /// Its size; that of an element for an array, because single elements are loaded and stored.
    bytes: u32,
    shape: Shape<'a>,
}

impl<'a> Answer<'a> {
    fn of(spec: &Spec<'a>) -> Result<Self> {
        match spec.kind.subject() {
            Subject::Type => type_answer(spec),
            Subject::EnumValue => value_answer(spec),
            Subject::Field => field_answer(spec),
        }
    }

    fn certain(value: u64) -> Self {
        Self { value, validate: true, memory: None }
    }

    fn uncertain(value: u64) -> Self {
        Self { value, validate: false, memory: None }
    }
}

fn type_answer<'a>(spec: &Spec<'_>) -> Result<Answer<'a>> {
    Ok(match spec.kind {
        ReloKind::TypeSize => Answer::certain(spec.btf.size_of(spec.root)?),
        ReloKind::TypeIdTarget => Answer::uncertain(spec.root.0.into()),
        _ => Answer::certain(1),
    })
}

fn value_answer<'a>(spec: &Spec<'_>) -> Result<Answer<'a>> {
    if spec.kind == ReloKind::EnumvalExists {
        return Ok(Answer::certain(1));
    }
    let Step { ty, index, .. } = last_step(spec)?;
    let Some(enumeration) = spec.btf.type_by_id(ty)?.enumeration() else { return Err(no_step()) };
    let value = enumeration.values.get(index)?.value;
    Ok(Answer::certain(value as u64))
}

fn field_answer<'a>(spec: &Spec<'a>) -> Result<Answer<'a>> {
    if spec.kind == ReloKind::FieldExists {
        return Ok(Answer::certain(1));
    }
    let step = last_step(spec)?;
    match step.name {
        None => element_answer(spec, step),
        Some(_) => {
            let owner = spec.btf.type_by_id(step.ty)?;
            let composite = owner.composite().ok_or_else(no_step)?;
            member_answer(spec, composite.members.get(step.index)?)
        }
    }
}

/// The field is an element of an array, or the whole type.
fn element_answer<'a>(spec: &Spec<'a>, step: Step<'a>) -> Result<Answer<'a>> {
    match spec.kind {
        ReloKind::FieldByteOffset => Ok(Answer {
            memory: Some(memory(spec.btf, spec.btf.type_by_id(step.ty)?)?),
            ..Answer::certain(spec.bit_offset / 8)
        }),
        ReloKind::FieldByteSize => Ok(Answer::certain(spec.btf.size_of(step.ty)?)),
        kind => Err(Error::invalid(format!("{kind} cannot be asked of an array element"))),
    }
}

fn member_answer<'a>(spec: &Spec<'a>, member: Member<'a>) -> Result<Answer<'a>> {
    let ty = spec.btf.resolve(member.ty)?;
    let place = Placement::of(spec, member, ty)?;
    let bitfield = member.bitfield_bits != 0;
    let answer = match spec.kind {
        ReloKind::FieldByteOffset => {
            let memory = if bitfield { None } else { Some(memory(spec.btf, ty)?) };
            Answer { memory, ..Answer::certain(place.byte_offset) }
        }
        ReloKind::FieldByteSize => Answer::certain(place.bytes),
        // Sign and right shift do not depend on how a compiler reads the word of a bit field.
        ReloKind::FieldSigned => return Ok(Answer::certain(is_signed(ty).into())),
        ReloKind::FieldRshiftU64 => return Ok(Answer::certain(64u64.wrapping_sub(place.bits))),
        ReloKind::FieldLshiftU64 => Answer::certain(place.left_shift(spec.btf.byte_order())),
        kind => return Err(Error::invalid(format!("{kind} is no question about a field"))),
    };
    Ok(Answer { validate: !bitfield, ..answer })
}

/// The word that holds a field, and the field in it.
struct Placement {
    byte_offset: u64,
    bytes: u64,
    bit_offset: u64,
    bits: u64,
}

impl Placement {
    fn of(spec: &Spec<'_>, member: Member<'_>, ty: Type<'_>) -> Result<Self> {
        let bit_offset = spec.bit_offset;
        if member.bitfield_bits == 0 {
            let bytes = spec.btf.size_of(ty.id)?;
            return Ok(Self { byte_offset: bit_offset / 8, bytes, bit_offset, bits: bytes.wrapping_mul(8) });
        }
        let bits = u64::from(member.bitfield_bits);
        let mut bytes = spec.btf.size_of(ty.id)?;
        if !(1..=16).contains(&bytes) {
            return Err(Error::malformed(format!("bit field `{}` has a type of {bytes} bytes", member.name)));
        }
        // The smallest aligned word, doubled from the declared type's, that holds all of the field.
        loop {
            let byte_offset = bit_offset / 8 / bytes * bytes;
            if bit_offset + bits <= (byte_offset + bytes) * 8 {
                return Ok(Self { byte_offset, bytes, bit_offset, bits });
            }
            if bytes >= 8 {
                return Err(Error::invalid(format!(
                    "bit field `{}` does not fit a 64-bit load",
                    member.name
                )));
            }
            bytes *= 2;
        }
    }

    /// How far to shift a 64-bit register, which the word was loaded into, to lose all bits above the field.
    fn left_shift(&self, order: ByteOrder) -> u64 {
        let bit_in_word = self.bit_offset.wrapping_sub(self.byte_offset.wrapping_mul(8));
        match order {
            ByteOrder::Little => 64u64.wrapping_sub(bit_in_word.wrapping_add(self.bits)),
            ByteOrder::Big => 8u64.wrapping_sub(self.bytes).wrapping_mul(8).wrapping_add(bit_in_word),
        }
    }
}

fn is_signed(ty: Type<'_>) -> bool {
    match ty.shape {
        Shape::Int(int) => int.encoding.signed,
        Shape::Enum(enumeration) | Shape::Enum64(enumeration) => enumeration.signed,
        _ => false,
    }
}

/// The memory of a field of that type.
fn memory<'a>(btf: &'a Btf, ty: Type<'a>) -> Result<Memory<'a>> {
    let mut elem = ty;
    for _ in 0..crate::resolve::MAX_DEPTH {
        let Shape::Array(array) = elem.shape else { break };
        elem = btf.resolve(array.elem)?;
    }
    let bytes = btf.size_of(elem.id)?;
    let bytes =
        u32::try_from(bytes).map_err(|_| Error::malformed(format!("type {} is too large", elem.id)))?;
    Ok(Memory { bytes, shape: ty.shape })
}

/// May a load or store of one become one of the other? Of pointers and unsigned integers the upper bits are zero, so they
/// keep their value.
fn resizable(a: Memory<'_>, b: Memory<'_>) -> bool {
    const SIGNED: IntEncoding = IntEncoding { signed: true, char: false, bool: false };
    let unsigned = |int: Int| int.encoding != SIGNED;
    a.bytes == b.bytes
        || match (a.shape, b.shape) {
            (Shape::Ptr(_), Shape::Ptr(_)) => true,
            (Shape::Int(a), Shape::Int(b)) => unsigned(a) && unsigned(b),
            _ => false,
        }
}

fn last_step<'a>(spec: &Spec<'a>) -> Result<Step<'a>> {
    spec.steps.last().copied().ok_or_else(no_step)
}

fn no_step() -> Error {
    Error::malformed("the access does not lead to a field")
}
