//! Macros: their definitions, and the replacement of their names in a run of tokens.
//!
//! Replacement follows C11 6.10.3: arguments are expanded before they are put in, except beside `#` and `##`; the
//! result is scanned again together with what follows it; a macro is not replaced inside its own expansion. Work
//! is bounded by a budget of tokens, because ten lines of text can ask for billions.

use std::collections::HashMap;
use std::rc::Rc;

use super::error::Error;
use super::token::{Kind, Token, tokenize};

/// How many tokens the macros of one text may produce.
const BUDGET: usize = 1_000_000;

/// How deep macro arguments may contain macro calls with arguments.
const MAX_DEPTH: usize = 40;

#[derive(Debug, Clone)]
pub(super) struct Macro {
    pub(super) name: Token,
    /// `None` for a macro without an argument list.
    pub(super) params: Option<Vec<Rc<str>>>,
    pub(super) body: Rc<[Token]>,
}

impl Macro {
    /// Reads what follows `#define`.
    pub(super) fn parse(directive: &Token, line: &[Token]) -> Result<Macro, Error> {
        let (name, rest) = match line.split_first() {
            Some((name, rest)) if name.is_word() => (name.clone(), rest),
            other => return Err(Error::expected("the name of a macro", other.map_or(directive, |(t, _)| t))),
        };
        let takes_arguments = rest.first().is_some_and(|t| t.is("(") && !t.spaced);
        let (params, body) = match takes_arguments {
            true => parse_params(&name, &rest[1..]).map(|(params, body)| (Some(params), body))?,
            false => (None, rest),
        };
        Ok(Macro { name, params, body: body.into() })
    }
}

/// The names between the parentheses, and the tokens after them. `...` goes by the name `__VA_ARGS__`.
fn parse_params<'t>(name: &Token, line: &'t [Token]) -> Result<(Vec<Rc<str>>, &'t [Token]), Error> {
    let mut params = Vec::new();
    for (at, token) in line.iter().enumerate() {
        if token.is(")") {
            return Ok((params, &line[at + 1..]));
        } else if token.is("...") {
            params.push("__VA_ARGS__".into());
        } else if token.is_word() {
            params.push(Rc::clone(&token.text));
        } else if !token.is(",") {
            return Err(Error::expected("a parameter of the macro", token));
        }
    }
    Err(Error::at(name, format!("the parameters of the macro `{}` are not closed by `)`", name.text)))
}

/// All macros that are defined at some point of the text.
#[derive(Debug, Default)]
pub(super) struct Macros {
    defined: HashMap<Rc<str>, Macro>,
    /// Names in the order of their first definition.
    order: Vec<Rc<str>>,
    produced: usize,
}

/// Tokens still to be scanned, the next one last.
enum Pending {
    Token(Token),
    /// The end of the innermost active macro's expansion.
    Leave,
}

impl Macros {
    pub(super) fn define(&mut self, definition: Macro) {
        let name = Rc::clone(&definition.name.text);
        if self.defined.insert(Rc::clone(&name), definition).is_none() {
            self.order.push(name);
        }
    }

    pub(super) fn undefine(&mut self, name: &str) {
        self.defined.remove(name);
        self.order.retain(|n| &**n != name);
    }

    pub(super) fn is_defined(&self, name: &str) -> bool {
        self.defined.contains_key(name)
    }

    /// Macros without parameters, in the order of their definition.
    pub(super) fn objects(&self) -> impl Iterator<Item = &Macro> {
        self.order.iter().filter_map(|name| self.defined.get(name)).filter(|m| m.params.is_none())
    }

    /// Appends `tokens` to `out`, with the macros in them replaced.
    pub(super) fn expand(&mut self, tokens: &[Token], out: &mut Vec<Token>) -> Result<(), Error> {
        if tokens.iter().any(|t| t.is_word() && self.is_defined(&t.text)) {
            return self.expand_nested(tokens, out, 0);
        }
        out.extend_from_slice(tokens);
        Ok(())
    }

    fn expand_nested(&mut self, tokens: &[Token], out: &mut Vec<Token>, depth: usize) -> Result<(), Error> {
        let mut pending: Vec<Pending> = tokens.iter().rev().cloned().map(Pending::Token).collect();
        let mut active: Vec<Rc<str>> = Vec::new();
        while let Some(next) = pending.pop() {
            let Pending::Token(token) = next else {
                active.pop();
                continue;
            };
            let hidden = !token.is_word() || active.contains(&token.text);
            let definition = if hidden { None } else { self.defined.get(&token.text).cloned() };
            let body = match definition {
                Some(Macro { params: None, body, .. }) => Some(body.to_vec()),
                Some(Macro { params: Some(params), body, .. }) => {
                    match take_arguments(&token, &mut pending, &mut active)? {
                        Some(arguments) => Some(self.substitute(&token, &params, &body, arguments, depth)?),
                        None => None,
                    }
                }
                None => None,
            };
            match body {
                None => out.push(token),
                Some(body) => {
                    self.spend(&token, body.len() + 1)?;
                    active.push(Rc::clone(&token.text));
                    pending.push(Pending::Leave);
                    pending.extend(body.into_iter().rev().map(|t| Pending::Token(moved(t, &token))));
                }
            }
        }
        Ok(())
    }

    /// The body of the macro called at `call` with its arguments put in.
    fn substitute(
        &mut self,
        call: &Token,
        params: &[Rc<str>],
        body: &[Token],
        arguments: Vec<Vec<Token>>,
        depth: usize,
    ) -> Result<Vec<Token>, Error> {
        if depth >= MAX_DEPTH {
            return Err(Error::at(call, format!("macro calls are nested deeper than {MAX_DEPTH} here")));
        }
        let arguments = fit_arguments(call, params, arguments)?;
        let argument_of = |token: &Token| {
            let index = params.iter().position(|p| token.is_word() && *p == token.text)?;
            Some(&arguments[index])
        };
        let mut result: Vec<Token> = Vec::new();
        let mut at = 0;
        while at < body.len() {
            let token = &body[at];
            let pastes = |token: Option<&Token>| token.is_some_and(|t| t.is("##"));
            if token.is("#") && body.get(at + 1).is_some_and(|t| argument_of(t).is_some()) {
                let argument = argument_of(&body[at + 1]).map_or(&[][..], Vec::as_slice);
                result.push(stringized(token, argument));
                at += 1;
            } else if token.is("##") && at > 0 && at + 1 < body.len() {
                let right = argument_of(&body[at + 1]).cloned().unwrap_or_else(|| vec![body[at + 1].clone()]);
                paste(&mut result, right)?;
                at += 1;
            } else if let Some(argument) = argument_of(token) {
                match pastes(body.get(at + 1)) {
                    true => result.extend_from_slice(argument),
                    false => self.expand_nested(argument, &mut result, depth + 1)?,
                }
            } else {
                result.push(token.clone());
            }
            self.spend(call, 1)?;
            at += 1;
        }
        Ok(result)
    }

    fn spend(&mut self, call: &Token, tokens: usize) -> Result<(), Error> {
        self.produced += tokens;
        match self.produced > BUDGET {
            true => Err(Error::at(call, format!("the macros produce more than {BUDGET} tokens"))),
            false => Ok(()),
        }
    }
}

/// Takes `( … )` from the tokens ahead and splits it at its commas; `None` if no `(` follows.
fn take_arguments(
    call: &Token,
    pending: &mut Vec<Pending>,
    active: &mut Vec<Rc<str>>,
) -> Result<Option<Vec<Vec<Token>>>, Error> {
    let ahead = pending.iter().rev().find_map(|p| match p {
        Pending::Token(token) => Some(token.is("(")),
        Pending::Leave => None,
    });
    if ahead != Some(true) {
        return Ok(None);
    }
    let mut arguments = vec![Vec::new()];
    let mut open = 0_usize;
    while let Some(next) = pending.pop() {
        let Pending::Token(token) = next else {
            active.pop();
            continue;
        };
        if token.is("(") {
            open += 1;
        } else if token.is(")") {
            open -= 1;
        }
        if open == 0 {
            return Ok(Some(arguments));
        } else if open == 1 && token.is(",") {
            arguments.push(Vec::new());
        } else if !(open == 1 && token.is("(") && arguments.len() == 1 && arguments[0].is_empty()) || open > 1
        {
            arguments.last_mut().expect("invariant: there is always an argument being read").push(token);
        }
    }
    Err(Error::at(call, format!("the arguments of the macro `{}` are not closed by `)`", call.text)))
}

/// Makes the number of arguments equal to the number of parameters, or says why that cannot be.
fn fit_arguments(
    call: &Token,
    params: &[Rc<str>],
    mut arguments: Vec<Vec<Token>>,
) -> Result<Vec<Vec<Token>>, Error> {
    let variadic = params.last().is_some_and(|p| &**p == "__VA_ARGS__");
    if params.is_empty() && arguments.len() == 1 && arguments[0].is_empty() {
        arguments.clear();
    }
    if variadic && arguments.len() < params.len() {
        arguments.push(Vec::new());
    }
    if variadic && arguments.len() > params.len() {
        let rest = arguments.split_off(params.len() - 1);
        let comma = Token { kind: Kind::Punct, text: ",".into(), ..call.clone() };
        arguments.push(rest.join(&comma));
    }
    match arguments.len() == params.len() {
        true => Ok(arguments),
        false => {
            let (wants, has) = (params.len(), arguments.len());
            Err(Error::at(call, format!("the macro `{}` takes {wants} arguments, not {has}", call.text)))
        }
    }
}

/// The last token of `left` and the first of `right` become one token.
fn paste(left: &mut Vec<Token>, right: Vec<Token>) -> Result<(), Error> {
    let mut right = right.into_iter();
    match (left.pop(), right.next()) {
        (Some(a), Some(b)) => {
            let text = format!("{}{}", a.text, b.text);
            left.extend(tokenize(&text, None)?.into_iter().map(|t| moved(t, &a)));
        }
        (a, b) => left.extend(a.or(b)),
    }
    left.extend(right);
    Ok(())
}

fn stringized(hash: &Token, argument: &[Token]) -> Token {
    let words: Vec<&str> = argument.iter().map(|t| &*t.text).collect();
    let text = format!("\"{}\"", words.join(" ").replace('\\', "\\\\").replace('"', "\\\""));
    Token { kind: Kind::Str, text: text.into(), ..hash.clone() }
}

/// Tokens of an expansion stand where the macro was called: that is the place a reader can look at.
fn moved(token: Token, call: &Token) -> Token {
    Token { place: call.place.clone(), ..token }
}
