//! SIGUSR1, to a process that can't be mistaken for another.

use super::ladder::{failure, gone};
use crate::discover::node::is_node_executable;
use crate::discover::procfs::ProcRoot;
use pitwall_protocol::{Failure, FailureReason, ProcessId};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Takes a descriptor of the process, proves once more that it is this very process, still Node and still
/// catching the signal, and signals through the descriptor: a pid that is used again can't get it.
pub fn send_usr1(proc: &ProcRoot, process: ProcessId) -> Result<(), Failure> {
    let pid = process.pid;
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| gone(process))?;
    let descriptor = pidfd_open(raw, PidfdFlags::empty()).map_err(|error| match error {
        rustix::io::Errno::SRCH => gone(process),
        other => failure(FailureReason::InspectorDidNotOpen, format!("pidfd_open of pid {pid}: {other}")),
    })?;
    let facts = proc.facts(pid).filter(|facts| facts.id == process && !facts.status.ended);
    let facts = facts.ok_or_else(|| gone(process))?;
    match proc.executable(pid) {
        Ok(path) if is_node_executable(&path) => {}
        Ok(path) => {
            return Err(failure(
                FailureReason::NotNode,
                format!("pid {pid} executes {path} by now, which isn't Node; it was not signalled"),
            ));
        }
        Err(error) => {
            return Err(failure(
                FailureReason::ExecutableUnreadable,
                format!("read /proc/{pid}/exe again right before the signal: {error}; it was not signalled"),
            ));
        }
    }
    if !facts.status.caught.has_usr1() {
        return Err(failure(
            FailureReason::NotReady,
            format!("pid {pid} stopped catching SIGUSR1 right before the signal; it was not signalled"),
        ));
    }
    pidfd_send_signal(&descriptor, Signal::USR1).map_err(|error| match error {
        rustix::io::Errno::SRCH => gone(process),
        other => failure(
            FailureReason::InspectorDidNotOpen,
            format!(
                "SIGUSR1 to pid {pid} (uid {}): {other}. The sidecar must run with the process's uid",
                facts.status.uid
            ),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    struct Running(Child);
    impl Drop for Running {
        fn drop(&mut self) {
            self.0.kill().ok();
            self.0.wait().ok();
        }
    }

    #[test]
    fn a_process_that_is_not_node_lives_on() {
        let proc = ProcRoot::default();
        let mut sleep = Running(Command::new("sleep").arg("60").spawn().unwrap());
        let id = proc.identity(sleep.0.id()).unwrap();
        let refused = send_usr1(&proc, id).unwrap_err();
        assert_eq!(refused.reason, FailureReason::NotNode, "{}", refused.message);
        assert!(sleep.0.try_wait().unwrap().is_none());
    }

    #[test]
    fn a_pid_that_is_used_again_is_not_signalled() {
        let proc = ProcRoot::default();
        let sleep = Running(Command::new("sleep").arg("60").spawn().unwrap());
        let mut id = proc.identity(sleep.0.id()).unwrap();
        id.start_ticks -= 1;
        assert_eq!(send_usr1(&proc, id).unwrap_err().reason, FailureReason::ProcessGone);
    }
}
