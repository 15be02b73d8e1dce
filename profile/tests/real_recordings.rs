//! What is said about recordings of real Node processes.
#![allow(clippy::unwrap_used, reason = "a test that fails says so by a panic")]

#[macro_use]
mod recording;

use std::io::Write as _;

use pitwall_profile::{Finding, FindingKind, Report, analyse_artifact};

fn of_kind(report: &Report, kind: FindingKind) -> Vec<&Finding> {
    report.findings.iter().filter(|finding| finding.kind == kind).collect()
}

fn the_hot_function_is_named(version: &str) {
    let report = analyse_artifact(&recording::of_the_shop(version)[..]).unwrap();
    let hottest = report.summary.hottest.as_deref().unwrap();
    assert!(hottest.starts_with("serializeCart shop.js:4 "), "{report:#?}");

    let hot_self = of_kind(&report, FindingKind::HotSelf)[0];
    assert_eq!(hot_self.function.as_deref(), Some("serializeCart"));
    assert_eq!(hot_self.location.as_deref(), Some("shop.js:4"));
    assert!(hot_self.url.as_deref().unwrap().ends_with("/tests/apps/shop.js"), "{hot_self:?}");
    assert!(hot_self.percent > 40, "{report:#?}");
    assert!(hot_self.milliseconds > 100, "{report:#?}");
    let expected = "is spent in serializeCart itself (shop.js:4)";
    assert!(hot_self.message.contains(expected), "{hot_self:?}");

    let hot_total = of_kind(&report, FindingKind::HotTotal);
    let functions: Vec<_> = hot_total.iter().filter_map(|finding| finding.function.as_deref()).collect();
    assert!(functions.contains(&"checkout") && functions.contains(&"serializeCart"), "{report:#?}");
    let position = |name| functions.iter().position(|&function| function == name);
    assert!(position("checkout") < position("serializeCart"), "{report:#?}");
    assert!(functions.iter().all(|&name| name != "(module)" && name != "(root)"), "{report:#?}");

    assert!(report.summary.samples > 30, "{report:#?}");
    assert!(report.summary.sampling_interval_microseconds.unwrap() >= 1000, "{report:#?}");
    assert!(serde_json::to_string(&report).unwrap().len() < 4096);
}

fn an_idle_process_has_no_hot_function(version: &str) {
    let report = analyse_artifact(&recording::of_a_wait(version)[..]).unwrap();
    assert_eq!(report.findings.len(), 1, "{report:#?}");
    assert_eq!(report.findings[0].kind, FindingKind::Idle, "{report:#?}");
    let hottest = report.summary.hottest.as_deref().unwrap();
    let percent = hottest.strip_prefix("idle ").and_then(|rest| rest.strip_suffix('%')).unwrap();
    assert!((80..100).contains(&percent.parse::<u32>().unwrap()), "{hottest}");
}

#[test]
fn a_compressed_artifact_says_the_same() {
    let plain = recording::of_the_shop("22.23.3");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain[..1000]).unwrap();
    let mut members = gzip.finish().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain[1000..]).unwrap();
    members.extend(gzip.finish().unwrap());
    assert_eq!(analyse_artifact(&members[..]).unwrap(), analyse_artifact(&plain[..]).unwrap());
}

on_every_version! { the_hot_function_is_named an_idle_process_has_no_hot_function }
