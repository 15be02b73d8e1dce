//! Texts that an app chose, on their way to people.

const ELLIPSIS: &str = "…";

/// The text for people: on one line, without characters that would act on a terminal, and of at most `size` bytes as
/// the inside of a JSON string. What is too long loses its end.
pub(crate) fn shown(text: &str, size: usize) -> String {
    let harmless = harmless(text);
    match fitting(harmless.chars(), &harmless, size) {
        None => harmless,
        Some(kept) => harmless.chars().take(kept).collect::<String>() + ELLIPSIS,
    }
}

/// As [`shown`], but what is too long loses its beginning, as suits a path.
pub(crate) fn shown_end(text: &str, size: usize) -> String {
    let harmless = harmless(text);
    match fitting(harmless.chars().rev(), &harmless, size) {
        None => harmless,
        Some(kept) => ELLIPSIS.to_owned() + &harmless[start_of_last(&harmless, kept)..],
    }
}

fn start_of_last(text: &str, characters: usize) -> usize {
    match characters {
        0 => text.len(),
        kept => text.char_indices().rev().nth(kept - 1).map_or(0, |(at, _)| at),
    }
}

/// How many characters of a text that doesn't fit do fit, beside an ellipsis. `None`: it fits.
fn fitting(characters: impl Iterator<Item = char>, text: &str, size: usize) -> Option<usize> {
    if text.chars().map(json_size).sum::<usize>() <= size {
        return None;
    }
    let mut left = size.saturating_sub(ELLIPSIS.len());
    let kept = characters.take_while(|&character| {
        let fits = json_size(character) <= left;
        left = left.saturating_sub(json_size(character));
        fits
    });
    Some(kept.count())
}

fn json_size(character: char) -> usize {
    if matches!(character, '"' | '\\') { 2 } else { character.len_utf8() }
}

fn harmless(text: &str) -> String {
    text.chars()
        .map(|character| if acts(character) { char::REPLACEMENT_CHARACTER } else { character })
        .collect()
}

/// Control characters, line separators, and what turns the direction of text.
fn acts(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_kept_and_what_is_too_long_is_cut() {
        for (text, size, start, end) in [
            ("checkout", 8, "checkout", "checkout"),
            ("checkout", 7, "chec…", "…kout"),
            ("ééééé", 10, "ééééé", "ééééé"),
            ("ééééé", 9, "ééé…", "…ééé"),
            ("ééééé", 8, "éé…", "…éé"),
            ("\"\"\"\"", 8, "\"\"\"\"", "\"\"\"\""),
            ("\"\"\"\"", 7, "\"\"…", "…\"\""),
            ("", 3, "", ""),
            ("abcdef", 3, "…", "…"),
        ] {
            assert_eq!(shown(text, size), start, "{text} in {size}");
            assert_eq!(shown_end(text, size), end, "{text} in {size}");
        }
    }

    #[test]
    fn characters_that_act_on_a_terminal_are_replaced() {
        assert_eq!(shown("a\u{1b}[31mb\nc\u{202e}d\u{9b}", 100), "a\u{fffd}[31mb\u{fffd}c\u{fffd}d\u{fffd}");
    }

    #[test]
    fn no_text_is_longer_in_json_than_was_asked() {
        let mut random = fastrand::Rng::with_seed(5);
        let characters: Vec<char> = "ab\"\\é€😀\n\u{7f}".chars().collect();
        for _ in 0..2000 {
            let text: String =
                (0..random.usize(0..40)).map(|_| characters[random.usize(..characters.len())]).collect();
            let size = random.usize(3..60);
            for cut in [shown(&text, size), shown_end(&text, size)] {
                assert!(
                    serde_json::to_string(&cut).unwrap().len() <= size + 2,
                    "{text:?} in {size}: {cut:?}"
                );
            }
        }
    }
}
