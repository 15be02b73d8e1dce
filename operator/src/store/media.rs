//! What an object is, for whoever downloads it.

/// The headers that an object is stored with.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Media {
    /// `Content-Type`.
    pub content_type: String,
    /// `Content-Encoding`, when the bytes are compressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// The name under which a browser saves it.
    pub file_name: String,
}

impl Media {
    /// `Content-Disposition`: always an attachment, since what is in it comes from pods and mustn't run in the page
    /// of whoever looks.
    pub(super) fn disposition(&self) -> String {
        let safe: String = self
            .file_name
            .chars()
            .take(200)
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' })
            .collect();
        format!("attachment; filename=\"{safe}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_cannot_break_out_of_its_header() {
        for (name, expected) in [
            ("a-1.cpuprofile", "attachment; filename=\"a-1.cpuprofile\""),
            ("a\"; x=\r\nSet-Cookie: b", "attachment; filename=\"a___x___Set-Cookie__b\""),
        ] {
            let media = Media {
                content_type: "text/plain".to_owned(),
                content_encoding: None,
                file_name: name.to_owned(),
            };
            assert_eq!(media.disposition(), expected);
        }
    }
}
