//! C declarations → BTF.
//!
//! Many objects have lost the type of the records that they send, because only the header knows it. This module
//! takes declarations as C text — a header file, or a type written on a command line — and gives a [`Btf`] of the
//! types in it, laid out as clang lays them out for BPF.
//!
//! What a C header may say, it may say here: structures and unions (nested, anonymous, with bit fields and flexible
//! arrays, packed and aligned), enumerations, typedefs, pointers, functions as types, arrays with constant
//! expressions, macros, conditions. Variables, functions and prototypes are passed over. Includes are asked from the
//! caller ([`parse_with`]); without them, the usual kernel types, such as `__u32` and `pid_t`, and constants, such as
//! `TASK_COMM_LEN`, are known nevertheless. There is no I/O, and no text makes this panic or run forever.
//!
//! ```
//! let declared = skep_btf::cdecl::parse("struct event { u32 pid; char comm[TASK_COMM_LEN]; }")?;
//! let event = declared.find("struct event").expect("it was declared");
//! assert_eq!(declared.btf.size_of(event).unwrap(), 20);
//! # Ok::<(), skep_btf::cdecl::Error>(())
//! ```

mod attribute;
mod declarator;
mod emit;
mod error;
mod expr;
mod layout;
mod macros;
mod object;
mod parser;
mod prelude;
mod preprocess;
mod record;
mod specifier;
mod token;
mod types;

use std::collections::HashMap;

pub use error::Error;

use crate::{Btf, Kind, TypeId};
use macros::Macros;
use parser::Parser;
use preprocess::Include;
use types::Ty;

/// The types and constants of a text.
#[derive(Debug)]
pub struct Declarations {
    /// All declared types, and those they are made of.
    pub btf: Btf,
    /// Types that the text itself defines at its top, in order; those of included files are among them.
    pub declared: Vec<TypeId>,
    /// Macros that are constants, in the order of their definition.
    pub constants: Vec<(String, Constant)>,
    /// Declarations that could not be read and were passed over.
    pub errors: Vec<Error>,
    /// Names of includes that the caller had no text for.
    pub missing_includes: Vec<String>,
}

/// The value of a macro.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Constant {
    /// An integer: an `i64` or a `u64`.
    Int(i128),
    /// A string.
    Str(String),
}

/// Reads declarations, without any include. The first declaration that cannot be read is an error.
pub fn parse(text: &str) -> Result<Declarations, Error> {
    let declarations = parse_with(text, &mut |_| None)?;
    match declarations.errors.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(Declarations { errors: Vec::new(), ..declarations }),
    }
}

/// Reads declarations; `include` gives the text of an included file by the name in the `#include`.
///
/// Declarations that cannot be read are passed over and told in [`Declarations::errors`]: a header is still good for
/// the types that could be read. An error of this function is one of the text as a whole, such as an `#if` without
/// its `#endif`.
pub fn parse_with(
    text: &str,
    include: &mut dyn FnMut(&str) -> Option<String>,
) -> Result<Declarations, Error> {
    let include: &mut Include<'_> = include;
    let unit = preprocess::preprocess(text, include)?;
    let mut parser = Parser::new(unit.tokens);
    let errors = parser.unit();
    let constants = constants(&mut parser, unit.macros);
    let (btf, ids) = build(&mut parser)?;
    let declared = parser.declared.iter().filter_map(|ty| ids.get(ty).copied()).collect();
    Ok(Declarations { btf, declared, constants, errors, missing_includes: unit.missing_includes })
}

impl Declarations {
    /// The type of that name: `event`, `struct event`, `union u`, `enum e` or the name of a typedef.
    pub fn find(&self, name: &str) -> Option<TypeId> {
        let words: Vec<&str> = name.split_whitespace().collect();
        let kinds: &[Kind] = match words.as_slice() {
            ["struct", _] => &[Kind::Struct],
            ["union", _] => &[Kind::Union],
            ["enum", _] => &[Kind::Enum, Kind::Enum64],
            [_] => &[Kind::Struct, Kind::Union, Kind::Typedef, Kind::Enum, Kind::Enum64],
            _ => return None,
        };
        let name = words.last()?;
        kinds.iter().find_map(|kind| self.btf.find(name, *kind))
    }

    /// The type that a text given for one record means: `struct event` if there is one, otherwise the last structure,
    /// union or typedef that is declared.
    pub fn main_type(&self) -> Option<TypeId> {
        let is_record = |id: &&TypeId| {
            let ty = self.btf.resolve(**id);
            ty.is_ok_and(|ty| ty.kind().is_composite())
        };
        self.btf
            .find("event", Kind::Struct)
            .or_else(|| self.declared.iter().rev().find(is_record).copied())
            .or_else(|| self.declared.last().copied())
    }

    /// The value of a macro, or of an enumerator.
    pub fn constant(&self, name: &str) -> Option<Constant> {
        let found = self.constants.iter().rev().find(|(n, _)| n == name);
        found.map(|(_, value)| value.clone()).or_else(|| {
            let mut enums = self.btf.types().filter_map(|ty| ty.ok()?.enumeration());
            let value =
                enums.find_map(|e| e.values.iter().filter_map(Result::ok).find(|v| v.name == name))?;
            Some(Constant::Int(value.value))
        })
    }
}

fn build(parser: &mut Parser) -> Result<(Btf, HashMap<Ty, TypeId>), Error> {
    let roots = std::mem::take(&mut parser.declared);
    let (ids, builder) = emit::emit(&mut parser.types, &roots);
    parser.declared = roots;
    let btf = builder.finish_btf(None);
    let btf =
        btf.map_err(|error| Error::at(parser.peek(), format!("these types do not fit into BTF: {error}")))?;
    Ok((btf, ids))
}

/// The macros whose bodies are a constant expression or a string.
fn constants(parser: &mut Parser, mut macros: Macros) -> Vec<(String, Constant)> {
    let objects: Vec<macros::Macro> =
        macros.objects().filter(|m| !preprocess::is_predefined(m)).cloned().collect();
    let mut constants = Vec::new();
    for object in objects {
        let mut body = Vec::new();
        if object.body.is_empty() || macros.expand(&object.body, &mut body).is_err() {
            continue;
        }
        let string = match body.as_slice() {
            [token] => expr::string(&token.text).map(Constant::Str),
            _ => None,
        };
        let value = string.or_else(|| parser.whole_constant(body).map(|v| Constant::Int(v.get())));
        constants.extend(value.map(|value| (object.name.text.to_string(), value)));
    }
    constants
}
