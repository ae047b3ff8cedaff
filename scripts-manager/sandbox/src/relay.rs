//! Passes output on as text while the script runs, whole characters at a time. Whoever reads it slowly gets it in larger
//! pieces later: neither the script nor its deadline waits for that. What waits is no more than the script may write.

use std::mem::take;

use rockbot_scripts_api::{OutputChunk, OutputStream};
use tokio::sync::mpsc::{self, error::TrySendError};

/// Where a script's output goes while it runs; nowhere by default.
#[derive(Debug, Default)]
pub struct Relay<'a> {
    output: Option<&'a mpsc::Sender<OutputChunk>>,
    stdout: Text,
    stderr: Text,
}

/// What one stream has written and nobody has taken yet.
#[derive(Debug, Default)]
struct Text {
    waiting: String,
    /// The beginning of a character whose end has not come yet.
    cut: Vec<u8>,
}

impl<'a> Relay<'a> {
    /// Passes output on to `output`. A receiver that is gone changes nothing.
    pub fn new(output: Option<&'a mpsc::Sender<OutputChunk>>) -> Self {
        Self {
            output,
            ..Self::default()
        }
    }

    /// Passes on what the script just wrote, and what waited for that, as far as there is room.
    pub(crate) fn pass_on(&mut self, stream: OutputStream, bytes: &[u8]) {
        if self.output.is_none() {
            return;
        }
        self.of(stream).take_in(bytes);
        while let Some((output, stream)) = self.next() {
            let text = take(&mut self.of(stream).waiting);
            match output.try_send(OutputChunk { stream, text }) {
                Ok(()) => {}
                Err(TrySendError::Full(chunk)) => {
                    self.of(stream).waiting = chunk.text;
                    return;
                }
                Err(TrySendError::Closed(_)) => self.output = None,
            }
        }
    }

    /// Whether something waits for room.
    pub(crate) fn waits(&self) -> bool {
        self.next().is_some()
    }

    /// Waits for room and passes on what one stream has waiting. Nothing is lost when this is dropped before.
    pub(crate) async fn pass_on_later(&mut self) {
        let Some((output, stream)) = self.next() else {
            return;
        };
        match output.reserve().await {
            Ok(room) => {
                let text = take(&mut self.of(stream).waiting);
                room.send(OutputChunk { stream, text });
            }
            Err(_) => self.output = None,
        }
    }

    /// Passes on all that is left, once nothing more will come.
    pub async fn finish(mut self) {
        self.stdout.end();
        self.stderr.end();
        while self.waits() {
            self.pass_on_later().await;
        }
    }

    fn next(&self) -> Option<(&'a mpsc::Sender<OutputChunk>, OutputStream)> {
        let stream = match (self.stdout.waiting.is_empty(), self.stderr.waiting.is_empty()) {
            (false, _) => OutputStream::Stdout,
            (true, false) => OutputStream::Stderr,
            (true, true) => return None,
        };
        self.output.map(|output| (output, stream))
    }

    fn of(&mut self, stream: OutputStream) -> &mut Text {
        match stream {
            OutputStream::Stdout => &mut self.stdout,
            OutputStream::Stderr => &mut self.stderr,
        }
    }
}

impl Text {
    /// Takes in more, but for a character whose end is missing.
    fn take_in(&mut self, bytes: &[u8]) {
        let mut pending = take(&mut self.cut);
        pending.extend_from_slice(bytes);
        let mut chunks = pending.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            self.waiting.push_str(chunk.valid());
            let invalid = chunk.invalid();
            let ends_early = |error: std::str::Utf8Error| error.error_len().is_none();
            if chunks.peek().is_none() && std::str::from_utf8(invalid).is_err_and(ends_early) {
                self.cut = invalid.to_vec();
            } else if !invalid.is_empty() {
                self.waiting.push(char::REPLACEMENT_CHARACTER);
            }
        }
    }

    /// What was cut will not be continued.
    fn end(&mut self) {
        self.waiting.push_str(&String::from_utf8_lossy(&take(&mut self.cut)));
    }
}
