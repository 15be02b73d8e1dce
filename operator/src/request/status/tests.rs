use super::*;
use crate::channel::PodUid;
use crate::request::targets::in_pod;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn with(phase: TargetPhase, progress: Option<&str>) -> ProfileRequestStatus {
    let mut target = in_pod("a", &PodUid("a".into()));
    target.phase = phase;
    target.progress = progress.map(str::to_owned);
    let mut status = ProfileRequestStatus { targets: vec![target], ..ProfileRequestStatus::default() };
    if phase != TargetPhase::Pending {
        let holds = phase == TargetPhase::Recording;
        set_condition(
            &mut status.conditions,
            ConditionType::Recording,
            holds,
            Reason::Recording,
            "",
            None,
            at(1),
        );
    }
    status
}

#[test]
fn progress_alone_is_written_every_ten_seconds_and_anything_else_at_once() {
    let recording = with(TargetPhase::Recording, Some("1s of 30s"));
    let further = with(TargetPhase::Recording, Some("2s of 30s"));
    let uploading = with(TargetPhase::Uploading, None);
    let stored = with(TargetPhase::Stored, None);
    let analysed = with(TargetPhase::Succeeded, None);
    let analysing = |second| Writes { last: Some(at(99)), analysing: Some(at(second)) };
    for (old, new, writes, worth) in [
        (&recording, &recording, Writes::default(), false),
        (&recording, &further, Writes { last: Some(at(95)), analysing: None }, false),
        (&recording, &further, Writes { last: Some(at(90)), analysing: None }, true),
        (&recording, &uploading, analysing(99), false),
        // The analysis has only begun, takes long, has ended.
        (&recording, &stored, analysing(100), false),
        (&recording, &stored, analysing(99), true),
        (&recording, &analysed, analysing(100), true),
        (&with(TargetPhase::Pending, None), &recording, analysing(100), true),
    ] {
        assert_eq!(is_worth_writing(old, new, writes, at(100)), worth, "{old:?} {new:?}");
    }
}
