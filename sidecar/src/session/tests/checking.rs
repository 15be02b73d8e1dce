//! The preflight, a dry run, and what a snapshot does otherwise than a profile.

use super::*;
use crate::session::preflight::Measured;
use pitwall_protocol::{Check, ContainerBounds};

fn snapshot() -> Start {
    let bounds = ContainerBounds { memory_bytes: Some(512 << 20), ..ContainerBounds::default() };
    Start { recording: Recording::HeapSnapshot { redact: false }, duration_ms: 0, bounds, ..start() }
}

fn opened_scene(start: Start) -> Scene {
    let mut scene = Scene::of(|now| Session::start(start, now, 7));
    scene.on(proved());
    scene.on(Event::Found(listener()));
    assert_eq!(deeds(&scene.on(opened())), ["Measure"]);
    scene
}

fn measured(heap_mib: u64) -> Event {
    let heap = heap_mib << 20;
    Event::Measured(Ok(Measured { used: 2 * heap, heap, spool_left: 1 << 30, ..Measured::default() }))
}

#[test]
fn a_snapshot_is_measured_checked_taken_and_published() {
    let mut scene = opened_scene(snapshot());
    assert_eq!(deeds(&scene.on(measured(20))), ["Begin"]);
    assert_eq!(deeds(&scene.on(began())), ["Watch", "Collect"], "its window is over at once");
    for (after, percent, told) in [(1000, 10, 10), (100, 30, 10), (100, 40, 10), (2000, 60, 60)] {
        scene.pass(Duration::from_millis(after));
        scene.on(Event::Progress(percent));
        let last = scene.reports().pop().map(|report| report.phase);
        assert_eq!(last, Some(SessionPhase::Collecting { percent: Some(told) }), "at {percent}");
    }
    // What was held back is told, though nothing happens any more.
    scene.on(Event::Progress(99));
    scene.pass(Duration::from_secs(1));
    let last = scene.reports().pop().map(|report| report.phase);
    assert_eq!(last, Some(SessionPhase::Collecting { percent: Some(99) }));
    scene.on(collected());
    scene.on(put(1));
    scene.on(put(2));
    scene.on(Event::Closed(Closure::Closed));
    let end = scene.end().unwrap();
    assert!(
        matches!(end.phase, SessionPhase::Published { ended_early: None, recorded_ms: 0, .. }),
        "{end:?}"
    );
    assert_eq!(end.preflight.unwrap().heap_bytes, 20 << 20);
}

#[test]
fn a_stop_in_a_series_ends_it_before_the_next_snapshot() {
    let one = Box::new(Recording::HeapSnapshot { redact: false });
    let series = Recording::Series { recording: one, count: 3, interval_ms: 60_000 };
    let mut scene = opened_scene(Start { recording: series.clone(), ..snapshot() });
    assert_eq!(deeds(&scene.on(measured(1))), ["Begin"]);
    assert_eq!(deeds(&scene.on(began())), ["Watch", "Collect"], "there is no window");
    let mut late = opened_scene(Start { recording: series.clone(), deadline_ms: 300_000, ..snapshot() });
    late.on(measured(1));
    late.on(began());
    assert_eq!(deeds(&late.pass(Duration::from_secs(289))), [""; 0]);
    assert_eq!(
        deeds(&late.pass(Duration::from_secs(5))),
        ["Enough"],
        "while there is time to publish, and once"
    );
    assert_eq!(deeds(&scene.on(Event::Stop { keep: true, why: None })), ["Enough"]);
    scene.on(collected());
    scene.on(put(1));
    scene.on(put(2));
    scene.on(Event::Closed(Closure::Closed));
    let end = scene.end().unwrap().phase;
    assert!(matches!(end, SessionPhase::Published { ended_early: Some(EarlyEnd::Stopped), .. }), "{end:?}");
}

#[test]
fn a_refused_snapshot_closes_the_inspector_and_takes_nothing() {
    let mut scene = opened_scene(snapshot());
    assert_eq!(deeds(&scene.on(measured(100))), ["Close"]);
    scene.on(Event::Closed(Closure::Closed));
    let end = scene.end().unwrap();
    let SessionPhase::Failed(failure) = &end.phase else { panic!("{end:?}") };
    assert_eq!(failure.reason, FailureReason::PreflightRefused);
    assert!(end.preflight.is_some() && end.attach.unwrap().closed);

    let mut overridden = opened_scene(Start { overridden: vec![Check::MemoryLimit], ..snapshot() });
    assert_eq!(deeds(&overridden.on(measured(100))), ["Begin"]);
}

#[test]
fn a_dry_run_ends_after_the_checks() {
    for (start, reason) in [(start(), None), (snapshot(), Some(FailureReason::PreflightRefused))] {
        let recording = Recording::Check { recording: Box::new(start.recording.clone()) };
        let mut scene = opened_scene(Start { recording, ..start });
        assert_eq!(deeds(&scene.on(measured(100))), ["Close"]);
        scene.on(Event::Closed(Closure::Closed));
        match scene.end().unwrap().phase {
            SessionPhase::Checked => assert_eq!(reason, None),
            SessionPhase::Failed(failure) => assert_eq!(Some(failure.reason), reason),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_snapshot_that_has_not_begun_is_given_up_by_a_stop() {
    for checking in [true, false] {
        let mut scene = opened_scene(snapshot());
        if !checking {
            scene.on(measured(20));
        }
        assert_eq!(deeds(&scene.on(Event::Stop { keep: true, why: None })), ["Close"]);
        scene.on(Event::Closed(Closure::Closed));
        assert_eq!(scene.end().unwrap().phase, SessionPhase::Discarded);
    }
}

#[test]
fn what_this_node_cannot_record_is_refused_by_version() {
    for (version, collected, refused) in
        [("v18.20.8", true, true), ("v18.20.8", false, false), ("v20.0.0", true, false), ("x", true, false)]
    {
        let recording = Recording::HeapSampling { sampling_interval_bytes: 4096, collected };
        let mut scene = Scene::of(|now| Session::start(Start { recording, ..start() }, now, 7));
        scene.on(proved());
        scene.on(Event::Found(listener()));
        let opened = Event::Opened { node_version: version.into(), took: Duration::ZERO };
        assert_eq!(deeds(&scene.on(opened)), [if refused { "Close" } else { "Begin" }], "{version}");
    }
}
