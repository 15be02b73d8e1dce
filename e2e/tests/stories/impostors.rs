//! Sidecars that are not what they should be, and peers that aren't sidecars.

use futures_util::{SinkExt, StreamExt};
use pitwall_e2e::{App, Request, Story, command, message_of, operator_namespace, reason_of, s3_fact};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Stdio},
    sync::Arc,
    time::Duration,
};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

/// A pod like an injected one, with a change; its app is ready, whatever its sidecar is.
fn changed_copy(story: &Story, name: &str, change: impl FnOnce(&mut Value)) -> Value {
    let original = App::busy().deploy(story).remove(0);
    let text = story.kubectl(&["get", "pod", &original, "-o", "json"]);
    let mut pod: Value = serde_json::from_str(&text).unwrap();
    let metadata = &pod["metadata"];
    pod["metadata"] = json!({
        "name": name, "labels": { "app": name, "pitwall.dev/injected": "true" }, "annotations": metadata["annotations"],
    });
    pod["status"].take();
    pod["spec"].as_object_mut().unwrap().remove("nodeName");
    change(&mut pod["spec"]);
    story.apply(&pod);
    story.wait(&format!("pod/{name}"), "condition=Ready", Duration::from_secs(60));
    let text = story.kubectl(&["get", "pod", name, "-o", "json"]);
    serde_json::from_str(&text).unwrap()
}

fn sidecar_env<'a>(spec: &'a mut Value, name: &str) -> &'a mut Value {
    let containers = spec["initContainers"].as_array_mut().unwrap();
    let sidecar = containers.iter_mut().find(|container| container["name"] == "pitwall").unwrap();
    let env = sidecar["env"].as_array_mut().unwrap();
    &mut env.iter_mut().find(|variable| variable["name"] == name).unwrap()["value"]
}

/// A certificate authority that has nothing to do with Pitwall.
fn another_ca() -> String {
    std::fs::read_to_string(s3_fact("S3_CA_FILE")).unwrap()
}

fn ends_at_its_deadline(story: &Story, pod: &str, told_by_sidecar: &str) {
    let fields = json!({ "duration": "1s", "activeDeadline": "20s" });
    let request = Request::with_target(story, "r", json!({ "podName": pod }), fields);
    let object = request.finish(Duration::from_secs(60));
    assert!(["DeadlineExceeded", "SidecarLost"].contains(&reason_of(&object)), "{}", object["status"]);
    assert!(message_of(&object).contains("isn't connected"), "{}", message_of(&object));
    // The message sends people to the sidecar's log, which has to know why.
    let log = story.kubectl(&["logs", pod, "-c", "pitwall"]);
    assert!(log.contains(told_by_sidecar), "{log}");
}

#[test]
fn a_sidecar_that_does_not_trust_the_operator_ends_at_the_deadline() {
    let story = Story::new("wrong-ca");
    changed_copy(&story, "wary", |spec| *sidecar_env(spec, "PITWALL_CA") = json!(another_ca()));
    ends_at_its_deadline(&story, "wary", "certificate");
}

#[test]
fn a_sidecar_with_a_token_for_someone_else_ends_at_the_deadline() {
    let story = Story::new("wrong-token");
    changed_copy(&story, "stranger", |spec| {
        let volumes = spec["volumes"].as_array_mut().unwrap();
        let token = volumes.iter_mut().find(|volume| volume["name"] == "pitwall-token").unwrap();
        token["projected"]["sources"][0]["serviceAccountToken"]["audience"] = json!("someone-else");
    });
    ends_at_its_deadline(&story, "stranger", "InvalidAudience");
}

/// A way from here to the channel.
struct Forward {
    kubectl: Child,
    port: u16,
    // Kept open: kubectl ends when it can't write any more.
    _output: BufReader<ChildStdout>,
}

impl Forward {
    fn to_the_channel() -> Self {
        let mut kubectl = command("kubectl");
        kubectl.args(["-n", operator_namespace(), "port-forward", "service/pitwall-channel", ":8443"]);
        let mut kubectl = kubectl.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(kubectl.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let port = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
        Self { port: port.parse().unwrap(), kubectl, _output: output }
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}

/// Says these things to the operator: the close code and reason that come back.
async fn says(port: u16, ca: &str, token: &str, messages: Vec<Message>) -> (u16, String) {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let tcp = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let host = format!("pitwall-channel.{}.svc", operator_namespace());
    let name = ServerName::try_from(host.clone()).unwrap();
    let tls = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
    let mut request = format!("wss://{host}:8443/channel/v1").into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::client_async(request, tls).await.unwrap();
    for message in messages {
        // The operator may have hung up already.
        let _ = socket.send(message).await;
    }
    let closed = async {
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Close(frame) = message {
                return frame
                    .map_or((0, String::new()), |frame| (frame.code.into(), frame.reason.to_string()));
            }
        }
        (0, "hung up without a close frame".to_owned())
    };
    tokio::time::timeout(Duration::from_secs(15), closed).await.expect("the operator hangs up")
}

#[test]
fn peers_that_are_no_sidecars_are_hung_up_on_with_the_reason() {
    rustls::crypto::ring::default_provider().install_default().ok();
    let story = Story::new("impostors");
    // Its own sidecar never connects, so that nobody takes over from the impostor.
    let mut ca = String::new();
    let pod = changed_copy(&story, "posing", |spec| {
        let trusted = sidecar_env(spec, "PITWALL_CA");
        trusted.as_str().unwrap().clone_into(&mut ca);
        *trusted = json!(another_ca());
    });
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let bound = ["--bound-object-kind", "Pod", "--bound-object-name", "posing", "--bound-object-uid", uid];
    let token = |audience: &str| {
        let arguments = [&["create", "token", "default", "--audience", audience][..], &bound].concat();
        story.kubectl(&arguments).trim().to_owned()
    };
    let good = token("pitwall");
    let hello = |version: u16, name: &str| {
        let pod = json!({ "namespace": story.namespace, "name": name, "uid": uid });
        let hello = json!({
            "type": "hello", "version": version, "sidecarVersion": "0.0.1", "pod": pod, "epoch": 0, "sessions": [],
        });
        Message::text(hello.to_string())
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let flood =
        std::iter::once(hello(1, "posing")).chain((0..200).map(|_| Message::text(r#"{"type":"new"}"#)));
    let huge = "x".repeat(2 << 20);
    for (what, token, messages, told) in [
        ("no token", String::new(), vec![], "token"),
        ("a token for someone else", token("someone-else"), vec![hello(1, "posing")], "Audience"),
        ("another pod", good.clone(), vec![hello(1, "other")], "another pod"),
        ("no JSON", good.clone(), vec![Message::text("{")], ""),
        ("bytes", good.clone(), vec![hello(1, "posing"), Message::binary(vec![0; 9])], "text frames"),
        ("garbage after the hello", good.clone(), vec![hello(1, "posing"), Message::text("[]")], ""),
        ("a flood", good.clone(), flood.collect(), ""),
        ("a huge message", good.clone(), vec![hello(1, "posing"), Message::text(huge)], ""),
        ("an old version", good, vec![hello(0, "posing")], "restart the workload"),
    ] {
        // One for each: kubectl gives a forward up when the other side hangs up on what it still writes.
        let forward = Forward::to_the_channel();
        let (code, reason) = runtime.block_on(says(forward.port, &ca, &token, messages));
        assert!(code >= 1000 || reason.contains("hung up"), "{what}: {code} {reason}");
        assert!(reason.contains(told), "{what}: {code} {reason}");
    }
    // The one that proved itself and is too old is remembered; nobody else is disturbed.
    let target = json!({ "podName": "posing" });
    let object = Request::with_target(&story, "old", target, json!({})).finish(Duration::from_secs(20));
    assert_eq!(reason_of(&object), "UnsupportedBySidecar", "{}", object["status"]);
    let object = Request::cpu(&story, "real", "busy", json!({})).finish(Duration::from_secs(60));
    assert_eq!(reason_of(&object), "AllStored", "{}", object["status"]);
}
