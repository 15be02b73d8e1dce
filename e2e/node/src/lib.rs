//! The Node.js binaries that the crates' tests run against; `sidecar/tests/node-binaries` installs them.

use std::path::{Path, PathBuf};

/// Every version that is installed.
pub const EVERY_NODE: [&str; 5] = ["18.20.8", "20.20.2", "22.23.3", "24.21.0", "26.10.0"];

/// The binary of a version, such as 22.23.3.
///
/// # Panics
/// If it isn't installed.
#[must_use]
pub fn binary(version: &str) -> PathBuf {
    let cache = std::env::var_os("PITWALL_CACHE").map_or_else(
        || Path::new(&std::env::var_os("HOME").expect("HOME is set")).join(".cache/pitwall"),
        PathBuf::from,
    );
    let path = cache.join("node").join(version).join("bin/node");
    assert!(path.exists(), "{} is missing: run sidecar/tests/node-binaries", path.display());
    path
}
