//! `prog profile`: how often a program runs in some time, and for how long.

use std::path::Path;
use std::time::Duration;

use skep::runtime::command::ObjectKind;
use skep::runtime::info::{self, ProgInfo};
use skep::runtime::{Command, SharedRuntime};

use super::super::failure::{Failure, Outcome};
use super::super::select;
use super::super::shell::Shell;
use super::super::words::Words;

/// What the kernel counts of every program while somebody asks it to.
const RUN_TIME: &str = "run_time_ns";
/// What bpftool counts with the processor's counters, by programs at entry and exit.
const COUNTERS: [&str; 6] =
    ["cycles", "instructions", "l1d_loads", "llc_misses", "itlb_misses", "dtlb_misses"];
/// Seconds, unless others are asked for; bpftool goes on until interrupted.
const SECONDS: u32 = 10;

/// `prog profile PROG [duration SECONDS] METRIC …`
pub(crate) fn profile(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let prog = select::prog(shell, words)?;
    let seconds = if words.keyword("duration") { words.number("the duration")? } else { SECONDS };
    check_metrics(words)?;
    let runtime = shell.runtime()?;
    let id = prog.info.id;
    let counted = count(&runtime, id, Duration::from_secs(seconds.into()))?;
    if shell.is_json() {
        let json = &mut shell.json;
        json.begin_array();
        json.begin_object();
        json.string_field("metric", RUN_TIME);
        json.unsigned_field("run_cnt", counted.runs);
        json.unsigned_field("value", counted.time_ns);
        json.unsigned_field("enabled", u64::from(seconds) * 1_000_000_000);
        json.unsigned_field("running", u64::from(seconds) * 1_000_000_000);
        json.end_object();
        json.end_array();
    } else {
        let each = if counted.runs == 0 { 0.0 } else { counted.time_ns as f64 / counted.runs as f64 };
        shell.json.text(format_args!("\n{:>18} {:<20}\n", counted.runs, "run_cnt"));
        let ratio = format!("# {each:>8.2} {:<30}", "ns per run");
        shell.json.text(format_args!("{:>18} {RUN_TIME:<20}{ratio}(100.00%)\n", counted.time_ns));
    }
    Ok(())
}

fn check_metrics(words: &mut Words<'_>) -> Outcome {
    if words.is_empty() {
        return Err(Failure::new("say what to count").hint(format!("there is `{RUN_TIME}`")));
    }
    while let Some(word) = words.next() {
        if word == RUN_TIME {
            continue;
        }
        if !COUNTERS.contains(&word) {
            return Err(Failure::new(format!("there is no metric `{word}`")).hint(format!(
                "there is `{RUN_TIME}`; with the processor's counters bpftool has {}",
                COUNTERS.join(", ")
            )));
        }
        let here = match Path::new("/sys/bus/event_source/devices/cpu").exists() {
            true => "counting it within a program is not supported",
            false => "this machine shows no counters of its processor",
        };
        return Err(Failure::new(format!("`{word}`: {here}"))
            .hint(format!("`{RUN_TIME}` is counted by the kernel; `skep top` shows it for all programs")));
    }
    Ok(())
}

/// What a program did in some time.
struct Counted {
    runs: u64,
    time_ns: u64,
}

/// Has the kernel count for so long, and no longer.
fn count(runtime: &SharedRuntime, id: u32, time: Duration) -> Outcome<Counted> {
    let counting = runtime.bpf(Command::EnableStats).and_then(|reply| info::owned(runtime, reply))?;
    let handle = select::open_id(runtime, ObjectKind::Prog, id)?;
    let before = ProgInfo::of(runtime, handle.fd(), &[])?;
    std::thread::sleep(time);
    let after = ProgInfo::of(runtime, handle.fd(), &[])?;
    drop(counting);
    Ok(Counted {
        runs: after.run_cnt.saturating_sub(before.run_cnt),
        time_ns: after.run_time_ns.saturating_sub(before.run_time_ns),
    })
}
