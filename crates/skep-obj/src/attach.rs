//! Where a program wants to run, as its section name says it; runtimes read this and nothing else of the
//! section.

use skep_isa::uapi::AttachType;

use crate::sampling::Sampling;
use crate::section::{Hook, SectionDef};

/// A place programs are attached to.
///
/// Names come from the section (`tracepoint/syscalls/sys_enter_openat`); a part the section leaves open is
/// `None`, and the caller fills it in before attaching.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttachPoint {
    /// Nothing to attach by itself: run by test runs, tail calls, or with more said by the caller.
    None,
    /// `tracepoint/CATEGORY/NAME`.
    Tracepoint {
        /// Directory under tracefs' `events`, such as `syscalls`.
        category: String,
        /// Event, such as `sys_enter_openat`.
        name: String,
    },
    /// `raw_tp/NAME`, `raw_tp.w/NAME`.
    RawTracepoint {
        /// Event, such as `sys_enter`.
        name: String,
        /// May the program write the context's buffer?
        writable: bool,
    },
    /// `tp_btf/NAME`.
    BtfTracepoint {
        /// Event, such as `sched_switch`.
        name: String,
    },
    /// `kprobe/FUNCTION[+OFFSET]`, `kretprobe/FUNCTION`.
    Kprobe {
        /// Kernel function.
        function: Option<String>,
        /// Bytes from its start.
        offset: u64,
        /// On return instead of entry?
        ret: bool,
    },
    /// `kprobe.multi/PATTERN`, `kretprobe.multi/PATTERN`, `kprobe.session/PATTERN`.
    KprobeMulti {
        /// Glob over kernel functions.
        pattern: Option<String>,
        /// On return instead of entry?
        ret: bool,
        /// On both, with a session cookie?
        session: bool,
    },
    /// `ksyscall/NAME`, `kretsyscall/NAME`.
    Ksyscall {
        /// System call without prefix, such as `openat`.
        name: Option<String>,
        /// On return instead of entry?
        ret: bool,
    },
    /// `uprobe/PATH:SYMBOL[+OFFSET]`, `uretprobe/…`.
    Uprobe {
        /// Executable or library; a bare name is looked up as the dynamic linker would.
        path: Option<String>,
        /// Symbol in it.
        symbol: Option<String>,
        /// Bytes from the symbol, or from the start of the file without one.
        offset: u64,
        /// On return instead of entry?
        ret: bool,
    },
    /// `uprobe.multi/PATH:PATTERN`, `uretprobe.multi/…`, `uprobe.session/…`.
    UprobeMulti {
        /// Executable or library.
        path: Option<String>,
        /// Glob over its symbols.
        pattern: Option<String>,
        /// On return instead of entry?
        ret: bool,
        /// On both, with a session cookie?
        session: bool,
    },
    /// `usdt/PATH:PROVIDER:NAME`.
    Usdt {
        /// Executable or library.
        path: Option<String>,
        /// Provider, such as `libc`.
        provider: Option<String>,
        /// Probe, such as `setjmp`.
        name: Option<String>,
    },
    /// `perf_event`: sampled events and timers, chosen by the caller (`perf_event:99hz`).
    PerfEvent {
        /// Which event and how often; `None` leaves it to the runtime.
        sampling: Option<Sampling>,
    },
    /// `fentry/`, `fexit/`, `fmod_ret/`, `lsm/`, `lsm_cgroup/`, `iter/`, `freplace/`: a BTF id named by the
    /// section.
    Btf {
        /// Which of them; `freplace` has none.
        attach_type: Option<AttachType>,
        /// Function, hook or iterator.
        name: Option<String>,
    },
    /// Everything that is attached to a device, a cgroup, a socket, a map or a network namespace by its
    /// attach type.
    Target {
        /// Which hook.
        attach_type: AttachType,
    },
    /// `struct_ops`: attached through its map.
    StructOps,
}

impl AttachPoint {
    /// Does it leave open what to attach to, so that the caller has to say (`SEC("uprobe")`)?
    pub fn is_open(&self) -> bool {
        match self {
            Self::Kprobe { function: name, .. }
            | Self::KprobeMulti { pattern: name, .. }
            | Self::Ksyscall { name, .. }
            | Self::Uprobe { path: name, .. }
            | Self::UprobeMulti { path: name, .. }
            | Self::Usdt { path: name, .. }
            | Self::Btf { name, .. } => name.is_none(),
            _ => false,
        }
    }
}

/// Reads the part of a section's name behind the row's prefix; the error says what form it should have.
pub(crate) fn parse(def: &SectionDef, rest: Option<&str>) -> Result<AttachPoint, String> {
    let name = || rest.map(str::to_owned);
    let ret = def.pattern.starts_with("kret") || def.pattern.starts_with("uret");
    let session = def.pattern.contains("session");
    Ok(match def.hook {
        Hook::None => AttachPoint::None,
        Hook::PerfEvent => AttachPoint::PerfEvent { sampling: rest.map(Sampling::parse).transpose()? },
        Hook::StructOps => AttachPoint::StructOps,
        Hook::Target => {
            def.attach_type.map_or(AttachPoint::None, |attach_type| AttachPoint::Target { attach_type })
        }
        Hook::Btf => AttachPoint::Btf { attach_type: def.attach_type, name: name() },
        Hook::Tracepoint => tracepoint(rest)?,
        Hook::RawTracepoint => match rest {
            Some(name) => {
                AttachPoint::RawTracepoint { name: name.to_owned(), writable: def.pattern.contains(".w") }
            }
            None => AttachPoint::None,
        },
        Hook::BtfTracepoint => match rest {
            Some(name) => AttachPoint::BtfTracepoint { name: name.to_owned() },
            None => AttachPoint::None,
        },
        Hook::Kprobe => kprobe(rest, ret)?,
        Hook::KprobeMulti => AttachPoint::KprobeMulti { pattern: pattern(rest)?, ret, session },
        Hook::Ksyscall => AttachPoint::Ksyscall { name: name(), ret },
        Hook::Uprobe => uprobe(rest, ret)?,
        Hook::UprobeMulti => {
            let (path, pattern) = rest.map(path_and_symbol).transpose()?.unzip();
            AttachPoint::UprobeMulti { path, pattern, ret, session }
        }
        Hook::Usdt => usdt(rest)?,
    })
}

fn tracepoint(rest: Option<&str>) -> Result<AttachPoint, String> {
    match rest.map(|rest| rest.split_once('/')) {
        None => Ok(AttachPoint::None),
        Some(Some((category, name))) if !category.is_empty() && !name.is_empty() => {
            Ok(AttachPoint::Tracepoint { category: category.to_owned(), name: name.to_owned() })
        }
        Some(_) => Err("a tracepoint is named `tracepoint/CATEGORY/NAME`".to_owned()),
    }
}

fn kprobe(rest: Option<&str>, ret: bool) -> Result<AttachPoint, String> {
    let Some(rest) = rest else {
        return Ok(AttachPoint::Kprobe { function: None, offset: 0, ret });
    };
    let (function, offset) = symbol_and_offset(rest);
    if function.is_empty()
        || !function.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':'))
    {
        return Err(format!("`{rest}` is not `FUNCTION` or `FUNCTION+OFFSET`"));
    }
    return_has_no_offset(ret, offset)?;
    Ok(AttachPoint::Kprobe { function: Some(function.to_owned()), offset, ret })
}

fn pattern(rest: Option<&str>) -> Result<Option<String>, String> {
    match rest {
        Some(rest)
            if !rest.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '*' | '?')) =>
        {
            Err(format!("`{rest}` is not a pattern of function names with `*` and `?`"))
        }
        rest => Ok(rest.map(str::to_owned)),
    }
}

fn uprobe(rest: Option<&str>, ret: bool) -> Result<AttachPoint, String> {
    let Some(rest) = rest else {
        return Ok(AttachPoint::Uprobe { path: None, symbol: None, offset: 0, ret });
    };
    let (path, place) = path_and_symbol(rest)?;
    let (symbol, offset) = match number(&place) {
        Some(offset) => ("", offset),
        None => symbol_and_offset(&place),
    };
    return_has_no_offset(ret, if symbol.is_empty() { 0 } else { offset })?;
    let symbol = Some(symbol.to_owned()).filter(|symbol| !symbol.is_empty());
    Ok(AttachPoint::Uprobe { path: Some(path), symbol, offset, ret })
}

fn usdt(rest: Option<&str>) -> Result<AttachPoint, String> {
    let Some(rest) = rest else {
        return Ok(AttachPoint::Usdt { path: None, provider: None, name: None });
    };
    let part = |part: &str| Some(part.to_owned()).filter(|part| !part.is_empty());
    let parts: Vec<_> = rest.split(':').map(part).collect();
    match parts.as_slice() {
        [path @ Some(_), provider @ Some(_), name @ Some(_)] => {
            Ok(AttachPoint::Usdt { path: path.clone(), provider: provider.clone(), name: name.clone() })
        }
        _ => Err("a USDT probe is named `usdt/PATH:PROVIDER:NAME`".to_owned()),
    }
}

fn path_and_symbol(rest: &str) -> Result<(String, String), String> {
    match rest.split_once(':') {
        Some((path, symbol)) if !path.is_empty() && !symbol.is_empty() => {
            Ok((path.to_owned(), symbol.to_owned()))
        }
        _ => Err(format!("`{rest}` is not `PATH:SYMBOL`")),
    }
}

/// Splits `symbol+0x10`; what follows a `+` and is no number belongs to the symbol.
fn symbol_and_offset(text: &str) -> (&str, u64) {
    text.rsplit_once('+').and_then(|(symbol, offset)| Some((symbol, number(offset)?))).unwrap_or((text, 0))
}

/// A number as C writes it: decimal, `0x` hexadecimal or `0` octal.
fn number(text: &str) -> Option<u64> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        u64::from_str_radix(hex, 16).ok()
    } else if text.len() > 1 && text.starts_with('0') {
        u64::from_str_radix(text, 8).ok()
    } else {
        text.parse().ok()
    }
}

fn return_has_no_offset(ret: bool, offset: u64) -> Result<(), String> {
    if ret && offset != 0 {
        return Err("a return probe has no offset: it runs when the function returns".to_owned());
    }
    Ok(())
}
