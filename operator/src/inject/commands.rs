//! Reading a pod's commands, probes and hooks for what sharing the process namespace would break. Pure.
//!
//! With a shared namespace, process 1 is the pause container's and every process of the pod is in sight.
//! What is found here is a hint, not a proof: a script inside the image isn't seen. So it errs towards
//! leaving a pod alone.

use k8s_openapi::api::core::v1::{Container, LifecycleHandler, PodSpec, Probe};

/// What a pod's own words say about process 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Something addresses process 1.
    NamesPidOne,
    /// Something signals processes by name, and the pod has several containers.
    SignalsByName,
    /// An init system starts that must be process 1.
    MustBePidOne,
}

/// The first trouble found in the pod, if any.
pub(super) fn trouble(pod: &PodSpec) -> Option<Trouble> {
    let containers = || pod.containers.iter().chain(pod.init_containers.iter().flatten());
    if containers().any(must_be_pid_one) {
        return Some(Trouble::MustBePidOne);
    }
    let lines: Vec<Vec<String>> = containers().flat_map(lines).map(words).collect();
    if lines.iter().any(|words| names_pid_one(words)) {
        return Some(Trouble::NamesPidOne);
    }
    let run_on = containers().filter(|container| {
        // Init containers are over when the others start, but for those that are sidecars.
        pod.containers.iter().any(|app| app.name == container.name)
            || container.restart_policy.as_deref() == Some("Always")
    });
    if run_on.count() > 1 && lines.iter().any(|words| signals_by_name(words)) {
        return Some(Trouble::SignalsByName);
    }
    None
}

/// Init systems, as the first word of a command.
const INIT_SYSTEMS: &[&str] = &[
    "/init",
    "/sbin/init",
    "/lib/systemd/systemd",
    "/usr/lib/systemd/systemd",
    "/bin/s6-svscan",
    "/usr/bin/s6-svscan",
    "s6-svscan",
];

/// Where a publisher's images all start s6-overlay, which the pod itself doesn't show.
const INIT_SYSTEM_IMAGES: &[&str] =
    &["linuxserver/", "docker.io/linuxserver/", "lscr.io/linuxserver/", "ghcr.io/linuxserver/"];

fn must_be_pid_one(container: &Container) -> bool {
    let command = container.command.as_deref().unwrap_or_default();
    let first = command.first().or_else(|| container.args.as_ref()?.first());
    first.is_some_and(|first| INIT_SYSTEMS.contains(&first.as_str()))
        || container.env.iter().flatten().any(|env| env.name.starts_with("S6_"))
        || command.is_empty()
            && container
                .image
                .as_deref()
                .is_some_and(|image| INIT_SYSTEM_IMAGES.iter().any(|publisher| image.starts_with(publisher)))
}

/// Each command line that the container's spec holds.
fn lines(container: &Container) -> impl Iterator<Item = &[String]> {
    [
        container.command.as_deref(),
        container.args.as_deref(),
        exec_of_probe(container.liveness_probe.as_ref()),
        exec_of_probe(container.readiness_probe.as_ref()),
        exec_of_probe(container.startup_probe.as_ref()),
        exec_of_hook(container.lifecycle.as_ref().and_then(|hooks| hooks.pre_stop.as_ref())),
        exec_of_hook(container.lifecycle.as_ref().and_then(|hooks| hooks.post_start.as_ref())),
    ]
    .into_iter()
    .flatten()
}

fn exec_of_probe(probe: Option<&Probe>) -> Option<&[String]> {
    probe?.exec.as_ref()?.command.as_deref()
}

fn exec_of_hook(hook: Option<&LifecycleHandler>) -> Option<&[String]> {
    hook?.exec.as_ref()?.command.as_deref()
}

/// Shell words, near enough: split at blanks, quotes and the shell's operators, which keep a place of
/// their own so that an argument isn't taken for the next command's.
fn words(line: &[String]) -> Vec<String> {
    let mut words = Vec::new();
    for argument in line {
        for piece in argument
            .split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '(' | ')' | '{' | '}'))
        {
            let mut rest = piece;
            while let Some(at) = rest.find([';', '&', '|', '>', '<']) {
                words.extend((at > 0).then(|| rest[..at].to_owned()));
                words.push(";".to_owned());
                rest = &rest[at + 1..];
            }
            words.extend((!rest.is_empty()).then(|| rest.to_owned()));
        }
    }
    words
}

fn names_pid_one(words: &[String]) -> bool {
    words.iter().any(|word| has_proc_one(word))
        || words.iter().enumerate().any(|(at, word)| {
            let arguments = || words[at + 1..].iter().map(String::as_str).take_while(|word| *word != ";");
            match program(word) {
                "kill" => kills_pid_one(arguments()),
                "nsenter" => enters_pid_one(arguments()),
                // To every process that it may: beyond its container, once processes are shared.
                "killall5" => true,
                _ => false,
            }
        })
}

fn program(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// `/proc/1` and what is below it, but not `/proc/12`.
fn has_proc_one(word: &str) -> bool {
    word.match_indices("/proc/1")
        .any(|(at, found)| !word[at + found.len()..].starts_with(|next: char| next.is_ascii_digit()))
}

/// `kill 1`, `kill -TERM 1`, `kill -s TERM 1`, and `kill -9 -1`, which means everyone.
fn kills_pid_one<'a>(mut arguments: impl Iterator<Item = &'a str>) -> bool {
    let Some(first) = arguments.next() else { return false };
    match first {
        "1" => return true,
        "-s" | "-n" | "--signal" => {
            arguments.next();
        }
        _ => {}
    }
    arguments.any(|argument| matches!(argument, "1" | "-1"))
}

/// `nsenter -t 1`, `-t1`, `--target 1`, `--target=1`.
fn enters_pid_one<'a>(arguments: impl Iterator<Item = &'a str>) -> bool {
    let mut target_next = false;
    for argument in arguments {
        if target_next && argument == "1" || matches!(argument, "-t1" | "--target=1") {
            return true;
        }
        target_next = matches!(argument, "-t" | "--target");
    }
    false
}

fn signals_by_name(words: &[String]) -> bool {
    let says = |wanted: &[&str]| words.iter().any(|word| wanted.contains(&program(word)));
    says(&["pkill", "killall"]) || says(&["kill"]) && says(&["pidof", "pgrep"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &[&str]) -> Vec<String> {
        words(&line.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn what_names_process_one_is_seen() {
        for line in [
            &["kill", "1"][..],
            &["/bin/kill", "-TERM", "1"],
            &["sh", "-c", "kill -s QUIT 1"],
            &["sh", "-c", "kill -9 -1"],
            &["sh", "-c", "sleep 5; kill -SIGTERM 1 && sleep 10"],
            &["sh", "-c", "kill 1;sleep 1"],
            &["sh", "-c", "exec \"kill\" '1'"],
            &["cat", "/proc/1/status"],
            &["sh", "-c", "test -e /proc/1"],
            &["sh", "-c", "echo done >/proc/1/fd/1"],
            &["tail", "-f", "/proc/1/fd/1"],
            &["nsenter", "-t", "1", "ls"],
            &["nsenter", "--target=1", "ls"],
            &["killall5", "-15"],
        ] {
            assert!(names_pid_one(&of(line)), "{line:?}");
        }
    }

    #[test]
    fn what_does_not_name_process_one_is_let_be() {
        for line in [
            &["node", "server.js"][..],
            &["node", "--port", "1"],
            &["kill", "-1", "42"],
            &["sh", "-c", "kill 12; exit 1"],
            &["sh", "-c", "kill -TERM $(cat /run/app.pid) || exit 1"],
            &["cat", "/proc/12/status"],
            &["cat", "/proc/self/status"],
            &["skill", "1"],
            &["nsenter", "-t", "12"],
        ] {
            assert!(!names_pid_one(&of(line)), "{line:?}");
        }
    }

    #[test]
    fn signalling_by_name_is_seen() {
        for (line, seen) in [
            (&["pkill", "-TERM", "node"][..], true),
            (&["sh", "-c", "killall node"], true),
            (&["sh", "-c", "kill -TERM $(pidof node)"], true),
            (&["pgrep", "node"], false),
            (&["node", "server.js"], false),
        ] {
            assert_eq!(signals_by_name(&of(line)), seen, "{line:?}");
        }
    }
}
