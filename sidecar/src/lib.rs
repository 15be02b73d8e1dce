//! Records one pod's Node.js processes on demand.
//!
//! The sidecar dials the operator and listens on nothing. Asked to, it finds the Node processes of the pod's
//! other containers ([`discover`]), opens the inspector of one after proofs and closes it again ([`attach`]),
//! and publishes what was recorded to signed URLs ([`publish`]). A [`session`] decides all that, without IO of
//! its own; [`journal`] is what a worker that dies leaves to the next; [`supervise`] starts that one.

pub mod attach;
pub mod channel;
pub mod clock;
pub mod discover;
#[doc(hidden)]
pub mod fuzz;
pub mod journal;
pub mod publish;
pub mod redact;
pub mod registry;
pub mod session;
pub mod settings;
pub mod supervise;
pub mod trust;
pub mod work;

use anyhow::Context;
use settings::{Arguments, Role, Settings};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Runs what the command line says.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.role.unwrap_or(Role::Supervise) {
        Role::Supervise => supervise::run(),
        Role::Work => {
            supervise::unblock_signals();
            log();
            let worked = Settings::read(|name| std::env::var(name).ok()).context("reading the settings");
            worked.and_then(work::run).inspect_err(|error| tracing::error!("{error:#}"))?;
            Ok(ExitCode::SUCCESS)
        }
        Role::Assume { uid, gid, task } => {
            let seen = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
            anyhow::ensure!(seen == (uid, gid), "started as {seen:?} where ({uid}, {gid}) was expected");
            let answer = attach::assume::perform(&discover::procfs::ProcRoot::default(), task);
            let mut line = serde_json::to_vec(&answer).context("writing the answer")?;
            line.push(b'\n');
            std::io::stdout().write_all(&line).context("writing the answer")?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Logs to stderr: as JSON lines, unless a person looks on. `PITWALL_LOG` filters, as `info` or
/// `warn,pitwall_sidecar=debug`.
fn log() {
    let filter = std::env::var("PITWALL_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    let filter = filter.unwrap_or_else(|| Targets::new().with_default(tracing::Level::INFO));
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        registry.with(lines).init();
    } else {
        registry.with(lines.json().flatten_event(true)).init();
    }
}
