//! Frames: no byte sequence does harm, and a stream means the same however it is split.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rockbot_sandbox::{Decoder, Frame, MAX_PAYLOAD};

fuzz_target!(|data: &[u8]| {
    // The first byte says how the others are split.
    let Some((&size, stream)) = data.split_first() else {
        return;
    };
    let whole = decode([stream]);
    assert_eq!(decode(stream.chunks(usize::from(size) + 1)), whole);
    assert_eq!(decode(stream.chunks(1)), whole);
});

/// The frames, and the error that ends them.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Frame>, Option<String>) {
    let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
    for piece in pieces {
        decoder.buffer().extend_from_slice(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error.to_string())),
            }
        }
        // All that waits is a frame that is not complete, and not longer than one may be.
        if let Some(&[a, b, c, d, _]) = decoder.buffer().first_chunk() {
            let length = u32::from_be_bytes([a, b, c, d]) as usize;
            assert!(length <= MAX_PAYLOAD && decoder.buffer().len() < 5 + length);
        }
    }
    (frames, None)
}
