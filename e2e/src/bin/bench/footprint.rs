//! What Pitwall takes while nothing is recorded: memory and wake-ups, as the kernel counts them, and disk.
//!
//! The node is this machine, so the processes of its pods are in this `/proc`.

use crate::table::Table;
use anyhow::Context;
use pitwall_e2e::{App, Story, kubectl, operator_namespace, run};
use serde_json::Value;
use std::{fs, path::PathBuf, time::Duration};

const LOOK: Duration = Duration::from_secs(20);

/// The sizes of the images, as the node tells them.
pub(crate) fn images(table: &mut Table) -> anyhow::Result<()> {
    let nodes: Value = serde_json::from_str(&run(&mut kubectl(&["get", "nodes", "-o", "json"])))?;
    for (name, bound) in [("sidecar", "12 MB"), ("operator", "40 MB")] {
        let tag = format!("pitwall.local/{name}:dev");
        let images = nodes["items"][0]["status"]["images"].as_array();
        let image = images.into_iter().flatten().find(|image| {
            image["names"].as_array().is_some_and(|names| names.iter().any(|name| *name == tag.as_str()))
        });
        let bytes = image.and_then(|image| image["sizeBytes"].as_f64());
        let bytes = bytes.with_context(|| format!("the node has no image {tag}: make images"))?;
        table.line(&format!("image of the {name}"), bound, format!("{:.1} MB", bytes / 1e6), "release");
    }
    Ok(())
}

struct Process {
    folder: PathBuf,
    arguments: String,
}

/// The processes of a pod whose executable has this name.
fn processes(pod_uid: &str, executable: &str) -> anyhow::Result<Vec<Process>> {
    let uid = [pod_uid.to_owned(), pod_uid.replace('-', "_")];
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let folder = entry?.path();
        let Ok(cgroup) = fs::read_to_string(folder.join("cgroup")) else { continue };
        let arguments = fs::read_to_string(folder.join("cmdline")).unwrap_or_default().replace('\0', " ");
        let program = arguments.split(' ').next().unwrap_or_default();
        if uid.iter().any(|uid| cgroup.contains(uid.as_str())) && program.ends_with(executable) {
            found.push(Process { folder, arguments });
        }
    }
    anyhow::ensure!(!found.is_empty(), "pod {pod_uid} has no process {executable}");
    found.sort_by(|a, b| a.folder.cmp(&b.folder));
    Ok(found)
}

impl Process {
    /// A field of kilobytes, of `status` or `smaps_rollup`.
    fn kilobytes(&self, file: &str, field: &str) -> anyhow::Result<f64> {
        let text = fs::read_to_string(self.folder.join(file))?;
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.with_context(|| format!("no {field} in {file}"))?.parse()?)
    }

    /// How often its threads went to sleep, and so were woken, until now.
    fn sleeps(&self) -> anyhow::Result<f64> {
        let mut sum = 0.0;
        for thread in fs::read_dir(self.folder.join("task"))? {
            let text = fs::read_to_string(thread?.path().join("status"))?;
            let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            sum += line.context("no voluntary_ctxt_switches")?.trim().parse::<f64>()?;
        }
        Ok(sum)
    }
}

fn memory(table: &mut Table, what: &str, bound: &str, all: &[Process]) -> anyhow::Result<()> {
    let mib = |kilobytes: f64| kilobytes / 1024.0;
    let (mut rss, mut pss, mut each) = (0.0, 0.0, Vec::new());
    for process in all {
        let own = process.kilobytes("status", "VmRSS")?;
        rss += own;
        pss += process.kilobytes("smaps_rollup", "Pss")?;
        let role = process.arguments.split_whitespace().nth(1).unwrap_or("main").to_owned();
        each.push(format!("{role} {:.1}", mib(own)));
    }
    let measured = format!("{:.1} MiB", mib(if all.len() == 1 { rss } else { pss }));
    let of = if all.len() == 1 {
        "RSS".to_owned()
    } else {
        format!("shared pages counted once (PSS); RSS of each in MiB: {}", each.join(", "))
    };
    table.line(what, bound, measured, &of);
    Ok(())
}

fn wake_ups(table: &mut Table, what: &str, bound: &str, all: &[Process]) -> anyhow::Result<()> {
    let sleeps = || all.iter().map(Process::sleeps).sum::<anyhow::Result<f64>>();
    let before = sleeps()?;
    std::thread::sleep(LOOK);
    let a_second = (sleeps()? - before) / LOOK.as_secs_f64();
    table.line(what, bound, format!("{a_second:.2}"), &format!("{} s", LOOK.as_secs()));
    Ok(())
}

fn sidecar_of(story: &Story, app: &str) -> anyhow::Result<Vec<Process>> {
    let label = format!("app={app}");
    let uid = story.kubectl(&["get", "pods", "-l", &label, "-o", "jsonpath={.items[0].metadata.uid}"]);
    processes(uid.trim(), "pitwall-sidecar")
}

/// A sidecar that has never recorded, and the operator.
pub(crate) fn idle(table: &mut Table) -> anyhow::Result<()> {
    let story = Story::new("bench-idle");
    App::busy().deploy(&story);
    std::thread::sleep(Duration::from_secs(10));
    let sidecar = sidecar_of(&story, "busy")?;
    memory(table, "sidecar, idle", "5 MiB", &sidecar)?;
    wake_ups(table, "sidecar, idle: wake-ups a second", "1", &sidecar)?;
    let uid = run(&mut kubectl(&[
        "-n",
        operator_namespace(),
        "get",
        "pods",
        "-l",
        "app.kubernetes.io/component=operator",
        "-o",
        "jsonpath={.items[0].metadata.uid}",
    ]));
    memory(table, "operator, idle", "25 MiB", &processes(uid.trim(), "pitwall-operator")?)
}

/// The peak RSS of a sidecar's processes, added up, in MiB.
pub(crate) fn sidecar_peak(story: &Story, app: &str) -> anyhow::Result<f64> {
    let mut sum = 0.0;
    for process in sidecar_of(story, app)? {
        sum += process.kilobytes("status", "VmHWM")? / 1024.0;
    }
    Ok(sum)
}

/// The sidecar of a pod that was recorded many times.
pub(crate) fn after_use(story: &Story, table: &mut Table) -> anyhow::Result<()> {
    std::thread::sleep(Duration::from_secs(5));
    memory(table, "sidecar, idle after 50 recordings", "", &sidecar_of(story, "busy")?)
}
