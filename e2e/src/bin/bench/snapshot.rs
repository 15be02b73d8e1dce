//! A heap snapshot, side by side: by a client that throws the bytes away, by Pitwall, and by Pitwall with redaction.
//!
//! `kubectl pitwall local` runs the sidecar's own code. Of it counts what the bare client's time is too: from the
//! command to the last byte of its answer.

use crate::table::Table;
use anyhow::{Context, ensure};
use pitwall_test_node::binary;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const NODE: &str = "22.23.3";
const PORT: u16 = 9555;
const ROUNDS: usize = 3;

pub(crate) struct App(Child);

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn script(name: &str) -> PathBuf {
    pitwall_e2e::root().join("e2e/src/bin/bench/snapshot").join(name)
}

/// A process with a heap of this size.
pub(crate) fn app(option: &str, mebibytes: u32) -> anyhow::Result<App> {
    let mut command = Command::new(binary(NODE));
    let mixed = pitwall_e2e::root().join("e2e/apps/mixed.js");
    command.args(["--max-old-space-size=16000", option]).arg(mixed).arg(mebibytes.to_string());
    let mut app = App(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?);
    let stdout = app.0.stdout.take().context("it was asked for as a pipe")?;
    let line = BufReader::new(stdout).lines().next().context("the app ended")??;
    ensure!(line == "ready", "the app said {line}");
    Ok(app)
}

/// Seconds.
fn bare(mebibytes: u32) -> anyhow::Result<f64> {
    let _app = app(&format!("--inspect=127.0.0.1:{PORT}"), mebibytes)?;
    let told = Command::new(binary(NODE)).arg(script("bare.js")).arg(PORT.to_string()).output()?;
    Ok(String::from_utf8(told.stdout)?.trim().parse()?)
}

/// Seconds from the command to its answer, and the peak of memory in MiB.
fn pitwall(mebibytes: u32, redact: bool) -> anyhow::Result<(f64, f64)> {
    let app = app("--inspect-port=0", mebibytes)?;
    let folder = tempfile::tempdir()?;
    let program = pitwall_e2e::root().join("target/x86_64-unknown-linux-gnu/release/kubectl-pitwall");
    let mut command = Command::new(program);
    command.args([
        "local",
        &app.0.id().to_string(),
        "--type",
        "HeapSnapshot",
        "--override",
        "NodeMemory,MemoryLimit",
    ]);
    if redact {
        command.arg("--redact");
    }
    command.arg("--dir").arg(folder.path()).args(["-o", "json"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let status_file = format!("/proc/{}/status", child.id());
    let mut peak = 0.0_f64;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if let Ok(text) = std::fs::read_to_string(&status_file) {
            let kibibytes =
                text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
            peak = peak.max(kibibytes.and_then(|text| text.trim().parse().ok()).unwrap_or(0.0) / 1024.0);
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let stdout = child.stdout.take().context("it was asked for as a pipe")?;
    let told: serde_json::Value = serde_json::from_reader(stdout).context("it prints JSON")?;
    ensure!(status.success(), "kubectl pitwall local ended with {status}");
    let took = told["stallMilliseconds"].as_f64().context("it says how long the process stood still")?;
    Ok((took / 1000.0, peak))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// All sizes, the three one after another in each round.
pub(crate) fn side_by_side(table: &mut Table) -> anyhow::Result<()> {
    for mebibytes in [50, 500, 1000] {
        let (mut ratios, mut redacted, mut seconds, mut peak) = (vec![], vec![], vec![], 0.0_f64);
        for _ in 0..ROUNDS {
            let alone = bare(mebibytes)?;
            let (took, used) = pitwall(mebibytes, false)?;
            let (with, used_with) = pitwall(mebibytes, true)?;
            ratios.push(took / alone);
            redacted.push(with / alone);
            seconds.push(alone);
            peak = peak.max(used).max(used_with);
        }
        let of = format!("{ROUNDS} rounds, Node.js {NODE}");
        let what = format!("snapshot of a heap of {mebibytes} MiB");
        table.line(
            &format!("{what}: a client that throws the bytes away"),
            "",
            format!("{:.1} s", median(&mut seconds)),
            &of,
        );
        table.line(
            &format!("{what}: Pitwall / that client"),
            "1.05",
            format!("{:.2}", median(&mut ratios)),
            &of,
        );
        table.line(
            &format!("{what}: Pitwall with redaction / that client"),
            "",
            format!("{:.2}", median(&mut redacted)),
            &of,
        );
        table.line(
            &format!("{what}: peak RSS of the recording program"),
            "24 MiB",
            format!("{peak:.1} MiB"),
            &of,
        );
    }
    Ok(())
}
