//! An API server that knows one `ProfileRequest`, as far as the command asks for it.

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{Method, StatusCode, Uri},
    response::Response,
};
use serde_json::{Value, json};
use std::{process::Stdio, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    process::{Child, Command},
    sync::{mpsc, watch},
    time::timeout,
};

/// For anything that is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// The server, and the folder of a kubeconfig that leads to it.
pub(crate) struct Api {
    folder: TempDir,
    object: watch::Sender<Value>,
    asked: mpsc::UnboundedReceiver<(&'static str, Value)>,
}

struct Shared {
    object: watch::Sender<Value>,
    asked: mpsc::UnboundedSender<(&'static str, Value)>,
}

impl Api {
    /// Listens. What is created gets this status at once.
    pub(crate) async fn start(status: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let (object, _) = watch::channel(json!({ "status": status }));
        let (sender, asked) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared { object: object.clone(), asked: sender });
        let router = Router::new().fallback(answer).with_state(shared);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u", "namespace": "shop" } }],
            "clusters": [{ "name": "c", "cluster": { "server": server } }],
            "users": [{ "name": "u", "user": {} }],
        });
        std::fs::write(folder.path().join("kubeconfig"), kubeconfig.to_string()).unwrap();
        Self { folder, object, asked }
    }

    /// Runs the command line against it.
    pub(crate) fn run(&self, line: &str) -> Child {
        Command::new(env!("CARGO_BIN_EXE_kubectl-pitwall"))
            .args(line.split(' '))
            .arg("--kubeconfig")
            .arg(self.folder.path().join("kubeconfig"))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    /// Waits until it is asked for this, by `create`, `patch` or `watch`, and returns the body.
    pub(crate) async fn asked(&mut self, verb: &str) -> Value {
        loop {
            let asked = timeout(PATIENCE, self.asked.recv()).await;
            let (seen, body) = asked.unwrap_or_else(|_| panic!("nobody asked to {verb}")).unwrap();
            if seen == verb {
                return body;
            }
        }
    }

    /// How often it was asked for this since.
    pub(crate) fn count(&mut self, verb: &str) -> usize {
        std::iter::from_fn(|| self.asked.try_recv().ok()).filter(|(seen, _)| *seen == verb).count()
    }

    /// Gives the object another status.
    pub(crate) fn change(&self, status: Value) {
        self.object.send_modify(|object| object["status"] = status);
    }
}

/// The exit code, stdout and stderr.
pub(crate) async fn end(child: Child) -> (Option<i32>, String, String) {
    let output = timeout(PATIENCE, child.wait_with_output()).await.expect("the command didn't end").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

async fn answer(State(shared): State<Arc<Shared>>, method: Method, uri: Uri, body: Bytes) -> Response {
    const REQUESTS: &str = "/apis/pitwall.dev/v1alpha1/namespaces/shop/profilerequests";
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let watched = uri.query().is_some_and(|query| query.contains("watch=true"));
    let current = shared.object.borrow().clone();
    let (status, told) = match (method, uri.path().strip_prefix(REQUESTS)) {
        (Method::POST, Some("")) => {
            let _ = shared.asked.send(("create", body.clone()));
            let mut made = body;
            made["metadata"]["name"] = json!("x-cpu-abcde");
            made["metadata"]["resourceVersion"] = json!("1");
            made["status"] = current["status"].clone();
            shared.object.send_replace(made.clone());
            (StatusCode::CREATED, made)
        }
        (Method::PATCH, Some("/x-cpu-abcde")) => {
            shared.object.send_modify(|object| object["spec"]["stop"] = body["spec"]["stop"].clone());
            let _ = shared.asked.send(("patch", body));
            (StatusCode::OK, shared.object.borrow().clone())
        }
        (Method::GET, Some("")) if watched => {
            let _ = shared.asked.send(("watch", Value::Null));
            return Response::new(changes(shared.object.subscribe()));
        }
        (Method::GET, Some("")) => {
            let list = json!({ "metadata": { "resourceVersion": "1" }, "items": [current] });
            (StatusCode::OK, list)
        }
        (method, _) => panic!("{method} {uri} is not what the command asks for"),
    };
    let mut response = Response::new(Body::from(told.to_string()));
    *response.status_mut() = status;
    response
}

/// The object as it is, then each change of it.
fn changes(mut object: watch::Receiver<Value>) -> Body {
    object.mark_changed();
    Body::from_stream(futures_util::stream::unfold(object, |mut object| async move {
        object.changed().await.ok()?;
        let event = json!({ "type": "MODIFIED", "object": *object.borrow_and_update() });
        Some((Ok::<_, std::convert::Infallible>(format!("{event}\n")), object))
    }))
}
