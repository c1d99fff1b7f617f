//! Iterators as bpf(2) has them: a link says over what, `BPF_ITER_CREATE` begins a reading of it, read(2) goes on with that.

use std::sync::{Arc, Mutex, PoisonError};

use skep_btf::TypeId;
use skep_isa::uapi::AttachType;
use skep_runtime::command::ObjectKind;
use skep_runtime::{AttachOptions, AttachTarget, Error, Fd, Reply, Result};

use super::UserRuntime;
use crate::hook::{Event, Form, Hook};
use crate::iterate::{Iteration, Kind, Target, has_elements};
use crate::objects::{About, Link, Object};

/// Descriptors of readings begin here, far from those of objects.
const FIRST_FD: i32 = 1 << 24;

impl UserRuntime {
    /// What a program of this attach type and kernel function goes through; other programs go through nothing.
    pub(super) fn iterated(
        &self,
        attach_type: Option<AttachType>,
        attach_btf_id: u32,
    ) -> Result<Option<Kind>> {
        if attach_type != Some(AttachType::TRACE_ITER) {
            return Ok(None);
        }
        let function = self.types().name(TypeId(attach_btf_id)).unwrap_or_default();
        Kind::of_function(function).map(Some).ok_or_else(|| {
            let name = function.strip_prefix("bpf_iter_").unwrap_or(function);
            Error::unsupported(format!("the user runtime has no iterator over `{name}`")).hint(
                "it has those over task, task_file, task_vma, bpf_map, bpf_prog, bpf_link and bpf_map_elem; others need the \
                 kernel runtime, or leave the program out with `--without PROGRAM`",
            )
        })
    }

    /// Attaches as the options say: to a map, to a process.
    pub(super) fn attach_iterator(&self, prog: Fd, options: &AttachOptions) -> Result<Fd> {
        let map = match &options.target {
            Some(AttachTarget::Map(map)) => Some(*map),
            _ => None,
        };
        self.link_iterator(prog, map, (None, options.process))
    }

    /// The same by `union bpf_iter_link_info`: the descriptor of a map, or a task and a process.
    pub(super) fn create_iterator(&self, prog: Fd, info: &[u8]) -> Result<Fd> {
        let word = |at: usize| {
            let bytes = info.get(at..at + 4).and_then(|bytes| bytes.first_chunk());
            bytes.map_or(0, |bytes| u32::from_ne_bytes(*bytes))
        };
        let named = |number: u32| Some(number).filter(|number| *number != 0);
        if word(0) != 0 && word(4) != 0 || word(8) != 0 {
            return Err(Error::os(
                libc::EINVAL,
                "an iterator goes through one task or one process, by their numbers",
            ));
        }
        let map = i32::try_from(word(0)).ok().filter(|fd| *fd != 0).map(Fd);
        self.link_iterator(prog, map, (named(word(0)), named(word(4))))
    }

    fn link_iterator(&self, prog: Fd, map: Option<Fd>, only: (Option<u32>, Option<u32>)) -> Result<Fd> {
        let prog = self.objects.prog(prog)?;
        let kind = self
            .iterated(prog.spec.attach_type, prog.spec.attach_btf_id)?
            .ok_or_else(|| Error::os(libc::EINVAL, format!("program `{}` is no iterator", prog.spec.name)))?;
        let map = match (kind, map) {
            (Kind::MapElement, None) => {
                return Err(Error::os(libc::EBADF, "an iterator over elements needs a map"));
            }
            (Kind::MapElement, Some(map)) => Some(self.objects.map(map)?),
            _ => None,
        };
        if let Some(map) = map.as_ref().filter(|map| !has_elements(map.map_type())) {
            let message = format!("elements of a map of type `{}` are not gone through", map.map_type());
            return Err(Error::os(libc::EINVAL, message));
        }
        let (tid, process) = only;
        let about = About::Iterator(Target { kind, map, tid, process });
        let hook = Hook { event: Event::Iterated, form: Form::Arguments };
        let link = Link::new(self.objects.new_id(ObjectKind::Link), prog, hook, (0, Vec::new()), about);
        Ok(self.objects.open(Object::Link(Arc::new(link))))
    }

    pub(super) fn iter_create(&self, link: Fd) -> Result<Reply> {
        let link = self.objects.link(link)?;
        let About::Iterator(target) = link.about.clone() else {
            return Err(Error::os(libc::EINVAL, "the link is not that of an iterator"));
        };
        let reading = Iteration::new(link, target, self.world());
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        let fd = readings.last_key_value().map_or(FIRST_FD, |(fd, _)| fd + 1);
        readings.insert(fd, Arc::new(Mutex::new(reading)));
        Ok(Reply::Fd(Fd(fd)))
    }

    pub(super) fn read_iterator(&self, fd: Fd, to: &mut [u8]) -> Result<usize> {
        let reading = self.readings.lock().unwrap_or_else(PoisonError::into_inner).get(&fd.0).cloned();
        let reading = reading.ok_or_else(|| {
            Error::os(libc::EBADF, format!("there is no reading of an iterator `{}`", fd.0))
        })?;
        let mut reading = reading.lock().unwrap_or_else(PoisonError::into_inner);
        reading.read(self.objects.registry(), to)
    }

    pub(super) fn close_reading(&self, fd: Fd) {
        let reading = self.readings.lock().unwrap_or_else(PoisonError::into_inner).remove(&fd.0);
        drop(reading);
    }
}
