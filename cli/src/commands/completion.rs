//! Completion: of `kubectl-pitwall` by scripts of clap's making, of `kubectl pitwall` by kubectl's own
//! protocol (a program `kubectl_complete-pitwall` prints one candidate a line, then a directive).

use crate::{
    args::{Cli, Shell},
    exit::Exit,
    view::screen::print,
};
use clap::{Command, CommandFactory as _};

/// What kubectl runs: <https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/>
const KUBECTL: &str = "#!/bin/sh\n\
    # Save as kubectl_complete-pitwall, executable, in a folder of the PATH.\n\
    exec kubectl-pitwall __complete -- \"$@\"\n";

/// cobra's `ShellCompDirectiveNoFileComp`.
const NO_FILES: &str = ":4\n";

pub(super) fn script(shell: Shell) -> Exit {
    let clap_shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
        Shell::Kubectl => {
            print(KUBECTL);
            return Exit::Done;
        }
    };
    let mut bytes = Vec::new();
    clap_complete::generate(clap_shell, &mut Cli::command(), "kubectl-pitwall", &mut bytes);
    print(&String::from_utf8_lossy(&bytes));
    Exit::Done
}

pub(super) fn complete(words: &[String]) -> Exit {
    let mut text = candidates(Cli::command(), words).join("\n");
    if !text.is_empty() {
        text.push('\n');
    }
    print(&(text + NO_FILES));
    Exit::Done
}

/// What the last word can become, given the ones before it.
fn candidates(mut command: Command, words: &[String]) -> Vec<String> {
    command.build();
    let Some((last, before)) = words.split_last() else { return Vec::new() };
    let mut current = &command;
    for word in before {
        current = current.find_subcommand(word).unwrap_or(current);
    }
    let awaited = before.last().and_then(|word| {
        current.get_arguments().find(|argument| {
            argument.get_action().takes_values()
                && (argument.get_long().is_some_and(|long| *word == format!("--{long}"))
                    || argument.get_short().is_some_and(|short| *word == format!("-{short}")))
        })
    });
    let all: Vec<String> = if let Some(argument) = awaited {
        argument.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect()
    } else if last.starts_with('-') {
        let flags = current.get_arguments().filter(|argument| !argument.is_hide_set());
        flags.filter_map(|argument| argument.get_long()).map(|long| format!("--{long}")).collect()
    } else {
        let commands = current.get_subcommands().filter(|command| !command.is_hide_set());
        let values = current.get_positionals().flat_map(clap::Arg::get_possible_values);
        commands
            .map(|command| command.get_name().to_owned())
            .chain(values.map(|value| value.get_name().to_owned()))
            .collect()
    };
    all.into_iter().filter(|candidate| candidate.starts_with(last.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_complete_to_commands_flags_and_values() {
        for (line, expected) in [
            ("c", &["cpu", "completion"][..]),
            ("cpu --p", &["--pods", "--pick"]),
            ("cpu deploy/x --pick ", &["Oldest", "Newest", "Random", "Busiest"]),
            ("cpu deploy/x -n s", &[]),
            ("completion z", &["zsh"]),
            ("cpu de", &[]),
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(candidates(Cli::command(), &words), expected, "{line}");
        }
    }
}
