//! What this machine can run, and why not: for both runtimes, as a list of findings with remedies.
//!
//! Looks and tries, and changes nothing: files are read, and programs and maps of a moment are loaded.

mod config;
mod hooks;
mod machine;
mod user;

use std::sync::Arc;

use skep_kernel::KernelRuntime;
use skep_runtime::SharedRuntime;

use crate::features::{Prober, Support};
use crate::host;

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// The kernel and its configuration.
    Kernel,
    /// What the caller may do.
    Privileges,
    /// File systems.
    Mounts,
    /// Kernel types.
    Types,
    /// What programs can be attached to in the kernel runtime.
    Hooks,
    /// What the user runtime needs.
    UserRuntime,
    /// Other programs that are called.
    Tools,
}

impl Area {
    /// How it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Privileges => "privileges",
            Self::Mounts => "mounts",
            Self::Types => "types",
            Self::Hooks => "hooks",
            Self::UserRuntime => "user runtime",
            Self::Tools => "tools",
        }
    }
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Good,
    /// Not there; something cannot be done.
    Missing,
    /// It could not be found out.
    Unknown,
}

impl State {
    /// How it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "yes",
            Self::Missing => "no",
            Self::Unknown => "unknown",
        }
    }

    fn when(is_good: bool) -> Self {
        if is_good { Self::Good } else { Self::Missing }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What it is about.
    pub area: Area,
    /// What was looked at.
    pub name: String,
    /// How it is.
    pub state: State,
    /// What was seen, or what it is for.
    pub detail: String,
    /// What to do about it, if there is something.
    pub hint: Option<String>,
}

impl Finding {
    fn new(area: Area, name: impl Into<String>, state: State, detail: impl Into<String>) -> Self {
        Self { area, name: name.into(), state, detail: detail.into(), hint: None }
    }

    /// With advice, unless all is well.
    fn hint(mut self, hint: &str) -> Self {
        if self.state != State::Good {
            self.hint = Some(hint.to_owned());
        }
        self
    }

    fn of_support(area: Area, name: &str, support: Support, detail: &str) -> Self {
        match support {
            Support::Yes => Self::new(area, name, State::Good, detail),
            Support::No(reason) => Self::new(area, name, State::Missing, first_line(&reason)),
            Support::Unknown(reason) => Self::new(area, name, State::Unknown, first_line(&reason)),
        }
    }
}

/// All that was found.
#[derive(Clone, Debug)]
pub struct Report {
    /// In the order of areas.
    pub findings: Vec<Finding>,
    /// Can the kernel runtime load programs?
    pub kernel: bool,
    /// Can the user runtime run programs?
    pub user: bool,
}

/// Looks at this machine.
pub fn examine() -> Report {
    let runtime: SharedRuntime = Arc::new(KernelRuntime::new());
    let prober = Prober::new(&runtime);
    let config = host::kconfig();
    let mut findings = Vec::new();
    findings.extend(config::findings(config.as_ref()));
    findings.extend(machine::privileges(&prober));
    findings.extend(machine::mounts());
    findings.extend(machine::types());
    findings.extend(hooks::findings(&prober));
    let user = user::findings();
    let runs = |findings: &[Finding]| findings.iter().all(|f| f.state != State::Missing || f.hint.is_none());
    let (kernel, user_runs) =
        (prober.prog_type(skep_isa::uapi::ProgType::SOCKET_FILTER).is_yes(), runs(&user));
    findings.extend(user);
    findings.extend(machine::tools());
    Report { findings, kernel, user: user_runs }
}

/// Verifier logs have many lines; the first says what is wrong.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_area_is_looked_at() {
        let report = examine();
        for area in
            [Area::Kernel, Area::Privileges, Area::Mounts, Area::Types, Area::Hooks, Area::UserRuntime]
        {
            assert!(report.findings.iter().any(|finding| finding.area == area), "{area:?}");
        }
        for finding in &report.findings {
            assert!(!finding.name.is_empty() && !finding.detail.contains('\n'), "{finding:?}");
        }
        assert!(report.user, "this is tested where the user runtime runs: {:#?}", report.findings);
    }
}
