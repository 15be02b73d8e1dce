//! Which names look like names. Pure. All take a string's JSON text without its quotes, so anything escaped is refused.

/// The longest name of a property or symbol, in characters.
const LONGEST_IDENTIFIER: usize = 40;
/// The longest of V8's own names: a script's path can be that long.
const LONGEST_OWN: usize = 256;

/// A name that the app chose: an identifier of at most 40 characters; of a class or function also what V8 makes of
/// one (`get total`, `bound call`, `Map.forEach`, `<anonymous>`, `Symbol(tag)`).
pub(super) fn keeps_strictly(name: &[u8]) -> bool {
    let known = |byte: &u8| byte.is_ascii_alphanumeric() || b"_$#.<>() ".contains(byte);
    let words = || name.split(|byte| *byte == b' ');
    name.len() <= LONGEST_IDENTIFIER
        && name.iter().all(known)
        && !name.first().is_some_and(u8::is_ascii_digit)
        && words().count() <= 3
}

/// A name that V8 chose: printable ASCII of a bounded length.
pub(super) fn keeps_loosely(name: &[u8]) -> bool {
    let known = |byte: &u8| (b' '..=b'~').contains(byte) && !b"\"\\@".contains(byte);
    name.len() <= LONGEST_OWN && name.iter().all(known)
}

/// The name of an edge between the key and the value of a `WeakMap`, which V8 makes of both names, without
/// them: `7 / part of key (a secret @12) -> value (b @14) pair in WeakMap (table @9)`. `DevTools` reads its ids.
pub(super) fn without_weak_pair_names(name: &[u8]) -> Option<String> {
    let text = str::from_utf8(name).ok()?;
    let (number, rest) = text.split_once(" / part of key (")?;
    let (rest, table) = rest.rsplit_once(" pair in WeakMap (table @")?;
    let table = table.strip_suffix(')')?;
    let (rest, value) = rest.strip_suffix(')')?.rsplit_once(" @")?;
    let (key, _) = rest.split_once(") -> value (")?;
    let (_, key) = key.rsplit_once(" @")?;
    let digits = |id: &str| !id.is_empty() && id.len() <= 20 && id.bytes().all(|byte| byte.is_ascii_digit());
    [number, key, value, table].into_iter().all(digits).then(|| {
        format!("{number} / part of key (- @{key}) -> value (- @{value}) pair in WeakMap (table @{table})")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_stay_and_data_goes() {
        for (name, kept) in [
            ("total", true),
            ("$_private#1", true),
            ("get total", true),
            ("<symbol Symbol.iterator>", true),
            ("a.b.c", true),
            ("", true),
            (&"x".repeat(40), true),
            (&"x".repeat(41), false),
            ("a@b.example", false),
            ("4111111111111111", false),
            ("a-b", false),
            ("one two three four", false),
            (r"\u00e9", false),
            ("é", false),
            ("a,b", false),
        ] {
            assert_eq!(keeps_strictly(name.as_bytes()), kept, "{name}");
        }
    }

    #[test]
    fn what_v8_says_stays() {
        for (name, kept) in [
            ("(GC roots)", true),
            ("system / Context", true),
            ("/app/server.js", true),
            ("node:internal/streams/writable", true),
            ("someone@host", false),
            (r#"a\"b"#, false),
            (&"x".repeat(257), false),
        ] {
            assert_eq!(keeps_loosely(name.as_bytes()), kept, "{name}");
        }
    }

    #[test]
    fn the_pair_of_a_weak_map_keeps_its_ids_alone() {
        let secret =
            "9 / part of key (a secret @77) (x @12) -> value (another @14) pair in WeakMap (table @5)";
        assert_eq!(
            without_weak_pair_names(secret.as_bytes()).unwrap(),
            "9 / part of key (- @12) -> value (- @14) pair in WeakMap (table @5)"
        );
        for other in [
            "total",
            "x / part of key (a @1) -> value (b @2) pair in WeakMap (table @3)",
            "1 / part of key (a @1) -> value (b @2) pair in WeakMap (table @x)",
            "1 / part of key (a @1) pair in WeakMap (table @3)",
        ] {
            assert_eq!(without_weak_pair_names(other.as_bytes()), None, "{other}");
        }
    }
}
