//! `map watch`: elements as they appear, change and vanish.

use std::collections::BTreeMap;
use std::time::Duration;

use skep::btf::{TypeId, value};

use super::super::failure::{Failure, Outcome};
use super::super::json::digit;
use super::super::select;
use super::super::shell::Shell;
use super::super::words::Words;
use super::{Types, is_per_cpu};

/// Time between two looks, unless another is asked for.
const INTERVAL_MS: u32 = 1000;

/// `map watch MAP [interval MS] [count N]`: prints what is different at each look, `count` looks at most.
pub(crate) fn watch(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let selected = select::map(shell, words)?;
    let (mut interval, mut looks) = (INTERVAL_MS, u32::MAX);
    while !words.is_empty() {
        if words.keyword("interval") {
            interval = words.number("the interval")?;
        } else if words.keyword("count") {
            looks = words.number("the count")?;
        } else {
            words.end()?;
        }
    }
    let types = Types::of(&shell.runtime()?, &selected.info)?;
    let view =
        View { types, per_cpu_bytes: is_per_cpu(selected.info.map_type).then_some(selected.info.value_size) };
    let mut before = BTreeMap::new();
    for look in 0..looks {
        let mut now: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        selected
            .map
            .for_each(&mut |key, value| {
                now.insert(key.to_vec(), value.to_vec());
            })
            .map_err(|e| Failure::refused(&e))?;
        view.differences(shell, &before, &now);
        before = now;
        shell.json.flush();
        if look + 1 < looks {
            std::thread::sleep(Duration::from_millis(u64::from(interval)));
        }
    }
    Ok(())
}

type Elements = BTreeMap<Vec<u8>, Vec<u8>>;

/// How elements are shown.
struct View {
    types: Option<Types>,
    per_cpu_bytes: Option<u32>,
}

impl View {
    fn differences(&self, shell: &mut Shell, before: &Elements, now: &Elements) {
        for (key, value) in now {
            match before.get(key) {
                None => self.line(shell, "+", key, value),
                Some(old) if old != value => self.line(shell, "~", key, value),
                Some(_) => {}
            }
        }
        for (key, value) in before.iter().filter(|(key, _)| !now.contains_key(*key)) {
            self.line(shell, "-", key, value);
        }
    }

    fn line(&self, shell: &mut Shell, change: &str, key: &[u8], value: &[u8]) {
        let (key, value) = (self.key(key), self.value(value));
        if shell.is_json() {
            let change = match change {
                "+" => "added",
                "~" => "changed",
                _ => "removed",
            };
            shell.json.begin_object();
            shell.json.string_field("change", change);
            shell.json.string_field("key", &key);
            shell.json.string_field("value", &value);
            shell.json.end_object();
            shell.json.finish_document();
        } else {
            shell.json.text(format_args!("{change} {key}: {value}\n"));
        }
    }

    fn key(&self, bytes: &[u8]) -> String {
        match &self.types {
            Some(types) if types.key != TypeId::VOID => value::to_text(&types.btf, types.key, bytes),
            _ => hex(bytes),
        }
    }

    fn value(&self, bytes: &[u8]) -> String {
        match self.per_cpu_bytes {
            None => self.slot(bytes),
            Some(slot_bytes) => {
                let slots = value::per_cpu(bytes, slot_bytes as usize);
                format!("[{}]", slots.map(|slot| self.slot(slot)).collect::<Vec<_>>().join(", "))
            }
        }
    }

    fn slot(&self, bytes: &[u8]) -> String {
        match &self.types {
            Some(types) => value::to_text(&types.btf, types.value, bytes),
            None => hex(bytes),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte)].map(char::from)).collect()
}
