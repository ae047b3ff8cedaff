//! A script's output on this program's own streams: while it runs, and byte for byte.

use std::io::{self, Write};

use anyhow::Context;
use base64::{Engine, prelude::BASE64_STANDARD};
use rockbot_scripts_api::{OutputChunk, OutputStream, ScriptResult};

/// What was shown of both streams.
#[derive(Debug, Default)]
pub(super) struct Terminal {
    stdout: Shown,
    stderr: Shown,
}

/// What was shown of one stream.
#[derive(Debug, Default)]
struct Shown {
    bytes: usize,
    /// Something came that is not text. The rest waits for the result, which has the very bytes.
    held_back: bool,
}

impl Terminal {
    /// Shows more output.
    pub(super) fn show(&mut self, OutputChunk { stream, text }: &OutputChunk) -> io::Result<()> {
        match stream {
            OutputStream::Stdout => self.stdout.show(text, io::stdout().lock()),
            OutputStream::Stderr => self.stderr.show(text, io::stderr().lock()),
        }
    }

    /// Shows what was not shown yet.
    pub(super) fn finish(self, result: &ScriptResult) -> anyhow::Result<()> {
        let stdout = bytes(&result.stdout, result.stdout_base64.as_deref())?;
        let stderr = bytes(&result.stderr, result.stderr_base64.as_deref())?;
        self.stdout.finish(&stdout, io::stdout().lock())?;
        self.stderr.finish(&stderr, io::stderr().lock())?;
        Ok(())
    }
}

impl Shown {
    fn show(&mut self, text: &str, mut to: impl Write) -> io::Result<()> {
        self.held_back |= text.contains(char::REPLACEMENT_CHARACTER);
        if self.held_back {
            return Ok(());
        }
        to.write_all(text.as_bytes())?;
        self.bytes += text.len();
        to.flush()
    }

    fn finish(self, all: &[u8], mut to: impl Write) -> io::Result<()> {
        to.write_all(all.get(self.bytes..).unwrap_or_default())?;
        to.flush()
    }
}

fn bytes(text: &str, base64: Option<&str>) -> anyhow::Result<Vec<u8>> {
    match base64 {
        Some(base64) => BASE64_STANDARD.decode(base64).context("the script's output"),
        None => Ok(text.as_bytes().to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t16_what_was_shown_and_the_rest_are_the_very_bytes() {
        let all = b"caf\xc3\xa9\n\xff\x00binary\n";
        let (mut shown, mut to) = (Shown::default(), Vec::new());
        for chunk in ["caf", "é\n", "\u{fffd}\0bin", "ary\n"] {
            shown.show(chunk, &mut to).unwrap();
        }
        assert_eq!(to, "café\n".as_bytes());
        shown.finish(all, &mut to).unwrap();
        assert_eq!(to, all);
    }
}
