//! Keeping the certificate authority that the API server trusts in step with the operator's own.
//!
//! Until `caBundle` is set, and while it is wrong, the API server can't call the webhook and, by
//! `failurePolicy: Ignore`, makes pods without it.

use std::{pin::pin, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::StreamExt as _;
use json_patch::{AddOperation, Patch, PatchOperation, TestOperation, jsonptr::PointerBuf};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::{
    Api, Client,
    api::{Patch as ApiPatch, PatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use pitwall_crds::names::FIELD_MANAGER;
use tokio::sync::watch;

const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// The chart's `MutatingWebhookConfiguration`.
const CONFIGURATION: &str = "pitwall";

/// Keeps each `caBundle` of the webhook's configuration equal to `ca` (PEM), for as long as it is polled.
/// For the leader.
///
/// Looks at what the API server has whenever it or `ca` changes. What fails is tried again after half a
/// second, then twice as long each time, at most 30 s. A configuration that isn't there is waited for.
pub async fn keep_ca_bundle(client: Client, mut ca: watch::Receiver<String>) {
    let api = Api::<MutatingWebhookConfiguration>::all(client);
    let config = watcher::Config::default().fields(&format!("metadata.name={CONFIGURATION}"));
    let mut seen = pin!(watcher(api.clone(), config).default_backoff().applied_objects());
    let mut current: Option<MutatingWebhookConfiguration> = None;
    let mut retry: Option<Duration> = None;
    let mut ca_may_change = true;
    loop {
        let pause = async {
            match retry {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = ca.changed(), if ca_may_change => ca_may_change = changed.is_ok(),
            Some(next) = seen.next() => match next {
                Ok(configuration) => current = Some(configuration),
                // The watcher begins again by itself, with backoff.
                Err(error) => {
                    tracing::warn!(%error, "watching the MutatingWebhookConfiguration {CONFIGURATION}");
                    continue;
                }
            },
            () = pause => {}
        }
        let bundle = ca.borrow_and_update().clone();
        let Some(patch) = current.as_ref().and_then(|current| correction(current, &bundle)) else {
            retry = None;
            continue;
        };
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match api.patch(CONFIGURATION, &params, &ApiPatch::Json::<()>(patch)).await {
            Ok(patched) => {
                tracing::info!("the webhook's caBundle is now the operator's");
                current = Some(patched);
                retry = None;
            }
            Err(error) => {
                let pause = retry.map_or(FIRST_RETRY, |last| (last * 2).min(LAST_RETRY));
                tracing::warn!(%error, ?pause, "could not set the webhook's caBundle; trying again");
                retry = Some(pause);
            }
        }
    }
}

/// What makes each webhook trust `ca`, if any doesn't. Pure.
fn correction(configuration: &MutatingWebhookConfiguration, ca: &str) -> Option<Patch> {
    if ca.is_empty() {
        return None;
    }
    let mut operations = Vec::new();
    for (at, webhook) in configuration.webhooks.iter().flatten().enumerate() {
        let right = webhook.client_config.ca_bundle.as_ref().is_some_and(|bundle| bundle.0 == ca.as_bytes());
        if right {
            continue;
        }
        let at = at.to_string();
        // The list may have changed since it was seen: then this fails, and the watch brings the new one.
        operations.push(PatchOperation::Test(TestOperation {
            path: PointerBuf::from_tokens(["webhooks", &at, "name"]),
            value: webhook.name.clone().into(),
        }));
        operations.push(PatchOperation::Add(AddOperation {
            path: PointerBuf::from_tokens(["webhooks", &at, "clientConfig", "caBundle"]),
            value: STANDARD.encode(ca).into(),
        }));
    }
    (!operations.is_empty()).then_some(Patch(operations))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn corrected(mut configuration: Value, ca: &str) -> Option<Value> {
        let patch = correction(&serde_json::from_value(configuration.clone()).unwrap(), ca)?;
        json_patch::patch(&mut configuration, &patch.0).unwrap();
        Some(configuration)
    }

    fn configuration(bundles: [Option<&str>; 2]) -> Value {
        let webhooks: Vec<Value> = bundles
            .into_iter()
            .zip(["namespace.inject.pitwall.dev", "pod.inject.pitwall.dev"])
            .map(|(bundle, name)| {
                let mut webhook = json!({
                    "name": name,
                    "admissionReviewVersions": ["v1"],
                    "sideEffects": "None",
                    "clientConfig": { "service": { "name": "pitwall-webhook", "namespace": "pitwall" } },
                });
                if let Some(bundle) = bundle {
                    webhook["clientConfig"]["caBundle"] = STANDARD.encode(bundle).into();
                }
                webhook
            })
            .collect();
        json!({ "metadata": { "name": "pitwall" }, "webhooks": webhooks })
    }

    #[test]
    fn each_webhook_comes_to_trust_the_authority() {
        let right = configuration([Some("new"), Some("new")]);
        for bundles in [[None, None], [Some("old"), None], [Some("new"), Some("old")]] {
            assert_eq!(corrected(configuration(bundles), "new").as_ref(), Some(&right), "{bundles:?}");
        }
    }

    #[test]
    fn what_is_right_is_left() {
        assert_eq!(corrected(configuration([Some("new"), Some("new")]), "new"), None);
    }

    #[test]
    fn without_an_authority_nothing_is_taken_away() {
        assert_eq!(corrected(configuration([Some("old"), None]), ""), None);
    }

    #[test]
    fn a_list_that_changed_meanwhile_is_not_patched() {
        let seen = serde_json::from_value(configuration([None, None])).unwrap();
        let patch = correction(&seen, "new").unwrap();
        let mut now = configuration([None, None]);
        now["webhooks"].as_array_mut().unwrap().reverse();
        assert!(json_patch::patch(&mut now, &patch.0).is_err());
    }
}
