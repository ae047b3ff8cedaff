//! Frames survive any split, and no byte sequence does harm.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use rockbot_sandbox::{Conversation, ConversationError, Decoder, Frame, FrameError, MAX_PAYLOAD, Message, Run};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

const READY: &[u8] = br#"{"protocol": 1, "python": "3.12.1", "walls": ["seccomp"]}"#;

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
    bytes.push(kind);
    bytes.extend(payload);
    bytes
}

fn exit(stdout_bytes: u64) -> Vec<u8> {
    let payload = format!(
        r#"{{"code": 3, "signal": null, "timed_out": false, "terminated": false, "truncated": true, "duration_ms": 5, "cpu_ms": 4,
            "max_rss_kb": 9000, "stdout_bytes": {stdout_bytes}, "stderr_bytes": 0, "from_a_later_version": 1}}"#
    );
    frame(0x85, payload.as_bytes())
}

fn decode(pieces: &[&[u8]]) -> Result<Vec<Frame>, FrameError> {
    let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
    for piece in pieces {
        decoder.buffer().extend_from_slice(piece);
        while let Some(frame) = decoder.next_frame()? {
            frames.push(frame);
        }
    }
    Ok(frames)
}

#[test]
fn a_stream_means_the_same_however_it_is_split() {
    let output = b"\x00\x00\x00\x02\x85{}\xff".repeat(3);
    let stream = [
        frame(0x81, READY),
        frame(0x83, &output),
        frame(0x84, b""),
        frame(0x82, br#"{"reason": "r"}"#),
        exit(7),
    ];
    let stream = stream.concat();
    let whole = decode(&[&stream]).unwrap();
    assert!(matches!(&whole[1], Frame::Stdout(bytes) if *bytes == output));
    assert!(matches!(&whole[4], Frame::Exit(exit) if exit.code == Some(3) && exit.truncated));
    assert_eq!(whole.len(), 5);
    for at in 0..=stream.len() {
        let (left, right) = stream.split_at(at);
        assert_eq!(decode(&[left, right]).unwrap(), whole, "split at {at}");
        assert!(decode(&[left]).unwrap().len() <= whole.len());
    }
    let single: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(decode(&single).unwrap(), whole);
}

#[test]
fn what_is_not_a_frame_is_an_error_before_it_is_awaited() {
    let too_long = u32::try_from(MAX_PAYLOAD + 1).unwrap().to_be_bytes();
    assert!(matches!(decode(&[&too_long, &[0x83]]), Err(FrameError::TooLong { length }) if length == MAX_PAYLOAD + 1));
    assert!(matches!(decode(&[&[0xff; 5]]), Err(FrameError::TooLong { .. })));
    for kind in [0x00, 0x01, 0x02, 0x03, 0x80, 0x86, 0xff] {
        assert!(
            matches!(decode(&[&[0, 0, 0, 9, kind]]), Err(FrameError::UnknownType { kind: found }) if found == kind)
        );
    }
    for (kind, payload) in [
        (0x81, &b"{}"[..]),
        (0x82, b"\xff"),
        (0x85, b"{\"code\": 0}"),
        (0x85, b""),
    ] {
        assert!(
            matches!(decode(&[&frame(kind, payload)]), Err(FrameError::Malformed { .. })),
            "{kind:#x}"
        );
    }
    assert!(decode(&[&frame(0x83, &vec![0; MAX_PAYLOAD])]).is_ok());
}

#[test]
fn messages_have_a_length_and_a_type() {
    assert_eq!(Message::Hello.encode().unwrap()[..], [0, 0, 0, 0, 1]);
    assert_eq!(Message::Ack.encode().unwrap()[..], [0, 0, 0, 0, 3]);
    let run = Run {
        script: "\"\n".into(),
        input: None,
        timeout_ms: 5,
        max_output_bytes: 6,
    };
    let bytes = Message::Run(&run).encode().unwrap();
    let json = br#"{"script":"\"\n","input":null,"timeout_ms":5,"max_output_bytes":6}"#;
    assert_eq!(
        (bytes[..4].to_vec(), bytes[4], &bytes[5..]),
        (vec![0, 0, 0, json.len() as u8], 2, &json[..])
    );
}

/// A conversation with a supervisor that answers the hello with `first` and the script with `second`, then is gone.
async fn converse(first: Vec<u8>, second: Vec<u8>) -> Result<(String, i32), ConversationError> {
    let (ours, mut theirs) = duplex(1 << 20);
    tokio::spawn(async move {
        theirs.read_exact(&mut [0; 5]).await.unwrap();
        theirs.write_all(&first).await.unwrap();
        theirs.read_exact(&mut [0; 60]).await.unwrap();
        theirs.write_all(&second).await.unwrap();
    });
    let (reader, writer) = tokio::io::split(ours);
    let mut conversation = Conversation::open(reader, writer).await?;
    let run = Run {
        script: "print(1)".into(),
        input: None,
        timeout_ms: 1000,
        max_output_bytes: 100,
    };
    let result = conversation.run(&run).await?.into_result("id".into());
    Ok((result.stdout, result.exit_code))
}

#[tokio::test]
async fn a_conversation_ends_with_all_output_or_an_error() {
    let ready = || frame(0x81, READY);
    let whole = [frame(0x83, b"ab\xff"), frame(0x83, b"c"), exit(4)].concat();
    assert_eq!(converse(ready(), whole).await.unwrap(), ("ab\u{fffd}c".to_owned(), 3));
    let refused = converse(frame(0x82, br#"{"reason": "no wall"}"#), Vec::new()).await;
    assert!(matches!(refused, Err(ConversationError::Refused { reason }) if reason == "no wall"));
    let other_version = frame(0x81, br#"{"protocol": 2, "python": "", "walls": []}"#);
    assert!(matches!(
        converse(other_version, Vec::new()).await,
        Err(ConversationError::OutOfOrder)
    ));
    assert!(matches!(
        converse(exit(0), Vec::new()).await,
        Err(ConversationError::OutOfOrder)
    ));
    assert!(matches!(
        converse(ready(), ready()).await,
        Err(ConversationError::OutOfOrder)
    ));
    assert!(matches!(
        converse(ready(), frame(0x83, b"cut")).await,
        Err(ConversationError::Closed)
    ));
    let terminated = String::from_utf8(exit(0))
        .unwrap()
        .replace("terminated\": false", "terminated\":  true");
    assert!(matches!(
        converse(ready(), terminated.into()).await,
        Err(ConversationError::Terminated)
    ));
    let less = [frame(0x83, b"abc"), exit(4)].concat();
    assert!(matches!(
        converse(ready(), less).await,
        Err(ConversationError::OutputLost)
    ));
}
