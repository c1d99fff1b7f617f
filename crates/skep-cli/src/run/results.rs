//! What maps and variables hold at the end.

use std::io;
use std::sync::Arc;

use serde_json::{Value, json};
use skep::btf::{Btf, TypeId, value};
use skep::results::{self, Element, Holds};
use skep::variables::{self, Changed};
use skep::{Error, Loaded, LoadedMap, Result};

use super::bytes;
use super::print::{Printer, columns_and_cells};
use crate::args::Format;
use crate::table::{Align, Column};

/// Prints every map that holds results, and every variable that programs have changed.
pub(crate) fn print(loaded: &Loaded, printer: &mut Printer) -> Result<()> {
    let written = |e: io::Error| Error::file("stdout".as_ref(), e);
    let lists =
        |map: &&LoadedMap| results::holds(&map.def) == Holds::Elements && !results::is_scratch(loaded, map);
    for map in loaded.maps().filter(lists) {
        let elements = results::elements(map)?;
        if !elements.is_empty() {
            print_map(loaded, map, &elements, printer).map_err(written)?;
        }
    }
    let changed = variables::changed(loaded)?;
    if !changed.is_empty() {
        print_variables(loaded, &changed, printer).map_err(written)?;
    }
    match printer.flush() {
        // Nobody reads any more: the results have no reader either.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(written),
    }
}

fn print_map(
    loaded: &Loaded,
    map: &LoadedMap,
    elements: &[Element],
    printer: &mut Printer,
) -> io::Result<()> {
    let view = View { btf: loaded.btf.as_ref(), map };
    match printer.format() {
        Format::Json => {
            let data: Vec<Value> = elements.iter().map(|element| view.json(element)).collect();
            printer.json_line(&json!({ "type": "map", "map": map.def.name, "data": data }))
        }
        Format::Raw => elements.iter().try_for_each(|Element { key, value }| {
            let (key, value) = (bytes::plain_hex(key), bytes::plain_hex(value));
            printer.line(&format!("{} {key} {value}", map.def.name))
        }),
        Format::Table => {
            let plural = if elements.len() == 1 { "" } else { "s" };
            printer.caption(&format!(
                "map `{}` ({}, {} element{plural})",
                map.def.name,
                map.def.map_type,
                elements.len()
            ))?;
            for row in elements.iter().flat_map(|element| view.rows(element)) {
                printer.row(row.columns, &row.cells)?;
            }
            Ok(())
        }
    }
}

/// One line of a table, with its columns.
#[derive(Default)]
struct Row {
    columns: Vec<Column>,
    cells: Vec<String>,
}

impl Row {
    fn push(&mut self, column: Column, cell: String) {
        self.columns.push(column);
        self.cells.push(cell);
    }

    fn extend(&mut self, (columns, cells): (Vec<Column>, Vec<String>)) {
        self.columns.extend(columns);
        self.cells.extend(cells);
    }
}

/// A map's elements, seen through its types.
struct View<'a> {
    btf: Option<&'a Arc<Btf>>,
    map: &'a LoadedMap,
}

impl View<'_> {
    /// The element's lines: one, or one for each processor whose slot is not zero throughout.
    fn rows(&self, element: &Element) -> Vec<Row> {
        if !results::is_per_cpu(self.map.def.map_type) {
            return vec![self.row(&element.key, None, &element.value)];
        }
        self.slots(element)
            .filter(|(_, slot)| slot.iter().any(|&byte| byte != 0))
            .map(|(cpu, slot)| self.row(&element.key, Some(cpu), slot))
            .collect()
    }

    fn row(&self, key: &[u8], cpu: Option<usize>, value: &[u8]) -> Row {
        let mut row = Row::default();
        row.extend(self.cells("key", self.map.def.key_type, key));
        if let Some(cpu) = cpu {
            row.push(Column { title: "CPU".to_owned(), width: 3, align: Align::Right }, cpu.to_string());
        }
        row.extend(self.cells("value", self.map.def.value_type, value));
        row
    }

    fn cells(&self, name: &str, ty: TypeId, data: &[u8]) -> (Vec<Column>, Vec<String>) {
        let typed = self.btf.filter(|_| ty != TypeId::VOID).map(|btf| {
            let (mut columns, cells) = columns_and_cells(value::cells(btf, ty, data));
            if let [only] = &mut columns[..] {
                name.to_uppercase().clone_into(&mut only.title);
            }
            (columns, cells)
        });
        typed.unwrap_or_else(|| {
            let column =
                Column { title: name.to_uppercase(), width: 2 * data.len().min(16), align: Align::Left };
            (vec![column], vec![bytes::hex(data)])
        })
    }

    fn json(&self, element: &Element) -> Value {
        let key = self.json_value(self.map.def.key_type, &element.key);
        if !results::is_per_cpu(self.map.def.map_type) {
            return json!({ "key": key, "value": self.json_value(self.map.def.value_type, &element.value) });
        }
        let values: Vec<Value> = self
            .slots(element)
            .map(|(cpu, slot)| json!({ "cpu": cpu, "value": self.json_value(self.map.def.value_type, slot) }))
            .collect();
        json!({ "key": key, "values": values })
    }

    fn json_value(&self, ty: TypeId, data: &[u8]) -> Value {
        self.btf
            .filter(|_| ty != TypeId::VOID)
            .and_then(|btf| value::to_json(btf, ty, data).ok())
            .unwrap_or_else(|| bytes::plain_hex(data).into())
    }

    /// The processors' slots of a value, each without its padding to eight bytes.
    fn slots<'e>(&self, element: &'e Element) -> impl Iterator<Item = (usize, &'e [u8])> + use<'e> {
        let bytes = self.map.def.value_size as usize;
        element
            .value
            .chunks(bytes.next_multiple_of(8).max(8))
            .map(move |slot| &slot[..bytes.min(slot.len())])
            .enumerate()
    }
}

fn print_variables(loaded: &Loaded, changed: &[Changed], printer: &mut Printer) -> io::Result<()> {
    let text = |variable: &Changed| match (variable.type_id, &loaded.btf) {
        (Some(id), Some(btf)) => value::to_text(btf, id, &variable.value),
        _ => bytes::hex(&variable.value),
    };
    match printer.format() {
        Format::Json => {
            let data: serde_json::Map<String, Value> = changed
                .iter()
                .map(|variable| {
                    let decoded = variable.type_id.zip(loaded.btf.as_ref());
                    let json = decoded.and_then(|(id, btf)| value::to_json(btf, id, &variable.value).ok());
                    (variable.name.clone(), json.unwrap_or_else(|| bytes::plain_hex(&variable.value).into()))
                })
                .collect();
            printer.json_line(&json!({ "type": "variables", "data": data }))
        }
        Format::Raw => changed.iter().try_for_each(|variable| {
            printer.line(&format!("{} {}", variable.name, bytes::plain_hex(&variable.value)))
        }),
        Format::Table => {
            printer.caption("variables that programs changed")?;
            changed
                .iter()
                .try_for_each(|variable| printer.line(&format!("{} = {}", variable.name, text(variable))))
        }
    }
}
