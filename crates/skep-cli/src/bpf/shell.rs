//! What a command works with: the options, the runtime, and where output goes.

use std::sync::Arc;

use skep::runtime::SharedRuntime;
use skep_kernel::KernelRuntime;
use skep_remote::{client, default_path};

use super::failure::{Failure, Outcome};
use super::json::Json;
use super::options::Options;
use crate::args::RuntimeChoice;

/// The surroundings of a command.
pub(crate) struct Shell {
    pub(crate) options: Options,
    /// Where output goes, JSON or text.
    pub(crate) json: Json,
    runtime: Option<SharedRuntime>,
}

impl Shell {
    pub(crate) fn new(options: Options) -> Self {
        Self { json: Json::new(options.pretty), options, runtime: None }
    }

    /// Is the output JSON?
    pub(crate) fn is_json(&self) -> bool {
        self.options.json
    }

    /// The runtime whose objects are meant, opened when it is first wanted.
    pub(crate) fn runtime(&mut self) -> Outcome<SharedRuntime> {
        if let Some(runtime) = &self.runtime {
            return Ok(Arc::clone(runtime));
        }
        let runtime: SharedRuntime = match self.choice() {
            // Objects of a runtime in this process would be gone with it: those of the daemon are meant.
            Some(RuntimeChoice::User) => Arc::new(client::connect(&default_path())?),
            Some(RuntimeChoice::Kernel) | None => Arc::new(KernelRuntime::new()),
        };
        self.runtime = Some(Arc::clone(&runtime));
        Ok(runtime)
    }

    /// A runtime for objects that end with this command: unless the kernel is asked for, one in this process.
    pub(crate) fn passing_runtime(&mut self) -> Outcome<SharedRuntime> {
        match self.choice() {
            Some(RuntimeChoice::Kernel) => self.runtime(),
            _ => Ok(crate::runtime::open_user(skep_user::Config::default())?),
        }
    }

    /// The runtime that was asked for, by an option or the environment.
    pub(crate) fn choice(&self) -> Option<RuntimeChoice> {
        self.options.runtime.or_else(from_environment)
    }

    /// Ends a command: tells its failure, closes its document, and answers the exit status.
    pub(crate) fn conclude(&mut self, result: Outcome) -> u8 {
        self.tell(&result);
        if self.is_json() {
            self.json.close_to(0);
            self.json.finish_document();
        }
        result.map_or_else(|failure| failure.status(), |()| 0)
    }

    /// A command that has said nothing says `null` in JSON; a failure is `{"error": …}` there and a line on stderr else.
    pub(crate) fn tell(&mut self, result: &Outcome) {
        match result {
            Ok(()) if self.is_json() && self.json.values() == 0 => self.json.null(),
            Err(failure) if failure.is_silent() => {
                if self.is_json() && self.json.values() == 0 {
                    self.json.null();
                }
            }
            Err(failure) if self.is_json() && failure.is_told() => {}
            Err(failure) if self.is_json() => self.tell_json(failure),
            Err(failure) if failure.message().is_empty() => {}
            Err(failure) => {
                self.json.flush();
                super::report(failure);
            }
            Ok(()) => {}
        }
    }

    fn tell_json(&mut self, failure: &Failure) {
        if failure.is_absent() {
            if failure.is_aside() {
                super::report(failure);
            }
            if self.json.values() == 0 {
                self.json.null();
            }
            return;
        }
        self.json.begin_object();
        self.json.string_field("error", failure.message());
        if let Some(hint) = failure.advice() {
            self.json.string_field("hint", hint);
        }
        self.json.end_object();
    }
}

fn from_environment() -> Option<RuntimeChoice> {
    match std::env::var("SKEP_RUNTIME").ok()?.as_str() {
        "user" => Some(RuntimeChoice::User),
        "kernel" => Some(RuntimeChoice::Kernel),
        _ => None,
    }
}
