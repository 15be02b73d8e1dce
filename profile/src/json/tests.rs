use super::*;

/// Gives one byte at a time.
struct Dripping<'bytes>(&'bytes [u8]);

impl Read for Dripping<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.0.len().min(1);
        buffer[..size].copy_from_slice(&self.0[..size]);
        self.0 = &self.0[size..];
        Ok(size)
    }
}

fn text_of(json: &str) -> Result<String, ReadError> {
    let whole = Json::new(json.as_bytes(), 1 << 20).text();
    let dripped = Json::new(Dripping(json.as_bytes()), 1 << 20).text();
    assert_eq!(format!("{whole:?}"), format!("{dripped:?}"), "{json}");
    whole
}

#[test]
fn texts_are_read_however_broken_their_characters() {
    for (json, expected) in [
        (r#""""#, ""),
        (r#" "plain é""#, "plain é"),
        (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
        (r#""\u00e9\u20AC""#, "é€"),
        (r#""\ud83d\ude00""#, "😀"),
        (r#""a\ud800b""#, "a\u{fffd}b"),
        (r#""\udc00""#, "\u{fffd}"),
        (r#""\ud800\ud83d\ude00""#, "\u{fffd}😀"),
        (r#""\ud800\n""#, "\u{fffd}\n"),
    ] {
        assert_eq!(text_of(json).unwrap(), expected, "{json}");
    }
    let broken = [&b"\"a"[..], &[0xff, 0xc3], b"b\""].concat();
    assert_eq!(Json::new(&broken[..], 100).text().unwrap(), "a\u{fffd}\u{fffd}b");
}

#[test]
fn long_texts_are_cut_at_a_character() {
    for (unit, expected) in [("a", LONGEST_TEXT), ("é", LONGEST_TEXT), ("€", LONGEST_TEXT - 1)] {
        let text = text_of(&format!("\"{}\"", unit.repeat(5000))).unwrap();
        assert_eq!(text.len(), expected);
        assert!(text.chars().all(|character| unit.contains(character)));
    }
}

#[test]
fn raw_texts_are_as_they_were_written() {
    let long = "x".repeat(LONGEST_TEXT - 6);
    let two_short = "x".repeat(LONGEST_TEXT - 2);
    let pair = r"\ud83d\ude00";
    for (json, expected) in [
        (r#" """#.to_owned(), String::new()),
        (r#""plain é \u00e9 \" \\ \/ \n""#.to_owned(), r#"plain é \u00e9 \" \\ \/ \n"#.to_owned()),
        (r#""a\ud800b\udc00\ud800\ud83d\ude00""#.to_owned(), r"a\ud800b\udc00\ud800\ud83d\ude00".to_owned()),
        (format!("\"{}\"", "é".repeat(600)), "é".repeat(512)),
        (format!("\"x{}\"", "é".repeat(600)), format!("x{}", "é".repeat(511))),
        // Neither an escape nor a pair is cut, and nothing comes after what didn't fit.
        (format!("\"{long}\\ud800y\""), format!("{long}\\ud800")),
        (format!("\"x{long}\\ud800y\""), format!("x{long}")),
        (format!("\"{long}{pair}y\""), long.clone()),
        (format!("\"{two_short}\\n\\n\""), format!("{two_short}\\n")),
        (format!("\"{two_short}x\\ny\""), format!("{two_short}x")),
    ] {
        let whole = Json::new(json.as_bytes(), 1 << 20).raw_text().map(str::to_owned).unwrap();
        assert_eq!(whole, expected, "{json}");
        let mut dripping = Json::new(Dripping(json.as_bytes()), 1 << 20);
        assert_eq!(dripping.raw_text().unwrap(), expected, "{json}, byte by byte");
        dripping.end().unwrap();
    }
    for (json, problem) in [
        (&b"\"a\nb\""[..], "control character"),
        (b"\"a\xffb\"", "UTF-8"),
        (b"\"a\xc3\"", "UTF-8"),
        (b"\"\\x\"", "escape"),
        (b"\"\\ud83", "cut off"),
        (b"\"\\", "cut off"),
        (b"\"\\ud83d\\ude0", "cut off"),
        (b"1", "a string is expected"),
    ] {
        for error in [
            Json::new(json, 100).raw_text().unwrap_err().to_string(),
            Json::new(Dripping(json), 100).raw_text().unwrap_err().to_string(),
        ] {
            assert!(error.contains(problem), "{error} of {json:?}");
        }
    }
}

#[test]
fn numbers_are_rounded_to_safe_integers() {
    for (json, expected) in [
        ("0,", 0),
        ("-12,", -12),
        ("9007199254740991]", (1 << 53) - 1),
        ("1.5 ", 2),
        ("-1.25e2}", -125),
        ("12E-1 ", 1),
    ] {
        assert_eq!(Json::new(json.as_bytes(), 100).integer().unwrap(), expected, "{json}");
    }
    for (json, problem) in [
        ("9007199254740992,", "too large"),
        ("99999999999999999999999999999999,", "too large"),
        ("1e300,", "too large"),
        ("1e999999,", "too large"),
        ("-,", "digit"),
        ("1.2.3,", "can't be read"),
        ("\"1\",", "a number is expected"),
        ("null,", "a number is expected"),
        ("12", "cut off"),
        (&format!("1.{},", "0".repeat(100)), "too long"),
    ] {
        let error = Json::new(json.as_bytes(), 1000).integer().unwrap_err().to_string();
        assert!(error.contains(problem), "{error} of {json}");
    }
}

#[test]
fn any_value_is_skipped_and_what_is_none_is_refused_with_its_offset() {
    let value = r#"{"a":[1,-2.5e3,true,false,null,"x\"]}",{}],"b":{"c":[[]]}}"#;
    let mut json = Json::new(value.as_bytes(), 1000);
    json.skip().unwrap();
    json.end().unwrap();
    for cut in 0..value.len() {
        match Json::new(&value.as_bytes()[..cut], 1000).skip() {
            Err(ReadError::CutOff { offset }) => assert_eq!(offset, cut as u64),
            other => panic!("{other:?} cut at {cut}"),
        }
    }
    for (value, at) in [
        ("[1 2]", 3),
        ("[,1]", 1),
        ("[1,]", 3),
        ("{\"a\" 1}", 5),
        ("{a:1}", 1),
        ("{\"a\":1,}", 7),
        ("{\"a\":1]", 6),
        ("[1}", 2),
        ("nul]", 3),
        ("\"\\x\"", 3),
        ("\"\\u00g0\"", 7),
        ("?", 0),
    ] {
        match Json::new(value.as_bytes(), 1000).skip() {
            Err(ReadError::Json { offset, .. }) => assert_eq!(offset, at, "{value}"),
            other => panic!("{other:?} of {value}"),
        }
    }
}

#[test]
fn depth_and_length_are_bounded() {
    let deep = "[".repeat(1_000_000);
    let error = Json::new(deep.as_bytes(), 10_000_000).skip().unwrap_err();
    assert!(error.to_string().contains("nested too deep"), "{error}");
    let long = format!("\"{}\"", "x".repeat(1000));
    assert!(Json::new(long.as_bytes(), 1002).text().is_ok());
    let error = Json::new(long.as_bytes(), 1001).text().unwrap_err();
    assert!(error.to_string().contains("more than 1001 bytes"), "{error}");
}

#[test]
fn nothing_may_follow_a_document() {
    let mut json = Json::new(&b"{} \n x"[..], 100);
    json.skip().unwrap();
    assert!(matches!(json.end(), Err(ReadError::Json { offset: 5, .. })));
}

#[test]
fn a_failing_source_is_told_with_its_offset() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("no"))
        }
    }
    match Json::new(b"[1,".chain(Failing), 100).skip() {
        Err(ReadError::Io { offset: 3, source }) => assert_eq!(source.to_string(), "no"),
        other => panic!("{other:?}"),
    }
}
