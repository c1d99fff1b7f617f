//! Directives: text → the tokens that count, and the macros it defined.
//!
//! An `#include` asks the caller for the text and is passed over if there is none: the usual types of the headers
//! that a BPF program includes are known anyway (see `prelude`).

use std::collections::HashSet;
use std::rc::Rc;

use super::error::Error;
use super::macros::{Macro, Macros};
use super::parser::Parser;
use super::token::{Kind, Place, Token, tokenize};

/// How deep includes may nest, and how many there may be.
const MAX_INCLUDE_DEPTH: usize = 32;
const MAX_INCLUDES: usize = 4096;

/// What the compiler of a BPF object defines and headers ask for.
const PREDEFINED: &str = "
#define __STDC__ 1
#define __STDC_VERSION__ 201112L
#define __bpf__ 1
#define __BPF__ 1
#define __TARGET_ARCH_x86 1
#define __LP64__ 1
#define _LP64 1
#define __CHAR_BIT__ 8
#define __SIZEOF_INT__ 4
#define __SIZEOF_LONG__ 8
#define __SIZEOF_POINTER__ 8
#define __SIZEOF_INT128__ 16
#define __ORDER_LITTLE_ENDIAN__ 1234
#define __ORDER_BIG_ENDIAN__ 4321
#define __BYTE_ORDER__ 1234
#define __LITTLE_ENDIAN_BITFIELD 1
";

/// The file that [`PREDEFINED`] claims to be.
const PREDEFINED_FILE: &str = "<predefined>";

/// Gives the text of an included file by the name in the directive.
pub(super) type Include<'a> = dyn FnMut(&str) -> Option<String> + 'a;

/// A text after preprocessing.
pub(super) struct Unit {
    pub(super) tokens: Vec<Token>,
    pub(super) macros: Macros,
    /// Names of includes that nobody had a text for.
    pub(super) missing_includes: Vec<String>,
}

pub(super) fn preprocess(text: &str, include: &mut Include<'_>) -> Result<Unit, Error> {
    let mut preprocessor = Preprocessor::new(include);
    preprocessor.text(PREDEFINED, Some(PREDEFINED_FILE))?;
    preprocessor.text(text, None)?;
    Ok(preprocessor.unit)
}

/// Whether a macro comes from no text of the caller.
pub(super) fn is_predefined(definition: &Macro) -> bool {
    definition.name.place.file.as_deref() == Some(PREDEFINED_FILE)
}

struct Preprocessor<'a, 'i> {
    include: &'a mut Include<'i>,
    unit: Unit,
    /// Open `#if`s, the innermost last.
    conditions: Vec<Condition>,
    /// Files that said `#pragma once`.
    once: HashSet<Rc<str>>,
    include_depth: usize,
    includes: usize,
}

struct Condition {
    opened_by: Token,
    /// Whether the lines here count.
    active: bool,
    /// Whether a branch was taken already, or none may be.
    decided: bool,
}

impl<'a, 'i> Preprocessor<'a, 'i> {
    fn new(include: &'a mut Include<'i>) -> Self {
        let unit = Unit { tokens: Vec::new(), macros: Macros::default(), missing_includes: Vec::new() };
        let (conditions, once) = (Vec::new(), HashSet::new());
        Preprocessor { include, unit, conditions, once, include_depth: 0, includes: 0 }
    }

    /// One file: its directives, and between them runs of ordinary tokens.
    fn text(&mut self, text: &str, file: Option<&str>) -> Result<(), Error> {
        let tokens = tokenize(text, file)?;
        let outer_conditions = std::mem::take(&mut self.conditions);
        let mut rest = tokens.as_slice();
        while let Some(first) = rest.first() {
            let len = if is_directive(first) { line_len(rest) } else { run_len(rest) };
            let (run, after) = rest.split_at(len);
            if is_directive(first) {
                self.directive(&run[0], &run[1..])?;
            } else if self.active() {
                self.unit.macros.expand(run, &mut self.unit.tokens)?;
            }
            rest = after;
        }
        if let Some(open) = self.conditions.last() {
            return Err(Error::at(&open.opened_by, "this condition is not closed by `#endif`"));
        }
        self.conditions = outer_conditions;
        Ok(())
    }

    fn active(&self) -> bool {
        self.conditions.iter().all(|c| c.active)
    }

    fn directive(&mut self, hash: &Token, line: &[Token]) -> Result<(), Error> {
        let Some((name, rest)) = line.split_first() else { return Ok(()) };
        match &*name.text {
            "if" | "ifdef" | "ifndef" => self.open(name, rest),
            "elif" | "elifdef" | "elifndef" | "else" => self.next_branch(name, rest),
            "endif" => self.conditions.pop().map(drop).ok_or_else(|| unopened(name)),
            _ if !self.active() => Ok(()),
            "define" => Macro::parse(hash, rest).map(|definition| self.unit.macros.define(definition)),
            "undef" => {
                rest.iter().take(1).for_each(|name| self.unit.macros.undefine(&name.text));
                Ok(())
            }
            "include" | "include_next" | "import" => self.include(name, rest),
            "pragma" => {
                self.pragma(name, rest);
                Ok(())
            }
            "error" => Err(Error::at(name, format!("the text gives up here: {}", joined(rest)))),
            _ => Ok(()),
        }
    }

    fn open(&mut self, name: &Token, rest: &[Token]) -> Result<(), Error> {
        let possible = self.active();
        let active = possible && self.holds(name, rest)?;
        self.conditions.push(Condition { opened_by: name.clone(), active, decided: active || !possible });
        Ok(())
    }

    fn next_branch(&mut self, name: &Token, rest: &[Token]) -> Result<(), Error> {
        let Some(condition) = self.conditions.last_mut() else { return Err(unopened(name)) };
        condition.active = false;
        if !condition.decided {
            let holds = name.is("else") || self.holds(name, rest)?;
            let condition = self.conditions.last_mut().expect("invariant: the condition is still open");
            condition.active = holds;
            condition.decided = holds;
        }
        Ok(())
    }

    fn holds(&mut self, directive: &Token, rest: &[Token]) -> Result<bool, Error> {
        let defined = |name: Option<&Token>| match name {
            Some(name) if name.is_word() => Ok(self.unit.macros.is_defined(&name.text)),
            other => Err(Error::expected("the name of a macro", other.unwrap_or(directive))),
        };
        match &*directive.text {
            "ifdef" | "elifdef" => defined(rest.first()),
            "ifndef" | "elifndef" => defined(rest.first()).map(|yes| !yes),
            _ => {
                let tokens = self.without_defined(rest)?;
                let mut expanded = Vec::new();
                self.unit.macros.expand(&tokens, &mut expanded)?;
                Parser::condition(expanded, directive.place.clone())
            }
        }
    }

    /// Replaces `defined NAME` and `defined(NAME)` by 1 or 0, which has to happen before macros are expanded.
    fn without_defined(&self, line: &[Token]) -> Result<Vec<Token>, Error> {
        let mut result = Vec::new();
        let mut at = 0;
        while let Some(token) = line.get(at) {
            at += 1;
            if !token.is("defined") {
                result.push(token.clone());
                continue;
            }
            let parenthesized = line.get(at).is_some_and(|t| t.is("("));
            at += usize::from(parenthesized);
            let name = line.get(at).filter(|t| t.is_word());
            let name =
                name.ok_or_else(|| Error::expected("the name of a macro", line.get(at).unwrap_or(token)))?;
            at += 1 + usize::from(parenthesized);
            let text = if self.unit.macros.is_defined(&name.text) { "1" } else { "0" };
            result.push(Token { kind: Kind::Number, text: text.into(), ..token.clone() });
        }
        Ok(result)
    }

    fn include(&mut self, directive: &Token, rest: &[Token]) -> Result<(), Error> {
        let mut expanded = Vec::new();
        self.unit.macros.expand(rest, &mut expanded)?;
        let name = include_name(&expanded).ok_or_else(|| Error::expected("a file name", directive))?;
        if self.once.contains(name.as_str()) {
            return Ok(());
        }
        let Some(text) = (self.include)(&name) else {
            self.unit.missing_includes.push(name);
            return Ok(());
        };
        self.includes += 1;
        if self.include_depth >= MAX_INCLUDE_DEPTH || self.includes > MAX_INCLUDES {
            return Err(Error::at(directive, format!("includes go on without end at `{name}`")));
        }
        self.include_depth += 1;
        self.text(&text, Some(&name))?;
        self.include_depth -= 1;
        Ok(())
    }

    /// `#pragma pack` changes layouts, so the parser must see it in its place.
    fn pragma(&mut self, directive: &Token, rest: &[Token]) {
        match rest.first() {
            Some(what) if what.is("once") => self.once.extend(directive.place.file.clone()),
            Some(what) if what.is("pack") => {
                let text = joined(&rest[1..]).into();
                self.unit.tokens.push(Token { kind: Kind::Pragma, text, ..directive.clone() });
            }
            _ => {}
        }
    }
}

fn is_directive(token: &Token) -> bool {
    token.first_in_line && token.is("#")
}

/// Number of tokens up to the end of the first token's line.
fn line_len(tokens: &[Token]) -> usize {
    tokens.iter().skip(1).position(|t| t.first_in_line).map_or(tokens.len(), |at| at + 1)
}

/// Number of tokens up to the next directive.
fn run_len(tokens: &[Token]) -> usize {
    tokens.iter().position(is_directive).unwrap_or(tokens.len())
}

fn include_name(line: &[Token]) -> Option<String> {
    let first = line.first()?;
    if first.kind == Kind::Str {
        return Some(first.text.trim_matches('"').to_owned());
    }
    let end = line.iter().position(|t| t.is(">"))?;
    first.is("<").then(|| line[1..end].iter().map(|t| &*t.text).collect())
}

fn joined(tokens: &[Token]) -> String {
    tokens.iter().map(|t| &*t.text).collect::<Vec<_>>().join(" ")
}

fn unopened(directive: &Token) -> Error {
    Error::at(directive, format!("`#{}` without an `#if` before it", directive.text))
}

/// Where a text ends that has these tokens.
pub(super) fn end_place(tokens: &[Token]) -> Place {
    tokens.last().map(|t| t.place.clone()).unwrap_or(Place { file: None, line: 1, column: 1 })
}
