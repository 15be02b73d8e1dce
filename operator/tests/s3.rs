//! The S3 store against a real server: `SeaweedFS` over TLS with a private CA, which `tests/seaweedfs` installs.
//!
//! The AWS SDK takes its credentials from the environment, which a test can't change for itself. So the one test that
//! isn't ignored starts the server, then runs this program again for each set of credentials, with the ignored tests
//! that want it. They find the server by the variables in [`settings`].

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use pitwall_operator::{
    store::{
        Folder, Key, Kind, Listing, Media, PART_SIZE, Prefix, S3, Settings, SigningKey, Store, StoreError,
        StoreErrorKind, UploadId,
    },
    tls::{
        self, ServingCertificate,
        authority::{Authority, CaStep},
    },
};
use pitwall_protocol::Part;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

mod https;

const BUCKET: &str = "artifacts";
const SECRET: &str = "5ec2e7";
const TTL: Duration = Duration::from_mins(10);
const MAX: u64 = 1 << 30;

#[expect(clippy::disallowed_methods, reason = "the server checks signatures by the clock")]
fn now() -> Timestamp {
    Timestamp::now()
}

// ── The server ─────────────────────────────────────────────────────────────────────────────────────────────────────

/// A server that runs until it is dropped.
struct Server {
    process: Child,
    endpoint: String,
    folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Ports that are free now. Each server takes another one ten thousand above, for gRPC.
fn free_ports(count: usize) -> Vec<u16> {
    let mut held = Vec::new();
    while held.len() < count {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let above = port.checked_add(10_000).map(|port| std::net::TcpListener::bind(("127.0.0.1", port)));
        if let Some(Ok(above)) = above {
            held.push((port, listener, above));
        }
    }
    held.into_iter().map(|(port, ..)| port).collect()
}

impl Server {
    async fn start(authority: &Authority) -> Self {
        let weed =
            Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seaweedfs")).output().unwrap();
        assert!(weed.status.success(), "{}", String::from_utf8_lossy(&weed.stderr));
        let weed = PathBuf::from(String::from_utf8(weed.stdout).unwrap().trim());
        let folder = TempDir::new().unwrap();
        let place = |name: &str| folder.path().join(name).display().to_string();
        let leaf = authority.current.issue(&["127.0.0.1".to_owned()], now()).unwrap();
        let identity = |name: &str, actions: serde_json::Value| {
            let credentials = serde_json::json!([{ "accessKey": name, "secretKey": SECRET }]);
            serde_json::json!({ "name": name, "credentials": credentials, "actions": actions })
        };
        let rights = serde_json::json!([
            format!("Read:{BUCKET}"),
            format!("Write:{BUCKET}"),
            format!("List:{BUCKET}"),
            format!("Tagging:{BUCKET}")
        ]);
        let identities = serde_json::json!({ "identities": [
            identity("admin", serde_json::json!(["Admin", "Read", "Write", "List", "Tagging"])),
            identity("pitwall", rights),
            identity("reader", serde_json::json!([format!("Read:{BUCKET}")])),
        ] });
        fs::create_dir(folder.path().join("data")).unwrap();
        for (name, text) in [
            ("s3.json", identities.to_string()),
            ("s3.crt", leaf.chain),
            ("s3.key", leaf.key),
            ("ca.crt", authority.bundle()),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let ports = free_ports(4);
        let mut command = Command::new("setpriv");
        command
            // Whatever becomes of the tests, the server ends with them.
            .args(["--pdeathsig", "KILL"])
            .arg(weed)
            .args(["-logtostderr=true", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"])
            .args([
                "-master.volumeSizeLimitMB=64",
                "-volume.max=20",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
            ])
            .arg("-s3.autoCreateBucket=false")
            .arg(format!("-dir={}", place("data")))
            .arg(format!("-master.port={}", ports[0]))
            .arg(format!("-volume.port={}", ports[1]))
            .arg(format!("-filer.port={}", ports[2]))
            .arg(format!("-s3.port={}", ports[3]))
            .arg(format!("-filer.localSocket={}", place("filer.sock")))
            .arg(format!("-s3.localSocket={}", place("s3.sock")))
            .arg(format!("-s3.config={}", place("s3.json")))
            .arg(format!("-s3.cert.file={}", place("s3.crt")))
            .arg(format!("-s3.key.file={}", place("s3.key")))
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log")).unwrap());
        let process = command.spawn().unwrap();
        let server = Self { process, endpoint: format!("https://127.0.0.1:{}", ports[3]), folder };
        server.make_bucket().await;
        server
    }

    /// Waits until the server takes it.
    async fn make_bucket(&self) {
        for _ in 0..240 {
            let made = Command::new("curl")
                .args([
                    "-s",
                    "-o",
                    "/dev/null",
                    "-w",
                    "%{http_code}",
                    "-X",
                    "PUT",
                    "--max-time",
                    "5",
                    "--cacert",
                ])
                .arg(self.folder.path().join("ca.crt"))
                .args(["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", &format!("admin:{SECRET}")])
                .arg(format!("{}/{BUCKET}", self.endpoint))
                .output()
                .unwrap();
            if made.stdout == b"200" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        panic!("SeaweedFS isn't there: {}", fs::read_to_string(self.folder.path().join("log")).unwrap());
    }

    /// Runs this program's ignored tests whose names begin so, in this environment.
    async fn run(&self, tests: &str, environment: &[(&str, &str)]) {
        let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
        command
            .args(["--ignored", tests])
            .env("PITWALL_TEST_ENDPOINT", &self.endpoint)
            .env("PITWALL_TEST_CA", self.folder.path().join("ca.crt"))
            // Nothing of the machine's own: no configuration, no instance that might have a role.
            .env("HOME", self.folder.path())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .envs(environment.iter().copied());
        for variable in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"] {
            if !environment.iter().any(|(name, _)| *name == variable) {
                command.env_remove(variable);
            }
        }
        let output = command.output().await.unwrap();
        let (text, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        println!("{text}{errors}");
        assert!(output.status.success(), "with {tests}");
        assert!(!text.contains(" 0 passed"), "no test is named {tests}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_does_what_it_says_against_a_real_s3() {
    let authority = Authority::step(None, CaStep::Create, now()).unwrap().unwrap();
    let server = Server::start(&authority).await;
    let keys = |name| [("AWS_ACCESS_KEY_ID", name), ("AWS_SECRET_ACCESS_KEY", SECRET)];
    server.run("with_rights", &keys("pitwall")).await;
    server.run("without_rights", &keys("reader")).await;
    server
        .run("with_a_wrong_secret", &[("AWS_ACCESS_KEY_ID", "pitwall"), ("AWS_SECRET_ACCESS_KEY", "x")])
        .await;
    server.run("without_credentials", &[]).await;

    let sts = token_service(&authority).await;
    let token = server.folder.path().join("token");
    fs::write(&token, "a service account's token").unwrap();
    let identity = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/pitwall"),
        ("AWS_ENDPOINT_URL_STS", sts.as_str()),
    ];
    server.run("with_a_web_identity", &identity).await;
}

/// An STS under the same private CA, which gives the keys of an identity for a token.
async fn token_service(authority: &Authority) -> String {
    let leaf = authority.current.issue(&["127.0.0.1".to_owned()], now()).unwrap();
    let certificate = ServingCertificate::new(&leaf).unwrap();
    let shutdown = tokio_util::sync::CancellationToken::new();
    let (address, incoming) =
        tls::listen("127.0.0.1:0".parse().unwrap(), certificate, 8, shutdown.clone()).await.unwrap();
    let answer = async |form: String| {
        assert!(form.contains("Action=AssumeRoleWithWebIdentity"), "{form}");
        assert!(form.contains("WebIdentityToken=a%20service%20account%27s%20token"), "{form}");
        let expires = now() + Duration::from_hours(1);
        format!(
            "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
             <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>from-sts</AccessKeyId>\
             <SecretAccessKey>{SECRET}</SecretAccessKey><SessionToken>session</SessionToken>\
             <Expiration>{expires:.0}</Expiration></Credentials></AssumeRoleWithWebIdentityResult>\
             </AssumeRoleWithWebIdentityResponse>"
        )
    };
    let router = axum::Router::new().route("/", axum::routing::post(answer));
    tokio::spawn(tls::serve_router(incoming, router, shutdown));
    format!("https://{address}")
}

// ── What the tests below share ─────────────────────────────────────────────────────────────────────────────────────

/// What the operator's settings would say.
fn settings(bucket: &str) -> S3 {
    S3 {
        bucket: bucket.to_owned(),
        prefix: String::new(),
        endpoint: Some(std::env::var("PITWALL_TEST_ENDPOINT").unwrap()),
        region: "us-east-1".to_owned(),
        path_style: true,
        ca_file: Some(PathBuf::from(std::env::var_os("PITWALL_TEST_CA").unwrap())),
        kms_key_id: None,
    }
}

async fn connect(s3: S3) -> Store {
    let settings = Settings { kind: Kind::S3, builtin_url: String::new(), s3 };
    Store::connect(&settings, &SigningKey::from_bytes(&[0; 32]).unwrap(), "").await.unwrap()
}

/// The store, and the server's CA.
async fn at(bucket: &str) -> (Store, String) {
    let store = connect(settings(bucket)).await;
    let ca = store.ca().unwrap();
    (store, ca)
}

/// Each test has a folder of its own.
fn folder(test: &str) -> Folder {
    Prefix::parse("pitwall").unwrap().folder("shop", "checkout", test, "2b9e")
}

fn media(key: &Key) -> Media {
    Media {
        content_type: "application/json".to_owned(),
        content_encoding: Some("gzip".to_owned()),
        file_name: key.file_name().to_owned(),
    }
}

async fn begin(store: &Store, key: &Key) -> UploadId {
    store.begin(key, &media(key)).await.unwrap()
}

async fn put_part(
    store: &Store,
    ca: &str,
    key: &Key,
    upload: &UploadId,
    number: u32,
    bytes: Vec<u8>,
) -> Part {
    let urls = store.sign_parts(key, upload, number, 1, TTL, now()).await.unwrap();
    let length = bytes.len() as u64;
    let answer = https::send("PUT", &urls[0], ca, &[], bytes).await;
    assert_eq!(answer.status(), StatusCode::OK, "{:?}", answer.body());
    Part { number, etag: answer.headers()["etag"].to_str().unwrap().to_owned(), bytes: length }
}

async fn read(store: &Store, key: &Key) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.open(key).await.unwrap().read_to_end(&mut bytes).await.unwrap();
    bytes
}

fn kind<T>(result: Result<T, StoreError>) -> (Option<StoreErrorKind>, String) {
    match result {
        Ok(_) => (None, String::new()),
        Err(error) => (Some(error.kind), error.to_string()),
    }
}

// ── With the credentials of an identity that may read, write and list its bucket, and nothing else ─────────────────

mod with_rights {
    use super::*;

    #[tokio::test]
    #[ignore = "run by the_store_does_what_it_says_against_a_real_s3"]
    async fn parts_become_an_object_that_is_read_back_and_deleted() {
        let (store, ca) = at(BUCKET).await;
        let folder = folder("parts");
        let key = folder.recording("checkout-5d9-x", 7, "", "cpuprofile");
        let upload = begin(&store, &key).await;
        let listing = Listing { objects: vec![], uploads: vec![key.to_string()] };
        assert_eq!(store.list(&folder).await.unwrap(), listing);

        let large = vec![7; usize::try_from(PART_SIZE).unwrap()];
        let parts = [
            put_part(&store, &ca, &key, &upload, 1, large.clone()).await,
            put_part(&store, &ca, &key, &upload, 2, b"the end".to_vec()).await,
        ];
        let total = PART_SIZE + 7;
        assert_eq!(store.complete(&key, &upload, &parts, MAX).await, Ok(total));
        // The answer may have been lost: the same again is fine.
        assert_eq!(store.complete(&key, &upload, &parts, MAX).await, Ok(total));
        let listing = Listing { objects: vec![key.to_string()], uploads: vec![] };
        assert_eq!(store.list(&folder).await.unwrap(), listing);
        assert_eq!(read(&store, &key).await, [large, b"the end".to_vec()].concat());

        store.delete_folder(&folder).await.unwrap();
        store.delete_folder(&folder).await.unwrap();
        assert_eq!(store.list(&folder).await.unwrap(), Listing::default());
        let gone = kind(store.open(&key).await.map(drop));
        assert_eq!(gone.0, Some(StoreErrorKind::NotFound), "{}", gone.1);
        let gone = kind(store.complete(&key, &upload, &parts, MAX).await);
        assert_eq!(gone.0, Some(StoreErrorKind::NotFound), "{}", gone.1);
    }

    #[tokio::test]
    #[ignore = "run by the_store_does_what_it_says_against_a_real_s3"]
    async fn a_download_is_what_a_browser_saves_and_devtools_opens() {
        let (store, ca) = at(BUCKET).await;
        let key = folder("download").recording("checkout-5d9-x", 7, "", "cpuprofile");
        let upload = begin(&store, &key).await;
        let part = put_part(&store, &ca, &key, &upload, 1, b"0123456789".to_vec()).await;
        store.complete(&key, &upload, &[part], MAX).await.unwrap();
        let download = store.sign_get(&key, TTL, now()).await.unwrap();
        assert_eq!((download.service, download.ca.as_deref()), (None, Some(ca.as_str())));
        let answer = https::send("GET", &download.url, &ca, &[], "").await;
        assert_eq!(answer.body(), "0123456789");
        for (name, value) in [
            ("content-type", "application/json"),
            ("content-encoding", "gzip"),
            ("content-disposition", "attachment; filename=\"checkout-5d9-x-7.cpuprofile\""),
        ] {
            assert_eq!(answer.headers()[name], value, "{name}");
        }
        let answer = https::send("GET", &download.url, &ca, &[("range", "bytes=2-4")], "").await;
        assert_eq!(
            (answer.status(), answer.body().as_ref()),
            (StatusCode::PARTIAL_CONTENT, b"234".as_slice())
        );
    }

    #[tokio::test]
    #[ignore = "run by the_store_does_what_it_says_against_a_real_s3"]
    async fn a_url_is_good_for_its_own_use_and_time_only() {
        let (store, ca) = at(BUCKET).await;
        let key = folder("urls").manifest();
        store.put_small(&key, Bytes::from_static(b"{}"), &media(&key)).await.unwrap();
        let upload = begin(&store, &key).await;
        let put = store.sign_parts(&key, &upload, 1, 1, TTL, now()).await.unwrap().remove(0);
        let get = store.sign_get(&key, TTL, now()).await.unwrap().url;
        let an_hour_ago = now() - Duration::from_hours(1);
        let expired = store.sign_get(&key, TTL, an_hour_ago).await.unwrap().url;
        for (method, url) in [
            ("GET", expired),
            ("GET", get.replace("manifest", "other")),
            ("DELETE", get.clone()),
            ("PUT", get.clone()),
            ("PUT", put.replace("partNumber=1", "partNumber=2")),
        ] {
            let answer = https::send(method, &url, &ca, &[], "x").await;
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{method} {url}");
        }
        assert_eq!(https::send("GET", &get, &ca, &[], "").await.body(), "{}");
        store.abort(&key, &upload).await.unwrap();
    }

    #[tokio::test]
    #[ignore = "run by the_store_does_what_it_says_against_a_real_s3"]
    async fn what_is_claimed_wrongly_becomes_no_object() {
        type Lie = fn(&mut Part);
        let lies: [(&str, Lie, u64, StoreErrorKind); 4] = [
            ("another length", |part| part.bytes += 1, MAX, StoreErrorKind::Mismatch),
            ("another ETag", |part| part.etag = "\"00\"".to_owned(), MAX, StoreErrorKind::Mismatch),
            ("another number", |part| part.number = 2, MAX, StoreErrorKind::Mismatch),
            ("more than is allowed", |_| {}, 3, StoreErrorKind::TooLarge),
        ];
        let (store, ca) = at(BUCKET).await;
        let folder = folder("lies");
        let key = folder.recording("pod", 1, "", "cpuprofile");
        for (lie, tell, max, expected) in lies {
            let upload = begin(&store, &key).await;
            let mut part = put_part(&store, &ca, &key, &upload, 1, b"four".to_vec()).await;
            tell(&mut part);
            let refused = kind(store.complete(&key, &upload, &[part], max).await);
            assert_eq!(refused.0, Some(expected), "{lie}: {}", refused.1);
            assert_eq!(store.list(&folder).await.unwrap(), Listing::default(), "{lie}");
        }
        let upload = begin(&store, &key).await;
        assert_eq!(kind(store.complete(&key, &upload, &[], MAX).await).0, Some(StoreErrorKind::Mismatch));
    }

    #[tokio::test]
    #[ignore = "run by the_store_does_what_it_says_against_a_real_s3"]
    async fn unfinished_uploads_go_by_name_by_folder_and_by_age() {
        let (store, ca) = at(BUCKET).await;
        // A prefix of its own: the sweep takes every old upload under it.
        let prefix = Prefix::parse("swept").unwrap();
        let (mine, other) = (
            prefix.folder("shop", "checkout", "slow", "2b9e"),
            prefix.folder("shop", "checkout", "slow", "2b9e0"),
        );
        let key = mine.recording("pod", 1, "", "cpuprofile");
        let upload = begin(&store, &key).await;
        let part = put_part(&store, &ca, &key, &upload, 1, b"x".to_vec()).await;
        store.abort(&key, &upload).await.unwrap();
        store.abort(&key, &upload).await.unwrap();
        let gone = kind(store.complete(&key, &upload, &[part], MAX).await);
        assert_eq!(gone.0, Some(StoreErrorKind::NotFound), "{}", gone.1);

        for key in [&key, &mine.recording("pod", 2, "", "cpuprofile"), &other.manifest()] {
            begin(&store, key).await;
        }
        assert_eq!(store.abort_folder(&mine).await, Ok(2));
        assert_eq!(store.list(&mine).await.unwrap(), Listing::default());
        assert_eq!(store.list(&other).await.unwrap().uploads, [other.manifest().to_string()]);
        let age = Duration::from_hours(25);
        assert_eq!(store.sweep(&prefix, age, now()).await, Ok(0));
        assert_eq!(store.sweep(&prefix, age, now() + Duration::from_hours(26)).await, Ok(1));
        assert_eq!(store.list(&other).await.unwrap(), Listing::default());
    }

    #[tokio::test]
    #[ignore = "run by the_store_does_what_it_says_against_a_real_s3"]
    async fn a_part_sent_twice_counts_once() {
        let (store, ca) = at(BUCKET).await;
        let key = folder("twice").recording("pod", 1, "", "cpuprofile");
        let upload = begin(&store, &key).await;
        put_part(&store, &ca, &key, &upload, 1, b"first".to_vec()).await;
        let part = put_part(&store, &ca, &key, &upload, 1, b"second".to_vec()).await;
        assert_eq!(store.complete(&key, &upload, &[part], MAX).await, Ok(6));
        assert_eq!(read(&store, &key).await, b"second");
    }

    #[tokio::test]
    #[ignore = "run by the_store_does_what_it_says_against_a_real_s3"]
    async fn a_server_that_is_away_or_not_to_be_trusted_is_unreachable() {
        let key = folder("away").manifest();
        let distrustful = connect(S3 { ca_file: None, ..settings(BUCKET) }).await;
        assert_eq!(distrustful.ca(), None);
        let (seen, message) = kind(distrustful.begin(&key, &media(&key)).await);
        assert_eq!(seen, Some(StoreErrorKind::Unreachable), "{message}");
        assert!(message.contains("UnknownIssuer"), "{message}");

        let closed = format!("https://127.0.0.1:{}", free_ports(1)[0]);
        let away = connect(S3 { endpoint: Some(closed), ..settings(BUCKET) }).await;
        let (seen, message) = kind(away.begin(&key, &media(&key)).await);
        assert_eq!(seen, Some(StoreErrorKind::Unreachable), "{message}");
        assert!(message.contains("refused"), "{message}");
    }

    #[tokio::test]
    #[ignore = "run by the_store_does_what_it_says_against_a_real_s3"]
    async fn a_bucket_that_is_not_there_is_said_to_be_missing_or_refused() {
        let (store, _) = at("nowhere").await;
        let key = folder("bucket").manifest();
        // The identity has no right there, and S3 tells who has none nothing more.
        let (seen, message) = kind(store.begin(&key, &media(&key)).await);
        assert!(matches!(seen, Some(StoreErrorKind::Refused | StoreErrorKind::NoSuchBucket)), "{message}");
        assert!(message.contains("s3://nowhere (https://127.0.0.1:"), "{message}");
    }
}

// ── With others ────────────────────────────────────────────────────────────────────────────────────────────────────

mod without_rights {
    use super::*;

    #[tokio::test]
    #[ignore = "run by the_store_does_what_it_says_against_a_real_s3"]
    async fn it_is_refused_with_what_was_tried_and_what_to_do() {
        let (store, _) = at(BUCKET).await;
        let key = folder("rights").manifest();
        let (seen, message) = kind(store.begin(&key, &media(&key)).await);
        assert_eq!(seen, Some(StoreErrorKind::Refused), "{message}");
        assert!(
            message.starts_with(
                "beginning the upload of pitwall/shop/checkout/rights-2b9e/manifest.json at s3://artifacts"
            ),
            "{message}"
        );
        assert!(message.contains("AccessDenied") && message.ends_with("that they allow this"), "{message}");
    }
}

mod with_a_wrong_secret {
    use super::*;

    #[tokio::test]
    #[ignore = "run by the_store_does_what_it_says_against_a_real_s3"]
    async fn it_is_refused() {
        let (store, _) = at(BUCKET).await;
        let key = folder("secret").manifest();
        let (seen, message) = kind(store.begin(&key, &media(&key)).await);
        assert_eq!(seen, Some(StoreErrorKind::Refused), "{message}");
        assert!(message.contains("SignatureDoesNotMatch"), "{message}");
    }
}

mod without_credentials {
    use super::*;

    #[tokio::test]
    #[ignore = "run by the_store_does_what_it_says_against_a_real_s3"]
    async fn it_is_refused_before_anything_is_sent() {
        let (store, _) = at(BUCKET).await;
        let key = folder("none").manifest();
        let (seen, message) = kind(store.begin(&key, &media(&key)).await);
        assert_eq!(seen, Some(StoreErrorKind::Refused), "{message}");
        assert!(message.contains("credentials"), "{message}");
    }
}

mod with_a_web_identity {
    use super::*;

    #[tokio::test]
    #[ignore = "run by the_store_does_what_it_says_against_a_real_s3"]
    async fn the_token_is_exchanged_for_keys_that_sign() {
        let (store, _) = at(BUCKET).await;
        let key = folder("identity").manifest();
        let url = store.sign_get(&key, TTL, now()).await.unwrap().url;
        assert!(url.contains("from-sts") && url.contains("X-Amz-Security-Token=session"), "{url}");
    }
}
