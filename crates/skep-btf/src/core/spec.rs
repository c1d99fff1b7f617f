//! What a relocation's access means in some types.

use super::{Relo, ReloKind, Subject};
use crate::{Array, Btf, Error, Result, Shape, Type, TypeId};

/// How long an access may be (`BPF_CORE_SPEC_MAX_LEN` of libbpf).
const MAX_LEN: usize = 64;
/// How far an access may lead: far beyond any field, and so far below the end of the numbers that sums need no check.
const MAX_BITS: u64 = 1 << 48;

/// An access resolved against types: which fields and array elements it goes through, and where it ends.
#[derive(Clone)]
pub(crate) struct Spec<'a> {
    pub(crate) btf: &'a Btf,
    pub(crate) kind: ReloKind,
    /// The type where it begins.
    pub(crate) root: TypeId,
    /// How many indexes it takes, counting those that only enter an anonymous member.
    pub(crate) raw_len: usize,
    /// The steps that mean something; the first is the index from the pointer it begins with. Empty for types.
    pub(crate) steps: Vec<Step<'a>>,
    /// Where it ends, from the start of the root.
    pub(crate) bit_offset: u64,
}

/// A step of an access.
#[derive(Clone, Copy)]
pub(crate) struct Step<'a> {
    /// For a member, the structure or union that has it; for an element, the element's type; for a value, the enumeration.
    pub(crate) ty: TypeId,
    /// Index of the member, element or value.
    pub(crate) index: usize,
    /// Name of the member or value; `None` for an element.
    pub(crate) name: Option<&'a str>,
}

impl<'a> Spec<'a> {
    /// The meaning of a relocation in the local types.
    pub(crate) fn parse(btf: &'a Btf, relo: &Relo<'_>) -> Result<Self> {
        let mut spec = Self::new(btf, relo.kind, relo.ty);
        match relo.kind.subject() {
            Subject::Type => spec.parse_type(relo.access)?,
            Subject::EnumValue => spec.parse_value(&parse_indexes(relo.access)?)?,
            Subject::Field => spec.parse_field(&parse_indexes(relo.access)?)?,
        }
        Ok(spec)
    }

    /// An access that has not taken a step yet.
    pub(crate) fn new(btf: &'a Btf, kind: ReloKind, root: TypeId) -> Self {
        Self { btf, kind, root, raw_len: 0, steps: Vec::new(), bit_offset: 0 }
    }

    fn parse_type(&self, access: &str) -> Result<()> {
        match access {
            "0" => self.btf.type_by_id(self.root).map(|_| ()),
            _ => {
                Err(Error::malformed(format!("access `{access}` to a type as a whole, which should be `0`")))
            }
        }
    }

    fn parse_value(&mut self, indexes: &[usize]) -> Result<()> {
        let ty = self.btf.resolve(self.root)?;
        let (Some(enumeration), &[index]) = (ty.enumeration(), indexes) else {
            return Err(Error::malformed(format!("access to a value of `{}`", ty.describe())));
        };
        let name = Some(enumeration.values.get(index)?.name);
        self.push(Step { ty: ty.id, index, name }, 0)
    }

    fn parse_field(&mut self, indexes: &[usize]) -> Result<()> {
        let (&first, rest) = indexes.split_first().expect("invariant: an access has an index");
        let mut ty = self.btf.resolve(self.root)?;
        self.push(Step { ty: ty.id, index: first, name: None }, self.element_bits(ty.id, first)?)?;
        for &index in rest {
            ty = match ty.shape {
                Shape::Struct(composite) | Shape::Union(composite) => {
                    let member = composite.members.get(index)?;
                    match member.name {
                        "" => self.pass(member.bit_offset.into())?,
                        name => {
                            let step = Step { ty: ty.id, index, name: Some(name) };
                            self.push(step, member.bit_offset.into())?;
                        }
                    }
                    self.btf.resolve(member.ty)?
                }
                Shape::Array(array) => self.enter_array(array, index)?.ok_or_else(|| {
                    Error::malformed(format!("element {index} of type {}, which has {}", ty.id, array.len))
                })?,
                _ => return Err(Error::malformed(format!("access into `{}`", ty.describe()))),
            };
        }
        Ok(())
    }

    /// Goes into an element of an array that is where the access ends so far; `None`: the array has no such element.
    pub(crate) fn enter_array(&mut self, array: Array, index: usize) -> Result<Option<Type<'a>>> {
        if index >= array.len as usize && !self.is_flexible(array)? {
            return Ok(None);
        }
        let elem = self.btf.resolve(array.elem)?;
        let bits = self.element_bits(elem.id, index)?;
        self.push(Step { ty: elem.id, index, name: None }, bits)?;
        Ok(Some(elem))
    }

    /// Is the array, where the access ends so far, a flexible one: the last member of a structure, without a length?
    fn is_flexible(&self, array: Array) -> Result<bool> {
        let Some(&Step { ty, index, name: Some(_) }) = self.steps.last() else { return Ok(false) };
        let members = self.btf.type_by_id(ty)?.composite().map_or(0, |composite| composite.members.len());
        Ok(array.len == 0 && index + 1 == members)
    }

    /// Takes a step that begins `bits` after where the access ended so far.
    pub(crate) fn push(&mut self, step: Step<'a>, bits: u64) -> Result<()> {
        self.pass(bits)?;
        self.steps.push(step);
        Ok(())
    }

    /// Goes into an anonymous member.
    pub(crate) fn pass(&mut self, bits: u64) -> Result<()> {
        if self.raw_len == MAX_LEN {
            return Err(Error::malformed(format!("the access goes through more than {MAX_LEN} members")));
        }
        self.raw_len += 1;
        self.bit_offset =
            self.bit_offset.checked_add(bits).filter(|&end| end <= MAX_BITS).ok_or_else(too_far)?;
        Ok(())
    }

    /// Where element `index` of an array of `elem` begins.
    pub(crate) fn element_bits(&self, elem: TypeId, index: usize) -> Result<u64> {
        let bits = self.btf.size_of(elem)?.checked_mul(8);
        bits.and_then(|bits| bits.checked_mul(index as u64)).ok_or_else(too_far)
    }

    /// The type at which it begins, such as `struct task_struct`.
    pub(crate) fn root_name(&self) -> String {
        self.btf.type_by_id(self.root).map_or_else(|e| e.to_string(), |ty| ty.describe())
    }

    /// The access as in C: `struct task_struct.comm[3]`, `enum pid_type::PIDTYPE_PID`.
    pub(crate) fn describe(&self) -> String {
        let mut text = self.root_name();
        for (nth, step) in self.steps.iter().enumerate() {
            match step.name {
                Some(name) if self.kind.subject() == Subject::EnumValue => text += &format!("::{name}"),
                Some(name) => text += &format!(".{name}"),
                None if nth > 0 || step.index > 0 => text += &format!("[{}]", step.index),
                None => {}
            }
        }
        text
    }
}

/// `0:1:2` as numbers, of which there is at least one.
fn parse_indexes(access: &str) -> Result<Vec<usize>> {
    let bad =
        || Error::malformed(format!("access `{access}`, which should be numbers with `:` between them"));
    let indexes: Vec<usize> = access
        .split(':')
        .map(|index| {
            index.parse::<u32>().ok().filter(|&index| index <= i32::MAX as u32).map(|index| index as usize)
        })
        .collect::<Option<_>>()
        .ok_or_else(bad)?;
    if indexes.len() > MAX_LEN {
        return Err(Error::malformed(format!(
            "access with {} indexes: {MAX_LEN} is the most",
            indexes.len()
        )));
    }
    Ok(indexes)
}

fn too_far() -> Error {
    Error::malformed("the access leads far out of every type")
}
