//! The file of V8's trace of optimizations, when the process that had it was killed and couldn't remove it.
//!
//! A pod's containers share `/dev/shm`. A file elsewhere can't be reached without its process, and goes with its
//! container.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How the names of trace files begin.
pub const PREFIX: &str = "pitwall-trace-";
/// The folder that a pod's containers share.
const SHARED: &str = "/dev/shm";

/// Where a process's trace is seen from here. Only what can be a trace is: the path is the app's own text.
pub fn left_behind(path: &str) -> Option<PathBuf> {
    let name = Path::new(path).strip_prefix(SHARED).ok()?.to_str()?;
    let random = name.strip_prefix(PREFIX)?;
    let plain =
        !random.is_empty() && random.len() <= 32 && random.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain.then(|| Path::new(SHARED).join(name))
}

/// Who owns it, by uid and gid; nothing if it isn't there, or isn't a file.
pub fn owner(path: &Path) -> Option<(u32, u32)> {
    let found = path.symlink_metadata().ok()?;
    found.is_file().then(|| (found.uid(), found.gid()))
}

/// Removes it, if it can be a trace.
pub fn remove(path: &Path) -> Result<(), String> {
    let path = path.to_str().and_then(left_behind).ok_or("it isn't the path of a trace")?;
    std::fs::remove_file(path).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_traces_in_the_shared_folder_are_removed() {
        for (path, is) in [
            ("/dev/shm/pitwall-trace-abc123", true),
            ("/dev/shm/pitwall-trace-", false),
            ("/dev/shm/pitwall-trace-../x", false),
            ("/dev/shm/pitwall-trace-a/b", false),
            ("/dev/shm/x", false),
            ("/dev/shm/../etc/pitwall-trace-a", false),
            ("/tmp/pitwall-trace-a", false),
            ("", false),
        ] {
            assert_eq!(left_behind(path).is_some(), is, "{path}");
            if !is {
                assert!(remove(Path::new(path)).is_err(), "{path}");
            }
        }
    }
}
