//! Synthetic kernel memory: the objects that tracing programs reach from `bpf_get_current_task` and from the arguments of raw
//! tracepoints, laid out by the kernel's own types and filled from /proc when they are read.
//!
//! An address says which object it belongs to, so nothing is allocated and a pointer that a program keeps in a map stays
//! true:
//!
//! ```text
//! 63          46 45       38 37          16 15        0
//! 1 … 1 0 1      kind        thread id      offset
//! ```
//!
//! Images are made at the first read in a stop and forgotten at the next one. What /proc does not say reads as zero; reads
//! outside every object fail with `EFAULT`, as in the kernel. How an object is filled is in [`fill`]; the types are in
//! [`types`].

mod fill;
mod image;
mod lent;
mod mapped;
mod object;
mod typed;
pub(crate) mod types;

use std::collections::HashMap;
use std::sync::Arc;

use skep_btf::Btf;
use skep_vm::Errno;

pub(crate) use object::{Object, ObjectKind};
use types::Types;

use crate::sys::Tid;

/// What the tracer knows of a thread and /proc does not say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// `CLOCK_MONOTONIC` and `CLOCK_BOOTTIME` when it was made, in nanoseconds, if that was seen.
    pub(crate) started_ns: Option<(u64, u64)>,
    /// Set from the exit event on.
    pub(crate) exit_code: Option<i32>,
    /// What it executes, during the exec event.
    pub(crate) exec_name: Option<Arc<[u8]>>,
}

/// Synthetic kernel memory of one session.
#[derive(Debug)]
pub(crate) struct KernelMemory {
    types: Types,
    known: HashMap<Tid, Known>,
    images: HashMap<Object, Option<Vec<u8>>>,
    lent: lent::Lent,
}

impl KernelMemory {
    /// Memory whose objects are laid out by `types`.
    pub(crate) fn new(types: Types) -> Self {
        Self { types, known: HashMap::new(), images: HashMap::new(), lent: lent::Lent::default() }
    }

    /// The types that objects are laid out by.
    pub(crate) fn types(&self) -> Arc<Btf> {
        self.types.btf()
    }

    /// Makes a structure that programs can follow pointers to until the next event; answers its address.
    pub(crate) fn lend(
        &mut self,
        structure: &'static str,
        fields: &[(&'static str, u64)],
        called: &str,
    ) -> u64 {
        let bytes = self.structure(structure, fields, called).unwrap_or_default();
        self.lent.add(bytes)
    }

    /// The bytes of a structure with these fields set, and its name; `None` when this kernel has none of that name.
    fn structure(
        &mut self,
        name: &'static str,
        fields: &[(&'static str, u64)],
        called: &str,
    ) -> Option<Vec<u8>> {
        let mut image = image::Image::new(&mut self.types, name, 0)?;
        fields.iter().for_each(|(field, value)| image.set(field, *value));
        image.write("name", &called.as_bytes()[..called.len().min(15)]);
        Some(image.finish())
    }

    /// Another event: nothing is lent any more.
    #[inline]
    pub(crate) fn begin(&mut self) {
        self.lent.clear();
        self.refresh();
    }

    /// Another moment: what was read before may not be true any more.
    #[inline]
    pub(crate) fn refresh(&mut self) {
        if !self.images.is_empty() {
            self.images.clear();
        }
    }

    /// What is known of a thread beyond /proc.
    pub(crate) fn known(&mut self, tid: Tid) -> &mut Known {
        self.known.entry(tid).or_default()
    }

    /// A thread is gone.
    pub(crate) fn forget(&mut self, tid: Tid) {
        self.known.remove(&tid);
    }

    /// Copies bytes; all or nothing.
    pub(crate) fn read(&mut self, addr: u64, buf: &mut [u8]) -> Result<(), Errno> {
        let part = self.bytes(addr).and_then(|bytes| bytes.get(..buf.len())).ok_or(Errno::EFAULT)?;
        buf.copy_from_slice(part);
        Ok(())
    }

    /// Copies a string up to its terminator or the end of `buf`; answers the bytes copied.
    pub(crate) fn read_str(&mut self, addr: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        let bytes = self.bytes(addr).ok_or(Errno::EFAULT)?;
        let end = bytes.iter().position(|&byte| byte == 0).map(|nul| nul + 1);
        let length = end.unwrap_or(bytes.len()).min(buf.len());
        if end.is_none() && length < buf.len() {
            return Err(Errno::EFAULT);
        }
        buf[..length].copy_from_slice(&bytes[..length]);
        Ok(length)
    }

    /// What there is from an address to the end of its structure.
    fn bytes(&mut self, addr: u64) -> Option<&[u8]> {
        match Object::at(addr) {
            Some((object, offset)) => self.image(object)?.get(offset..),
            None => self.lent.bytes(addr),
        }
    }

    fn image(&mut self, object: Object) -> Option<&[u8]> {
        if !self.images.contains_key(&object) {
            let image = self.make_image(object);
            self.images.insert(object, image);
        }
        self.images.get(&object)?.as_deref()
    }
}
