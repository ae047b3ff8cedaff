//! What a layer is: the packages in it, its name, and where its archive lies.

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest([u8; 32]);

/// Name of a layer: the digest of everything that decides what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerId(Digest);

/// One package of a layer: this file and no other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locked {
    /// Name as PEP 503 spells it.
    pub name: String,
    /// Version.
    pub version: String,
    /// Digest of the wheel.
    pub sha256: Digest,
    /// What `import` finds of it.
    #[serde(default)]
    pub modules: Vec<String>,
}

/// A layer that is here, checked, and stays here while somebody holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its name.
    pub id: LayerId,
    /// A gzip'd tar of files for one directory of `sys.path`.
    pub path: PathBuf,
    /// What `import` finds of the packages that were asked for. Not of those that came with them.
    pub modules: Vec<String>,
    /// Bytes of the archive.
    pub bytes: u64,
}

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    pub(crate) fn finish(hasher: Sha256) -> Self {
        Self(hasher.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a SHA-256 in hexadecimal");
        let digits = text.as_bytes();
        let mut bytes = [0; 32];
        if digits.len() != 64 {
            return Err(wrong());
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let value = |digit: u8| {
                char::from(digit)
                    .to_digit(16)
                    .and_then(|value| u8::try_from(value).ok())
            };
            *byte = (value(pair[0]).ok_or_else(wrong)? << 4) | value(pair[1]).ok_or_else(wrong)?;
        }
        Ok(Self(bytes))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl LayerId {
    /// The name of what `lock` is on an interpreter with this ABI in this environment. The lock is in order.
    pub fn new(lock: &[Locked], abi: &str, environment: &str) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(format!("{environment}\n{abi}\n"));
        for Locked {
            name, version, sha256, ..
        } in lock
        {
            hasher.update(format!("{name}=={version} {sha256}\n"));
        }
        Self(Digest::finish(hasher))
    }
}

impl fmt::Display for LayerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}
