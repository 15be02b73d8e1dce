//! Strings as V8 writes them.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

/// A JSON string that may hold lone surrogates (`"\ud800"`), which JavaScript's strings allow and Rust's don't:
/// they become replacement characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LossyText(pub(crate) String);

impl LossyText {
    /// At most `limit` characters of it, for messages to people.
    pub(crate) fn cut(self, limit: usize) -> String {
        match self.0.char_indices().nth(limit) {
            None => self.0,
            Some((at, _)) => format!("{}…", &self.0[..at]),
        }
    }
}

impl<'de> Deserialize<'de> for LossyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lossy;
        impl Visitor<'_> for Lossy {
            type Value = LossyText;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<LossyText, E> {
                Ok(LossyText(text.to_owned()))
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<LossyText, E> {
                Ok(LossyText(String::from_utf8_lossy(bytes).into_owned()))
            }
        }
        // As bytes, serde_json gives lone surrogates in their WTF-8 form instead of refusing them.
        deserializer.deserialize_bytes(Lossy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_surrogates_are_replaced_and_the_rest_is_kept() {
        for (json, expected) in [
            (r#""plain""#, "plain"),
            (r#""\u00e9\n\"\\""#, "é\n\"\\"),
            (r#""\ud83d\ude00""#, "😀"),
            (r#""a\ud800b""#, "a\u{fffd}\u{fffd}\u{fffd}b"),
            (r#""\udc00""#, "\u{fffd}\u{fffd}\u{fffd}"),
            (r#""\ud800\u0041""#, "\u{fffd}\u{fffd}\u{fffd}A"),
        ] {
            let LossyText(text) = serde_json::from_str(json).expect(json);
            assert_eq!(text, expected, "{json}");
        }
        assert!(serde_json::from_str::<LossyText>("7").is_err());
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        assert_eq!(LossyText("ééé".into()).cut(3), "ééé");
        assert_eq!(LossyText("éééé".into()).cut(3), "ééé…");
    }
}
