//! A conversation ends with everything that the script handed back, or with an error that says why not.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::time::Duration;

use rockbot_sandbox::{Conversation, ConversationError, Ending, EndingError, Exit, Hello, LayerDone, Relay, Run};
use rockbot_scripts_api::{OutputChunk, OutputStream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex},
    sync::mpsc,
};

mod support;

use support::{READY, exit, frame};

type Spoken = Conversation<ReadHalf<DuplexStream>, WriteHalf<DuplexStream>>;

fn run() -> Run {
    Run {
        script: "print(1)".into(),
        input: None,
        timeout_ms: 1000,
        max_output_bytes: 100,
        max_files_bytes: 10,
    }
}

/// The type and payload of the message that arrives next.
async fn message(stream: &mut DuplexStream) -> (u8, Vec<u8>) {
    let length = stream.read_u32().await.unwrap();
    let kind = stream.read_u8().await.unwrap();
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).await.unwrap();
    (kind, payload)
}

/// A supervisor that answers the hello with `first` and a script with `second`, then is gone. Returns what came between.
async fn open(first: Vec<u8>, second: Vec<u8>) -> Result<Spoken, ConversationError> {
    let (ours, mut theirs) = duplex(1 << 20);
    tokio::spawn(async move {
        assert_eq!(message(&mut theirs).await.0, 1);
        theirs.write_all(&first).await.unwrap();
        while message(&mut theirs).await.0 != 2 {}
        theirs.write_all(&second).await.unwrap();
    });
    let (reader, writer) = tokio::io::split(ours);
    Conversation::open(reader, writer, Hello::default()).await
}

async fn converse(first: Vec<u8>, second: Vec<u8>) -> Result<Ending, ConversationError> {
    open(first, second).await?.run(&run(), &mut Relay::default()).await
}

fn ready() -> Vec<u8> {
    frame(0x81, READY)
}

#[tokio::test]
async fn t16_everything_comes_back() {
    let frames = [
        frame(0x83, b"ab\xff"),
        frame(0x83, b"c"),
        frame(0x86, br#"{"name": "plots/a.png"}"#),
        frame(0x87, b"\x89P"),
        frame(0x87, b"NG"),
        frame(0x86, br#"{"name": "empty"}"#),
        exit(4, 4),
    ];
    let result = converse(ready(), frames.concat())
        .await
        .unwrap()
        .into_result("id".into());
    assert_eq!((result.stdout.as_str(), result.exit_code), ("ab\u{fffd}c", 3));
    assert_eq!(
        (result.stdout_base64.as_deref(), result.stderr_base64),
        (Some("YWL/Yw=="), None)
    );
    assert_eq!((result.cpu_ms, result.peak_memory_bytes), (4, 9000 << 10));
    let files: Vec<_> = result
        .files
        .iter()
        .map(|file| (file.name.as_str(), file.media_type.as_str(), file.data.as_str()))
        .collect();
    assert_eq!(
        files,
        [
            ("plots/a.png", "image/png", "iVBORw=="),
            ("empty", "application/octet-stream", "")
        ]
    );
    assert_eq!(result.files_dropped[0].reason, "a pipe");
}

#[tokio::test]
async fn what_is_not_an_honest_end_is_an_error() {
    let refused = converse(frame(0x82, br#"{"reason": "no wall"}"#), Vec::new()).await;
    assert!(matches!(refused, Err(ConversationError::Refused { reason }) if reason == "no wall"));
    let other_version = replace(&ready(), b"\"protocol\": 2", b"\"protocol\": 1");
    for first in [other_version, exit(0, 0)] {
        assert!(matches!(
            converse(first, Vec::new()).await,
            Err(ConversationError::OutOfOrder)
        ));
    }
    assert!(matches!(
        converse(ready(), ready()).await,
        Err(ConversationError::OutOfOrder)
    ));
    assert!(matches!(
        converse(ready(), frame(0x83, b"cut")).await,
        Err(ConversationError::Closed)
    ));
    let terminated = replace(&exit(0, 0), b"terminated\": false", b"terminated\":  true");
    assert!(matches!(
        converse(ready(), terminated).await,
        Err(ConversationError::Terminated)
    ));
    let lost = [
        [frame(0x83, b"abc"), exit(4, 0)].concat(),
        [frame(0x86, br#"{"name": "a"}"#), exit(0, 1)].concat(),
    ];
    for second in lost {
        let error = converse(ready(), second).await.unwrap_err();
        assert!(matches!(error, ConversationError::Ending(EndingError::Lost)), "{error}");
    }
}

#[tokio::test]
async fn what_was_written_before_everything_was_killed_is_kept() {
    let second = [
        frame(0x83, b"out"),
        frame(0x84, b"err"),
        frame(0x86, br#"{"name": "half"}"#),
        frame(0x87, b"a"),
    ]
    .concat();
    let mut conversation = open(ready(), second).await.unwrap();
    let error = conversation.run(&run(), &mut Relay::default()).await.unwrap_err();
    assert!(matches!(error, ConversationError::Closed), "{error}");
    let killed = Ending {
        exit: Exit::out_of_memory(Duration::from_millis(1500)),
        ..conversation.unfinished()
    };
    let result = killed.into_result("script-1".into());
    assert_eq!((result.stdout.as_str(), result.stderr.as_str()), ("out", "err"));
    assert_eq!(
        (result.exit_code, result.signal, result.oom_killed),
        (137, Some(9), true)
    );
    assert_eq!(
        (result.duration_ms, result.files.len(), result.timed_out),
        (1500, 0, false)
    );
}

#[tokio::test]
async fn a_supervisor_cannot_fill_our_memory_or_name_a_file_elsewhere() {
    let nameless = ["", "/etc/passwd", "../a", "a//b", "a/..", ".", "a\\u0000b", "a\\nb"];
    for name in nameless {
        let second = frame(0x86, format!(r#"{{"name": "{name}"}}"#).as_bytes());
        let error = converse(ready(), second).await.unwrap_err();
        assert!(
            matches!(error, ConversationError::Ending(EndingError::Nameless)),
            "{name}: {error}"
        );
    }
    let error = converse(ready(), frame(0x87, b"no name")).await.unwrap_err();
    assert!(matches!(error, ConversationError::Ending(EndingError::Nameless)));
    let file = |n: usize| frame(0x86, format!(r#"{{"name": "{n}"}}"#).as_bytes());
    let too_much = [
        frame(0x83, &[b'x'; 60]).repeat(2),
        [file(0), frame(0x87, b"01234567890")].concat(),
        (0..=rockbot_sandbox::MAX_FILES).flat_map(file).collect(),
    ];
    for second in too_much {
        let error = converse(ready(), second).await.unwrap_err();
        assert!(
            matches!(error, ConversationError::Ending(EndingError::TooMuch)),
            "{error}"
        );
    }
}

#[tokio::test]
async fn output_arrives_while_the_script_runs_in_whole_characters() {
    let second = [
        frame(0x83, b"a\xf0\x9f"),
        frame(0x84, b"\xff\xe2\x82"),
        frame(0x83, b"\xa6\x80b"),
        frame(0x84, b"!"),
        frame(0x83, b"\xc3"),
        exit(7, 0),
    ]
    .concat();
    let second = replace(&second, b"\"stderr_bytes\": 0", b"\"stderr_bytes\": 4");
    let (sender, mut receiver) = mpsc::channel(16);
    let mut conversation = open(ready(), second).await.unwrap();
    let mut relay = Relay::new(Some(&sender));
    conversation.run(&run(), &mut relay).await.unwrap();
    relay.finish().await;
    drop(sender);
    let mut chunks = Vec::new();
    while let Some(OutputChunk { stream, text }) = receiver.recv().await {
        chunks.push((stream, text));
    }
    let expected = [
        (OutputStream::Stdout, "a"),
        (OutputStream::Stderr, "\u{fffd}"),
        (OutputStream::Stdout, "🦀b"),
        (OutputStream::Stderr, "\u{fffd}!"),
        (OutputStream::Stdout, "\u{fffd}"),
    ];
    assert_eq!(chunks, expected.map(|(stream, text)| (stream, text.to_owned())));
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

#[tokio::test]
async fn a_receiver_that_is_gone_changes_nothing() {
    let (sender, receiver) = mpsc::channel(1);
    drop(receiver);
    let second = [frame(0x83, b"a"), frame(0x83, b"b"), exit(2, 0)].concat();
    let ending = open(ready(), second)
        .await
        .unwrap()
        .run(&run(), &mut Relay::new(Some(&sender)))
        .await
        .unwrap();
    assert_eq!(ending.stdout, b"ab");
}

#[tokio::test]
async fn t16_a_receiver_that_is_slow_holds_nothing_up_and_gets_all_of_it() {
    let second = [
        frame(0x83, b"1"),
        frame(0x83, b"2\xf0\x9f"),
        frame(0x84, b"e"),
        frame(0x83, b"\xa6\x80"),
        exit(6, 0),
    ]
    .concat();
    let second = replace(&second, b"\"stderr_bytes\": 0", b"\"stderr_bytes\": 1");
    let (sender, mut receiver) = mpsc::channel(1);
    let mut conversation = open(ready(), second).await.unwrap();
    let mut relay = Relay::new(Some(&sender));
    // Nobody has read a thing when it ends.
    conversation.run(&run(), &mut relay).await.unwrap();
    let reading = async {
        let mut texts = Vec::new();
        for _ in 0..3 {
            texts.push(receiver.recv().await.unwrap().text);
        }
        texts
    };
    let (texts, ()) = tokio::join!(reading, relay.finish());
    assert_eq!(texts, ["1", "2🦀", "e"]);
}

#[tokio::test]
async fn input_and_packages_travel_in_pieces() {
    let (ours, mut theirs) = duplex(1 << 10);
    let peer = tokio::spawn(async move {
        assert_eq!(message(&mut theirs).await.0, 1);
        theirs.write_all(&ready()).await.unwrap();
        let mut received = (Vec::new(), Vec::new(), 0);
        loop {
            match message(&mut theirs).await {
                (5, piece) if piece.is_empty() => {
                    theirs
                        .write_all(&frame(0x88, br#"{"files": 3, "bytes": 200000}"#))
                        .await
                        .unwrap();
                }
                (5, piece) => received.0.extend(piece),
                (4, piece) => {
                    received.1.extend(piece);
                    received.2 += 1;
                }
                _ => break,
            }
        }
        theirs.write_all(&exit(0, 0)).await.unwrap();
        received
    });
    let (reader, writer) = tokio::io::split(ours);
    let mut conversation = Conversation::open(reader, writer, Hello::default()).await.unwrap();
    let layer: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
    let done = conversation.install(&layer[..]).await.unwrap();
    assert_eq!(
        done,
        LayerDone {
            files: 3,
            bytes: 200_000
        }
    );
    let input = "né🦀".repeat(20_000);
    let run = Run {
        input: Some(input.clone()),
        ..run()
    };
    conversation.run(&run, &mut Relay::default()).await.unwrap();
    let (layer_received, input_received, pieces) = peer.await.unwrap();
    assert!(layer_received == layer && input_received == input.as_bytes());
    assert_eq!(pieces, 3);
}

#[tokio::test]
async fn an_empty_input_is_not_no_input() {
    for (input, expected) in [(None, vec![2]), (Some(""), vec![4, 2])] {
        let (ours, mut theirs) = duplex(1 << 10);
        let peer = tokio::spawn(async move {
            message(&mut theirs).await;
            theirs.write_all(&ready()).await.unwrap();
            let mut kinds = Vec::new();
            while kinds.last() != Some(&2) {
                kinds.push(message(&mut theirs).await.0);
            }
            theirs.write_all(&exit(0, 0)).await.unwrap();
            kinds
        });
        let (reader, writer) = tokio::io::split(ours);
        let mut conversation = Conversation::open(reader, writer, Hello::default()).await.unwrap();
        let run = Run {
            input: input.map(str::to_owned),
            ..run()
        };
        conversation.run(&run, &mut Relay::default()).await.unwrap();
        assert_eq!(peer.await.unwrap(), expected);
    }
}
