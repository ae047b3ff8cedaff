//! Why packages cannot be had, in words that a person or a model can act on.

use rockbot_scripts_api::{ScriptError, ScriptErrorCode};
use serde::Deserialize;

use crate::{MAX_ARCHIVE_BYTES, MAX_BYTES, MAX_FILES};

/// Seconds after which an index that did not answer may be asked again.
const RETRY_SECONDS: u64 = 10;

/// What an installer says when it has no layer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Failure {
    /// What happened.
    pub kind: FailureKind,
    /// The package or requirement that it happened with, if it was one.
    #[serde(default)]
    pub subject: String,
    /// What else is known.
    #[serde(default)]
    pub detail: String,
}

/// Kinds of [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The index has no such package.
    Unknown,
    /// It has, but no version that was asked for; the detail lists those that it has.
    NoVersion,
    /// It has source distributions alone.
    SourceOnly,
    /// It is not from the index, but from an address that another package names.
    Elsewhere,
    /// It has wheels, but none for this interpreter, which the detail names.
    NoWheel,
    /// The packages exclude each other.
    Conflict,
    /// Another file is behind a name and version than the lock says.
    Changed,
    /// More files or bytes than a layer may have.
    TooLarge,
    /// Something that a layer must not hold: a link.
    Unsafe,
    /// The index does not answer, or not in time.
    Index,
    /// There is no pip.
    NoPip,
    /// Anything else; the detail is what pip said.
    Other,
}

impl Failure {
    /// The error that the caller of a script is told.
    pub fn into_error(self) -> ScriptError {
        let Self { kind, subject, detail } = self;
        let what = match kind {
            FailureKind::Index => {
                let message = format!("pip_packages: the package index does not answer as it should: {detail}");
                return ScriptError::new(ScriptErrorCode::PackageIndexUnavailable, message)
                    .retryable(Some(RETRY_SECONDS));
            }
            FailureKind::Unknown => format!("the index has no package {subject}; check its name on the index"),
            FailureKind::NoVersion => {
                format!("no version satisfies {subject}; the index has wheels of {detail} for this Python")
            }
            FailureKind::SourceOnly => format!(
                "{subject} has no wheel, only source distributions, and those run code while they are installed; \
                 use a version or another package that has wheels"
            ),
            FailureKind::Elsewhere => format!(
                "{subject} comes from an address that another package names, not from the index; \
                 use a version or another package that does without"
            ),
            FailureKind::NoWheel => format!("{subject} has no wheel for {detail}; use another version or package"),
            FailureKind::Conflict => format!("the packages exclude each other: {detail}; relax their versions"),
            FailureKind::Changed => format!(
                "the index serves another file than before under the same name and version: {detail}; \
                 choose another version, or ask whoever runs the index"
            ),
            FailureKind::TooLarge => format!(
                "too large: {detail}; at most {} MiB in {MAX_FILES} files are allowed, packed at most {} MiB; \
                 use fewer or smaller packages",
                MAX_BYTES >> 20,
                MAX_ARCHIVE_BYTES >> 20
            ),
            FailureKind::Unsafe => format!("a package holds what none may hold: {detail}"),
            FailureKind::NoPip => format!("packages cannot be installed: {detail}"),
            FailureKind::Other => format!("pip could not install them: {detail}"),
        };
        ScriptError::new(ScriptErrorCode::PackagesRefused, format!("pip_packages: {what}"))
    }
}
