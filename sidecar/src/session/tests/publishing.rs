//! Uploads, reports and acknowledgements.

use super::*;

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
    late.on(Event::Stop { keep: false, why: None });
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
    scene.on(Event::Stop { keep: false, why: None });
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
