//! How a request ended, read from its conditions.

use crate::{
    exit::Exit,
    read::{Request, Status, TargetStatus},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use pitwall_crds::{ConditionType, Reason, TargetPhase};

/// The end of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Every target's artifact is stored.
    Recorded,
    /// Something is stored, but some targets failed.
    Partial,
    /// A dry run: every proof and check holds, and nothing was to be stored.
    Checked,
    /// Nothing is stored.
    Failed,
}

impl From<End> for Exit {
    fn from(end: End) -> Self {
        match end {
            End::Recorded | End::Checked => Self::Done,
            End::Partial => Self::Partial,
            End::Failed => Self::Failed,
        }
    }
}

/// How the request ended, or nothing while it hasn't.
pub(crate) fn end(request: &Request) -> Option<End> {
    let status = request.status.as_ref()?;
    if !holds(status, ConditionType::Finished) {
        return None;
    }
    let checked =
        |target: &TargetStatus| target.phase == TargetPhase::Succeeded && target.artifacts.is_empty();
    if !status.targets.is_empty() && status.targets.iter().all(checked) {
        return Some(End::Checked);
    }
    if !holds(status, ConditionType::Complete) || holds(status, ConditionType::Failed) {
        return Some(End::Failed);
    }
    let some_failed = failed_targets(status).next().is_some()
        || condition(status, ConditionType::Complete)
            .is_some_and(|condition| condition.reason == Reason::SomeTargetsFailed.as_str());
    Some(if some_failed { End::Partial } else { End::Recorded })
}

/// The condition that explains the end best.
pub(crate) fn explanation(status: &Status) -> Option<&Condition> {
    [ConditionType::Failed, ConditionType::Complete, ConditionType::Finished]
        .into_iter()
        .filter_map(|kind| condition(status, kind))
        .find(|condition| condition.status == "True")
}

/// The targets of which nothing was stored.
pub(crate) fn failed_targets(status: &Status) -> impl Iterator<Item = &TargetStatus> {
    status.targets.iter().filter(|target| target.phase == TargetPhase::Failed)
}

/// The condition of this type.
pub(crate) fn condition(status: &Status, kind: ConditionType) -> Option<&Condition> {
    status.conditions.iter().find(|condition| condition.type_ == kind.as_str())
}

/// Whether the condition is true.
pub(crate) fn holds(status: &Status, kind: ConditionType) -> bool {
    condition(status, kind).is_some_and(|condition| condition.status == "True")
}

/// What to do about a reason, if this version knows it and its message doesn't say so already.
pub(crate) fn advice(reason: &str, message: &str) -> Option<&'static str> {
    let known = Reason::ALL.iter().find(|known| known.as_str() == reason)?;
    Some(known.advice())
        .filter(|advice| !advice.is_empty() && !message.contains(advice.trim_end_matches('.')))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use pitwall_crds::{ProfileRequest, set_condition};
    use serde_json::json;

    /// A request of 30 s on deploy/checkout with this status, as an operator of this version writes it.
    pub(crate) fn request(status: &serde_json::Value) -> Request {
        let written: ProfileRequest = serde_json::from_value(json!({
            "apiVersion": "pitwall.dev/v1alpha1",
            "kind": "ProfileRequest",
            "metadata": { "name": "checkout-cpu-x7k2p", "namespace": "shop" },
            "spec": { "type": "CPU", "target": { "workload": { "kind": "Deployment", "name": "checkout" } } },
            "status": status,
        }))
        .unwrap();
        serde_json::from_value(json!(written)).unwrap()
    }

    /// A target of pod `a` in this phase.
    pub(crate) fn target(phase: &str) -> serde_json::Value {
        json!({ "pod": "checkout-a", "podUID": "1", "container": "app", "phase": phase })
    }

    #[test]
    fn advice_is_given_once() {
        let given = Reason::NoPodReady.advice();
        for (reason, message, expected) in [
            ("NoPodReady", "0 of 2 pods are ready", Some(given)),
            ("NoPodReady", &format!("0 of 2 pods are ready. {given}"), None),
            ("AllStored", "1 of 1", None),
            ("FromTheFuture", "", None),
        ] {
            assert_eq!(advice(reason, message), expected, "{message}");
        }
    }

    #[test]
    fn the_end_is_read_from_conditions() {
        use ConditionType::{Complete, Failed, Finished};
        type Conditions = &'static [(ConditionType, bool, Reason)];
        type Phases = &'static [&'static str];
        let table: [(Conditions, Phases, Option<End>); 9] = [
            (&[], &[], None),
            (&[(Complete, true, Reason::AllStored)], &["Stored"], None),
            (&[(Finished, false, Reason::InProgress)], &["Recording"], None),
            (
                &[(Complete, true, Reason::AllStored), (Finished, true, Reason::AllStored)],
                &["Succeeded"],
                Some(End::Recorded),
            ),
            (
                &[(Complete, true, Reason::Stopped), (Finished, true, Reason::Stopped)],
                &["Succeeded"],
                Some(End::Recorded),
            ),
            (
                &[(Complete, true, Reason::SomeTargetsFailed), (Finished, true, Reason::SomeTargetsFailed)],
                &["Succeeded", "Failed"],
                Some(End::Partial),
            ),
            (
                &[(Failed, true, Reason::NotInjected), (Finished, true, Reason::NotInjected)],
                &[],
                Some(End::Failed),
            ),
            (&[(Finished, true, Reason::InternalError)], &[], Some(End::Failed)),
            (&[(Finished, true, Reason::Checked)], &["Checked"], Some(End::Checked)),
        ];
        for (conditions, targets, expected) in table {
            let stored = |phase: &&str| match *phase {
                "Checked" => target("Succeeded"),
                phase => {
                    let mut target = target(phase);
                    target["artifacts"] = json!([{ "name": "a", "type": "CPU", "key": "k", "bytes": 1,
                        "uncompressedBytes": 2, "sha256": "00", "encoding": "gzip", "mediaType": "x" }]);
                    target
                }
            };
            let targets: Vec<_> = targets.iter().map(stored).collect();
            let mut request = request(&json!({ "targets": targets }));
            let status = request.status.as_mut().unwrap();
            for (kind, holds, reason) in conditions {
                let now = jiff::Timestamp::UNIX_EPOCH;
                set_condition(&mut status.conditions, *kind, *holds, *reason, "", Some(1), now);
            }
            assert_eq!(end(&request), expected, "{conditions:?}");
        }
    }
}
