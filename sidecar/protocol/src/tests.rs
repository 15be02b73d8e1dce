use super::*;

fn session() -> SessionReport {
    SessionReport {
        request: RequestUid("7d1c".into()),
        process: ProcessId { pid: 17, start_ticks: 4242 },
        container: "app".into(),
        phase: SessionPhase::Recording { elapsed_ms: 1_000, duration_ms: 30_000 },
        node_version: Some("v22.23.3".into()),
        attach: Some(Attach { opened_by: OpenedBy::Pitwall, closed: false, attach_us: 9_000 }),
        stall: Stall { start_us: 12_000, stop_us: 0 },
        remark: None,
        load: None,
        preflight: None,
    }
}

#[test]
fn messages_survive_the_wire() {
    let messages = [
        SidecarMessage::Report(Box::new(session())),
        SidecarMessage::Seen(Seen {
            request: RequestUid("7d1c".into()),
            processes: vec![],
            others: 3,
            lookalikes: vec![],
        }),
        SidecarMessage::Report(Box::new(SessionReport {
            phase: SessionPhase::Failed(Failure { reason: FailureReason::PortTaken, message: "9229".into() }),
            ..session()
        })),
    ];
    for message in messages {
        assert_eq!(decode::<SidecarMessage>(&encode(&message)).unwrap(), message);
    }
}

#[test]
fn the_wire_form_is_the_documented_one() {
    let text =
        encode(&OperatorMessage::Stop(Stop { request: RequestUid("7d1c".into()), keep: true, why: None }));
    assert_eq!(text, r#"{"type":"stop","request":"7d1c","keep":true}"#);
}

#[test]
fn an_unknown_message_is_told_from_a_malformed_one() {
    let unknown = decode::<OperatorMessage>(r#"{"type":"sing","song":"la"}"#);
    assert!(matches!(unknown, Err(DecodeError::UnknownMessage(kind)) if kind == "sing"));
    for malformed in ["", "{", "[]", "null", r#"{"type":"stop"}"#, r#"{"type":7}"#] {
        assert!(
            matches!(decode::<OperatorMessage>(malformed), Err(DecodeError::Malformed(_))),
            "{malformed}"
        );
    }
    let long = format!(r#"{{"type":"{}"}}"#, "x".repeat(MAX_MESSAGE));
    assert!(matches!(decode::<OperatorMessage>(&long), Err(DecodeError::TooLong(_))));
}

#[test]
fn newer_values_of_open_enums_are_read() {
    let failure: Failure = serde_json::from_str(r#"{"reason":"MoonPhase","message":"full"}"#).unwrap();
    assert_eq!(failure.reason, FailureReason::Unknown);
    let recording: Recording = serde_json::from_str(r#"{"type":"dreams","depth":3}"#).unwrap();
    assert_eq!(recording, Recording::Unknown);
}

#[test]
fn a_grant_keeps_its_urls_out_of_logs() {
    let grant = UploadGrant {
        upload_id: "u".into(),
        part_size: 8 << 20,
        first_part: 1,
        urls: vec!["https://s3/?X-Amz-Signature=secret".into()],
        expires_in_ms: 1,
        artifact: String::new(),
    };
    assert!(!format!("{grant:?}").contains("secret"));
}

#[test]
fn a_chunk_has_at_most_some_hundred_thousand_samples_and_a_minute() {
    for (interval_us, expected_ms) in
        [(100, 20_000), (200, 20_000), (500, 50_000), (1_000, 60_000), (100_000, 60_000)]
    {
        let recording = Recording::cpu(std::time::Duration::from_micros(interval_us), true);
        let Recording::CpuInChunks { chunk_ms, .. } = recording else { panic!("{recording:?}") };
        assert_eq!(chunk_ms, expected_ms, "{interval_us} us");
    }
}
