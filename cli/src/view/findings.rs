//! The end of a request, for people: the findings as a table, or the reasons.

use super::{
    load::sentence,
    printable::{Paint, printable},
    stage::{because, place},
    table::{Column, render},
};
use crate::{
    outcome::{End, advice, condition, explanation, failed_targets},
    read::{Attach, Finding, Request, Status},
};
use pitwall_crds::{ConditionType, FindingKind, InspectorOpener, Summary};
use std::fmt::Write as _;

/// Everything to know about how the request ended.
pub(crate) fn describe(request: &Request, end: End, paint: Paint) -> String {
    let Some(status) = &request.status else { return String::new() };
    let mut text = String::new();
    headline(&mut text, request, status, end, paint);
    if end != End::Failed {
        recorded(&mut text, status, paint);
        let mut artifacts = status.targets.iter().flat_map(|target| &target.artifacts);
        let several = artifacts.any(|artifact| artifact.thread.is_some());
        let who = if several { "busiest thread" } else { "main thread" };
        summary(&mut text, status.summary.as_ref(), who);
        tables(&mut text, &status.findings, paint);
        not_analyzed(&mut text, status, paint);
    }
    failures(&mut text, status, end, paint);
    text
}

fn headline(text: &mut String, request: &Request, status: &Status, end: End, paint: Paint) {
    let name = request.metadata.name.as_deref().unwrap_or_default();
    let said = match end {
        End::Recorded => paint.bold("recorded"),
        End::Checked => paint.bold("checked"),
        End::Partial => paint.red("recorded in part"),
        End::Failed => paint.red("failed"),
    };
    let target = status.target.as_deref().map(|target| format!(" ({target})")).unwrap_or_default();
    let _ = write!(text, "{name}{} {said}", printable(&target));
    let Some(condition) = explanation(status) else {
        text.push('\n');
        return;
    };
    let why = because(Some(&condition.reason), Some(&condition.message));
    let _ = writeln!(text, ": {}", printable(&why));
    // Where targets failed, each one's advice follows.
    if end == End::Failed && failed_targets(status).next().is_none() {
        advise(text, &condition.reason, &condition.message);
    }
}

fn recorded(text: &mut String, status: &Status, paint: Paint) {
    for target in status.targets.iter().filter(|target| !target.artifacts.is_empty()) {
        let mut line = place(target);
        if let Some(duration) = target.recorded.filter(|duration| !duration.as_std().is_zero()) {
            let _ = write!(line, ": {:.1} s", duration.as_std().as_secs_f64());
        }
        if let Some(version) = &target.node_version {
            let _ = write!(line, ", Node.js {version}");
        }
        if target.redact.as_ref().is_some_and(|redact| redact.as_str() == "Strings") {
            line += ", strings redacted";
        }
        let why = because(target.reason(), target.message.as_deref());
        if !why.is_empty() {
            let _ = write!(line, " ({why})");
        }
        let _ = writeln!(text, "{}", printable(&line));
        if let Some(load) = target.load.as_ref().and_then(sentence) {
            let _ = writeln!(text, "  {}", printable(&load));
        }
        let ours = |attach: &&Attach| attach.opened_by != InspectorOpener::Process;
        if target.attach.as_ref().filter(ours).is_some_and(|attach| !attach.closed) {
            let warning = "  its inspector was not seen closed: look at the pod, and restart it if in doubt";
            let _ = writeln!(text, "{}", paint.red(warning));
        }
    }
}

/// `who`: whose the summary is.
fn summary(text: &mut String, summary: Option<&Summary>, who: &str) {
    let Some(summary) = summary else { return };
    let mut parts = Vec::new();
    if let Some(busy) = summary.busy_percent {
        parts.push(format!("{who} busy {busy}% of the time"));
    }
    if let Some(samples) = summary.samples {
        let every = summary.sampling_interval.map(|interval| {
            let millis = interval.as_std().as_secs_f64() * 1000.0;
            format!(", one each {millis:.2} ms")
        });
        parts.push(format!("{samples} samples{}", every.unwrap_or_default()));
    }
    if let Some(hottest) = &summary.hottest {
        parts.push(format!("hottest {hottest}"));
    }
    if !parts.is_empty() {
        let _ = writeln!(text, "{}", printable(&parts.join("; ")));
    }
}

/// A recording in numbers.
pub(crate) fn numbers(summary: &pitwall_profile::Summary) -> String {
    let mut text =
        format!("main thread busy {:.0}% of the time; {} samples", summary.busy_percent, summary.samples);
    if let Some(hottest) = &summary.hottest {
        let _ = write!(text, "; hottest {hottest}");
    }
    text
}

/// One function: its own share, and its share with what it calls.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row<'a> {
    function: &'a str,
    location: &'a str,
    own: Option<i32>,
    total: Option<i32>,
}

/// Functions as a table, and other findings in their own words.
pub(crate) fn tables(text: &mut String, findings: &[Finding], paint: Paint) {
    let mut artifacts: Vec<Option<&str>> = Vec::new();
    for finding in findings.iter().filter(|finding| is_row(finding)) {
        if !artifacts.contains(&finding.artifact.as_deref()) {
            artifacts.push(finding.artifact.as_deref());
        }
    }
    for artifact in &artifacts {
        text.push('\n');
        if let (Some(artifact), 2..) = (artifact, artifacts.len()) {
            let _ = writeln!(text, "{}", printable(artifact));
        }
        let rows: Vec<_> = rows(findings, *artifact)
            .iter()
            .map(|row| {
                [row.function.to_owned(), row.location.to_owned(), percent(row.own), percent(row.total)]
            })
            .collect();
        let columns = [
            Column::left("FUNCTION", 40),
            Column::path("LOCATION", 50),
            Column::right("SELF"),
            Column::right("TOTAL"),
        ];
        text.push_str(&render(columns, &rows, paint));
    }
    for finding in findings.iter().filter(|finding| !is_row(finding)) {
        let _ = writeln!(text, "{}", printable(&finding.message));
    }
}

/// Whether the finding is a function's share; any other is told in its own words.
fn is_row(finding: &Finding) -> bool {
    finding.function.is_some()
        && matches!(finding.kind.known(), Some(FindingKind::HotSelf | FindingKind::HotTotal))
}

fn rows<'a>(findings: &'a [Finding], artifact: Option<&str>) -> Vec<Row<'a>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for finding in findings.iter().filter(|it| is_row(it) && it.artifact.as_deref() == artifact) {
        let Some(function) = finding.function.as_deref() else { continue };
        let location = finding.location.as_deref().unwrap_or_default();
        let known = rows.iter().position(|row| row.function == function && row.location == location);
        let at = known.unwrap_or_else(|| {
            rows.push(Row { function, location, own: None, total: None });
            rows.len() - 1
        });
        if finding.kind == FindingKind::HotSelf {
            rows[at].own = finding.percent;
        } else {
            rows[at].total = finding.percent;
        }
    }
    rows.sort_by_key(|row| std::cmp::Reverse((row.own, row.total)));
    rows
}

/// Only the first few functions of each order are found: what isn't among them is small, not nought.
fn percent(percent: Option<i32>) -> String {
    percent.map_or_else(|| "-".to_owned(), |percent| format!("{percent}%"))
}

fn not_analyzed(text: &mut String, status: &Status, paint: Paint) {
    let Some(analyzed) = condition(status, ConditionType::Analyzed).filter(|it| it.status == "False") else {
        return;
    };
    let why = because(Some(&analyzed.reason), Some(&analyzed.message));
    let _ = writeln!(text, "{}: {}", paint.red("not analysed"), printable(&why));
    advise(text, &analyzed.reason, &analyzed.message);
}

fn advise(text: &mut String, reason: &str, message: &str) {
    if let Some(advice) = advice(reason, message) {
        let _ = writeln!(text, "  {advice}");
    }
}

fn failures(text: &mut String, status: &Status, end: End, paint: Paint) {
    let told = explanation(status).filter(|_| end == End::Failed).map(|condition| condition.message.as_str());
    for target in failed_targets(status) {
        let reason = target.reason().unwrap_or_default();
        let message = target.message.as_deref().unwrap_or_default();
        // The headline has said it already where it is the only one.
        let why =
            if told == Some(message) { reason.to_owned() } else { because(Some(reason), Some(message)) };
        let _ = writeln!(text, "{} {}: {}", paint.red("failed"), printable(&place(target)), printable(&why));
        advise(text, reason, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{end, tests::request};
    use serde_json::{Value, json};

    fn condition(kind: &str, reason: &str, message: &str) -> Value {
        json!({ "type": kind, "status": "True", "reason": reason, "message": message,
                "lastTransitionTime": "1970-01-01T00:00:00Z" })
    }

    fn hot(kind: &str, function: &str, location: &str, percent: i32) -> Value {
        json!({ "kind": kind, "message": "-", "function": function, "location": location, "percent": percent,
                "artifact": "checkout-a-17.cpuprofile" })
    }

    fn described(status: &Value) -> String {
        let request = request(status);
        describe(&request, end(&request).unwrap(), Paint::Plain)
    }

    #[test]
    fn findings_become_a_table_of_functions() {
        let artifact = json!({ "name": "checkout-a-17.cpuprofile", "type": "CPU", "key": "k", "bytes": 1,
            "uncompressedBytes": 2, "sha256": "00", "encoding": "gzip", "mediaType": "application/json" });
        let seen = described(&json!({
            "target": "deploy/checkout",
            "conditions": [condition("Complete", "AllStored", "1 of 1"), condition("Finished", "AllStored", "1 of 1")],
            "targets": [{ "pod": "checkout-a", "podUID": "1", "container": "app", "pid": 17, "phase": "Succeeded",
                "nodeVersion": "v22.3.0", "recorded": "30s", "artifacts": [artifact],
                "attach": { "openedBy": "Pitwall", "closed": false, "took": "12ms" } }],
            "summary": { "hottest": "serializeCart checkout.js:41 61%", "busyPercent": 72, "samples": 29876,
                "samplingInterval": "1004us" },
            "findings": [
                hot("HotSelf", "serializeCart", "checkout.js:41", 61),
                hot("HotSelf", "(garbage collector)", "", 7),
                hot("HotTotal", "handler", "server.js:12", 90),
                hot("HotTotal", "serializeCart", "checkout.js:41", 64),
            ],
        }));
        assert_eq!(
            seen,
            "checkout-cpu-x7k2p (deploy/checkout) recorded: AllStored: 1 of 1\n\
             checkout-a/app pid 17: 30.0 s, Node.js v22.3.0\n\
             \u{20} its inspector was not seen closed: look at the pod, and restart it if in doubt\n\
             main thread busy 72% of the time; 29876 samples, one each 1.00 ms; hottest serializeCart checkout.js:41 61%\n\
             \n\
             FUNCTION              LOCATION         SELF   TOTAL\n\
             serializeCart         checkout.js:41    61%     64%\n\
             (garbage collector)                      7%       -\n\
             handler               server.js:12        -     90%\n"
        );
    }

    #[test]
    fn a_failure_says_why_and_what_to_do_for_the_request_and_each_target() {
        let seen = described(&json!({
            "conditions": [condition("Failed", "AllTargetsFailed", "1 of 1 failed"), condition("Finished", "AllTargetsFailed", "")],
            "targets": [{ "pod": "checkout-a", "podUID": "1", "container": "app", "phase": "Failed",
                "reason": "InspectorAlreadyOpen", "message": "127.0.0.1:9229 answers\x1b[2J" }],
        }));
        assert_eq!(
            seen,
            "checkout-cpu-x7k2p failed: AllTargetsFailed: 1 of 1 failed\n\
             failed checkout-a/app: InspectorAlreadyOpen: 127.0.0.1:9229 answers\u{fffd}[2J\n\
             \u{20} Detach the debugger, or start the process without --inspect.\n"
        );
    }

    #[test]
    fn several_artifacts_get_a_table_each() {
        let mut other = hot("HotSelf", "parse", "a.js:1", 20);
        other["artifact"] = json!("checkout-b-9.cpuprofile");
        let seen = described(&json!({
            "conditions": [condition("Complete", "AllStored", ""), condition("Finished", "AllStored", "")],
            "findings": [hot("HotSelf", "parse", "a.js:1", 61), other,
                { "kind": "Idle", "message": "checkout-c was idle" }],
        }));
        assert_eq!(seen.matches("FUNCTION").count(), 2);
        assert!(seen.contains("\ncheckout-b-9.cpuprofile\nFUNCTION"), "{seen}");
        assert!(seen.ends_with("checkout-c was idle\n"), "{seen}");
    }
}
