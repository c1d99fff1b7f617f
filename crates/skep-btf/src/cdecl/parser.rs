//! Tokens → the types they declare: the cursor, and the declarations at the top of a text.
//!
//! The grammar is in the neighbours: `specifier` (what stands before the name), `record` (bodies of structures,
//! unions and enumerations), `declarator` (what stands around the name), `attribute`, and `expr` with `object`
//! (constant expressions). Nesting is bounded, so that no text exhausts the stack.

use std::collections::HashMap;
use std::rc::Rc;

use super::error::Error;
use super::expr::Value;
use super::prelude;
use super::preprocess::end_place;
use super::token::{Kind, Place, Token, tokenize};
use super::types::{Node, Ty, Types};

/// How deep parentheses, structures and the like may nest.
const MAX_DEPTH: usize = 100;

pub(super) struct Parser {
    tokens: Vec<Token>,
    at: usize,
    end: Token,
    depth: usize,
    pub(super) types: Types,
    pub(super) typedefs: HashMap<Rc<str>, Ty>,
    /// Structures, unions and enumerations by tag.
    pub(super) tags: HashMap<Rc<str>, Ty>,
    /// Enumerators.
    pub(super) constants: HashMap<Rc<str>, Value>,
    /// Types that the text declares at its top, in order.
    pub(super) declared: Vec<Ty>,
    /// `#pragma pack`: the value in force is the last one.
    pub(super) pack: Vec<Option<u64>>,
    /// Reading the condition of an `#if`, where unknown names are 0.
    pub(super) in_condition: bool,
    /// Depth of operands whose value does not matter, such as the right one of `0 && x`.
    pub(super) unevaluated: usize,
}

impl Parser {
    pub(super) fn new(tokens: Vec<Token>) -> Parser {
        let end = Token::end(end_place(&tokens));
        Parser {
            tokens,
            at: 0,
            end,
            depth: 0,
            types: Types::new(),
            typedefs: HashMap::new(),
            tags: HashMap::new(),
            constants: HashMap::new(),
            declared: Vec::new(),
            pack: vec![None],
            in_condition: false,
            unevaluated: 0,
        }
    }

    /// Whether the condition of an `#if` holds.
    pub(super) fn condition(tokens: Vec<Token>, place: Place) -> Result<bool, Error> {
        let mut parser = Parser::new(tokens);
        parser.end = Token::end(place);
        parser.in_condition = true;
        let value = parser.constant()?;
        match parser.peek().kind {
            Kind::End => Ok(value.get() != 0),
            _ => Err(Error::expected("an operator", parser.peek())),
        }
    }

    /// The value of an expression that is all there is in `tokens`; the types that were read so far are known.
    pub(super) fn whole_constant(&mut self, tokens: Vec<Token>) -> Option<Value> {
        self.with_tokens(tokens, |parser| {
            let value = parser.constant().ok()?;
            (parser.peek().kind == Kind::End).then_some(value)
        })
    }

    /// Reads all declarations. One that cannot be read is passed over, and its error kept.
    pub(super) fn unit(&mut self) -> Vec<Error> {
        let mut errors = Vec::new();
        while self.peek().kind != Kind::End {
            let start = self.at;
            self.depth = 0;
            if let Err(error) = self.declaration() {
                errors.push(error);
                self.at = start;
                self.skip_declaration();
            }
        }
        errors
    }

    /// One declaration at the top of the text. Only types matter, so variables and functions are passed over.
    fn declaration(&mut self) -> Result<(), Error> {
        let start = self.at;
        while self.is_declaration_prefix() {
            self.bump();
        }
        match &*self.peek().text {
            _ if self.peek().kind == Kind::Pragma => self.pragma_pack(),
            ";" => {
                self.bump();
                Ok(())
            }
            "typedef" => {
                self.at = start;
                self.typedef()
            }
            "struct" | "union" | "enum" if self.declares_type() => self.tagged(),
            _ => {
                self.skip_declaration();
                Ok(())
            }
        }
    }

    /// `typedef int a, *b;`
    fn typedef(&mut self) -> Result<(), Error> {
        let spec = self.specifiers()?;
        loop {
            let declared = self.declarator(&spec)?;
            let name =
                declared.name.ok_or_else(|| Error::expected("the name of the typedef", self.peek()))?;
            let ty = self.with_mode(&name, declared.ty, &declared.attributes)?;
            let align = declared.attributes.align.unwrap_or(0);
            let ty = self.types.typedef(Rc::clone(&name.text), ty, align);
            self.typedefs.insert(Rc::clone(&name.text), ty);
            self.declared.push(ty);
            if !self.eat(",") {
                return self.end_of_declaration("`;` after the typedef");
            }
        }
    }

    /// A structure, union or enumeration, perhaps with variables or a function of that type after it.
    fn tagged(&mut self) -> Result<(), Error> {
        let spec = self.specifiers()?;
        if spec.defines {
            self.declared.push(spec.ty);
        }
        if self.at_end_of_declaration() {
            return self.end_of_declaration("`;`");
        }
        self.skip_declaration();
        Ok(())
    }

    /// Whether the `struct`, `union` or `enum` here is worth reading: one without a tag that only serves a
    /// variable, such as the definition of a map, cannot be named by anything else.
    fn declares_type(&self) -> bool {
        let mut at = self.at + 1;
        if self.peek().is("enum") {
            return true;
        }
        while let Some(token) = self.tokens.get(at) {
            match &*token.text {
                "__attribute__" | "__attribute" | "__declspec" => at = self.past_balanced(at + 1),
                "{" => {
                    let mut after = self.past_balanced(at);
                    while self.tokens.get(after).is_some_and(|t| t.is("__attribute__")) {
                        after = self.past_balanced(after + 1);
                    }
                    let next = self.tokens.get(after);
                    return next
                        .is_none_or(|t| t.is(";") || (t.is_word() && prelude::is_annotation(&t.text)));
                }
                _ if prelude::is_annotation(&token.text) => at += 1,
                _ => return true,
            }
        }
        true
    }

    fn is_declaration_prefix(&self) -> bool {
        matches!(
            &*self.peek().text,
            "extern"
                | "static"
                | "const"
                | "volatile"
                | "inline"
                | "__inline"
                | "__inline__"
                | "__extension__"
        )
    }

    /// Passes over the rest of a declaration that declares no type: to its `;`, or past the body of a function.
    fn skip_declaration(&mut self) {
        let mut initialized = false;
        loop {
            let token = self.peek();
            match &*token.text {
                _ if token.kind == Kind::End => return,
                ";" => {
                    self.bump();
                    return;
                }
                "{" => {
                    let function_body = !initialized && !self.is_record_body();
                    self.at = self.past_balanced(self.at);
                    if function_body {
                        self.eat(";");
                        return;
                    }
                }
                "(" | "[" => self.at = self.past_balanced(self.at),
                "=" => {
                    initialized = true;
                    self.bump();
                }
                _ => self.bump(),
            }
        }
    }

    /// Whether the `{` here opens the body of a structure, union or enumeration.
    fn is_record_body(&self) -> bool {
        let before = self.tokens[..self.at].iter().rev();
        before.take(2).any(|t| matches!(&*t.text, "struct" | "union" | "enum"))
    }

    /// Index after the bracket that closes the one at `start`, or after the last token.
    fn past_balanced(&self, start: usize) -> usize {
        let mut open = 0_usize;
        for (at, token) in self.tokens.iter().enumerate().skip(start) {
            match &*token.text {
                "(" | "[" | "{" if token.kind == Kind::Punct => open += 1,
                ")" | "]" | "}" if token.kind == Kind::Punct => open = open.saturating_sub(1),
                _ => {}
            }
            if open == 0 {
                return at + 1;
            }
        }
        self.tokens.len()
    }

    /// Declares what the prelude knows of `text`, as if it stood here.
    pub(super) fn declare_prelude(&mut self, text: &str) -> Result<(), Error> {
        let tokens = tokenize(text, None)?;
        let declared = self.declared.len();
        let result = self.nested(|parser| parser.with_tokens(tokens, Self::declaration));
        self.declared.truncate(declared);
        result
    }

    /// Runs `read` on other tokens, in the scope of this text.
    fn with_tokens<T>(&mut self, tokens: Vec<Token>, read: impl FnOnce(&mut Parser) -> T) -> T {
        let (tokens, at) = (std::mem::replace(&mut self.tokens, tokens), std::mem::take(&mut self.at));
        let result = read(self);
        (self.tokens, self.at) = (tokens, at);
        result
    }

    /// Runs `read` one level deeper.
    pub(super) fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Parser) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if self.depth >= MAX_DEPTH {
            return Err(Error::at(self.peek(), format!("nested deeper than {MAX_DEPTH} levels here")));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// The typedef of that name, from the text or the prelude.
    pub(super) fn find_typedef(&mut self, name: &Token) -> Option<Ty> {
        if let Some(ty) = self.typedefs.get(&name.text) {
            return Some(*ty);
        }
        let text = if name.is_word() { prelude::typedef(&name.text)? } else { return None };
        self.declare_prelude(&text).ok()?;
        self.typedefs.get(&name.text).copied()
    }

    /// The members of a structure or union that is complete, perhaps thanks to the prelude.
    pub(super) fn complete(&mut self, ty: Ty) {
        let ty = self.types.aliased(ty);
        if let (Node::Record(record), None) = (self.types.node(ty), self.types.size(ty))
            && let Some(text) = record.name.as_deref().filter(|_| !record.union).and_then(prelude::record)
        {
            // A text that began to define the same structure itself makes this fail; its own error says more.
            let _ = self.declare_prelude(&text);
        }
    }

    fn at_end_of_declaration(&self) -> bool {
        self.peek().is(";") || self.peek().kind == Kind::End
    }

    /// The `;`, which may be left out where the text ends: a type given on a command line reads better without.
    fn end_of_declaration(&mut self, what: &str) -> Result<(), Error> {
        match self.at_end_of_declaration() {
            true => {
                self.bump();
                Ok(())
            }
            false => Err(Error::expected(what, self.peek())),
        }
    }

    pub(super) fn peek(&self) -> &Token {
        self.peek_at(0)
    }

    pub(super) fn peek_at(&self, ahead: usize) -> &Token {
        self.tokens.get(self.at + ahead).unwrap_or(&self.end)
    }

    pub(super) fn bump(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len());
    }

    /// Goes back by one token that was passed over just now.
    pub(super) fn unbump(&mut self) {
        self.at = self.at.saturating_sub(1);
    }

    pub(super) fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.bump();
        token
    }

    pub(super) fn eat(&mut self, text: &str) -> bool {
        let found = self.peek().is(text);
        if found {
            self.bump();
        }
        found
    }

    pub(super) fn expect(&mut self, text: &str, what: &str) -> Result<(), Error> {
        match self.eat(text) {
            true => Ok(()),
            false => Err(Error::expected(what, self.peek())),
        }
    }

    /// Passes over a bracket and all that it encloses.
    pub(super) fn skip_balanced(&mut self) {
        self.at = self.past_balanced(self.at);
    }
}
