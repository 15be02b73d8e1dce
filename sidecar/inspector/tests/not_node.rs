//! Whatever listens on an inspector's port: it costs an error, never a hang of ours or unbounded memory.
#![allow(clippy::unwrap_used, reason = "a test that fails says so by a panic")]

mod peer;

use std::time::Duration;

use pitwall_inspector::{Closed, Command, Error, Incoming, Limits, list};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

#[tokio::test]
async fn a_port_that_nobody_listens_on_refuses() {
    let addr = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = list(addr).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("connecting to the inspector at {addr}: Connection refused (os error 111)")
    );
    assert!(matches!(peer::connect(addr, Limits::default()).await, Err(Error::Io { .. })));
}

/// What it answers to anything, and what is said about it by `list` and by `connect`.
#[tokio::test]
async fn what_is_no_inspector_is_called_so() {
    let endless: &'static str = Box::leak("HTTP/1.1 200 OK\r\nX: ".to_owned().into_boxed_str());
    for (answer, listed, connected) in [
        ("", "closed the connection", "closed the connection"),
        ("HTTP/1.0 200 OK\r\nContent-Le", "closed the connection", "closed the connection"),
        ("220 smtp.example.com ESMTP\r\n", "HTTP answer can't be read", "HTTP answer can't be read"),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "status 404", "status 404"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "/json/list is not", "status 200"),
        ("HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n", "status 101", "Sec-WebSocket-Accept"),
        (endless, "head of more than", "head of more than"),
    ] {
        for (name, expected) in [("list", listed), ("connect", connected)] {
            let addr = peer::serve(move |mut stream| async move {
                peer::request(&mut stream).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                while answer == endless && stream.write_all(&[b'x'; 1024]).await.is_ok() {}
            })
            .await;
            let error = match name {
                "list" => list(addr).await.unwrap_err(),
                _ => peer::connect(addr, Limits::default()).await.unwrap_err(),
            };
            assert!(error.to_string().contains(expected), "{name} of {answer:?}: {error}");
            assert!(error.to_string().contains(&addr.to_string()), "{error}");
        }
    }
}

#[tokio::test]
async fn an_app_that_reads_nothing_gets_a_bounded_number_of_bytes() {
    let addr = peer::serve(|mut stream| async move {
        peer::upgrade(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let mut connection = peer::connect(addr, Limits::default()).await.unwrap();
    let expression = "x".repeat(200 << 10);
    let command = Command::Evaluate {
        expression: &expression,
        timeout: Duration::from_secs(1),
        command_line_api: true,
    };
    // What the kernel's buffers take is no backlog of ours.
    let error = loop {
        if let Err(error) = connection.send(&command) {
            break error;
        }
    };
    assert!(matches!(error, Error::Backlog { .. } | Error::Unanswered { .. }), "{error}");
}

/// Reads the payload of one frame from a client.
async fn frame(stream: &mut tokio::net::TcpStream) -> Vec<u8> {
    assert_eq!(stream.read_u8().await.unwrap(), 0x81);
    let length = match stream.read_u8().await.unwrap() & 0x7f {
        126 => u64::from(stream.read_u16().await.unwrap()),
        127 => stream.read_u64().await.unwrap(),
        length => u64::from(length),
    };
    let mut mask = [0; 4];
    stream.read_exact(&mut mask).await.unwrap();
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut payload).await.unwrap();
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    payload
}

#[tokio::test]
async fn commands_that_the_socket_did_not_take_at_once_are_written_while_waiting() {
    let expression = "x".repeat(100_000);
    let expected = expression.clone();
    let addr = peer::serve(move |mut stream| async move {
        peer::upgrade(&mut stream).await;
        // Reads only after the client's and the kernel's buffers had time to fill.
        for number in 1..=40 {
            let message: serde_json::Value = serde_json::from_slice(&frame(&mut stream).await).unwrap();
            assert_eq!(message["id"], number);
            assert_eq!(message["params"]["expression"], expected.as_str());
        }
        stream.write_all(b"\x81\x14{\"id\":1,\"result\":{}}").await.unwrap();
    })
    .await;
    let mut connection =
        peer::connect(addr, Limits { outgoing: 8 << 20, ..Limits::default() }).await.unwrap();
    for _ in 0..40 {
        connection
            .send(&Command::Evaluate {
                expression: &expression,
                timeout: Duration::from_secs(1),
                command_line_api: true,
            })
            .unwrap();
    }
    assert!(matches!(connection.next().await.unwrap(), Incoming::Reply { .. }));
    let end = connection.next().await.unwrap();
    assert!(matches!(end, Incoming::Closed(Closed::Dropped { within_message: false })), "{end:?}");
}

/// Endless events of no interest must not keep the timers of the same task from firing.
#[tokio::test]
async fn an_endless_flood_does_not_starve_the_loop() {
    let addr = peer::serve(|mut stream| async move {
        peer::upgrade(&mut stream).await;
        let event = br#"{"method":"Runtime.consoleAPICalled","params":{}}"#;
        let mut frames = Vec::new();
        for _ in 0..1000 {
            frames.extend([0x81, u8::try_from(event.len()).unwrap()]);
            frames.extend(event);
        }
        while stream.write_all(&frames).await.is_ok() {}
    })
    .await;
    let mut connection = peer::connect(addr, Limits::default()).await.unwrap();
    let flooded = tokio::time::timeout(Duration::from_millis(200), connection.next()).await;
    assert!(flooded.is_err(), "{flooded:?}");
}
