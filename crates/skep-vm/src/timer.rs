//! Timers and work queues in map values: functions of programs that are called later, on a thread of this crate's own.
//!
//! A [`Timer`] belongs to the place of its field in a map. Its states: made, with a callback, armed, running; a run that
//! arms it again goes from running to armed. It is cancelled when its element is given up, and gone with its map. It does
//! not keep its program alive: when the last descriptor and link of that are closed, the callback is not called any more.
//!
//! Work queues are timers that are due at once.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::{self, ThreadId};
use std::time::Duration;

use crate::clock::{self, Clock};
use crate::machine::run_later;
use crate::map::Map;
use crate::program::Program;
use crate::{Env, Errno, NoEnv};

/// The timers of a map, by the addresses of their fields.
#[derive(Default)]
pub(crate) struct Timers(Mutex<HashMap<u64, Arc<Timer>>>);

impl Timers {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Timer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The timer at an address, if it was made.
    pub(crate) fn get(&self, addr: u64) -> Option<Arc<Timer>> {
        self.lock().get(&addr).cloned()
    }

    /// Makes the timer at an address, once.
    pub(crate) fn make(&self, map: &Arc<Map>, addr: u64, clock: Clock) -> Result<(), Errno> {
        let mut timers = self.lock();
        if timers.contains_key(&addr) {
            return Err(Errno::EBUSY);
        }
        let timer = Timer { map: Arc::downgrade(map), addr, clock, state: Mutex::default() };
        timers.insert(addr, Arc::new(timer));
        Ok(())
    }

    /// Takes away the timers of a value that is given up; a callback that runs comes to its end.
    pub(crate) fn remove(&self, value: Range<u64>) {
        self.lock().retain(|addr, timer| {
            let stays = !value.contains(addr);
            if !stays {
                timer.disarm();
            }
            stays
        });
    }
}

/// A field `struct bpf_timer` or `struct bpf_wq` in use.
pub(crate) struct Timer {
    map: Weak<Map>,
    /// Address of the field.
    addr: u64,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    callback: Option<Callback>,
    /// The start that is waited for; an earlier one that comes due is stale.
    armed: Option<u64>,
    starts: u64,
    /// The thread that its callback runs on.
    runs_on: Option<ThreadId>,
}

struct Callback {
    program: Weak<Program>,
    function: usize,
    /// Taken while the callback runs.
    world: Option<Box<dyn Env + Send>>,
}

impl Timer {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn disarm(&self) {
        let mut state = self.state();
        (state.armed, state.callback) = (None, None);
    }

    /// Sets what is called when the time has come.
    pub(crate) fn set_callback(&self, program: Weak<Program>, function: usize, world: Box<dyn Env + Send>) {
        self.state().callback = Some(Callback { program, function, world: Some(world) });
    }

    /// Arms it, for so many nanoseconds from now or for a time of its clock.
    pub(crate) fn start(self: &Arc<Self>, ns: u64, absolute: bool) -> Result<(), Errno> {
        let wait = if absolute { ns.saturating_sub(clock::read(self.clock)) } else { ns };
        let mut state = self.state();
        if state.callback.is_none() {
            return Err(Errno::EINVAL);
        }
        state.starts += 1;
        state.armed = Some(state.starts);
        let due_ns = clock::read(Clock::Monotonic).saturating_add(wait);
        Schedule::shared().add(Waiting { due_ns, start: state.starts, timer: Arc::downgrade(self) });
        Ok(())
    }

    /// Stops it and forgets its callback; answers whether it was armed. A callback cannot cancel itself.
    pub(crate) fn cancel(&self) -> Result<bool, Errno> {
        let mut state = self.state();
        if state.runs_on == Some(thread::current().id()) {
            return Err(Errno::EDEADLK);
        }
        state.callback = None;
        Ok(state.armed.take().is_some())
    }

    /// Calls the function, if this start is still waited for.
    fn fire(&self, start: u64) {
        let Some(map) = self.map.upgrade() else { return };
        let Some((program, function, mut world)) = self.begin(start) else { return };
        if let Err(fault) = run_later(&program, function, &map, self.addr, &mut *world) {
            world.failed_later(&program.info().clone(), &fault);
        }
        let mut state = self.state();
        state.runs_on = None;
        if let Some(callback) = &mut state.callback {
            callback.world.get_or_insert(world);
        }
    }

    fn begin(&self, start: u64) -> Option<(Arc<Program>, usize, Box<dyn Env + Send>)> {
        let mut state = self.state();
        if state.armed != Some(start) {
            return None;
        }
        state.armed = None;
        let callback = state.callback.as_mut()?;
        let program = callback.program.upgrade()?;
        let world = callback.world.take().unwrap_or_else(|| Box::new(NoEnv));
        let function = callback.function;
        state.runs_on = Some(thread::current().id());
        Some((program, function, world))
    }
}

/// A start whose time has not come.
struct Waiting {
    due_ns: u64,
    start: u64,
    timer: Weak<Timer>,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due_ns, self.start).cmp(&(other.due_ns, other.start))
    }
}

/// All that waits, and the thread that calls it.
#[derive(Default)]
struct Schedule {
    waiting: Mutex<BinaryHeap<Reverse<Waiting>>>,
    changed: Condvar,
}

impl Schedule {
    /// The only one; its thread begins with the first timer.
    fn shared() -> &'static Self {
        static SHARED: OnceLock<Schedule> = OnceLock::new();
        static THREAD: OnceLock<bool> = OnceLock::new();
        let shared = SHARED.get_or_init(Self::default);
        THREAD.get_or_init(|| {
            thread::Builder::new().name("skep-timers".to_owned()).spawn(|| shared.run()).is_ok()
        });
        shared
    }

    fn lock(&self) -> MutexGuard<'_, BinaryHeap<Reverse<Waiting>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, waiting: Waiting) {
        self.lock().push(Reverse(waiting));
        self.changed.notify_one();
    }

    fn run(&self) {
        loop {
            let next = self.next();
            if let Some(timer) = next.timer.upgrade() {
                timer.fire(next.start);
            }
        }
    }

    /// Waits until one is due.
    fn next(&self) -> Waiting {
        let mut waiting = self.lock();
        loop {
            let now = clock::read(Clock::Monotonic);
            let wait = waiting.peek().map(|Reverse(first)| first.due_ns.saturating_sub(now));
            waiting = match wait {
                Some(0) => {
                    if let Some(Reverse(first)) = waiting.pop() {
                        return first;
                    }
                    waiting
                }
                Some(ns) => {
                    let timeout = Duration::from_nanos(ns);
                    let woken = self.changed.wait_timeout(waiting, timeout);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}
