//! Figures, and how they are shown.

use std::fmt::Write;

/// Lines of what was measured.
#[derive(Default)]
pub(crate) struct Table(Vec<[String; 4]>);

impl Table {
    /// A line: what, how much is allowed ("" for a figure without a bound), how much it was, and of how many.
    pub(crate) fn line(&mut self, what: &str, bound: &str, measured: String, of: &str) {
        eprintln!("{what}: {measured}");
        self.0.push([what.to_owned(), bound.to_owned(), measured, of.to_owned()]);
    }

    /// A line for a percentile of milliseconds.
    pub(crate) fn percentile(&mut self, what: &str, percent: usize, bound: &str, milliseconds: &[f64]) {
        let what = format!("{what}, p{percent}");
        let of = format!("{} recordings", milliseconds.len());
        self.line(&what, bound, format!("{:.1} ms", percentile(milliseconds, percent)), &of);
    }

    /// Markdown on standard output.
    pub(crate) fn print(&self) {
        let mut text = "| what | at most | measured | of |\n| --- | --- | --- | --- |\n".to_owned();
        for [what, bound, measured, of] in &self.0 {
            writeln!(text, "| {what} | {bound} | {measured} | {of} |").expect("a String takes all");
        }
        print!("{text}");
    }
}

/// The nearest-rank percentile; 0 of nothing.
pub(crate) fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent * sorted.len()).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}
