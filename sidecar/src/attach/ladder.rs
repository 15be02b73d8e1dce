//! The proofs that come before a signal, in order. Pure.
//!
//! The default action of SIGUSR1 is death, so each of them must hold: that it is this process, that it is
//! Node, that it catches the signal, that nobody else's inspector is open, and that its port is free.

use super::sight::Sight;
use crate::discover::node::{InspectorPlan, is_node_executable};
use crate::discover::parse::Listener;
use crate::discover::procfs::Facts;
use crate::discover::{cut, shown_command};
use pitwall_protocol::{Failure, FailureReason, ProcessId};

/// The longest message of a failure, in bytes.
const LONGEST_MESSAGE: usize = 1024;
/// A process younger than this may still be about to install its handler.
const YOUNG_SECONDS: u64 = 30;

/// All that is known of a process before it is signalled.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// What everybody may read.
    pub facts: Facts,
    /// What its own ids may read.
    pub sight: Sight,
    /// Every listening socket of the pod.
    pub listeners: Vec<Listener>,
    /// The process, if one could be found, that holds the inspector's port though it isn't this one.
    pub taken_by: Option<Taker>,
    /// How long ago it was started.
    pub age_seconds: Option<u64>,
    /// How many connections the inspector's port has, where the process opened it at its start.
    pub clients: usize,
}

/// Another process on the inspector's port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taker {
    /// Its pid.
    pub pid: u32,
    /// Its command line.
    pub command: String,
}

/// What the proofs yield for the attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proved {
    /// Where the inspector will open.
    pub plan: InspectorPlan,
    /// The sockets that listened before the signal, by inode: none of them is the inspector.
    pub known: Vec<u64>,
    /// What `process.pid` must say.
    pub inner_pid: u32,
    /// The inspector that the process opened itself and nobody uses: nothing is signalled, and it is left open.
    pub opened: Option<Listener>,
}

/// A failure with its message cut to what the protocol takes.
pub fn failure(reason: FailureReason, message: impl Into<String>) -> Failure {
    Failure { reason, message: cut(message.into(), LONGEST_MESSAGE) }
}

/// The failure of a process that isn't there any more.
pub fn gone(process: ProcessId) -> Failure {
    failure(
        FailureReason::ProcessGone,
        format!(
            "looked for pid {} that was started at tick {}: it has ended, or another process has its pid now; \
             make a new request",
            process.pid, process.start_ticks
        ),
    )
}

/// Whether a process is to be listed as Node: its executable says so or, where that can't be read, its name.
pub fn may_be_node(one: &Sighting) -> bool {
    match &one.sight.executable {
        Ok(path) => is_node_executable(path),
        Err(_) => {
            is_node_executable(&one.facts.status.name)
                || one.facts.command.first().is_some_and(|command| is_node_executable(command))
        }
    }
}

/// Climbs the ladder: each rung fails with its own reason.
pub fn climb(one: &Sighting) -> Result<Proved, Failure> {
    is_node(one)?;
    let plan = one.sight.plan(&one.facts);
    opens_on_loopback(one, &plan)?;
    shows_its_id(one, &plan)?;
    if let Some(opened) = open_and_unused(one, &plan) {
        return Ok(Proved { opened: Some(opened), ..proved(one, plan) });
    }
    catches_the_signal(one)?;
    no_inspector_is_open(one, &plan)?;
    port_is_free(one, &plan)?;
    Ok(proved(one, plan))
}

fn proved(one: &Sighting, plan: InspectorPlan) -> Proved {
    let known = one.listeners.iter().map(|listener| listener.inode).collect();
    Proved { plan, known, inner_pid: one.facts.status.inner_pid, opened: None }
}

/// The inspector that the process opened at its start, if nobody is connected to it.
fn open_and_unused(one: &Sighting, plan: &InspectorPlan) -> Option<Listener> {
    let own = |listener: &&Listener| {
        listener.port == plan.port && listener.is_loopback() && one.sight.held.contains(&listener.inode)
    };
    (plan.opened_at_start && one.clients == 0).then(|| one.listeners.iter().find(own).cloned()).flatten()
}

fn is_node(one: &Sighting) -> Result<(), Failure> {
    let pid = one.facts.id.pid;
    match &one.sight.executable {
        Ok(path) if is_node_executable(path) => Ok(()),
        Ok(path) => Err(failure(
            FailureReason::NotNode,
            format!(
                "pid {pid} executes {path}, which {}; it was not signalled. Name a Node.js process",
                one.sight.lookalike.as_ref().map_or("isn't Node".to_owned(), |name| format!("is {name}"))
            ),
        )),
        Err(error) => Err(failure(
            FailureReason::ExecutableUnreadable,
            format!(
                "read /proc/{pid}/exe of a process with uid {} and gid {} to prove that it is Node: {error}. \
                 The sidecar must run with the same uid and gid, and the process may hold no capabilities \
                 that the sidecar lacks: say runAsUser and runAsGroup in the pod's securityContext and \
                 restart the pod",
                one.facts.status.uid, one.facts.status.gid
            ),
        )),
    }
}

fn catches_the_signal(one: &Sighting) -> Result<(), Failure> {
    let (pid, status) = (one.facts.id.pid, &one.facts.status);
    if status.caught.has_usr1() {
        return Ok(());
    }
    let seen = format!(
        "pid {pid} has no handler for SIGUSR1 (SigCgt {:x}, SigBlk {:x})",
        status.caught.0, status.blocked.0
    );
    let young = one.age_seconds.is_none_or(|age| age < YOUNG_SECONDS);
    // Node blocks the signal in its first moments too, which on a busy machine are many seconds.
    if status.blocked.has_usr1() && (!young || says_disabled(one)) {
        return Err(failure(
            FailureReason::InspectorDisabled,
            format!(
                "{seen} and blocks it: it runs with --disable-sigusr1, or with --permission without \
                 --allow-inspector. Restart it without that option"
            ),
        ));
    }
    if young {
        return Err(failure(
            FailureReason::NotReady,
            format!("{seen}: it is still starting, and the signal would kill it. Try again in a second"),
        ));
    }
    Err(failure(
        FailureReason::InspectorDisabled,
        format!(
            "{seen} though it isn't starting any more: the app has probably removed a SIGUSR1 handler of its \
             own, and the signal would kill it now. Restart the app, without that handler"
        ),
    ))
}

/// Whether the options that block the signal for good are in plain sight.
fn says_disabled(one: &Sighting) -> bool {
    let disables =
        |option: &str| ["--disable-sigusr1", "--permission", "--experimental-permission"].contains(&option);
    let in_environment = one.sight.node_options.as_deref().unwrap_or_default().split_whitespace();
    one.facts.command.iter().map(String::as_str).chain(in_environment).any(disables)
}

fn opens_on_loopback(one: &Sighting, plan: &InspectorPlan) -> Result<(), Failure> {
    if !plan.is_exposed() {
        return Ok(());
    }
    Err(failure(
        FailureReason::InspectorFailed,
        format!(
            "pid {} is told to open its inspector on {}, where others than this pod could reach it; it was not \
             signalled. Take the host out of --inspect-port or --inspect in the command or in NODE_OPTIONS",
            one.facts.id.pid,
            plan.host.as_deref().unwrap_or_default()
        ),
    ))
}

fn no_inspector_is_open(one: &Sighting, plan: &InspectorPlan) -> Result<(), Failure> {
    let pid = one.facts.id.pid;
    let own = |listener: &&Listener| listener.port == plan.port && one.sight.held.contains(&listener.inode);
    let seen = if let Some(listener) = one.listeners.iter().find(own) {
        format!("pid {pid} already listens on its inspector's port, {}:{}", listener.address, listener.port)
    } else if plan.opened_at_start {
        format!("pid {pid} was started with --inspect ({})", shown_command(&one.facts.command))
    } else {
        return Ok(());
    };
    Err(failure(
        FailureReason::InspectorAlreadyOpen,
        format!(
            "{seen}: an inspector that somebody else opened isn't Pitwall's to use or to close. End that \
             debugging session, or restart the process without --inspect"
        ),
    ))
}

fn shows_its_id(one: &Sighting, plan: &InspectorPlan) -> Result<(), Failure> {
    if !plan.hides_its_id {
        return Ok(());
    }
    Err(failure(
        FailureReason::InspectorDisabled,
        format!(
            "pid {} was started with --inspect-publish-uid without http, so nobody can connect to its \
             inspector without reading its stderr; it was not signalled. Restart it without that option",
            one.facts.id.pid
        ),
    ))
}

fn port_is_free(one: &Sighting, plan: &InspectorPlan) -> Result<(), Failure> {
    let Some(listener) = one.listeners.iter().find(|listener| plan.port != 0 && listener.takes(plan.port))
    else {
        return Ok(());
    };
    let by = one.taken_by.as_ref().map_or_else(
        || "another process".to_owned(),
        |taker| format!("pid {} ({})", taker.pid, taker.command),
    );
    Err(failure(
        FailureReason::PortTaken,
        format!(
            "pid {} would open its inspector on port {}, but {by} listens on {}:{}. Free that port, or give \
             the process another one with NODE_OPTIONS=--inspect-port=0",
            one.facts.id.pid, plan.port, listener.address, listener.port
        ),
    ))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::discover::parse::{SignalSet, Status};

    /// A process that every proof holds for.
    pub(crate) fn sighting(pid: u32) -> Sighting {
        Sighting {
            facts: Facts {
                id: ProcessId { pid, start_ticks: 1000 },
                status: Status {
                    name: "node".into(),
                    parent: 0,
                    uid: 1000,
                    gid: 1000,
                    inner_pid: 3,
                    caught: SignalSet(0x4602),
                    blocked: SignalSet(0),
                    ended: false,
                },
                command: vec!["node".into(), "server.js".into()],
                container: None,
            },
            sight: Sight {
                executable: Ok("/usr/bin/node".into()),
                lookalike: None,
                node_options: None,
                held: vec![],
            },
            listeners: vec![Listener { address: "0.0.0.0".parse().unwrap(), port: 3000, inode: 7 }],
            taken_by: None,
            age_seconds: Some(3600),
            clients: 0,
        }
    }

    fn listener(address: &str, port: u16, inode: u64) -> Listener {
        Listener { address: address.parse().unwrap(), port, inode }
    }

    #[test]
    fn a_serving_process_is_proved_with_what_listened_before() {
        assert_eq!(
            climb(&sighting(17)).unwrap(),
            Proved {
                plan: InspectorPlan { port: 9229, ..InspectorPlan::default() },
                known: vec![7],
                inner_pid: 3,
                opened: None,
            }
        );
    }

    #[test]
    fn each_proof_fails_with_its_own_reason_and_says_what_was_seen() {
        type Spoil = fn(&mut Sighting);
        use FailureReason as R;
        let rows: [(Spoil, R, &str); 17] = [
            (|one| one.sight.executable = Ok("/usr/bin/python3".into()), R::NotNode, "/usr/bin/python3"),
            (
                |one| one.sight.executable = Err("Permission denied".into()),
                R::ExecutableUnreadable,
                "uid 1000",
            ),
            (
                |one| (one.facts.status.caught, one.age_seconds) = (SignalSet(0x4402), Some(1)),
                R::NotReady,
                "SigCgt 4402",
            ),
            (
                |one| (one.facts.status.caught, one.age_seconds) = (SignalSet(0), None),
                R::NotReady,
                "starting",
            ),
            (|one| one.facts.status.caught = SignalSet(0x4402), R::InspectorDisabled, "removed"),
            (
                |one| {
                    (one.facts.status.caught, one.facts.status.blocked) =
                        (SignalSet(0x4402), SignalSet(0x200));
                },
                R::InspectorDisabled,
                "--disable-sigusr1",
            ),
            (
                |one| {
                    (one.facts.status.caught, one.facts.status.blocked) =
                        (SignalSet(0x4402), SignalSet(0x200));
                    one.age_seconds = Some(0);
                },
                R::NotReady,
                "SigBlk 200",
            ),
            (
                |one| {
                    (one.facts.status.caught, one.facts.status.blocked) =
                        (SignalSet(0x4402), SignalSet(0x200));
                    one.age_seconds = Some(0);
                    one.sight.node_options = Some("--disable-sigusr1".into());
                },
                R::InspectorDisabled,
                "--disable-sigusr1",
            ),
            (
                |one| one.sight.node_options = Some("--inspect-port=0.0.0.0:9229".into()),
                R::InspectorFailed,
                "0.0.0.0",
            ),
            (
                |one| one.facts.command = vec!["node".into(), "--inspect".into(), "a.js".into()],
                R::InspectorAlreadyOpen,
                "--inspect",
            ),
            (
                |one| (one.listeners, one.sight.held) = (vec![listener("127.0.0.1", 9229, 8)], vec![8]),
                R::InspectorAlreadyOpen,
                "127.0.0.1:9229",
            ),
            (
                |one| one.sight.node_options = Some("--inspect-publish-uid=stderr".into()),
                R::InspectorDisabled,
                "--inspect-publish-uid",
            ),
            (|one| one.listeners.push(listener("127.0.0.1", 9229, 8)), R::PortTaken, "another process"),
            (|one| one.listeners.push(listener("0.0.0.0", 9229, 8)), R::PortTaken, "0.0.0.0:9229"),
            (|one| one.listeners.push(listener("::", 9229, 8)), R::PortTaken, ":::9229"),
            (
                |one| {
                    one.listeners.push(listener("127.0.0.1", 9229, 8));
                    one.taken_by = Some(Taker { pid: 5, command: "npm start".into() });
                },
                R::PortTaken,
                "pid 5 (npm start)",
            ),
            (
                |one| {
                    one.sight.node_options = Some("--inspect-port=9300".into());
                    one.listeners.push(listener("127.0.0.1", 9300, 8));
                },
                R::PortTaken,
                "9300",
            ),
        ];
        for (spoil, reason, text) in rows {
            let mut one = sighting(17);
            spoil(&mut one);
            let failure = climb(&one).unwrap_err();
            assert_eq!(failure.reason, reason, "{}", failure.message);
            assert!(failure.message.contains(text) && failure.message.contains("17"), "{}", failure.message);
        }
    }

    #[test]
    fn an_inspector_that_the_process_opened_is_used_if_nobody_else_does() {
        let opened = |options: &str, clients, address| {
            let mut one = sighting(17);
            one.facts.command = format!("node {options} a.js").split(' ').map(str::to_owned).collect();
            one.facts.status.caught = SignalSet(0);
            one.clients = clients;
            one.listeners.push(listener(address, 9229, 8));
            one.sight.held = vec![8];
            climb(&one)
        };
        let proved = opened("--inspect", 0, "127.0.0.1").unwrap();
        assert_eq!(proved.opened, Some(listener("127.0.0.1", 9229, 8)));
        for (options, clients, address) in [
            ("--inspect", 1, "127.0.0.1"),
            ("--inspect=0.0.0.0", 0, "0.0.0.0"),
            ("--inspect", 0, "0.0.0.0"),
            ("--no-warnings", 0, "127.0.0.1"),
        ] {
            assert!(opened(options, clients, address).is_err(), "{options} {clients} {address}");
        }
    }

    #[test]
    fn a_port_of_the_kernels_choice_is_never_taken() {
        let mut one = sighting(17);
        one.facts.command = vec!["node".into(), "--inspect-port=0".into(), "a.js".into()];
        one.listeners.push(listener("127.0.0.1", 9229, 8));
        assert_eq!(climb(&one).unwrap().plan.port, 0);
    }

    #[test]
    fn a_hostile_command_line_does_not_lengthen_the_message() {
        let mut one = sighting(17);
        one.sight.executable = Ok(format!("/{}", "x".repeat(5000)));
        assert!(climb(&one).unwrap_err().message.len() <= LONGEST_MESSAGE);
    }

    #[test]
    fn an_unreadable_executable_is_listed_by_its_name_only() {
        let mut one = sighting(17);
        one.sight.executable = Err("Permission denied".into());
        assert!(may_be_node(&one));
        one.facts.status.name = "MainThread".into();
        assert!(may_be_node(&one), "by its command");
        one.facts.command = vec!["python3".into()];
        assert!(!may_be_node(&one));
    }
}
