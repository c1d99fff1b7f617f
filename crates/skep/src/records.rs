//! Which type the records of a buffer have.
//!
//! A record carries no type. It is named by the caller (`--event`), by the map's definition, or by convention: the
//! object's own `struct event`, or the only type in it whose name says that it is one. A record that is shorter than the
//! type so found is not of that type; [`RecordType::fits`] says so, and the caller prints bytes instead.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use skep_btf::cdecl::{self, Declarations};
use skep_btf::{Btf, Kind, Type, TypeId};

use crate::{Error, Result};

/// A type, with the types it refers to.
#[derive(Clone, Debug)]
pub struct RecordType {
    /// Where it is defined.
    pub btf: Arc<Btf>,
    /// Its number there.
    pub id: TypeId,
    /// Bytes, up to a flexible array at its end.
    pub bytes: usize,
}

impl RecordType {
    fn new(btf: &Arc<Btf>, id: TypeId) -> Result<Self> {
        let bytes = usize::try_from(btf.size_of(id)?).unwrap_or(usize::MAX);
        Ok(Self { btf: Arc::clone(btf), id, bytes })
    }

    /// Can a record of this length be of this type? Perf records are padded, and a program may send a prefix of a
    /// structure that ends in a string.
    pub fn fits(&self, record_bytes: usize) -> bool {
        record_bytes >= self.bytes || self.ends_in_text_after(record_bytes)
    }

    /// Is everything before the structure's last member, an array, within the record?
    fn ends_in_text_after(&self, record_bytes: usize) -> bool {
        let last_array = || -> Option<usize> {
            let members = self.btf.resolve(self.id).ok()?.composite()?.members;
            let last = members.get(members.len().checked_sub(1)?).ok()?;
            let is_array = self.btf.resolve(last.ty).ok()?.kind() == Kind::Array;
            is_array.then_some((last.bit_offset / 8) as usize)
        };
        last_array().is_some_and(|offset| record_bytes >= offset)
    }
}

/// What the caller says about record types: one `--event` argument.
#[derive(Clone, Debug)]
pub struct EventSpec {
    /// The map it is for; `None`: for all that nothing else is said of.
    map: Option<String>,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    /// A name in the object's BTF.
    Name(String),
    /// Declared in C.
    Declared(RecordType),
}

impl EventSpec {
    /// Reads `TYPE`, C text, `HEADER`, or `HEADER:TYPE`, each with `@MAP` at its end where it is for one map only.
    pub fn parse(text: &str) -> Result<Self> {
        let (what, map) = split_map(text);
        let source = if what.contains(['{', ';']) {
            Source::Declared(declared_by_text(what)?)
        } else if let Some((path, wanted)) = header_path(what) {
            Source::Declared(declared_by_header(path, wanted)?)
        } else {
            Source::Name(what.trim().to_owned())
        };
        Ok(Self { map, source })
    }
}

/// Splits `@MAP` off the end; C text holds no `@`.
fn split_map(text: &str) -> (&str, Option<String>) {
    match text.rsplit_once('@') {
        Some((what, map)) if !map.is_empty() && !map.contains(['/', '}', ';', ' ']) => {
            (what, Some(map.to_owned()))
        }
        _ => (text, None),
    }
}

/// Is it a file, perhaps with `:TYPE` behind it?
fn header_path(text: &str) -> Option<(&Path, Option<&str>)> {
    let looks_like_file =
        |path: &str| path.contains('/') || path.ends_with(".h") || Path::new(path).is_file();
    match text.rsplit_once(':') {
        Some((path, wanted)) if looks_like_file(path) => Some((Path::new(path), Some(wanted))),
        _ => looks_like_file(text).then(|| (Path::new(text), None)),
    }
}

/// C text of the caller's: what it declares must be readable as a whole.
fn declared_by_text(text: &str) -> Result<RecordType> {
    let declarations = cdecl::parse(text).map_err(|e| {
        Error::usage(format!("`--event`: {e}"), "give C declarations, such as `struct event { int pid; };`")
    })?;
    pick("`--event`", declarations, None)
}

/// A header: what cannot be read is passed over, unless it is the type that is wanted.
fn declared_by_header(path: &Path, wanted: Option<&str>) -> Result<RecordType> {
    let text = fs::read_to_string(path).map_err(|e| Error::file(path, e))?;
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut include = |name: &str| fs::read_to_string(directory.join(name)).ok();
    let origin = format!("`{}`", path.display());
    let declarations = cdecl::parse_with(&text, &mut include)
        .map_err(|e| Error::usage(format!("{origin}: {e}"), "give a header of C declarations"))?;
    pick(&origin, declarations, wanted)
}

/// The type that is wanted, or the one that the declarations as a whole mean.
fn pick(origin: &str, declarations: Declarations, wanted: Option<&str>) -> Result<RecordType> {
    let id = match wanted {
        Some(name) => declarations.find(name),
        None => declarations.main_type(),
    };
    let Some(id) = id else {
        let what = wanted.map_or("no type of records".to_owned(), |name| format!("no type `{name}`"));
        let hint = match declarations.errors.first() {
            Some(error) => format!("a declaration was passed over: {error}"),
            None => known_types(&declarations.btf),
        };
        return Err(Error::usage(format!("{origin} declares {what}"), hint));
    };
    RecordType::new(&Arc::new(declarations.btf), id)
}

/// The type of the records of `map`: what the caller said, else what the map or the object says.
pub fn record_type(
    map: &str,
    value_type: TypeId,
    object: Option<&Arc<Btf>>,
    specs: &[EventSpec],
) -> Result<Option<RecordType>> {
    let said = specs
        .iter()
        .find(|spec| spec.map.as_deref() == Some(map))
        .or_else(|| specs.iter().find(|spec| spec.map.is_none()));
    match (said.map(|spec| &spec.source), object) {
        (Some(Source::Declared(declared)), _) => Ok(Some(declared.clone())),
        (Some(Source::Name(name)), Some(btf)) => match find_named(btf, name) {
            Some(id) => RecordType::new(btf, id).map(Some),
            None => Err(Error::usage(
                format!("the object's BTF has no type `{name}`"),
                format!("give its declaration: `--event '{} {{ … }}'`, or a header file", as_struct(name)),
            )),
        },
        (Some(Source::Name(name)), None) => Err(Error::usage(
            format!("the object has no BTF in which to look for `{name}`"),
            format!("give its declaration: `--event '{} {{ … }}'`, or a header file", as_struct(name)),
        )),
        (None, Some(btf)) => {
            let by_map = is_record(btf, value_type).then_some(value_type);
            by_map.or_else(|| by_convention(btf)).map(|id| RecordType::new(btf, id)).transpose()
        }
        (None, None) => Ok(None),
    }
}

/// `NAME`, `struct NAME`, `union NAME`, or a typedef's name.
fn find_named(btf: &Btf, name: &str) -> Option<TypeId> {
    let name = name.trim();
    let bare = name.strip_prefix("struct ").or_else(|| name.strip_prefix("union ")).unwrap_or(name).trim();
    [Kind::Struct, Kind::Union, Kind::Typedef, Kind::Int, Kind::Enum, Kind::Enum64]
        .into_iter()
        .find_map(|kind| btf.find(bare, kind))
}

/// `struct event`, or the only structure whose name says that it is an event.
fn by_convention(btf: &Btf) -> Option<TypeId> {
    let exact = [Kind::Struct, Kind::Typedef].into_iter().find_map(|kind| btf.find("event", kind));
    exact.or_else(|| only(btf, |name| name == "event_t" || name == "data_t" || name.ends_with("_event")))
}

/// The one structure (or typedef of an unnamed one) whose name passes.
fn only(btf: &Btf, passes: impl Fn(&str) -> bool) -> Option<TypeId> {
    let mut found = record_types(btf).filter(|ty| passes(ty.name)).map(|ty| ty.id);
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// Named structures and unions, and typedefs of unnamed ones.
fn record_types(btf: &Btf) -> impl Iterator<Item = Type<'_>> {
    btf.types().filter_map(Result::ok).filter(|ty| {
        !ty.name.is_empty()
            && match ty.kind() {
                Kind::Struct | Kind::Union => true,
                Kind::Typedef => {
                    btf.resolve(ty.id).is_ok_and(|to| to.name.is_empty() && to.composite().is_some())
                }
                _ => false,
            }
    })
}

fn is_record(btf: &Btf, id: TypeId) -> bool {
    id != TypeId::VOID && btf.resolve(id).is_ok_and(|ty| ty.composite().is_some())
}

fn known_types(btf: &Btf) -> String {
    let names: Vec<String> = record_types(btf).take(12).map(|ty| format!("`{}`", ty.name)).collect();
    if names.is_empty() {
        "it declares no structure".to_owned()
    } else {
        format!("it declares {}", names.join(", "))
    }
}

fn as_struct(name: &str) -> String {
    if name.contains(' ') { name.to_owned() } else { format!("struct {name}") }
}
