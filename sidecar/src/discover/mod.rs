//! Which processes are Node, which of them serve, and which can be recorded.

pub mod node;
pub mod parse;
pub mod procfs;
mod sock_diag;

use crate::attach::ladder::{self, Sighting};
use pitwall_protocol::{
    ContainerRef, Lookalike, MAX_LOOKALIKES, MAX_PROCESSES, Process, Readiness, RequestUid, Seen,
};
use procfs::{Facts, ProcRoot};
use std::collections::{HashMap, HashSet};

/// The longest command that is shown, in bytes.
const LONGEST_COMMAND: usize = 256;

/// The processes of the containers that a `Look` names, with what everybody may know about them. Never one
/// of the sidecar's own container.
pub fn walk(proc: &ProcRoot, containers: &[ContainerRef]) -> std::io::Result<Vec<Facts>> {
    let own = proc.container(std::process::id());
    let asked = |id: &String| containers.iter().any(|one| one.id == *id) && Some(id) != own.as_ref();
    Ok(proc
        .pids()?
        .into_iter()
        // The cheap question first: most processes may belong to others.
        .filter(|pid| *pid != std::process::id() && proc.container(*pid).as_ref().is_some_and(asked))
        .filter_map(|pid| proc.facts(pid))
        .filter(|facts| !facts.status.ended && facts.container.as_ref().is_some_and(asked))
        .collect())
}

/// The answer to a `Look`, from one sighting a process.
pub fn survey(request: RequestUid, containers: &[ContainerRef], sightings: &[Sighting]) -> Seen {
    let nodes: Vec<&Sighting> = sightings.iter().filter(|one| ladder::may_be_node(one)).collect();
    let wrappers = wrappers(sightings, &nodes);
    let mut processes: Vec<Process> = nodes
        .iter()
        .filter(|one| !wrappers.contains(&one.facts.id.pid))
        .map(|one| Process {
            id: one.facts.id,
            container: container_name(containers, &one.facts),
            command: shown_command(&one.facts.command),
            readiness: match ladder::climb(one) {
                Ok(_) => Readiness::Ready,
                Err(failure) => Readiness::NotReady(failure),
            },
            cpu_millicores: None,
        })
        .collect();
    processes.sort_by_key(|process| process.id);
    processes.truncate(MAX_PROCESSES);
    let others = u32::try_from(sightings.len() - processes.len()).unwrap_or(u32::MAX);
    let mut lookalikes: Vec<Lookalike> = sightings
        .iter()
        .filter_map(|one| {
            Some(Lookalike {
                pid: one.facts.id.pid,
                container: container_name(containers, &one.facts),
                runtime: one.sight.lookalike.clone()?,
            })
        })
        .collect();
    lookalikes.sort_by_key(|lookalike| lookalike.pid);
    lookalikes.truncate(MAX_LOOKALIKES);
    Seen { request, processes, others, lookalikes }
}

fn container_name(containers: &[ContainerRef], facts: &Facts) -> String {
    let id = facts.container.as_deref().unwrap_or_default();
    containers.iter().find(|one| one.id == id).map_or_else(String::new, |one| one.name.clone())
}

/// Node processes that have a Node descendant in their container: `npm start`, `yarn`, a cluster's primary.
fn wrappers(all: &[Sighting], nodes: &[&Sighting]) -> HashSet<u32> {
    let by_pid: HashMap<u32, &Facts> = all.iter().map(|one| (one.facts.id.pid, &one.facts)).collect();
    let mut wrappers = HashSet::new();
    for node in nodes {
        let mut seen = HashSet::from([node.facts.id.pid]);
        let mut parent = node.facts.status.parent;
        // Pids can be used again between two reads, so a circle is possible.
        while let Some(facts) = by_pid.get(&parent)
            && seen.insert(parent)
            && facts.container == node.facts.container
        {
            wrappers.insert(parent);
            parent = facts.status.parent;
        }
    }
    wrappers
}

/// The command line for people, cut at a character's end.
pub fn shown_command(command: &[String]) -> String {
    cut(command.join(" "), LONGEST_COMMAND)
}

/// Cuts a text to at most `longest` bytes, at a character's end.
pub fn cut(mut text: String, longest: usize) -> String {
    if text.len() > longest {
        let mark = '…';
        let end = (0..=longest.saturating_sub(mark.len_utf8())).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        text.push(mark);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attach::ladder::tests::sighting;
    use pitwall_protocol::FailureReason;

    const APP: &str = "3f1c0e1f9d0b4a5c6d7e8f90112233445566778899aabbccddeeff0011223344";
    const OTHER: &str = "4f1c0e1f9d0b4a5c6d7e8f90112233445566778899aabbccddeeff0011223344";

    fn process(pid: u32, parent: u32, executable: &str, container: &str) -> Sighting {
        let mut one = sighting(pid);
        one.facts.status.parent = parent;
        one.facts.container = Some(container.into());
        one.sight.executable = Ok(executable.into());
        one
    }

    fn containers() -> Vec<ContainerRef> {
        vec![
            ContainerRef { name: "app".into(), id: APP.into() },
            ContainerRef { name: "other".into(), id: OTHER.into() },
        ]
    }

    fn pids_and_others(sightings: &[Sighting]) -> (Vec<u32>, u32) {
        let seen = survey(RequestUid("r".into()), &containers(), sightings);
        (seen.processes.iter().map(|one| one.id.pid).collect(), seen.others)
    }

    #[test]
    fn the_serving_descendant_is_chosen_over_its_wrapper() {
        let node = "/usr/bin/node";
        let rows: [(&str, Vec<Sighting>, Vec<u32>, u32); 6] = [
            ("one process", vec![process(5, 0, node, APP)], vec![5], 0),
            (
                "npm start",
                vec![process(5, 0, node, APP), process(6, 5, "/bin/sh", APP), process(7, 6, node, APP)],
                vec![7],
                2,
            ),
            (
                "a cluster",
                vec![process(5, 0, node, APP), process(6, 5, node, APP), process(7, 5, node, APP)],
                vec![6, 7],
                1,
            ),
            ("two apps", vec![process(6, 0, node, APP), process(5, 0, node, OTHER)], vec![5, 6], 0),
            (
                "a parent in another container",
                vec![process(5, 0, node, APP), process(6, 5, node, OTHER)],
                vec![5, 6],
                0,
            ),
            (
                "no Node",
                vec![process(5, 0, "/usr/bin/python3", APP), process(6, 5, "/bin/sleep", APP)],
                vec![],
                2,
            ),
        ];
        for (case, sightings, expected, others) in rows {
            assert_eq!(pids_and_others(&sightings), (expected, others), "{case}");
        }
    }

    #[test]
    fn a_circle_of_parents_ends() {
        let sightings = [process(5, 6, "/usr/bin/node", APP), process(6, 5, "/bin/sh", APP)];
        assert_eq!(pids_and_others(&sightings), (vec![5], 1));
    }

    #[test]
    fn the_list_is_bounded() {
        let sightings: Vec<_> = (1..=100).map(|pid| process(pid, 0, "/usr/bin/node", APP)).collect();
        let (pids, others) = pids_and_others(&sightings);
        assert_eq!((pids.len(), others), (MAX_PROCESSES, 36));
    }

    #[test]
    fn a_process_that_is_not_ready_is_listed_with_the_proof_that_failed() {
        let mut one = process(5, 0, "/usr/bin/node", APP);
        one.facts.status.caught = parse::SignalSet(0);
        one.age_seconds = Some(0);
        let seen = survey(RequestUid("r".into()), &containers(), &[one]);
        assert!(matches!(
            &seen.processes[0].readiness,
            Readiness::NotReady(failure) if failure.reason == FailureReason::NotReady
        ));
        assert_eq!(seen.processes[0].container, "app");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("short".into(), 10), "short");
        assert_eq!(cut("0123456789".into(), 10), "0123456789");
        assert_eq!(cut("0123456789a".into(), 10), "0123456…");
        assert_eq!(cut("ééééééé".into(), 10), "ééé…");
        for longest in 3..40 {
            assert!(shown_command(&["é".repeat(400)]).len() <= LONGEST_COMMAND);
            assert!(cut("é€𝄞".repeat(9), longest).len() <= longest);
        }
    }
}
