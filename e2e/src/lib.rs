//! What the stories share: a namespace of one's own, programs in it, requests, and a look from outside.
//!
//! Everything goes through the real API server, the real kubectl and the real `kubectl-pitwall`, as a user would.
//! Each wait is bounded and says, when it ends in vain, what it saw last.

#![expect(clippy::needless_pass_by_value, reason = "manifests are literals where they are passed")]

mod namespace;
mod programs;
mod requests;
mod stores;

pub use namespace::{ReleaseGuard, Story, operator_namespace, stores_in_s3, with_values};
pub use programs::{App, RunAs};
pub use requests::{Request, finished, message_of, reason_of, target_of};
pub use stores::{builtin_folder, in_store, s3_fact};

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("e2e lies in the repository").to_owned()
}

/// A kubeconfig of the administrator: the one that `e2e/cluster/run` sets inside the cluster's network, else the host's.
pub fn kubeconfig() -> PathBuf {
    let folder = root().join("e2e/cluster/.run");
    let inside = std::env::var("KUBECONFIG").is_ok_and(|path| path.ends_with("kubeconfig.inside"));
    folder.join(if inside { "kubeconfig.inside" } else { "kubeconfig" })
}

/// A command with the cluster's kubeconfig and programs.
pub fn command(program: &str) -> Command {
    let run = root().join("e2e/cluster/.run");
    let built = std::env::current_exe().expect("the test has a path");
    let built = built.parent().and_then(Path::parent).expect("tests lie in target/…/deps");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    command
        .env("KUBECONFIG", kubeconfig())
        .env("PATH", format!("{}:{}:{path}", run.join("bin").display(), built.display()))
        .current_dir(root());
    command
}

/// Runs a command that must succeed: its standard output.
pub fn run(command: &mut Command) -> String {
    let output = attempt(command);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?} ended with {}:\n{}\n{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// Runs a command that may fail.
pub fn attempt(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?} could not be started: {error}"))
}

/// kubectl with these arguments.
pub fn kubectl(arguments: &[&str]) -> Command {
    let mut kubectl = command("kubectl");
    kubectl.args(arguments);
    kubectl
}

/// Looks every 200 ms until `look` yields something; after `patience` the story fails with what `told` says.
#[expect(clippy::disallowed_methods, reason = "stories run against the real clock")]
pub fn eventually<T>(
    patience: Duration,
    told: impl Fn() -> String,
    mut look: impl FnMut() -> Option<T>,
) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < patience, "not within {patience:?}: {}", told());
        std::thread::sleep(Duration::from_millis(200));
    }
}
