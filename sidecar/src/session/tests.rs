//! The races that matter, as tables: what happens when, and what is to be done about it.

use super::effect::{BeginError, Effect, Event};
use super::machine::{Begun, Session};
use crate::attach::close::Closure;
use crate::attach::ladder::{Proved, failure};
use crate::discover::node::inspector_plan;
use crate::discover::parse::Listener;
use crate::journal::tests::record;
use crate::journal::{Mark, Record};
use crate::publish::spool::Spooled;
use crate::publish::upload::PutError;
use pitwall_protocol::{
    ContainerRef, EarlyEnd, FailureReason, Part, ProcessId, Recording, RequestUid, SessionPhase,
    SessionReport, Start, UploadGrant,
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
    }
}

fn start() -> Start {
    Start {
        request: RequestUid("r".into()),
        request_name: "shop/r".into(),
        process: ProcessId { pid: 17, start_ticks: 4 },
        container: ContainerRef { name: "app".into(), id: "c".into() },
        recording: Recording::Cpu { sampling_interval_us: 1000 },
        duration_ms: 30_000,
        deadline_ms: 300_000,
        grant: grant("u"),
    }
}

fn listener() -> Listener {
    Listener { address: "127.0.0.1".parse().unwrap(), port: 9229, inode: 8 }
}

fn proved() -> Event {
    Event::Proved(Ok(Proved { plan: inspector_plan(&[], None), known: vec![7], inner_pid: 3 }))
}

fn opened() -> Event {
    Event::Opened { node_version: "v22.0.0".into(), took: Duration::from_millis(9) }
}

fn began() -> Event {
    Event::Began(Ok(Duration::from_millis(20)))
}

fn collected() -> Event {
    let spooled = Spooled { file: "f".into(), bytes: BYTES, uncompressed_bytes: 9000, sha256: "aa".into() };
    Event::Collected(spooled, Duration::from_millis(200))
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
            Effect::NeedParts { upload_id, first_part } => format!("NeedParts {upload_id:?} {first_part}"),
            other => format!("{other:?}").split([' ', '(']).next().unwrap().to_owned(),
        })
        .collect()
}

#[test]
fn the_straight_way_from_start_to_acknowledged() {
    let mut scene = Scene::new();
    assert_eq!(deeds(&scene.log.iter().map(|(_, effect)| effect.clone()).collect::<Vec<_>>()), ["Prove"]);
    assert_eq!(deeds(&scene.on(proved())), ["Open"]);
    assert_eq!(deeds(&scene.on(Event::Found(listener()))), [""; 0]);
    assert_eq!(deeds(&scene.on(opened())), ["Begin"]);
    assert_eq!(deeds(&scene.on(began())), ["Watch"]);
    assert_eq!(deeds(&scene.pass(Duration::from_millis(29_999))), [""; 0]);
    assert_eq!(deeds(&scene.pass(Duration::from_millis(1))), ["Collect"]);
    assert_eq!(deeds(&scene.on(collected())), ["Close", "Put 1 u"], "detach and upload run side by side");
    assert_eq!(deeds(&scene.on(put(1))), ["Put 2 u"]);
    assert_eq!(deeds(&scene.on(Event::Closed(Closure::Closed))), [""; 0]);
    assert!(!scene.session.occupies_process());
    assert_eq!(deeds(&scene.on(put(2))), ["DeleteSpooled"]);
    let end = scene.end().unwrap();
    let SessionPhase::Published { artifact, ended_early, recorded_ms } = &end.phase else {
        panic!("{end:?}")
    };
    assert_eq!((artifact.parts.len(), *ended_early, *recorded_ms), (2, None, 30_000));
    assert!(end.attach.unwrap().closed);
    assert_eq!((end.stall.start_us, end.stall.stop_us), (20_000, 200_000));
    assert_eq!(deeds(&scene.on(Event::Acknowledged)), ["Forget"]);
    assert!(scene.session.is_over());
}

#[test]
fn an_end_waits_until_the_inspector_is_closed() {
    for outcome in [Closure::Closed, Closure::ProcessGone] {
        let mut scene = Scene::uploading();
        scene.on(put(1));
        scene.on(put(2));
        assert_eq!(scene.end(), None, "the port may still be open");
        scene.on(Event::Closed(outcome));
        assert!(scene.end().unwrap().attach.unwrap().closed);
    }
}

#[test]
fn an_inspector_that_stays_open_is_said_and_tried_again() {
    let mut scene = Scene::uploading();
    scene.on(put(1));
    scene.on(put(2));
    scene.on(Event::Closed(Closure::StillOpen("why".into())));
    assert!(!scene.end().unwrap().attach.unwrap().closed);
    scene.on(Event::Acknowledged);
    assert!(!scene.session.is_over(), "it isn't forgotten while it is open");
    assert!(scene.session.occupies_process());
    assert_eq!(deeds(&scene.pass(Duration::from_secs(30))), ["Close"]);
    assert_eq!(deeds(&scene.on(Event::Closed(Closure::Closed))), ["Forget"]);

    let mut stuck = Scene::uploading();
    let mut tries = 0;
    while stuck.session.occupies_process() {
        stuck.on(Event::Closed(Closure::StillOpen("why".into())));
        stuck.pass(Duration::from_secs(30));
        tries += 1;
    }
    assert_eq!(tries, 20, "not for ever");
}

#[test]
fn the_record_is_written_before_the_signal_and_says_what_is_open() {
    let mut scene = Scene::new();
    let effects = scene.on(proved());
    let Some(Effect::Open { record, patience, disarm_after, .. }) =
        effects.iter().find(|effect| matches!(effect, Effect::Open { .. }))
    else {
        panic!("{effects:?}")
    };
    assert_eq!(record.inspector, Mark::Signalled { known: vec![7] });
    assert_eq!(*patience, Duration::from_secs(10));
    assert!(*disarm_after > WINDOW, "the switch doesn't fire in the window");
    let records = |scene: &Scene| -> Vec<Record> {
        let of = |(_, effect): &(_, Effect)| {
            if let Effect::Journal(one) = effect { Some((**one).clone()) } else { None }
        };
        scene.log.iter().filter_map(of).collect()
    };
    scene.on(Event::Found(listener()));
    assert_eq!(records(&scene).last().unwrap().inspector, Mark::Open { listener: listener() });
    scene.on(opened());
    scene.on(began());
    scene.pass(WINDOW);
    scene.on(collected());
    let last = records(&scene).pop().unwrap();
    assert_eq!((last.inspector, last.spooled.unwrap().bytes), (Mark::Open { listener: listener() }, BYTES));
    scene.on(Event::Closed(Closure::Closed));
    assert_eq!(records(&scene).pop().unwrap().inspector, Mark::Clear);
    scene.on(put(1));
    scene.on(put(2));
    let last = records(&scene).pop().unwrap();
    assert!(matches!(last.end, Some(SessionPhase::Published { .. })) && last.spooled.is_none());
}

#[test]
fn a_proof_that_fails_is_the_end_and_nothing_was_opened() {
    let mut scene = Scene::new();
    scene.on(Event::Proved(Err(failure(FailureReason::PortTaken, "9229"))));
    assert_eq!(scene.failed(), Some(FailureReason::PortTaken));
    assert_eq!(scene.end().unwrap().attach, None);
    assert!(!scene.session.occupies_process());
}

#[test]
fn a_stop_ends_the_recording_and_keeps_it_wherever_there_is_one() {
    let stop = || Event::Stop { keep: true };
    let mut recording = Scene::recording();
    recording.pass(Duration::from_secs(7));
    assert_eq!(deeds(&recording.on(stop())), ["Collect"]);
    recording.on(collected());
    recording.on(put(1));
    recording.on(put(2));
    recording.on(Event::Closed(Closure::Closed));
    let end = recording.end().unwrap().phase;
    let early = Some(EarlyEnd::Stopped);
    assert!(
        matches!(end, SessionPhase::Published { ended_early, recorded_ms: 7000, .. } if ended_early == early)
    );

    let mut beginning = Scene::beginning();
    assert_eq!(deeds(&beginning.on(stop())), [""; 0]);
    assert_eq!(deeds(&beginning.on(began())), ["Collect"], "the profiler's start is awaited");

    for mut later in [Scene::collecting(), Scene::uploading()] {
        assert_eq!(deeds(&later.on(stop())), [""; 0]);
    }
}

#[test]
fn a_stop_while_attaching_closes_what_was_opened() {
    let mut proving = Scene::new();
    assert_eq!(deeds(&proving.on(Event::Stop { keep: true })), [""; 0]);
    assert_eq!(deeds(&proving.on(proved())), [""; 0], "no signal any more");
    assert_eq!(proving.end().unwrap().phase, SessionPhase::Discarded);

    let mut opening = Scene::opening();
    opening.on(Event::Stop { keep: true });
    assert_eq!(opening.end(), None, "the signal is out");
    opening.on(Event::Found(listener()));
    assert_eq!(deeds(&opening.on(opened())), ["Close"]);
    opening.on(Event::Closed(Closure::Closed));
    assert_eq!(opening.end().unwrap().phase, SessionPhase::Discarded);
    assert!(opening.end().unwrap().attach.unwrap().closed);
}

#[test]
fn a_discard_throws_away_what_there_is_in_every_phase() {
    let discard = || Event::Stop { keep: false };
    let rows: [(&str, Scene, &[&str]); 4] = [
        ("beginning", Scene::beginning(), &["Close"]),
        ("recording", Scene::recording(), &["Close"]),
        ("collecting", Scene::collecting(), &["Close"]),
        ("uploading", Scene::uploading(), &["DropPut", "DeleteSpooled"]),
    ];
    for (phase, mut scene, expected) in rows {
        assert_eq!(deeds(&scene.on(discard())), expected, "{phase}");
        assert_eq!(scene.end(), None, "{phase}");
        assert_eq!(deeds(&scene.on(discard())), [""; 0], "{phase}: once is enough");
        scene.on(Event::Closed(Closure::Closed));
        assert_eq!(scene.end().unwrap().phase, SessionPhase::Discarded, "{phase}");
    }
}

#[test]
fn the_deadline_ends_every_phase() {
    type Make = fn() -> Scene;
    let rows: [(&str, Make); 4] = [
        ("proving", Scene::new),
        ("opening", Scene::opening),
        ("collecting", Scene::collecting),
        ("uploading", Scene::uploading),
    ];
    for (phase, make) in rows {
        let mut scene = make();
        scene.pass(DEADLINE);
        match phase {
            "proving" => drop(scene.on(proved())),
            "opening" => drop(scene.on(Event::Silent(failure(FailureReason::ProcessGone, "gone")))),
            _ => drop(scene.on(Event::Closed(Closure::Closed))),
        }
        assert_eq!(scene.failed(), Some(FailureReason::DeadlineExceeded), "{phase}");
    }
}

#[test]
fn a_recording_ends_before_its_deadline_so_that_it_can_be_uploaded() {
    let rows = [
        (40_000, 30_000, 30_000, None),
        (35_000, 30_000, 26_250, Some(EarlyEnd::Deadline)),
        (300_000, 600_000, 290_000, Some(EarlyEnd::Deadline)),
        (4000, 30_000, 3000, Some(EarlyEnd::Deadline)),
    ];
    for (deadline_ms, duration_ms, expected, early) in rows {
        let mut scene =
            Scene::of(|now| Session::start(Start { deadline_ms, duration_ms, ..start() }, now, 7));
        for event in [proved(), Event::Found(listener()), opened(), began()] {
            scene.on(event);
        }
        scene.pass(Duration::from_millis(expected - 1));
        assert!(!deeds(&scene.pass(Duration::from_millis(1))).is_empty(), "{deadline_ms} {duration_ms}");
        for event in [collected(), Event::Closed(Closure::Closed), put(1), put(2)] {
            scene.on(event);
        }
        let end = scene.end().unwrap().phase;
        assert!(
            matches!(&end, SessionPhase::Published { ended_early, recorded_ms, .. }
                if *ended_early == early && *recorded_ms == expected),
            "{end:?}"
        );
    }
}

#[test]
fn an_app_that_exits_while_recorded_gives_its_profile_first() {
    let mut scene = Scene::recording();
    scene.pass(Duration::from_secs(3));
    assert_eq!(deeds(&scene.on(Event::Exiting)), ["Collect"]);
    assert_eq!(
        deeds(&scene.on(collected())),
        ["Close", "Put 1 u"],
        "it is let go before anything is uploaded"
    );
    scene.on(Event::Closed(Closure::ProcessGone));
    scene.on(put(1));
    scene.on(put(2));
    let end = scene.end().unwrap();
    let early = Some(EarlyEnd::ProcessExiting);
    assert!(
        matches!(end.phase, SessionPhase::Published { ended_early, recorded_ms: 3000, .. } if ended_early == early)
    );
    assert!(end.attach.unwrap().closed, "its port went with it");
}

#[test]
fn a_lost_connection_is_explained_by_whether_the_process_lives() {
    type Make = fn() -> Scene;
    let makes: [Make; 2] = [Scene::recording, Scene::collecting];
    for make in makes {
        for (closure, reason) in [
            (Closure::ProcessGone, FailureReason::ProcessExited),
            (Closure::Closed, FailureReason::InspectorFailed),
            (Closure::StillOpen("why".into()), FailureReason::InspectorFailed),
        ] {
            let mut scene = make();
            assert_eq!(deeds(&scene.on(Event::Lost("dropped".into()))), ["Close"]);
            assert_eq!(scene.end(), None);
            scene.on(Event::Closed(closure));
            assert_eq!(scene.failed(), Some(reason));
        }
    }
}

#[test]
fn a_profiler_that_does_not_start_leaves_nothing_open() {
    for (error, reason) in [
        (BeginError::Exiting, FailureReason::ProcessExited),
        (BeginError::Failed(failure(FailureReason::ProfilerFailed, "no")), FailureReason::ProfilerFailed),
        (BeginError::Lost("dropped".into()), FailureReason::InspectorFailed),
    ] {
        let mut scene = Scene::beginning();
        assert_eq!(deeds(&scene.on(Event::Began(Err(error)))), ["Close"]);
        scene.on(Event::Closed(Closure::Closed));
        assert_eq!(scene.failed(), Some(reason));
    }
}

#[test]
fn a_port_that_does_not_open_is_watched_for_and_closed_when_it_does() {
    let mut scene = Scene::opening();
    let silent = Event::Silent(failure(FailureReason::InspectorDidNotOpen, "10 s"));
    assert_eq!(deeds(&scene.on(silent)), ["CloseLate"]);
    assert_eq!(scene.failed(), Some(FailureReason::InspectorDidNotOpen), "the answer isn't held back");
    assert!(scene.session.occupies_process());
    scene.on(Event::Acknowledged);
    assert!(!scene.session.is_over(), "the record stays while a port may open");
    assert_eq!(deeds(&scene.on(Event::Closed(Closure::Closed))), ["Forget"]);
}

#[test]
fn an_inspector_that_cannot_be_used_is_closed_again() {
    let mut scene = Scene::opening();
    scene.on(Event::Found(listener()));
    let unusable = Event::Unusable(failure(FailureReason::WrongProcess, "pid 4"));
    assert_eq!(deeds(&scene.on(unusable)), ["Close"]);
    assert_eq!(scene.end(), None);
    scene.on(Event::Closed(Closure::Closed));
    assert_eq!(scene.failed(), Some(FailureReason::WrongProcess));
}

#[test]
fn a_profile_that_cannot_be_spooled_is_a_failure_with_its_reason() {
    let mut scene = Scene::collecting();
    assert_eq!(deeds(&scene.on(Event::NotCollected(failure(FailureReason::SpoolFailed, "full")))), ["Close"]);
    scene.on(Event::Closed(Closure::Closed));
    assert_eq!(scene.failed(), Some(FailureReason::SpoolFailed));
}

#[test]
fn a_refused_part_begins_a_new_upload_when_its_grant_arrives() {
    let mut scene = Scene::uploading();
    scene.on(Event::Closed(Closure::Closed));
    scene.on(Event::PutDone(Err(PutError::Grant("expired".into()))));
    assert_eq!(deeds(&scene.pass(Duration::from_secs(20))), ["NeedParts \"\" 1"]);
    assert_eq!(deeds(&scene.pass(Duration::from_secs(20))), [""; 0], "asked once");
    assert_eq!(deeds(&scene.on(Event::Connected)), ["NeedParts \"\" 1"], "and again on a new channel");
    assert_eq!(deeds(&scene.on(Event::Grant(grant("v")))), ["Put 1 v"]);
    scene.on(put(1));
    scene.on(put(2));
    let end = scene.end().unwrap().phase;
    assert!(matches!(&end, SessionPhase::Published { artifact, .. } if artifact.upload_id == "v"), "{end:?}");
}

#[test]
fn a_grant_that_replaces_the_upload_drops_the_part_that_is_on_its_way() {
    let mut scene = Scene::uploading();
    assert_eq!(deeds(&scene.on(Event::Grant(grant("v")))), ["DropPut", "Put 1 v"]);
}

#[test]
fn a_grant_that_comes_early_or_late_does_no_harm() {
    let mut early = Scene::recording();
    assert_eq!(deeds(&early.on(Event::Grant(grant("v")))), [""; 0]);
    early.pass(WINDOW);
    assert_eq!(deeds(&early.on(collected())), ["Close", "Put 1 v"], "the newer one is used");

    let mut late = Scene::recording();
    late.on(Event::Stop { keep: false });
    late.on(Event::Closed(Closure::Closed));
    assert_eq!(deeds(&late.on(Event::Grant(grant("v")))), [""; 0]);
}

#[test]
fn a_store_that_is_ill_is_tried_again_until_the_deadline_and_its_words_are_kept() {
    let mut scene = Scene::uploading();
    scene.on(Event::Closed(Closure::Closed));
    let mut puts = 0;
    while scene.end().is_none() {
        scene.on(Event::PutDone(Err(PutError::Transient("503 slow down".into()))));
        let effects = scene.pass(Duration::from_secs(21));
        puts += deeds(&effects).iter().filter(|deed| deed.starts_with("Put")).count();
    }
    assert!(puts > 5, "{puts}");
    let SessionPhase::Failed(why) = scene.end().unwrap().phase else { panic!("failed") };
    assert_eq!(why.reason, FailureReason::DeadlineExceeded);
    assert!(why.message.contains("503 slow down"), "{}", why.message);
}

#[test]
fn without_an_operator_the_session_finishes_and_its_end_is_kept() {
    let mut scene = Scene::uploading();
    scene.on(Event::Closed(Closure::Closed));
    scene.on(put(1));
    scene.on(put(2));
    scene.pass(Duration::from_hours(1));
    assert!(matches!(scene.end().unwrap().phase, SessionPhase::Published { .. }));
    assert!(!scene.session.is_over(), "kept until it is acknowledged");
    let report = scene.session.report(scene.start + scene.now);
    assert_eq!(Some(report), scene.end(), "and said again in each hello");
}

#[test]
fn an_acknowledgement_of_a_session_that_runs_is_ignored() {
    let mut scene = Scene::recording();
    scene.on(Event::Acknowledged);
    scene.on(Event::Stop { keep: false });
    scene.on(Event::Closed(Closure::Closed));
    assert!(!scene.session.is_over());
    scene.on(Event::Acknowledged);
    assert!(scene.session.is_over());
}

#[test]
fn progress_is_told_every_tenth_of_the_window_and_at_most_once_a_second() {
    for (duration_ms, expected) in [(30_000, 10), (5000, 5), (1000, 1), (600_000, 10)] {
        let begin = |now| Session::start(Start { duration_ms, deadline_ms: 3_600_000, ..start() }, now, 7);
        let mut scene = Scene::of(begin);
        for event in [proved(), Event::Found(listener()), opened(), began()] {
            scene.on(event);
        }
        scene.pass(Duration::from_millis(duration_ms));
        let told: Vec<u64> = scene
            .reports()
            .iter()
            .filter_map(|report| match report.phase {
                SessionPhase::Recording { elapsed_ms, .. } => Some(elapsed_ms),
                _ => None,
            })
            .collect();
        assert_eq!(told.len(), expected, "{duration_ms}: {told:?}");
        assert!(told.windows(2).all(|two| two[1] - two[0] >= 1000), "{told:?}");
    }
}

#[test]
fn every_change_of_phase_is_told_at_once() {
    let mut scene = Scene::uploading();
    scene.on(Event::Closed(Closure::Closed));
    scene.on(put(1));
    scene.on(put(2));
    let mut phases: Vec<String> = scene
        .reports()
        .iter()
        .map(|report| format!("{:?}", report.phase).split([' ', '(']).next().unwrap().to_owned())
        .collect();
    phases.dedup();
    assert_eq!(phases, ["Attaching", "Recording", "Collecting", "Uploading", "Published"]);
}

#[test]
fn the_end_of_the_pod_keeps_what_was_recorded() {
    let mut recording = Scene::recording();
    recording.pass(Duration::from_secs(2));
    assert_eq!(deeds(&recording.on(Event::Shutdown)), ["Collect"]);
    let mut proving = Scene::new();
    proving.on(Event::Shutdown);
    proving.on(proved());
    assert_eq!(proving.failed(), Some(FailureReason::ProcessExited));
    let mut uploading = Scene::uploading();
    assert_eq!(deeds(&uploading.on(Event::Shutdown)), [""; 0], "the upload goes on");
}

#[test]
fn what_is_not_known_here_is_refused() {
    for change in [
        Start { recording: Recording::Unknown, ..start() },
        Start { recording: Recording::Cpu { sampling_interval_us: 0 }, ..start() },
        Start { duration_ms: 0, ..start() },
    ] {
        let scene = Scene::of(|now| Session::start(change, now, 7));
        assert_eq!(scene.failed(), Some(FailureReason::Unsupported));
        assert!(!scene.session.occupies_process());
    }
}

#[test]
fn a_refused_session_is_over_but_for_its_acknowledgement() {
    let mut scene =
        Scene::of(|now| Session::refuse(start(), failure(FailureReason::Busy, "shop/other"), now));
    assert_eq!(scene.failed(), Some(FailureReason::Busy));
    assert!(!scene.session.occupies_process());
    assert!(!scene.log.iter().any(|(_, effect)| *effect == Effect::Prove));
    assert_eq!(deeds(&scene.on(Event::Acknowledged)), ["Forget"]);
}

#[test]
fn a_restarted_worker_closes_what_the_former_one_opened_and_says_what_was_lost() {
    let open = Mark::Open { listener: listener() };
    let mut scene = Scene::recovered(Record { inspector: open, ..record() });
    assert!(scene.log.iter().any(|(_, effect)| *effect == Effect::Close { listener: listener() }));
    assert_eq!(scene.end(), None);
    scene.on(Event::Closed(Closure::Closed));
    assert_eq!(scene.failed(), Some(FailureReason::SidecarRestarted));

    // Killed between the signal and the port: it may open yet.
    let mut scene = Scene::recovered(Record { inspector: Mark::Signalled { known: vec![1] }, ..record() });
    assert!(scene.log.iter().any(|(_, effect)| matches!(effect, Effect::CloseLate { .. })));
    assert_eq!(scene.end(), None);
    scene.pass(Duration::from_secs(5));
    assert_eq!(scene.failed(), Some(FailureReason::SidecarRestarted), "not held back for the whole watch");
    scene.on(Event::Acknowledged);
    assert!(!scene.session.is_over());
    assert_eq!(deeds(&scene.on(Event::Closed(Closure::NeverOpened))), ["Forget"]);
}

#[test]
fn a_restarted_worker_publishes_what_the_former_one_had_spooled() {
    let spooled = Spooled { file: "f".into(), bytes: BYTES, uncompressed_bytes: 9000, sha256: "aa".into() };
    let left = Record {
        inspector: Mark::Open { listener: listener() },
        spooled: Some(spooled),
        recorded_ms: 30_000,
        ..record()
    };
    let mut scene = Scene::recovered(left);
    let first: Vec<_> = scene.log.iter().map(|(_, effect)| effect.clone()).collect();
    assert_eq!(deeds(&first), ["Close", "NeedParts \"\" 1"], "the signed URLs weren't kept");
    assert_eq!(deeds(&scene.on(Event::Grant(grant("v")))), ["Put 1 v"]);
    scene.on(Event::Closed(Closure::Closed));
    scene.on(put(1));
    scene.on(put(2));
    assert!(matches!(scene.end().unwrap().phase, SessionPhase::Published { recorded_ms: 30_000, .. }));
}

#[test]
fn an_end_that_was_not_acknowledged_is_told_by_the_next_worker() {
    let end = SessionPhase::Failed(failure(FailureReason::NotNode, "python"));
    let mut scene = Scene::recovered(Record { inspector: Mark::Clear, end: Some(end.clone()), ..record() });
    assert_eq!(scene.end().unwrap().phase, end);
    assert_eq!(deeds(&scene.on(Event::Acknowledged)), ["Forget"]);
}

/// Throws events at a session in any order: it never panics, tells one end, and comes to rest.
#[test]
fn any_order_of_events_comes_to_one_end() {
    for seed in 0..2000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut scene = Scene::new();
        for _ in 0..random.usize(1..25) {
            let last = scene.log.iter().rev().map(|(_, effect)| effect.clone()).find(|effect| {
                !matches!(
                    effect,
                    Effect::Report(_) | Effect::Journal(_) | Effect::DeleteSpooled(_) | Effect::DropPut
                )
            });
            // Either what the last effect brings, or something from outside.
            let event = match (random.u8(..8), last) {
                (0, _) => Event::Stop { keep: random.bool() },
                (1, _) => Event::Connected,
                (2, _) => Event::Grant(grant("v")),
                (3, _) => Event::Shutdown,
                (_, Some(effect)) => answer(&effect, &mut random),
                (_, None) => Event::Tick,
            };
            scene.on(event);
            scene.pass(Duration::from_millis(random.u64(..5000)));
            if scene.session.is_over() {
                break;
            }
        }
        // Then nothing more happens but what was asked for, until the deadline.
        scene.pass(DEADLINE);
        for _ in 0..40 {
            let pending = scene.log.iter().rev().map(|(_, effect)| effect.clone()).find(|effect| {
                matches!(
                    effect,
                    Effect::Prove | Effect::Open { .. } | Effect::Close { .. } | Effect::CloseLate { .. }
                )
            });
            if scene.end().is_some() && !scene.session.occupies_process() {
                break;
            }
            match pending {
                Some(Effect::Prove) => drop(scene.on(proved())),
                Some(Effect::Open { .. }) => {
                    scene.on(Event::Silent(failure(FailureReason::InspectorDidNotOpen, "")));
                }
                _ => drop(scene.on(Event::Closed(Closure::Closed))),
            }
            scene.pass(Duration::from_mins(1));
        }
        assert!(scene.end().is_some(), "seed {seed}: {:#?}", scene.log);
        assert!(!scene.session.occupies_process(), "seed {seed}: {:#?}", scene.log);
        scene.on(Event::Acknowledged);
        assert!(scene.session.is_over(), "seed {seed}");
    }
}

/// What may come of an effect.
fn answer(effect: &Effect, random: &mut fastrand::Rng) -> Event {
    let well = random.u8(..4) > 0;
    let why = || failure(FailureReason::Unknown, "drawn");
    match effect {
        Effect::Prove => {
            if well {
                proved()
            } else {
                Event::Proved(Err(why()))
            }
        }
        Effect::Open { .. } => match random.u8(..4) {
            0 => Event::Found(listener()),
            1 => Event::Silent(why()),
            2 => Event::Unusable(why()),
            _ => Event::NotSignalled(why()),
        },
        Effect::Begin { .. } => {
            if well {
                began()
            } else {
                Event::Began(Err(BeginError::Lost("x".into())))
            }
        }
        Effect::Watch => {
            if well {
                Event::Tick
            } else {
                Event::Exiting
            }
        }
        Effect::Collect { .. } => {
            if well {
                collected()
            } else {
                Event::Lost("x".into())
            }
        }
        Effect::Close { .. } | Effect::CloseLate { .. } => {
            Event::Closed(if well { Closure::Closed } else { Closure::StillOpen("x".into()) })
        }
        Effect::Put { part, .. } => {
            if well {
                put(part.number)
            } else {
                Event::PutDone(Err(PutError::Transient("x".into())))
            }
        }
        _ => Event::Tick,
    }
}
