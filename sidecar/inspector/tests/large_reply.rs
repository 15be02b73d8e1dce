//! Alone in its process, whose peak memory is what it looks at.
#![allow(clippy::unwrap_used, reason = "a test that fails says so by a panic")]

mod peer;

use pitwall_inspector::{Command, Incoming, Limits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// 200 MB, as `Profiler.stop` may have, in one frame.
const SIZE: u64 = 200_000_000;

fn peak_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
    line.split_ascii_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

#[tokio::test]
async fn a_reply_of_any_size_takes_constant_memory() {
    let addr = peer::serve(|mut stream| async move {
        peer::upgrade(&mut stream).await;
        assert_ne!(stream.read(&mut [0; 1024]).await.unwrap(), 0, "the command");
        let opening = br#"{"id":1,"result":{"profile":""#;
        let closing = br#""}}"#;
        let mut header = vec![0x81, 127];
        header.extend((SIZE - 2 + (opening.len() + closing.len()) as u64).to_be_bytes());
        stream.write_all(&header).await.unwrap();
        stream.write_all(opening).await.unwrap();
        let many = vec![b'x'; 64 << 10];
        let mut remaining = SIZE - 2;
        while remaining > 0 {
            let piece = &many[..many.len().min(usize::try_from(remaining).unwrap())];
            stream.write_all(piece).await.unwrap();
            remaining -= piece.len() as u64;
        }
        stream.write_all(closing).await.unwrap();
    })
    .await;
    let mut connection = peer::connect(addr, Limits::default()).await.unwrap();
    let before = peak_memory_kib();
    let sent = connection.send(&Command::ProfilerStop).unwrap();
    let mut received = 0;
    loop {
        match connection.next().await.unwrap() {
            Incoming::StreamChunk { id, bytes } if id == sent => received += bytes.len() as u64,
            Incoming::StreamEnd { bytes, .. } => {
                assert_eq!(bytes, received);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(received, SIZE);
    let grown = peak_memory_kib() - before;
    assert!(grown < 2048, "memory grew by {grown} KiB");
}
