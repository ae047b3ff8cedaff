//! A client that costs next to nothing: it writes a request that was made beforehand, and looks for tokens in what comes
//! back without parsing it.

use std::{net::SocketAddr, time::Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What a token looks like: serialisers put a space after the colon, or none. An empty one follows the role.
const TOKENS: [&[u8]; 2] = [b"\"content\":\"", b"\"content\": \""];
/// The end of a chunked body.
const END: &[u8] = b"0\r\n\r\n";

/// Somebody who answers chat completions.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    path: String,
    model: &'static str,
}

impl Target {
    pub(crate) fn new(name: &'static str, address: SocketAddr, path: &str, model: &'static str) -> Self {
        Self {
            name,
            address,
            path: path.to_owned(),
            model,
        }
    }

    /// A request for a streamed answer of so many words: the scripted model says the question back.
    pub(crate) fn request(&self, words: usize) -> Vec<u8> {
        let Self {
            address, path, model, ..
        } = self;
        let question = vec!["word"; words].join(" ");
        let body = json!({ "model": model, "stream": true, "messages": [{ "role": "user", "content": question }] });
        let body = body.to_string();
        format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer sk-scripted\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }
}

/// When the tokens of an answer came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) first: Instant,
    pub(crate) last: Instant,
    /// Of these, how many there were.
    pub(crate) tokens: u32,
    /// When all had been read.
    pub(crate) end: Instant,
}

/// A connection that is kept.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            read: Vec::with_capacity(64 << 10),
        })
    }

    /// The status line's code of `GET path`.
    pub(crate) async fn get(&mut self, path: &str) -> Result<u16> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await?;
        self.read.clear();
        self.more().await?;
        status(&self.read)
    }

    /// Asks, and reads the answer to its end.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<Answer> {
        self.begin(request).await?;
        self.finish().await
    }

    /// Asks.
    pub(crate) async fn begin(&mut self, request: &[u8]) -> Result<()> {
        self.stream.write_all(request).await?;
        self.read.clear();
        Ok(())
    }

    /// Reads until the first token.
    pub(crate) async fn first(&mut self) -> Result<()> {
        while tokens(&self.read, 0).0 == 0 {
            self.more().await?;
        }
        Ok(())
    }

    /// Reads an answer to its end.
    pub(crate) async fn finish(&mut self) -> Result<Answer> {
        let (mut first, mut last) = (None, None);
        let (mut seen, mut count) = (0, 0);
        while !self.read.ends_with(END) {
            self.more().await?;
            let now = Instant::now();
            let new;
            (new, seen) = tokens(&self.read, seen);
            if new > 0 {
                first.get_or_insert(now);
                last = Some(now);
                count += new;
            }
        }
        let status = status(&self.read)?;
        ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(&self.read));
        let first = first.with_context(|| format!("no token: {}", String::from_utf8_lossy(&self.read)))?;
        Ok(Answer {
            first,
            last: last.unwrap_or(first),
            tokens: count,
            end: Instant::now(),
        })
    }

    async fn more(&mut self) -> Result<()> {
        let read = self.stream.read_buf(&mut self.read).await?;
        ensure!(
            read > 0,
            "the connection ended: {}",
            String::from_utf8_lossy(&self.read)
        );
        Ok(())
    }
}

/// How many tokens begin at `from` or later and show a letter already, and where to look on: a token may begin in one
/// piece and show its letter in the next.
fn tokens(text: &[u8], from: usize) -> (u32, usize) {
    let mut count = 0;
    let mut next = from.max(text.len().saturating_sub(TOKENS[1].len()));
    for start in from..text.len() {
        let rest = &text[start..];
        let letter = TOKENS
            .iter()
            .find(|token| rest.starts_with(token))
            .and_then(|token| rest.get(token.len()));
        if letter.is_some_and(|letter| *letter != b'"') {
            count += 1;
            next = next.max(start + 1);
        }
    }
    (count, next)
}

fn status(response: &[u8]) -> Result<u16> {
    let line = response.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = std::str::from_utf8(line)?;
    let code = line
        .split(' ')
        .nth(1)
        .with_context(|| format!("no status line: {line}"))?;
    Ok(code.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_counted_once_wherever_a_piece_ends() {
        let text = br#"data: {"delta":{"role":"assistant","content":""}} data: {"content":"a"} data: {"content": "b"}"#;
        for cut in 0..text.len() {
            let (before, seen) = tokens(&text[..cut], 0);
            let (after, _) = tokens(text, seen);
            assert_eq!(before + after, 2, "cut at {cut}");
        }
    }
}
