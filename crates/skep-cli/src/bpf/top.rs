//! `skep top`: what programs cost, second by second.
//!
//! The kernel counts runs and their time while a descriptor of `BPF_ENABLE_STATS` is open; it is ours, and counting ends
//! with it, however this command ends. Without it the counters of those programs that ran before are shown, and stand.

mod screen;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use skep::runtime::command::ObjectKind;
use skep::runtime::info::{self, ProgInfo};
use skep::runtime::{Command, SharedRuntime};

use super::failure::{Failure, Outcome};
use super::select;
use super::shell::Shell;
use super::words::{Words, abbreviates};
use screen::{Key, Screen};

/// Time between two looks, unless another is asked for.
const INTERVAL_MS: u32 = 1000;

/// What rows are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Cpu,
    Events,
    PerEvent,
    Runs,
    Time,
    Id,
    Name,
}

/// The orders, with their names and the keys that choose them.
pub(super) const ORDERS: [(&str, char, Order); 7] = [
    ("cpu", 'c', Order::Cpu),
    ("events", 'e', Order::Events),
    ("ns", 'n', Order::PerEvent),
    ("runs", 'r', Order::Runs),
    ("time", 't', Order::Time),
    ("id", 'i', Order::Id),
    ("name", 'm', Order::Name),
];

/// `top [interval MS] [count N] [sort ORDER]`
pub(crate) fn top(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let wanted = wanted(words)?;
    let runtime = shell.runtime()?;
    let counting = runtime.bpf(Command::EnableStats).and_then(|reply| info::owned(&runtime, reply));
    let _counting = counting.map_err(|e| Failure::refused(&e).context("programs are not counted"))?;
    let mut screen = if shell.is_json() { None } else { Screen::open() };
    let mut order = wanted.order;
    let mut before = Look::now(&runtime)?;
    for number in 1.. {
        let key = wait(&mut screen, Duration::from_millis(wanted.interval_ms.into()));
        match key {
            Key::Quit => break,
            Key::Order(chosen) => order = chosen,
            Key::None => {}
        }
        let now = Look::now(&runtime)?;
        let rows = rows(&before, &now, order);
        match &mut screen {
            _ if shell.is_json() => write_json(shell, &rows, now.since(&before)),
            Some(screen) => screen.show(&table(&rows), order),
            None => shell.json.text(format_args!("{}\n", table(&rows).join("\n"))),
        }
        shell.json.flush();
        if wanted.count == Some(number) || shell.json.is_closed() {
            break;
        }
        // A key that only changes the order does not shorten what is measured.
        if key == Key::None {
            before = now;
        }
    }
    Ok(())
}

/// What the words say.
struct Wanted {
    interval_ms: u32,
    count: Option<u32>,
    order: Order,
}

fn wanted(words: &mut Words<'_>) -> Outcome<Wanted> {
    let mut wanted = Wanted { interval_ms: INTERVAL_MS, count: None, order: Order::Cpu };
    while !words.is_empty() {
        if words.keyword("interval") {
            wanted.interval_ms = words.number("the interval")?.max(1);
        } else if words.keyword("count") {
            wanted.count = Some(words.number("the count")?);
            if wanted.count == Some(0) {
                return Err(Failure::new("nothing is to be shown").hint("`count N` shows N tables"));
            }
        } else if words.keyword("sort") {
            wanted.order = order(words.need("what to sort by")?)?;
        } else {
            words.end()?;
        }
    }
    Ok(wanted)
}

fn order(word: &str) -> Outcome<Order> {
    let found = ORDERS.iter().find(|(name, ..)| abbreviates(word, name));
    found.map(|(.., order)| *order).ok_or_else(|| {
        let names: Vec<&str> = ORDERS.iter().map(|(name, ..)| *name).collect();
        Failure::new(format!("programs are not sorted by `{word}`")).hint(format!("by {}", names.join(", ")))
    })
}

fn wait(screen: &mut Option<Screen>, time: Duration) -> Key {
    match screen {
        Some(screen) => screen.wait(time),
        None => {
            std::thread::sleep(time);
            Key::None
        }
    }
}

/// What all programs have done up to a moment.
struct Look {
    at: Instant,
    programs: BTreeMap<u32, Program>,
}

struct Program {
    kind: String,
    name: String,
    runs: u64,
    time_ns: u64,
}

impl Look {
    fn now(runtime: &SharedRuntime) -> Outcome<Self> {
        let at = Instant::now();
        let (mut programs, mut names) = (BTreeMap::new(), select::FullNames::default());
        for id in info::ids(runtime, ObjectKind::Prog)? {
            // One that is gone by now did no more.
            let Ok(handle) = info::open_id(runtime, ObjectKind::Prog, id) else { continue };
            let Ok(info) = ProgInfo::of(runtime, handle.fd(), &[]) else { continue };
            let name = names.of(runtime, handle.fd(), &info);
            let kind = info.prog_type.to_string();
            programs.insert(id, Program { kind, name, runs: info.run_cnt, time_ns: info.run_time_ns });
        }
        Ok(Self { at, programs })
    }

    fn since(&self, before: &Self) -> Duration {
        self.at - before.at
    }
}

/// A program between two looks.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    id: u32,
    kind: String,
    name: String,
    /// Runs a second.
    events: f64,
    /// Nanoseconds of a run.
    per_event: f64,
    /// Of one processor's time.
    cpu_percent: f64,
    total_runs: u64,
    total_time_ns: u64,
}

fn rows(before: &Look, now: &Look, order: Order) -> Vec<Row> {
    let seconds = now.since(before).as_secs_f64().max(f64::MIN_POSITIVE);
    let row = |(&id, program): (&u32, &Program)| {
        let (runs, time) = before.programs.get(&id).map_or((0, 0), |old| (old.runs, old.time_ns));
        let runs = program.runs.saturating_sub(runs) as f64;
        let time_ns = program.time_ns.saturating_sub(time) as f64;
        Row {
            id,
            kind: program.kind.clone(),
            name: program.name.clone(),
            events: runs / seconds,
            per_event: if runs > 0.0 { time_ns / runs } else { 0.0 },
            cpu_percent: time_ns / seconds / 1e7,
            total_runs: program.runs,
            total_time_ns: program.time_ns,
        }
    };
    let mut rows: Vec<Row> = now.programs.iter().map(row).collect();
    // The most comes first; of equals, the oldest.
    let more = |of: fn(&Row) -> f64| move |a: &Row, b: &Row| of(b).total_cmp(&of(a));
    match order {
        Order::Cpu => rows.sort_by(more(|row| row.cpu_percent)),
        Order::Events => rows.sort_by(more(|row| row.events)),
        Order::PerEvent => rows.sort_by(more(|row| row.per_event)),
        Order::Runs => rows.sort_by(more(|row| row.total_runs as f64)),
        Order::Time => rows.sort_by(more(|row| row.total_time_ns as f64)),
        Order::Id => {}
        Order::Name => rows.sort_by(|a, b| a.name.cmp(&b.name)),
    }
    rows
}

/// Lines, the first with what the columns are, the last with sums.
fn table(rows: &[Row]) -> Vec<String> {
    let line = |cells: [&str; 8]| {
        let [id, kind, name, events, per_event, cpu, runs, time] = cells;
        format!("{id:>7} {kind:<20} {name:<24} {events:>11} {per_event:>9} {cpu:>7} {runs:>14} {time:>12}")
    };
    let head = line(["ID", "TYPE", "NAME", "EVENTS/s", "NS/EVENT", "CPU%", "RUNS", "TIME ms"]);
    let of_row = |row: &Row| {
        line([
            &row.id.to_string(),
            &row.kind,
            &row.name,
            &format!("{:.0}", row.events),
            &format!("{:.0}", row.per_event),
            &format!("{:.2}", row.cpu_percent),
            &row.total_runs.to_string(),
            &format!("{:.1}", row.total_time_ns as f64 / 1e6),
        ])
    };
    let sum = |of: fn(&Row) -> f64| rows.iter().map(of).sum::<f64>();
    let count = format!("{} programs", rows.len());
    let sums = line([
        "",
        "total",
        &count,
        &format!("{:.0}", sum(|row| row.events)),
        "",
        &format!("{:.2}", sum(|row| row.cpu_percent)),
        &rows.iter().map(|row| row.total_runs).sum::<u64>().to_string(),
        &format!("{:.1}", sum(|row| row.total_time_ns as f64 / 1e6)),
    ]);
    std::iter::once(head).chain(rows.iter().map(of_row)).chain([sums]).collect()
}

/// One document for each look.
fn write_json(shell: &mut Shell, rows: &[Row], time: Duration) {
    let json = &mut shell.json;
    json.begin_object();
    json.unsigned_field("interval_ns", u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    json.name("programs");
    json.begin_array();
    for row in rows {
        json.begin_object();
        json.unsigned_field("id", row.id);
        json.string_field("type", &row.kind);
        json.string_field("name", &row.name);
        json.name("events_per_second");
        json.raw(&format!("{:.1}", row.events));
        json.name("ns_per_event");
        json.raw(&format!("{:.1}", row.per_event));
        json.name("cpu_percent");
        json.raw(&format!("{:.4}", row.cpu_percent));
        json.unsigned_field("run_cnt", row.total_runs);
        json.unsigned_field("run_time_ns", row.total_time_ns);
        json.end_object();
    }
    json.end_array();
    json.end_object();
    json.finish_document();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(at: Instant, programs: &[(u32, &str, u64, u64)]) -> Look {
        let program = |&(id, name, runs, time_ns): &(u32, &str, u64, u64)| {
            (id, Program { kind: "xdp".to_owned(), name: name.to_owned(), runs, time_ns })
        };
        Look { at, programs: programs.iter().map(program).collect() }
    }

    #[test]
    fn rates_are_of_the_time_between_two_looks() {
        let begun = Instant::now();
        let before = look(begun, &[(1, "b", 100, 1000), (2, "a", 5, 50)]);
        let now = look(
            begun + Duration::from_secs(2),
            &[(1, "b", 300, 5000), (2, "a", 5, 50), (3, "c", 10, 40_000_000)],
        );
        let by_cpu = rows(&before, &now, Order::Cpu);
        assert_eq!(by_cpu.iter().map(|row| row.id).collect::<Vec<_>>(), [3, 1, 2]);
        let row = &by_cpu[1];
        assert_eq!((row.events, row.per_event, row.total_runs), (100.0, 20.0, 300));
        assert!((by_cpu[0].cpu_percent - 2.0).abs() < 1e-9);
        assert_eq!((by_cpu[2].events, by_cpu[2].per_event), (0.0, 0.0));
        let ids = |order| rows(&before, &now, order).iter().map(|row| row.id).collect::<Vec<_>>();
        assert_eq!(ids(Order::Name), [2, 1, 3]);
        assert_eq!(ids(Order::Events), [1, 3, 2]);
        let lines = table(&by_cpu);
        assert_eq!(lines.len(), 5);
        assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{lines:#?}");
        assert!(lines[4].contains("3 programs") && lines[4].contains("315"));
    }
}
