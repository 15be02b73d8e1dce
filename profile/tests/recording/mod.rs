//! Profiles of real Node processes.

use pitwall_test_node::binary;
use std::path::{Path, PathBuf};
use std::process::Command;

fn app(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apps").join(name)
}

/// Runs the shop to its end, and gives the bytes of its CPU profile.
#[allow(dead_code, reason = "not every test file needs it")]
pub(crate) fn of_the_shop(version: &str) -> Vec<u8> {
    recorded(version, |node, folder| {
        node.args(["--cpu-prof", "--cpu-prof-name=it.cpuprofile", "--cpu-prof-dir"])
            .arg(folder)
            .arg(app("shop.js"));
    })
}

/// Records a process that waits.
#[allow(dead_code, reason = "not every test file needs it")]
pub(crate) fn of_a_wait(version: &str) -> Vec<u8> {
    recorded(version, |node, folder| {
        node.arg(app("waiting.js")).arg(folder.join("it.cpuprofile"));
    })
}

/// The chunks of one recording, each begun before the one before it ended, and last the whole recording.
#[allow(dead_code, reason = "not every test file needs it")]
pub(crate) fn of_chunks(version: &str) -> Vec<Vec<u8>> {
    let all = recorded(version, |node, folder| {
        node.arg(app("chunks.js")).arg(folder.join("it.cpuprofile"));
    });
    all.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// Runs Node with `arguments`, of which one is the folder for its profile, and gives the bytes of that.
fn recorded(version: &str, arguments: impl Fn(&mut Command, &Path)) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = Command::new(binary(version));
    arguments(&mut node, folder.path());
    let status = node.env_remove("NODE_OPTIONS").status().expect("Node runs");
    assert!(status.success(), "{status}");
    std::fs::read(folder.path().join("it.cpuprofile")).expect("a profile")
}

/// A test for each version of Node of a function that takes one.
#[allow(unused_macros, reason = "not every test file needs it")]
macro_rules! on_every_version {
    ($($test:ident)*) => {$(
        mod $test {
            #[test]
            fn node_18() { super::$test("18.20.8") }
            #[test]
            fn node_20() { super::$test("20.20.2") }
            #[test]
            fn node_22() { super::$test("22.23.3") }
            #[test]
            fn node_24() { super::$test("24.21.0") }
            #[test]
            fn node_26() { super::$test("26.10.0") }
        }
    )*};
}
