//! Damaged and hostile profiles: an error or a report, soon, small, and without a panic.
#![allow(clippy::unwrap_used, reason = "a test that fails says so by a panic")]

mod recording;

use std::io::{Read, Write as _};

use pitwall_profile::{LARGEST_REPORT, ReadError, analyse_artifact};

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

#[test]
fn a_profile_that_is_cut_off_says_where() {
    let profile = recording::of_the_shop("20.20.2");
    let near_the_end = profile.len().saturating_sub(20)..profile.len();
    for cut in (0..profile.len()).step_by(1000).chain(near_the_end) {
        match analyse_artifact(&profile[..cut]) {
            Err(ReadError::CutOff { offset }) => assert_eq!(offset, cut as u64),
            other => panic!("{other:?} cut at {cut}"),
        }
    }
    let gzip = compressed(&profile);
    for cut in (2..gzip.len() - 8).step_by(100) {
        let error = analyse_artifact(&gzip[..cut]).unwrap_err();
        assert!(matches!(error, ReadError::CutOff { .. }), "{error} cut at {cut}");
    }
}

#[test]
fn flipped_bits_are_an_error_or_another_profile() {
    let profile = recording::of_the_shop("24.21.0");
    let gzip = compressed(&profile);
    let mut random = fastrand::Rng::with_seed(7);
    for original in [&profile, &gzip] {
        let (mut refused, mut read) = (0, 0);
        for _ in 0..150 {
            let mut damaged = original.clone();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..damaged.len());
                damaged[at] ^= 1 << random.u8(..8);
            }
            match analyse_artifact(&damaged[..]) {
                Ok(report) => {
                    assert!(serde_json::to_string(&report).unwrap().len() < LARGEST_REPORT);
                    read += 1;
                }
                Err(error) => {
                    assert!(error.to_string().len() < 500, "{error}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 0 && refused + read == 150, "{refused} refused, {read} read");
    }
}

#[test]
fn random_bytes_are_refused() {
    let mut random = fastrand::Rng::with_seed(11);
    for length in 0..300 {
        for start in [&b""[..], b"{\"nodes\":[", b"\x1f\x8b\x08"] {
            let bytes: Vec<u8> = start.iter().copied().chain((0..length).map(|_| random.u8(..))).collect();
            assert!(analyse_artifact(&bytes[..]).is_err(), "{bytes:?}");
        }
    }
}

/// Ten functions, each with the worst name, file and number that fit.
#[test]
fn a_report_is_small_whatever_the_names() {
    for unit in ["\\\"", "\\u0001", "😀", "\\\\", "é/", "<script>"] {
        let long = unit.repeat(10_000);
        let mut nodes = vec![r#"{"id":1,"callFrame":{"functionName":"(root)","scriptId":"0"}}"#.to_owned()];
        for id in 2..=11 {
            nodes.push(format!(
                r#"{{"id":{id},"parent":1,"callFrame":{{"functionName":"{id}{long}","scriptId":"{id}",
                "url":"file:///app/{id}{long}.js","lineNumber":4294967290,"columnNumber":1}}}}"#
            ));
        }
        let samples: Vec<u32> = (0..1000).map(|number| 2 + number % 10).collect();
        let json = format!(
            r#"{{"nodes":[{}],"startTime":0,"endTime":1,"samples":{samples:?},"timeDeltas":{:?}}}"#,
            nodes.join(","),
            vec![9_007_199_254_740_991u64; 100].into_iter().chain(vec![1; 900]).collect::<Vec<_>>(),
        );
        let report = analyse_artifact(json.as_bytes()).unwrap();
        assert_eq!(report.findings.len(), 10);
        let size = serde_json::to_string(&report).unwrap().len();
        assert!(size < LARGEST_REPORT, "{size} bytes with {unit}");
        for finding in &report.findings {
            assert!(finding.message.chars().count() <= 1024);
            assert!(finding.function.as_ref().unwrap().chars().count() <= 256);
            assert!(finding.location.as_ref().unwrap().chars().count() <= 512);
        }
        assert!(report.summary.hottest.unwrap().chars().count() <= 256);
    }
}

/// A few kilobytes that decompress to more than anyone may read.
#[test]
fn a_compression_bomb_is_refused_at_the_limit() {
    let limits = pitwall_profile::cpu::Limits { bytes: 32 << 20, ..Default::default() };
    for (start, of) in [("{\"x\":\"", "bytes"), ("{\"nodes\":[],\"samples\":[", "bytes"), ("  ", "bytes")] {
        let filler: &[u8] = if start.ends_with('[') { b"1 " } else { b"  " };
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(start.as_bytes()).unwrap();
        gzip.write_all(&filler[..1]).unwrap();
        std::io::copy(&mut std::io::repeat(b' ').take(64 << 20), &mut gzip).unwrap();
        let bomb = gzip.finish().unwrap();
        assert!(bomb.len() < 1 << 20);
        match pitwall_profile::cpu::read(&bomb[..], &limits) {
            Err(ReadError::TooLarge { offset, of: seen, limit }) => {
                assert_eq!((offset, seen, limit), (32 << 20, of, 32 << 20));
            }
            other => panic!("{other:?}"),
        }
    }
}
