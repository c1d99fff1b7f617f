//! The path in sentences: what is known of the value that failed, and what happened to it on the way.

use skep_isa::helper;

use super::history::{Event, Moment};
use super::insn::{self, Act};
use super::kinds::Blame;
use super::{Case, Culprit, Stop, names, words};
use crate::log::value::{self, Value};

/// Stops shown at most; what concerns the value stays, of other branches the last ones.
const MAX_STOPS: usize = 14;

/// Functions that take what later ends: a lock, a section, a region.
const OPENERS: &[(&str, &str)] = &[
    ("bpf_spin_lock", "bpf_spin_unlock"),
    ("bpf_res_spin_lock", "bpf_res_spin_unlock"),
    ("bpf_res_spin_lock_irqsave", "bpf_res_spin_unlock_irqrestore"),
    ("bpf_rcu_read_lock", "bpf_rcu_read_unlock"),
    ("bpf_preempt_disable", "bpf_preempt_enable"),
    ("bpf_local_irq_save", "bpf_local_irq_restore"),
];

/// What is known of the value, and which fact is missing.
pub(super) fn notes(case: &Case<'_>, culprit: Option<&Culprit>) -> Vec<String> {
    let mut notes = Vec::new();
    notes.extend(case.path.messages.iter().find_map(|line| outside(line)));
    let Some(culprit) = culprit else {
        return notes;
    };
    if let (Some(value), Some(_)) = (&culprit.value, &culprit.name) {
        let register = register_of(culprit);
        notes.push(format!("{} is in {register}: {}", culprit.called(), words::describe(value)));
    }
    notes.extend(missing(case, culprit));
    notes.extend(invalidated(case, culprit));
    notes
}

fn register_of(culprit: &Culprit) -> String {
    match culprit.at.place {
        crate::log::read::Place::Reg(reg) => format!("r{reg}"),
        crate::log::read::Place::Slot(off) => format!("the stack at {off}"),
    }
}

/// The sizes that a line about an access outside of its memory tells.
fn outside(line: &str) -> Option<String> {
    let rest = line.strip_prefix("invalid access to ")?;
    let number = |key: &str| {
        let at = rest.find(key)? + key.len();
        value::number(rest[at..].split([' ', ',', ')']).next()?)
    };
    let (off, size) = (number(" off=")?, number(" size=")?);
    let what = rest.split(',').next()?;
    if what == "packet" {
        let range = number("r=").unwrap_or(0);
        return Some(match range {
            1.. => format!(
                "the access takes {} at offset {off}; only the first {range} were compared with the end",
                bytes(size)
            ),
            _ => {
                format!("the access takes {} at offset {off}; no byte was compared with the end", bytes(size))
            }
        });
    }
    let held = bytes(number("_size=")?);
    Some(format!("the {what} has {held}; the access takes {} at offset {off}", bytes(size)))
}

fn bytes(count: i64) -> String {
    if count == 1 { "1 byte".to_owned() } else { format!("{count} bytes") }
}

/// The fact that would have been needed, and that no step on the path established.
fn missing(case: &Case<'_>, culprit: &Culprit) -> Option<String> {
    let value = culprit.value.as_ref()?;
    let checks: Vec<&Moment> =
        culprit.history.moments.iter().filter(|moment| moment.event == Event::Checked).collect();
    let name = culprit.called();
    if value.may_be_null() && checks.is_empty() {
        return Some(format!("missing: a comparison of {name} with NULL on this path"));
    }
    let wants_bounds = matches!(case.blame(), Blame::Offset)
        || case.kind.as_ref().is_some_and(|found| {
            found.kind.pattern.contains("unbounded") || found.kind.pattern.contains("negative")
        });
    if !wants_bounds || !value.is_scalar() || value.number.is_some() {
        return None;
    }
    let least = value.least();
    let lower = least.is_none_or(|least| least < 0);
    let upper = value.umax.is_none() && value.smax.is_none();
    let bound = match (lower, upper) {
        (true, false) => "a lower bound (it may be negative)",
        (false, true) => "an upper bound",
        (true, true) => "bounds",
        (false, false) => "bounds as narrow as the memory",
    };
    let signed = checks.iter().any(|moment| {
        let step = &case.path.steps[moment.step];
        matches!(insn::parse(&step.text), Act::Branch { op, .. } if op.starts_with('s'))
    });
    let why = match (checks.is_empty(), lower && signed) {
        (true, _) => "; it is not compared with anything on this path",
        (false, true) => "; it is compared as a signed number, which leaves negative ones",
        (false, false) => "; the comparisons on this path do not give it",
    };
    Some(format!("missing: {bound} for {name}{why}"))
}

/// A pointer that is one no more, because a call ended its validity.
fn invalidated(case: &Case<'_>, culprit: &Culprit) -> Option<String> {
    if !culprit.value.as_ref()?.is_scalar() {
        return None;
    }
    let was = |moment: &&Moment| {
        moment.after.as_ref().is_some_and(|value| !value.is_scalar())
            || moment.before.as_ref().is_some_and(|value| !value.is_scalar())
    };
    let moment = culprit.history.moments.iter().rev().find(was)?;
    let pointer = culprit.stale.as_ref().or(moment.after.as_ref().filter(|v| !v.is_scalar()));
    let pointer = pointer.or(moment.before.as_ref())?;
    let ends = |name: &str| match pointer.is_packet() {
        true => moves_packet(name),
        false => pointer.ref_obj_id != 0 && releases(name),
    };
    let step = (moment.step + 1..culprit.step)
        .rev()
        .find(|&i| matches!(insn::parse(&case.path.steps[i].text), Act::Call { name } if ends(name)))?;
    let Act::Call { name } = insn::parse(&case.path.steps[step].text) else { return None };
    let place = position(case, step).map_or(String::new(), |place| format!(" at {place}"));
    Some(match pointer.is_packet() {
        true => format!(
            "lost: `{name}`{place} may move the packet; pointers taken from the context before are no longer valid"
        ),
        false => format!("lost: `{name}`{place} released the object; its pointers are no longer valid"),
    })
}

fn moves_packet(name: &str) -> bool {
    name == "bpf_xdp_pull_data"
        || helper::by_name(name).is_some_and(|helper| crate::check::helpers::changes_pkt_data(helper.id))
}

fn releases(name: &str) -> bool {
    ["release", "submit", "discard", "destroy", "_put", "obj_drop"].iter().any(|word| name.contains(word))
}

/// `file:line` of a step.
fn position(case: &Case<'_>, step: usize) -> Option<String> {
    let location = names::location(case.path, case.facts, Some(step), case.path.steps[step].insn)?;
    Some(format!("{}:{}", location.file?, location.line?))
}

/// The stops on the way: what happened to the value, and where the path branched. Also how many were left out.
pub(super) fn path(case: &Case<'_>, culprit: Option<&Culprit>) -> (Vec<Stop>, usize) {
    let Some(last) = case.last else { return (Vec::new(), 0) };
    let mut stops: Vec<(usize, Stop)> = Vec::new();
    for moment in culprit.iter().flat_map(|culprit| &culprit.history.moments) {
        if let Some(what) = happened(case, culprit, moment) {
            stops.push((moment.step, stop(case, moment.step, what, true)));
        }
    }
    stops.extend(openings(case, last));
    for step in 0..last {
        if stops.iter().all(|(at, _)| *at != step)
            && let Some(what) = went(case, step)
        {
            stops.push((step, stop(case, step, what, false)));
        }
    }
    stops.sort_by_key(|(step, _)| *step);
    let mut stops = merged(stops);
    let omitted = shorten(&mut stops);
    (stops, omitted)
}

fn stop(case: &Case<'_>, step: usize, what: String, concerns: bool) -> Stop {
    let insn = case.path.steps[step].insn;
    let location = names::location(case.path, case.facts, Some(step), insn);
    Stop { insn, location, what, concerns }
}

/// What happened to the value; nothing where it was only copied.
fn happened(case: &Case<'_>, culprit: Option<&Culprit>, moment: &Moment) -> Option<String> {
    let name = culprit.map(Culprit::called)?;
    let now = moment.after.as_ref().map(words::describe);
    let step = &case.path.steps[moment.step];
    Some(match &moment.event {
        Event::Copied => return None,
        Event::Passed(argument) => format!("passed on as argument {argument}"),
        Event::Returned(callee) if callee.starts_with("pc") => {
            format!(
                "comes from a function of the program: {}",
                now.unwrap_or_else(|| "any number".to_owned())
            )
        }
        Event::Returned(callee) => match now {
            Some(now) => format!("comes from `{callee}`: {now}"),
            None => format!("comes from `{callee}`"),
        },
        Event::Loaded(from) => {
            let now = now.map_or(String::new(), |now| format!(": {now}"));
            format!("read from {}{now}", from.as_ref().map_or("memory".to_owned(), memory))
        }
        Event::Constant => {
            format!("set to a constant{}", now.map_or(String::new(), |now| format!(": {now}")))
        }
        Event::Lost(callee) => format!("the call of `{callee}` leaves nothing in this register"),
        Event::Computed => computed(&name, &step.text, moment)?,
        Event::Checked => {
            let Act::Branch { op, .. } = insn::parse(&step.text) else { return None };
            let order = if op.starts_with('s') { "compared as a signed number" } else { "compared" };
            match now {
                Some(now) => format!("{order}{}: {now}", on_to(case, moment.step)),
                None => format!("{order}{}", on_to(case, moment.step)),
            }
        }
    })
}

/// What a computation made of the value, and whether it lost its bounds.
fn computed(name: &str, text: &str, moment: &Moment) -> Option<String> {
    let after = moment.after.as_ref()?;
    let now = words::describe(after);
    let Some(before) = &moment.before else { return Some(format!("`{text}` makes it {now}")) };
    let limited = |value: &Value| value.number.is_some() || value.umax.is_some() || value.smax.is_some();
    let positive = |value: &Value| value.least().is_some_and(|least| least >= 0);
    let was = words::describe(before);
    if before.is_scalar() && after.is_scalar() && limited(before) && !limited(after) {
        return Some(format!("`{text}` loses the upper bound of {name}: it was {was} and is {now}"));
    }
    if before.is_scalar() && after.is_scalar() && positive(before) && !positive(after) {
        return Some(format!("`{text}` loses the lower bound of {name}: it was {was} and is {now}"));
    }
    (was != now).then(|| format!("`{text}` makes it {now}"))
}

/// The memory that a pointer points to, in words.
fn memory(pointer: &Value) -> String {
    let base = pointer.kind.as_str();
    match (base, &pointer.map) {
        ("ctx", _) => "the context".to_owned(),
        ("map_value", Some(map)) => format!("map `{map}`"),
        ("pkt" | "pkt_meta", _) => "the packet".to_owned(),
        ("fp", _) => "the stack".to_owned(),
        _ => match base.split_once("ptr_") {
            Some((_, name)) if !name.is_empty() => {
                format!("`struct {}`", name.trim_start_matches("or_null_"))
            }
            _ => "memory".to_owned(),
        },
    }
}

/// Where a branch went on.
fn went(case: &Case<'_>, step: usize) -> Option<String> {
    match insn::parse(&case.path.steps[step].text) {
        Act::Branch { .. } => Some(format!("goes on{}", on_to(case, step))),
        Act::Call { name } if name.starts_with("pc") && entered(case, step) => {
            let callee = case.path.steps.get(step + 1)?.insn;
            let function = names::function(case.facts, callee).map(|f| format!(" `{}`", f.name));
            Some(format!("enters the function{}", function.unwrap_or_default()))
        }
        _ => None,
    }
}

fn entered(case: &Case<'_>, step: usize) -> bool {
    case.path.steps.get(step + 1).is_some_and(|next| next.frame > case.path.steps[step].frame)
}

/// ` at line 12`: the next line after the branch's own; or by its instruction where lines are not known.
fn on_to(case: &Case<'_>, step: usize) -> String {
    let line = |i: usize| {
        let location = names::location(case.path, case.facts, Some(i), case.path.steps.get(i)?.insn);
        location.and_then(|location| location.line)
    };
    let Some(next) = case.path.steps.get(step + 1) else { return String::new() };
    let Some(here) = line(step) else { return format!(" at instruction {}", next.insn) };
    let after = (step + 1..case.path.steps.len()).filter_map(line).find(|line| *line != here);
    match after {
        Some(line) => format!(" at line {line}"),
        None => format!(" at instruction {}", next.insn),
    }
}

/// Where what is still held was taken: references, locks, sections.
fn openings(case: &Case<'_>, last: usize) -> Vec<(usize, Stop)> {
    match case.blame() {
        Blame::Reference => {
            case.path.messages.iter().filter_map(|line| reference(case, line, last)).collect()
        }
        Blame::Region => {
            OPENERS.iter().filter_map(|(opens, closes)| region(case, last, opens, closes)).collect()
        }
        _ => Vec::new(),
    }
}

/// `Unreleased reference id=2 alloc_insn=5`: the step that took it.
fn reference(case: &Case<'_>, line: &str, last: usize) -> Option<(usize, Stop)> {
    let insn: u32 =
        line.strip_prefix("Unreleased reference ")?.split("alloc_insn=").nth(1)?.trim().parse().ok()?;
    let step = case.path.steps[..last].iter().rposition(|step| step.insn == insn)?;
    let what = match insn::parse(&case.path.steps[step].text) {
        Act::Call { name } => format!("`{name}` takes a reference, which is not released on this path"),
        _ => "a reference is taken, which is not released on this path".to_owned(),
    };
    Some((step, stop(case, step, what, true)))
}

/// The last place that opened a region, if none closed it since.
fn region(case: &Case<'_>, last: usize, opens: &str, closes: &str) -> Option<(usize, Stop)> {
    let mut opened = None;
    for (i, step) in case.path.steps[..last].iter().enumerate() {
        match insn::parse(&step.text) {
            Act::Call { name } if name == opens => opened = Some(i),
            Act::Call { name } if name == closes => opened = None,
            _ => {}
        }
    }
    let step = opened?;
    Some((step, stop(case, step, format!("`{opens}` begins what `{closes}` has not ended here"), true)))
}

/// Repeated stops at one place become one; of several branches on one line the last says where the path went.
fn merged(stops: Vec<(usize, Stop)>) -> Vec<Stop> {
    let mut kept: Vec<Stop> = Vec::new();
    for (_, stop) in stops {
        let same_line = |other: &Stop| {
            let line = |stop: &Stop| stop.location.as_ref().map(|l| (l.file.clone(), l.line, l.text.clone()));
            line(other).is_some() && line(other) == line(&stop)
        };
        match kept.last_mut() {
            Some(previous)
                if previous.insn == stop.insn
                    || (same_line(previous) && !previous.concerns && !stop.concerns) =>
            {
                *previous = stop;
            }
            _ => kept.push(stop),
        }
    }
    kept
}

/// Leaves out the earliest branches that do not concern the value; gives how many.
fn shorten(stops: &mut Vec<Stop>) -> usize {
    let before = stops.len();
    let mut excess = before.saturating_sub(MAX_STOPS);
    stops.retain(|stop| {
        let goes = excess > 0 && !stop.concerns;
        excess -= usize::from(goes);
        !goes
    });
    if stops.len() > MAX_STOPS {
        stops.drain(..stops.len() - MAX_STOPS);
    }
    before - stops.len()
}
