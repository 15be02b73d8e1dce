use axum::{body::Body, http::Request};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::*;
use crate::inject::settings::tests::settings;

/// What the API server of these tests says.
#[derive(Clone, Copy)]
enum Api {
    Answers,
    Refuses,
    Hangs,
}

fn client(api: Api) -> Client {
    let service = tower::service_fn(move |request: Request<kube::client::Body>| async move {
        let empty = json!({ "metadata": {}, "items": [] });
        let answer = match api {
            Api::Answers if request.uri().path().ends_with("/namespaces/shop") => {
                json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": { "name": "shop" } })
            }
            Api::Answers => empty,
            Api::Refuses => {
                let status = json!({ "kind": "Status", "status": "Failure", "message": "no", "reason": "Forbidden", "code": 403 });
                return Ok(Response::builder().status(403).body(Body::from(status.to_string())).unwrap());
            }
            Api::Hangs => std::future::pending().await,
        };
        Ok::<_, std::convert::Infallible>(Response::new(Body::from(answer.to_string())))
    });
    Client::new(service, "default")
}

fn webhook(api: Api, ca: &str) -> Router {
    let (_, ca) = watch::channel(ca.to_owned());
    router(settings(), ca, client(api), "pitwall")
}

async fn post(router: Router, path: &str, body: impl Into<Body>) -> (StatusCode, Value) {
    let request = Request::post(path).header("content-type", "application/json").body(body.into()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

fn review(pod: &Value) -> String {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "0c9a8d74",
            "kind": { "group": "", "version": "v1", "kind": "Pod" },
            "resource": { "group": "", "version": "v1", "resource": "pods" },
            "name": "",
            "namespace": "shop",
            "operation": "CREATE",
            "userInfo": { "username": "system:serviceaccount:kube-system:replicaset-controller" },
            "object": pod,
            "oldObject": null,
            "dryRun": false,
        },
    })
    .to_string()
}

fn pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "generateName": "checkout-", "creationTimestamp": null },
        "spec": { "containers": [{ "name": "app", "image": "shop:1" }] },
        "status": {},
    })
}

fn patch_of(answer: &Value) -> json_patch::Patch {
    assert_eq!(answer["response"]["patchType"], "JSONPatch");
    let bytes: Vec<u8> = serde_json::from_value(answer["response"]["patch"].clone())
        .unwrap_or_else(|_| STANDARD.decode(answer["response"]["patch"].as_str().unwrap()).unwrap());
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn a_pod_of_a_labelled_namespace_gets_its_sidecar() {
    let (status, answer) = post(webhook(Api::Answers, "CA"), PATH_BY_NAMESPACE, review(&pod())).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(answer["kind"], "AdmissionReview");
    assert_eq!(answer["response"]["uid"], "0c9a8d74");
    assert_eq!(answer["response"]["allowed"], true);
    let mut injected = pod();
    json_patch::patch(&mut injected, &patch_of(&answer).0).unwrap();
    assert_eq!(injected["spec"]["initContainers"][0]["name"], "pitwall");
}

#[tokio::test]
async fn a_pod_left_alone_is_allowed_with_a_warning() {
    let mut hosted = pod();
    hosted["spec"]["hostPID"] = json!(true);
    let (_, answer) = post(webhook(Api::Answers, "CA"), PATH_BY_NAMESPACE, review(&hosted)).await;
    assert_eq!(answer["response"]["allowed"], true);
    let warning = answer["response"]["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("pitwall.dev/not-injected: HostPid: "), "{warning}");
    json_patch::patch(&mut hosted, &patch_of(&answer).0).unwrap();
    assert_eq!(hosted["metadata"]["annotations"]["pitwall.dev/not-injected"], "HostPid");
}

#[tokio::test]
async fn nothing_but_a_pod_that_asks_is_patched() {
    let other_operation = review(&pod()).replace("CREATE", "UPDATE");
    for (path, body) in [(PATH_BY_POD, review(&pod())), (PATH_BY_NAMESPACE, other_operation)] {
        let (status, answer) = post(webhook(Api::Answers, "CA"), path, body).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(answer["response"]["allowed"], true);
        assert_eq!(answer["response"].get("patch"), None);
    }
}

#[tokio::test]
async fn a_pod_in_a_shape_that_is_not_known_is_allowed_unchanged() {
    let odd = json!({ "metadata": {}, "spec": { "containers": "none" } });
    let (status, answer) = post(webhook(Api::Answers, "CA"), PATH_BY_NAMESPACE, review(&odd)).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["response"], json!({ "uid": "0c9a8d74", "allowed": true }));
}

#[tokio::test]
async fn what_is_no_review_is_refused_without_harm() {
    for body in ["", "{}", "[]", "not json", r#"{"request":{"uid":7}}"#] {
        let (status, _) = post(webhook(Api::Answers, "CA"), PATH_BY_NAMESPACE, body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    }
    let (status, _) = post(webhook(Api::Answers, "CA"), PATH_BY_NAMESPACE, vec![b' '; BODY_LIMIT + 1]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_whose_rules_cannot_be_read_has_its_pods_left_alone() {
    for api in [Api::Refuses, Api::Hangs] {
        let (_, answer) = post(webhook(api, "CA"), PATH_BY_NAMESPACE, review(&pod())).await;
        assert_eq!(answer["response"]["allowed"], true);
        let mut left = pod();
        json_patch::patch(&mut left, &patch_of(&answer).0).unwrap();
        assert_eq!(left["metadata"]["labels"]["pitwall.dev/not-injected"], "NamespaceUnread");
    }
}

#[tokio::test]
async fn without_a_certificate_authority_it_is_not_ready_and_changes_nothing() {
    for (ca, expected) in [("", StatusCode::SERVICE_UNAVAILABLE), ("CA", StatusCode::OK)] {
        let request = Request::get("/readyz").body(Body::empty()).unwrap();
        assert_eq!(webhook(Api::Answers, ca).oneshot(request).await.unwrap().status(), expected);
    }
    let (_, answer) = post(webhook(Api::Answers, ""), PATH_BY_NAMESPACE, review(&pod())).await;
    assert_eq!(answer["response"]["allowed"], true);
    assert_eq!(answer["response"].get("patch"), None);
}

#[test]
fn each_warning_is_short_enough_to_be_passed_on() {
    for reason in Reason::ALL {
        assert!(warning(*reason).len() <= WARNING_LIMIT, "{reason}: {}", warning(*reason).len());
    }
}
