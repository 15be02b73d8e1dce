//! The worker: the channel on one side, the sessions on the other.

use crate::attach::eyes::Eyes;
use crate::channel::{Channel, Inbound};
use crate::clock;
use crate::discover::procfs::ProcRoot;
use crate::discover::{survey, walk};
use crate::journal::{Journal, Record};
use crate::publish::spool::{Spool, Spooled};
use crate::registry::{Order, Registry};
use crate::session::driver::{Ground, Key, Told, drive};
use crate::session::{Begun, Event, Session};
use crate::settings::{Identity, Settings};
use crate::trust::StoreTrust;
use anyhow::Context;
use pitwall_protocol::{Failure, Look, OperatorMessage, Seen, SessionPhase, SessionReport, SidecarMessage};
use std::collections::HashMap;
use std::mem::discriminant;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

/// How long a worker that was told to end waits for its sessions; kubelet usually waits less.
const LONGEST_GRACE: Duration = Duration::from_mins(2);
/// The longest that processes are measured for.
const LONGEST_MEASURE: Duration = Duration::from_secs(5);
/// Queues, in messages. Sixteen sessions that each say something every second don't fill them in the time
/// after which a dead channel is hung up.
const CHANNEL_QUEUE: usize = 256;
const SESSION_QUEUE: usize = 64;

/// Runs the worker until SIGTERM.
pub fn run(settings: Settings) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting tokio")?;
    let worked = runtime.block_on(work(settings));
    // A blocking thread may sit in a system call: the process ends all the same.
    runtime.shutdown_background();
    worked
}

async fn work(settings: Settings) -> anyhow::Result<()> {
    let journal = Journal::open(&settings.journal_dir)
        .with_context(|| format!("opening the journal {}", settings.journal_dir.display()))?;
    let records = journal.load().context("reading the journal")?;
    let known: Vec<String> =
        records.iter().flat_map(Record::spooled_files).map(|spooled| spooled.file.clone()).collect();
    let spool = Spool::open(&settings.spool_dir, settings.spool_limit, &known)
        .with_context(|| format!("opening the spool {}", settings.spool_dir.display()))?;
    let eyes = match settings.identity {
        Identity::Same => Eyes::Same,
        Identity::Assume => {
            Eyes::Assume { program: std::env::current_exe().context("finding this program")? }
        }
    };
    let ground = Ground { proc: ProcRoot::default(), eyes, spool, journal, store: StoreTrust::default() };

    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let (inbound, mut heard) = mpsc::channel(CHANNEL_QUEUE);
    let (outbound, to_send) = mpsc::channel(CHANNEL_QUEUE);
    let (shown, hello) = watch::channel(vec![]);
    let (told, mut tales) = mpsc::channel(CHANNEL_QUEUE);
    let mut worker = Worker {
        ground: Arc::new(ground),
        registry: Registry::default(),
        sessions: HashMap::new(),
        outbound,
        shown,
        told,
        connected: false,
    };
    for record in records {
        worker.recover(record);
    }
    tokio::spawn(Channel::new(settings, hello, inbound, to_send).run());

    let mut ending = None;
    while !(ending.is_some() && worker.registry.is_empty()) {
        tokio::select! {
            Some(inbound) = heard.recv() => worker.hear(inbound),
            Some((key, told)) = tales.recv() => worker.take(&key, told),
            _ = terminate.recv(), if ending.is_none() => ending = Some(worker.shut_down()),
            _ = interrupt.recv(), if ending.is_none() => ending = Some(worker.shut_down()),
            () = until(ending) => {
                tracing::warn!(sessions = worker.registry.keys().len(), "ending with sessions that aren't over");
                break;
            }
        }
    }
    tracing::info!("the worker ends");
    Ok(())
}

async fn until(moment: Option<std::time::Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

struct Worker {
    ground: Arc<Ground>,
    registry: Registry,
    sessions: HashMap<Key, mpsc::Sender<Event>>,
    outbound: mpsc::Sender<SidecarMessage>,
    shown: watch::Sender<Vec<SessionReport>>,
    told: mpsc::Sender<(Key, Told)>,
    connected: bool,
}

impl Worker {
    fn hear(&mut self, inbound: Inbound) {
        match inbound {
            Inbound::Connected { welcome, told } => {
                self.connected = true;
                self.ground.store.set_private_ca(welcome.store_ca);
                for report in self.registry.changed_since(&told) {
                    self.send(SidecarMessage::Report(Box::new(report)));
                }
                for key in self.registry.keys() {
                    self.tell(&key, Event::Connected);
                }
            }
            Inbound::Message(OperatorMessage::Welcome(welcome)) => {
                self.ground.store.set_private_ca(welcome.store_ca);
            }
            Inbound::Message(message) => {
                for order in self.registry.handle(message) {
                    self.obey(order);
                }
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Send(message) => self.send(message),
            Order::Begin(start) => {
                tracing::info!(request = start.request_name, pid = start.process.pid, "a session begins");
                self.spawn(Session::start(*start, clock::now(), fastrand::u64(..)));
            }
            Order::Refuse(start, why) => self.spawn(Session::refuse(*start, why, clock::now())),
            Order::Tell(key, event) => self.tell(&key, event),
            Order::Look(look) => self.look(look),
        }
    }

    /// Takes over what a dead worker left.
    fn recover(&mut self, mut record: Record) {
        tracing::warn!(
            request = record.request_name,
            pid = record.process.pid,
            "taking over from a worker that died"
        );
        let is_whole = |spooled: &Spooled| {
            let length = std::fs::metadata(self.ground.spool.path(&spooled.file)).map(|file| file.len());
            length.is_ok_and(|length| length == spooled.bytes)
        };
        if !record.spooled_files().all(is_whole) {
            record.spooled = None;
            record.waiting.clear();
        }
        self.spawn(Session::recover(record, clock::unix_ms(), clock::now(), fastrand::u64(..)));
    }

    fn spawn(&mut self, begun: Begun) {
        let key = begun.session.key();
        let (inbox, events) = mpsc::channel(SESSION_QUEUE);
        let report = begun.session.report(clock::now());
        let occupies = begun.session.occupies_process();
        self.registry.add(key.clone(), begun.session.request_name().to_owned(), report, occupies);
        self.sessions.insert(key, inbox);
        self.show();
        tokio::spawn(drive(begun, self.ground.clone(), events, self.told.clone()));
    }

    fn take(&mut self, key: &Key, told: Told) {
        match told {
            Told::Report(report) => {
                self.log(key, &report);
                self.registry.reported((*report).clone());
                self.show();
                self.send(SidecarMessage::Report(report));
            }
            Told::Message(message) => self.send(message),
            Told::Free => self.registry.free(key),
            Told::Over => {
                self.registry.remove(key);
                self.sessions.remove(key);
                self.show();
            }
        }
    }

    /// A line for each step of a session, with what it cost the app.
    fn log(&self, key: &Key, report: &SessionReport) {
        let Some((request, before)) = self.registry.last(key) else { return };
        if discriminant(before) == discriminant(&report.phase) && !report.phase.is_end() {
            return;
        }
        let (pid, stall) = (key.1.pid, report.stall);
        match &report.phase {
            SessionPhase::Recording { duration_ms, .. } => {
                let attach_us = report.attach.as_ref().map_or(0, |attach| attach.attach_us);
                tracing::info!(request, pid, duration_ms, attach_us, start_us = stall.start_us, "recording");
            }
            SessionPhase::Collecting { .. } => tracing::info!(request, pid, "taking the recording over"),
            SessionPhase::Uploading { bytes, .. } => {
                tracing::info!(request, pid, bytes, stop_us = stall.stop_us, "uploading");
            }
            SessionPhase::Published { artifact, .. } => {
                tracing::info!(request, pid, bytes = artifact.bytes, "published");
            }
            SessionPhase::Failed(Failure { reason, message }) => {
                tracing::warn!(request, pid, ?reason, why = %message, "failed");
            }
            SessionPhase::Checked => tracing::info!(request, pid, "checked"),
            SessionPhase::Discarded => tracing::info!(request, pid, "discarded"),
            SessionPhase::Attaching => {}
        }
    }

    /// What the next hello says.
    fn show(&self) {
        self.shown.send_replace(self.registry.reports());
    }

    fn send(&self, message: SidecarMessage) {
        // What doesn't get through is said by the next hello.
        if self.connected && self.outbound.try_send(message).is_err() {
            tracing::warn!("the channel's queue is full: a message is left out");
        }
    }

    fn tell(&self, key: &Key, event: Event) {
        if let Some(session) = self.sessions.get(key)
            && let Err(error) = session.try_send(event)
        {
            tracing::warn!(request = %key.0, %error, "a session didn't take an event");
        }
    }

    fn look(&self, look: Look) {
        let (ground, outbound) = (self.ground.clone(), self.outbound.clone());
        tokio::spawn(async move {
            let facts = match walk(&ground.proc, &look.containers) {
                Ok(facts) => facts,
                Err(error) => {
                    tracing::error!(%error, path = %ground.proc.as_path().display(), "couldn't list the processes");
                    vec![]
                }
            };
            let sightings = ground.eyes.look(&ground.proc, facts).await;
            let mut seen = survey(look.request, &look.containers, &sightings);
            if look.measure_ms > 0 {
                measure(&ground.proc, &mut seen, Duration::from_millis(look.measure_ms.into())).await;
            }
            outbound.send(SidecarMessage::Seen(seen)).await.ok();
        });
    }

    /// Tells every session that the pod ends; says until when they are waited for.
    fn shut_down(&self) -> std::time::Instant {
        tracing::info!(sessions = self.sessions.len(), "told to end");
        for key in self.registry.keys() {
            self.tell(&key, Event::Shutdown);
        }
        clock::now() + LONGEST_GRACE
    }
}

/// Measures what CPU time the processes take.
async fn measure(proc: &ProcRoot, seen: &mut Seen, length: Duration) {
    let cpu = |seen: &Seen| -> Vec<Option<u64>> {
        seen.processes.iter().map(|process| proc.cpu_ms(process.id.pid)).collect()
    };
    let (before, begun) = (cpu(seen), clock::now());
    tokio::time::sleep(length.min(LONGEST_MEASURE)).await;
    let (after, took) = (cpu(seen), clock::now().saturating_duration_since(begun));
    for ((process, before), after) in seen.processes.iter_mut().zip(before).zip(after) {
        let used = before.zip(after).map(|(before, after)| after.saturating_sub(before));
        let millicores = used.and_then(|used| u128::from(used * 1000).checked_div(took.as_millis()));
        process.cpu_millicores = Some(millicores.and_then(|number| u32::try_from(number).ok()).unwrap_or(0));
    }
}
