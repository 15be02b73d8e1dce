//! Local file names. An artifact's name comes from a status, and the pod's part of it from whoever named
//! the pod: it must not choose a folder, hide, or pass for an option.

/// Longest stem and extension that leave room for a number on any file system.
const LONGEST: usize = 200;

/// A file name for an artifact, with nothing in it but ASCII letters, digits, `.`, `_` and `-`.
pub(crate) fn file_name(artifact: &str, suffix: &str) -> String {
    let mut name: String = artifact
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' })
        .collect();
    if name.len() > LONGEST {
        let (stem, extension) = split(&name);
        let keep = LONGEST.saturating_sub(extension.len()).max(1).min(stem.len());
        name = format!("{}{extension}", &stem[..keep]);
        name.truncate(LONGEST);
    }
    if name.is_empty() || name.starts_with(['.', '-']) {
        name.insert(0, '_');
    }
    name + suffix
}

/// The same name with a number, for when it is taken: `a.cpuprofile`, `a-1.cpuprofile`, `a-2.cpuprofile`.
pub(crate) fn numbered(name: &str, number: u32) -> String {
    match number {
        0 => name.to_owned(),
        number => {
            let (stem, extension) = split(name);
            format!("{stem}-{number}{extension}")
        }
    }
}

/// At the last dot, or before `.gz` at the one before.
fn split(name: &str) -> (&str, &str) {
    let body = name.strip_suffix(".gz").unwrap_or(name);
    match body.rfind('.') {
        Some(at) if at > 0 => name.split_at(at),
        _ => name.split_at(body.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Component, Path};

    #[test]
    fn no_name_leaves_its_folder_hides_or_passes_for_an_option() {
        let long = format!("{}.cpuprofile", "x".repeat(400));
        let cut = format!("{}.cpuprofile", "x".repeat(189));
        for (artifact, name) in [
            ("checkout-5d9c-17.cpuprofile", "checkout-5d9c-17.cpuprofile"),
            ("../../etc/passwd", "_.._.._etc_passwd"),
            ("/etc/passwd", "_etc_passwd"),
            ("..", "_.."),
            ("", "_"),
            (".bashrc", "_.bashrc"),
            ("-rf", "_-rf"),
            ("C:\\x", "C__x"),
            ("a\nb\0c", "a_b_c"),
            ("größe", "gr__e"),
            (long.as_str(), cut.as_str()),
        ] {
            let seen = file_name(artifact, "");
            assert_eq!(seen, name);
            let components: Vec<_> = Path::new(&seen).components().collect();
            assert!(matches!(components[..], [Component::Normal(_)]), "{seen}");
            assert!(seen.len() <= LONGEST + 1);
        }
        assert_eq!(file_name("a.cpuprofile", ".gz"), "a.cpuprofile.gz");
    }

    #[test]
    fn a_number_goes_before_the_extension() {
        for (name, number, expected) in [
            ("a.cpuprofile", 0, "a.cpuprofile"),
            ("a.cpuprofile", 2, "a-2.cpuprofile"),
            ("a.cpuprofile.gz", 1, "a-1.cpuprofile.gz"),
            ("a", 1, "a-1"),
            ("_.x", 1, "_-1.x"),
        ] {
            assert_eq!(numbered(name, number), expected);
        }
    }
}
