//! The container's main process: keeps a worker running, and never ends by itself.
//!
//! kubelet counts a native sidecar in the pod's readiness, so a worker that crashes must not take the app out
//! of its Service. This process does nothing that could crash it: it waits for signals, starts the worker
//! again with a growing pause, and passes SIGTERM on.

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, alarm};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// The first pause before the worker is started again, and the longest, in seconds.
const FIRST_PAUSE: u32 = 1;
const LONGEST_PAUSE: u32 = 60;
/// A worker that ran this long was a good one.
const GOOD_RUN: Duration = Duration::from_mins(1);

/// Supervises this program's worker until SIGTERM.
pub fn run() -> anyhow::Result<ExitCode> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD, Signal::SIGALRM] {
        signals.add(signal);
    }
    signals.thread_block().context("blocking signals")?;
    let mut supervisor =
        Supervisor { program, worker: None, started: crate::clock::now(), pause: Pause::default() };
    supervisor.start();
    loop {
        match signals.wait() {
            Ok(Signal::SIGCHLD) => supervisor.reap(),
            Ok(Signal::SIGALRM) => supervisor.start(),
            Ok(signal @ (Signal::SIGTERM | Signal::SIGINT)) => {
                alarm::cancel();
                return Ok(supervisor.end(signal, &signals));
            }
            Ok(_) | Err(_) => {}
        }
    }
}

/// Undoes in a child what [`run`] did: a mask is inherited.
pub fn unblock_signals() {
    // It can only fail on a wrong argument.
    SigSet::all().thread_unblock().ok();
}

struct Supervisor {
    program: PathBuf,
    worker: Option<Pid>,
    started: Instant,
    pause: Pause,
}

impl Supervisor {
    fn start(&mut self) {
        if self.worker.is_some() {
            return;
        }
        self.started = crate::clock::now();
        match spawn(&self.program) {
            Ok(worker) => self.worker = Some(worker),
            Err(error) => {
                eprintln!("pitwall-sidecar: starting the worker: {error}");
                self.again(Duration::ZERO);
            }
        }
    }

    /// Has the worker started again after a pause.
    fn again(&mut self, ran: Duration) {
        let seconds = self.pause.after(ran);
        eprintln!("pitwall-sidecar: starting the worker again in {seconds} s");
        alarm::set(seconds);
    }

    /// Takes note of every child that has ended: the worker, and what was left to this process.
    fn reap(&mut self) {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(status @ (WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _))) => {
                    if self.worker == Some(pid) {
                        self.worker = None;
                        eprintln!("pitwall-sidecar: the worker ended: {status:?}");
                        self.again(crate::clock::now().saturating_duration_since(self.started));
                    }
                }
                Err(Errno::EINTR) => {}
                // None has ended, none is left, or it only stopped.
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Passes the signal on, and ends when the worker has.
    fn end(&mut self, signal: Signal, signals: &SigSet) -> ExitCode {
        while let Some(worker) = self.worker {
            kill(worker, signal).ok();
            loop {
                match waitpid(worker, Some(WaitPidFlag::WNOHANG)) {
                    Ok(WaitStatus::StillAlive) => {}
                    Err(Errno::EINTR) => continue,
                    Ok(_) | Err(_) => {
                        self.worker = None;
                        break;
                    }
                }
                // A second SIGTERM is passed on too.
                if matches!(signals.wait(), Ok(Signal::SIGTERM | Signal::SIGINT)) {
                    break;
                }
            }
        }
        ExitCode::SUCCESS
    }
}

fn spawn(program: &Path) -> std::io::Result<Pid> {
    let child = Command::new(program).arg("work").spawn()?;
    // Not waited for through `Child`: every child is reaped in one place.
    Ok(Pid::from_raw(i32::try_from(child.id()).expect("a pid fits in pid_t")))
}

/// The pause before the next start. Pure.
#[derive(Debug, Default)]
struct Pause {
    failures: u32,
}

impl Pause {
    /// In seconds, after a worker that ran so long.
    fn after(&mut self, ran: Duration) -> u32 {
        if ran >= GOOD_RUN {
            self.failures = 0;
        }
        let seconds = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10)).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_while_workers_die_young_and_start_anew_after_a_good_run() {
        let mut pause = Pause::default();
        let young = Duration::from_secs(2);
        let pauses: Vec<_> = (0..8).map(|_| pause.after(young)).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pause.after(GOOD_RUN), 1);
        assert_eq!(pause.after(young), 2);
    }
}
