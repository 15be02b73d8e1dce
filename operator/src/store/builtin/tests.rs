//! The built-in store as it runs: a server over TLS on a folder, and the operator's client.

use super::{
    client::BuiltinStore,
    disk::Disk,
    routes::{Clock, Patience},
    serve::serve,
    sign::{self, SigningKey},
};
use crate::{
    store::{Folder, Key, Listing, Media, Prefix, StoreErrorKind, UploadId},
    tls::https::{connect, send},
    tls::{
        self, ServingCertificate, StoreSecrets,
        authority::{Authority, CaStep},
    },
};
use bytes::Bytes;
use http::{Response, StatusCode};
use jiff::Timestamp;
use pitwall_protocol::Part;
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::watch,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

const TTL: Duration = Duration::from_mins(10);
/// What a volume must keep free; the tests' needs nothing.
const NO_FLOOR: u64 = 0;

/// A store that runs, and its client.
struct Running {
    store: BuiltinStore,
    base: String,
    ca: String,
    authority: Authority,
    secrets: watch::Sender<StoreSecrets>,
    /// Seconds by which the store's clock is ahead.
    ahead: Arc<AtomicI64>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

#[expect(clippy::disallowed_methods, reason = "the client signs by the clock, so the store must check by it")]
fn now() -> Timestamp {
    Timestamp::now()
}

fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32]).unwrap()
}

async fn start_with(data: &Path, capacity: Option<u64>, idle: Duration) -> Running {
    let authority = Authority::step(None, CaStep::Create, now()).unwrap().unwrap();
    let leaf = authority.current.issue(&["127.0.0.1".to_owned()], now()).unwrap();
    let certificate = ServingCertificate::new(&leaf).unwrap();
    let shutdown = CancellationToken::new();
    let (address, incoming) =
        tls::listen("127.0.0.1:0".parse().unwrap(), certificate.clone(), 64, shutdown.clone()).await.unwrap();
    let (secrets, renewed) = watch::channel(StoreSecrets { leaf, signing_key: key(1) });
    let disk = Disk::open(data, capacity, NO_FLOOR).unwrap();
    let ahead = Arc::new(AtomicI64::new(0));
    let clock: Clock = {
        let ahead = Arc::clone(&ahead);
        Arc::new(move || now() + jiff::SignedDuration::from_secs(ahead.load(Ordering::Relaxed)))
    };
    let patience = Patience { idle, whole: Duration::from_mins(1) };
    let task = tokio::spawn(serve(incoming, certificate, disk, renewed, clock, patience, shutdown.clone()));
    let base = format!("https://{address}");
    let ca = authority.bundle();
    let store = BuiltinStore::connect(&base, key(1), &ca).unwrap();
    Running { store, base, ca, authority, secrets, ahead, shutdown, task }
}

async fn start(data: &TempDir) -> Running {
    start_with(data.path(), None, Duration::from_secs(30)).await
}

impl Running {
    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }

    async fn send(&self, method: &str, url: &str, body: impl Into<Bytes>) -> Response<Bytes> {
        send(method, url, &self.ca, &[], body).await
    }

    async fn begin(&self, key: &Key) -> UploadId {
        self.store.begin(key, &media()).await.unwrap()
    }

    fn part_url(&self, key: &Key, upload: &UploadId, number: u32) -> String {
        self.store.sign_parts(key, upload, number..=number, TTL, now()).remove(0)
    }

    /// A URL that the operator's client never signs.
    fn signed(&self, method: &str, path: &str, query: &[(&str, &str)]) -> String {
        format!("{}{}", self.base, sign::sign(&key(1), method, path, query, TTL, now()))
    }

    async fn put_part(&self, key: &Key, upload: &UploadId, number: u32, bytes: &[u8]) -> Part {
        let url = self.part_url(key, upload, number);
        let answer = self.send("PUT", &url, bytes.to_vec()).await;
        assert_eq!(answer.status(), StatusCode::OK, "{:?}", answer.body());
        let etag = answer.headers()["etag"].to_str().unwrap().to_owned();
        Part { number, etag, bytes: bytes.len() as u64 }
    }

    async fn store_object(&self, key: &Key, bytes: &[u8]) -> u64 {
        let upload = self.begin(key).await;
        let part = self.put_part(key, &upload, 1, bytes).await;
        self.store.complete(key, &upload, &[part], 1 << 20).await.unwrap()
    }

    async fn listing(&self) -> Listing {
        self.store.list(&folder()).await.unwrap()
    }
}

fn folder() -> Folder {
    Prefix::default().folder("shop", "checkout", "slow", "2b9e")
}

fn object() -> Key {
    folder().recording("checkout-5d9-x", 7, "", "cpuprofile")
}

fn media() -> Media {
    Media {
        content_type: "application/json".to_owned(),
        content_encoding: Some("gzip".to_owned()),
        file_name: object().file_name().to_owned(),
    }
}

fn reason(answer: &Response<Bytes>) -> (u16, String) {
    let problem: serde_json::Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    (answer.status().as_u16(), problem["reason"].as_str().unwrap_or_default().to_owned())
}

fn refusal(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

async fn read(store: &BuiltinStore, key: &Key) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.open(key).await.unwrap().read_to_end(&mut bytes).await.unwrap();
    bytes
}

/// Every file below a folder, without its path.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[tokio::test]
async fn parts_become_an_object_that_is_read_back_and_deleted() {
    let data = TempDir::new().unwrap();
    let running = start(&data).await;
    let store = &running.store;
    let upload = running.begin(&object()).await;
    assert_eq!(running.listing().await, Listing { objects: vec![], uploads: vec![object().to_string()] });

    // Out of order, and one part twice: what was uploaded last counts.
    let second = running.put_part(&object(), &upload, 2, b"world").await;
    running.put_part(&object(), &upload, 1, b"wrong").await;
    let first = running.put_part(&object(), &upload, 1, b"hello ").await;
    let parts = [first, second];
    assert_eq!(store.complete(&object(), &upload, &parts, 11).await, Ok(11));
    assert_eq!(running.listing().await, Listing { objects: vec![object().to_string()], uploads: vec![] });
    assert_eq!(read(store, &object()).await, b"hello world");

    // The answer may have been lost: the same again is fine, another upload's name is not.
    assert_eq!(store.complete(&object(), &upload, &parts, 11).await, Ok(11));
    let other = UploadId::parse(&"0".repeat(32)).unwrap();
    let missing = store.complete(&object(), &other, &parts, 11).await.unwrap_err();
    assert_eq!(missing.kind, StoreErrorKind::NotFound);

    store.delete_folder(&folder()).await.unwrap();
    store.delete_folder(&folder()).await.unwrap();
    assert_eq!(running.listing().await, Listing::default());
    assert_eq!(store.open(&object()).await.err().unwrap().kind, StoreErrorKind::NotFound);
    assert_eq!(files(data.path()), Vec::<PathBuf>::new());
    running.stop().await;
}

#[tokio::test]
async fn a_download_is_what_a_browser_saves_and_devtools_opens() {
    let data = TempDir::new().unwrap();
    let running = start(&data).await;
    running.store_object(&object(), b"0123456789").await;
    let url = running.store.sign_get(&object(), TTL, now()).url;
    let answer = running.send("GET", &url, "").await;
    assert_eq!(answer.body(), "0123456789");
    for (name, value) in [
        ("content-length", "10"),
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
        ("content-disposition", "attachment; filename=\"checkout-5d9-x-7.cpuprofile\""),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(answer.headers()[name], value, "{name}");
    }
    let head = running.send("HEAD", &url, "").await;
    assert_eq!((head.status(), head.body().len()), (StatusCode::OK, 0));
    assert_eq!(head.headers()["content-length"], "10");

    for (range, status, body, content_range) in [
        ("bytes=2-4", 206, "234", Some("bytes 2-4/10")),
        ("bytes=7-", 206, "789", Some("bytes 7-9/10")),
        ("bytes=-2", 206, "89", Some("bytes 8-9/10")),
        ("bytes=0-99", 206, "0123456789", Some("bytes 0-9/10")),
        ("nonsense", 200, "0123456789", None),
    ] {
        let answer = send("GET", &url, &running.ca, &[("range", range)], "").await;
        assert_eq!((answer.status().as_u16(), answer.body().as_ref()), (status, body.as_bytes()), "{range}");
        assert_eq!(answer.headers().get("content-range").map(|value| value.to_str().unwrap()), content_range);
    }
    let answer = send("GET", &url, &running.ca, &[("range", "bytes=10-")], "").await;
    assert_eq!(reason(&answer), refusal(416, "range"));
    running.stop().await;
}

#[tokio::test]
async fn a_url_is_good_for_its_own_use_and_time_only() {
    let data = TempDir::new().unwrap();
    let running = start(&data).await;
    running.store_object(&object(), b"secret").await;
    let upload = running.begin(&object()).await;
    let get = running.store.sign_get(&object(), TTL, now()).url;
    let put = running.part_url(&object(), &upload, 1);
    let refused = refusal(403, "refused");
    for (method, url) in [
        ("GET", get.replace("-7.cpuprofile", "-8.cpuprofile")),
        ("GET", get.split('?').next().unwrap().to_owned()),
        ("GET", put.clone()),
        ("PUT", get.clone()),
        ("DELETE", put.clone()),
        ("POST", put.replace("op=part", "op=complete")),
        ("PUT", put.replace("number=1", "number=2")),
        ("PUT", put.replace("max=8388608", "max=99999999999")),
        ("GET", format!("{}/folders/{}", running.base, folder())),
        ("POST", format!("{}/sweep?older=0", running.base)),
    ] {
        assert_eq!(reason(&running.send(method, &url, "x").await), refused, "{method} {url}");
    }
    assert_eq!(running.send("GET", &get, "").await.status(), StatusCode::OK);
    running.ahead.store(700, Ordering::Relaxed);
    assert_eq!(reason(&running.send("GET", &get, "").await), refused);
    assert_eq!(reason(&running.send("PUT", &put, "x").await), refused);
    running.stop().await;
}

#[tokio::test]
async fn no_path_leaves_the_data_folder() {
    let data = TempDir::new().unwrap();
    std::fs::write(data.path().join("outside"), "x").unwrap();
    let running = start(&data).await;
    running.store_object(&object(), b"x").await;
    // Signed as if the operator had made them.
    for path in [
        "/objects/../outside",
        "/objects/a/../../../outside",
        "/objects/a/%2e%2e/%2e%2e/outside",
        "/objects/..%2foutside",
        "/objects//etc/passwd",
        "/objects/shop/checkout/slow-2b9e/.checkout-5d9-x-7.cpuprofile.meta",
        "/objects/uploads",
        "/objects/shop/checkout/slow-2b9e/",
    ] {
        let answer = running.send("GET", &running.signed("GET", path, &[]), "").await;
        assert_eq!(reason(&answer), refusal(400, "badRequest"), "{path}");
    }
    for upload in ["..", "../objects", "", "0123", &"g".repeat(32)] {
        let query = [("op", "part"), ("upload", upload), ("number", "1"), ("max", "9")];
        let url = running.signed("PUT", &format!("/objects/{}", object()), &query);
        assert_eq!(reason(&running.send("PUT", &url, "x").await), refusal(400, "badRequest"), "{upload}");
    }
    // A folder is no object.
    let url = running.signed("GET", "/objects/shop/checkout", &[]);
    assert_eq!(reason(&running.send("GET", &url, "").await), refusal(404, "notFound"));
    running.stop().await;
}

#[tokio::test]
async fn a_part_longer_than_its_url_allows_is_cut_off_and_leaves_nothing() {
    let data = TempDir::new().unwrap();
    let running = start(&data).await;
    let upload = running.begin(&object()).await;
    let query = [("op", "part"), ("upload", upload.as_str()), ("number", "1"), ("max", "1000")];
    let path = format!("/objects/{}", object());
    let url = running.signed("PUT", &path, &query);
    assert_eq!(reason(&running.send("PUT", &url, vec![0; 1001]).await), refusal(413, "tooLarge"));

    // Without a length, the store finds out while it receives.
    let authority = running.base.strip_prefix("https://").unwrap();
    let mut stream = connect(authority, &running.ca).await.unwrap();
    let target = url.strip_prefix(&running.base).unwrap();
    let chunk = format!("{:x}\r\n{}\r\n", 600, "a".repeat(600));
    let request = format!(
        "PUT {target} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");

    assert_eq!(files(&data.path().join("temp")), Vec::<PathBuf>::new());
    assert_eq!(running.send("PUT", &url, vec![0; 1000]).await.status(), StatusCode::OK);
    running.stop().await;
}

#[tokio::test]
async fn a_full_store_says_so_and_takes_more_when_something_was_deleted() {
    let data = TempDir::new().unwrap();
    let running = start_with(data.path(), Some(1000), Duration::from_secs(30)).await;
    let other =
        Prefix::default().folder("shop", "checkout", "other", "1").recording("pod", 1, "", "cpuprofile");
    running.store_object(&object(), &[1; 400]).await;

    let upload = running.begin(&other).await;
    let url = running.part_url(&other, &upload, 1);
    let answer = running.send("PUT", &url, vec![2; 601]).await;
    assert_eq!(reason(&answer), refusal(507, "full"));
    assert!(String::from_utf8_lossy(answer.body()).contains("capacity of 1000"), "{:?}", answer.body());

    // It fits as a part, but not twice, which joining takes for a moment.
    let part = running.put_part(&other, &upload, 1, &[2; 400]).await;
    let full = running.store.complete(&other, &upload, std::slice::from_ref(&part), 1000).await.unwrap_err();
    assert_eq!(full.kind, StoreErrorKind::Full);
    assert!(full.to_string().contains("make space"), "{full}");

    running.store.delete_folder(&folder()).await.unwrap();
    assert_eq!(running.store.complete(&other, &upload, &[part], 1000).await, Ok(400));
    running.stop().await;

    // Counted anew at start.
    let running = start_with(data.path(), Some(1000), Duration::from_secs(30)).await;
    let upload = running.begin(&object()).await;
    let url = running.part_url(&object(), &upload, 1);
    assert_eq!(reason(&running.send("PUT", &url, vec![2; 601]).await), refusal(507, "full"));
    assert_eq!(running.send("PUT", &url, vec![2; 600]).await.status(), StatusCode::OK);
    running.stop().await;
}

type Lie = fn(&mut Vec<Part>);

#[tokio::test]
async fn what_is_claimed_wrongly_becomes_no_object() {
    let data = TempDir::new().unwrap();
    let running = start(&data).await;
    let lies: [(&str, Lie, u64, StoreErrorKind); 6] = [
        ("no parts", Vec::clear, 99, StoreErrorKind::Mismatch),
        ("a part that isn't there", |parts| parts[1].number = 3, 99, StoreErrorKind::Mismatch),
        ("another length", |parts| parts[0].bytes += 1, 99, StoreErrorKind::Mismatch),
        ("another ETag", |parts| parts[0].etag = parts[1].etag.clone(), 99, StoreErrorKind::Mismatch),
        ("a path for an ETag", |parts| parts[0].etag = "../../x".to_owned(), 99, StoreErrorKind::Mismatch),
        ("more than is allowed", |_| {}, 9, StoreErrorKind::TooLarge),
    ];
    for (lie, tell, max, kind) in lies {
        let upload = running.begin(&object()).await;
        let mut parts = vec![
            running.put_part(&object(), &upload, 1, b"first").await,
            running.put_part(&object(), &upload, 2, b"second").await,
        ];
        tell(&mut parts);
        let error = running.store.complete(&object(), &upload, &parts, max).await.unwrap_err();
        assert_eq!(error.kind, kind, "{lie}: {error}");
        assert_eq!(running.listing().await, Listing::default(), "{lie}");
    }
    running.stop().await;
}

#[tokio::test]
async fn unfinished_uploads_go_by_name_by_folder_and_by_age() {
    let data = TempDir::new().unwrap();
    let running = start(&data).await;
    let store = &running.store;
    let elsewhere = Prefix::default().folder("shop", "checkout", "slow", "2b9e0");
    let other = elsewhere.manifest();

    let upload = running.begin(&object()).await;
    running.put_part(&object(), &upload, 1, b"x").await;
    store.abort(&object(), &upload).await.unwrap();
    store.abort(&object(), &upload).await.unwrap();
    assert_eq!(running.listing().await, Listing::default());
    let url = running.part_url(&object(), &upload, 2);
    assert_eq!(reason(&running.send("PUT", &url, "x").await), refusal(404, "notFound"));

    running.begin(&object()).await;
    running.begin(&folder().manifest()).await;
    running.begin(&other).await;
    assert_eq!(store.abort_folder(&folder()).await, Ok(2));
    assert_eq!(store.abort_folder(&folder()).await, Ok(0));
    assert_eq!(store.list(&elsewhere).await.unwrap().uploads, [other.to_string()]);

    assert_eq!(store.sweep(Duration::from_secs(100)).await, Ok(0));
    running.ahead.store(150, Ordering::Relaxed);
    assert_eq!(store.sweep(Duration::from_secs(100)).await, Ok(1));
    assert_eq!(files(&data.path().join("uploads")), Vec::<PathBuf>::new());
    running.stop().await;
}

#[tokio::test]
async fn an_upload_outlives_a_restart_and_what_a_crash_left_does_not() {
    let data = TempDir::new().unwrap();
    let running = start(&data).await;
    let upload = running.begin(&object()).await;
    let first = running.put_part(&object(), &upload, 1, b"before ").await;
    running.stop().await;

    // As a crash leaves them: a half-written part, a half-removed folder, an upload without its description.
    std::fs::write(data.path().join("temp/.tmpABC"), "half").unwrap();
    std::fs::create_dir_all(data.path().join("temp/.tmpDEF/folder")).unwrap();
    std::fs::write(data.path().join("temp/.tmpDEF/folder/x"), "half").unwrap();
    std::fs::create_dir(data.path().join("uploads").join("0".repeat(32))).unwrap();

    let running = start(&data).await;
    assert_eq!(std::fs::read_dir(data.path().join("temp")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(data.path().join("uploads")).unwrap().count(), 1);
    let second = running.put_part(&object(), &upload, 2, b"after").await;
    assert_eq!(running.store.complete(&object(), &upload, &[first, second], 99).await, Ok(12));
    assert_eq!(read(&running.store, &object()).await, b"before after");
    running.stop().await;
}

#[tokio::test]
async fn one_part_uploaded_many_times_at_once_is_one_whole_part() {
    let data = TempDir::new().unwrap();
    let running = start(&data).await;
    let upload = running.begin(&object()).await;
    let bodies: Vec<Vec<u8>> = (0..8).map(|byte| vec![byte; 300_000]).collect();
    let key = object();
    let parts =
        futures_util::future::join_all(bodies.iter().map(|body| running.put_part(&key, &upload, 1, body)))
            .await;
    let kept: Vec<_> = files(&data.path().join("uploads"))
        .into_iter()
        .filter(|path| path.file_name().unwrap() != "upload.json")
        .collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    let winner = parts
        .iter()
        .position(|part| kept[0].extension().unwrap().to_str().unwrap() == part.etag.trim_matches('"'));
    let winner = winner.expect("the part that stayed is one of those that were sent");
    let completed = running.store.complete(&object(), &upload, &parts[winner..=winner], 1 << 20).await;
    assert_eq!(completed, Ok(300_000));
    assert_eq!(read(&running.store, &object()).await, bodies[winner]);
    running.stop().await;
}

#[tokio::test]
async fn an_upload_completed_twice_at_once_is_one_object() {
    let data = TempDir::new().unwrap();
    let running = start_with(data.path(), Some(1 << 20), Duration::from_secs(30)).await;
    let upload = running.begin(&object()).await;
    let part = [running.put_part(&object(), &upload, 1, &vec![3; 200_000]).await];
    let key = object();
    let twice = (0..4).map(|_| running.store.complete(&key, &upload, &part, 1 << 20));
    for completed in futures_util::future::join_all(twice).await {
        assert_eq!(completed, Ok(200_000));
    }
    // What joining took for a moment was given back once, not four times.
    let other = folder().manifest();
    let upload = running.begin(&other).await;
    let rest = (1 << 20) - 200_000;
    let url = running.part_url(&other, &upload, 1);
    assert_eq!(reason(&running.send("PUT", &url, vec![0; rest + 1]).await), refusal(507, "full"));
    assert_eq!(running.send("PUT", &url, vec![0; rest]).await.status(), StatusCode::OK);
    running.stop().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let data = TempDir::new().unwrap();
    let running = start_with(data.path(), None, Duration::from_millis(50)).await;
    let upload = running.begin(&object()).await;
    let url = running.part_url(&object(), &upload, 1);
    let target = url.strip_prefix(&running.base).unwrap();
    let mut stream = connect(running.base.strip_prefix("https://").unwrap(), &running.ca).await.unwrap();
    let head = format!("PUT {target} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 408");
    assert_eq!(files(&data.path().join("temp")), Vec::<PathBuf>::new());
    running.stop().await;
}

#[tokio::test]
async fn a_small_object_is_written_in_one_piece_and_only_as_it_was_signed() {
    let data = TempDir::new().unwrap();
    let running = start(&data).await;
    let (key, store) = (folder().manifest(), &running.store);
    store.put_small(&key, Bytes::from_static(b"{}"), &media()).await.unwrap();
    store.put_small(&key, Bytes::from_static(b"{\"a\":1}"), &media()).await.unwrap();
    assert_eq!(read(store, &key).await, b"{\"a\":1}");
    let media = serde_json::to_string(&media()).unwrap();
    let query = [("op", "put"), ("media", media.as_str()), ("sha256", "00")];
    let url = running.signed("PUT", &format!("/objects/{key}"), &query);
    assert_eq!(reason(&running.send("PUT", &url, "{}").await), refusal(403, "refused"));
    assert_eq!(read(store, &key).await, b"{\"a\":1}");
    running.stop().await;
}

#[tokio::test]
async fn a_renewed_key_and_certificate_are_taken_while_running() {
    let data = TempDir::new().unwrap();
    let running = start(&data).await;
    running.store_object(&object(), b"kept").await;
    let former = running.store.sign_get(&object(), TTL, now()).url;

    // Another CA as well: the client must be told, or it refuses.
    let next = Authority::step(Some(running.authority.clone()), CaStep::Announce, now()).unwrap();
    let next = Authority::step(next, CaStep::Promote, now()).unwrap().unwrap();
    let leaf = next.current.issue(&["127.0.0.1".to_owned()], now()).unwrap();
    running.secrets.send(StoreSecrets { leaf, signing_key: key(2) }).unwrap();
    running.store.renew(key(2), &next.current.pem.chain).unwrap();
    // The store takes it in a task of its own.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while running.store.list(&folder()).await.is_err() && tokio::time::Instant::now() < deadline {}
    assert_eq!(read(&running.store, &object()).await, b"kept");
    let answer = send("GET", &former, &next.bundle(), &[], "").await;
    assert_eq!(reason(&answer), refusal(403, "refused"));
    running.stop().await;
}

#[tokio::test]
async fn a_store_that_is_away_is_unreachable_and_its_certificate_must_be_ours() {
    let data = TempDir::new().unwrap();
    let running = start(&data).await;
    let other = Authority::step(None, CaStep::Create, now()).unwrap().unwrap();
    let distrustful = BuiltinStore::connect(&running.base, key(1), &other.bundle()).unwrap();
    let error = distrustful.list(&folder()).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unreachable);
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    let stranger = BuiltinStore::connect(&running.base, key(9), &running.ca).unwrap();
    assert_eq!(stranger.list(&folder()).await.unwrap_err().kind, StoreErrorKind::Refused);

    let (base, ca) = (running.base.clone(), running.ca.clone());
    running.stop().await;
    let error = BuiltinStore::connect(&base, key(1), &ca).unwrap().list(&folder()).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unreachable);
    assert!(
        error.to_string().starts_with("listing shop/checkout/slow-2b9e at the built-in store (127.0.0.1:"),
        "{error}"
    );
}
