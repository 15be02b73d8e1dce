//! A container, as far as the sidecar can tell one: a cgroup that has the container's id for a name.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// A cgroup with a container's name, removed when dropped.
pub(crate) struct Container {
    pub(crate) id: String,
    path: PathBuf,
}

impl Container {
    pub(crate) fn new() -> Self {
        let id: String = std::iter::repeat_with(|| fastrand::digit(16)).take(64).collect();
        let path = hierarchy().join(&id);
        std::fs::create_dir(&path).unwrap_or_else(|error| {
            panic!("these tests make cgroups and run as root: {}: {error}", path.display())
        });
        Self { id, path }
    }

    /// Moves a process in.
    pub(crate) fn admit(&self, pid: u32) {
        std::fs::write(self.path.join("cgroup.procs"), pid.to_string()).expect("the process is moved");
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // What was killed a moment ago may not be gone yet.
        for _ in 0..200 {
            if std::fs::remove_dir(&self.path).is_ok() {
                return;
            }
            for pid in std::fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default().lines() {
                let pid = nix::unistd::Pid::from_raw(pid.parse().expect("a pid"));
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).ok();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        eprintln!("{} is left behind", self.path.display());
    }
}

/// A hierarchy whose groups need no controller set up: v2, or v1's `systemd`.
fn hierarchy() -> &'static Path {
    let unified = Path::new("/sys/fs/cgroup");
    if unified.join("cgroup.controllers").exists() { unified } else { Path::new("/sys/fs/cgroup/systemd") }
}
