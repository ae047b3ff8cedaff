//! Secrets of manifests as files that only this user can read, because that is how agents get keys on a cluster too.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
};

use anyhow::Context;
use tempfile::TempDir;

/// A private directory, removed on drop.
pub(crate) struct SecretFiles {
    directory: TempDir,
}

impl SecretFiles {
    /// Makes the directory.
    ///
    /// # Errors
    /// When the temporary directory of this machine is not writable.
    pub(crate) fn new() -> anyhow::Result<Self> {
        // tempfile makes it with mode 0700.
        let directory = tempfile::Builder::new().prefix("rockbot-secrets-").tempdir();
        Ok(Self {
            directory: directory.context("cannot make a private directory for keys")?,
        })
    }

    /// Writes the values of every Secret; a file that is there is replaced at once, as the kubelet does it.
    ///
    /// # Errors
    /// When a file cannot be written; its content is in no message.
    pub(crate) fn replace(&self, secrets: &BTreeMap<String, BTreeMap<String, String>>) -> anyhow::Result<()> {
        for (name, values) in secrets {
            let directory = self.directory.path().join(name);
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
            for (key, value) in values {
                // No key begins with two dots.
                let temporary = directory.join(format!("..{key}"));
                let mut file = fs::OpenOptions::new()
                    .create(true)
                    .write(true)
                    .truncate(true)
                    .mode(0o600)
                    .open(&temporary)?;
                file.write_all(value.as_bytes())?;
                fs::rename(&temporary, directory.join(key))?;
            }
        }
        Ok(())
    }

    /// The file of one key of one Secret.
    pub(crate) fn path(&self, name: &str, key: &str) -> PathBuf {
        self.directory.path().join(name).join(key)
    }
}
