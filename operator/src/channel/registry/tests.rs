use super::*;

fn pod(uid: &str) -> PodRef {
    PodRef { namespace: "shop".into(), name: uid.into(), uid: uid.into() }
}

fn hello(sessions: Vec<SessionReport>) -> Hello {
    Hello { version: 1, sidecar_version: "0".into(), pod: pod("a"), epoch: 0, sessions }
}

fn session(request: &str, pid: u32, phase: SessionPhase) -> SessionReport {
    SessionReport {
        request: RequestUid(request.into()),
        process: ProcessId { pid, start_ticks: 1 },
        container: "app".into(),
        phase,
        node_version: None,
        attach: None,
        stall: Stall::default(),
        remark: None,
        load: None,
        preflight: None,
    }
}

#[test]
fn a_newer_connection_of_a_pod_takes_over() {
    let (registry, _woken) = Registry::new();
    let mut first = registry.connect(pod("a"), hello(vec![]));
    let second = registry.connect(pod("a"), hello(vec![]));
    assert!(first.outbox.try_recv().is_err_and(|error| error == mpsc::error::TryRecvError::Disconnected));
    // The old one's end must not end the new one.
    registry.disconnect(&first);
    assert!(registry.is_connected(&PodUid("a".into())));
    registry.disconnect(&second);
    assert!(!registry.is_connected(&PodUid("a".into())));
}

#[test]
fn what_a_sidecar_no_longer_holds_is_forgotten_at_its_hello() {
    let (registry, _woken) = Registry::new();
    registry.connect(pod("a"), hello(vec![session("r1", 7, SessionPhase::Attaching)]));
    assert_eq!(registry.sessions(&RequestUid("r1".into())).len(), 1);
    assert_eq!(
        registry.recorded_by(&PodUid("a".into()), &RequestUid("r2".into())),
        Some(RequestUid("r1".into()))
    );
    registry.connect(pod("a"), hello(vec![]));
    assert!(registry.sessions(&RequestUid("r1".into())).is_empty());
}

#[test]
fn a_hostile_sidecar_can_not_grow_the_index() {
    let (registry, _woken) = Registry::new();
    registry.connect(pod("a"), hello(vec![]));
    let from = PodUid("a".into());
    for n in 0..1000_u32 {
        let request = RequestUid(format!("r{n}"));
        let report = Box::new(session(&request.0, n, SessionPhase::Attaching));
        registry.receive(&from, SidecarMessage::Report(report), Timestamp::UNIX_EPOCH);
        let seen = Seen { request: request.clone(), processes: vec![], others: 0, lookalikes: vec![] };
        registry.receive(&from, SidecarMessage::Seen(seen), Timestamp::UNIX_EPOCH);
    }
    assert_eq!(registry.active_sessions(), MAX_SESSIONS);
    assert_eq!(registry.index().sights.len(), 0);
}

#[test]
fn a_sidecar_that_does_not_read_is_given_up() {
    let (registry, _woken) = Registry::new();
    let _registration = registry.connect(pod("a"), hello(vec![]));
    let stop = || {
        OperatorMessage::Stop(pitwall_protocol::Stop {
            request: RequestUid("r".into()),
            keep: true,
            why: None,
        })
    };
    let uid = PodUid("a".into());
    let taken = (0..=OUTBOX).filter(|_| registry.send(&uid, stop())).count();
    assert_eq!(taken, OUTBOX);
    assert!(!registry.is_connected(&uid));
}
