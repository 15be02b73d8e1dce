//! Overlapping chunks of real Node processes, joined into one profile.
#![allow(clippy::unwrap_used, reason = "a test that fails says so by a panic")]

#[macro_use]
mod recording;

use std::collections::BTreeMap;
use std::time::Duration;

use pitwall_profile::cpu::{self, CpuProfile, JoinLimits, Joiner, Limits};
use pitwall_profile::{FindingKind, analyse_artifact};

fn self_times(profile: &CpuProfile) -> BTreeMap<String, Duration> {
    let mut times: BTreeMap<String, Duration> = BTreeMap::new();
    for (frame, time) in profile.frames.iter().zip(cpu::analyse(profile).frames) {
        let place = format!("{} {}:{:?}:{:?}", frame.name, frame.url, frame.line, frame.column);
        *times.entry(place).or_default() += time.self_time;
    }
    times
}

fn chunks_make_the_profile_of_the_whole(version: &str) {
    let mut chunks = recording::of_chunks(version);
    let whole = chunks.pop().unwrap();
    let scratch = tempfile::tempfile().unwrap();
    let mut joiner = Joiner::new(scratch, Duration::from_millis(1), JoinLimits::default());
    let mut overlap = 0;
    for chunk in &chunks {
        let added = joiner.add(&chunk[..]).unwrap();
        assert!(added.samples > 3, "{added:?}");
        overlap += added.dropped;
    }
    assert!(overlap >= 4, "{overlap}");
    let mut out = Vec::new();
    let summary = joiner.finish(&mut out, 2_000_000).unwrap();
    assert_eq!((summary.chunks, summary.dropped, summary.folded), (5, overlap, 0), "{summary:?}");
    assert_eq!(summary.samples, summary.written - summary.gaps.count, "{summary:?}");

    let report = analyse_artifact(&out[..]).unwrap();
    let hot = report.findings.iter().find(|finding| finding.kind == FindingKind::HotSelf).unwrap();
    assert_eq!(hot.function.as_deref(), Some("hotLoop"), "{report:#?}");
    let total: Vec<_> = report
        .findings
        .iter()
        .filter(|finding| finding.kind == FindingKind::HotTotal)
        .filter_map(|finding| finding.function.as_deref())
        .collect();
    assert!(total.contains(&"early") && total.contains(&"late"), "{report:#?}");

    let read = |bytes: &[u8]| cpu::read(bytes, &Limits::default()).unwrap();
    // One sampler took the samples of both. They differ in what the first and last samples and gaps count for.
    let (merged, whole) = (read(&out), read(&whole));
    let longest = whole.times.windows(2).map(|two| two[1].abs_diff(two[0])).max().unwrap();
    let bound = Duration::from_millis(20) + summary.gaps.total + Duration::from_micros(2 * longest);
    let (merged_times, whole_times) = (self_times(&merged), self_times(&whole));
    for (place, &time) in &whole_times {
        let merged_time = merged_times.get(place).copied().unwrap_or_default();
        let off = time.abs_diff(merged_time);
        assert!(off < bound, "{place}: {merged_time:?} instead of {time:?}");
    }
}

on_every_version! { chunks_make_the_profile_of_the_whole }
