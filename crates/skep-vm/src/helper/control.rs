//! Helpers that change where the program goes on, and those that let programs exclude each other.

use std::time::{Duration, Instant};

use super::{Call, HelperResult, Stop, argument, errno};
use crate::memory::Rmw;
use crate::{Errno, Reason};

/// Tail calls in one run (`MAX_TAIL_CALL_CNT`).
const MAX_TAIL_CALLS: u32 = 33;

/// `bpf_tail_call(ctx, map, index)`: goes on in another program, or behind the call when there is none.
pub(super) fn tail_call(call: &mut Call<'_, '_>) -> HelperResult {
    let map = call.map(1)?;
    let programs = map.programs().ok_or_else(|| argument("the map is no program array"))?;
    let target = programs.get(call.u32(2));
    match target {
        Some(target) if call.machine.tail_calls < MAX_TAIL_CALLS => {
            call.machine.tail_calls += 1;
            Err(Box::new(Stop::TailCall(target)))
        }
        _ => errno(Errno::ENOENT),
    }
}

/// Rounds of `bpf_loop` (`BPF_MAX_LOOPS`).
const MAX_LOOPS: u32 = 8 << 20;

/// `bpf_loop(rounds, function, ctx, flags)`: calls a function with the round's number and a context until it answers 1.
pub(super) fn loop_(call: &mut Call<'_, '_>) -> HelperResult {
    let rounds = call.u32(0);
    let [_, _, context, flags, _] = call.args;
    if flags != 0 {
        return errno(Errno::EINVAL);
    }
    if rounds > MAX_LOOPS {
        return errno(Errno::E2BIG);
    }
    let function = call.function(1)?;
    for round in 0..rounds {
        if call.callback(function, [round.into(), context, 0, 0, 0])? != 0 {
            return Ok((round + 1).into());
        }
    }
    Ok(rounds.into())
}

/// Waits for the lock; each try costs budget, so that programs that lock each other out come to an end.
pub(super) fn spin_lock(call: &mut Call<'_, '_>) -> HelperResult {
    let lock = call.args[0];
    let machine = &mut *call.machine;
    if machine.locks.contains(&lock) {
        return Err(argument("the program holds this lock already"));
    }
    loop {
        let old = machine.space.rmw::<u32>(1, lock, 1, Rmw::Cmpxchg(0));
        if old.map_err(|_| Reason::Store { addr: lock, size: 4 })? == 0 {
            machine.locks.push(lock);
            return Ok(0);
        }
        machine.charge(100)?;
        std::thread::yield_now();
    }
}

/// `bpf_throw(cookie)`: leaves all functions of the run. Its result is the cookie, or what the program's callback makes of
/// that.
pub(super) fn throw(call: &mut Call<'_, '_>) -> HelperResult {
    let cookie = call.args[0];
    let result = match call.program.exception_callback() {
        Some(function) => call.callback(function, [cookie, 0, 0, 0, 0])?,
        None => cookie,
    };
    Err(Reason::Thrown(result).into())
}

/// `bpf_res_spin_lock(lock)`: answers an error where a wait would not end, or takes too long.
pub(super) fn res_spin_lock(call: &mut Call<'_, '_>) -> HelperResult {
    /// `RES_DEF_TIMEOUT`.
    const TIMEOUT: Duration = Duration::from_millis(250);
    let lock = call.args[0];
    let machine = &mut *call.machine;
    if machine.locks.contains(&lock) {
        return errno(Errno::EDEADLK);
    }
    let mut began = None;
    loop {
        let old = machine.space.rmw::<u32>(1, lock, 1, Rmw::Cmpxchg(0));
        if old.map_err(|_| Reason::Store { addr: lock, size: 4 })? == 0 {
            machine.locks.push(lock);
            return Ok(0);
        }
        if began.get_or_insert_with(Instant::now).elapsed() > TIMEOUT {
            return errno(Errno::ETIMEDOUT);
        }
        std::thread::yield_now();
    }
}

pub(super) fn spin_unlock(call: &mut Call<'_, '_>) -> HelperResult {
    let lock = call.args[0];
    let machine = &mut *call.machine;
    let Some(n) = machine.locks.iter().position(|held| *held == lock) else {
        return Err(argument("the program does not hold this lock"));
    };
    machine.locks.swap_remove(n);
    let stored = machine.space.rmw::<u32>(1, lock, 0, Rmw::Xchg);
    stored.map_err(|_| Reason::Store { addr: lock, size: 4 })?;
    Ok(0)
}

/// Exchanges a pointer in a map value.
pub(super) fn kptr_xchg(call: &mut Call<'_, '_>) -> HelperResult {
    let [addr, new, ..] = call.args;
    let old = call.machine.space.rmw::<u64>(1, addr, new, Rmw::Xchg);
    Ok(old.map_err(|_| Reason::Store { addr, size: 8 })?)
}
