//! What makes layers, and the conversation with the program that does it: one order, an archive, how it ended.
//!
//! The program (`installer.py` of the sandbox) runs in a pod or as a child process; whoever started it hands its stdin and
//! stdout to [`converse`], and sets the deadlines. Frames are as the supervisor's: a length, a type, a payload.

use async_trait::async_trait;
use rockbot_scripts_api::{Requirements, ScriptError, ScriptErrorCode};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use crate::{Digest, Failure, FailureKind, INSTALL_DEADLINE, Locked, MAX_ARCHIVE_BYTES, MAX_BYTES, MAX_FILES};

const ACK: u8 = 0x03;
const ORDER: u8 = 0x10;
const ARCHIVE: u8 = 0x91;
const INSTALLED: u8 = 0x92;
const FAILED: u8 = 0x93;
/// Longest payload of a frame. The archive comes in pieces of 64 KiB; a lock of many packages is far shorter.
const MAX_PAYLOAD: usize = 256 << 10;

/// Something that makes layers.
#[async_trait]
pub trait Installer: Send + Sync + 'static {
    /// What a layer fits beside its packages: the image or interpreter, and the index that they are from.
    fn environment(&self) -> &str;

    /// Writes a layer's archive to `archive`.
    ///
    /// # Errors
    /// As [`Failure::into_error`] says it, or that no installer could be started.
    async fn install(&self, wanted: Wanted<'_>, archive: &mut tokio::fs::File) -> Result<Installed, ScriptError>;
}

/// What a layer is to hold.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// Whatever satisfies these, and what that needs.
    Requirements(&'a Requirements),
    /// These files and no others.
    Lock(&'a [Locked]),
}

/// What an installer says about the archive that it sent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Installed {
    /// What is in it, by name.
    pub lock: Vec<Locked>,
    /// The interpreter's ABI and platform.
    pub abi: String,
    /// Digest of the archive.
    pub sha256: Digest,
    /// Bytes of the archive.
    pub bytes: u64,
}

/// What an installer is told.
#[derive(Clone, Debug, Serialize)]
pub struct Order<'a> {
    requirements: Vec<String>,
    lock: &'a [Locked],
    index: Option<&'a str>,
    timeout_seconds: u64,
    max_files: u64,
    max_bytes: u64,
    max_archive_bytes: u64,
}

impl<'a> Order<'a> {
    /// An order for what is wanted, from `index` alone, or from where pip is configured to look.
    pub fn new(wanted: Wanted<'a>, index: Option<&'a str>) -> Self {
        let (requirements, lock) = match wanted {
            Wanted::Requirements(requirements) => (requirements.iter().map(ToString::to_string).collect(), &[][..]),
            Wanted::Lock(lock) => (Vec::new(), lock),
        };
        Self {
            requirements,
            lock,
            index,
            timeout_seconds: INSTALL_DEADLINE.as_secs(),
            max_files: MAX_FILES,
            max_bytes: MAX_BYTES,
            max_archive_bytes: MAX_ARCHIVE_BYTES,
        }
    }
}

/// Gives an installer its one order, and writes what it sends to `archive`.
///
/// # Errors
/// What the installer says, or that it is gone or cannot be understood.
pub async fn converse(
    reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    order: &Order<'_>,
    archive: &mut (impl AsyncWrite + Unpin),
) -> Result<Installed, ScriptError> {
    let order = serde_json::to_vec(order).map_err(|error| lost(error.to_string()))?;
    send(&mut writer, ORDER, &order).await?;
    let mut reader = BufReader::new(reader);
    let (mut hasher, mut bytes) = (Sha256::new(), 0);
    loop {
        let (kind, payload) = receive(&mut reader).await?;
        match kind {
            ARCHIVE => {
                bytes += payload.len() as u64;
                if bytes > MAX_ARCHIVE_BYTES {
                    return Err(too_large());
                }
                hasher.update(&payload);
                archive.write_all(&payload).await.map_err(broken)?;
            }
            INSTALLED => {
                let installed: Installed = parse(&payload)?;
                if (Digest::finish(hasher), bytes) != (installed.sha256, installed.bytes) {
                    return Err(lost("a part of the archive was lost on its way"));
                }
                // It would go without, a little later.
                let _ = send(&mut writer, ACK, b"").await;
                return Ok(installed);
            }
            FAILED => {
                let failure: Failure = parse(&payload)?;
                let _ = send(&mut writer, ACK, b"").await;
                return Err(failure.into_error());
            }
            _ => return Err(lost(format!("it sent a frame of the unknown type {kind:#04x}"))),
        }
    }
}

async fn send(writer: &mut (impl AsyncWrite + Unpin), kind: u8, payload: &[u8]) -> Result<(), ScriptError> {
    let length = u32::try_from(payload.len()).map_err(|error| lost(error.to_string()))?;
    let frame = [&length.to_be_bytes()[..], &[kind], payload].concat();
    writer.write_all(&frame).await.map_err(broken)?;
    writer.flush().await.map_err(broken)
}

async fn receive(reader: &mut (impl AsyncRead + Unpin)) -> Result<(u8, Vec<u8>), ScriptError> {
    let length = reader.read_u32().await.map_err(broken)? as usize;
    let kind = reader.read_u8().await.map_err(broken)?;
    if length > MAX_PAYLOAD {
        return Err(lost(format!(
            "it sent a frame of {length} bytes; at most {MAX_PAYLOAD} are allowed"
        )));
    }
    let mut payload = vec![0; length];
    reader.read_exact(&mut payload).await.map_err(broken)?;
    Ok((kind, payload))
}

fn parse<T: for<'de> Deserialize<'de>>(payload: &[u8]) -> Result<T, ScriptError> {
    serde_json::from_slice(payload).map_err(|error| lost(format!("it sent a malformed frame: {error}")))
}

fn too_large() -> ScriptError {
    let failure = Failure {
        kind: FailureKind::TooLarge,
        subject: String::new(),
        detail: "the archive of the packages".to_owned(),
    };
    failure.into_error()
}

fn broken(error: std::io::Error) -> ScriptError {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => lost("it ended without a word"),
        _ => lost(error.to_string()),
    }
}

/// No script was sent anywhere, so asking again is safe.
fn lost(what: impl std::fmt::Display) -> ScriptError {
    let message = format!("the installer of packages was lost: {what}");
    ScriptError::new(ScriptErrorCode::SandboxUnavailable, message).retryable(Some(1))
}
