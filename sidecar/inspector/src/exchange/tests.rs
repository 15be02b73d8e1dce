use std::time::Duration;

use super::*;
use crate::frame::FrameError;

/// What came in, comparable.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    Reply(i32, String),
    Refused(i32, i64, String),
    Event(Event),
    /// All chunks of a stream together.
    Stream(i32, String),
    /// All chunks of an event together, and its title.
    EventStream(EventStream, String, Option<String>),
    Closed(Closed),
}

fn text(payload: &str) -> Vec<u8> {
    frame(0x81, payload.as_bytes())
}

/// A frame as a server sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(u8::try_from(length).unwrap()),
        length @ 126..=0xffff => {
            frame.push(126);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

const LIMITS: Limits = Limits { message: 256, stream: 1024, outgoing: 1024 };

/// An exchange in which command 1 is evaluated and 2 is streamed.
fn exchange() -> Exchange {
    let mut exchange = Exchange::new(LIMITS);
    let evaluate =
        Command::Evaluate { expression: "1", timeout: Duration::from_secs(1), command_line_api: true };
    assert_eq!(exchange.command(&evaluate).unwrap().0, CommandId(1));
    assert_eq!(exchange.command(&Command::ProfilerStop).unwrap().0, CommandId(2));
    exchange
}

/// Feeds `pieces` as a connection does, and gives all that came in. The TCP connection then ends.
fn feed<'a>(exchange: &mut Exchange, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Came>, Error> {
    let mut all = Vec::new();
    let mut streamed = String::new();
    let mut buffer = Vec::new();
    let mut pieces = pieces.into_iter();
    loop {
        let Advanced { consumed, incoming } = exchange.advance(&buffer)?;
        match incoming {
            Some(Incoming::Reply { id, result }) => all.push(Came::Reply(id.0, result.get().to_owned())),
            Some(Incoming::Refused { id, code, message }) => all.push(Came::Refused(id.0, code, message)),
            Some(Incoming::Event(event)) => all.push(Came::Event(event)),
            Some(Incoming::StreamChunk { bytes, .. } | Incoming::EventChunk { bytes, .. }) => {
                assert!(!bytes.is_empty() && bytes.end <= consumed);
                streamed.push_str(str::from_utf8(&buffer[bytes]).unwrap());
            }
            Some(Incoming::EventEnd { stream, title }) => {
                all.push(Came::EventStream(stream, std::mem::take(&mut streamed), title));
            }
            Some(Incoming::StreamEnd { id, bytes }) => {
                assert_eq!(bytes, streamed.len() as u64);
                all.push(Came::Stream(id.0, std::mem::take(&mut streamed)));
            }
            Some(Incoming::Closed(closed)) => {
                all.push(Came::Closed(closed));
                return Ok(all);
            }
            None => {
                assert!(
                    buffer.len() - consumed < LONGEST_UNCONSUMED,
                    "{} bytes wait",
                    buffer.len() - consumed
                );
                buffer.drain(..consumed);
                let Some(piece) = pieces.next() else {
                    all.push(Came::Closed(exchange.dropped()));
                    return Ok(all);
                };
                buffer.extend(piece);
                continue;
            }
        }
        buffer.drain(..consumed);
    }
}

const DROPPED: Came = Came::Closed(Closed::Dropped { within_message: false });

/// Several messages, and what comes of them however they are cut.
#[test]
fn what_comes_does_not_depend_on_how_the_bytes_are_cut() {
    let bytes = [
        text(r#"{"method":"NodeRuntime.waitingForDisconnect","params":{}}"#),
        frame(0x89, b"ping"),
        text(r#"{"id":1,"result":{"result":{"type":"string","value":"\ud800"}}}"#),
        text(r#"{"id":2,"result":{"profile":{"nodes":[{"id":1,"x":{}}],"endTime":1}}}"#),
        frame(0x88, &[0x03, 0xe8, b'b', b'y', b'e']),
        b"what comes after the Close frame".to_vec(),
    ]
    .concat();
    let expected = [
        Came::Event(Event::WaitingForDisconnect),
        Came::Reply(1, r#"{"result":{"type":"string","value":"\ud800"}}"#.into()),
        Came::Stream(2, r#"{"nodes":[{"id":1,"x":{}}],"endTime":1}"#.into()),
        Came::Closed(Closed::ByFrame { code: Some(1000) }),
    ];
    assert_eq!(feed(&mut exchange(), bytes.chunks(1)).unwrap(), expected, "byte by byte");
    for cut in 0..=bytes.len() {
        let (before, after) = bytes.split_at(cut);
        assert_eq!(feed(&mut exchange(), [before, after]).unwrap(), expected, "cut at {cut}");
    }
}

#[test]
fn a_streamed_result_of_any_size_is_handed_on_unchanged() {
    for size in 0..200 {
        let profile = format!(r#""{}""#, "}".repeat(size));
        let bytes = text(&format!(r#"{{"id":2,"result":{{"profile":{profile}}}}}"#));
        for piece in [1, 7, 16, 17, 1000] {
            let came = feed(&mut exchange(), bytes.chunks(piece)).unwrap();
            assert_eq!(came, [Came::Stream(2, profile.clone()), DROPPED], "{size} in pieces of {piece}");
        }
    }
}

#[test]
fn white_space_in_a_streamed_envelope_is_tolerated() {
    let bytes = text("{ \"id\" : 2 ,\r\n \"result\" : { \"profile\" :{\"a\": 1 } } \n}\n");
    for piece in [1, 5, 1000] {
        let came = feed(&mut exchange(), bytes.chunks(piece)).unwrap();
        assert_eq!(came, [Came::Stream(2, r#"{"a": 1 } "#.to_owned()), DROPPED]);
    }
}

#[test]
fn a_refusal_is_told_whatever_the_command_and_the_order() {
    for (message, expected) in [
        (
            r#"{"id":1,"error":{"code":-32601,"message":"'X.y' wasn't found"}}"#,
            (1, -32601, "'X.y' wasn't found"),
        ),
        (r#"{"error":{"code":-32000,"message":"No recording"},"id":2}"#, (2, -32000, "No recording")),
        (r#"{"id":2,"error":{"code":-32000,"message":"\ud800"}}"#, (2, -32000, "\u{fffd}\u{fffd}\u{fffd}")),
    ] {
        let (id, code, text_) = expected;
        let came = feed(&mut exchange(), [&text(message)[..]]).unwrap();
        assert_eq!(came, [Came::Refused(id, code, text_.to_owned()), DROPPED], "{message}");
    }
}

#[test]
fn what_nobody_waits_for_is_skipped() {
    let profile = format!(r#"{{"id":9,"result":{{"profile":{}}}}}"#, "1".repeat(20));
    for message in [
        r#"{"id":0,"error":{"code":-32700,"message":"JSON: colon expected"}}"#,
        r#"{"id":32741,"error":{"code":-32700,"message":"garbage"}}"#,
        r#"{"id":99999999999999999999,"result":{}}"#,
        r#"{"id":"1","result":{}}"#,
        r#"{"id":3,"result":{}}"#,
        r#"{"method":"Runtime.consoleAPICalled","params":{"args":[]}}"#,
        r#"{"method":"\ud800"}"#,
        r#"{"method":7}"#,
        "{}",
        &profile,
    ] {
        assert_eq!(feed(&mut exchange(), [&text(message)[..]]).unwrap(), [DROPPED], "{message}");
    }
    let large =
        format!(r#"{{"method":"Runtime.consoleAPICalled","params":{{"profile":"{}"}}}}"#, "x".repeat(900));
    let bytes = [text(&large), text(r#"{"id":1,"result":{}}"#)].concat();
    for piece in [1, 100, 10_000] {
        let came = feed(&mut exchange(), bytes.chunks(piece)).unwrap();
        assert_eq!(came, [Came::Reply(1, "{}".to_owned()), DROPPED], "a large event in pieces of {piece}");
    }
}

#[test]
fn the_large_member_of_an_event_is_handed_on_unchanged() {
    let profile = format!(r#"{{"nodes":[{}]}}"#, vec!["1"; 300].join(","));
    let start = r#"{"method":"Profiler.consoleProfileFinished","params":{"id":"a","location":{"scriptId":"1"},"profile":"#;
    let chunk = r#"{"method":"HeapProfiler.addHeapSnapshotChunk","params":{"chunk":"{\"snapshot\":{}}"}}"#;
    let progress = r#"{"method":"HeapProfiler.reportHeapSnapshotProgress","params":{"done":3,"total":9}}"#;
    let bytes = [
        text(&format!(r#"{start}{profile},"title":"T1"}}}}"#)),
        text(&format!("{start}{profile}}}}}")),
        text(progress),
        text(chunk),
        text(r#"{"method":"HeapProfiler.addHeapSnapshotChunk","params":{}}"#),
        text(r#"{"id":1,"result":{}}"#),
    ]
    .concat();
    for piece in [1, 7, 100, 10_000] {
        let console = |title: Option<&str>| {
            Came::EventStream(EventStream::ConsoleProfile, profile.clone(), title.map(str::to_owned))
        };
        let expected = [
            console(Some("T1")),
            console(None),
            Came::Event(Event::SnapshotProgress { done: 3, total: 9 }),
            Came::EventStream(EventStream::SnapshotChunk, r#""{\"snapshot\":{}}""#.to_owned(), None),
            Came::Reply(1, "{}".to_owned()),
            DROPPED,
        ];
        assert_eq!(feed(&mut exchange(), bytes.chunks(piece)).unwrap(), expected, "in pieces of {piece}");
    }
    let open = text(&format!("{start}{profile}"));
    assert!(matches!(feed(&mut exchange(), [&open[..]]), Err(Error::EventEnvelope)));
}

#[test]
fn what_worker_threads_say_is_handed_on_with_their_session() {
    let attached = |title: &str| {
        format!(
            r#"{{"method":"NodeWorker.attachedToWorker","params":{{"sessionId":"7","workerInfo":{{"workerId":"7","type":"worker","title":"{title}","url":""}},"waitingForDebugger":false}}}}"#
        )
    };
    let said = r#"{"method":"NodeWorker.receivedMessageFromWorker","params":{"sessionId":"7","message":"{\"id\":1}"}}"#;
    let bytes = [
        text(&attached(r"[worker 3] my 9 \ud800 pool")),
        text(&attached("[worker x]")),
        text(said),
        text(&said.replace("\"7\"", "\"x\"")),
        text(r#"{"method":"NodeWorker.detachedFromWorker","params":{"sessionId":"7"}}"#),
    ]
    .concat();
    for piece in [1, 7, 100, 10_000] {
        let expected = [
            Came::Event(Event::WorkerAttached { session: 7, thread: 3 }),
            Came::EventStream(EventStream::WorkerMessage { session: 7 }, r#""{\"id\":1}""#.to_owned(), None),
            Came::Event(Event::WorkerDetached { session: 7 }),
            DROPPED,
        ];
        assert_eq!(feed(&mut exchange(), bytes.chunks(piece)).unwrap(), expected, "in pieces of {piece}");
    }
}

#[test]
fn a_reply_counts_once() {
    let bytes = [text(r#"{"id":1,"result":{}}"#), text(r#"{"id":1,"result":{"again":true}}"#)].concat();
    assert_eq!(feed(&mut exchange(), [&bytes[..]]).unwrap(), [Came::Reply(1, "{}".to_owned()), DROPPED]);
}

#[test]
fn a_hostile_peer_is_refused_at_the_first_byte_that_shows_it() {
    let header = |length: u64| [&[0x81, 127][..], &length.to_be_bytes()].concat();
    let long = |start: &str| text(&format!("{start}{}", "x".repeat(900)));
    for (name, bytes, expected) in [
        ("2 GiB", header(2 << 30), "1024 are accepted"),
        ("just over", text(&"x".repeat(1025)), "1024 are accepted"),
        ("a long reply that isn't streamed", long(r#"{"id":1,"result":{"result":""#), "256 are accepted"),
        ("a long reply to nothing", long(r#"{"id":7,"result":{"profile":""#), "256 are accepted"),
        ("long garbage", long("x"), "256 are accepted"),
        ("long white space", text(&" ".repeat(900)), "256 are accepted"),
        ("garbage", text("x"), "neither reply nor event"),
        ("nothing", text(""), "neither reply nor event"),
        ("a list", text("[]"), "neither reply nor event"),
        ("deep nesting", text(&"[".repeat(250)), "neither reply nor event"),
        ("a reply without result", text(r#"{"id":1}"#), "neither result nor error"),
        ("an error without code", text(r#"{"id":1,"error":{}}"#), "neither reply nor event"),
        ("two ids", text(r#"{"id":1,"id":2,"result":{}}"#), "neither reply nor event"),
        ("another member", text(r#"{"id":2,"result":{"heap":{}}}"#), "command 2"),
        ("no member", text(r#"{"id":2,"result":{}}"#), "command 2"),
        ("no profile", text(r#"{"id":2,"result":{"profile":}}"#), "command 2"),
        ("an open envelope", text(r#"{"id":2,"result":{"profile":{}}"#), ""),
        ("an envelope cut off", text(r#"{"id":2,"result":{"profile":[1]}"#), "command 2"),
        ("more after the envelope", text(r#"{"id":2,"result":{"profile":{}}}x"#), "command 2"),
        ("nothing after the member", text(r#"{"id":2,"result":{"profile":"#), "command 2"),
    ] {
        for pieces in [bytes.chunks(1), bytes.chunks(10_000)] {
            match feed(&mut exchange(), pieces) {
                Err(error) => assert!(error.to_string().contains(expected), "{name}: {error}"),
                // What is inside the envelope is for the profile's reader to judge.
                Ok(came) => assert_eq!(came, [Came::Stream(2, "{".to_owned()), DROPPED], "{name}"),
            }
        }
    }
    let masked = feed(&mut exchange(), [&[0x81, 0x80][..]]);
    assert!(matches!(masked, Err(Error::Frame(FrameError::Masked))), "{masked:?}");
}

#[test]
fn the_end_of_a_connection_says_whether_a_message_was_cut_off() {
    let reply = text(r#"{"id":2,"result":{"profile":{"nodes":[]}}}"#);
    for cut in 0..=reply.len() {
        let came = feed(&mut exchange(), [&reply[..cut]]).unwrap();
        // A header that is cut off counts as none.
        let within_message = cut >= 2 && cut < reply.len();
        assert_eq!(came.last(), Some(&Came::Closed(Closed::Dropped { within_message })), "cut at {cut}");
    }
}

#[test]
fn after_the_end_nothing_is_sent_and_nothing_else_comes() {
    let mut exchange = exchange();
    let closed = Closed::ByFrame { code: None };
    assert_eq!(feed(&mut exchange, [&frame(0x88, &[])[..]]).unwrap(), [Came::Closed(closed)]);
    let later = text(r#"{"id":1,"result":{}}"#);
    assert_eq!(feed(&mut exchange, [&later[..]]).unwrap(), [Came::Closed(closed)]);
    assert_eq!(exchange.dropped(), closed);
    assert!(matches!(exchange.command(&Command::ProfilerStart), Err(Error::Ended)));
}

#[test]
fn no_more_than_a_bounded_number_of_commands_wait() {
    let mut exchange = Exchange::new(LIMITS);
    for number in (1..).take(MOST_PENDING) {
        let (id, _) = exchange.command(&Command::ProfilerEnable).unwrap();
        assert_eq!(id.0, number);
    }
    assert!(matches!(exchange.command(&Command::ProfilerEnable), Err(Error::Unanswered { .. })));
    feed(&mut exchange, [&text(r#"{"id":1,"result":{}}"#)[..]]).unwrap();
}

/// Frames of random bytes and lengths, and random bytes as frames: errors, never a panic or endless input.
#[test]
fn random_bytes_never_panic() {
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..20_000 {
        let mut bytes = Vec::new();
        for _ in 0..random.usize(1..4) {
            let mut payload = match random.u8(0..3) {
                0 => br#"{"id":2,"result":{"profile":{"nodes":[]}}}"#.to_vec(),
                1 => br#"{"id":1,"error":{"code":-32000,"message":"no"}}"#.to_vec(),
                _ => (0..random.usize(0..300)).map(|_| random.u8(..)).collect(),
            };
            for _ in 0..random.usize(0..3) {
                if let Some(at) = payload.len().checked_sub(1).map(|last| random.usize(0..=last)) {
                    payload[at] = random.u8(..);
                }
            }
            let first = if random.u8(0..10) == 0 { random.u8(..) } else { 0x81 };
            bytes.extend(frame(first, &payload));
        }
        let piece = random.usize(1..=bytes.len());
        let mut exchange = exchange();
        let mut buffer = Vec::new();
        let mut ended = false;
        'pieces: for piece in bytes.chunks(piece) {
            buffer.extend(piece);
            for _ in 0..bytes.len() + 10 {
                match exchange.advance(&buffer) {
                    Err(_) | Ok(Advanced { incoming: Some(Incoming::Closed(_)), .. }) => {
                        ended = true;
                        break 'pieces;
                    }
                    Ok(Advanced { consumed, incoming }) => {
                        buffer.drain(..consumed);
                        if incoming.is_none() {
                            continue 'pieces;
                        }
                    }
                }
            }
            panic!("no end to {bytes:?}");
        }
        assert!(ended || buffer.len() < LONGEST_UNCONSUMED);
    }
}
