//! Where a request stands, in a line.

use super::{
    meter::{Meter, Sight, parse_progress},
    printable::printable,
};
use crate::{
    outcome::{advice, condition, holds},
    read::{Request, Status, TargetStatus},
};
use jiff::Timestamp;
use pitwall_crds::{ConditionType, Reason, TargetPhase};
use std::{fmt::Write as _, time::Duration};

/// What happens now, of all the targets the one that says most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// No controller has looked at the request.
    Submitted,
    /// For what: a reason and a message.
    Waiting { reason: Option<String>, message: Option<String> },
    /// The inspector is being opened and proved.
    Attaching,
    /// The profiler runs.
    Recording,
    /// The profile is being stored.
    Uploading,
    /// In a phase that this program doesn't know.
    Unknown(String),
    /// Everything is stored or failed, and is being analysed.
    Analysing,
    /// It has ended.
    Finished,
}

impl Stage {
    /// The stage's name: a new one begins a new line where there is no terminal.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Submitted | Self::Waiting { .. } => "waiting",
            Self::Attaching => "attaching",
            Self::Recording => "recording",
            Self::Uploading => "uploading",
            Self::Unknown(_) => "under way",
            Self::Analysing => "analysing",
            Self::Finished => "finished",
        }
    }

    /// What the user can do about a wait.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Waiting { reason: Some(reason), message } => {
                advice(reason, message.as_deref().unwrap_or_default())
            }
            _ => None,
        }
    }
}

/// Where the request stands.
pub(crate) fn stage(request: &Request) -> Stage {
    let Some(status) = &request.status else { return Stage::Submitted };
    if holds(status, ConditionType::Finished) {
        return Stage::Finished;
    }
    let any = |phase| status.targets.iter().any(|target| target.phase == phase);
    if any(TargetPhase::Recording) {
        Stage::Recording
    } else if any(TargetPhase::Attaching) {
        Stage::Attaching
    } else if any(TargetPhase::Uploading) {
        Stage::Uploading
    } else if let Some(target) = status.targets.iter().find(|target| target.phase.known().is_none()) {
        Stage::Unknown(target.phase.to_string())
    } else if let Some(target) = status.targets.iter().find(|target| target.phase == TargetPhase::Pending) {
        let reason = target.reason().map(str::to_owned);
        Stage::Waiting { reason, message: target.message.clone() }
    } else if !status.targets.is_empty() {
        Stage::Analysing
    } else {
        waiting_by_conditions(status)
    }
}

fn waiting_by_conditions(status: &Status) -> Stage {
    let waits = [ConditionType::Accepted, ConditionType::Recording]
        .into_iter()
        .filter_map(|kind| condition(status, kind))
        .find(|condition| condition.status != "True");
    match waits {
        Some(condition) => Stage::Waiting {
            reason: Some(condition.reason.clone()),
            message: Some(condition.message.clone()),
        },
        None if status.conditions.is_empty() => Stage::Submitted,
        None => Stage::Waiting { reason: None, message: None },
    }
}

/// What a request that records says about how far it is.
pub(crate) fn sight(request: &Request, wall: Timestamp, saw_it_begin: bool) -> Sight {
    let status = request.status.as_ref();
    let recording = status
        .into_iter()
        .flat_map(|status| &status.targets)
        .filter(|target| target.phase == TargetPhase::Recording);
    let begun = status.and_then(|status| {
        let condition = condition(status, ConditionType::Recording).filter(|it| it.status == "True");
        condition.map(|it| it.last_transition_time.0).or(status.start_time.as_ref().map(|time| time.0))
    });
    Sight {
        total: request.spec.window().as_std(),
        progress: recording.filter_map(|target| parse_progress(target.progress.as_deref()?)).min(),
        by_wall_clocks: begun.and_then(|begun| Duration::try_from(wall.duration_since(begun)).ok()),
        saw_it_begin,
    }
}

/// One line of progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// The stage's name.
    pub stage: &'static str,
    /// How far it is, of how much, where that can be told.
    pub bar: Option<(u64, u64)>,
    /// The rest.
    pub text: String,
}

impl Line {
    /// As printed where there is no bar.
    pub(crate) fn plain(&self) -> String {
        if self.text.is_empty() { self.stage.to_owned() } else { format!("{}: {}", self.stage, self.text) }
    }
}

/// Characters of a bar.
const BAR: usize = 30;

impl Line {
    /// As drawn on a terminal.
    pub(crate) fn drawn(&self) -> String {
        let Some((done, total)) = self.bar else { return self.plain() };
        let full = done.min(total).saturating_mul(BAR as u64).checked_div(total).unwrap_or(BAR as u64);
        let full = usize::try_from(full).unwrap_or(BAR);
        let head = if full < BAR { ">" } else { "" };
        let bar = format!("{:<BAR$}", "=".repeat(full) + head);
        format!("{} [{bar}] {}", self.stage, self.text)
    }
}

/// After this long without a word, the operator is suspected.
const SILENCE: Duration = Duration::from_secs(10);

/// Renders the stage. `since` is how long the program has followed, `stopping` whether it asked to stop.
pub(crate) fn line(request: &Request, meter: &Meter, now: Duration, stopping: bool) -> Line {
    let stage = stage(request);
    let targets = request.status.as_ref().map_or(&[][..], |status| &status.targets);
    let (mut text, bar) = match &stage {
        Stage::Submitted if now > SILENCE => (
            "no operator has taken the request up; is Pitwall running? (kubectl get pods -A -l app.kubernetes.io/name=pitwall)"
                .to_owned(),
            None,
        ),
        Stage::Submitted => ("for the operator to take the request up".to_owned(), None),
        Stage::Waiting { reason, message } => (because(reason.as_deref(), message.as_deref()), None),
        Stage::Recording if request.spec.window().as_std().is_zero() => {
            (only(targets).and_then(|target| target.progress.clone()).unwrap_or_default(), None)
        }
        Stage::Recording => {
            let (recorded, total) = (meter.recorded(now), meter.total());
            let text = format!("{}s of {}", recorded.as_secs(), request.spec.window());
            (text, Some((millis(recorded), millis(total))))
        }
        Stage::Attaching => (only(targets).map(place).unwrap_or_default(), None),
        Stage::Uploading => {
            (only(targets).and_then(|target| target.progress.clone()).unwrap_or_default(), None)
        }
        Stage::Unknown(phase) => (phase.clone(), None),
        Stage::Analysing | Stage::Finished => (String::new(), None),
    };
    if targets.len() > 1 {
        let tally = tally(targets);
        text = if text.is_empty() { tally } else { format!("{text} ({tally})") };
    }
    if stopping && stage != Stage::Finished {
        text = if text.is_empty() { "stopping".to_owned() } else { format!("{text}, stopping") };
    }
    Line { stage: stage.name(), bar, text: printable(&text).into_owned() }
}

/// `Reason: message`, as far as there are any.
pub(crate) fn because(reason: Option<&str>, message: Option<&str>) -> String {
    let parts = [reason, message].into_iter().flatten().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(": ")
}

/// A target's pod, container and process, as far as they are known.
pub(crate) fn place(target: &TargetStatus) -> String {
    let mut text = target.pod.clone();
    if let Some(container) = &target.container {
        let _ = write!(text, "/{container}");
    }
    if let Some(pid) = target.pid {
        let _ = write!(text, " pid {pid}");
    }
    text
}

fn only(targets: &[TargetStatus]) -> Option<&TargetStatus> {
    if let [target] = targets { Some(target) } else { None }
}

fn tally(targets: &[TargetStatus]) -> String {
    let word = |target: &TargetStatus| match target.phase.known() {
        Some(TargetPhase::Pending) => "waiting",
        Some(TargetPhase::Attaching) => "attaching",
        Some(TargetPhase::Recording) => "recording",
        Some(TargetPhase::Uploading) => "uploading",
        Some(TargetPhase::Stored | TargetPhase::Succeeded) => "stored",
        Some(TargetPhase::Failed) => "failed",
        None => "under way",
    };
    let mut parts = Vec::new();
    for name in ["waiting", "attaching", "recording", "uploading", "under way", "stored", "failed"] {
        let count = targets.iter().filter(|target| word(target) == name).count();
        if count > 0 {
            parts.push(format!("{count} {name}"));
        }
    }
    let busy = targets.iter().find(|target| target.reason() == Some(Reason::TargetBusy.as_str()));
    if let Some(message) = busy.and_then(|target| target.message.as_deref()) {
        parts.push(message.to_owned());
    }
    parts.join(", ")
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::{request, target};
    use serde_json::{Value, json};

    fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({ "type": kind, "status": status, "reason": reason, "message": message,
                "lastTransitionTime": "1970-01-01T00:00:00Z" })
    }

    fn with(mut target: Value, fields: Value) -> Value {
        let Value::Object(fields) = fields else { panic!("fields") };
        target.as_object_mut().unwrap().extend(fields);
        target
    }

    #[test]
    fn progress_lines_say_what_happens_and_why_not() {
        let busy = json!({ "reason": "TargetBusy", "message": "checkout-before records it" });
        let table = [
            (Value::Null, "waiting: for the operator to take the request up"),
            (
                json!({ "conditions": [condition("Accepted", "False", "NoPodReady", "0 of 2 pods are ready")] }),
                "waiting: NoPodReady: 0 of 2 pods are ready",
            ),
            (
                json!({ "targets": [with(target("Pending"), busy.clone())] }),
                "waiting: TargetBusy: checkout-before records it",
            ),
            (
                json!({ "targets": [with(target("Attaching"), json!({ "pid": 17 }))] }),
                "attaching: checkout-a/app pid 17",
            ),
            (json!({ "targets": [target("Recording")] }), "recording: 12s of 30s"),
            (
                json!({ "targets": [target("Recording"), target("Failed"), with(target("Pending"), busy)] }),
                "recording: 12s of 30s (1 waiting, 1 recording, 1 failed, checkout-before records it)",
            ),
            (json!({ "targets": [target("Attaching"), target("Attaching")] }), "attaching: 2 attaching"),
            (
                json!({ "targets": [with(target("Uploading"), json!({ "progress": "1MiB of 3MiB" }))] }),
                "uploading: 1MiB of 3MiB",
            ),
            (json!({ "targets": [target("Stored")] }), "analysing"),
            (
                json!({ "targets": [target("Succeeded")], "conditions": [condition("Finished", "True", "AllStored", "")] }),
                "finished",
            ),
        ];
        let mut meter = Meter::default();
        let sight = Sight {
            total: Duration::from_secs(30),
            progress: None,
            by_wall_clocks: None,
            saw_it_begin: true,
        };
        meter.observe(sight, Duration::ZERO);
        let now = Duration::from_secs(12);
        for (status, expected) in table {
            let request = request(&status);
            let expected = if status.is_null() { "waiting: no operator has taken" } else { expected };
            let seen = line(&request, &meter, now, false).plain();
            assert!(
                if status.is_null() { seen.starts_with(expected) } else { seen == expected },
                "{seen}\n{expected}"
            );
        }
        let stopping = line(&request(&json!({ "targets": [target("Recording")] })), &meter, now, true);
        assert_eq!(stopping.plain(), "recording: 12s of 30s, stopping");
        assert_eq!(stopping.bar, Some((12_000, 30_000)));
    }

    #[test]
    fn the_bar_fills_and_never_overflows() {
        for (done, total, filled, head) in
            [(0, 30, 0, 1), (15, 30, 15, 1), (30, 30, 30, 0), (40, 30, 30, 0), (0, 0, 30, 0)]
        {
            let line = Line { stage: "recording", bar: Some((done, total)), text: "now".to_owned() };
            let drawn = line.drawn();
            let counts = (drawn.matches('=').count(), drawn.matches('>').count());
            assert_eq!(counts, (filled, head), "{done} of {total}");
            assert_eq!(drawn.len(), "recording [] now".len() + 30);
        }
    }

    #[test]
    fn a_wait_that_someone_can_end_comes_with_advice() {
        let waiting = Stage::Waiting { reason: Some("TargetBusy".to_owned()), message: None };
        assert_eq!(waiting.advice(), Some(Reason::TargetBusy.advice()));
        let unknown = Stage::Waiting { reason: Some("FromTheFuture".to_owned()), message: None };
        assert_eq!(unknown.advice(), None);
    }

    #[test]
    fn the_least_advanced_recording_target_counts() {
        let request = request(&json!({
            "conditions": [condition("Recording", "True", "Recording", "")],
            "targets": [
                with(target("Recording"), json!({ "progress": "20s of 30s" })),
                with(target("Recording"), json!({ "progress": "10s of 30s" })),
                with(target("Uploading"), json!({ "progress": "1s of 30s" })),
            ],
        }));
        let sight = sight(&request, Timestamp::from_second(25).unwrap(), false);
        assert_eq!(sight.progress, Some(Duration::from_secs(10)));
        assert_eq!(sight.by_wall_clocks, Some(Duration::from_secs(25)));
    }
}
