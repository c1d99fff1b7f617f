//! How often a `perf_event` program runs, and at what: what stands behind `perf_event:` when a program is attached.
//!
//! Sections have no such part. A caller writes `perf_event:99hz`, `perf_event:10000000` (a period, here in nanoseconds), or
//! names the event first: `perf_event:cache-misses:100000`.

/// A clock or counter whose overflow runs a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// `PERF_TYPE_HARDWARE` 0, `PERF_TYPE_SOFTWARE` 1 and on.
    pub kind: u32,
    /// Which event of its kind; software: `PERF_COUNT_SW_CPU_CLOCK` 0.
    pub config: u64,
    /// Once in so many events, or times a second.
    pub rate: SamplingRate,
}

/// How often a sampled event runs its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SamplingRate {
    /// Once in so many events (nanoseconds for clocks).
    Period(u64),
    /// So many times a second.
    FrequencyHz(u64),
}

/// `PERF_TYPE_HARDWARE` and `PERF_TYPE_SOFTWARE` (`include/uapi/linux/perf_event.h`).
const HARDWARE: u32 = 0;
const SOFTWARE: u32 = 1;

/// Events by the names that perf(1) gives them.
const EVENTS: &[(&str, u32, u64)] = &[
    ("cpu-clock", SOFTWARE, 0),
    ("task-clock", SOFTWARE, 1),
    ("page-faults", SOFTWARE, 2),
    ("context-switches", SOFTWARE, 3),
    ("cpu-migrations", SOFTWARE, 4),
    ("minor-faults", SOFTWARE, 5),
    ("major-faults", SOFTWARE, 6),
    ("cycles", HARDWARE, 0),
    ("instructions", HARDWARE, 1),
    ("cache-references", HARDWARE, 2),
    ("cache-misses", HARDWARE, 3),
    ("branches", HARDWARE, 4),
    ("branch-misses", HARDWARE, 5),
    ("bus-cycles", HARDWARE, 6),
    ("ref-cycles", HARDWARE, 9),
];

impl Sampling {
    /// What profilers do: the processor's clock, 49 times a second, which is not in step with anything.
    pub const PROFILE: Self = Self { kind: SOFTWARE, config: 0, rate: SamplingRate::FrequencyHz(49) };

    /// Reads `[EVENT:]RATE`; the error says what form that should have.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (event, rate) = match text.rsplit_once(':') {
            Some((event, rate)) => (event, rate),
            None if EVENTS.iter().any(|(name, ..)| *name == text) => (text, "49hz"),
            None => ("cpu-clock", text),
        };
        let known = EVENTS.iter().find(|(name, ..)| *name == event);
        let &(_, kind, config) = known.ok_or_else(|| {
            let names: Vec<&str> = EVENTS.iter().map(|(name, ..)| *name).collect();
            format!("there is no event `{event}`; there are {}", names.join(", "))
        })?;
        let rate = rate_of(rate).ok_or_else(|| {
            format!("`{rate}` is neither a frequency such as `99hz` nor a period such as `1000000`")
        })?;
        Ok(Self { kind, config, rate })
    }

    /// Is it a clock of processors or tasks, which counts nanoseconds?
    pub fn is_clock(&self) -> bool {
        self.kind == SOFTWARE && self.config <= 1
    }
}

/// A frequency in hertz or a period; neither may be 0.
fn rate_of(text: &str) -> Option<SamplingRate> {
    let lower = text.to_ascii_lowercase();
    let positive = |digits: &str| digits.parse().ok().filter(|&n: &u64| n > 0);
    match lower.strip_suffix("hz") {
        Some(digits) => positive(digits).map(SamplingRate::FrequencyHz),
        None => positive(&lower).map(SamplingRate::Period),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samplings_are_read() {
        let check = |text: &str, kind, config, rate| {
            assert_eq!(Sampling::parse(text), Ok(Sampling { kind, config, rate }), "`{text}`");
        };
        check("99hz", 1, 0, SamplingRate::FrequencyHz(99));
        check("99Hz", 1, 0, SamplingRate::FrequencyHz(99));
        check("1000000", 1, 0, SamplingRate::Period(1_000_000));
        check("task-clock", 1, 1, SamplingRate::FrequencyHz(49));
        check("cache-misses:5000", 0, 3, SamplingRate::Period(5000));
        for (text, why) in [
            ("0hz", "neither a frequency"),
            ("", "neither a frequency"),
            ("cache-mises:5", "there is no event `cache-mises`"),
            ("cycles:-1", "neither a frequency"),
        ] {
            let message = Sampling::parse(text).expect_err(text);
            assert!(message.contains(why), "`{text}`: {message}");
        }
    }
}
