//! Frames survive any split, and no byte sequence does harm.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use bytes::BytesMut;
use rockbot_sandbox::{Canary, Decoder, Frame, FrameError, Hello, MAX_PAYLOAD, Message, Run};

mod support;

use support::{READY, exit, frame};

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

fn encode(message: Message<'_>) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    message.encode(&mut bytes).unwrap();
    bytes.to_vec()
}

#[test]
fn a_stream_means_the_same_however_it_is_split() {
    let output = b"\x00\x00\x00\x02\x85{}\xff".repeat(3);
    let stream = [
        frame(0x81, READY),
        frame(0x88, br#"{"files": 2, "bytes": 7}"#),
        frame(0x83, &output),
        frame(0x84, b""),
        frame(0x86, br#"{"name": "a/b.png"}"#),
        frame(0x87, b"\x89PNG"),
        frame(0x82, br#"{"reason": "r"}"#),
        exit(7, 4),
    ];
    let stream = stream.concat();
    let whole = decode(&[&stream]).unwrap();
    assert!(matches!(&whole[0], Frame::Ready(ready) if ready.canary == Canary::Blocked && ready.missing == ["files"]));
    assert!(matches!(&whole[1], Frame::LayerDone(done) if (done.files, done.bytes) == (2, 7)));
    assert!(matches!(&whole[2], Frame::Stdout(bytes) if *bytes == output));
    assert!(matches!(&whole[4], Frame::File { name } if name == "a/b.png"));
    assert!(matches!(&whole[5], Frame::FileData(bytes) if bytes.len() == 4));
    assert!(matches!(&whole[7], Frame::Exit(exit) if exit.code == Some(3) && exit.truncated));
    assert_eq!(whole.len(), 8);
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
    for kind in [0x00, 0x01, 0x02, 0x03, 0x80, 0x89, 0xff] {
        assert!(
            matches!(decode(&[&[0, 0, 0, 9, kind]]), Err(FrameError::UnknownType { kind: found }) if found == kind)
        );
    }
    for (kind, payload) in [
        (0x81, &b"{}"[..]),
        (0x82, b"\xff"),
        (0x85, b"{\"code\": 0}"),
        (0x85, b""),
        (0x86, b"{\"name\": 1}"),
        (0x88, b"{\"files\": -1, \"bytes\": 0}"),
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
    assert_eq!(encode(Message::Ack), [0, 0, 0, 0, 3]);
    assert_eq!(
        encode(Message::Hello(Hello { canary_ms: 300 })),
        frame(1, br#"{"canary_ms":300}"#)
    );
    assert_eq!(encode(Message::Input(b"\xff\0")), frame(4, b"\xff\0"));
    assert_eq!(encode(Message::Layer(b"")), frame(5, b""));
    let run = Run {
        script: "\"\n".into(),
        input: Some("not here".into()),
        timeout_ms: 5,
        max_output_bytes: 6,
        max_files_bytes: 7,
    };
    let json = br#"{"script":"\"\n","timeout_ms":5,"max_output_bytes":6,"max_files_bytes":7}"#;
    assert_eq!(encode(Message::Run(&run)), frame(2, json));
}
