//! Records that programs send: `map event_pipe` (bytes) and `map events` (decoded).

use std::ops::ControlFlow;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};
use skep::btf::{TypeId, value};
use skep::records::{self, RecordType};
use skep::runtime::{Event, EventSource};
use skep_isa::uapi::MapType;

use super::super::failure::{Failure, Outcome};
use super::super::json::Json;
use super::super::select;
use super::super::shell::Shell;
use super::super::words::Words;
use super::print::hex_text;

/// `map event_pipe MAP`: what comes, as bytes.
pub(crate) fn event_pipe(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let selected = select::map(shell, words)?;
    if selected.info.map_type != MapType::PERF_EVENT_ARRAY {
        return Err(Failure::new(format!(
            "a map of type `{}` is no perf event array",
            selected.info.map_type
        ))
        .hint("`skep map events` reads ring buffers, too"));
    }
    if !words.is_empty() {
        return Err(Failure::new("reading a single processor's buffer is not supported")
            .hint("leave `cpu` and `index` out: all are read"));
    }
    let mut source = selected.map.events()?;
    follow(shell, source.as_mut(), u64::MAX, &mut |shell, event| raw(shell, event))
}

/// `map events MAP [count N]`: what comes, by the type that the map's or a program's types name.
pub(crate) fn events(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let selected = select::map(shell, words)?;
    let count = if words.keyword("count") { u64::from(words.number("the count")?) } else { u64::MAX };
    words.end()?;
    let record = record_type(shell, &selected.info)?;
    let mut source = selected.map.events()?;
    follow(shell, source.as_mut(), count, &mut |shell, event| match (&record, event) {
        (Some(record), Event::Record { cpu, data }) if record.fits(data.len()) => {
            decoded(shell, record, cpu, data);
        }
        _ => raw(shell, event),
    })
}

/// The type of the records: the map's own, or what the types beside it call an event.
fn record_type(shell: &mut Shell, info: &skep::runtime::info::MapInfo) -> Outcome<Option<RecordType>> {
    if info.btf_id == 0 {
        return Ok(None);
    }
    let btf = Arc::new(select::btf(&shell.runtime()?, info.btf_id)?);
    Ok(records::record_type(&info.name, TypeId(info.btf_value_type_id), Some(&btf), &[])?)
}

/// Hands on what comes, until there have been enough records or nobody reads.
fn follow(
    shell: &mut Shell,
    source: &mut dyn EventSource,
    count: u64,
    show: &mut dyn FnMut(&mut Shell, Event<'_>),
) -> Outcome {
    let mut seen = 0;
    while seen < count {
        source.drain(&mut |event| {
            show(shell, event);
            seen += u64::from(matches!(event, Event::Record { .. }));
            if seen < count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        shell.json.flush();
        if seen < count {
            let mut fds = [PollFd::from_borrowed_fd(source.as_fd(), PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(Failure::file("poll", &e.into())),
            }
        }
    }
    Ok(())
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
