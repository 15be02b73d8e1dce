//! What was found, in sentences that carry no more than the data does.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cpu::{CpuAnalysis, CpuProfile, Frame, FrameId, FrameKind};
use crate::place::Places;
use crate::text::{shown, shown_end};

/// From this share of idle time on, no function is called hot.
const MOSTLY_IDLE_PERCENT: f64 = 95.0;

/// A function with less than this share of busy time isn't named.
const LEAST_PERCENT: f64 = 1.0;

/// Nor is one that fewer samples saw: that may be chance.
const LEAST_SAMPLES: u32 = 5;

/// From this share of idle time on, a sentence about busy time says how little that was.
const OFTEN_IDLE_PERCENT: f64 = 50.0;

/// With fewer samples than this, a share may be off by a third and more: the finding says how many there are.
const FEW_SAMPLES: u32 = 30;

// Bounds of what an app chose, in bytes of JSON. A report has at most ten findings with one of each, and the first two
// again in the sentence.
const LONGEST_FUNCTION: usize = 120;
const LONGEST_LOCATION: usize = 160;
const LONGEST_URL: usize = 240;

/// For the line of a table, which is read at a glance.
const LONGEST_IN_LINE: usize = 80;

/// The kinds of finding. Names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FindingKind {
    /// A function whose own code takes much of the busy time.
    ///
    /// Evidence: samples in which it is the innermost function. Builtins (`JSON.stringify`, regular expressions,
    /// sorting) have no frame and count as their caller's own; so do functions that V8 inlined.
    /// Try: the function's own lines, or to call it less.
    HotSelf,
    /// A function of the app that takes much of the busy time together with what it calls.
    ///
    /// Evidence: samples with it anywhere on the stack. After an `await` the caller isn't on the stack any more.
    /// Try: to call it less, or what it calls.
    HotTotal,
    /// The process was all but idle (95 % and more of the recorded time). No function is named beside it.
    Idle,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Its kind.
    pub kind: FindingKind,
    /// The finding in a sentence.
    pub message: String,
    /// The function's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// Where the function begins, as `file:line`, the file below the app's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// The script as V8 names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The share of busy time; of all time for [`FindingKind::Idle`].
    pub percent: u8,
    /// The time.
    pub milliseconds: u64,
}

/// A profile and what was made of it, to be put in words.
pub(crate) struct CpuWords<'profile> {
    profile: &'profile CpuProfile,
    analysis: &'profile CpuAnalysis,
    places: Places,
}

impl<'profile> CpuWords<'profile> {
    pub(crate) fn new(profile: &'profile CpuProfile, analysis: &'profile CpuAnalysis) -> Self {
        Self { profile, analysis, places: Places::new(profile.frames.iter().map(|frame| &*frame.url)) }
    }

    fn mostly_idle(&self) -> bool {
        self.analysis.idle_percent() >= MOSTLY_IDLE_PERCENT
    }

    /// The line for a table: `serializeCart checkout.js:41 61%`. `None` where nothing can be said.
    pub(crate) fn hottest(&self) -> Option<String> {
        let analysis = self.analysis;
        if self.mostly_idle() {
            return Some(format!("idle {}%", downwards(analysis.idle_percent())));
        }
        if let Some(&id) = analysis.most_self.first()
            && let spent = &analysis.frames[id.index()]
            && self.worth_naming(spent.self_time, spent.self_samples)
        {
            let frame = &self.profile.frames[id.index()];
            let name = shown(&function(frame), LONGEST_IN_LINE);
            let location = shown_end(&self.location(frame), LONGEST_IN_LINE);
            return Some(format!(
                "{name} {location} {}%",
                nearest(analysis.percent_of_busy(spent.self_time))
            ));
        }
        [(analysis.garbage_collection, "(garbage collector)"), (analysis.program, "(native code)")]
            .into_iter()
            .map(|(time, name)| (nearest(analysis.percent_of_busy(time)), name))
            .filter(|&(percent, _)| percent > 0)
            .max()
            .map(|(percent, name)| format!("{name} {percent}%"))
    }

    fn worth_naming(&self, time: Duration, samples: u32) -> bool {
        self.analysis.percent_of_busy(time) >= LEAST_PERCENT && samples >= LEAST_SAMPLES
    }

    /// The findings, most important first.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        if self.mostly_idle() {
            let percent = downwards(self.analysis.idle_percent());
            return vec![Finding {
                kind: FindingKind::Idle,
                message: format!(
                    "The process was idle {percent} % of the time: nothing is hot. Record it under load, or another pod"
                ),
                function: None,
                location: None,
                url: None,
                percent,
                milliseconds: milliseconds(self.analysis.idle),
            }];
        }
        let hot_self = self.analysis.most_self.iter().filter_map(|&id| {
            let spent = &self.analysis.frames[id.index()];
            self.hot(FindingKind::HotSelf, id, spent.self_time, spent.self_samples, "itself")
        });
        let hot_total = self.analysis.most_total.iter().filter_map(|&id| {
            let spent = &self.analysis.frames[id.index()];
            self.hot(FindingKind::HotTotal, id, spent.total_time, spent.total_samples, "and what it calls")
        });
        hot_self.chain(hot_total).collect()
    }

    fn hot(
        &self,
        kind: FindingKind,
        id: FrameId,
        time: Duration,
        samples: u32,
        how: &str,
    ) -> Option<Finding> {
        if !self.worth_naming(time, samples) {
            return None;
        }
        let frame = &self.profile.frames[id.index()];
        let percent = nearest(self.analysis.percent_of_busy(time));
        let (function, location) = (function(frame), self.location(frame));
        let few = match samples {
            0..FEW_SAMPLES => format!(", by {samples} samples only"),
            _ => String::new(),
        };
        let idle = match self.analysis.idle_percent() {
            idle if idle >= OFTEN_IDLE_PERCENT => {
                format!("; the process was idle {} % of the time", downwards(idle))
            }
            _ => String::new(),
        };
        let message =
            format!("{percent} % of busy time is spent in {function} {how} ({location}){few}{idle}");
        Some(Finding {
            kind,
            message,
            function: Some(function),
            location: Some(location),
            url: (!frame.url.is_empty()).then(|| shown_end(&frame.url, LONGEST_URL)),
            percent,
            milliseconds: milliseconds(time),
        })
    }

    fn location(&self, frame: &Frame) -> String {
        let file = match frame.kind {
            FrameKind::Native => "native code".to_owned(),
            _ if frame.url.is_empty() => "evaluated code".to_owned(),
            _ => self.places.short(&frame.url),
        };
        let line = frame.line.map(|line| format!(":{line}")).unwrap_or_default();
        shown_end(&(file + &line), LONGEST_LOCATION)
    }
}

fn function(frame: &Frame) -> String {
    match frame.kind {
        FrameKind::Module => "(module)".to_owned(),
        _ if frame.name.is_empty() => "(anonymous)".to_owned(),
        _ => shown(&frame.name, LONGEST_FUNCTION),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100")]
fn nearest(percent: f64) -> u8 {
    percent.round() as u8
}

/// So that 99.7 isn't all.
fn downwards(percent: f64) -> u8 {
    nearest(percent.floor())
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::{self, Limits};

    /// What is said of so many samples each of `f` (`file:///app/f.js:3`), idle, garbage collection and native code.
    fn said(f: usize, idle: usize, garbage: usize, native: usize) -> (Option<String>, Vec<String>) {
        let node = |id: u32, name: &str, url: &str| {
            let script = if url.is_empty() { 0 } else { 7 };
            format!(
                r#"{{"id":{id},"parent":1,"callFrame":{{"functionName":"{name}","scriptId":"{script}","url":"{url}",
                "lineNumber":2,"columnNumber":1}}}}"#
            )
        };
        let nodes = [
            r#"{"id":1,"callFrame":{"functionName":"(root)","scriptId":"0"}}"#.to_owned(),
            node(2, "f", "file:///app/f.js"),
            node(3, "(idle)", ""),
            node(4, "(garbage collector)", ""),
            node(5, "(program)", ""),
        ];
        let samples: Vec<u32> = [(2, f), (3, idle), (4, garbage), (5, native)]
            .into_iter()
            .flat_map(|(id, n)| vec![id; n])
            .collect();
        let json = format!(
            r#"{{"nodes":[{}],"startTime":0,"endTime":{},"samples":{samples:?},"timeDeltas":{:?}}}"#,
            nodes.join(","),
            (samples.len() + 1) * 1000,
            vec![1000; samples.len()],
        );
        let profile = cpu::read(json.as_bytes(), &Limits::default()).expect("a profile");
        let analysis = cpu::analyse(&profile);
        let words = CpuWords::new(&profile, &analysis);
        let messages = words.findings().into_iter().map(|finding| finding.message).collect();
        (words.hottest(), messages)
    }

    #[test]
    fn no_more_is_said_than_the_samples_carry() {
        let itself = |rest: &str| format!("spent in f itself (f.js:3){rest}");
        let calls = |rest: &str| format!("spent in f and what it calls (f.js:3){rest}");
        for ((f, idle, garbage, native), hottest, messages) in [
            ((61, 1, 19, 20), Some("f f.js:3 61%"), vec![("61 %", ""), ("61 %", "")]),
            ((40, 1, 60, 0), Some("f f.js:3 40%"), vec![("40 %", ""), ("40 %", "")]),
            (
                (50, 151, 50, 0),
                Some("f f.js:3 50%"),
                vec![("50 %", "; the process was idle 60 % of the time"); 2],
            ),
            ((20, 1, 20, 0), Some("f f.js:3 50%"), vec![("50 %", ", by 20 samples only"); 2]),
            ((4, 1, 10, 0), Some("(garbage collector) 71%"), vec![]),
            ((0, 1, 10, 30), Some("(native code) 75%"), vec![]),
            ((5, 1, 600, 0), Some("(garbage collector) 99%"), vec![]),
            ((0, 0, 0, 0), None, vec![]),
            ((1, 0, 0, 0), None, vec![]),
        ] {
            let (line, said) = said(f, idle, garbage, native);
            let case = format!("{f} {idle} {garbage} {native}: {line:?} {said:?}");
            assert_eq!(line.as_deref(), hottest, "{case}");
            assert_eq!(said.len(), messages.len(), "{case}");
            for ((message, (percent, rest)), sentence) in
                said.iter().zip(messages).zip([itself("{}"), calls("{}")])
            {
                let expected = format!("{percent} of busy time is {}", sentence.replace("{}", rest));
                assert_eq!(*message, expected, "{case}");
            }
        }
    }

    #[test]
    fn nothing_is_hot_in_an_idle_process() {
        let (line, messages) = said(20, 981, 0, 0);
        assert_eq!(line.as_deref(), Some("idle 98%"));
        assert_eq!(
            messages,
            ["The process was idle 98 % of the time: nothing is hot. Record it under load, or another pod"]
        );
        assert_eq!(said(1, 1000, 0, 0).0.as_deref(), Some("idle 99%"), "not all");
        assert_eq!(said(0, 1000, 0, 0).0.as_deref(), Some("idle 100%"));
        assert_eq!(said(60, 940, 0, 0).0.as_deref(), Some("f f.js:3 100%"));
    }
}
