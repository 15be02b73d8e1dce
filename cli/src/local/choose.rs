//! Which process is meant.

use crate::exit::{Exit, Failure};
use pitwall_sidecar::discover::{
    node::is_node_executable,
    procfs::{Facts, ProcRoot},
    shown_command,
};
use std::fmt::Write as _;

/// How many processes a refusal lists.
const LISTED: usize = 10;

/// The process with this pid, or the only Node.js process whose command line holds this text.
pub(super) fn choose(proc: &ProcRoot, pid: Option<u32>, command: Option<&str>) -> Result<Facts, Failure> {
    if let Some(pid) = pid {
        let facts = proc.facts(pid);
        return facts.ok_or_else(|| Failure::usage(format!("there is no process {pid} on this machine")));
    }
    let text = command.unwrap_or_default();
    let own = std::process::id();
    let pids = proc.pids().map_err(|error| {
        Failure::new(Exit::Failed, format!("listing {}: {error}", proc.as_path().display()))
    })?;
    let found = pids.into_iter().filter(|pid| *pid != own).filter_map(|pid| {
        let executable = proc.executable(pid).ok().filter(|path| is_node_executable(path));
        executable.and_then(|_| proc.facts(pid))
    });
    the_only(found.filter(|facts| facts.command.join(" ").contains(text)).collect(), text)
}

fn the_only(mut found: Vec<Facts>, text: &str) -> Result<Facts, Failure> {
    if found.is_empty() {
        return Err(Failure::usage(format!(
            "no Node.js process that you may look at has \"{text}\" in its command line: `ps aux | grep node` lists them, \
             and those of other users want sudo"
        )));
    }
    if found.len() == 1 {
        return Ok(found.remove(0));
    }
    found.sort_by_key(|facts| facts.id.pid);
    let mut message = format!(
        "{} Node.js processes have \"{text}\" in their command lines; name one by its pid:",
        found.len()
    );
    for facts in found.iter().take(LISTED) {
        let _ = write!(message, "\n  {}  {}", facts.id.pid, shown_command(&facts.command));
    }
    Err(Failure::usage(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pitwall_protocol::ProcessId;
    use pitwall_sidecar::discover::parse::{SignalSet, Status};

    fn process(pid: u32, command: &str) -> Facts {
        Facts {
            id: ProcessId { pid, start_ticks: 1 },
            status: Status {
                name: "node".to_owned(),
                parent: 1,
                uid: 1000,
                gid: 1000,
                inner_pid: pid,
                caught: SignalSet(0x200),
                blocked: SignalSet(0),
                ended: false,
            },
            command: command.split(' ').map(str::to_owned).collect(),
            container: None,
        }
    }

    #[test]
    fn one_is_taken_and_several_are_listed() {
        assert_eq!(the_only(vec![process(7, "node a.js")], "a").unwrap().id.pid, 7);
        let several = the_only(vec![process(9, "node b.js"), process(7, "node a.js")], "node").unwrap_err();
        assert_eq!(several.exit, Exit::Usage);
        assert!(several.message.contains("7  node a.js\n  9  node b.js"), "{}", several.message);
        assert!(the_only(vec![], "x").unwrap_err().message.contains("\"x\""));
    }
}
