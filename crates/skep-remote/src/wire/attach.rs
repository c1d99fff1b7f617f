//! Places to attach to, as they cross. Those that only the kernel has do not: they are named in words, for the error.

use serde::{Deserialize, Serialize};
use skep_isa::uapi::AttachType;
use skep_obj::{AttachPoint, Sampling, SamplingRate};
use skep_runtime::{AttachOptions, AttachTarget, Error, Fd, Result};

/// An [`AttachPoint`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Point {
    None,
    Tracepoint { category: String, name: String },
    RawTracepoint { name: String, writable: bool },
    BtfTracepoint { name: String },
    Uprobe { path: Option<String>, symbol: Option<String>, offset: u64, ret: bool },
    UprobeMulti { path: Option<String>, pattern: Option<String>, ret: bool, session: bool },
    Usdt { path: Option<String>, provider: Option<String>, name: Option<String> },
    PerfEvent { sampling: Option<Samples> },
    Iterator { name: Option<String> },
}

/// A [`Sampling`]; `hz` and period exclude each other.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Samples {
    kind: u32,
    config: u64,
    is_frequency: bool,
    rate: u64,
}

/// [`AttachOptions`], of which a runtime in user space has these.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Options {
    cookie: u64,
    process: Option<u32>,
    sampling: Option<Samples>,
    /// The map that an iterator goes through.
    map: Option<i32>,
}

impl Point {
    /// For crossing.
    pub(crate) fn of(point: &AttachPoint) -> Result<Self> {
        Ok(match point.clone() {
            AttachPoint::None => Self::None,
            AttachPoint::Tracepoint { category, name } => Self::Tracepoint { category, name },
            AttachPoint::RawTracepoint { name, writable } => Self::RawTracepoint { name, writable },
            AttachPoint::BtfTracepoint { name } => Self::BtfTracepoint { name },
            AttachPoint::Uprobe { path, symbol, offset, ret } => Self::Uprobe { path, symbol, offset, ret },
            AttachPoint::UprobeMulti { path, pattern, ret, session } => {
                Self::UprobeMulti { path, pattern, ret, session }
            }
            AttachPoint::Usdt { path, provider, name } => Self::Usdt { path, provider, name },
            AttachPoint::PerfEvent { sampling } => Self::PerfEvent { sampling: sampling.map(Samples::of) },
            AttachPoint::Btf { attach_type: Some(AttachType::TRACE_ITER), name } => Self::Iterator { name },
            other => {
                return Err(Error::unsupported(format!(
                    "the user runtime has no hook for {}",
                    described(&other)
                ))
                .hint("the kernel runtime may have it: `--runtime kernel`, as root"));
            }
        })
    }
}

impl From<Point> for AttachPoint {
    fn from(point: Point) -> Self {
        match point {
            Point::None => Self::None,
            Point::Tracepoint { category, name } => Self::Tracepoint { category, name },
            Point::RawTracepoint { name, writable } => Self::RawTracepoint { name, writable },
            Point::BtfTracepoint { name } => Self::BtfTracepoint { name },
            Point::Uprobe { path, symbol, offset, ret } => Self::Uprobe { path, symbol, offset, ret },
            Point::UprobeMulti { path, pattern, ret, session } => {
                Self::UprobeMulti { path, pattern, ret, session }
            }
            Point::Usdt { path, provider, name } => Self::Usdt { path, provider, name },
            Point::Iterator { name } => Self::Btf { attach_type: Some(AttachType::TRACE_ITER), name },
            Point::PerfEvent { sampling } => Self::PerfEvent { sampling: sampling.map(Sampling::from) },
        }
    }
}

impl Samples {
    fn of(sampling: Sampling) -> Self {
        let (is_frequency, rate) = match sampling.rate {
            SamplingRate::Period(period) => (false, period),
            SamplingRate::FrequencyHz(hz) => (true, hz),
        };
        Self { kind: sampling.kind, config: sampling.config, is_frequency, rate }
    }
}

impl From<Samples> for Sampling {
    fn from(Samples { kind, config, is_frequency, rate }: Samples) -> Self {
        let rate = if is_frequency { SamplingRate::FrequencyHz(rate) } else { SamplingRate::Period(rate) };
        Self { kind, config, rate }
    }
}

impl Options {
    /// For crossing.
    pub(crate) fn of(options: &AttachOptions) -> Result<Self> {
        let map = match &options.target {
            None => None,
            Some(AttachTarget::Map(map)) => Some(map.0),
            Some(_) => {
                return Err(Error::unsupported("the user runtime attaches to no devices or control groups")
                    .hint("the kernel runtime does: `--runtime kernel`, as root"));
            }
        };
        let sampling = options.sampling.map(Samples::of);
        Ok(Self { cookie: options.cookie, process: options.process, sampling, map })
    }
}

impl From<Options> for AttachOptions {
    fn from(Options { cookie, process, sampling, map }: Options) -> Self {
        let target = map.map(|map| AttachTarget::Map(Fd(map)));
        Self { target, cookie, process, sampling: sampling.map(Sampling::from), ..Self::default() }
    }
}

fn described(point: &AttachPoint) -> String {
    match point {
        AttachPoint::Kprobe { .. } | AttachPoint::KprobeMulti { .. } => "probes of the kernel".to_owned(),
        AttachPoint::Ksyscall { .. } => "functions of the kernel".to_owned(),
        AttachPoint::Btf { name: Some(name), .. } => format!("`{name}` of the kernel"),
        AttachPoint::Target { attach_type } => format!("`{attach_type}`"),
        _ => "this kind of program".to_owned(),
    }
}
