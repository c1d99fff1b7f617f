//! Skep's side of `cargo xtask bench load`: drains a ring buffer that a test run has filled, and reads a hash in batches;
//! says how many nanoseconds of processor time a record and an entry took. Usage: read RECORDS ENTRIES

use std::ops::ControlFlow;
use std::sync::Arc;

use rustix::time::{ClockId, clock_gettime};
use skep::object::Object;
use skep::runtime::command::{BatchOp, Command, TestRun};
use skep::runtime::{Event, Map, SharedRuntime};
use skep::{Error, Loaded, Result};
use skep_kernel::KernelRuntime;

/// Times that the ring buffer is filled and drained; the median counts.
const ROUNDS: usize = 15;

const OBJECT: &[u8] = include_bytes!("../../../produce.bpf.o");

fn main() -> Result<()> {
    let number = |n| std::env::args().nth(n).and_then(|text| text.parse().ok());
    let (Some(records), Some(entries)) = (number(1), number(2)) else {
        return Err(Error::usage("two numbers are needed", "read RECORDS ENTRIES"));
    };
    let object = Object::read(OBJECT, "produce.bpf.o")?;
    let runtime: SharedRuntime = Arc::new(KernelRuntime::new());
    let loaded = skep::load(&runtime, &object, skep::host::link(&object)?)?;
    let sum = drain(&loaded, &runtime, records)? + read_all(map(&loaded, "entries")?, entries)?;
    println!("sum {sum}");
    Ok(())
}

fn map<'a>(loaded: &'a Loaded, name: &str) -> Result<&'a Map> {
    let found = loaded.maps().find(|map| map.def.name == name).map(|map| &map.map);
    found.ok_or_else(|| Error::usage(format!("no map `{name}`"), "is this the object of the benchmark?"))
}

fn drain(loaded: &Loaded, runtime: &SharedRuntime, records: u32) -> Result<u64> {
    let mut events = map(loaded, "events")?.events()?;
    let prog = loaded.programs.iter().flatten().next().map(|program| program.program.fd());
    let prog = prog.ok_or_else(|| Error::usage("no program", "is this the object of the benchmark?"))?;
    let (mut handled, mut sum) = (0, 0_u64);
    let mut times = [0; ROUNDS];
    for time in &mut times {
        let run = TestRun { ctx_in: &records.to_ne_bytes(), ..TestRun::default() };
        runtime.bpf(Command::ProgTestRun { prog, run })?;
        let start = now_ns();
        events.drain(&mut |event| {
            if let Event::Record { data, .. } = event {
                handled += 1;
                sum = sum.wrapping_add(word(data.get(8..16)));
            }
            ControlFlow::Continue(())
        })?;
        *time = now_ns() - start;
    }
    assert_eq!(handled, ROUNDS as u64 * u64::from(records), "every record is handed over");
    times.sort_unstable();
    println!("record_ns {}", times[ROUNDS / 2] as f64 / f64::from(records));
    Ok(sum)
}

fn read_all(map: &Map, entries: u32) -> Result<u64> {
    let keys: Vec<u8> = (0..entries).flat_map(u32::to_ne_bytes).collect();
    let values: Vec<u8> = (0..u64::from(entries)).flat_map(|n| (7 * n).to_ne_bytes()).collect();
    map.batch(BatchOp::Update { keys: &keys, values: &values, count: entries, elem_flags: 0 })?;
    let (mut read, mut sum) = (0, 0_u64);
    let start = now_ns();
    map.for_each(&mut |key, value| {
        read += 1;
        sum = sum.wrapping_add(
            u64::from(u32::from_ne_bytes([key[0], key[1], key[2], key[3]])) + word(Some(value)),
        );
    })?;
    let end = now_ns();
    assert_eq!(read, entries, "every entry is handed over");
    println!("entry_ns {}", (end - start) as f64 / f64::from(entries));
    Ok(sum)
}

fn word(bytes: Option<&[u8]>) -> u64 {
    bytes.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_ne_bytes)
}

/// Processor time of this thread.
fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
