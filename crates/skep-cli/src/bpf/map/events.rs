//! Records that programs send: `map event_pipe` (bytes) and `map events` (decoded).

use std::ops::ControlFlow;
use std::sync::Arc;

use rustix::time::{ClockId, clock_gettime};
use skep::btf::{TypeId, value};
use skep::records::{self, EventSpec, RecordType};
use skep::runtime::command::ObjectKind;
use skep::runtime::info::{self, MapInfo};
use skep::runtime::{Event, EventSource, SharedRuntime};
use skep_isa::uapi::MapType;

use super::super::failure::{Failure, Outcome};
use super::super::json::Json;
use super::super::select;
use super::super::shell::Shell;
use super::super::stop::Stop;
use super::super::words::Words;
use super::print::hex_text;

/// `map event_pipe MAP [cpu N index M]`: what comes, as bytes, in bpftool's form.
pub(crate) fn event_pipe(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let selected = select::map(shell, words)?;
    if selected.info.map_type != MapType::PERF_EVENT_ARRAY {
        return Err(Failure::new(format!(
            "a map of type `{}` is no perf event array",
            selected.info.map_type
        ))
        .hint("`skep map events` reads ring buffers, too"));
    }
    let only = processor(words)?;
    let mut source = selected.map.events()?;
    if shell.is_json() {
        shell.json.begin_array();
    }
    follow(shell, source.as_mut(), u64::MAX, &mut |shell, event| {
        if only.is_none_or(|only| only == event.cpu()) {
            piped(shell, event);
        }
    })
}

/// Whose records are wanted, where not all are. Elements stand for processors.
fn processor(words: &mut Words<'_>) -> Outcome<Option<u32>> {
    let (mut cpu, mut index) = (None, None);
    while !words.is_empty() {
        if words.keyword("cpu") {
            cpu = Some(words.number("the processor")?);
        } else if words.keyword("index") {
            index = Some(words.number("the element")?);
        } else {
            words.end()?;
        }
    }
    match (cpu, index) {
        (Some(cpu), Some(index)) if cpu != index => {
            Err(Failure::new(format!("element {index} for processor {cpu} is not supported"))
                .hint("each processor's records come through the element of its number"))
        }
        (cpu, index) => Ok(cpu.or(index)),
    }
}

/// `map events MAP [type TYPE] [count N]`: what comes, by the type that is said, or that the map's or a program's types name.
pub(crate) fn events(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let selected = select::map(shell, words)?;
    let (mut count, mut said) = (u64::MAX, Vec::new());
    while !words.is_empty() {
        if words.keyword("count") {
            count = u64::from(words.number("the count")?);
        } else if words.keyword("type") {
            said.push(EventSpec::parse(words.need("the type")?)?);
        } else {
            words.end()?;
        }
    }
    let record = record_type(shell, &selected.info, &said)?;
    let mut source = selected.map.events()?;
    follow(shell, source.as_mut(), count, &mut |shell, event| match (&record, event) {
        (Some(record), Event::Record { cpu, data }) if record.fits(data.len()) => {
            decoded(shell, record, cpu, data);
        }
        _ => raw(shell, event),
    })
}

/// The type of the records: what is said, the map's own, or what the types beside it or a program's call an event. Maps that
/// have records and no elements are made without types, so those of the programs that use them count.
fn record_type(shell: &mut Shell, info: &MapInfo, said: &[EventSpec]) -> Outcome<Option<RecordType>> {
    let runtime = shell.runtime()?;
    let btf_id = if info.btf_id == 0 { types_of_users(&runtime, info.id)? } else { Some(info.btf_id) };
    let btf = btf_id.map(|id| select::btf(&runtime, id)).transpose()?.map(Arc::new);
    Ok(records::record_type(&info.name, TypeId(info.btf_value_type_id), btf.as_ref(), said)?)
}

/// The types of a program that uses a map.
fn types_of_users(runtime: &SharedRuntime, map: u32) -> Outcome<Option<u32>> {
    for id in info::ids(runtime, ObjectKind::Prog)? {
        let Ok(handle) = info::open_id(runtime, ObjectKind::Prog, id) else { continue };
        let prog = select::adopt_prog(runtime, handle)?.info;
        if prog.btf_id != 0 && prog.map_ids().contains(&map) {
            return Ok(Some(prog.btf_id));
        }
    }
    Ok(None)
}

/// Hands on what comes, until there have been enough records, a signal asks for the end, or nobody reads.
fn follow(
    shell: &mut Shell,
    source: &mut dyn EventSource,
    count: u64,
    show: &mut dyn FnMut(&mut Shell, Event<'_>),
) -> Outcome {
    let stop = Stop::new()?;
    let mut seen = 0;
    while seen < count && !stop.is_asked()? && !shell.json.is_closed() {
        source.drain(&mut |event| {
            show(shell, event);
            seen += u64::from(matches!(event, Event::Record { .. }));
            if seen < count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        shell.json.flush();
        if seen < count {
            stop.wait(source.as_fd())?;
        }
    }
    Ok(())
}

/// An event as bytes, as `event_pipe` tells it. The time is that of reading.
fn piped(shell: &mut Shell, event: Event<'_>) {
    /// `PERF_RECORD_LOST` and `PERF_RECORD_SAMPLE`.
    const LOST: u32 = 2;
    const SAMPLE: u32 = 9;
    let now = clock_gettime(ClockId::Monotonic);
    let is_json = shell.is_json();
    let json = &mut shell.json;
    match event {
        Event::Record { cpu, data } if is_json => {
            json.begin_object();
            json.unsigned_field("type", SAMPLE);
            json.unsigned_field("cpu", cpu);
            json.unsigned_field("index", cpu);
            json.unsigned_field("timestamp", now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64);
            json.array_field("data", data.iter().copied());
            json.end_object();
        }
        Event::Record { cpu, data } => {
            let mut text = Vec::new();
            hex_text(&mut text, data);
            let (seconds, nanoseconds) = (now.tv_sec, now.tv_nsec);
            json.text(format_args!("== @{seconds}.{nanoseconds:09} CPU: {cpu} index: {cpu} =====\n"));
            json.bytes(&text);
            json.text(format_args!("\n"));
        }
        Event::Lost { cpu, count } if is_json => {
            json.begin_object();
            json.unsigned_field("type", LOST);
            json.unsigned_field("cpu", cpu);
            json.unsigned_field("index", cpu);
            json.name("lost");
            json.begin_object();
            json.unsigned_field("count", count);
            json.end_object();
            json.end_object();
        }
        Event::Lost { count, .. } => json.text(format_args!("lost {count} events\n")),
    }
}

/// An event as bytes.
fn raw(shell: &mut Shell, event: Event<'_>) {
    let is_json = shell.is_json();
    let json = &mut shell.json;
    match event {
        Event::Record { cpu, data } if is_json => {
            json.begin_object();
            json.unsigned_field("cpu", cpu);
            json.name("data");
            json.hex(data);
            json.end_object();
            json.finish_document();
        }
        Event::Record { cpu, data } => {
            let mut text = Vec::new();
            hex_text(&mut text, data);
            json.text(format_args!("== CPU: {cpu} =====\n"));
            json.bytes(&text);
            json.text(format_args!("\n"));
        }
        Event::Lost { cpu, count } => lost(json, is_json, cpu, count),
    }
}

fn lost(json: &mut Json, is_json: bool, cpu: u32, count: u64) {
    if is_json {
        json.begin_object();
        json.unsigned_field("cpu", cpu);
        json.unsigned_field("lost", count);
        json.end_object();
        json.finish_document();
    } else {
        json.text(format_args!("lost {count} events on CPU {cpu}\n"));
    }
}

/// A record by its type.
fn decoded(shell: &mut Shell, record: &RecordType, cpu: u32, data: &[u8]) {
    if shell.is_json() {
        let text = value::to_json(&record.btf, record.id, data).map(|value| value.to_string());
        match text {
            Ok(text) => shell.json.raw(&text),
            Err(_) => return raw(shell, Event::Record { cpu, data }),
        }
        shell.json.finish_document();
    } else {
        shell.json.text(format_args!("{}\n", value::to_text(&record.btf, record.id, data)));
    }
}
