//! Attaching programs to hooks, and changing what is attached.

use std::sync::Arc;

use skep_btf::TypeId;
use skep_isa::uapi::{AttachType, ProgType};
use skep_obj::AttachPoint;
use skep_runtime::command::ObjectKind;
use skep_runtime::{AttachOptions, Error, Fd, Reply, Result};

use super::UserRuntime;
use crate::hook::probe::{self, Place};
use crate::hook::{self, Form, Hook};
use crate::objects::{About, Link, Object, Prog};

impl UserRuntime {
    /// Attaches a program; closing the last descriptor of the link detaches it.
    fn attach_at(&self, prog: Fd, hook: Hook, at: (u64, Vec<Place>), about: About) -> Result<Fd> {
        let prog = self.objects.prog(prog)?;
        check_form(&prog, hook)?;
        let link = Link::new(self.objects.new_id(ObjectKind::Link), prog, hook, at, about);
        Ok(self.objects.open(Object::Link(Arc::new(link))))
    }

    /// Attaches a program where a section's name, or its caller, says.
    pub(super) fn attach_point(&self, prog: Fd, point: &AttachPoint, options: &AttachOptions) -> Result<Fd> {
        if matches!(point, AttachPoint::Btf { attach_type: Some(AttachType::TRACE_ITER), .. }) {
            return self.attach_iterator(prog, options);
        }
        let hook = match point {
            AttachPoint::PerfEvent { sampling } => {
                Hook::of(&AttachPoint::PerfEvent { sampling: sampling.or(options.sampling) })?
            }
            point => Hook::of(point)?,
        };
        let places = match point {
            AttachPoint::Usdt { path: Some(path), provider: Some(provider), name: Some(name) } => {
                let prog = self.objects.prog(prog)?;
                self.usdt_places(&prog, path, provider, name, options.cookie)?
            }
            other => probe::places(other, options.cookie)?,
        };
        let about = self.about(prog, point, &places)?;
        self.attach_at(prog, hook, (options.cookie, places), about)
    }

    pub(super) fn raw_tracepoint_open(&self, prog: Fd, name: Option<&str>, cookie: u64) -> Result<Reply> {
        let (hook, about) = match name {
            Some(name) => (Hook::of_raw_tracepoint(name)?, About::RawTracepoint(name.to_owned())),
            None => (self.hook_by_type(prog)?, self.by_type(prog)?),
        };
        self.attach_at(prog, hook, (cookie, Vec::new()), about).map(Reply::Fd)
    }

    pub(super) fn link_create(&self, prog: Fd, attach_type: AttachType, cookie: u64) -> Result<Reply> {
        if !hook::is_by_type(attach_type) {
            return Err(Error::unsupported(format!("the user runtime has no hook of type `{attach_type}`"))
                .hint("the kernel runtime may have it: `--runtime kernel`, as root"));
        }
        let (hook, about) = (self.hook_by_type(prog)?, self.by_type(prog)?);
        self.attach_at(prog, hook, (cookie, Vec::new()), about).map(Reply::Fd)
    }

    fn by_type(&self, prog: Fd) -> Result<About> {
        Ok(About::Tracing(self.objects.prog(prog)?.spec.attach_btf_id))
    }

    /// What the kernel would say of a link to there.
    fn about(&self, prog: Fd, point: &AttachPoint, places: &[Place]) -> Result<About> {
        let file =
            || places.first().map(|place| place.path.to_string_lossy().into_owned()).unwrap_or_default();
        let offset = places.first().map_or(0, |place| place.offset as u32);
        Ok(match point {
            AttachPoint::Tracepoint { name, .. } => About::Tracepoint(name.clone()),
            AttachPoint::RawTracepoint { name, .. } => About::RawTracepoint(name.clone()),
            AttachPoint::BtfTracepoint { .. } | AttachPoint::Btf { .. } => self.by_type(prog)?,
            AttachPoint::Uprobe { ret, .. } => About::Uprobe { file: file(), offset, is_return: *ret },
            AttachPoint::UprobeMulti { ret, .. } => {
                About::UprobeMulti { file: file(), flags: u32::from(*ret) }
            }
            AttachPoint::Usdt { .. } => About::UprobeMulti { file: file(), flags: 0 },
            _ => About::PerfEvent,
        })
    }

    /// The hook of a program that was loaded for it: for a type `btf_trace_NAME` of the kernel's, or for a function.
    fn hook_by_type(&self, prog: Fd) -> Result<Hook> {
        let prog = self.objects.prog(prog)?;
        let types = self.types();
        let name = types.name(TypeId(prog.spec.attach_btf_id)).unwrap_or_default();
        if let Some(hook) = prog.spec.attach_type.and_then(|attach_type| Hook::of_traced(name, attach_type)) {
            return hook;
        }
        let Some(name) = name.strip_prefix("btf_trace_") else {
            let message = format!("program `{}`: kernel type `{name}` is no tracepoint", prog.spec.name);
            return Err(Error::os(libc::EINVAL, message));
        };
        Hook::of_raw_tracepoint(name)
    }

    pub(super) fn link_update(&self, link: Fd, new_prog: Fd, old_prog: Option<Fd>) -> Result<Reply> {
        let (link, new) = (self.objects.link(link)?, self.objects.prog(new_prog)?);
        if let Some(old) = old_prog
            && !Arc::ptr_eq(&self.objects.prog(old)?, &link.prog())
        {
            return Err(Error::os(libc::EPERM, "the link runs another program than the one to replace"));
        }
        check_form(&new, link.hook)?;
        link.replace(new);
        Ok(Reply::Done)
    }
}

/// A program is given a context of the form that its type knows.
fn check_form(prog: &Prog, hook: Hook) -> Result<()> {
    let prog_type = prog.spec.prog_type;
    let fits = match hook.form {
        Form::Record => prog_type == ProgType::TRACEPOINT,
        Form::Arguments => [ProgType::RAW_TRACEPOINT, ProgType::TRACING].contains(&prog_type),
        Form::Registers => prog_type == ProgType::KPROBE,
        Form::Sample => prog_type == ProgType::PERF_EVENT,
    };
    if fits {
        return Ok(());
    }
    let form = match hook.form {
        Form::Record => "a tracepoint",
        Form::Arguments => "a raw tracepoint",
        Form::Registers => "a probe",
        Form::Sample => "a sampled event",
    };
    let name = &prog.spec.name;
    Err(Error::os(
        libc::EINVAL,
        format!("program `{name}` of type `{prog_type}` cannot be attached to {form}"),
    ))
}
