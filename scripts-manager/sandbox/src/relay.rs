//! Passes output on as text while the script runs, whole characters at a time.

use rockbot_scripts_api::{OutputChunk, OutputStream};
use tokio::sync::mpsc;

/// Where a script's output goes while it runs, if anywhere.
#[derive(Debug)]
pub(crate) struct Relay<'a> {
    output: Option<&'a mpsc::Sender<OutputChunk>>,
    stdout: Characters,
    stderr: Characters,
}

/// The beginning of a character whose end has not come yet.
#[derive(Debug, Default)]
struct Characters {
    cut: Vec<u8>,
}

impl<'a> Relay<'a> {
    pub(crate) fn new(output: Option<&'a mpsc::Sender<OutputChunk>>) -> Self {
        Self {
            output,
            stdout: Characters::default(),
            stderr: Characters::default(),
        }
    }

    pub(crate) async fn pass_on(&mut self, stream: OutputStream, bytes: &[u8]) {
        if self.output.is_none() {
            return;
        }
        let text = match stream {
            OutputStream::Stdout => self.stdout.complete(bytes),
            OutputStream::Stderr => self.stderr.complete(bytes),
        };
        self.send(stream, text).await;
    }

    /// Passes on what was cut and will not be continued.
    pub(crate) async fn finish(mut self) {
        for (stream, characters) in [
            (OutputStream::Stdout, std::mem::take(&mut self.stdout)),
            (OutputStream::Stderr, std::mem::take(&mut self.stderr)),
        ] {
            self.send(stream, String::from_utf8_lossy(&characters.cut).into_owned())
                .await;
        }
    }

    async fn send(&mut self, stream: OutputStream, text: String) {
        if let Some(output) = self.output
            && !text.is_empty()
            && output.send(OutputChunk { stream, text }).await.is_err()
        {
            self.output = None;
        }
    }
}

impl Characters {
    /// The text so far, without a character whose end is missing.
    fn complete(&mut self, bytes: &[u8]) -> String {
        let mut pending = std::mem::take(&mut self.cut);
        pending.extend_from_slice(bytes);
        let mut text = String::with_capacity(pending.len());
        let mut chunks = pending.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            let invalid = chunk.invalid();
            let ends_early = |error: std::str::Utf8Error| error.error_len().is_none();
            if chunks.peek().is_none() && std::str::from_utf8(invalid).is_err_and(ends_early) {
                self.cut = invalid.to_vec();
            } else if !invalid.is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        text
    }
}
