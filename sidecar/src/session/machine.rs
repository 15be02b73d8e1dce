//! The state machine. Pure: no IO, no clock.

use super::beside;
use super::effect::{BeginError, Effect, Event};
use super::preflight::{Allowed, Measured, preflight, refusal};
use super::report::UPLOAD_PAUSE;
use crate::attach::close::Closure;
use crate::attach::ladder::{Proved, failure};
use crate::attach::open::exited;
use crate::discover::parse::Listener;
use crate::journal::{Mark, Record, session_name};
use crate::publish::collect::{Another, Collected};
use crate::publish::upload::{Step, Upload};
use pitwall_inspector::expression::TraceBegun;
use pitwall_protocol::{
    Attach, Check, ContainerBounds, ContainerRef, EarlyEnd, Failure, FailureReason, Guard, Load,
    NamedArtifact, OpenedBy, Preflight, ProcessId, Recording, RequestUid, SessionPhase, Stall,
};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long the port may take to open after the signal.
pub const ATTACH_PATIENCE: Duration = Duration::from_secs(10);
/// How long a port that didn't open is watched for further.
pub const LATE_WATCH: Duration = Duration::from_mins(1);
/// How often, and for how long, an inspector that stays open is closed again.
const STUCK_PAUSE: Duration = Duration::from_secs(30);
const MOST_STUCK_ROUNDS: u32 = 20;
/// How long after the end of the window the app closes its inspector by itself.
const SWITCH_MARGIN: Duration = Duration::from_secs(90);
/// The same of a snapshot, which must be through by then.
const SNAPSHOT_MARGIN: Duration = Duration::from_mins(20);
/// The same of V8's trace of optimizations.
pub const TRACE_MARGIN: Duration = Duration::from_secs(30);
/// Progress is reported at most this often.
const PROGRESS_PAUSE: Duration = Duration::from_secs(1);
/// And at least this often.
const LONGEST_SILENCE: Duration = Duration::from_mins(1);

/// One session.
#[derive(Debug)]
pub struct Session {
    pub(super) request: RequestUid,
    pub(super) request_name: String,
    pub(super) process: ProcessId,
    pub(super) container: ContainerRef,
    pub(super) wanted: Wanted,
    pub(super) preflight: Option<Preflight>,
    pub(super) remark: Option<String>,
    pub(super) window: Duration,
    pub(super) deadline: Instant,
    pub(super) latest_end: Instant,
    pub(super) inspector: Inspector,
    pub(super) known: Vec<u64>,
    /// The option of the process for which V8 can't be told to trace optimizations.
    pub(super) against_tracing: Option<String>,
    /// Who opened the inspector: what a session didn't open it doesn't close.
    pub(super) opened_by: OpenedBy,
    pub(super) listener: Option<Listener>,
    pub(super) first_grant: Option<Grant>,
    /// The artifact that is on its way.
    pub(super) upload: Option<Upload>,
    /// Its name; empty: the first.
    pub(super) artifact: String,
    /// The artifacts that wait for their turn.
    pub(super) waiting: VecDeque<Another>,
    /// Those that are at the store, the first one first.
    pub(super) stored: Vec<NamedArtifact>,
    pub(super) ended_early: Option<EarlyEnd>,
    pub(super) recorded: Duration,
    pub(super) node_version: Option<String>,
    pub(super) attach: Option<Attach>,
    pub(super) stall: Stall,
    pub(super) load: Option<Load>,
    /// How the connection was lost, until the inspector's lane says whether the process lives.
    pub(super) lost: Option<String>,
    /// How it ends, once that is decided.
    pub(super) outcome: Option<SessionPhase>,
    pub(super) outcome_journaled: bool,
    pub(super) stuck_rounds: u32,
    pub(super) shown: Shown,
    pub(super) acknowledged: bool,
    pub(super) forgotten: bool,
    pub(super) random: fastrand::Rng,
}

/// What was asked for.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) recording: Recording,
    pub(super) bounds: ContainerBounds,
    pub(super) guard: Guard,
    pub(super) largest_bytes: Option<u64>,
    pub(super) overridden: Vec<Check>,
    pub(super) dry_run: bool,
    pub(super) trace_optimizations: bool,
}

/// A grant that came before there was something to upload, and when.
pub(super) type Grant = (pitwall_protocol::UploadGrant, Instant);

/// What the operator was told last.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) phase: Option<SessionPhase>,
    pub(super) at: Option<Instant>,
    /// Whether that was the end.
    pub(super) ended: bool,
}

/// Where the inspector's lane stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Inspector {
    Proving,
    Opening,
    /// Between the proof and the preflight's verdict.
    Checking,
    Beginning,
    Recording {
        since: Instant,
    },
    Collecting {
        /// Of a snapshot: how much of the heap was walked.
        percent: Option<u8>,
    },
    Closing,
    /// The signal was sent and nothing has opened yet; the end may be told from this moment on.
    WatchingLate {
        tell_from: Instant,
    },
    /// It stays open after every try, and is tried again at this moment.
    Stuck {
        again_at: Instant,
    },
    /// Nothing is going on any more: never signalled, seen closed, or given up.
    Settled,
}

impl Inspector {
    /// Whether the session's end may be told.
    pub(super) fn lets_end(&self, now: Instant) -> bool {
        match self {
            Self::Settled | Self::Stuck { .. } => true,
            Self::WatchingLate { tell_from } => now >= *tell_from,
            Self::Proving
            | Self::Opening
            | Self::Checking
            | Self::Beginning
            | Self::Recording { .. }
            | Self::Collecting { .. }
            | Self::Closing => false,
        }
    }
}

impl Session {
    /// Who is recorded on whose behalf.
    pub fn key(&self) -> (RequestUid, ProcessId) {
        (self.request.clone(), self.process)
    }

    /// The container that the process is to be in.
    pub fn container(&self) -> &ContainerRef {
        &self.container
    }

    /// The most bytes that one of its artifacts may have, as stored.
    pub fn largest_bytes(&self) -> Option<u64> {
        self.wanted.largest_bytes
    }

    /// Whether the process can't be recorded for another request yet.
    pub fn occupies_process(&self) -> bool {
        self.inspector != Inspector::Settled
    }

    /// For people: the request's namespace and name.
    pub fn request_name(&self) -> &str {
        &self.request_name
    }

    /// Whether nothing is left to be done.
    pub fn is_over(&self) -> bool {
        self.forgotten
    }

    /// Whether the end was reported and only its acknowledgement is awaited.
    pub fn awaits_acknowledgement(&self) -> bool {
        self.shown.ended && !self.occupies_process()
    }

    /// When [`Event::Tick`] is due, if nothing happens before.
    pub fn wake_at(&self) -> Option<Instant> {
        let mut moments = vec![];
        match self.inspector {
            Inspector::Recording { since } => {
                moments.push(self.window_end(since));
                moments.extend(self.next_progress());
            }
            Inspector::WatchingLate { tell_from } if self.outcome.is_some() && !self.shown.ended => {
                moments.push(tell_from);
            }
            Inspector::Stuck { again_at } => moments.push(again_at),
            Inspector::Collecting { percent } => {
                // The last word before a long silence is told, too.
                if self.shown.phase != Some(SessionPhase::Collecting { percent }) {
                    moments.extend(self.shown.at.map(|at| at + UPLOAD_PAUSE));
                }
                if self.takes_a_series() {
                    moments.push(self.latest_end);
                }
            }
            _ => {}
        }
        if self.outcome.is_none() {
            moments.push(self.deadline);
            moments.extend(self.upload.as_ref().and_then(Upload::pause_until));
        }
        moments.into_iter().min()
    }

    pub(super) fn window_end(&self, since: Instant) -> Instant {
        (since + self.window).min(self.latest_end.max(since))
    }

    pub(super) fn next_progress(&self) -> Option<Instant> {
        Some(self.shown.at? + (self.window / 10).clamp(PROGRESS_PAUSE, LONGEST_SILENCE))
    }

    /// Takes in what happened, and says what is to be done, in this order.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        let mut effects = vec![];
        self.take(event, now, &mut effects);
        self.look_at_the_clock(now, &mut effects);
        self.settle(now, &mut effects);
        effects
    }

    fn take(&mut self, event: Event, now: Instant, effects: &mut Vec<Effect>) {
        match event {
            Event::Proved(result) => self.proved(result, now, effects),
            Event::Found(listener) => {
                self.listener = Some(listener);
                self.attach = Some(Attach { opened_by: OpenedBy::Pitwall, closed: false, attach_us: 0 });
                effects.push(self.journal(now));
            }
            Event::Opened { node_version, took } => {
                self.node_version = Some(node_version);
                let opened_by = self.opened_by;
                self.attach = Some(Attach { opened_by, closed: false, attach_us: micros(took) });
                if self.outcome.is_some() {
                    self.close(now, effects);
                } else if self.wanted.dry_run || needs_preflight(&self.wanted.recording) {
                    self.inspector = Inspector::Checking;
                    effects.push(Effect::Measure { recording: self.wanted.recording.clone() });
                } else {
                    self.begin(now, effects);
                }
            }
            Event::NotSignalled(failure) => {
                self.conclude(SessionPhase::Failed(failure));
                self.inspector = Inspector::Settled;
            }
            Event::Silent(failure) => {
                let over = [FailureReason::ProcessGone, FailureReason::ProcessExited];
                let process_gone = over.contains(&failure.reason);
                self.conclude(SessionPhase::Failed(failure));
                if process_gone {
                    self.closed(Closure::ProcessGone, now, effects);
                } else {
                    self.watch_late(now, effects);
                }
            }
            Event::Measured(result) => self.measured(result, now, effects),
            Event::Began(result) => self.began(result, now, effects),
            Event::Exiting => {
                if let Inspector::Recording { since } = self.inspector {
                    self.ended_early = Some(EarlyEnd::ProcessExiting);
                    self.collect(since, now, effects);
                }
            }
            Event::Progress(done) => {
                if let Inspector::Collecting { percent } = &mut self.inspector {
                    *percent = Some(done);
                }
            }
            Event::Guarded(why, numbers) => {
                if let Inspector::Recording { since } = self.inspector {
                    self.ended_early = Some(why);
                    self.remark = Some(numbers);
                    self.collect(since, now, effects);
                }
            }
            Event::Lost(how) => {
                self.lost = Some(how);
                self.close(now, effects);
            }
            Event::Collected(collected) => self.collected(*collected, now, effects),
            Event::Unusable(failure) | Event::NotCollected(failure) => {
                self.conclude(SessionPhase::Failed(failure));
                self.close(now, effects);
            }
            Event::Closed(closure) => self.closed(closure, now, effects),
            Event::PutDone(result) => {
                let jitter = self.random.f64();
                if let Some(upload) = &mut self.upload {
                    upload.put_done(result, now, jitter);
                }
            }
            // Of an artifact that is stored already.
            Event::Grant(grant) if grant.artifact != self.artifact => {}
            Event::Grant(grant) => match &mut self.upload {
                Some(upload) if self.outcome.is_none() => {
                    if upload.grant(grant, now) {
                        effects.push(Effect::DropPut);
                    }
                }
                Some(_) => {}
                None => self.first_grant = Some((grant, now)),
            },
            Event::Stop { keep: true, why } => self.stop(why.unwrap_or(EarlyEnd::Stopped), now, effects),
            Event::Stop { keep: false, .. } => self.give_up(SessionPhase::Discarded, now, effects),
            Event::Shutdown => self.stop(EarlyEnd::ProcessExiting, now, effects),
            Event::Connected => {
                if let Some(upload) = &mut self.upload {
                    upload.ask_again();
                }
            }
            Event::Acknowledged => self.acknowledged |= self.shown.ended,
            Event::Tick => {}
        }
    }

    fn collected(&mut self, collected: Collected, now: Instant, effects: &mut Vec<Effect>) {
        let Collected { spooled, took, more, remark, recorded, load, cut } = collected;
        self.load = load;
        self.waiting = more.into();
        self.stall.stop_us = micros(took);
        self.recorded = recorded.unwrap_or(self.recorded);
        self.remark = self.remark.take().or(remark);
        if cut.is_some() {
            self.ended_early.get_or_insert(EarlyEnd::Cut);
        }
        self.lost = cut;
        let mut upload = Upload::new(spooled);
        if let Some((grant, came)) = self.first_grant.take() {
            // Nothing is on its way yet that could have to be dropped.
            let _ = upload.grant(grant, came);
        }
        self.upload = Some(upload);
        self.close(now, effects);
        effects.push(self.journal(now));
    }

    fn proved(&mut self, result: Result<Proved, Failure>, now: Instant, effects: &mut Vec<Effect>) {
        match result {
            Ok(proved) if self.outcome.is_none() => {
                self.inspector = Inspector::Opening;
                self.known.clone_from(&proved.known);
                self.against_tracing.clone_from(&proved.plan.against_tracing);
                if proved.opened.is_some() {
                    self.opened_by = OpenedBy::Process;
                }
                let patience = ATTACH_PATIENCE.min(self.deadline.saturating_duration_since(now));
                let disarm_after = patience + self.window + switch_margin(&self.wanted.recording);
                let record = Box::new(self.record(now));
                effects.push(Effect::Open { proved, patience, disarm_after, record });
            }
            Ok(_) => self.inspector = Inspector::Settled,
            Err(failure) => {
                self.inspector = Inspector::Settled;
                self.conclude(SessionPhase::Failed(failure));
            }
        }
    }

    fn began(&mut self, result: Result<Duration, BeginError>, now: Instant, effects: &mut Vec<Effect>) {
        match result {
            Ok(took) => {
                self.stall.start_us = micros(took);
                self.inspector = Inspector::Recording { since: now };
                if self.ended_early.is_some() {
                    self.collect(now, now, effects);
                } else {
                    effects.push(Effect::Watch { guard: self.wanted.guard, file: self.file() });
                }
            }
            Err(error) => self.not_begun(error, now, effects),
        }
    }

    fn not_begun(&mut self, error: BeginError, now: Instant, effects: &mut Vec<Effect>) {
        match error {
            BeginError::Lost(how) => self.lost = Some(how),
            BeginError::Exiting => {
                let pid = self.process.pid;
                self.fail(
                    FailureReason::ProcessExited,
                    format!(
                        "pid {pid} was about to exit before the recording had begun; nothing was recorded"
                    ),
                );
            }
            BeginError::Failed(failure) => self.conclude(SessionPhase::Failed(failure)),
        }
        self.close(now, effects);
    }

    /// Decides, before anything starts that couldn't be undone.
    fn measured(&mut self, result: Result<Measured, BeginError>, now: Instant, effects: &mut Vec<Effect>) {
        let measured = match result {
            Ok(measured) => measured,
            Err(error) => return self.not_begun(error, now, effects),
        };
        let time_left = Some(self.latest_end.saturating_duration_since(now));
        let allowed = Allowed { largest: self.wanted.largest_bytes, time_left };
        let preflight = preflight(&self.wanted.recording, &measured, &self.wanted.bounds, allowed);
        let refusal = refusal(&preflight, &self.wanted.overridden);
        self.preflight = Some(preflight);
        if let Some(why) = refusal {
            self.fail(FailureReason::PreflightRefused, format!("pid {}: {why}", self.process.pid));
            self.close(now, effects);
        } else if self.wanted.dry_run {
            self.conclude(self.unfit().map_or(SessionPhase::Checked, SessionPhase::Failed));
            self.close(now, effects);
        } else {
            self.begin(now, effects);
        }
    }

    /// Why this process can't be recorded as is wished, whatever it costs.
    fn unfit(&self) -> Option<Failure> {
        let node_version = self.node_version.as_deref().unwrap_or_default();
        if let Some(why) = unsupported(&self.wanted.recording, node_version) {
            return Some(failure(
                FailureReason::UnsupportedByNode,
                format!("pid {}: {why}", self.process.pid),
            ));
        }
        let option = self.against_tracing.as_deref().filter(|_| self.wanted.trace_optimizations)?;
        Some(beside::refused(&TraceBegun::Flag(option.to_owned())))
    }

    fn begin(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if let Some(failure) = self.unfit() {
            self.conclude(SessionPhase::Failed(failure));
            self.close(now, effects);
            return;
        }
        self.inspector = Inspector::Beginning;
        effects.push(Effect::Begin {
            recording: self.wanted.recording.clone(),
            node_version: self.node_version.clone().unwrap_or_default(),
            trace: self.wanted.trace_optimizations.then(|| self.window + TRACE_MARGIN),
            file: self.file(),
        });
    }

    /// Whether further snapshots may come.
    fn takes_a_series(&self) -> bool {
        matches!(self.inspector, Inspector::Collecting { .. })
            && matches!(self.wanted.recording, Recording::Series { .. })
            && self.ended_early.is_none()
    }

    fn is_snapshot(&self) -> bool {
        matches!(self.wanted.recording.of_one(), Recording::HeapSnapshot { .. })
    }

    /// Ends the recording and keeps what there is.
    fn stop(&mut self, why: EarlyEnd, now: Instant, effects: &mut Vec<Effect>) {
        match self.inspector {
            Inspector::Recording { since } => {
                self.ended_early = Some(why);
                self.collect(since, now, effects);
            }
            // The profiler will run in a moment; what it then has is kept.
            Inspector::Beginning if !self.is_snapshot() => self.ended_early = Some(why),
            Inspector::Proving | Inspector::Opening | Inspector::Checking | Inspector::Beginning => self
                .give_up(
                    match why {
                        EarlyEnd::Stopped => SessionPhase::Discarded,
                        EarlyEnd::NotReady => SessionPhase::Failed(failure(
                            FailureReason::NotReady,
                            "the pod stopped being ready before the recording had begun",
                        )),
                        _ => SessionPhase::Failed(failure(
                            FailureReason::ProcessExited,
                            "the pod was ended before the recording had begun",
                        )),
                    },
                    now,
                    effects,
                ),
            Inspector::Collecting { .. } if matches!(self.wanted.recording, Recording::Series { .. }) => {
                self.ended_early = Some(why);
                effects.push(Effect::Enough);
            }
            Inspector::Collecting { .. }
            | Inspector::Closing
            | Inspector::WatchingLate { .. }
            | Inspector::Stuck { .. }
            | Inspector::Settled => {}
        }
    }

    fn collect(&mut self, since: Instant, now: Instant, effects: &mut Vec<Effect>) {
        self.recorded = now.saturating_duration_since(since);
        let percent = self.is_snapshot().then_some(0);
        self.inspector = Inspector::Collecting { percent };
        effects.push(Effect::Collect { recording: self.wanted.recording.clone(), file: self.file() });
    }

    /// Ends the session with this, and throws away what there is.
    fn give_up(&mut self, outcome: SessionPhase, now: Instant, effects: &mut Vec<Effect>) {
        if self.outcome.is_some() {
            return;
        }
        self.conclude(outcome);
        if self.upload.is_some() {
            effects.push(Effect::DropPut);
        }
        match self.inspector {
            // Of the first two, what is open or about to open must be known before it can be closed: their
            // answers come soon.
            Inspector::Proving
            | Inspector::Opening
            | Inspector::Closing
            | Inspector::WatchingLate { .. }
            | Inspector::Stuck { .. }
            | Inspector::Settled => {}
            Inspector::Checking
            | Inspector::Beginning
            | Inspector::Recording { .. }
            | Inspector::Collecting { .. } => self.close(now, effects),
        }
    }

    fn close(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.opened_by == OpenedBy::Process {
            self.inspector = Inspector::Closing;
            effects.push(Effect::Leave);
            return;
        }
        if let Some(listener) = self.listener.clone() {
            self.inspector = Inspector::Closing;
            effects.push(Effect::Close { listener });
        } else {
            self.watch_late(now, effects);
        }
    }

    pub(super) fn watch_late(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.inspector = Inspector::WatchingLate { tell_from: now };
        effects.push(Effect::CloseLate { known: self.known.clone(), watch_for: LATE_WATCH });
    }

    fn closed(&mut self, closure: Closure, now: Instant, effects: &mut Vec<Effect>) {
        self.inspector = Inspector::Settled;
        if closure == Closure::Closed && self.attach.is_none() {
            // It opened late.
            self.attach = Some(Attach { opened_by: OpenedBy::Pitwall, closed: true, attach_us: 0 });
        }
        if let Some(attach) = &mut self.attach {
            attach.closed = matches!(closure, Closure::Closed | Closure::ProcessGone)
                && (self.opened_by == OpenedBy::Pitwall || closure == Closure::ProcessGone);
        }
        if let Some(how) = self.lost.take() {
            self.connection_lost(&how, closure == Closure::ProcessGone);
        }
        match &mut self.outcome {
            Some(SessionPhase::Failed(why))
                if closure == Closure::ProcessGone && why.reason == FailureReason::InspectorFailed =>
            {
                *why = exited(self.process, &why.message);
            }
            _ => {}
        }
        match closure {
            Closure::StillOpen(why) => {
                tracing::error!(pid = self.process.pid, %why, "an inspector stays open");
                self.stuck_rounds += 1;
                if self.stuck_rounds < MOST_STUCK_ROUNDS {
                    self.inspector = Inspector::Stuck { again_at: now + STUCK_PAUSE };
                }
            }
            Closure::Closed | Closure::ProcessGone | Closure::NeverOpened | Closure::Left => {
                self.listener = None;
                self.known.clear();
            }
        }
        effects.push(self.journal(now));
    }

    /// Says what became of a recording whose connection ended before it was complete.
    fn connection_lost(&mut self, how: &str, process_gone: bool) {
        let pid = self.process.pid;
        if self.upload.is_some() || matches!(self.outcome, Some(SessionPhase::Published { .. })) {
            let cause = if process_gone {
                format!("pid {pid} ended ({how}): it was killed, crashed or ran out of memory")
            } else {
                format!("something else closed the inspector of pid {pid} ({how})")
            };
            let kept = match self.recorded.as_secs() {
                0 => "what had come over by then is kept".to_owned(),
                seconds => format!("the {seconds} s that had come over by then are kept"),
            };
            self.remark = Some(format!("{cause}; {kept}"));
        } else if process_gone {
            self.fail(
                FailureReason::ProcessExited,
                format!(
                    "pid {pid} ended while it was recorded, without a chance to take its profile ({how}): it was \
                     killed, crashed or ran out of memory. Look at the container's last state"
                ),
            );
        } else {
            self.fail(
                FailureReason::InspectorFailed,
                format!(
                    "the inspector's connection to pid {pid} ended in the middle ({how}) though the process runs on: \
                     something else closed its inspector. Make a new request"
                ),
            );
        }
    }

    fn look_at_the_clock(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if matches!(self.inspector, Inspector::Stuck { again_at } if now >= again_at) {
            self.close(now, effects);
        }
        if self.outcome.is_some() {
            return;
        }
        if now >= self.deadline {
            let (pid, phase) = (self.process.pid, self.phase(now));
            let trouble = self.upload.as_ref().and_then(Upload::trouble);
            let trouble =
                trouble.map_or_else(String::new, |text| format!("; the store's last answer: {text}"));
            let why = failure(
                FailureReason::DeadlineExceeded,
                format!(
                    "the request's deadline came while pid {pid} was {}{trouble}. Raise spec.activeDeadline, or \
                     lower spec.duration",
                    super::report::doing(&phase)
                ),
            );
            self.give_up(SessionPhase::Failed(why), now, effects);
            return;
        }
        if self.takes_a_series() && now >= self.latest_end {
            self.ended_early = Some(EarlyEnd::Deadline);
            effects.push(Effect::Enough);
        }
        if let Inspector::Recording { since } = self.inspector
            && now >= self.window_end(since)
        {
            if now < since + self.window {
                self.ended_early = Some(EarlyEnd::Deadline);
            }
            self.collect(since, now, effects);
        }
    }

    /// After every event: moves the upload on, tells the operator, and clears away what is over.
    pub(super) fn settle(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.outcome.is_none() {
            self.move_upload(now, effects);
        }
        let mut spooled = vec![];
        if self.outcome.is_some() {
            spooled.extend(self.upload.take().map(|upload| upload.spooled().file.clone()));
            spooled.extend(self.waiting.drain(..).map(|waiting| waiting.spooled.file));
        }
        if self.outcome.is_some() && !self.outcome_journaled {
            self.outcome_journaled = true;
            effects.push(self.journal(now));
        }
        effects.extend(spooled.into_iter().map(Effect::DeleteSpooled));
        if let Some(report) = self.due_report(now) {
            effects.push(Effect::Report(Box::new(report)));
        }
        if self.outcome.is_none() || self.forgotten {
            return;
        }
        if self.acknowledged && !self.occupies_process() {
            self.forgotten = true;
            effects.push(Effect::Forget);
        }
    }

    fn move_upload(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some(upload) = &mut self.upload else { return };
        match upload.step(now) {
            Step::Put(part) => effects.push(Effect::Put { file: upload.spooled().file.clone(), part }),
            Step::NeedParts { upload_id, first_part } => {
                let artifact = self.artifact.clone();
                effects.push(Effect::NeedParts { upload_id, first_part, artifact });
            }
            Step::Wait => {}
            Step::Stored(uploaded) => {
                let name = std::mem::take(&mut self.artifact);
                self.stored.push(NamedArtifact { name, uploaded });
                if let Some(next) = self.waiting.pop_front() {
                    effects.push(Effect::DeleteSpooled(upload.spooled().file.clone()));
                    self.artifact = next.name;
                    self.upload = Some(Upload::new(next.spooled));
                    effects.push(self.journal(now));
                    return self.move_upload(now, effects);
                }
                let mut stored = std::mem::take(&mut self.stored).into_iter();
                let Some(NamedArtifact { uploaded: artifact, .. }) = stored.next() else { return };
                self.conclude(SessionPhase::Published {
                    artifact,
                    more: stored.collect(),
                    ended_early: self.ended_early,
                    recorded_ms: millis(self.recorded),
                });
            }
            Step::Failed(failure) => self.conclude(SessionPhase::Failed(failure)),
        }
    }

    pub(super) fn fail(&mut self, reason: FailureReason, message: String) {
        self.conclude(SessionPhase::Failed(failure(reason, message)));
    }

    /// The first outcome stays.
    pub(super) fn conclude(&mut self, outcome: SessionPhase) {
        self.outcome.get_or_insert(outcome);
    }

    fn journal(&self, now: Instant) -> Effect {
        Effect::Journal(Box::new(self.record(now)))
    }

    /// The artifact's name on the spool.
    fn file(&self) -> String {
        format!("{}.{}.gz", session_name(&self.request, self.process), extension(&self.wanted.recording))
    }

    /// What the next worker must know.
    pub(super) fn record(&self, now: Instant) -> Record {
        let inspector = match (&self.inspector, &self.listener) {
            _ if self.opened_by == OpenedBy::Process => Mark::Clear,
            (Inspector::Proving, _) | (Inspector::Settled, None) => Mark::Clear,
            (_, Some(listener)) => Mark::Open { listener: listener.clone() },
            (_, None) => Mark::Signalled { known: self.known.clone() },
        };
        Record {
            request: self.request.clone(),
            request_name: self.request_name.clone(),
            process: self.process,
            container: self.container.clone(),
            deadline_in_ms: millis(self.deadline.saturating_duration_since(now)),
            written_unix_ms: 0,
            inspector,
            spooled: self.upload.as_ref().map(|upload| upload.spooled().clone()),
            artifact: self.artifact.clone(),
            waiting: self.waiting.iter().cloned().collect(),
            stored: self.stored.clone(),
            ended_early: self.ended_early,
            recorded_ms: millis(self.recorded),
            node_version: self.node_version.clone(),
            attach: self.attach.clone(),
            stall: self.stall,
            load: self.load,
            remark: self.remark.clone(),
            preflight: self.preflight.clone(),
            end: self.outcome.clone(),
        }
    }
}

/// How long after the end of its window a recording's dead-man's switch fires.
pub fn switch_margin(recording: &Recording) -> Duration {
    match recording {
        Recording::HeapSnapshot { .. } => SNAPSHOT_MARGIN,
        Recording::Series { count, interval_ms, .. } => {
            (SNAPSHOT_MARGIN + Duration::from_millis(*interval_ms)) * *count
        }
        Recording::Cpu { .. }
        | Recording::CpuInChunks { .. }
        | Recording::HeapSampling { .. }
        | Recording::AllThreads { .. }
        | Recording::Check { .. }
        | Recording::Unknown => SWITCH_MARGIN,
    }
}

/// Whether a recording's cost is checked before it starts: of those that can cost more than some 64 MiB, or can't be ended.
pub fn needs_preflight(recording: &Recording) -> bool {
    matches!(recording, Recording::AllThreads { .. })
        || matches!(recording.of_one(), Recording::HeapSnapshot { .. })
}

/// The extension by which `DevTools` knows what it opens.
fn extension(recording: &Recording) -> &'static str {
    match recording.of_one() {
        Recording::Cpu { .. }
        | Recording::CpuInChunks { .. }
        | Recording::AllThreads { .. }
        | Recording::Series { .. }
        | Recording::Check { .. }
        | Recording::Unknown => "cpuprofile",
        Recording::HeapSampling { .. } => "heapprofile",
        Recording::HeapSnapshot { .. } => "heapsnapshot",
    }
}

/// Why this version of Node (`process.version`) can't record it, if so.
pub fn unsupported(recording: &Recording, node_version: &str) -> Option<String> {
    let major = node_version.strip_prefix('v').and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
    match recording.of_one() {
        Recording::HeapSampling { collected: true, .. } if major.is_some_and(|major| major < 20) => {
            Some(format!(
                "Node.js {node_version} can't sample what the garbage collector frees, and would leave it out without a \
             word: set heapSampling.include to Live, or run Node.js 20 or later"
            ))
        }
        _ => None,
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
