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
    let path = cache().join("node").join(version).join("bin/node");
    assert!(path.exists(), "{} is missing: run sidecar/tests/node-binaries", path.display());
    path
}

/// A script of pm2's, such as `pm2-runtime`; `sidecar/tests/launchers` installs it.
///
/// # Panics
/// If it isn't installed.
#[must_use]
pub fn pm2(script: &str) -> PathBuf {
    let path = cache().join("launchers/node_modules/pm2/bin").join(script);
    assert!(path.exists(), "{} is missing: run sidecar/tests/launchers", path.display());
    path
}

/// Go's own pprof; `profile/tests/pprof` builds it.
///
/// # Panics
/// If it isn't there.
#[must_use]
pub fn pprof() -> PathBuf {
    let path = cache().join("pprof");
    assert!(path.exists(), "{} is missing: run profile/tests/pprof", path.display());
    path
}

fn cache() -> PathBuf {
    std::env::var_os("PITWALL_CACHE").map_or_else(
        || Path::new(&std::env::var_os("HOME").expect("HOME is set")).join(".cache/pitwall"),
        PathBuf::from,
    )
}
