//! In what two objects differ, as text and as JSON.

use skep::object::diff::{Change, Difference, Line};

use super::super::json::Json;
use crate::term;

/// Lines that are shown around those that differ.
const CONTEXT: usize = 3;

/// A paragraph for each difference.
pub(super) fn text(json: &mut Json, found: &[Difference]) {
    let paint = Paint { coloured: term::stdout_coloured() };
    for difference in found {
        let name = format!("{} {}", difference.kind, difference.name);
        match &difference.change {
            Change::Added(what) => json.text(format_args!("{}\n", paint.added(&format!("+ {name}: {what}")))),
            Change::Removed(what) => {
                json.text(format_args!("{}\n", paint.removed(&format!("- {name}: {what}"))));
            }
            Change::Changed { properties, lines } => {
                json.text(format_args!("  {name}:\n"));
                for (what, a, b) in properties {
                    json.text(format_args!("      {what}: {a} → {b}\n"));
                }
                code(json, lines, &paint);
            }
        }
    }
}

/// Lines that differ, with some around them, and `…` for what is left out.
fn code(json: &mut Json, lines: &[Line], paint: &Paint) {
    let is_near = |at: usize| {
        let around = &lines[at.saturating_sub(CONTEXT)..lines.len().min(at + CONTEXT + 1)];
        around.iter().any(|line| !matches!(line, Line::Same(_)))
    };
    let mut was_shown = true;
    for (at, line) in lines.iter().enumerate() {
        if !is_near(at) {
            if was_shown {
                json.text(format_args!("        …\n"));
            }
            was_shown = false;
            continue;
        }
        was_shown = true;
        match line {
            Line::Same(text) => json.text(format_args!("        {text}\n")),
            Line::Old(text) => json.text(format_args!("{}\n", paint.removed(&format!("      - {text}")))),
            Line::New(text) => json.text(format_args!("{}\n", paint.added(&format!("      + {text}")))),
        }
    }
}

struct Paint {
    coloured: bool,
}

impl Paint {
    fn removed(&self, text: &str) -> String {
        self.paint("31", text)
    }

    fn added(&self, text: &str) -> String {
        self.paint("32", text)
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.coloured { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// An array of differences.
pub(super) fn json(json: &mut Json, found: &[Difference]) {
    json.begin_array();
    for difference in found {
        json.begin_object();
        json.string_field("kind", difference.kind);
        json.string_field("name", &difference.name);
        match &difference.change {
            Change::Added(what) => change(json, "added", what),
            Change::Removed(what) => change(json, "removed", what),
            Change::Changed { properties, lines } => {
                json.string_field("change", "changed");
                for (what, a, b) in properties {
                    json.name(what);
                    json.begin_array();
                    json.string(a);
                    json.string(b);
                    json.end_array();
                }
                changed_lines(json, lines);
            }
        }
        json.end_object();
    }
    json.end_array();
}

fn change(json: &mut Json, how: &str, what: &str) {
    json.string_field("change", how);
    json.string_field("what", what);
}

fn changed_lines(json: &mut Json, lines: &[Line]) {
    let old = lines.iter().filter_map(|line| if let Line::Old(text) = line { Some(text) } else { None });
    let new = lines.iter().filter_map(|line| if let Line::New(text) = line { Some(text) } else { None });
    json.name("old_lines");
    json.begin_array();
    old.for_each(|text| json.string(text));
    json.end_array();
    json.name("new_lines");
    json.begin_array();
    new.for_each(|text| json.string(text));
    json.end_array();
}
