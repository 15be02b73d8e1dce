//! The straight way, and what ends a recording before its time.

use super::*;

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
    let SessionPhase::Published { artifact, ended_early, recorded_ms, .. } = &end.phase else {
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
fn a_guard_ends_the_recording_and_says_why() {
    let numbers = "the container's processes use 240 MiB together".to_owned();
    let mut guarded = Scene::recording();
    guarded.pass(Duration::from_secs(7));
    let guards = || Event::Guarded(EarlyEnd::MemoryGuard, numbers.clone());
    assert_eq!(deeds(&guarded.on(guards())), ["Collect"]);
    assert_eq!(deeds(&guarded.on(guards())), [""; 0], "once");
    let mut unready = Scene::recording();
    unready.pass(Duration::from_secs(7));
    let stop = Event::Stop { keep: true, why: Some(EarlyEnd::NotReady) };
    assert_eq!(deeds(&unready.on(stop)), ["Collect"]);
    for (mut scene, why, remark) in
        [(guarded, EarlyEnd::MemoryGuard, Some(numbers)), (unready, EarlyEnd::NotReady, None)]
    {
        scene.on(collected());
        scene.on(put(1));
        scene.on(put(2));
        scene.on(Event::Closed(Closure::Closed));
        let end = scene.end().unwrap();
        let SessionPhase::Published { ended_early, recorded_ms, .. } = end.phase else { panic!("{end:?}") };
        assert_eq!((ended_early, recorded_ms, end.remark), (Some(why), 7000, remark));
    }
}

#[test]
fn a_recording_in_chunks_that_is_cut_off_is_kept_and_says_by_what() {
    for (closure, said) in [(Closure::ProcessGone, "was killed"), (Closure::Closed, "something else closed")]
    {
        let mut scene = Scene::recording();
        scene.pass(Duration::from_secs(20));
        let Event::Collected(whole) = collected() else { unreachable!() };
        let recorded = Some(Duration::from_secs(12));
        let cut = Some("dropped".to_owned());
        let collected = Event::Collected(Box::new(Collected { recorded, cut, ..*whole }));
        assert_eq!(deeds(&scene.on(collected)), ["Close", "Put 1 u"]);
        scene.on(put(1));
        scene.on(put(2));
        assert_eq!(scene.end(), None, "by what is known when the inspector is");
        scene.on(Event::Closed(closure));
        let end = scene.end().unwrap();
        let SessionPhase::Published { ended_early, recorded_ms, .. } = end.phase else { panic!("{end:?}") };
        assert_eq!((ended_early, recorded_ms), (Some(EarlyEnd::Cut), 12_000));
        let remark = end.remark.unwrap();
        assert!(remark.contains(said) && remark.contains("the 12 s that had come over"), "{remark}");
    }
}

#[test]
fn a_stop_ends_the_recording_and_keeps_it_wherever_there_is_one() {
    let stop = || Event::Stop { keep: true, why: None };
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
fn a_discard_throws_away_what_there_is_in_every_phase() {
    let discard = || Event::Stop { keep: false, why: None };
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
fn a_profile_that_cannot_be_spooled_is_a_failure_with_its_reason() {
    let mut scene = Scene::collecting();
    assert_eq!(deeds(&scene.on(Event::NotCollected(failure(FailureReason::SpoolFailed, "full")))), ["Close"]);
    scene.on(Event::Closed(Closure::Closed));
    assert_eq!(scene.failed(), Some(FailureReason::SpoolFailed));
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
