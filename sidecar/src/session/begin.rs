//! How a session begins: by a request, by a refusal, or by what a dead worker left. Pure.

use super::effect::Effect;
use super::machine::{Inspector, LATE_WATCH, Session, Shown, Wanted};
use super::recorder;
use crate::journal::{Mark, Record};
use crate::publish::upload::Upload;
use pitwall_protocol::{
    ContainerBounds, Failure, FailureReason, Guard, OpenedBy, Recording, SessionPhase, Stall, Start,
};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// After a restart, how long the end is held back for a port that the former worker's signal may open.
const RECOVERY_HOLD: Duration = Duration::from_secs(5);
/// What is kept of the time before the deadline for collecting and uploading; at most a quarter of the whole.
const PUBLISH_RESERVE: Duration = Duration::from_secs(10);

/// A new session and what it begins with.
#[derive(Debug)]
pub struct Begun {
    /// The session.
    pub session: Session,
    /// What is to be done first.
    pub effects: Vec<Effect>,
}

impl Session {
    /// Begins what the operator asked for. `seed` is for the pauses between retries.
    pub fn start(start: Start, now: Instant, seed: u64) -> Begun {
        let deadline_in = Duration::from_millis(start.deadline_ms);
        let (recording, dry_run) = match start.recording {
            Recording::Check { recording } => (*recording, true),
            recording => (recording, false),
        };
        let deadline = now + deadline_in;
        let mut session = Self {
            request: start.request,
            request_name: start.request_name,
            process: start.process,
            container: start.container,
            wanted: Wanted {
                recording,
                bounds: start.bounds,
                guard: start.guard,
                largest_bytes: start.largest_bytes,
                overridden: start.overridden,
                dry_run,
                trace_optimizations: start.trace_optimizations,
            },
            preflight: None,
            remark: None,
            window: Duration::from_millis(start.duration_ms),
            deadline,
            latest_end: now + (deadline_in.saturating_sub(PUBLISH_RESERVE)).max(deadline_in / 4 * 3),
            inspector: Inspector::Proving,
            known: vec![],
            against_tracing: None,
            opened_by: OpenedBy::Pitwall,
            listener: None,
            first_grant: Some((start.grant, now)),
            upload: None,
            artifact: String::new(),
            waiting: VecDeque::new(),
            stored: vec![],
            ended_early: None,
            recorded: Duration::ZERO,
            node_version: None,
            attach: None,
            stall: Stall::default(),
            load: None,
            lost: None,
            outcome: None,
            outcome_journaled: false,
            stuck_rounds: 0,
            shown: Shown::default(),
            acknowledged: false,
            forgotten: false,
            random: fastrand::Rng::with_seed(seed),
        };
        let mut effects = vec![];
        let recording = &session.wanted.recording;
        let possible = match recording.of_one() {
            Recording::Cpu { sampling_interval_us } | Recording::CpuInChunks { sampling_interval_us, .. } => {
                *sampling_interval_us > 0 && start.duration_ms > 0
            }
            Recording::HeapSampling { sampling_interval_bytes, .. } => {
                *sampling_interval_bytes > 0 && start.duration_ms > 0
            }
            Recording::HeapSnapshot { .. } => start.duration_ms == 0,
            Recording::AllThreads { .. }
            | Recording::Series { .. }
            | Recording::Check { .. }
            | Recording::Unknown => false,
        };
        let possible = possible
            && recorder::can_record(recording)
            && (recording.is_cpu() || !session.wanted.trace_optimizations);
        if possible {
            effects.push(Effect::Prove);
        } else {
            session.inspector = Inspector::Settled;
            let message = format!(
                "asked to record {:?} for {:?}, which this sidecar can't: restart the pod to get a newer one",
                session.wanted.recording, session.window
            );
            session.fail(FailureReason::Unsupported, message);
        }
        session.settle(now, &mut effects);
        Begun { session, effects }
    }

    /// Refuses what the operator asked for: a session that is over before it began.
    pub fn refuse(start: Start, why: Failure, now: Instant) -> Begun {
        let mut begun = Self::start(start, now, 0);
        begun.effects.clear();
        begun.session.inspector = Inspector::Settled;
        begun.session.outcome = Some(SessionPhase::Failed(why));
        begun.session.shown = Shown::default();
        begun.session.outcome_journaled = false;
        begun.session.settle(now, &mut begun.effects);
        begun
    }

    /// Takes over what a worker that died has left.
    pub fn recover(record: Record, unix_ms: u64, now: Instant, seed: u64) -> Begun {
        let deadline = now + Duration::from_millis(record.deadline_left_ms(unix_ms));
        let mut effects = vec![];
        let (inspector, known, listener) = match record.inspector {
            Mark::Clear => (Inspector::Settled, vec![], None),
            Mark::Signalled { known } => {
                effects.push(Effect::CloseLate { known: known.clone(), watch_for: LATE_WATCH });
                (Inspector::WatchingLate { tell_from: now + RECOVERY_HOLD }, known, None)
            }
            Mark::Open { listener } => {
                effects.push(Effect::Close { listener: listener.clone() });
                (Inspector::Closing, vec![], Some(listener))
            }
        };
        let mut session = Self {
            request: record.request,
            request_name: record.request_name,
            process: record.process,
            container: record.container,
            // Nothing is recorded any more.
            wanted: Wanted {
                recording: Recording::Unknown,
                bounds: ContainerBounds::default(),
                guard: Guard::default(),
                largest_bytes: None,
                overridden: vec![],
                dry_run: false,
                trace_optimizations: false,
            },
            preflight: record.preflight,
            remark: record.remark,
            window: Duration::ZERO,
            deadline,
            latest_end: deadline,
            inspector,
            known,
            against_tracing: None,
            opened_by: OpenedBy::Pitwall,
            listener,
            first_grant: None,
            upload: record.spooled.map(Upload::new),
            artifact: record.artifact,
            waiting: record.waiting.into(),
            stored: record.stored,
            ended_early: record.ended_early,
            recorded: Duration::from_millis(record.recorded_ms),
            node_version: record.node_version,
            attach: record.attach,
            stall: record.stall,
            load: record.load,
            lost: None,
            outcome_journaled: record.end.is_some(),
            outcome: record.end,
            stuck_rounds: 0,
            shown: Shown::default(),
            acknowledged: false,
            forgotten: false,
            random: fastrand::Rng::with_seed(seed),
        };
        if session.upload.is_none() && session.outcome.is_none() {
            session.fail(
                FailureReason::SidecarRestarted,
                format!(
                    "the sidecar's worker died while it recorded pid {}; V8 dropped the profile with the \
                     connection. Make a new request; if it happens again, look at the sidecar's log and memory",
                    session.process.pid
                ),
            );
        }
        session.settle(now, &mut effects);
        Begun { session, effects }
    }
}
