//! Why a program was rejected, in terms of its source: what failed, which fact is missing, where on the path it was
//! lost, and what to do.
//!
//! Takes a log at level 1 or 2 (ours or a kernel's, see [`crate::log::read`]), because that has all there is to know:
//! the path that failed, with the registers after each instruction. [`Facts`] add what only the object knows: columns
//! and names of arguments. Says only what the log shows; a variable is named where a source line on the path assigns
//! it and the failing line uses it, or where BTF names the argument.
//!
//! | module | is |
//! |---|---|
//! | `kinds` | the table of rejections, with remedies |
//! | `history` | a value followed back along the path |
//! | `names` | what C calls it |
//! | `tell` | the path in sentences |
//! | `words` | what a register holds, in words |
//! | `show` | an explanation as text |

mod history;
mod insn;
mod kinds;
mod names;
mod show;
mod tell;
mod words;

use crate::log::SourceLine;
use crate::log::read::{Path, Place};
use crate::log::value::Value;
use history::{At, Event, History};
use insn::Act;
use kinds::{Blame, Kind};

pub use show::Paint;

/// What the object knows of a program, beside its log.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Source lines in the order of instructions.
    pub lines: Vec<SourceLine>,
    /// Functions in the order of instructions.
    pub functions: Vec<Function>,
}

/// A function of the program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Function {
    /// Its first instruction.
    pub insn: u32,
    /// Its name.
    pub name: String,
    /// Names of its arguments.
    pub params: Vec<String>,
}

/// A place in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// File, where it is known.
    pub file: Option<String>,
    /// Line, where it is known.
    pub line: Option<u32>,
    /// Column, 0 where it is not known.
    pub column: u32,
    /// The line's text.
    pub text: String,
}

/// A stop on the way to the failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The instruction.
    pub insn: u32,
    /// The source line.
    pub location: Option<Location>,
    /// What happened there.
    pub what: String,
    /// Does it concern the value that failed, rather than only the way?
    pub concerns: bool,
}

/// Why a program was rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The verifier's own words.
    pub message: String,
    /// The instruction that failed, with its text where it was reached.
    pub insn: u32,
    /// Its text.
    pub insn_text: Option<String>,
    /// The source line it belongs to.
    pub location: Option<Location>,
    /// The function it is in.
    pub function: Option<String>,
    /// What is wrong, in terms of the source.
    pub summary: String,
    /// What is known of the value, and what is not.
    pub notes: Vec<String>,
    /// The way from the entry to the failure.
    pub path: Vec<Stop>,
    /// Stops left out because there are too many.
    pub omitted: usize,
    /// What to do about it; `None` for a kind of rejection that is not in the table.
    pub remedy: Option<String>,
}

/// Explains a rejection that was logged; `None` where the log has none.
///
/// `insn` is the instruction where it is known better than from the log: of a program rejected before it is walked.
pub fn explain(log: &str, insn: Option<u32>, facts: &Facts) -> Option<Explanation> {
    let path = Path::read(log);
    let (message, kind) = headline(&path)?;
    let last = path.steps.len().checked_sub(1);
    let case = Case { path: &path, facts, last, kind };
    Some(case.explain(message, insn))
}

/// The line that says most about a rejection: the last that is of a known kind, else the last.
fn headline(path: &Path) -> Option<(&str, Option<Found>)> {
    let known = path.messages.iter().rev().find_map(|line| Some((line.as_str(), kinds::find(line)?)));
    match known {
        Some((line, (kind, names))) => Some((line, Some(Found { kind, names }))),
        None => path.messages.last().map(|line| (line.as_str(), None)),
    }
}

/// A kind of rejection, and what its pattern's names stand for.
struct Found {
    kind: &'static Kind,
    names: Vec<(&'static str, String)>,
}

/// A rejection being explained.
struct Case<'p> {
    path: &'p Path,
    facts: &'p Facts,
    last: Option<usize>,
    kind: Option<Found>,
}

/// The value that is to blame.
struct Culprit {
    at: At,
    /// The step before which it is looked at.
    step: usize,
    value: Option<Value>,
    /// What it was before a call made it invalid, which logs do not show.
    stale: Option<Value>,
    history: History,
    name: Option<String>,
}

impl Case<'_> {
    fn explain(&self, message: &str, insn: Option<u32>) -> Explanation {
        let failed = self.last.map(|last| &self.path.steps[last]);
        let insn = insn.or(failed.map(|step| step.insn)).unwrap_or(0);
        let reached = failed.filter(|step| step.insn == insn);
        let culprit = self.culprit();
        let (path, omitted) = tell::path(self, culprit.as_ref());
        Explanation {
            message: message.to_owned(),
            insn,
            insn_text: reached.map(|step| step.text.clone()),
            location: names::location(self.path, self.facts, self.last.filter(|_| reached.is_some()), insn),
            function: names::function(self.facts, insn)
                .map(|f| f.name.clone())
                .filter(|name| !name.is_empty()),
            summary: self.summary(message, culprit.as_ref()),
            notes: tell::notes(self, culprit.as_ref()),
            path,
            omitted,
            remedy: self.kind.as_ref().map(|found| self.fill(found.kind.remedy, culprit.as_ref())),
        }
    }

    fn blame(&self) -> Blame {
        self.kind.as_ref().map_or(Blame::Value, |found| found.kind.blame)
    }

    /// What a name of the pattern stands for.
    fn matched(&self, name: &str) -> Option<&str> {
        let found = self.kind.as_ref()?;
        found.names.iter().find(|(n, _)| *n == name).map(|(_, text)| text.as_str())
    }

    fn summary(&self, message: &str, culprit: Option<&Culprit>) -> String {
        match &self.kind {
            Some(found) => self.fill(found.kind.meaning, culprit),
            None => message.to_owned(),
        }
    }

    /// A sentence of the table with its names replaced.
    fn fill(&self, template: &str, culprit: Option<&Culprit>) -> String {
        let reg = self.matched("reg").map(|reg| format!("r{reg}"));
        let var = culprit.map(Culprit::called).or(reg).unwrap_or_else(|| "it".to_owned());
        let mut text = template.replace("{var}", &var);
        let name = culprit.and_then(|culprit| culprit.name.as_deref()).unwrap_or("p");
        text = text.replace("{name}", name);
        if let Some(stale) = culprit.and_then(|culprit| culprit.stale.as_ref()) {
            text = text.replace(
                "{value}",
                &format!("it was {}, and that is no longer valid", words::describe(stale)),
            );
        }
        match culprit.and_then(|culprit| culprit.value.as_ref()) {
            Some(value) => text = text.replace("{value}", &words::describe(value)),
            None => text = text.replace(": {value}", "").replace("{value}", "something else"),
        }
        for (name, matched) in self.kind.iter().flat_map(|found| &found.names) {
            text = text.replace(&format!("{{{name}}}"), matched);
        }
        text
    }

    /// The value that failed: the register that the message names, or the number added to it.
    fn culprit(&self) -> Option<Culprit> {
        let last = self.last?;
        let reg = self.matched("reg").and_then(|reg| reg.parse().ok());
        if self.blame() == Blame::Insn {
            return None;
        }
        let at =
            At { frame: self.path.steps[last].frame, place: Place::Reg(reg.or_else(|| self.implied(last))?) };
        let mut culprit = self.value_at(last, at);
        if self.says_scalar() && culprit.value.as_ref().is_some_and(|value| !value.is_scalar()) {
            culprit.stale = culprit.value.replace(Value { kind: "scalar".to_owned(), ..Value::default() });
        }
        match self.blame() {
            Blame::Offset => Some(self.offset_of(&culprit).unwrap_or(culprit)),
            _ => Some(culprit),
        }
    }

    /// Does the message call the register a number?
    fn says_scalar(&self) -> bool {
        self.kind.as_ref().is_some_and(|found| {
            found.kind.pattern.ends_with("'scalar'") || found.kind.pattern.ends_with("'inv'")
        }) || self.matched("have") == Some("scalar")
    }

    /// The register that a message means without naming it: a result, or the number that is added to a pointer.
    fn implied(&self, last: usize) -> Option<u8> {
        if self.matched("when").is_some() {
            return Some(0);
        }
        let step = &self.path.steps[last];
        let Act::Compute { dst, with, .. } = insn::parse(&step.text) else { return None };
        let scalar =
            |reg: &u8| self.path.before(last, step.frame, Place::Reg(*reg)).is_some_and(Value::is_scalar);
        insn::register(with).into_iter().chain([dst]).find(scalar)
    }

    fn value_at(&self, step: usize, at: At) -> Culprit {
        let history = history::follow(self.path, step, at);
        let value = self.path.before(step, at.frame, at.place).cloned();
        let name = names::variable(self.path, self.facts, &history, self.last);
        Culprit { at, step, value, stale: None, history, name }
    }

    /// The number that was added to a pointer last, unless it was a constant.
    fn offset_of(&self, pointer: &Culprit) -> Option<Culprit> {
        let added = pointer.history.moments.iter().rev().find_map(|moment| {
            let step = &self.path.steps[moment.step];
            let Act::Compute { op: "+=" | "-=", with, dst } = insn::parse(&step.text) else { return None };
            let reg = insn::register(with).filter(|_| moment.event == Event::Computed)?;
            let at = |reg| At { frame: step.frame, place: Place::Reg(reg) };
            // `number += pointer` is the same sum.
            let of =
                |reg| self.path.before(moment.step, step.frame, Place::Reg(reg)).filter(|v| v.is_scalar());
            let number = if of(reg).is_some() { reg } else { dst };
            let is_constant = of(number).is_some_and(|value| value.number.is_some());
            (!is_constant && of(number).is_some()).then(|| (moment.step, at(number)))
        });
        added.map(|(step, at)| self.value_at(step, at))
    }
}

impl Culprit {
    /// What to call it: its C name, or its register.
    fn called(&self) -> String {
        match (&self.name, self.at.place) {
            (Some(name), _) => format!("`{name}`"),
            (None, Place::Reg(reg)) => format!("r{reg}"),
            (None, Place::Slot(off)) => format!("the stack at {off}"),
        }
    }
}
