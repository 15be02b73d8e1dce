//! A pod in miniature: a container that the sidecar recognises, programs in it, the real worker beside it, and
//! an operator and a store that say what the test says.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod app;
pub(crate) mod authority;
pub(crate) mod container;
pub(crate) mod operator;
pub(crate) mod store;

use app::App;
use authority::Authority;
use container::Container;
use operator::{Channel, Operator, TOKEN};
use pitwall_protocol::{
    ContainerBounds, ContainerRef, Guard, Look, OperatorMessage, ProcessId, Recording, RequestUid, Seen,
    SessionPhase, SessionReport, SidecarMessage, Start, Stop, Uploaded,
};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use tokio::process::{Child, Command};

/// Nothing here takes longer, but on a machine that does ten other things.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);
/// Bytes of a part, so small that a profile has several.
pub(crate) const PART: u64 = 8 << 10;

pub(crate) struct Pod {
    pub(crate) container: Container,
    pub(crate) operator: Operator,
    pub(crate) store: Store,
    dir: tempfile::TempDir,
    authority: Arc<Authority>,
    environment: Vec<(&'static str, String)>,
    worker: Option<Child>,
}

impl Pod {
    /// A pod whose worker isn't started yet.
    pub(crate) async fn new() -> Self {
        let authority = Arc::new(Authority::new());
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("token"), format!("{TOKEN}\n")).expect("a token");
        Self {
            container: Container::new(),
            operator: Operator::new(authority.clone()).await,
            store: Store::new(&authority).await,
            dir,
            authority,
            environment: vec![],
            worker: None,
        }
    }

    /// A pod whose worker is connected.
    pub(crate) async fn connected() -> (Self, Channel) {
        let mut pod = Self::new().await;
        pod.start_worker();
        let (channel, _) = pod.operator.welcome().await;
        (pod, channel)
    }

    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.environment.push((name, value.into()));
    }

    /// Lets every uid read what lies in the pod's folder.
    pub(crate) fn open_to_all(&self) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(self.dir.path(), std::fs::Permissions::from_mode(0o755)).expect("ours");
    }

    /// Waits until the sidecar has logged this.
    pub(crate) async fn logs(&self, text: &str) {
        while !self.log().contains(text) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// What the sidecar has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn sidecar(&self, role: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pitwall-sidecar"));
        command.arg(role);
        self.dress(command)
    }

    /// Gives a command the environment that the injection gives the sidecar.
    pub(crate) fn dress(&self, mut command: Command) -> Command {
        let log = std::fs::File::options().append(true).create(true).open(self.path("log")).expect("a log");
        command
            .env_clear()
            .env("PITWALL_OPERATOR_URL", format!("wss://{}{}", self.operator.address, pitwall_protocol::PATH))
            .env("PITWALL_CA", &self.authority.ca)
            .env("PITWALL_TOKEN_FILE", self.path("token"))
            .env("PITWALL_POD_NAMESPACE", "shop")
            .env("PITWALL_POD_NAME", "checkout-1")
            .env("PITWALL_POD_UID", "pod-uid")
            .env("PITWALL_SPOOL_DIR", self.path("spool"))
            .env("PITWALL_JOURNAL_DIR", self.path("journal"))
            .env("PITWALL_LOG", "info,pitwall_sidecar=debug")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        command
    }

    pub(crate) fn start_worker(&mut self) {
        self.worker = Some(self.sidecar("work").spawn().expect("the worker starts"));
    }

    pub(crate) fn worker(&mut self) -> &mut Child {
        self.worker.as_mut().expect("the worker was started")
    }

    /// SIGKILL, as the kernel does it to who takes too much memory.
    pub(crate) async fn kill_worker(&mut self) {
        self.worker().kill().await.expect("it is killed");
    }

    pub(crate) async fn app(&self, version: &str) -> App {
        App::node(&self.container, version, &["--inspect-port=0"], "server.js").await
    }

    pub(crate) fn container_ref(&self) -> ContainerRef {
        ContainerRef { name: "app".into(), id: self.container.id.clone() }
    }

    pub(crate) async fn look(&self, channel: &mut Channel) -> Seen {
        self.measure(channel, 0).await
    }

    /// A look that measures CPU time for so long.
    pub(crate) async fn measure(&self, channel: &mut Channel, measure_ms: u32) -> Seen {
        let request = RequestUid("look".into());
        let containers = vec![self.container_ref()];
        channel.say(&OperatorMessage::Look(Look { request, containers, measure_ms })).await;
        match channel.hear().await {
            SidecarMessage::Seen(seen) => seen,
            other => panic!("what was seen is expected: {other:?}"),
        }
    }

    /// A start with URLs for as many parts as any of these profiles has.
    pub(crate) fn start(&self, request: &str, process: ProcessId, duration: Duration) -> Start {
        Start {
            request: RequestUid(request.into()),
            request_name: format!("shop/{request}"),
            process,
            container: self.container_ref(),
            recording: Recording::Cpu { sampling_interval_us: 1000 },
            trace_optimizations: false,
            duration_ms: u64::try_from(duration.as_millis()).expect("short"),
            deadline_ms: 120_000,
            bounds: ContainerBounds::default(),
            guard: Guard::default(),
            largest_bytes: None,
            overridden: vec![],
            grant: self.store.grant(request, PART, 1, 100),
        }
    }

    pub(crate) async fn begin(&self, channel: &mut Channel, start: &Start) {
        channel.say(&OperatorMessage::Start(Box::new(start.clone()))).await;
    }

    pub(crate) async fn stop(&self, channel: &mut Channel, request: &str, keep: bool) {
        channel
            .say(&OperatorMessage::Stop(Stop { request: RequestUid(request.into()), keep, why: None }))
            .await;
    }

    /// Acknowledges an end, and waits until the sidecar holds nothing of it any more.
    pub(crate) async fn acknowledge(&self, channel: &mut Channel, report: &SessionReport) {
        channel
            .say(&OperatorMessage::Acknowledge { request: report.request.clone(), process: report.process })
            .await;
        let cleared = async {
            while !(is_empty(&self.path("journal")) && is_empty(&self.path("spool"))) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, cleared).await.expect("journal and spool are cleared");
    }

    /// Answers every wish for URLs until a session's end.
    pub(crate) async fn end(&self, channel: &mut Channel) -> SessionReport {
        loop {
            match channel.hear().await {
                SidecarMessage::NeedParts { request, process, upload_id, first_part, artifact } => {
                    let begun = format!("{}-{artifact}", request.0);
                    let upload = if upload_id.is_empty() { begun } else { upload_id };
                    let mut grant = self.store.grant(&upload, PART, first_part, 100);
                    grant.artifact = artifact;
                    channel.say(&OperatorMessage::Grant { request, process, grant }).await;
                }
                SidecarMessage::Report(report) if report.phase.is_end() => return *report,
                _ => {}
            }
        }
    }

    /// What the store holds of an artifact, whose facts agree with its bytes.
    pub(crate) fn stored(&self, artifact: &Uploaded) -> serde_json::Value {
        let object = self.store.object(&artifact.upload_id);
        assert_eq!(artifact.bytes, object.len() as u64);
        assert_eq!(artifact.parts.iter().map(|part| part.bytes).sum::<u64>(), artifact.bytes);
        assert_eq!(artifact.sha256, pitwall_sidecar::publish::spool::hex(&Sha256::digest(&object)));
        let mut json = vec![];
        flate2::read::GzDecoder::new(&object[..]).read_to_end(&mut json).expect("gzip");
        assert_eq!(artifact.uncompressed_bytes, json.len() as u64);
        serde_json::from_slice(&json).expect("a profile")
    }

    /// What a published session stored: its facts agree with the store's bytes, and it is a profile.
    pub(crate) fn published(&self, report: &SessionReport) -> (Uploaded, serde_json::Value) {
        let SessionPhase::Published { artifact, .. } = &report.phase else { panic!("published: {report:?}") };
        (artifact.clone(), self.stored(artifact))
    }
}

/// The function that was on top of the stack most often.
pub(crate) fn hottest(profile: &serde_json::Value) -> String {
    let nodes = profile["nodes"].as_array().expect("nodes");
    let hottest = nodes.iter().max_by_key(|node| {
        let name = node["callFrame"]["functionName"].as_str().expect("a name");
        if name.starts_with('(') { 0 } else { node["hitCount"].as_u64().unwrap_or(0) }
    });
    hottest.expect("a node")["callFrame"]["functionName"].as_str().expect("a name").to_owned()
}

pub(crate) fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).expect("a folder").next().is_none()
}

impl Drop for Pod {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the sidecar's log\n{}", self.log());
        }
    }
}
