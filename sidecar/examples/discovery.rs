//! What a look at a pod of 60 Node.js processes takes: a line of the table in docs/benchmarks.md. Run as root, with a
//! Node.js binary as the argument.

use pitwall_protocol::{ContainerRef, RequestUid};
use pitwall_sidecar::attach::eyes::Eyes;
use pitwall_sidecar::discover::procfs::ProcRoot;
use pitwall_sidecar::discover::{survey, walk};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PROCESSES: usize = 60;
const ROUNDS: u32 = 50;

/// The CPU time of this process.
fn cpu() -> Duration {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF);
    let usage = usage.expect("every Linux knows");
    let of = |time: nix::sys::time::TimeVal| {
        let part = |number| u64::try_from(number).unwrap_or(0);
        Duration::from_secs(part(time.tv_sec())) + Duration::from_micros(part(time.tv_usec()))
    };
    of(usage.user_time()) + of(usage.system_time())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let node = std::env::args().nth(1).expect("a Node.js binary is the argument");
    // A container, as far as one can be told: a cgroup with its id.
    let unified = Path::new("/sys/fs/cgroup");
    let has_unified = unified.join("cgroup.controllers").exists();
    let id = "b".repeat(64);
    let group = if has_unified { unified.join(&id) } else { unified.join("systemd").join(&id) };
    std::fs::create_dir_all(&group).expect("root makes cgroups");
    let mut processes: Vec<Child> = (0..PROCESSES)
        .map(|_| {
            let mut command = Command::new(&node);
            let child = command.args(["-e", "setInterval(() => {}, 1e6)"]).stdin(Stdio::null()).spawn();
            let child = child.expect("Node.js starts");
            std::fs::write(group.join("cgroup.procs"), child.id().to_string()).expect("it is moved");
            child
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(10)).await;

    let (proc, eyes) = (ProcRoot::default(), Eyes::Same);
    let containers = [ContainerRef { name: "app".into(), id }];
    let mut seen = 0;
    let before = cpu();
    for _ in 0..ROUNDS {
        let facts = walk(&proc, &containers).expect("/proc can be listed");
        let sightings = eyes.look(&proc, facts).await;
        seen = survey(RequestUid("bench".into()), &containers, &sightings).processes.len();
    }
    let each = cpu().saturating_sub(before) / ROUNDS;
    for process in &mut processes {
        process.kill().expect("it is ours");
        process.wait().expect("it is ours");
    }
    std::fs::remove_dir(group).expect("nothing is in it");
    assert_eq!(seen, PROCESSES, "all of them are found");
    let ms = each.as_secs_f64() * 1e3;
    println!("| a look at {PROCESSES} processes: CPU time | 5 ms | {ms:.1} ms | {ROUNDS} rounds |");
}
