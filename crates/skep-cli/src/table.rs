//! A table that is printed while its rows arrive: a header once, then aligned columns.
//!
//! Widths are decided by the columns alone, before any row is known; a value that is wider than its column pushes the rest
//! of its row to the right and loses nothing.

use std::io::{self, Write};

/// On which side a column's values stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    /// What the header says.
    pub(crate) title: String,
    /// Characters its values usually need; the header's own width is the minimum.
    pub(crate) width: usize,
    /// Where they stand.
    pub(crate) align: Align,
}

/// Columns with a header that may still have to be printed.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    bold_header: bool,
    header_printed: bool,
}

impl Table {
    /// A table of these columns; `bold_header` for terminals that show it.
    pub(crate) fn new(columns: Vec<Column>, bold_header: bool) -> Self {
        Self { columns, bold_header, header_printed: false }
    }

    /// Is it a table of the same columns?
    pub(crate) fn has_columns(&self, columns: &[Column]) -> bool {
        self.columns == columns
    }

    /// Prints one row, and the header before the first.
    pub(crate) fn row(&mut self, out: &mut dyn Write, cells: &[String]) -> io::Result<()> {
        if !self.header_printed {
            self.header(out)?;
        }
        writeln!(out, "{}", self.line(cells.iter().map(String::as_str)))
    }

    fn header(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.header_printed = true;
        let line = self.line(self.columns.iter().map(|column| column.title.as_str()));
        if self.bold_header { writeln!(out, "\x1b[1m{line}\x1b[0m") } else { writeln!(out, "{line}") }
    }

    /// Pads each cell to its column, one space between columns, none at the end of the line.
    fn line<'a>(&self, cells: impl Iterator<Item = &'a str>) -> String {
        let mut line = String::new();
        for (i, (column, cell)) in self.columns.iter().zip(cells).enumerate() {
            if i > 0 {
                line.push(' ');
            }
            let width = column.width.max(column.title.chars().count());
            let padding = width.saturating_sub(cell.chars().count());
            if column.align == Align::Right {
                line.extend(std::iter::repeat_n(' ', padding));
            }
            line.push_str(cell);
            if column.align == Align::Left {
                line.extend(std::iter::repeat_n(' ', padding));
            }
        }
        line.truncate(line.trim_end_matches(' ').len());
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(title: &str, width: usize, align: Align) -> Column {
        Column { title: title.to_owned(), width, align }
    }

    fn print(rows: &[&[&str]]) -> String {
        let columns = vec![
            column("PID", 7, Align::Right),
            column("COMM", 8, Align::Left),
            column("PATH", 0, Align::Left),
        ];
        let mut table = Table::new(columns, false);
        let mut out = Vec::new();
        for row in rows {
            let cells: Vec<String> = row.iter().map(|&cell| cell.to_owned()).collect();
            table.row(&mut out, &cells).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn rows_align_under_one_header() {
        let text = print(&[&["1", "cat", "/etc/passwd"], &["12345", "sh", "x"]]);
        assert_eq!(text, "    PID COMM     PATH\n      1 cat      /etc/passwd\n  12345 sh       x\n");
    }

    #[test]
    fn wide_values_lose_nothing() {
        let text = print(&[&["1", "a-very-long-name", "y"]]);
        assert!(text.ends_with("\n      1 a-very-long-name y\n"), "{text:?}");
    }
}
