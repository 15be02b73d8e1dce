//! The races that matter, as tables: what happens when, and what is to be done about it.

mod any_order;
mod attaching;
mod checking;
mod publishing;
mod recording;
mod restart;

use super::begin::Begun;
use super::effect::{BeginError, Effect, Event};
use super::machine::Session;
use crate::attach::close::Closure;
use crate::attach::ladder::{Proved, failure};
use crate::discover::node::inspector_plan;
use crate::discover::parse::Listener;
use crate::journal::tests::record;
use crate::journal::{Mark, Record};
use crate::publish::collect::Collected;
use crate::publish::spool::Spooled;
use crate::publish::upload::PutError;
use pitwall_protocol::{
    ContainerBounds, ContainerRef, EarlyEnd, FailureReason, Guard, OpenedBy, Part, ProcessId, Recording,
    RequestUid, SessionPhase, SessionReport, Start, UploadGrant,
};
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(30);
const DEADLINE: Duration = Duration::from_mins(5);
const BYTES: u64 = 1000;

/// A session, a clock of its own, and all that it asked for.
struct Scene {
    session: Session,
    start: Instant,
    now: Duration,
    log: Vec<(Duration, Effect)>,
}

fn grant(upload: &str) -> UploadGrant {
    UploadGrant {
        upload_id: upload.into(),
        part_size: 600,
        first_part: 1,
        urls: vec![format!("https://store/{upload}/1"), format!("https://store/{upload}/2")],
        expires_in_ms: 600_000,
        artifact: String::new(),
    }
}

fn start() -> Start {
    Start {
        request: RequestUid("r".into()),
        request_name: "shop/r".into(),
        process: ProcessId { pid: 17, start_ticks: 4 },
        container: ContainerRef { name: "app".into(), id: "c".into() },
        recording: Recording::Cpu { sampling_interval_us: 1000 },
        trace_optimizations: false,
        duration_ms: 30_000,
        deadline_ms: 300_000,
        bounds: ContainerBounds::default(),
        guard: Guard::default(),
        largest_bytes: None,
        overridden: vec![],
        grant: grant("u"),
    }
}

fn listener() -> Listener {
    Listener { address: "127.0.0.1".parse().unwrap(), port: 9229, inode: 8 }
}

fn proved() -> Event {
    Event::Proved(Ok(Proved { plan: inspector_plan(&[], None), known: vec![7], inner_pid: 3, opened: None }))
}

fn opened() -> Event {
    Event::Opened { node_version: "v22.0.0".into(), took: Duration::from_millis(9) }
}

fn began() -> Event {
    Event::Began(Ok(Duration::from_millis(20)))
}

fn collected() -> Event {
    let spooled = Spooled { file: "f".into(), bytes: BYTES, uncompressed_bytes: 9000, sha256: "aa".into() };
    let took = Duration::from_millis(200);
    Event::Collected(Box::new(Collected {
        spooled,
        took,
        more: vec![],
        remark: None,
        recorded: None,
        load: None,
        cut: None,
    }))
}

fn put(number: u32) -> Event {
    let bytes = if number == 1 { 600 } else { 400 };
    Event::PutDone(Ok(Part { number, etag: format!("e{number}"), bytes }))
}

#[expect(clippy::disallowed_methods, reason = "a test's first instant")]
fn instant() -> Instant {
    Instant::now()
}

impl Scene {
    fn of(begin: impl FnOnce(Instant) -> Begun) -> Self {
        let start = instant();
        let Begun { session, effects } = begin(start);
        let log = effects.into_iter().map(|effect| (Duration::ZERO, effect)).collect();
        Self { session, start, now: Duration::ZERO, log }
    }

    fn new() -> Self {
        Self::of(|now| Session::start(start(), now, 7))
    }

    fn recovered(record: Record) -> Self {
        let unix_ms = record.written_unix_ms;
        Self::of(|now| Session::recover(record, unix_ms, now, 7))
    }

    /// Something happens now; gives what is to be done about it.
    fn on(&mut self, event: Event) -> Vec<Effect> {
        let effects = self.session.handle(event, self.start + self.now);
        self.log.extend(effects.iter().map(|effect| (self.now, effect.clone())));
        self.check();
        effects
    }

    /// Time passes, with every tick that the session asked for.
    fn pass(&mut self, time: Duration) -> Vec<Effect> {
        let end = self.now + time;
        let mut all = vec![];
        let mut ticks = 0;
        while let Some(wake) = self.session.wake_at()
            && wake <= self.start + end
        {
            self.now = self.now.max(wake.saturating_duration_since(self.start));
            all.extend(self.on(Event::Tick));
            ticks += 1;
            assert!(ticks < 1000, "it wakes for nothing");
        }
        self.now = end;
        all
    }

    /// What holds always.
    fn check(&self) {
        let ends = self.reports().iter().filter(|report| report.phase.is_end()).count();
        assert!(ends <= 1, "one terminal report: {:#?}", self.log);
    }

    fn reports(&self) -> Vec<SessionReport> {
        self.log
            .iter()
            .filter_map(
                |(_, effect)| {
                    if let Effect::Report(report) = effect { Some((**report).clone()) } else { None }
                },
            )
            .collect()
    }

    fn end(&self) -> Option<SessionReport> {
        self.reports().into_iter().find(|report| report.phase.is_end())
    }

    fn failed(&self) -> Option<FailureReason> {
        match self.end()?.phase {
            SessionPhase::Failed(failure) => Some(failure.reason),
            _ => None,
        }
    }

    fn opening() -> Self {
        let mut scene = Self::new();
        scene.on(proved());
        scene
    }

    fn beginning() -> Self {
        let mut scene = Self::opening();
        scene.on(Event::Found(listener()));
        scene.on(opened());
        scene
    }

    fn recording() -> Self {
        let mut scene = Self::beginning();
        scene.on(began());
        scene
    }

    fn collecting() -> Self {
        let mut scene = Self::recording();
        scene.pass(WINDOW);
        scene
    }

    fn uploading() -> Self {
        let mut scene = Self::collecting();
        scene.on(collected());
        scene
    }
}

/// The effects without reports and records.
fn deeds(effects: &[Effect]) -> Vec<String> {
    effects
        .iter()
        .filter(|effect| !matches!(effect, Effect::Report(_) | Effect::Journal(_)))
        .map(|effect| match effect {
            Effect::Open { .. } => "Open".to_owned(),
            Effect::Close { .. } => "Close".to_owned(),
            Effect::CloseLate { .. } => "CloseLate".to_owned(),
            Effect::Collect { .. } => "Collect".to_owned(),
            Effect::Put { part, .. } => {
                format!("Put {} {}", part.number, part.url.rsplit('/').nth(1).unwrap())
            }
            Effect::NeedParts { upload_id, first_part, artifact: _ } => {
                format!("NeedParts {upload_id:?} {first_part}")
            }
            other => format!("{other:?}").split([' ', '(']).next().unwrap().to_owned(),
        })
        .collect()
}
