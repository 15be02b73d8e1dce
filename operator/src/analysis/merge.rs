//! One analysis out of several artifacts' reports.

use pitwall_crds::{Duration, Finding, FindingKind, Summary};
use pitwall_profile as profile;

/// The most findings in a status.
const MAX_FINDINGS: usize = 32;

/// What goes into status.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Analysis {
    /// The line.
    pub summary: Summary,
    /// The findings, most important first.
    pub findings: Vec<Finding>,
}

/// One analysis out of several artifacts' reports, each with its artifact's name. The summary is the busiest
/// process'; the findings name their artifact, and those of the busiest come first.
pub fn merge(mut reports: Vec<(String, profile::Report)>) -> Analysis {
    reports.sort_by(|(_, a), (_, b)| b.summary.busy_percent.total_cmp(&a.summary.busy_percent));
    let summary = reports.first().map(|(_, report)| summary(&report.summary)).unwrap_or_default();
    let findings = reports.into_iter().flat_map(|(artifact, report)| {
        report.findings.into_iter().map(move |found| finding(found, &artifact))
    });
    Analysis { summary, findings: findings.take(MAX_FINDINGS).collect() }
}

fn summary(summary: &profile::Summary) -> Summary {
    Summary {
        hottest: summary.hottest.clone(),
        busy_percent: Some(percent(summary.busy_percent)),
        samples: i64::try_from(summary.samples).ok(),
        sampling_interval: summary.sampling_interval_microseconds.map(Duration::from_micros),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "0 to 100")]
fn percent(percent: f64) -> i32 {
    percent.round().clamp(0.0, 100.0) as i32
}

fn finding(found: profile::Finding, artifact: &str) -> Finding {
    let profile::Finding { kind, message, function, location, url: _, percent, milliseconds } = found;
    Finding {
        kind: match kind {
            profile::FindingKind::HotSelf => FindingKind::HotSelf,
            profile::FindingKind::HotTotal => FindingKind::HotTotal,
            profile::FindingKind::Idle => FindingKind::Idle,
        },
        message,
        function,
        location,
        percent: Some(i32::from(percent)),
        time: Some(Duration::from_millis(milliseconds)),
        artifact: Some(artifact.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(function: &str, busy_percent: f64) -> profile::Report {
        profile::Report {
            summary: profile::Summary {
                hottest: Some(format!("{function} app.js:1 50%")),
                duration_milliseconds: 1000,
                busy_percent,
                garbage_collection_percent: 0.0,
                native_percent: 0.0,
                samples: 900,
                sampling_interval_microseconds: Some(1110),
            },
            findings: vec![profile::Finding {
                kind: profile::FindingKind::HotSelf,
                message: "m".into(),
                function: Some(function.into()),
                location: None,
                url: None,
                percent: 50,
                milliseconds: 500,
            }],
        }
    }

    #[test]
    fn the_busiest_process_comes_first_and_each_finding_names_its_artifact() {
        let analysis = merge(vec![("calm".into(), report("f", 3.0)), ("busy".into(), report("g", 80.4))]);
        assert_eq!(analysis.summary.hottest.as_deref(), Some("g app.js:1 50%"));
        assert_eq!(analysis.summary.busy_percent, Some(80));
        let artifacts: Vec<_> =
            analysis.findings.iter().map(|found| found.artifact.as_deref().unwrap()).collect();
        assert_eq!(artifacts, ["busy", "calm"]);
    }
}
