//! What stands before the name in a declaration: the type it starts from.

use std::rc::Rc;

use super::attribute::Attributes;
use super::error::Error;
use super::parser::Parser;
use super::prelude;
use super::token::Token;
use super::types::{Node, Ty};

/// The words that name arithmetic types, alone or together.
const BASIC_WORDS: &[&str] = &[
    "void",
    "char",
    "short",
    "int",
    "long",
    "float",
    "double",
    "signed",
    "__signed",
    "__signed__",
    "unsigned",
    "_Bool",
    "__int128",
];

const QUALIFIERS: &[&str] = &[
    "const",
    "__const",
    "__const__",
    "volatile",
    "__volatile",
    "__volatile__",
    "restrict",
    "__restrict",
    "__restrict__",
    "_Atomic",
];

/// The part of a declaration that all its declarators share.
#[derive(Debug)]
pub(super) struct Specifiers {
    pub(super) ty: Ty,
    pub(super) attributes: Attributes,
    /// Whether a structure, union or enumeration was defined on the way.
    pub(super) defines: bool,
}

#[derive(Debug, Default)]
pub(super) struct Qualifiers {
    is_const: bool,
    is_volatile: bool,
    is_restrict: bool,
}

impl Parser {
    /// Whether a type stands here, as in a cast.
    pub(super) fn starts_type(&mut self) -> bool {
        let token = self.peek().clone();
        let word = &*token.text;
        token.is_word()
            && (BASIC_WORDS.contains(&word)
                || QUALIFIERS.contains(&word)
                || matches!(word, "struct" | "union" | "enum" | "typeof" | "__typeof__" | "__attribute__")
                || self.find_typedef(&token).is_some())
    }

    /// Reads everything up to the declarator.
    pub(super) fn specifiers(&mut self) -> Result<Specifiers, Error> {
        let mut qualifiers = Qualifiers::default();
        let mut attributes = Attributes::default();
        let mut words: Vec<Token> = Vec::new();
        let mut other: Option<(Ty, bool)> = None;
        loop {
            let token = self.peek().clone();
            let word = &*token.text;
            if self.qualifier(&mut qualifiers) || self.attribute(&mut attributes)? {
                continue;
            } else if is_storage_class(word) {
                self.bump();
            } else if BASIC_WORDS.contains(&word) && other.is_none() {
                words.push(self.next());
            } else if other.is_some() || !words.is_empty() {
                break;
            } else {
                other = Some(self.single_specifier(&token)?);
            }
        }
        let (ty, defines) = match other {
            Some(found) => found,
            None => (self.basic(&words)?, false),
        };
        Ok(Specifiers { ty: self.qualify(ty, &qualifiers), attributes, defines })
    }

    /// A type that is one word or one construct.
    fn single_specifier(&mut self, token: &Token) -> Result<(Ty, bool), Error> {
        match &*token.text {
            "struct" | "union" => self.nested(Parser::record),
            "enum" => self.nested(Parser::enumeration),
            "typeof" | "__typeof__" | "__typeof" => {
                self.bump();
                self.expect("(", "`(` after `typeof`")?;
                let ty = self.nested(Parser::type_name)?;
                self.expect(")", "`)` after the type")?;
                Ok((ty, false))
            }
            "__builtin_va_list" | "__gnuc_va_list" | "va_list" => {
                self.bump();
                Ok((self.va_list(), false))
            }
            _ => match self.find_typedef(token) {
                Some(ty) => {
                    self.bump();
                    Ok((ty, false))
                }
                None => Err(self.unknown_type(token)),
            },
        }
    }

    fn unknown_type(&self, token: &Token) -> Error {
        if !token.is_word() {
            return Error::expected("a type", token);
        }
        let name = &*token.text;
        if self.tags.contains_key(name) {
            let hint =
                format!("`{name}` is the tag of a `struct`, `union` or `enum`: write that word before it");
            return Error::at(token, hint);
        }
        let declared = self.typedefs.keys().map(|name| &**name).filter(|known| near(known, name)).min();
        let hint = match declared.or_else(|| prelude::typedef_names().find(|known| near(known, name))) {
            Some(similar) => format!(" (did you mean `{similar}`?)"),
            None => String::new(),
        };
        Error::at(token, format!("unknown type `{name}`{hint}"))
    }

    /// Takes a qualifier, if one stands here.
    pub(super) fn qualifier(&mut self, found: &mut Qualifiers) -> bool {
        let flag = match self.peek().text.trim_matches('_') {
            _ if !QUALIFIERS.contains(&&*self.peek().text) => return false,
            "const" => &mut found.is_const,
            "volatile" => &mut found.is_volatile,
            "restrict" => &mut found.is_restrict,
            // `_Atomic` changes no layout of a type that BPF can handle atomically.
            _ => &mut false,
        };
        *flag = true;
        self.bump();
        true
    }

    pub(super) fn qualify(&mut self, mut ty: Ty, qualifiers: &Qualifiers) -> Ty {
        if qualifiers.is_volatile {
            ty = self.types.qualified(Node::Volatile(ty));
        }
        if qualifiers.is_const {
            ty = self.types.qualified(Node::Const(ty));
        }
        if qualifiers.is_restrict {
            ty = self.types.qualified(Node::Restrict(ty));
        }
        ty
    }

    /// The type that words such as `long unsigned int` name, in whatever order.
    fn basic(&mut self, words: &[Token]) -> Result<Ty, Error> {
        let Some(last) = words.last() else { return Err(Error::expected("a type", self.peek())) };
        let count = |word: &str| words.iter().filter(|t| &*t.text == word).count();
        let unsigned = count("unsigned");
        let signed = count("signed") + count("__signed") + count("__signed__");
        let base: Vec<&str> = BASIC_WORDS
            .iter()
            .copied()
            .filter(|w| !w.ends_with("signed") && *w != "__signed__" && count(w) > 0)
            .collect();
        if unsigned + signed <= 1 {
            let size_words = (count("long"), unsigned == 1, signed == 1);
            if let Some(ty) = self.basic_type(&base, size_words) {
                return Ok(ty);
            }
        }
        let all: Vec<&str> = words.iter().map(|t| &*t.text).collect();
        Err(Error::at(last, format!("`{}` is not a type", all.join(" "))))
    }

    fn basic_type(&mut self, base: &[&str], (longs, unsigned, signed): (usize, bool, bool)) -> Option<Ty> {
        let plain = !unsigned && !signed;
        Some(match (base, longs) {
            (["void"], 0) if plain => Ty::VOID,
            (["_Bool"], 0) if plain => self.types.int("_Bool", 1, false),
            (["float"], 0) if plain => self.types.float("float", 4),
            (["double"], 0) if plain => self.types.float("double", 8),
            // BPF has no wider floating-point type.
            (["long", "double"], 1) if plain => self.types.float("long double", 8),
            (["char"], 0) if plain => self.types.int("char", 1, true),
            (["char"], 0) => self.int_of(1, signed),
            (["short"] | ["short", "int"], 0) => self.int_of(2, !unsigned),
            ([] | ["int"], 0) => self.int_of(4, !unsigned),
            (["long"] | ["int", "long"], 1) => self.int_of(8, !unsigned),
            (["long"] | ["int", "long"], 2) if unsigned => self.types.int("unsigned long long", 8, false),
            (["long"] | ["int", "long"], 2) => self.types.int("long long", 8, true),
            (["__int128"], 0) => self.int_of(16, !unsigned),
            _ => return None,
        })
    }

    /// The integer of that size, by the name clang gives it in BTF.
    pub(super) fn int_of(&mut self, bytes: u64, signed: bool) -> Ty {
        let name = match (bytes, signed) {
            (1, true) => "signed char",
            (1, false) => "unsigned char",
            (2, true) => "short",
            (2, false) => "unsigned short",
            (4, true) => "int",
            (4, false) => "unsigned int",
            (8, true) => "long",
            (8, false) => "unsigned long",
            (_, true) => "__int128",
            (_, false) => "unsigned __int128",
        };
        self.types.int(name, bytes, signed)
    }

    /// On BPF a list of variable arguments is a pointer.
    fn va_list(&mut self) -> Ty {
        let pointer = self.types.pointer(Ty::VOID);
        self.types.typedef(Rc::from("__builtin_va_list"), pointer, 0)
    }
}

fn is_storage_class(word: &str) -> bool {
    matches!(
        word,
        "typedef"
            | "extern"
            | "static"
            | "inline"
            | "__inline"
            | "__inline__"
            | "register"
            | "auto"
            | "_Noreturn"
            | "_Thread_local"
            | "__thread"
    )
}

/// Whether one name is the other with one character added, dropped or replaced.
pub(super) fn near(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len().abs_diff(b.len()) > 1 || a.len().max(b.len()) < 3 {
        return false;
    }
    let front = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let back = a[front..].iter().rev().zip(b[front..].iter().rev()).take_while(|(x, y)| x == y).count();
    a.len().max(b.len()) - front - back <= 1
}
