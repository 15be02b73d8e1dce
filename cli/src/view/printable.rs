//! Text from a cluster, made safe for a terminal: function names, messages and pods' words come from
//! programs that may be hostile, and a terminal obeys escape sequences.

use std::borrow::Cow;

/// The text with nothing in it that a terminal would obey, in one line.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_hostile) {
        Cow::Owned(text.chars().map(|c| if is_hostile(c) { '\u{fffd}' } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// Control characters, and those that turn the direction of text or hide in it.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// A size in bytes as people read it.
pub(crate) fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

/// Bold and colour, where they are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    Plain,
    Ansi,
}

impl Paint {
    /// Colours only on a terminal that has some, and never against `NO_COLOR`, which says no when it isn't
    /// empty (no-color.org).
    pub(crate) fn choose(terminal: bool, no_color: Option<&str>, term: Option<&str>) -> Self {
        let refused = no_color.is_some_and(|value| !value.is_empty()) || term == Some("dumb");
        if terminal && !refused { Self::Ansi } else { Self::Plain }
    }

    fn with(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Ansi => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.with("31", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        for (text, shown) in [
            ("serializeCart", "serializeCart"),
            ("größe 数", "größe 数"),
            ("\x1b[2Jgone", "\u{fffd}[2Jgone"),
            ("two\nlines\r", "two\u{fffd}lines\u{fffd}"),
            ("\u{9b}31m", "\u{fffd}31m"),
            ("evil\u{202e}gpj.exe", "evil\u{fffd}gpj.exe"),
            ("zero\u{200b}width", "zero\u{fffd}width"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }

    #[test]
    fn colours_are_for_terminals_and_no_color_forbids_them() {
        for (terminal, no_color, term, paint) in [
            (true, None, Some("xterm"), Paint::Ansi),
            (true, Some(""), Some("xterm"), Paint::Ansi),
            (true, Some("1"), Some("xterm"), Paint::Plain),
            (true, None, Some("dumb"), Paint::Plain),
            (false, None, Some("xterm"), Paint::Plain),
        ] {
            assert_eq!(Paint::choose(terminal, no_color, term), paint, "{terminal} {no_color:?} {term:?}");
        }
    }
}
