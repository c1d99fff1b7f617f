//! A `.BTF` section: types by id and by name, read where they stand.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use crate::header::Header;
use crate::index::Index;
use crate::names::{Names, Sort};
use crate::record::{Record, Tails, TypeBytes};
use crate::strings::NameOffsets;
use crate::{ByteOrder, Bytes, Error, Kind, Result, Shape, Type, TypeId};

/// Types, read lazily from shared bytes in either byte order.
///
/// Split BTF (a kernel module's, say) continues the ids and string offsets of its base: every look-up answers for the
/// base, too, and finds the base's types first.
pub struct Btf {
    bytes: Bytes,
    header: Header,
    base: Option<Arc<Btf>>,
    /// Offset of the first own string: the base's strings come before.
    first_string: u32,
    /// Id of the first own type; that of split BTF is known once the base's types have been counted.
    first_id: OnceLock<u32>,
    index: Index,
    tails: Tails,
    pub(crate) names: Names,
    pub(crate) pointer_bytes: OnceLock<u32>,
}

impl Btf {
    /// BTF that stands for itself, such as an object's or `/sys/kernel/btf/vmlinux`.
    ///
    /// Checks the header and nothing else: what is wrong with a type is told when the type is read.
    pub fn parse(bytes: Bytes) -> Result<Self> {
        Self::with_base(bytes, None)
    }

    /// BTF that continues `base`, such as `/sys/kernel/btf/MODULE` continues `/sys/kernel/btf/vmlinux`.
    pub fn parse_split(bytes: Bytes, base: Arc<Btf>) -> Result<Self> {
        Self::with_base(bytes, Some(base))
    }

    fn with_base(bytes: Bytes, base: Option<Arc<Btf>>) -> Result<Self> {
        let data = (*bytes).as_ref();
        let header = Header::parse(data)?;
        let strings = &data[header.strings.clone()];
        if strings.last().is_some_and(|&last| last != 0) {
            return Err(Error::malformed("the string section does not end with NUL"));
        }
        if base.is_none() && strings.first().is_some_and(|&first| first != 0) {
            return Err(Error::malformed(
                "the string section does not begin with the empty string: is this split BTF?",
            ));
        }
        let tails = match &base {
            // Split BTF shares the layout section of its base.
            Some(base) if header.layout.is_empty() => base.tails.clone(),
            _ => Tails::with_layout(&data[header.layout.clone()]),
        };
        Ok(Self {
            tails,
            names: Names::default(),
            index: Index::new(header.types.len()),
            first_string: base.as_ref().map_or(0, |base| base.strings_end()),
            first_id: base.as_ref().map_or_else(|| OnceLock::from(1), |_| OnceLock::new()),
            pointer_bytes: OnceLock::new(),
            bytes,
            header,
            base,
        })
    }

    /// The order of the bytes it was read from.
    pub fn byte_order(&self) -> ByteOrder {
        self.header.order
    }

    /// What this BTF continues.
    pub fn base(&self) -> Option<&Arc<Btf>> {
        self.base.as_ref()
    }

    /// The bytes it was read from.
    pub fn bytes(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }

    /// Id of the first type that is not the base's.
    pub fn first_id(&self) -> TypeId {
        TypeId(*self.first_id.get_or_init(|| self.base.as_ref().map_or(1, |base| base.len() as u32)))
    }

    /// How many type ids there are, counting 0 (`void`) and those of the base. Walks over all types the first time.
    ///
    /// A malformed type ends the count; [`Btf::types`] tells which.
    pub fn len(&self) -> usize {
        self.first_id().0 as usize + self.index.count(self.type_bytes()).0
    }

    /// Is there no type but `void`?
    pub fn is_empty(&self) -> bool {
        self.len() == 1
    }

    /// The type with that id.
    pub fn type_by_id(&self, id: TypeId) -> Result<Type<'_>> {
        match self.locate(id)? {
            Some((owner, record, end)) => Type::read(owner, id, record, end),
            None => Ok(Type::VOID),
        }
    }

    /// What the type with that id is, without its name.
    pub fn shape_by_id(&self, id: TypeId) -> Result<Shape<'_>> {
        match self.locate(id)? {
            Some((owner, record, end)) => Shape::read(owner, owner.type_bytes(), id, record, end),
            None => Ok(Shape::Void),
        }
    }

    /// The record of a type, the offset after it, and which BTF of the chain they are in; `None` for `void`.
    fn locate(&self, id: TypeId) -> Result<Option<(&Self, Record, usize)>> {
        if id == TypeId::VOID {
            return Ok(None);
        }
        if let Some(base) = self.base().filter(|_| id < self.first_id()) {
            return base.locate(id);
        }
        let nth = (id.0 - self.first_id().0) as usize;
        match self.index.record(self.type_bytes(), nth) {
            Ok(Some((record, end))) => Ok(Some((self, record, end))),
            Ok(None) => Err(Error::no_type(id, self.len())),
            Err(error) => Err(error.at(format_args!("type {id}"))),
        }
    }

    /// The name of the type with that id; empty if it has none.
    pub fn name(&self, id: TypeId) -> Result<&str> {
        Ok(self.type_by_id(id)?.name)
    }

    /// All types in the order of their ids: the base's, then its own, without `void`. Ends after the first error.
    pub fn types(&self) -> impl Iterator<Item = Result<Type<'_>>> {
        self.types_from(TypeId(1))
    }

    /// The types from that id on. Ends after the first error.
    pub fn types_from(&self, first: TypeId) -> impl Iterator<Item = Result<Type<'_>>> {
        Types { btf: self, id: first, next: None, done: false, nameless: None }
    }

    /// All types as [`Btf::types`] gives them, those of one kind without their names: reading them takes most of the time.
    pub(crate) fn types_without_names_of(&self, kind: Kind) -> impl Iterator<Item = Result<Type<'_>>> {
        Types { btf: self, id: TypeId(1), next: None, done: false, nameless: Some(kind.code()) }
    }

    /// The first type with that name and kind, in the base or here.
    pub fn find(&self, name: &str, kind: Kind) -> Option<TypeId> {
        self.base().and_then(|base| base.find(name, kind)).or_else(|| self.find_own(name, kind))
    }

    /// The first type with that name and kind that is not the base's.
    pub fn find_own(&self, name: &str, kind: Kind) -> Option<TypeId> {
        self.named(name, Sort::of(kind), &mut first_of(kind))
    }

    /// All types with that name, of any kind, in the order of their ids.
    pub fn find_all(&self, name: &str) -> Vec<TypeId> {
        let mut found = Vec::new();
        self.scan::<()>(&NameOffsets::of(self, name), &mut |id, _| {
            found.push(id);
            ControlFlow::Continue(())
        });
        found
    }

    /// Shows the types whose names stand at one of `names`, the base's first, until `visit` breaks with a value.
    pub(crate) fn scan<B>(
        &self,
        names: &NameOffsets,
        visit: &mut impl FnMut(TypeId, Record) -> ControlFlow<B>,
    ) -> Option<B> {
        let in_base = self.base().and_then(|base| base.scan(names, visit));
        in_base.or_else(|| self.scan_own(names, visit))
    }

    /// Shows the types whose names stand at one of `names`, without those of the base.
    pub(crate) fn scan_own<B>(
        &self,
        names: &NameOffsets,
        visit: &mut impl FnMut(TypeId, Record) -> ControlFlow<B>,
    ) -> Option<B> {
        if names.is_empty() {
            return None;
        }
        self.walk_own(&mut |id, record| match names.contains(record.name_off) {
            true => visit(id, record),
            false => ControlFlow::Continue(()),
        })
    }

    /// Shows all types but those of the base.
    pub(crate) fn walk_own<B>(&self, visit: &mut impl FnMut(TypeId, Record) -> ControlFlow<B>) -> Option<B> {
        let first = self.first_id().0;
        self.index.walk(self.type_bytes(), |nth, record| visit(TypeId(first + nth as u32), record))
    }

    /// The `nth` of the own types, counted from 0.
    pub(crate) fn own_record(&self, nth: usize) -> Option<Record> {
        self.index.record(self.type_bytes(), nth).ok().flatten().map(|(record, _)| record)
    }

    pub(crate) fn first_string(&self) -> u32 {
        self.first_string
    }

    pub(crate) fn string_section(&self) -> &[u8] {
        self.bytes().get(self.header.strings.clone()).unwrap_or_default()
    }

    pub(crate) fn type_bytes(&self) -> TypeBytes<'_> {
        let bytes = self.bytes().get(self.header.types.clone()).unwrap_or_default();
        TypeBytes { bytes, order: self.header.order, tails: &self.tails }
    }
}

/// Stops at the first type of a kind.
fn first_of(kind: Kind) -> impl FnMut(TypeId, Record) -> ControlFlow<TypeId> {
    let code = kind.code();
    move |id, record| {
        if record.kind_code() == code { ControlFlow::Break(id) } else { ControlFlow::Continue(()) }
    }
}

impl fmt::Debug for Btf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Btf").field("header", &self.header).field("base", &self.base).finish_non_exhaustive()
    }
}

/// The iterator behind [`Btf::types`].
struct Types<'a> {
    btf: &'a Btf,
    id: TypeId,
    /// Which BTF of the chain the last type was in, that one's types, and the offset after it.
    next: Option<(&'a Btf, TypeBytes<'a>, usize)>,
    done: bool,
    /// Number of a kind whose names are left out.
    nameless: Option<u8>,
}

impl<'a> Types<'a> {
    /// The next type: the record after the last one, or, where another BTF of the chain begins, looked up by id.
    fn advance(&mut self) -> Result<Option<Type<'a>>> {
        let (owner, section, record, end) = match self.next {
            Some((owner, section, off)) if off < section.bytes.len() => {
                let found = section.record(off);
                let (record, end) = found.map_err(|e| e.at(format_args!("type {}", self.id)))?;
                (owner, section, record, end)
            }
            _ => match self.start()? {
                Some((owner, record, end)) => (owner, owner.type_bytes(), record, end),
                None => return Ok(None),
            },
        };
        self.next = Some((owner, section, end));
        let shape = Shape::read(owner, section, self.id, record, end)?;
        let name = match self.nameless == Some(record.kind_code()) {
            true => "",
            false => Type::read_name(owner, self.id, record)?,
        };
        let ty = Type { id: self.id, name, shape };
        self.id.0 += 1;
        Ok(Some(ty))
    }

    fn start(&self) -> Result<Option<(&'a Btf, Record, usize)>> {
        let mut owner = self.btf;
        while let Some(base) = owner.base().filter(|_| self.id < owner.first_id()) {
            owner = base;
        }
        let nth = self.id.0.saturating_sub(owner.first_id().0) as usize;
        let found = owner
            .index
            .record(owner.type_bytes(), nth)
            .map_err(|e| e.at(format_args!("type {}", self.id)))?;
        Ok(found.map(|(record, end)| (owner, record, end)))
    }
}

impl<'a> Iterator for Types<'a> {
    type Item = Result<Type<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.advance().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}
