//! CO-RE (compile once, run everywhere): what an object compiled against some types must be changed to, to run against
//! the target's types.
//!
//! A relocation names a type of the object ("local"), an access that begins there, and a question: where is that field,
//! how large is it, does it exist… [`Resolver::resolve`] answers it for the object and for the target:
//!
//! 1. `spec` parses the access against the local types into named fields and array elements;
//! 2. `candidates` finds the target's types of the same name, ignoring flavours (`name___flavour`);
//! 3. `fields` and `types` match access or type against each candidate;
//! 4. `value` computes the answer; candidates that disagree make it ambiguous.
//!
//! The rules are libbpf's (`relo_core.c`, libbpf 1.6), including that a candidate that failed to match once is not asked
//! again about the same local type. One differs: values of unsigned 32-bit enumerations from 2³¹ on are not sign-extended;
//! libbpf does that and then refuses the instruction, which clang has made without.
//!
//! Changing the instruction is left to the linker.

mod candidates;
mod fields;
mod minimal;
mod spec;
mod types;
mod value;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use candidates::Candidate;
pub use minimal::Minimal;
use spec::Spec;
pub use types::{Place, types_are_compatible};

pub use crate::names::essential_name;
use crate::{Btf, Error, Result, TypeId};

/// What a relocation asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[doc(alias = "bpf_core_relo_kind")]
pub enum ReloKind {
    /// Where the field is, in bytes; for a bit field, the word that holds it.
    FieldByteOffset,
    /// How many bytes it takes.
    FieldByteSize,
    /// Does it exist?
    FieldExists,
    /// Is it signed?
    FieldSigned,
    /// By how much to shift the 64-bit word left to lose what is above a bit field.
    FieldLshiftU64,
    /// By how much to shift it right afterwards.
    FieldRshiftU64,
    /// The number of the local type.
    TypeIdLocal,
    /// The number of the target's type.
    TypeIdTarget,
    /// Does the type exist?
    TypeExists,
    /// How many bytes it takes.
    TypeSize,
    /// Does the enumeration have the value?
    EnumvalExists,
    /// What the value stands for.
    EnumvalValue,
    /// Does the type exist with all the members that the local one has?
    TypeMatches,
}

impl ReloKind {
    /// Every kind, at the index that is its number.
    pub const ALL: [Self; 13] = [
        Self::FieldByteOffset,
        Self::FieldByteSize,
        Self::FieldExists,
        Self::FieldSigned,
        Self::FieldLshiftU64,
        Self::FieldRshiftU64,
        Self::TypeIdLocal,
        Self::TypeIdTarget,
        Self::TypeExists,
        Self::TypeSize,
        Self::EnumvalExists,
        Self::EnumvalValue,
        Self::TypeMatches,
    ];

    /// The kind of that number (`enum bpf_core_relo_kind`, `include/uapi/linux/bpf.h`).
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.get(code as usize).copied()
    }

    /// What the relocation is about.
    fn subject(self) -> Subject {
        match self {
            Self::FieldByteOffset
            | Self::FieldByteSize
            | Self::FieldExists
            | Self::FieldSigned
            | Self::FieldLshiftU64
            | Self::FieldRshiftU64 => Subject::Field,
            Self::TypeIdLocal
            | Self::TypeIdTarget
            | Self::TypeExists
            | Self::TypeSize
            | Self::TypeMatches => Subject::Type,
            Self::EnumvalExists | Self::EnumvalValue => Subject::EnumValue,
        }
    }
}

impl fmt::Display for ReloKind {
    /// The name that libbpf's log gives it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::FieldByteOffset => "byte_off",
            Self::FieldByteSize => "byte_sz",
            Self::FieldExists => "field_exists",
            Self::FieldSigned => "signed",
            Self::FieldLshiftU64 => "lshift_u64",
            Self::FieldRshiftU64 => "rshift_u64",
            Self::TypeIdLocal => "local_type_id",
            Self::TypeIdTarget => "target_type_id",
            Self::TypeExists => "type_exists",
            Self::TypeSize => "type_size",
            Self::EnumvalExists => "enumval_exists",
            Self::EnumvalValue => "enumval_value",
            Self::TypeMatches => "type_matches",
        })
    }
}

/// What a relocation is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    Field,
    Type,
    EnumValue,
}

/// A relocation of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relo<'a> {
    /// Which instruction, in bytes from the start of its section.
    pub insn_off: u32,
    /// The local type at which the access begins.
    pub ty: TypeId,
    /// The access: indexes of array elements and members from there on, such as `0:1:2`.
    pub access: &'a str,
    /// The question.
    pub kind: ReloKind,
}

impl<'a> Relo<'a> {
    /// A relocation as `.BTF.ext` has it; `local` is the object's BTF.
    pub fn read(local: &'a Btf, record: &crate::ext::CoreRelo) -> Result<Self> {
        let kind = ReloKind::from_code(record.kind)
            .ok_or_else(|| Error::unsupported(format!("CO-RE relocation of unknown kind {}", record.kind)))?;
        Ok(Self { insn_off: record.insn_off, ty: record.ty, access: local.string(record.access_off)?, kind })
    }

    /// The access in words for a person: `byte_off of struct task_struct.real_parent.tgid`.
    pub fn describe(&self, local: &Btf) -> String {
        match Spec::parse(local, self) {
            Ok(spec) => format!("{} of {}", self.kind, spec.describe()),
            Err(_) => format!("{} of type {} with access `{}`", self.kind, self.ty, self.access),
        }
    }
}

/// The answer to a relocation's question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// The answer for the local types: what the compiler has put into the instruction.
    pub orig: u64,
    /// The answer for the target's types. `None`: there is none, and the instruction must not be reached (libbpf poisons
    /// it); [`Resolution::missing`] says why.
    pub new: Option<u64>,
    /// Must the instruction hold `orig` now? Not so where compilers differ, as for bit fields.
    pub validate: bool,
    /// How much memory is accessed, if this is about the offset of a load or store.
    pub access: Option<Access>,
    /// Which of the targets answered.
    pub target: Option<usize>,
    /// Why no type of the target matches. Existence questions have `Some(0)` as their answer then.
    pub missing: Option<String>,
}

/// The memory that a load or store accesses, before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Bytes in the local types.
    pub orig_bytes: u32,
    /// Bytes in the target's types. If it differs, the instruction's size must become this.
    pub new_bytes: u32,
    /// May the size be changed? Not if the value would be cut or extended wrongly, as with signed integers; a load or store
    /// must be poisoned then.
    pub resizable: bool,
}

/// Resolves the relocations of one object against one target.
///
/// Candidates are searched once for each local type, so one resolver should serve all relocations of an object, in the
/// order of the object.
pub struct Resolver<'a> {
    local: &'a Btf,
    targets: &'a [Arc<Btf>],
    candidates: HashMap<TypeId, Vec<Candidate<'a>>>,
}

impl<'a> Resolver<'a> {
    /// A resolver for the object whose BTF is `local`.
    ///
    /// The first of the targets is the kernel's BTF; modules follow. Modules are searched, without the base they share with
    /// the kernel, only for what the kernel itself does not have.
    pub fn new(local: &'a Btf, targets: &'a [Arc<Btf>]) -> Self {
        Self { local, targets, candidates: HashMap::new() }
    }

    /// Answers a relocation.
    ///
    /// An error says that the relocation makes no sense or that candidates disagree. That the target lacks the type or the
    /// field is no error ([`Resolution::missing`]): programs ask first whether it exists, or never come there.
    pub fn resolve(&mut self, relo: &Relo<'_>) -> Result<Resolution> {
        let (resolution, _) = self.answer_at(relo)?;
        Ok(resolution)
    }

    /// What a relocation's access means in the target's types, if they have it.
    fn target_spec(&mut self, relo: &Relo<'_>) -> Result<Option<Spec<'a>>> {
        let (_, spec) = self.answer_at(relo)?;
        Ok(spec)
    }

    fn answer_at(&mut self, relo: &Relo<'_>) -> Result<(Resolution, Option<Spec<'a>>)> {
        self.answer(relo).map_err(|e| e.at(format_args!("CO-RE relocation `{}`", relo.describe(self.local))))
    }

    fn answer(&mut self, relo: &Relo<'_>) -> Result<(Resolution, Option<Spec<'a>>)> {
        let spec = Spec::parse(self.local, relo)?;
        if relo.kind == ReloKind::TypeIdLocal {
            return Ok((value::local_id(relo.ty), None));
        }
        let candidates = self.candidates(&spec)?;
        let mut found: Option<Found<'a>> = None;
        let mut mismatches = Vec::new();
        let mut matching = Vec::new();
        for candidate in &candidates {
            let matched = match spec.match_candidate(candidate)? {
                Ok(matched) => matched,
                Err(mismatch) => {
                    mismatches.push(mismatch);
                    continue;
                }
            };
            let resolution =
                Resolution { target: Some(candidate.target), ..value::resolve(&spec, Some(&matched))? };
            let new = Found { resolution, spec: matched };
            if let Some(first) = &found {
                first.agrees_with(&new)?;
            }
            found.get_or_insert(new);
            matching.push(*candidate);
        }
        if let Some(found) = found {
            self.candidates.insert(relo.ty, matching);
            return Ok((found.resolution, Some(found.spec)));
        }
        let missing = Some(reason(&spec, self.targets, &mismatches));
        self.candidates.insert(relo.ty, candidates);
        Ok((Resolution { missing, ..value::resolve(&spec, None)? }, None))
    }

    /// The candidates for the type at which a local access begins; taken out of the cache.
    fn candidates(&mut self, spec: &Spec<'_>) -> Result<Vec<Candidate<'a>>> {
        match self.candidates.remove(&spec.root) {
            Some(known) => Ok(known),
            None => candidates::find(self.local, spec.root, self.targets),
        }
    }
}

/// What one candidate answers.
struct Found<'a> {
    resolution: Resolution,
    spec: Spec<'a>,
}

impl Found<'_> {
    /// Do two candidates answer the same?
    fn agrees_with(&self, other: &Self) -> Result<()> {
        if self.spec.bit_offset != other.spec.bit_offset {
            return Err(Error::ambiguous(format!(
                "ambiguous: the field is at bit {} in one type of that name and at bit {} in another",
                self.spec.bit_offset, other.spec.bit_offset
            )));
        }
        if self.resolution.new != other.resolution.new {
            let text = |new: Option<u64>| new.map_or_else(|| "no value".to_owned(), |new| new.to_string());
            return Err(Error::ambiguous(format!(
                "ambiguous: {} in one type of that name and {} in another",
                text(self.resolution.new),
                text(other.resolution.new)
            )));
        }
        Ok(())
    }
}

/// Why no candidate matched.
fn reason(spec: &Spec<'_>, targets: &[Arc<Btf>], mismatches: &[String]) -> String {
    match (mismatches.first(), targets.len()) {
        (Some(mismatch), _) => mismatch.clone(),
        (None, 0) => "the target's types are not known".to_owned(),
        (None, _) => format!("the target has no type `{}`", spec.root_name()),
    }
}

/// Steps that matching may take before it gives up: types that contain each other many times over would otherwise take
/// forever. The largest structures of a kernel have a few thousand members, counting all that is nested.
struct Budget(u32);

impl Budget {
    fn new() -> Self {
        Self(1 << 20)
    }

    fn spend(&mut self) -> Result<()> {
        self.0 = self
            .0
            .checked_sub(1)
            .ok_or_else(|| Error::malformed("the types nest too much to be compared"))?;
        Ok(())
    }
}
