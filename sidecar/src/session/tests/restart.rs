//! What a dead worker left.

use super::*;

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
