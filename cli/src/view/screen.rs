//! Draws progress on stderr: a bar on a terminal, else a line for each new word and each ten seconds.

use super::{
    printable::{Paint, printable},
    stage::Line,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};
use tokio::time::Instant;

/// Between two lines that say the same where there is no terminal.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where progress goes, and the program's clock.
pub(crate) struct Screen {
    begun: Instant,
    device: Device,
}

enum Device {
    Terminal(ProgressBar),
    Lines { last: Option<(String, Duration)> },
}

impl Screen {
    /// A terminal if stderr is one that can move its cursor.
    pub(crate) fn on_stderr() -> Self {
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        let device = if io::stderr().is_terminal() && !dumb {
            Device::Terminal(spinner())
        } else {
            Device::Lines { last: None }
        };
        Self { begun: Instant::now(), device }
    }

    /// The time since the program began.
    pub(crate) fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// How often it is worth drawing.
    pub(crate) fn interval(&self) -> Duration {
        match self.device {
            Device::Terminal(_) => Duration::from_millis(100),
            Device::Lines { .. } => Duration::from_secs(1),
        }
    }

    /// Shows how things stand.
    pub(crate) fn show(&mut self, line: &Line) {
        let now = self.now();
        match &mut self.device {
            Device::Terminal(bar) => {
                bar.set_message(line.drawn());
                bar.tick();
            }
            Device::Lines { last } => {
                // A bar moves all the time; other words are new when they change.
                let said = if line.bar.is_some() { line.stage.to_owned() } else { line.plain() };
                if last.as_ref().is_none_or(|(before, at)| *before != said || now >= *at + PATIENCE) {
                    *last = Some((said, now));
                    tell(&line.plain());
                }
            }
        }
    }

    /// Prints a line that stays.
    pub(crate) fn note(&self, text: &str) {
        match &self.device {
            Device::Terminal(bar) => bar.suspend(|| tell(text)),
            Device::Lines { .. } => tell(text),
        }
    }

    /// Takes the bar away, for what is printed next.
    pub(crate) fn clear(&mut self) {
        match &mut self.device {
            Device::Terminal(bar) => {
                bar.finish_and_clear();
                *bar = spinner();
            }
            Device::Lines { last } => *last = None,
        }
    }
}

fn spinner() -> ProgressBar {
    let style =
        ProgressStyle::with_template("{spinner} {wide_msg}").expect("the template is constant and parses");
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style)
}

/// A line on stderr. A closed stderr must not end the program.
pub(crate) fn tell(text: &str) {
    let mut stderr = io::stderr().lock();
    for line in text.lines() {
        let _ = writeln!(stderr, "{}", printable(line));
    }
}

/// Writes the result to stdout. A reader that went away (`| head`) is no error.
pub(crate) fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Whether stdout takes colours.
pub(crate) fn stdout_paint() -> Paint {
    let read = |name| std::env::var(name).ok();
    Paint::choose(io::stdout().is_terminal(), read("NO_COLOR").as_deref(), read("TERM").as_deref())
}

/// Whether stderr takes colours.
pub(crate) fn stderr_paint() -> Paint {
    let read = |name| std::env::var(name).ok();
    Paint::choose(io::stderr().is_terminal(), read("NO_COLOR").as_deref(), read("TERM").as_deref())
}

/// Why the program ends.
pub(crate) fn tell_error(message: &str, paint: Paint) {
    let mut stderr = io::stderr().lock();
    let _ = write!(stderr, "{} ", paint.red("error:"));
    for line in message.lines() {
        let _ = writeln!(stderr, "{}", printable(line));
    }
}
