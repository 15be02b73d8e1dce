//! What is kept of an analysis.

use std::io::Read;

use serde::{Deserialize, Serialize};

use crate::cpu::{self, Limits};
use crate::error::ReadError;
use crate::finding::{CpuWords, Finding};

/// No report is larger as JSON, in bytes, whatever the profile holds.
pub const LARGEST_REPORT: usize = 16 << 10;

/// An analysis, small enough for a status. As JSON, names are in camelCase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The recording in numbers, and in a line.
    pub summary: Summary,
    /// What was found, most important first: at most five functions by self time and five by total time.
    pub findings: Vec<Finding>,
}

/// The recording in numbers, and in a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The function of most self time, where it is, and its share of busy time: `serializeCart checkout.js:41 61%`.
    /// Also `idle 98%`, and where no function stands out `(garbage collector) 70%` or `(native code) 80%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hottest: Option<String>,
    /// How long the samples cover.
    pub duration_milliseconds: u64,
    /// The share of that in which the main thread wasn't idle, 0 to 100.
    pub busy_percent: f64,
    /// The share of busy time in which V8 collected garbage, 0 to 100.
    pub garbage_collection_percent: f64,
    /// The share of busy time in native code with no JavaScript on the stack, 0 to 100.
    pub native_percent: f64,
    /// Samples that were taken.
    pub samples: u64,
    /// The real mean time between samples, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling_interval_microseconds: Option<u64>,
}

/// Reads an artifact, compressed by gzip or not, and says what was found in it. Only CPU profiles so far.
///
/// A profile of 185 MB with a million nodes and as many samples takes 61 MB of memory, the worst within the default
/// [`Limits`](cpu::Limits) about 500 MB; whoever runs it in a process of its own may limit it to less.
pub fn analyse_artifact(reader: impl Read) -> Result<Report, ReadError> {
    let profile = cpu::read(reader, &Limits::default())?;
    let analysis = cpu::analyse(&profile);
    let words = CpuWords::new(&profile, &analysis);
    Ok(Report {
        summary: Summary {
            hottest: words.hottest(),
            duration_milliseconds: u64::try_from(analysis.duration.as_millis()).unwrap_or(u64::MAX),
            busy_percent: tenths(if analysis.duration.is_zero() {
                0.0
            } else {
                100.0 - analysis.idle_percent()
            }),
            garbage_collection_percent: tenths(analysis.percent_of_busy(analysis.garbage_collection)),
            native_percent: tenths(analysis.percent_of_busy(analysis.program)),
            samples: analysis.samples as u64,
            sampling_interval_microseconds: analysis
                .sampling_interval
                .map(|interval| u64::try_from(interval.as_micros()).unwrap_or(u64::MAX)),
        },
        findings: words.findings(),
    })
}

fn tenths(percent: f64) -> f64 {
    (percent * 10.0).round() / 10.0
}
