//! Running the analyser: a child process of this binary with a limit of memory, CPU time and output, since
//! profiles come from pods that may be hostile.

mod merge;

pub use merge::{Analysis, merge};

use crate::settings::Analyse;
use nix::sys::resource::{Resource, setrlimit};
use pitwall_profile::Report;
use std::{path::Path, process::Stdio, time::Duration};
use tokio::{io::AsyncReadExt, process::Command, sync::Semaphore, time::timeout};

/// The child's address space, in bytes.
const MEMORY: u64 = 1 << 30;
/// The child's CPU time, in seconds.
const SECONDS: u64 = 60;
/// The child's whole time: a busy node makes CPU time last longer.
const PATIENCE: Duration = Duration::from_secs(180);
/// The longest report, in bytes.
const MAX_REPORT: u64 = 256 * 1024;
/// How much of the child's complaint is kept, in bytes.
const MAX_COMPLAINT: u64 = 2 * 1024;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum AnalysisError {
    /// The child could not be run.
    #[error("the analyser could not be started: {0}")]
    Start(#[source] std::io::Error),
    /// It took too long.
    #[error("the analyser was ended after {PATIENCE:?}")]
    Patience,
    /// It said that it can't.
    #[error("the analyser said: {0}")]
    Refused(String),
    /// It was killed, as a rule by its own limits.
    #[error("the analyser was killed; its limits are {MEMORY} bytes of memory and {SECONDS} s of CPU time")]
    Killed,
    /// It answered what is no report.
    #[error("the analyser's report can't be read: {0}")]
    Report(#[source] serde_json::Error),
}

/// Runs analysers, a few at once.
pub struct Analyser {
    slots: Semaphore,
}

impl Analyser {
    /// At most `slots` children at once.
    pub fn new(slots: usize) -> Self {
        Self { slots: Semaphore::new(slots.max(1)) }
    }

    /// Analyses the artifact in a local file.
    pub async fn analyse(&self, file: &Path) -> Result<Report, AnalysisError> {
        let _slot = self.slots.acquire().await.expect("the semaphore is never closed");
        let mut child = Command::new("/proc/self/exe")
            .arg("analyse")
            .arg(file)
            .arg(format!("--memory={MEMORY}"))
            .arg(format!("--seconds={SECONDS}"))
            // The operator's credentials are not the child's.
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(AnalysisError::Start)?;
        let stdout = child.stdout.take().expect("stdout was asked for as a pipe");
        let stderr = child.stderr.take().expect("stderr was asked for as a pipe");
        let (mut report, mut complaint) = (Vec::new(), Vec::new());
        let work = async {
            let mut stdout = stdout.take(MAX_REPORT);
            let mut stderr = stderr.take(MAX_COMPLAINT);
            let (read, complained) =
                tokio::join!(stdout.read_to_end(&mut report), stderr.read_to_end(&mut complaint));
            read.and(complained)?;
            child.wait().await
        };
        let status = timeout(PATIENCE, work)
            .await
            .map_err(|_| AnalysisError::Patience)?
            .map_err(AnalysisError::Start)?;
        match status.code() {
            Some(0) => serde_json::from_slice(&report).map_err(AnalysisError::Report),
            Some(_) => Err(AnalysisError::Refused(String::from_utf8_lossy(&complaint).trim().to_owned())),
            None => Err(AnalysisError::Killed),
        }
    }
}

/// The child's side: limits itself, analyses, prints the report.
pub fn run_child(settings: &Analyse) -> anyhow::Result<()> {
    setrlimit(Resource::RLIMIT_AS, settings.memory, settings.memory)?;
    setrlimit(Resource::RLIMIT_CPU, settings.seconds, settings.seconds)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    let file = std::fs::File::open(&settings.file)?;
    let report = pitwall_profile::analyse_artifact(std::io::BufReader::new(file))?;
    serde_json::to_writer(std::io::stdout().lock(), &report)?;
    Ok(())
}
