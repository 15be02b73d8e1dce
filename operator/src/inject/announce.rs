//! An Event on each pod that the webhook left alone. At admission a pod has no uid that an Event could
//! name, so the leader makes it when the pod is there.

use std::{pin::pin, time::Duration};

use futures_util::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        core::v1::{ObjectReference, Pod},
        events::v1::Event,
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Api, Client,
    api::PostParams,
    core::PartialObjectMeta,
    runtime::{WatchStreamExt as _, events::Reporter, watcher},
};
use pitwall_crds::names::NOT_INJECTED;

use super::reason::Reason;

/// The API server forgets Events after an hour by default: an older pod's has had its time.
const NEWS: SignedDuration = SignedDuration::from_hours(1);
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

/// Makes a Warning Event of reason `LeftAlone` on each pod that was left alone, for as long as it is
/// polled. For the leader.
///
/// The Event's name is made from the pod's uid, so that a pod has one, however often it is seen and
/// whoever leads. What fails three times is dropped: the pod's annotation says the same.
pub async fn announce_left_alone(client: Client, reporter: Reporter) {
    let config = watcher::Config::default().labels(NOT_INJECTED);
    let pods = watcher(Api::<PartialObjectMeta<Pod>>::all(client.clone()), config);
    let mut pods = pin!(pods.default_backoff().applied_objects());
    while let Some(next) = pods.next().await {
        match next {
            Ok(pod) => {
                #[expect(clippy::disallowed_methods, reason = "the IO loop reads the clock")]
                let now = Timestamp::now();
                if let Some(event) = event(&pod, &reporter, now) {
                    publish(&client, &event).await;
                }
            }
            // The watcher begins again by itself, with backoff.
            Err(error) => tracing::warn!(%error, "watching for pods that were left alone"),
        }
    }
}

async fn publish(client: &Client, event: &Event) {
    let namespace = event.metadata.namespace.as_deref().unwrap_or_default();
    let api = Api::<Event>::namespaced(client.clone(), namespace);
    for attempt in 1..=TRIES {
        match api.create(&PostParams::default(), event).await {
            Ok(_) => return,
            // Made before, or the namespace is gone or going.
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404 | 409) => return,
            Err(error) if attempt == TRIES => {
                tracing::warn!(namespace, %error, "an Event on a pod left alone could not be made");
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// The Event for the pod, if there is news. Pure.
fn event(pod: &PartialObjectMeta<Pod>, reporter: &Reporter, now: Timestamp) -> Option<Event> {
    let pod = &pod.metadata;
    let (name, namespace, uid) = (pod.name.as_ref()?, pod.namespace.as_ref()?, pod.uid.as_ref()?);
    let created = pod.creation_timestamp.as_ref()?.0;
    if now.duration_since(created) > NEWS || pod.deletion_timestamp.is_some() {
        return None;
    }
    // Anyone may write the label: what is no reason of ours is nothing to repeat.
    let reason = Reason::parse(pod.labels.as_ref()?.get(NOT_INJECTED)?)?;
    Some(Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.pitwall-{uid}", shortened(name))),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        type_: Some("Warning".to_owned()),
        reason: Some(pitwall_crds::Reason::LeftAlone.as_str().to_owned()),
        note: Some(format!("{reason}: {} {}", reason.seen(), reason.advice())),
        action: Some("Inject".to_owned()),
        event_time: Some(MicroTime(now)),
        regarding: Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            uid: Some(uid.clone()),
            ..ObjectReference::default()
        }),
        reporting_controller: Some(reporter.controller.clone()),
        reporting_instance: reporter.instance.clone(),
        ..Event::default()
    })
}

/// So that the Event's name, with the uid, stays within 253 characters.
fn shortened(name: &str) -> &str {
    name.get(..200).unwrap_or(name).trim_end_matches(['.', '-'])
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "json!(...) reads best as an argument")]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn reporter() -> Reporter {
        Reporter {
            controller: "pitwall.dev/operator".to_owned(),
            instance: Some("pitwall-operator-0".to_owned()),
        }
    }

    fn at(written: &str) -> Timestamp {
        written.parse().unwrap()
    }

    fn pod(overrides: Value) -> PartialObjectMeta<Pod> {
        let mut metadata = json!({
            "name": "checkout-1",
            "namespace": "shop",
            "uid": "c0ffee",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": { "pitwall.dev/not-injected": "UidNotSaid" },
        });
        json_patch::merge(&mut metadata, &overrides);
        serde_json::from_value(json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata })).unwrap()
    }

    #[test]
    fn a_pod_left_alone_gets_an_event_that_says_what_to_do() {
        let event = event(&pod(json!({})), &reporter(), at("2026-01-01T00:00:05Z")).unwrap();
        assert_eq!(event.metadata.name.as_deref(), Some("checkout-1.pitwall-c0ffee"));
        assert_eq!(event.reason.as_deref(), Some("LeftAlone"));
        assert_eq!(event.type_.as_deref(), Some("Warning"));
        let note = event.note.unwrap();
        assert!(note.starts_with("UidNotSaid: ") && note.contains(Reason::UidNotSaid.advice()), "{note}");
        let regarding = event.regarding.unwrap();
        assert_eq!((regarding.kind.as_deref(), regarding.uid.as_deref()), (Some("Pod"), Some("c0ffee")));
    }

    #[test]
    fn what_is_old_or_going_or_not_ours_is_no_news() {
        let now = at("2026-01-01T00:59:00Z");
        for (pod, now) in [
            (pod(json!({})), at("2026-01-01T01:00:01Z")),
            (pod(json!({ "deletionTimestamp": "2026-01-01T00:58:00Z" })), now),
            (pod(json!({ "labels": { "pitwall.dev/not-injected": "BecauseISaySo" } })), now),
            (pod(json!({ "labels": null })), now),
        ] {
            assert_eq!(event(&pod, &reporter(), now), None);
        }
        assert!(event(&pod(json!({})), &reporter(), now).is_some());
    }

    #[test]
    fn the_name_of_an_event_is_valid_whatever_the_pods_is() {
        let name = format!("{}-{}", "a".repeat(199), "b".repeat(50));
        let uid = "0b1f9b1e-0c5e-4f6c-9d55-3a1d0e7b2c11";
        let event = event(&pod(json!({ "name": name, "uid": uid })), &reporter(), at("2026-01-01T00:00:05Z"))
            .unwrap();
        let name = event.metadata.name.unwrap();
        assert!(name.len() <= 253 && !name.contains("-.") && !name.contains(".."), "{name}");
    }
}
