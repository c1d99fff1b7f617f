//! `map watch`: elements as they appear, change and vanish.

use std::collections::BTreeMap;
use std::time::Duration;

use skep::btf::{TypeId, value};

use super::super::failure::{Failure, Outcome};
use super::super::json::{Json, digit};
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
        if shell.is_json() {
            let change = match change {
                "+" => "added",
                "~" => "changed",
                _ => "removed",
            };
            shell.json.begin_object();
            shell.json.string_field("change", change);
            shell.json.name("key");
            self.json(&mut shell.json, self.types.as_ref().map(|types| types.key), key);
            shell.json.name("value");
            self.json_value(&mut shell.json, value);
            shell.json.end_object();
            shell.json.finish_document();
        } else {
            let (key, value) = (self.key(key), self.value(value));
            shell.json.text(format_args!("{change} {key}: {value}\n"));
        }
    }

    /// By its type, or as bytes; of a per-CPU map an array of what each processor has.
    fn json_value(&self, json: &mut Json, bytes: &[u8]) {
        let ty = self.types.as_ref().map(|types| types.value);
        let Some(slot_bytes) = self.per_cpu_bytes else { return self.json(json, ty, bytes) };
        json.begin_array();
        value::per_cpu(bytes, slot_bytes as usize).for_each(|slot| self.json(json, ty, slot));
        json.end_array();
    }

    fn json(&self, json: &mut Json, ty: Option<TypeId>, bytes: &[u8]) {
        let typed = self.types.as_ref().zip(ty.filter(|ty| *ty != TypeId::VOID));
        match typed.and_then(|(types, ty)| value::to_json(&types.btf, ty, bytes).ok()) {
            Some(value) => json.raw(&value.to_string()),
            None => json.hex(bytes),
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
