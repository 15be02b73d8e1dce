//! What the operator hears of a session, and when. Pure.

use super::machine::{Inspector, Session, millis};
use pitwall_protocol::{SessionPhase, SessionReport};
use std::mem::discriminant;
use std::time::{Duration, Instant};

/// The progress of collecting and uploading is told at most this often.
pub(super) const UPLOAD_PAUSE: Duration = Duration::from_secs(1);

/// A phase in the words of a message.
pub(super) fn doing(phase: &SessionPhase) -> &'static str {
    match phase {
        SessionPhase::Attaching => "being attached to",
        SessionPhase::Recording { .. } => "recorded",
        SessionPhase::Collecting { .. } => "handing over what was recorded",
        SessionPhase::Uploading { .. } => "recorded already and its artifact was uploaded",
        SessionPhase::Published { .. }
        | SessionPhase::Checked
        | SessionPhase::Failed(_)
        | SessionPhase::Discarded => "done with",
    }
}

impl Session {
    /// Where it stands, for the operator.
    pub fn report(&self, now: Instant) -> SessionReport {
        SessionReport {
            request: self.request.clone(),
            process: self.process,
            container: self.container.name.clone(),
            phase: self.phase(now),
            node_version: self.node_version.clone(),
            attach: self.attach.clone(),
            stall: self.stall,
            load: self.load,
            remark: self.remark.clone(),
            preflight: self.preflight.clone(),
        }
    }

    /// The phase that may be told now. An end that waits for the inspector's closing isn't told yet.
    pub(super) fn phase(&self, now: Instant) -> SessionPhase {
        if let Some(outcome) = &self.outcome {
            if self.inspector.lets_end(now) {
                return outcome.clone();
            }
            return self.shown.phase.clone().unwrap_or(SessionPhase::Attaching);
        }
        if let Some(upload) = &self.upload {
            return SessionPhase::Uploading {
                sent_bytes: upload.sent_bytes(),
                bytes: upload.spooled().bytes,
            };
        }
        match self.inspector {
            Inspector::Proving | Inspector::Opening | Inspector::Checking | Inspector::Beginning => {
                SessionPhase::Attaching
            }
            Inspector::Recording { since } => SessionPhase::Recording {
                elapsed_ms: millis(now.saturating_duration_since(since).min(self.window)),
                duration_ms: millis(self.window),
            },
            Inspector::Collecting { percent } => SessionPhase::Collecting { percent },
            // A lost connection: what happened shows when the process was looked at.
            Inspector::Closing
            | Inspector::WatchingLate { .. }
            | Inspector::Stuck { .. }
            | Inspector::Settled => self.shown.phase.clone().unwrap_or(SessionPhase::Attaching),
        }
    }

    /// The report that is due: at each change of phase at once, progress at intervals, the end once.
    pub(super) fn due_report(&mut self, now: Instant) -> Option<SessionReport> {
        if self.shown.ended {
            return None;
        }
        let phase = self.phase(now);
        let due = match &self.shown.phase {
            None => true,
            Some(shown) if discriminant(shown) != discriminant(&phase) => true,
            Some(shown) if *shown == phase => false,
            Some(SessionPhase::Recording { .. }) => self.next_progress().is_some_and(|at| now >= at),
            Some(_) => self.shown.at.is_some_and(|at| now >= at + UPLOAD_PAUSE),
        };
        if !due {
            return None;
        }
        self.shown.ended = phase.is_end();
        self.shown.phase = Some(phase);
        self.shown.at = Some(now);
        Some(self.report(now))
    }
}
