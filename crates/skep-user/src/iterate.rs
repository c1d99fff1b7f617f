//! Iterators: programs that run for each of something when their link is read (`kernel/bpf/bpf_iter.c`).
//!
//! What is gone through is noted when the first bytes are read; what is gone by its turn is left out. A program writes to a
//! buffer of eight pages. Where that overflows, what it wrote for this element is forgotten, and the element has its turn
//! again with the next, empty buffer.

mod elements;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use skep_runtime::{Error, Result};
use skep_vm::{Errno, Input, Map};

use crate::objects::{Link, Registry};
use crate::packets::World;
use elements::Element;
pub(crate) use elements::{Kind, has_elements};

/// Bytes of the buffer.
const BUFFER_BYTES: usize = 8 * 4096;

/// What a link goes through.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) kind: Kind,
    /// Of elements of a map: which.
    pub(crate) map: Option<Arc<Map>>,
    /// Of tasks: only this one, or the threads of this process.
    pub(crate) tid: Option<u32>,
    pub(crate) process: Option<u32>,
}

/// What a program writes while it runs for one element.
#[derive(Debug, Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    room: usize,
    overflowed: bool,
}

impl Output {
    /// Takes bytes, all or none (`seq_write`).
    pub(crate) fn write(&mut self, data: &[u8]) -> std::result::Result<(), Errno> {
        self.overflowed |= self.bytes.len() + data.len() >= self.room;
        if self.overflowed {
            return Err(Errno::EOVERFLOW);
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }
}

/// One reading of an iterator.
pub(crate) struct Iteration {
    link: Arc<Link>,
    target: Target,
    world: World,
    session: u64,
    elements: Option<Vec<Element>>,
    next: usize,
    ended: bool,
    /// What was written and has not been read yet.
    pending: Vec<u8>,
    read: usize,
}

impl Iteration {
    pub(crate) fn new(link: Arc<Link>, target: Target, world: World) -> Self {
        static SESSIONS: AtomicU64 = AtomicU64::new(1);
        let session = SESSIONS.fetch_add(1, Ordering::Relaxed);
        Self {
            link,
            target,
            world,
            session,
            elements: None,
            next: 0,
            ended: false,
            pending: Vec::new(),
            read: 0,
        }
    }

    /// The next bytes; 0 at the end.
    pub(crate) fn read(&mut self, registry: &Registry, to: &mut [u8]) -> Result<usize> {
        if self.read == self.pending.len() && !self.ended {
            self.fill(registry)?;
        }
        let len = to.len().min(self.pending.len() - self.read);
        to[..len].copy_from_slice(&self.pending[self.read..][..len]);
        self.read += len;
        Ok(len)
    }

    /// Runs the program until the buffer is full, or there is nothing left. Behind the last element it is run once without.
    fn fill(&mut self, registry: &Registry) -> Result<()> {
        (self.pending, self.read) = (Vec::new(), 0);
        let elements = match self.elements.take() {
            Some(elements) => elements,
            None => elements::of(&self.target, registry),
        };
        let filled = self.go_on(&elements);
        self.elements = Some(elements);
        filled
    }

    fn go_on(&mut self, elements: &[Element]) -> Result<()> {
        while !self.ended {
            let element = elements.get(self.next);
            let room = BUFFER_BYTES - self.pending.len();
            let (again, output) = self.run(element, room)?;
            if again || output.overflowed {
                let errno = if again { Errno::EAGAIN } else { Errno::E2BIG };
                return match self.pending.is_empty() {
                    true => Err(Error::os(errno.0, "the program does not come to an end with one element")),
                    false => Ok(()),
                };
            }
            self.pending.extend_from_slice(&output.bytes);
            self.next += 1;
            self.ended = element.is_none();
        }
        Ok(())
    }

    /// Runs the program for one element; answers whether it wants that again, and what it wrote.
    fn run(&mut self, element: Option<&Element>, room: usize) -> Result<(bool, Output)> {
        self.world.begin_element(Output { room, ..Output::default() });
        let file = self.world.lend("seq_file", &[]);
        // At the end the number is still that of the last element.
        let number = if element.is_some() { self.next } else { self.next.saturating_sub(1) };
        let meta = [("seq", file), ("session_id", self.session), ("seq_num", number as u64)];
        let meta = self.world.lend("bpf_iter_meta", &meta);
        let Some(mut context) = elements::context(&self.target, element, meta, &mut self.world) else {
            return Ok((false, Output::default()));
        };
        let prog = self.link.prog();
        let input = Input { ctx: &mut context, map: self.target.map.as_ref(), ..Input::default() };
        let answer = prog.code.run_with(input, &mut self.world);
        let answer = answer.map_err(|fault| Error::os(Errno::EFAULT.0, fault.to_string()))?;
        Ok((answer != 0, self.world.take_output()))
    }
}

impl std::fmt::Debug for Iteration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Iteration")
            .field("target", &self.target)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}
