//! Global variables of a loaded object.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::plain::Plain;
use crate::{Loaded, Result, variables};

/// A variable that programs and user space read and write.
#[derive(Clone, Debug)]
pub struct Variable<T> {
    constant: Constant<T>,
}

/// A variable that is only read once it is loaded.
#[derive(Clone, Debug)]
pub struct Constant<T> {
    loaded: Arc<Loaded>,
    name: &'static str,
    value: PhantomData<fn() -> T>,
}

impl<T: Plain> Constant<T> {
    /// The variable of this name.
    pub fn new(loaded: &Arc<Loaded>, name: &'static str) -> Self {
        Self { loaded: Arc::clone(loaded), name, value: PhantomData }
    }

    /// Its value now.
    pub fn get(&self) -> Result<T> {
        Ok(T::read(&variables::read(&self.loaded, self.name)?))
    }
}

impl<T: Plain> Variable<T> {
    /// The variable of this name.
    pub fn new(loaded: &Arc<Loaded>, name: &'static str) -> Self {
        Self { constant: Constant::new(loaded, name) }
    }

    /// Its value now.
    pub fn get(&self) -> Result<T> {
        self.constant.get()
    }

    /// Gives it another value. What programs write to it at the same moment may be lost.
    pub fn set(&self, value: &T) -> Result<()> {
        let Constant { loaded, name, .. } = &self.constant;
        let mut bytes = variables::read(loaded, name)?;
        value.write(&mut bytes);
        variables::write(loaded, name, &bytes)
    }
}
