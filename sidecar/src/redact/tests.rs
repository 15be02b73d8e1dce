use super::*;
use serde_json::{Value, json};

/// A snapshot in V8's layout: an object `Cart` with a property whose name is a text, too, and a weak pair.
fn snapshot() -> String {
    let pair = "9 / part of key (s3cret-key @5) -> value (s3cret-value @7) pair in WeakMap (table @3)";
    let strings =
        json!(["<dummy>", "Cart", "total", "s3cret text", "user@s3cret.example", pair, "", "(GC roots)"]);
    format!(
        r#"{{"snapshot":{{"meta":{{"node_fields":["type","name","id","edge_count"],"node_types":[["hidden","object","string","synthetic"],"string","number","number"],"edge_fields":["type","name_or_index","to_node"],"edge_types":[["context","element","property","internal"],"string_or_number","node"],"trace_function_info_fields":["function_id","name","script_name","line"],"location_fields":["object_index","line"]}},"node_count":4,"edge_count":6}},
"nodes":[3,7,1,1
,1,1,3,4
,2,3,5,0
,2,2,7,1],
"edges":[1,1,4
,2,2,8
,2,4,8
,1,3,12
,3,5,12
,2,6,8],
"trace_function_infos":[1,1,7,3],"trace_tree":[1,[2,[]]],"samples":[],"locations":[4,-1],
"strings":{strings}}}"#
    )
}

fn redact(text: &[u8], piece: usize) -> Result<(Vec<u8>, Redacted), RedactError> {
    let mut redactor = Redactor::new(vec![]);
    for piece in text.chunks(piece) {
        redactor.write(piece)?;
    }
    redactor.finish()
}

#[test]
fn texts_go_names_stay_and_an_index_that_is_both_is_split() {
    let (redacted, done) = redact(snapshot().as_bytes(), 1 << 20).unwrap();
    let seen: Value = serde_json::from_slice(&redacted).unwrap();
    let strings = &seen["strings"];
    let text = |index: &Value| strings[usize::try_from(index.as_u64().unwrap()).unwrap()].as_str().unwrap();
    // type, name, id, edge_count
    let names: Vec<_> = (0..4).map(|row| text(&seen["nodes"][row * 4 + 1])).collect();
    assert_eq!(names, ["(GC roots)", "Cart", "<string 3>", "<string 2>"]);
    let edges: Vec<_> = [1, 2, 4, 5].map(|row| text(&seen["edges"][row * 3 + 1])).to_vec();
    let pair = "9 / part of key (- @5) -> value (- @7) pair in WeakMap (table @3)";
    assert_eq!(edges, ["total", "<name 4>", pair, ""]);
    // Elements keep their number; all else is as it was.
    assert_eq!((&seen["edges"][1], &seen["edges"][10]), (&json!(1), &json!(3)));
    assert_eq!(text(&seen["trace_function_infos"][1]), "Cart");
    assert_eq!((&seen["trace_tree"], &seen["locations"]), (&json!([1, [2, []]]), &json!([4, -1])));
    assert_eq!(seen["snapshot"]["node_count"], 4);
    assert!(!String::from_utf8(redacted).unwrap().contains("s3cret"));
    assert_eq!(done, Redacted { strings: 8, names_kept: 4, names_replaced: 2, texts_replaced: 2 });
}

#[test]
fn what_comes_out_does_not_depend_on_how_the_bytes_are_cut() {
    let text = snapshot();
    let (whole, _) = redact(text.as_bytes(), 1 << 20).unwrap();
    for piece in [1, 2, 3, 7, 64, 1000] {
        assert!(redact(text.as_bytes(), piece).unwrap().0 == whole, "in pieces of {piece}");
    }
}

#[test]
fn what_is_cut_off_is_an_error_and_leaks_nothing() {
    let text = snapshot();
    for cut in 0..text.trim_end().len() {
        let mut out = vec![];
        let mut redactor = Redactor::new(&mut out);
        let taken = redactor.write(&text.as_bytes()[..cut]);
        assert!(taken.is_ok(), "cut at {cut}: {taken:?}");
        assert!(redactor.finish().is_err(), "cut at {cut}");
        assert!(!String::from_utf8_lossy(&out).contains("s3cret"), "cut at {cut}");
    }
}

#[test]
fn what_is_not_understood_is_refused_before_it_is_written() {
    let original = snapshot();
    for (from, to) in [
        ("{\"snapshot\"", "[\"snapshot\""),
        ("\"snapshot\":{", "\"snapshot\":{\"s3cret\":\"s3cret\","),
        ("\"snapshot\":", "\"s3cret\":"),
        ("\"nodes\":[3", "\"nodes\":[9"),
        ("\"nodes\":[3,7", "\"nodes\":[3,99999999999"),
        ("\"nodes\":[3,7", "\"nodes\":[3,99999999999999999999999"),
        ("\"nodes\":[3,7", "\"nodes\":[3,-7"),
        ("\"nodes\":[3,7", "\"nodes\":[3,,7"),
        ("\"nodes\":[3,7", "\"nodes\":[3,\"s3cret\""),
        ("7,1],\n\"edges\"", "7],\n\"edges\""),
        ("\"samples\":[]", "\"samples\":[\"s3cret\"]"),
        ("\"samples\":[]", "\"samples\":{}"),
        ("\"samples\":[]", "\"snapshot\":{}"),
        ("\"strings\":[", "\"strings\":[7,"),
        ("\"type\",\"name\",\"id\"", "\"name\",\"type\",\"id\""),
        ("\"type\",\"name\",\"id\"", "\"type\",\"id\",\"id\""),
        ("[1,[2,[]]]", &format!("[{}]", "[".repeat(2000))),
    ] {
        let damaged = original.replacen(from, to, 1);
        assert_ne!(damaged, original, "{from}");
        for piece in [1, 1 << 20] {
            let mut out = vec![];
            let mut redactor = Redactor::new(&mut out);
            let failed = damaged.as_bytes().chunks(piece).find_map(|piece| redactor.write(piece).err());
            assert!(failed.is_some() || redactor.finish().is_err(), "{from} -> {to}");
            assert!(!String::from_utf8_lossy(&out).contains("s3cret"), "{from} -> {to}");
        }
    }
    let more = original + "x";
    assert!(redact(more.as_bytes(), 1).is_err());
}
