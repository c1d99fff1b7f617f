//! In which order types are written.
//!
//! A structure must be defined before it is held by value, and its tag known before it is pointed to; a typedef must
//! stand before it is used in either way, and what it names be complete before a value of it is held. A depth-first walk
//! over these needs gives the order. Only structures without a name, which are written where they are used, and function
//! types pass needs on through pointers.

use super::table::Table;
use crate::{Error, Result, Shape, TypeId};

/// How deep types may hold each other by value; more than a C compiler reads.
const MAX_DEPTH: usize = 200;

/// One thing to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// `struct tag;`
    Forward(TypeId),
    Define(TypeId),
}

/// What has been planned for a type.
#[derive(Clone, Copy, Default)]
struct State {
    /// Its needs are being met.
    active: bool,
    forward: bool,
    defined: bool,
    /// A typedef's type is complete.
    complete: bool,
}

pub(super) struct Plan<'t, 'a> {
    table: &'t Table<'a>,
    states: Vec<State>,
    steps: Vec<Step>,
    /// Which types are used by others; found out when an enumeration without a name asks.
    referenced: Option<Vec<bool>>,
    depth: usize,
}

impl<'t, 'a> Plan<'t, 'a> {
    pub(super) fn new(table: &'t Table<'a>) -> Self {
        let states = vec![State::default(); table.len() as usize];
        Self { table, states, steps: Vec::new(), referenced: None, depth: 0 }
    }

    pub(super) fn finish(self) -> Vec<Step> {
        self.steps
    }

    /// Plans a type for its own sake. What has no name is left to those who use it, but an enumeration that nobody uses
    /// is there for its constants.
    pub(super) fn root(&mut self, id: TypeId) -> Result<()> {
        let ty = self.table.get(id)?;
        match ty.shape {
            Shape::Enum(_) | Shape::Enum64(_) if ty.name.is_empty() => {
                if !self.is_referenced(id) {
                    self.define_once(id);
                }
                Ok(())
            }
            Shape::Struct(_) | Shape::Union(_) if ty.name.is_empty() => Ok(()),
            Shape::Struct(_)
            | Shape::Union(_)
            | Shape::Enum(_)
            | Shape::Enum64(_)
            | Shape::Fwd { .. }
            | Shape::Typedef(_) => self.need(id, true, None),
            _ => Ok(()),
        }
    }

    /// Plans what the declaration of a function needs.
    pub(super) fn prototype(&mut self, func: TypeId) -> Result<()> {
        self.table.function(func)?.map_or(Ok(()), |(_, proto)| self.need(proto, false, None))
    }

    /// Plans what must stand before a use of the type: of a complete type, or of its name only. `within` is the
    /// structure whose member uses it.
    fn need(&mut self, id: TypeId, complete: bool, within: Option<TypeId>) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Error::malformed(format!("type {id} is nested deeper than {MAX_DEPTH} types")));
        }
        let ty = self.table.get(id)?;
        match ty.shape {
            Shape::Ptr(to) => self.need(to, false, within)?,
            Shape::Volatile(of) | Shape::Const(of) | Shape::Restrict(of) | Shape::TypeTag { ty: of, .. } => {
                self.need(of, complete, within)?;
            }
            Shape::Array(array) => self.need(array.elem, true, within)?,
            Shape::Struct(_) | Shape::Union(_) if complete || ty.name.is_empty() => self.define(id)?,
            Shape::Struct(_) | Shape::Union(_) if within == Some(id) => {}
            Shape::Struct(_) | Shape::Union(_) | Shape::Fwd { .. } => self.forward(id),
            Shape::Enum(_) | Shape::Enum64(_) if ty.name.is_empty() => {}
            Shape::Enum(_) | Shape::Enum64(_) | Shape::Int(_) => self.define_once(id),
            Shape::Typedef(of) => self.typedef(id, of, complete)?,
            Shape::FuncProto(proto) => {
                self.need(proto.ret, false, within)?;
                for param in proto.param_types() {
                    self.need(param, false, within)?;
                }
            }
            _ => {}
        }
        self.depth -= 1;
        Ok(())
    }

    fn define(&mut self, id: TypeId) -> Result<()> {
        if self.state(id).defined {
            return Ok(());
        }
        self.enter(id)?;
        let table = self.table;
        let ty = table.get(id)?;
        for field in table.fields(id) {
            self.need(field.ty, true, Some(id))?;
        }
        self.state(id).active = false;
        self.state(id).defined = true;
        if !ty.name.is_empty() {
            self.steps.push(Step::Define(id));
        }
        Ok(())
    }

    fn typedef(&mut self, id: TypeId, of: TypeId, complete: bool) -> Result<()> {
        if !self.state(id).defined {
            self.enter(id)?;
            self.need(of, false, None)?;
            self.state(id).active = false;
            self.define_once(id);
        }
        if complete && !self.state(id).complete {
            self.need(of, true, None)?;
            self.state(id).complete = true;
        }
        Ok(())
    }

    /// Begins to meet the needs of a type, unless that has begun already: then it needs itself.
    fn enter(&mut self, id: TypeId) -> Result<()> {
        if std::mem::replace(&mut self.state(id).active, true) {
            let what = self.table.get(id)?.describe();
            return Err(Error::malformed(format!("type {id}: `{what}` contains itself, which C cannot say")));
        }
        Ok(())
    }

    fn forward(&mut self, id: TypeId) {
        let state = self.state(id);
        if !state.forward && !state.defined {
            state.forward = true;
            self.steps.push(Step::Forward(id));
        }
    }

    fn define_once(&mut self, id: TypeId) {
        if !std::mem::replace(&mut self.state(id).defined, true) {
            self.steps.push(Step::Define(id));
        }
    }

    fn is_referenced(&mut self, id: TypeId) -> bool {
        if self.referenced.is_none() {
            self.referenced = Some(self.table.referenced());
        }
        self.referenced.as_ref().and_then(|all| all.get(id.0 as usize)).is_some_and(|used| *used)
    }

    fn state(&mut self, id: TypeId) -> &mut State {
        &mut self.states[id.0 as usize]
    }
}
