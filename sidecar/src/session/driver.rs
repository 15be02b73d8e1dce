//! The IO loop around one session: does what it asks for, and tells it what came of that.

use super::begin::Begun;
use super::effect::{BeginError, Effect, Event};
use super::guard::Watcher;
use super::machine::Session;
use super::preflight::Measured;
use super::recorder::{self, Heard, Site, Underway, Wish};
use crate::attach::close::{Closure, close, close_late, leave};
use crate::attach::eyes::Eyes;
use crate::attach::ladder::{self, Proved, failure, gone};
use crate::attach::link::Link;
use crate::attach::open::{OpenError, open};
use crate::clock;
use crate::discover::parse::Listener;
use crate::discover::procfs::ProcRoot;
use crate::journal::{Journal, Record};
use crate::publish::collect::{CollectError, Collected};
use crate::publish::put::put;
use crate::publish::spool::{Spool, SpoolError};
use crate::trust::StoreTrust;
use pitwall_profile::cpu::JoinError;
use pitwall_protocol::{
    ContainerRef, EarlyEnd, Failure, FailureReason, Guard, ProcessId, Recording, RequestUid, SessionReport,
    SidecarMessage,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::task::AbortHandle;

/// How often a recording's container is looked at.
const GUARD_PAUSE: Duration = Duration::from_millis(500);

/// What a session works on and with.
#[derive(Debug)]
pub struct Ground {
    /// `/proc`.
    pub proc: ProcRoot,
    /// Whose ids look and signal.
    pub eyes: Eyes,
    /// Where artifacts wait.
    pub spool: Spool,
    /// Where records are.
    pub journal: Journal,
    /// What the store's certificate must descend from.
    pub store: StoreTrust,
}

/// What a session has to say to the worker.
#[derive(Debug)]
pub enum Told {
    /// For the operator, kept until the next one.
    Report(Box<SessionReport>),
    /// For the operator.
    Message(SidecarMessage),
    /// Another session may record the process.
    Free,
    /// Nothing is left of it.
    Over,
}

/// A session's name.
pub type Key = (RequestUid, ProcessId);

/// Something came of what a lane does.
struct Outcome {
    lane: Lane,
    generation: u64,
    event: Event,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    Inspector,
    Artifact,
}

/// What goes on in a lane, ended when the next thing begins.
#[derive(Debug, Default)]
struct Running {
    generation: u64,
    task: Option<AbortHandle>,
}

impl Running {
    fn end(&mut self) {
        self.generation += 1;
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs a session to its very end, or until `inbox` closes.
pub async fn drive(
    begun: Begun,
    ground: Arc<Ground>,
    inbox: mpsc::Receiver<Event>,
    told: mpsc::Sender<(Key, Told)>,
) {
    let Begun { session, effects } = begun;
    let (outcomes, came) = mpsc::channel(16);
    let driver = Driver {
        key: session.key(),
        spool: ground.spool.for_artifacts_of(session.largest_bytes().unwrap_or(u64::MAX)),
        session,
        ground,
        told,
        outcomes,
        link: Arc::new(Mutex::new(None)),
        underway: Arc::new(Mutex::new(None)),
        enough: Arc::new(Notify::new()),
        trace_file: Arc::new(Mutex::new(None)),
        inspector: Running::default(),
        artifact: Running::default(),
        free: false,
    };
    driver.run(effects, inbox, came).await;
}

struct Driver {
    key: Key,
    session: Session,
    ground: Arc<Ground>,
    /// For artifacts as large as the session's may be.
    spool: Spool,
    told: mpsc::Sender<(Key, Told)>,
    outcomes: mpsc::Sender<Outcome>,
    link: Arc<Mutex<Option<Link>>>,
    /// What runs. Taken after `link` where both are.
    underway: Arc<Mutex<Option<Underway>>>,
    /// Ends a series of snapshots.
    enough: Arc<Notify>,
    /// V8's trace, in the process's view.
    trace_file: Arc<Mutex<Option<String>>>,
    inspector: Running,
    artifact: Running,
    free: bool,
}

impl Driver {
    async fn run(
        mut self,
        first: Vec<Effect>,
        mut inbox: mpsc::Receiver<Event>,
        mut came: mpsc::Receiver<Outcome>,
    ) {
        self.perform(first).await;
        while !self.session.is_over() {
            let wake = self.session.wake_at();
            let tick = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            let event = tokio::select! {
                Some(outcome) = came.recv() => if self.current(&outcome) { outcome.event } else { continue },
                event = inbox.recv() => match event {
                    Some(event) => event,
                    None => return,
                },
                () = tick => Event::Tick,
            };
            tracing::debug!(request = %self.key.0, pid = self.key.1.pid, ?event, "session");
            let effects = self.session.handle(event, clock::now());
            self.perform(effects).await;
        }
        self.tell(Told::Over).await;
    }

    /// Whether an outcome is of what the lane does now, not of something that was ended.
    fn current(&self, outcome: &Outcome) -> bool {
        let running = match outcome.lane {
            Lane::Inspector => &self.inspector,
            Lane::Artifact => &self.artifact,
        };
        running.generation == outcome.generation
    }

    async fn tell(&self, told: Told) {
        // The worker being gone ends `inbox`, and with it this driver.
        self.told.send((self.key.clone(), told)).await.ok();
    }

    async fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Prove => {
                    let (ground, process, container) =
                        (self.ground.clone(), self.key.1, self.session.container().clone());
                    self.begin(Lane::Inspector, async move {
                        Event::Proved(prove(&ground, process, &container).await)
                    });
                }
                Effect::Open { proved, patience, disarm_after, record } => {
                    self.open(proved, patience, disarm_after, record);
                }
                Effect::Measure { recording } => {
                    let (link, ground, process) = (self.link.clone(), self.ground.clone(), self.key.1);
                    self.begin(Lane::Inspector, async move {
                        Event::Measured(measure(&link, &ground, process, &recording).await)
                    });
                }
                Effect::Begin { recording, node_version, trace, file } => {
                    self.record(recording, node_version, trace, file);
                }
                Effect::Watch { guard, file } => self.watch(guard, file),
                Effect::Collect { recording, file } => self.collect(recording, file),
                Effect::Enough => self.enough.notify_one(),
                Effect::Close { listener } => self.close(listener),
                Effect::Leave => {
                    let (link, ground, process) = (self.link.clone(), self.ground.clone(), self.key.1);
                    let (underway, trace_file) = (self.underway.clone(), self.trace_file.clone());
                    self.begin(Lane::Inspector, async move {
                        drop(underway.lock().await.take());
                        let link = link.lock().await.take();
                        let closure = leave(&ground.proc, process, link).await;
                        sweep(&ground, &trace_file, &closure).await;
                        Event::Closed(closure)
                    });
                }
                Effect::CloseLate { known, watch_for } => {
                    let (ground, process) = (self.ground.clone(), self.key.1);
                    self.begin(Lane::Inspector, async move {
                        Event::Closed(
                            close_late(&ground.eyes, &ground.proc, process, &known, watch_for).await,
                        )
                    });
                }
                Effect::Put { file, part } => {
                    let ground = self.ground.clone();
                    self.begin(Lane::Artifact, async move {
                        Event::PutDone(put(ground.store.client(), &ground.spool.path(&file), part).await)
                    });
                }
                Effect::DropPut => self.artifact.end(),
                Effect::NeedParts { upload_id, first_part, artifact } => {
                    let (request, process) = self.key.clone();
                    self.tell(Told::Message(SidecarMessage::NeedParts {
                        request,
                        process,
                        upload_id,
                        first_part,
                        artifact,
                    }))
                    .await;
                }
                Effect::Report(report) => self.tell(Told::Report(report)).await,
                Effect::Journal(record) => {
                    if let Err(error) = self.write(*record) {
                        tracing::error!(request = %self.key.0, %error, "couldn't write the session's record");
                    }
                }
                Effect::DeleteSpooled(file) => self.ground.spool.delete(&file),
                Effect::Forget => self.ground.journal.forget(&self.key.0, self.key.1),
            }
        }
        if !self.free && !self.session.occupies_process() {
            self.free = true;
            self.tell(Told::Free).await;
        }
    }

    fn write(&self, mut record: Record) -> std::io::Result<()> {
        record.written_unix_ms = clock::unix_ms();
        self.ground.journal.write(&record)
    }

    fn begin(&mut self, lane: Lane, work: impl Future<Output = Event> + Send + 'static) {
        let running = match lane {
            Lane::Inspector => &mut self.inspector,
            Lane::Artifact => &mut self.artifact,
        };
        running.end();
        let (generation, outcomes) = (running.generation, self.outcomes.clone());
        let task = tokio::spawn(async move {
            let event = work.await;
            outcomes.send(Outcome { lane, generation, event }).await.ok();
        });
        running.task = Some(task.abort_handle());
    }

    fn record(&mut self, recording: Recording, node_version: String, trace: Option<Duration>, file: String) {
        let spool = self.spool.clone();
        let (link, underway, ground, process) =
            (self.link.clone(), self.underway.clone(), self.ground.clone(), self.key.1);
        let trace_file = self.trace_file.clone();
        self.begin(Lane::Inspector, async move {
            let begin = async |link: &mut Link| {
                let site = site(&ground, &spool, process, &file);
                let wish = Wish { recording: &recording, node_version: &node_version, trace };
                let begun = recorder::begin(link, site, wish).await?;
                *trace_file.lock().await = begun.beside.trace_file().map(str::to_owned);
                let took = begun.took;
                *underway.lock().await = Some(begun);
                Ok(took)
            };
            Event::Began(with(&link, begin).await)
        });
    }

    fn collect(&mut self, recording: Recording, file: String) {
        let spool = self.spool.clone();
        let (link, underway, ground, process) =
            (self.link.clone(), self.underway.clone(), self.ground.clone(), self.key.1);
        let enough = self.enough.clone();
        let (tell, mut last) = (self.teller(), None);
        let progress = move |percent| {
            if last.replace(percent) != Some(percent) {
                tell(Event::Progress(percent));
            }
        };
        self.begin(Lane::Inspector, async move {
            let mut link = link.lock().await;
            let underway = underway.lock().await.take().unwrap_or_default();
            let site = site(&ground, &spool, process, &file);
            let taken = if let Some(link) = link.as_mut() {
                underway.take_over(link, site, &recording, progress, &enough).await
            } else {
                underway.salvage("dropped".to_owned(), site).await
            };
            let event = collected(taken);
            if is_cut(&event) {
                // Node may be waiting for this side to hang up.
                *link = None;
            }
            event
        });
    }

    fn close(&mut self, listener: Listener) {
        let (link, ground, process) = (self.link.clone(), self.ground.clone(), self.key.1);
        let (underway, trace_file) = (self.underway.clone(), self.trace_file.clone());
        let request = self.session.request_name().to_owned();
        self.begin(Lane::Inspector, async move {
            drop(underway.lock().await.take());
            let link = link.lock().await.take();
            let told = clock::now();
            let closure = close(&ground.eyes, &ground.proc, process, link, &listener).await;
            let took_us = super::machine::micros(clock::now().saturating_duration_since(told));
            tracing::info!(request, pid = process.pid, took_us, ?closure, "the inspector is closed");
            sweep(&ground, &trace_file, &closure).await;
            Event::Closed(closure)
        });
    }

    fn watch(&mut self, guard: Guard, file: String) {
        let spool = self.spool.clone();
        let (link, underway, ground, process) =
            (self.link.clone(), self.underway.clone(), self.ground.clone(), self.key.1);
        self.begin(Lane::Inspector, async move {
            let event = tokio::select! {
                event = watch(&link, &underway) => event,
                event = guarded(&ground.proc, process, guard) => event,
            };
            let Event::Lost(how) = event else { return event };
            let underway = underway.lock().await.take().unwrap_or_default();
            collected(underway.salvage(how, site(&ground, &spool, process, &file)).await)
        });
    }

    /// By which the next thing on the inspector's lane says something while it goes on.
    fn teller(&self) -> impl Fn(Event) + use<> {
        let (generation, outcomes) = (self.inspector.generation + 1, self.outcomes.clone());
        move |event| {
            // The queue is long enough for what one lane can have under way; progress may be left out.
            outcomes.try_send(Outcome { lane: Lane::Inspector, generation, event }).ok();
        }
    }

    fn open(&mut self, proved: Proved, patience: Duration, disarm_after: Duration, record: Box<Record>) {
        // Before the signal, always: the next worker must know what this one may have opened.
        let written = self.write(*record);
        let (ground, process, slot) = (self.ground.clone(), self.key.1, self.link.clone());
        let tell = self.teller();
        self.begin(Lane::Inspector, async move {
            if let Err(error) = written {
                return Event::NotSignalled(failure(
                    FailureReason::SpoolFailed,
                    format!(
                        "writing the session's record before the signal: {error}; pid {} was not signalled. Look at \
                         the sidecar's volume",
                        process.pid
                    ),
                ));
            }
            let found = |listener: &Listener| tell(Event::Found(listener.clone()));
            match open(&ground.eyes, &ground.proc, process, &proved, patience, disarm_after, found).await {
                Ok(opened) => {
                    *slot.lock().await = Some(opened.link);
                    Event::Opened { node_version: opened.node_version, took: opened.took }
                }
                Err(OpenError::NotSignalled(failure)) => Event::NotSignalled(failure),
                Err(OpenError::Silent(failure)) => Event::Silent(failure),
                Err(OpenError::Unusable(failure, _)) => Event::Unusable(failure),
            }
        });
    }
}

/// Where a recording of the process goes.
fn site<'a>(ground: &'a Ground, spool: &'a Spool, process: ProcessId, file: &'a str) -> Site<'a> {
    Site { proc: &ground.proc, process, spool, file }
}

/// Removes the trace that a process which was killed could not.
async fn sweep(ground: &Ground, trace_file: &Mutex<Option<String>>, closure: &Closure) {
    if *closure == Closure::ProcessGone
        && let Some(path) = trace_file.lock().await.take()
    {
        ground.eyes.remove_trace(&path).await;
    }
}

async fn prove(ground: &Ground, process: ProcessId, container: &ContainerRef) -> Result<Proved, Failure> {
    let sighting = ground.eyes.look_at(&ground.proc, process).await?;
    if sighting.facts.container.as_deref() != Some(container.id.as_str()) {
        tracing::warn!(
            pid = process.pid,
            container = container.name,
            "asked to record outside of the container"
        );
        return Err(gone(process));
    }
    // Of a process that is being ended, less can be read than is true of it.
    ladder::climb(&sighting).map_err(|why| if ground.proc.lives(process) { why } else { gone(process) })
}

async fn measure(
    slot: &Mutex<Option<Link>>,
    ground: &Ground,
    process: ProcessId,
    recording: &Recording,
) -> Result<Measured, BeginError> {
    with(slot, async |link| {
        recorder::measure(link, &ground.proc, process, ground.spool.left(), recording).await
    })
    .await
}

async fn with<T>(
    slot: &Mutex<Option<Link>>,
    work: impl AsyncFnOnce(&mut Link) -> Result<T, BeginError>,
) -> Result<T, BeginError> {
    let mut slot = slot.lock().await;
    let Some(link) = slot.as_mut() else { return Err(BeginError::Lost("dropped".to_owned())) };
    let done = work(link).await;
    if let Err(BeginError::Lost(_)) = done {
        // Node may be waiting for this side to hang up.
        *slot = None;
    }
    done
}

/// Waits until a guard's limit is passed.
async fn guarded(proc: &ProcRoot, process: ProcessId, guard: Guard) -> Event {
    let Some(mut watcher) = Watcher::new(guard) else { return std::future::pending().await };
    loop {
        let used = if guard.memory_bytes.is_some() { proc.resident_beside(process.pid) } else { 0 };
        let ran = proc.schedstat(process.pid).map(|stat| Duration::from_nanos(stat.running_ns));
        if let Some((why, numbers)) = watcher.look(clock::now(), used, ran) {
            return Event::Guarded(why, numbers);
        }
        tokio::time::sleep(GUARD_PAUSE).await;
    }
}

async fn watch(slot: &Mutex<Option<Link>>, underway: &Mutex<Option<Underway>>) -> Event {
    let mut slot = slot.lock().await;
    let mut underway = underway.lock().await;
    let (Some(link), Some(underway)) = (slot.as_mut(), underway.as_mut()) else {
        return Event::Lost("dropped".to_owned());
    };
    match underway.record(link).await {
        Ok(Heard::Exiting) => Event::Exiting,
        Ok(Heard::OverBudget(numbers)) => Event::Guarded(EarlyEnd::SampleBudget, numbers),
        Err(error) => {
            *slot = None;
            Event::Lost(error.ending())
        }
    }
}

/// Whether the connection is of no more use.
fn is_cut(event: &Event) -> bool {
    match event {
        Event::Lost(_) => true,
        Event::Collected(collected) => collected.cut.is_some(),
        _ => false,
    }
}

fn collected(result: Result<Collected, CollectError>) -> Event {
    let error = match result {
        Ok(collected) => return Event::Collected(Box::new(collected)),
        Err(error) => error,
    };
    let text = format!("took over what was recorded: {error}");
    match error {
        CollectError::Lost(how) => Event::Lost(how),
        CollectError::Inspector(_) | CollectError::Chunk(_) => Event::Lost(error.to_string()),
        CollectError::Join(JoinError::Empty | JoinError::Chunk(_) | JoinError::TooManySamples { .. }) => {
            Event::NotCollected(failure(FailureReason::ProfilerFailed, text))
        }
        CollectError::Join(JoinError::Scratch { .. } | JoinError::Write(_)) => {
            Event::NotCollected(failure(FailureReason::SpoolFailed, text))
        }
        CollectError::Refused { .. } => Event::NotCollected(failure(FailureReason::ProfilerFailed, text)),
        CollectError::Silent(_) => Event::NotCollected(failure(FailureReason::InspectorFailed, text)),
        CollectError::Redact(_) => Event::NotCollected(failure(FailureReason::RedactionFailed, text)),
        CollectError::Spool(SpoolError::TooLarge { .. }) => {
            Event::NotCollected(failure(FailureReason::ArtifactTooLarge, text))
        }
        CollectError::Spool(_) => Event::NotCollected(failure(FailureReason::SpoolFailed, text)),
    }
}
