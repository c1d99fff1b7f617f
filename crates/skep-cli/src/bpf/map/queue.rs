//! Queues and stacks: `map peek`, `pop` and `dequeue`.

use skep::runtime::Command;

use super::super::failure::{Failure, Outcome};
use super::super::select;
use super::super::shell::Shell;
use super::super::words::Words;
use super::Types;
use super::element::{named, not_found, print};
use super::print::Elements;

/// What the kernel answers whose maps cannot take and remove at a time.
const ENOTSUPP: i32 = 524;

/// `map peek MAP`
pub(crate) fn peek(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    named(words)?;
    let selected = select::map(shell, words)?;
    words.end()?;
    if selected.info.key_size > 0 {
        return Err(keyed());
    }
    match selected.map.lookup(&[]).map_err(|e| Failure::refused(&e))? {
        Some(value) => show(shell, &selected, Some(value)),
        None => Err(not_found(shell, &[])),
    }
}

fn keyed() -> Failure {
    Failure::new("elements of this map have keys").hint("`map lookup` and `map delete` name them")
}

/// `map pop MAP` and `map dequeue MAP`
pub(crate) fn take(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    named(words)?;
    let selected = select::map(shell, words)?;
    words.end()?;
    if selected.info.key_size > 0 {
        return Err(keyed().with_errno(ENOTSUPP));
    }
    let mut value = vec![0; selected.map.value_stride()];
    let command =
        Command::MapLookupAndDelete { map: selected.map.fd(), key: &[], value: &mut value, flags: 0 };
    match shell.runtime()?.bpf(command) {
        Ok(_) => show(shell, &selected, Some(value)),
        Err(e) if e.kind() == skep::runtime::ErrorKind::NotFound => show(shell, &selected, None),
        Err(e) => Err(Failure::refused(&e)),
    }
}

fn show(shell: &mut Shell, selected: &select::SelectedMap, value: Option<Vec<u8>>) -> Outcome {
    let value = value.ok_or_else(|| Failure::absent("the map is empty"))?;
    let types = Types::of(&shell.runtime()?, &selected.info)?;
    print(shell, &Elements::new(shell, &selected.info, types.as_ref()), &[], &value)
}
