//! Prints records as they come: as a table, as JSON lines, or as bytes.

use std::io::{self, BufWriter, Stdout, Write};

use serde_json::{Value, json};
use skep::btf::value;
use skep::records::RecordType;
use skep::runtime::{Event, EventSource};

use super::bytes;
use super::watch::Sink;
use crate::args::Format;
use crate::table::{Align, Column, Table};
use crate::term;

/// A buffer of records.
pub(crate) struct Stream {
    /// The map's name.
    pub(crate) map: String,
    /// What reads it.
    pub(crate) source: Box<dyn EventSource>,
    /// The type of its records, if it is known.
    pub(crate) record: Option<RecordType>,
}

/// What is known of a buffer while it is printed.
struct Origin {
    map: String,
    record: Option<RecordType>,
    lost: u64,
}

/// Prints to stdout; lost records and `bpf_printk` lines go to stderr.
pub(crate) struct Printer {
    format: Format,
    origins: Vec<Origin>,
    table: Option<Table>,
    /// Records that came.
    records: u64,
    out: BufWriter<Stdout>,
}

impl Printer {
    /// A printer for these buffers, and what reads them, in the same order.
    pub(crate) fn new(format: Format, streams: Vec<Stream>) -> (Self, Vec<Box<dyn EventSource>>) {
        let (origins, sources) = streams
            .into_iter()
            .map(|stream| (Origin { map: stream.map, record: stream.record, lost: 0 }, stream.source))
            .unzip();
        (Self { format, origins, table: None, records: 0, out: BufWriter::new(io::stdout()) }, sources)
    }

    /// The format that was asked for.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// One JSON object, on a line of its own.
    pub(crate) fn json_line(&mut self, value: &Value) -> io::Result<()> {
        writeln!(self.out, "{value}")
    }

    /// A line between tables.
    pub(crate) fn caption(&mut self, text: &str) -> io::Result<()> {
        self.table = None;
        writeln!(self.out, "\n{text}")
    }

    /// A line as it is.
    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// A row under these columns; other columns than those of the row before begin a new table.
    pub(crate) fn row(&mut self, columns: Vec<Column>, cells: &[String]) -> io::Result<()> {
        if !self.table.as_ref().is_some_and(|table| table.has_columns(&columns)) {
            if self.table.is_some() {
                writeln!(self.out)?;
            }
            self.table = None;
        }
        let table = self.table.get_or_insert_with(|| Table::new(columns, term::stdout_coloured()));
        table.row(&mut self.out, cells)
    }

    /// Writes out what is buffered.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Counts lost records; the first loss is told at once, the sum at the end.
    fn lost(&mut self, origin: usize, count: u64) {
        let origin = &mut self.origins[origin];
        if origin.lost == 0 {
            term::warning(format_args!("`{}` is full: records are lost", origin.map));
        }
        origin.lost += count;
    }

    /// Are there buffers, and did no record come?
    pub(crate) fn had_nothing(&self) -> bool {
        !self.origins.is_empty() && self.records == 0
    }

    /// Tells how many records were lost in all.
    pub(crate) fn report_lost(&self) {
        for Origin { map, lost, .. } in self.origins.iter().filter(|origin| origin.lost > 0) {
            term::warning(format_args!("{lost} records of `{map}` were lost because the buffer was full"));
        }
    }

    fn record(&mut self, origin: usize, cpu: u32, data: &[u8]) -> io::Result<()> {
        self.records += 1;
        let Origin { map, record, .. } = &self.origins[origin];
        let record = record.as_ref().filter(|record| record.fits(data.len())).cloned();
        match (self.format, record) {
            (Format::Raw, _) => {
                let line = format!("{map} {} {}", data.len(), bytes::plain_hex(data));
                self.line(&line)
            }
            (Format::Json, record) => {
                let line = json_record(map, cpu, record.as_ref(), data);
                self.json_line(&line)
            }
            (Format::Table, Some(record)) => {
                let (columns, cells) = typed_row(&record, data);
                self.row(columns, &cells)
            }
            (Format::Table, None) => {
                let cells = [data.len().to_string(), bytes::hex(data), bytes::strings(data)];
                self.row(untyped_columns(), &cells)
            }
        }
    }
}

impl Sink for Printer {
    fn event(&mut self, stream: usize, event: Event<'_>) -> io::Result<()> {
        match event {
            Event::Record { cpu, data } => self.record(stream, cpu, data),
            Event::Lost { count, .. } => {
                self.lost(stream, count);
                Ok(())
            }
        }
    }

    fn printk(&mut self, line: &[u8]) {
        term::line_of_program(line);
    }

    fn idle(&mut self) -> io::Result<()> {
        self.flush()
    }
}

fn json_record(map: &str, cpu: u32, record: Option<&RecordType>, data: &[u8]) -> Value {
    let decoded = record.and_then(|record| value::to_json(&record.btf, record.id, data).ok());
    match decoded {
        Some(decoded) => json!({ "type": "event", "map": map, "cpu": cpu, "data": decoded }),
        None => json!({ "type": "event", "map": map, "cpu": cpu, "bytes": bytes::plain_hex(data) }),
    }
}

fn typed_row(record: &RecordType, data: &[u8]) -> (Vec<Column>, Vec<String>) {
    columns_and_cells(value::cells(&record.btf, record.id, data))
}

/// Splits the value formatter's cells into what the table wants.
pub(crate) fn columns_and_cells(cells: Vec<value::Cell>) -> (Vec<Column>, Vec<String>) {
    cells
        .into_iter()
        .map(|cell| {
            let align = if cell.right { Align::Right } else { Align::Left };
            (Column { title: cell.name.to_uppercase(), width: cell.width, align }, cell.text)
        })
        .unzip()
}

/// Columns of records whose type is not known.
fn untyped_columns() -> Vec<Column> {
    let column = |title: &str, width, align| Column { title: title.to_owned(), width, align };
    vec![column("LEN", 5, Align::Right), column("BYTES", 0, Align::Left), column("STRINGS", 0, Align::Left)]
}
