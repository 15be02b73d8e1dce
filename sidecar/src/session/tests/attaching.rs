//! What is opened is closed, whatever comes between.

use super::*;

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
fn a_stop_while_attaching_closes_what_was_opened() {
    let mut proving = Scene::new();
    assert_eq!(deeds(&proving.on(Event::Stop { keep: true, why: None })), [""; 0]);
    assert_eq!(deeds(&proving.on(proved())), [""; 0], "no signal any more");
    assert_eq!(proving.end().unwrap().phase, SessionPhase::Discarded);

    let mut opening = Scene::opening();
    opening.on(Event::Stop { keep: true, why: None });
    assert_eq!(opening.end(), None, "the signal is out");
    opening.on(Event::Found(listener()));
    assert_eq!(deeds(&opening.on(opened())), ["Close"]);
    opening.on(Event::Closed(Closure::Closed));
    assert_eq!(opening.end().unwrap().phase, SessionPhase::Discarded);
    assert!(opening.end().unwrap().attach.unwrap().closed);
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
fn an_inspector_that_fails_as_its_process_ends_is_told_as_the_end_of_the_process() {
    let gone = [FailureReason::ProcessGone, FailureReason::ProcessExited];
    for reason in gone {
        let mut scene = Scene::opening();
        assert_eq!(deeds(&scene.on(Event::Silent(failure(reason, "exit")))), [] as [&str; 0]);
        assert_eq!(scene.failed(), Some(reason), "nothing is watched for");
    }
    for (closure, reason) in [
        (Closure::ProcessGone, FailureReason::ProcessExited),
        (Closure::Closed, FailureReason::InspectorFailed),
    ] {
        let mut scene = Scene::opening();
        scene.on(Event::Found(listener()));
        scene.on(Event::Unusable(failure(FailureReason::InspectorFailed, "dropped")));
        scene.on(Event::Closed(closure));
        assert_eq!(scene.failed(), Some(reason));
    }
}

#[test]
fn an_inspector_that_the_process_opened_is_left_and_is_nothing_to_recover() {
    let plan = inspector_plan(&[], None);
    let mut scene = Scene::new();
    scene.on(Event::Proved(Ok(Proved { plan, known: vec![7], inner_pid: 3, opened: Some(listener()) })));
    scene.on(opened());
    scene.on(began());
    assert_eq!(deeds(&scene.pass(WINDOW)), ["Collect"]);
    let effects = scene.on(collected());
    assert_eq!(deeds(&effects), ["Leave", "Put 1 u"]);
    for (_, effect) in &scene.log {
        if let Effect::Journal(record) = effect {
            assert_eq!(record.inspector, Mark::Clear, "the next worker must not close it");
        }
    }
    scene.on(put(1));
    scene.on(put(2));
    scene.on(Event::Closed(Closure::Left));
    let end = scene.end().unwrap();
    let attach = end.attach.unwrap();
    assert_eq!((attach.opened_by, attach.closed), (OpenedBy::Process, false));
    assert!(matches!(end.phase, SessionPhase::Published { .. }));
}
