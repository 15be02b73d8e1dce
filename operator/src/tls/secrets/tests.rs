//! What is decided about each Secret, and that replicas agree on what they made.

use super::*;
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use kube::client::Body;
use std::sync::{Arc, Mutex};

fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn days(days: u32) -> Duration {
    Duration::from_hours(24) * days
}

fn written<T>(decision: Decision<T>) -> (Data, T) {
    match decision {
        Decision::Write(data, meaning) => (data, meaning),
        Decision::Keep(_) => panic!("nothing was written"),
    }
}

fn is_kept<T>(decision: &Decision<T>) -> bool {
    matches!(decision, Decision::Keep(_))
}

fn names() -> Vec<String> {
    vec!["pitwall-store.pitwall.svc".to_owned()]
}

#[test]
fn a_ca_is_read_back_as_it_was_written_at_each_step_of_its_life() {
    let (mut data, mut authority) = written(decide_ca(start(), None).unwrap());
    let mut writes = 0;
    for day in (0..9_000).step_by(10) {
        match decide_ca(start() + days(day), Some(&data)).unwrap() {
            Decision::Keep(kept) => assert_eq!(kept, authority, "day {day}"),
            Decision::Write(changed, meaning) => {
                (data, authority) = (changed, meaning);
                writes += 1;
            }
        }
        assert_eq!(data["bundle.crt"], authority.bundle().as_bytes());
    }
    // Announced, promoted, and the same nine years on; then a former one has ended.
    assert_eq!(writes, 4);
}

#[test]
fn a_ca_that_cannot_be_read_is_made_anew() {
    let (good, _) = written(decide_ca(start(), None).unwrap());
    for damage in ["ca.crt", "ca.key"] {
        let mut cut = good.clone();
        cut.remove(damage);
        let mut garbled = good.clone();
        garbled.insert(damage.to_owned(), b"x".to_vec());
        for damaged in [cut, garbled, Data::new()] {
            let (_, made) = written(decide_ca(start(), Some(&damaged)).unwrap());
            assert_ne!(made.current.pem.chain.as_bytes(), good["ca.crt"]);
        }
    }
    // What can be derived is only written again.
    let mut stale = good.clone();
    stale.insert("bundle.crt".to_owned(), b"x".to_vec());
    let (repaired, _) = written(decide_ca(start(), Some(&stale)).unwrap());
    assert_eq!(repaired, good);
}

#[test]
fn the_stores_key_stays_while_its_certificate_is_renewed() {
    let (_, authority) = written(decide_ca(start(), None).unwrap());
    let (data, first) = written(decide_store(start(), &authority.current, &names(), None).unwrap());
    let later = start() + days(1);
    assert!(is_kept(&decide_store(later, &authority.current, &names(), Some(&data)).unwrap()));

    let aged = start() + days(61);
    let (_, renewed) = written(decide_store(aged, &authority.current, &names(), Some(&data)).unwrap());
    assert_eq!(renewed.signing_key, first.signing_key);
    assert_ne!(renewed.leaf, first.leaf);

    for damaged in [None, Some(b"short".to_vec())] {
        let mut data = data.clone();
        data.remove("signing.key");
        data.extend(damaged.map(|bytes| ("signing.key".to_owned(), bytes)));
        let (_, made) = written(decide_store(later, &authority.current, &names(), Some(&data)).unwrap());
        assert_eq!(made.leaf, first.leaf);
        assert_ne!(made.signing_key, first.signing_key);
    }
}

/// Secrets as the API server keeps them: what was changed since it was read is not replaced.
#[derive(Default)]
struct Server {
    secrets: BTreeMap<String, Secret>,
    version: u64,
    conflicts: usize,
}

impl Server {
    fn answer(&mut self, method: &Method, name: Option<&str>, body: &[u8]) -> (u16, serde_json::Value) {
        let refuse = |code: u16, reason: &str| {
            let status = serde_json::json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure",
                "message": reason, "reason": reason, "code": code });
            (code, status)
        };
        let present = name.and_then(|name| self.secrets.get(name));
        match (method, name) {
            (&Method::GET, Some(_)) => match present {
                Some(secret) => (200, serde_json::to_value(secret).unwrap()),
                None => refuse(404, "NotFound"),
            },
            (&Method::POST | &Method::PUT, _) => {
                let mut secret: Secret = serde_json::from_slice(body).unwrap();
                let name = secret.metadata.name.clone().unwrap();
                let present = self.secrets.get(&name);
                let version = present.and_then(|present| present.metadata.resource_version.clone());
                if secret.metadata.resource_version != version {
                    self.conflicts += 1;
                    return refuse(409, if method == Method::POST { "AlreadyExists" } else { "Conflict" });
                }
                self.version += 1;
                secret.metadata.resource_version = Some(self.version.to_string());
                self.secrets.insert(name, secret.clone());
                (201, serde_json::to_value(secret).unwrap())
            }
            _ => refuse(405, "MethodNotAllowed"),
        }
    }
}

fn replica(server: &Arc<Mutex<Server>>) -> Secrets {
    let server = Arc::clone(server);
    let service = tower::service_fn(move |request: Request<Body>| {
        let server = Arc::clone(&server);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            // Others get their turn between reading and writing.
            tokio::task::yield_now().await;
            let name = head.uri.path().strip_prefix("/api/v1/namespaces/pitwall/secrets/");
            let (code, answer) = server.lock().unwrap().answer(&head.method, name, &body);
            let answer = Body::from(serde_json::to_vec(&answer).unwrap());
            Ok::<_, tower::BoxError>(Response::builder().status(code).body(answer).unwrap())
        }
    });
    Secrets::new(Client::new(service, "pitwall"), "pitwall")
}

#[tokio::test(start_paused = true)]
async fn replicas_that_start_at_once_agree_on_one_of_everything() {
    let server = Arc::new(Mutex::new(Server::default()));
    let replicas: Vec<_> = (0..4).map(|_| replica(&server)).collect();
    let results =
        futures_util::future::join_all(replicas.iter().map(|replica| replica.ensure(start()))).await;
    let results: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    assert!(results.iter().all(|result| *result == results[0]));
    assert!(server.lock().unwrap().conflicts > 0, "there was no race");

    // And again when everything is due for renewal.
    server.lock().unwrap().conflicts = 0;
    let later = start() + days(70);
    let renewed = futures_util::future::join_all(replicas.iter().map(|replica| replica.ensure(later))).await;
    let renewed: Vec<_> = renewed.into_iter().map(Result::unwrap).collect();
    assert!(renewed.iter().all(|result| *result == renewed[0]));
    assert_ne!(renewed[0].leaf, results[0].leaf);
    assert_eq!(renewed[0].ca, results[0].ca);
    assert!(server.lock().unwrap().conflicts > 0, "there was no race");
}

#[tokio::test(start_paused = true)]
async fn the_store_waits_for_its_secret_and_follows_it() {
    let server = Arc::new(Mutex::new(Server::default()));
    let (operator, store) = (replica(&server), replica(&server));
    let (made, present) = tokio::join!(
        async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            operator.ensure(start()).await.unwrap()
        },
        store.await_store(),
    );
    assert_eq!(present.signing_key, made.signing_key);

    let (sender, mut renewed) = watch::channel(present.clone());
    let following = tokio::spawn(async move { store.follow_store(sender).await });
    operator.ensure(start() + days(70)).await.unwrap();
    renewed.changed().await.unwrap();
    assert_ne!(renewed.borrow_and_update().leaf, present.leaf);

    // Without its Secret it goes on with what it has.
    server.lock().unwrap().secrets.clear();
    assert!(tokio::time::timeout(Duration::from_mins(5), renewed.changed()).await.is_err());
    following.abort();
}
