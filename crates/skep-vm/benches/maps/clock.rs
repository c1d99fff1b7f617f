//! Time on a busy machine: what a thread has used of processors.

/// Measures from its start on.
pub(crate) struct Timer(f64);

impl Timer {
    pub(crate) fn start() -> Self {
        Self(thread_ns())
    }

    /// Nanoseconds that this thread has run since.
    pub(crate) fn ns(&self) -> f64 {
        thread_ns() - self.0
    }
}

fn thread_ns() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}
