//! Small tables, as kubectl prints them.

use super::printable::{Paint, printable};
use std::fmt::Write as _;

/// One column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub title: &'static str,
    pub align: Align,
    /// The most characters that a cell may take; longer ones lose their `cut`.
    pub widest: usize,
    pub cut: Cut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Which end of a long cell is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    End,
    /// For paths, whose end says most.
    Start,
}

impl Column {
    pub(crate) const fn left(title: &'static str, widest: usize) -> Self {
        Self { title, align: Align::Left, widest, cut: Cut::End }
    }

    pub(crate) const fn path(title: &'static str, widest: usize) -> Self {
        Self { title, align: Align::Left, widest, cut: Cut::Start }
    }

    pub(crate) const fn right(title: &'static str) -> Self {
        Self { title, align: Align::Right, widest: 12, cut: Cut::End }
    }
}

/// Renders rows of as many cells as there are columns. Cells are made printable.
pub(crate) fn render<const N: usize>(columns: [Column; N], rows: &[[String; N]], paint: Paint) -> String {
    let cells: Vec<[String; N]> = rows
        .iter()
        .map(|row| std::array::from_fn(|i| shorten(&printable(&row[i]), columns[i].widest, columns[i].cut)))
        .collect();
    let widths: [usize; N] = std::array::from_fn(|i| {
        cells.iter().map(|row| count(&row[i])).chain([count(columns[i].title)]).max().unwrap_or(0)
    });
    let titles = columns.map(|column| column.title.to_owned());
    let mut text = paint.bold(&line(&titles, &columns, &widths));
    text.push('\n');
    for row in &cells {
        text.push_str(&line(row, &columns, &widths));
        text.push('\n');
    }
    text
}

fn line<const N: usize>(cells: &[String; N], columns: &[Column; N], widths: &[usize; N]) -> String {
    let mut text = String::new();
    for ((cell, column), width) in cells.iter().zip(columns).zip(widths) {
        if !text.is_empty() {
            text.push_str("   ");
        }
        match column.align {
            Align::Left => {
                let _ = write!(text, "{cell:<width$}");
            }
            Align::Right => {
                let _ = write!(text, "{cell:>width$}");
            }
        }
    }
    text.truncate(text.trim_end().len());
    text
}

fn count(text: &str) -> usize {
    text.chars().count()
}

fn shorten(text: &str, widest: usize, cut: Cut) -> String {
    let count = count(text);
    if count <= widest {
        return text.to_owned();
    }
    let keep = widest.saturating_sub(1);
    match cut {
        Cut::End => text.chars().take(keep).chain(['…']).collect(),
        Cut::Start => ['…'].into_iter().chain(text.chars().skip(count - keep)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_long_cells_cut_where_they_say_least() {
        let columns = [Column::left("FUNCTION", 10), Column::path("LOCATION", 12), Column::right("SELF")];
        let rows = [
            ["serialize", "a.js:1", "61%"].map(str::to_owned),
            ["aVeryLongFunction", "/app/node_modules/x/y.js:41", "5%"].map(str::to_owned),
            ["bad\x1bname", "", "-"].map(str::to_owned),
        ];
        assert_eq!(
            render(columns, &rows, Paint::Plain),
            "FUNCTION     LOCATION       SELF\n\
             serialize    a.js:1          61%\n\
             aVeryLong…   …s/x/y.js:41     5%\n\
             bad\u{fffd}name                       -\n"
        );
    }
}
