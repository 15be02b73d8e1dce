//! The memory of a sidecar that takes a heap snapshot and uploads it: Pitwall's, and one in Node.js of
//! chrome-remote-interface and the AWS SDK.

use crate::{footprint::sidecar_peak, snapshot, table::Table};
use anyhow::{Context, ensure};
use pitwall_e2e::{App, Request, Story, command, reason_of, root, run};
use pitwall_test_node::binary;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const NODE: &str = "22.23.3";
const MEBIBYTES: u32 = 500;
const PACKAGES: [&str; 3] =
    ["chrome-remote-interface@0.34.0", "@aws-sdk/client-s3@3.1173.0", "@aws-sdk/lib-storage@3.1173.0"];
const INSPECTOR: u16 = 9556;
const PORTS: [u16; 4] = [21_933, 21_080, 21_888, 21_833];

/// Ended when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `SeaweedFS`, as the tests of the operator install it.
fn s3(folder: &Path) -> anyhow::Result<Server> {
    let weed = run(&mut command(root().join("operator/tests/seaweedfs").to_string_lossy().as_ref()));
    let identity = json!({ "identities": [{ "name": "bench", "actions": ["Admin", "Read", "Write", "List"],
        "credentials": [{ "accessKey": "bench", "secretKey": "bench-secret" }] }] });
    std::fs::write(folder.join("s3.json"), identity.to_string())?;
    std::fs::create_dir(folder.join("data"))?;
    let mut server = Command::new("setpriv");
    server.args([
        "--pdeathsig",
        "KILL",
        weed.trim(),
        "server",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-filer",
        "-s3",
    ]);
    server.args(["-master.volumeSizeLimitMB=64", "-volume.max=20", "-s3.port.iceberg=0", "-s3.port.lance=0"]);
    for (name, port) in ["master.port", "volume.port", "filer.port", "s3.port"].iter().zip(PORTS) {
        server.arg(format!("-{name}={port}"));
    }
    server.arg(format!("-dir={}", folder.join("data").display()));
    server.arg(format!("-filer.localSocket={}", folder.join("filer.sock").display()));
    server.arg(format!("-s3.localSocket={}", folder.join("s3.sock").display()));
    server.arg(format!("-s3.config={}", folder.join("s3.json").display()));
    Ok(Server(server.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?))
}

/// The packages, installed once.
fn packages() -> anyhow::Result<PathBuf> {
    let cache = std::env::var_os("PITWALL_CACHE").map(PathBuf::from);
    let home = std::env::var_os("HOME").context("HOME is set")?;
    let folder = cache.unwrap_or_else(|| Path::new(&home).join(".cache/pitwall")).join("node-sidecar");
    if !folder.join("node_modules/@aws-sdk/lib-storage").exists() {
        std::fs::create_dir_all(&folder)?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"]);
        run(npm.arg(&folder).args(PACKAGES));
    }
    Ok(folder.join("node_modules"))
}

/// Peak memory, idle and after the upload, in MiB.
fn in_node() -> anyhow::Result<(f64, f64)> {
    let packages = packages()?;
    let folder = tempfile::tempdir()?;
    let _server = s3(folder.path())?;
    let _app = snapshot::app(&format!("--inspect=127.0.0.1:{INSPECTOR}"), MEBIBYTES)?;
    let mut node = Command::new(binary(NODE));
    node.arg(root().join("e2e/src/bin/bench/node_sidecar/sidecar.js")).arg(INSPECTOR.to_string());
    node.arg(format!("http://127.0.0.1:{}", PORTS[3])).env("NODE_PATH", packages);
    let told = run(&mut node);
    let line = told.lines().last().context("it prints its memory")?;
    let told: Value = serde_json::from_str(line)?;
    let number = |name: &str| told[name].as_f64().with_context(|| format!("no {name} in {told}"));
    Ok((number("idle")?, number("peak")?))
}

/// Of Pitwall's sidecar, both of its processes together, in MiB.
fn in_pitwall() -> anyhow::Result<f64> {
    let story = Story::new("bench-sidecar");
    let app = App::new("mixed", "mixed.js").options(&["--max-old-space-size=4000"]).memory("8Gi");
    app.env("HEAP_MIB", &MEBIBYTES.to_string()).deploy(&story);
    // The pod is ready before its heap is.
    std::thread::sleep(Duration::from_secs(30));
    let overridden = json!({ "safety": { "override": ["MemoryLimit", "NodeMemory"] } });
    let object = Request::snapshot(&story, "it", "mixed", overridden).finish(Duration::from_secs(180));
    ensure!(reason_of(&object) == "AllStored", "{}", object["status"]);
    sidecar_peak(&story, "mixed")
}

/// Side by side.
pub(crate) fn side_by_side(table: &mut Table) -> anyhow::Result<()> {
    let (idle, in_node) = in_node()?;
    let in_pitwall = in_pitwall()?;
    let of = format!("a snapshot of {MEBIBYTES} MiB, Node.js {NODE}, uploaded as it comes");
    let mib = |number: f64| format!("{number:.1} MiB");
    table.line("a sidecar in Node.js (chrome-remote-interface, AWS SDK): RSS, idle", "", mib(idle), &of);
    table.line("the same: peak RSS", "", mib(in_node), &of);
    table.line("Pitwall's sidecar: peak RSS", "24 MiB", mib(in_pitwall), &of);
    table.line("Pitwall's / the one in Node.js", "0.2", format!("{:.2}", in_pitwall / in_node), &of);
    Ok(())
}
