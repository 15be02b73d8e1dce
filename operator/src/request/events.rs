//! Events on the request and on its pods, made where a condition turns.

use super::Context;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Resource,
    runtime::events::{Event, EventType},
};
use pitwall_crds::{ProfileRequest, ProfileRequestStatus, TargetPhase, TargetStatus};

/// Tells of what the new status says and the old one did not. An Event that can't be made is only logged.
pub async fn announce(
    ctx: &Context,
    request: &ProfileRequest,
    old: &ProfileRequestStatus,
    new: &ProfileRequestStatus,
) {
    let reference = request.object_ref(&());
    for condition in &new.conditions {
        let before = old.conditions.iter().find(|before| before.type_ == condition.type_);
        let turned = before.is_none_or(|b| b.status != condition.status || b.reason != condition.reason);
        let told = match condition.type_.as_str() {
            "Accepted" => condition.status == "False",
            "Recording" | "Complete" | "Failed" => condition.status == "True",
            "Analyzed" => true,
            _ => false,
        };
        // A failure is told once, by Failed.
        let doubled = condition.type_ == "Accepted" && new.conditions.iter().any(|c| c.type_ == "Failed");
        if !turned || !told || doubled {
            continue;
        }
        let warning =
            condition.type_ == "Failed" || condition.type_ == "Analyzed" && condition.status == "False";
        let note = match (condition.type_.as_str(), &new.summary) {
            ("Analyzed", Some(summary)) if summary.hottest.is_some() => summary.hottest.clone(),
            _ => Some(condition.message.clone()).filter(|message| !message.is_empty()),
        };
        publish(ctx, &reference, warning, &condition.reason, &condition.type_, note).await;
    }
    for target in &new.targets {
        let before = old.targets.iter().find(|b| b.pod_uid == target.pod_uid && b.pid == target.pid);
        if is_recorded(target) && !before.is_some_and(is_recorded) {
            let pod = ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                namespace: request.metadata.namespace.clone(),
                name: Some(target.pod.clone()),
                uid: Some(target.pod_uid.clone()),
                ..ObjectReference::default()
            };
            let name = request.metadata.name.as_deref().unwrap_or_default();
            let kind = request.spec.r#type.as_str();
            let window = request.spec.window();
            let long = if window.as_std().is_zero() { String::new() } else { format!(", {window} long") };
            let note = format!("{kind} for ProfileRequest {name}{long}");
            publish(ctx, &pod, false, "Recording", "Record", Some(note)).await;
        }
    }
}

fn is_recorded(target: &TargetStatus) -> bool {
    matches!(target.phase, TargetPhase::Recording | TargetPhase::Uploading)
}

async fn publish(
    ctx: &Context,
    regarding: &ObjectReference,
    warning: bool,
    reason: &str,
    action: &str,
    note: Option<String>,
) {
    let event = Event {
        type_: if warning { EventType::Warning } else { EventType::Normal },
        reason: reason.to_owned(),
        // An Event's note has at most 1 kB.
        note: note.map(|note| note.chars().take(500).collect()),
        action: action.to_owned(),
        secondary: None,
    };
    if let Err(error) = ctx.recorder.publish(&event, regarding).await {
        tracing::debug!(%error, reason, "an Event could not be made");
    }
}
