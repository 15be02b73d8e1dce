//! Answering the API server. Whatever comes, the pod is allowed.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    response::{IntoResponse, Json, Response},
    routing::{get, post},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Client,
    core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview, Operation},
};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    decide::{AskedBy, Candidate, Decision, Identity, decide},
    namespace::read_rules,
    patch::{injection, left_alone},
    reason::Reason,
    resources::{SidecarResources, sidecar_resources},
    settings::Settings,
};

/// The path that the webhook for labelled namespaces calls.
pub const PATH_BY_NAMESPACE: &str = "/inject/namespace";
/// The path that the webhook for labelled pods calls.
pub const PATH_BY_POD: &str = "/inject/pod";

/// The API server stores no object over 1.5 MiB, and a review holds one.
const BODY_LIMIT: usize = 4 << 20;
/// What the API server passes on of a warning to whoever made the pod.
const WARNING_LIMIT: usize = 256;

struct Webhook {
    settings: Settings,
    own_namespace: String,
    ca: watch::Receiver<String>,
    client: Client,
}

/// The webhook's paths, for an HTTPS server: [`PATH_BY_NAMESPACE`], [`PATH_BY_POD`], `/healthz` and
/// `/readyz`. `ca` is the PEM bundle that sidecars shall trust; the webhook is ready once there is one.
pub fn router(
    settings: Settings,
    ca: watch::Receiver<String>,
    client: Client,
    own_namespace: &str,
) -> Router {
    Router::new()
        .route(PATH_BY_NAMESPACE, post(async |state, body| answer(state, AskedBy::Namespace, body).await))
        .route(PATH_BY_POD, post(async |state, body| answer(state, AskedBy::Pod, body).await))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(ready))
        .with_state(Arc::new(Webhook { settings, own_namespace: own_namespace.to_owned(), ca, client }))
}

async fn ready(State(webhook): State<Arc<Webhook>>) -> (StatusCode, &'static str) {
    if webhook.ca.borrow().is_empty() {
        (StatusCode::SERVICE_UNAVAILABLE, "no certificate authority yet")
    } else {
        (StatusCode::OK, "ok")
    }
}

async fn answer(State(webhook): State<Arc<Webhook>>, asked_by: AskedBy, body: Bytes) -> Response {
    let review = match serde_json::from_slice::<AdmissionReview<Pod>>(&body) {
        Ok(review) => review,
        Err(error) => return allow_unread(&body, &error),
    };
    let Ok(request) = TryInto::<AdmissionRequest<Pod>>::try_into(review) else {
        return (StatusCode::BAD_REQUEST, "no request in this AdmissionReview").into_response();
    };
    Json(webhook.review(&request, asked_by).await.into_review()).into_response()
}

/// A pod in a shape that this version doesn't know is allowed, as it is.
fn allow_unread(body: &[u8], error: &serde_json::Error) -> Response {
    let uid = serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|review| review.pointer("/request/uid")?.as_str().map(str::to_owned));
    let Some(uid) = uid else {
        return (StatusCode::BAD_REQUEST, "this is no AdmissionReview").into_response();
    };
    tracing::warn!(%error, "a pod could not be read and is let be");
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": { "uid": uid, "allowed": true },
    });
    Json(review).into_response()
}

impl Webhook {
    async fn review(&self, request: &AdmissionRequest<Pod>, asked_by: AskedBy) -> AdmissionResponse {
        let response = AdmissionResponse::from(request);
        let (Some(pod), Operation::Create) = (&request.object, &request.operation) else { return response };
        let ca = self.ca.borrow().clone();
        if ca.is_empty() {
            return response;
        }
        let namespace = request.namespace.as_deref().unwrap_or_default();
        let candidate = Candidate { pod, namespace, asked_by, own_namespace: &self.own_namespace };
        let name = pod.metadata.name.as_deref().or(pod.metadata.generate_name.as_deref()).unwrap_or_default();
        let outcome = match decide(&candidate) {
            Decision::NotAsked | Decision::AlreadyInjected => return response,
            Decision::LeaveAlone(reason) => Err(reason),
            Decision::Inject(identity) => {
                self.resources(pod, namespace, identity).await.map(|resources| (identity, resources))
            }
        };
        let (patch, warning) = match outcome {
            Ok((identity, resources)) => {
                tracing::debug!(namespace, pod = name, ?identity, "gets its sidecar");
                (injection(pod, identity, &resources, &self.settings, &ca), None)
            }
            Err(reason) => {
                tracing::info!(namespace, pod = name, %reason, "left alone");
                (left_alone(pod, reason), Some(warning(reason)))
            }
        };
        match response.clone().with_patch(patch) {
            Ok(mut patched) => {
                patched.warnings = warning.map(|warning| vec![warning]);
                patched
            }
            Err(error) => {
                tracing::error!(namespace, pod = name, %error, "the patch could not be written; the pod is let be");
                response
            }
        }
    }

    async fn resources(
        &self,
        pod: &Pod,
        namespace: &str,
        identity: Identity,
    ) -> Result<SidecarResources, Reason> {
        let rules = read_rules(&self.client, namespace).await.map_err(|error| {
            tracing::warn!(%error, "the pod is left alone");
            Reason::NamespaceUnread
        })?;
        let spec = pod.spec.as_ref().expect("a decision to inject is made from a spec");
        sidecar_resources(spec, identity, &rules, &self.settings)
    }
}

fn warning(reason: Reason) -> String {
    let full = format!("pitwall.dev/not-injected: {reason}: {} {}", reason.seen(), reason.advice());
    if full.len() <= WARNING_LIMIT {
        return full;
    }
    format!("pitwall.dev/not-injected: {reason}: {}", reason.seen())
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
