//! `kubectl pitwall analyze` and `export`, on profiles in files.

use pitwall_test_node::{binary, pprof};
use serde_json::Value;
use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

/// A folder with `shop.cpuprofile`, as `node --cpu-prof` wrote it.
fn recorded(version: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("../profile/tests/apps/shop.js");
    let status = Command::new(binary(version))
        .args(["--cpu-prof", "--cpu-prof-name=shop.cpuprofile"])
        .arg(app)
        .current_dir(&folder)
        .env_remove("NODE_OPTIONS")
        .stdout(Stdio::null())
        .status()
        .expect("Node runs");
    assert!(status.success(), "{status}");
    folder
}

fn pitwall(folder: &TempDir, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kubectl-pitwall"))
        .args(arguments)
        .current_dir(folder)
        .stdin(File::open(folder.path().join("shop.cpuprofile")).expect("a profile"))
        .output()
        .expect("it runs")
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn a_file_is_analyzed_compressed_or_not_or_from_standard_input() {
    let folder = recorded("22.23.3");
    let mut gzip = flate2::write::GzEncoder::new(
        File::create(folder.path().join("shop.cpuprofile.gz")).expect("a file"),
        flate2::Compression::fast(),
    );
    gzip.write_all(&fs::read(folder.path().join("shop.cpuprofile")).expect("a profile")).expect("written");
    gzip.finish().expect("written");

    let mut texts = Vec::new();
    for file in ["shop.cpuprofile", "shop.cpuprofile.gz", "-"] {
        let output = pitwall(&folder, &["analyze", file]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(said(&output.stderr), "", "nothing takes time");
        texts.push(said(&output.stdout));
    }
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:#?}");
    let text = &texts[0];
    assert!(text.contains("; hottest serializeCart shop.js:4 "), "{text}");
    assert!(text.contains("FUNCTION") && text.contains("checkout"), "{text}");

    let output = pitwall(&folder, &["analyze", "--output", "json", "shop.cpuprofile"]);
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(document["files"][0]["path"], "shop.cpuprofile");
    assert_eq!(document["files"][0]["findings"][0]["function"], "serializeCart");
}

#[test]
fn one_of_several_files_that_is_of_no_use_keeps_nobody_from_the_others() {
    let folder = recorded("18.20.8");
    fs::write(folder.path().join("notes.txt"), "hello").expect("written");
    let output = pitwall(&folder, &["analyze", "notes.txt", "missing", "shop.cpuprofile"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let (text, errors) = (said(&output.stdout), said(&output.stderr));
    assert!(text.starts_with("shop.cpuprofile\n") && text.contains("serializeCart"), "{text}");
    assert!(errors.contains("error: notes.txt: ") && errors.contains("at byte 0"), "{errors}");
    assert!(errors.contains("error: can't read missing: "), "{errors}");

    for (file, code, expected) in
        [("notes.txt", 1, "at byte 0"), ("missing", 2, "can't read missing"), (".", 2, "is a folder")]
    {
        let output = pitwall(&folder, &["analyze", file]);
        let errors = said(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{file}: {errors}");
        assert!(errors.contains(expected), "{file}: {errors}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn go_s_own_pprof_opens_what_is_exported() {
    for version in ["18.20.8", "26.10.0"] {
        let folder = recorded(version);
        let output = pitwall(&folder, &["export", "shop.cpuprofile", "--format", "pprof"]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(said(&output.stdout), "saved shop.pb.gz\nTo open it: go tool pprof -http=: shop.pb.gz\n");

        let top = Command::new(pprof())
            .args(["-top", "shop.pb.gz"])
            .current_dir(&folder)
            .output()
            .expect("it runs");
        let text = said(&top.stdout);
        assert!(top.status.success(), "{top:?}");
        let first = text.lines().skip_while(|line| !line.contains("flat%")).nth(1).expect("a function");
        assert!(first.ends_with(" serializeCart"), "{text}");
        assert!(text.contains("Type: wall"), "{text}");

        let traces = Command::new(pprof())
            .args(["-traces", "shop.pb.gz"])
            .current_dir(&folder)
            .output()
            .expect("it runs");
        let stack = said(&traces.stdout);
        let callers: Vec<&str> = stack
            .split("-----------+")
            .find(|trace| trace.contains("serializeCart"))
            .expect("its stack")
            .lines()
            .filter_map(|line| line.split_whitespace().last())
            .collect();
        let at = |name: &str| callers.iter().position(|one| *one == name).expect("it is on the stack");
        assert!(at("serializeCart") < at("checkout") && at("checkout") < at("serve"), "{stack}");
    }
}

#[test]
fn exports_go_where_they_are_told_and_overwrite_nothing() {
    let folder = recorded("24.21.0");
    let export = |rest: &[&str]| pitwall(&folder, &[&["export", "shop.cpuprofile"], rest].concat());
    let collapsed = export(&["-f", "collapsed", "-o", "-"]);
    assert!(collapsed.status.success(), "{collapsed:?}");
    let text = said(&collapsed.stdout);
    let hottest = text
        .lines()
        .max_by_key(|line| line.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok()))
        .expect("lines");
    assert!(hottest.contains(";checkout (shop.js:18);serializeCart (shop.js:4) "), "{text}");

    let first = export(&["-f", "speedscope"]);
    assert!(first.status.success(), "{first:?}");
    let saved = folder.path().join("shop.speedscope.json");
    let document: Value = serde_json::from_slice(&fs::read(&saved).expect("saved")).expect("JSON");
    assert_eq!(document["name"], "shop");
    fs::write(&saved, "mine").expect("written");
    let second = export(&["-f", "speedscope"]);
    assert_eq!(second.status.code(), Some(2), "{second:?}");
    assert!(
        said(&second.stderr).contains("shop.speedscope.json exists: --force overwrites it"),
        "{second:?}"
    );
    assert_eq!(fs::read_to_string(&saved).expect("kept"), "mine");
    assert!(export(&["-f", "speedscope", "--force"]).status.success());
    assert!(fs::read(&saved).expect("saved").len() > 1000);

    let nowhere = export(&["-f", "pprof", "-o", "no/folder/x.pb.gz"]);
    assert_eq!(nowhere.status.code(), Some(1), "{nowhere:?}");
    assert!(said(&nowhere.stderr).contains("can't write no/folder/x.pb.gz: "), "{nowhere:?}");
}
