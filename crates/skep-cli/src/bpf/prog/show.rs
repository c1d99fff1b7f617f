//! `prog show` and `prog list`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use skep::runtime::command::ObjectKind;
use skep::runtime::info;
use skep::runtime::info::ProgInfo;

use super::super::failure::Outcome;
use super::super::holders::{Holders, number};
use super::super::json::Json;
use super::super::pins::Pins;
use super::super::select::{self, FullNames, SelectedProg};
use super::super::shell::Shell;
use super::super::words::Words;
use super::metadata::Known;

/// Lists all programs, or shows those that are meant.
pub(crate) fn show(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let mut listing = Listing {
        names: FullNames::default(),
        known: Known::default(),
        pins: Pins::find(shell, ObjectKind::Prog)?,
        holders: Holders::find(&shell.runtime()?, ObjectKind::Prog),
        booted: booted(),
    };
    let is_list = words.is_empty();
    let runtime = shell.runtime()?;
    if is_list {
        if shell.is_json() {
            shell.json.begin_array();
        }
        for id in info::ids(&runtime, ObjectKind::Prog)? {
            // One that is gone by now is not listed.
            if let Ok(handle) = info::open_id(&runtime, ObjectKind::Prog, id) {
                listing.prog(shell, &select::adopt_prog(&runtime, handle)?)?;
            }
        }
        if shell.is_json() {
            shell.json.end_array();
        }
    } else {
        let selected = select::progs(shell, words)?;
        words.end()?;
        let several = shell.is_json() && selected.len() > 1;
        if several {
            shell.json.begin_array();
        }
        for prog in &selected {
            listing.prog(shell, prog)?;
        }
        if several {
            shell.json.end_array();
        }
    }
    listing.holders.tell_hidden();
    Ok(())
}

/// What is told of programs beside what they say themselves.
struct Listing {
    names: FullNames,
    known: Known,
    pins: Pins,
    holders: Holders,
    /// When the machine was started, since 1970.
    booted: Duration,
}

impl Listing {
    fn prog(&mut self, shell: &mut Shell, selected: &SelectedProg) -> Outcome {
        let runtime = shell.runtime()?;
        let info = &selected.info;
        let name = self.names.of(&runtime, selected.handle.fd(), info);
        let memlock = number(&runtime.fdinfo(selected.handle.fd()), "memlock");
        let metadata = self.known.of(&runtime, &mut self.names, info);
        if shell.is_json() {
            shell.json.begin_object();
            self.json(&mut shell.json, info, &name, memlock);
            metadata.map_or(Ok(()), |metadata| metadata.write_json(&mut shell.json))?;
            shell.json.end_object();
        } else {
            self.text(&mut shell.json, info, &name, memlock);
            metadata.map_or(Ok(()), |metadata| metadata.write_text(&mut shell.json))?;
        }
        Ok(())
    }

    /// When it was loaded, in seconds since 1970.
    fn loaded_at(&self, info: &ProgInfo) -> u64 {
        (self.booted + Duration::from_nanos(info.load_time_ns)).as_secs()
    }

    fn json(&self, json: &mut Json, info: &ProgInfo, name: &str, memlock: Option<u64>) {
        header_json(json, info, name);
        if info.run_time_ns > 0 {
            json.unsigned_field("run_time_ns", info.run_time_ns);
            json.unsigned_field("run_cnt", info.run_cnt);
        }
        if info.recursion_misses > 0 {
            json.unsigned_field("recursion_misses", info.recursion_misses);
        }
        if info.load_time_ns > 0 {
            json.unsigned_field("loaded_at", self.loaded_at(info));
            json.unsigned_field("uid", info.created_by_uid);
        }
        json.unsigned_field("bytes_xlated", info.xlated_prog_len);
        json.bool_field("jited", info.jited_prog_len > 0);
        if info.jited_prog_len > 0 {
            json.unsigned_field("bytes_jited", info.jited_prog_len);
        }
        if let Some(memlock) = memlock {
            json.unsigned_field("bytes_memlock", memlock);
        }
        let map_ids = info.map_ids();
        if !map_ids.is_empty() {
            json.array_field("map_ids", map_ids);
        }
        if info.btf_id > 0 {
            json.unsigned_field("btf_id", info.btf_id);
        }
        self.pins.write_json(json, info.id);
        self.holders.write_json(json, info.id);
    }

    fn text(&self, json: &mut Json, info: &ProgInfo, name: &str, memlock: Option<u64>) {
        header_text(json, info, name);
        if info.load_time_ns > 0 {
            let time = utc(self.loaded_at(info));
            json.text(format_args!("\tloaded_at {time}  uid {}\n", info.created_by_uid));
        }
        json.text(format_args!("\txlated {}B", info.xlated_prog_len));
        match info.jited_prog_len {
            0 => json.text(format_args!("  not jited")),
            bytes => json.text(format_args!("  jited {bytes}B")),
        }
        if let Some(memlock) = memlock {
            json.text(format_args!("  memlock {memlock}B"));
        }
        let map_ids: Vec<String> = info.map_ids().iter().map(u32::to_string).collect();
        if !map_ids.is_empty() {
            json.text(format_args!("  map_ids {}", map_ids.join(",")));
        }
        self.pins.write_text(json, info.id);
        if info.btf_id > 0 {
            json.text(format_args!("\n\tbtf_id {}", info.btf_id));
        }
        self.holders.write_text(json, info.id);
        json.text(format_args!("\n"));
    }
}

pub(super) fn header_json(json: &mut Json, info: &ProgInfo, name: &str) {
    json.unsigned_field("id", info.id);
    json.name("type");
    match info.prog_type.name() {
        Some(name) => json.string(name),
        None => json.unsigned(info.prog_type.0),
    }
    if !name.is_empty() {
        json.string_field("name", name);
    }
    json.string_field("tag", &tag(info));
    json.bool_field("gpl_compatible", info.gpl_compatible);
}

pub(super) fn header_text(json: &mut Json, info: &ProgInfo, name: &str) {
    json.text(format_args!("{}: {}  ", info.id, info.prog_type));
    if !name.is_empty() {
        json.text(format_args!("name {name}  "));
    }
    json.text(format_args!("tag {}", tag(info)));
    if info.gpl_compatible {
        json.text(format_args!("  gpl"));
    }
    if info.run_time_ns > 0 {
        json.text(format_args!(" run_time_ns {} run_cnt {}", info.run_time_ns, info.run_cnt));
    }
    if info.recursion_misses > 0 {
        json.text(format_args!(" recursion_misses {}", info.recursion_misses));
    }
    json.text(format_args!("\n"));
}

/// The tag as hexadecimal digits.
pub(crate) fn tag(info: &ProgInfo) -> String {
    format!("{:016x}", u64::from_be_bytes(info.tag))
}

fn booted() -> Duration {
    let up = clock_gettime(ClockId::Boottime);
    let up = Duration::new(u64::try_from(up.tv_sec).unwrap_or(0), u32::try_from(up.tv_nsec).unwrap_or(0));
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(up)
}

/// A time as ISO 8601 has it, in UTC.
fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86400, seconds % 86400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}+0000")
}

/// Year, month and day of a day since 1970. Years are counted from March here, so that a leap day ends one; 400 of them
/// have 146097 days.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates() {
        assert_eq!(utc(0), "1970-01-01T00:00:00+0000");
        assert_eq!(utc(951_827_696), "2000-02-29T12:34:56+0000");
        assert_eq!(utc(1_795_237_076), "2026-11-21T04:57:56+0000");
    }
}
