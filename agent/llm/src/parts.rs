//! Content parts of OpenAI's shape, read for wires that have shapes of their own.

use std::borrow::Cow;

use serde_json::Value;

use crate::{ModelError, ModelErrorKind};

/// One part of a message.
#[derive(Debug, PartialEq)]
pub(crate) enum Part<'a> {
    /// Text.
    Text(&'a str),
    /// Bytes: an image, a sound, a document.
    Data {
        /// Media type of the bytes.
        media_type: Cow<'a, str>,
        /// The bytes in base64.
        data: &'a str,
    },
    /// Something to be fetched by the provider.
    Url(&'a str),
    /// A file that was uploaded to the provider.
    FileId(&'a str),
    /// Anything else; perhaps the provider's own shape.
    Other(&'a Value),
}

/// Reads a part.
pub(crate) fn read(part: &Value) -> Part<'_> {
    let text = |pointer: &str| part.pointer(pointer).and_then(Value::as_str);
    let read = match part["type"].as_str() {
        Some("text") => text("/text").map(Part::Text),
        Some("refusal") => text("/refusal").map(Part::Text),
        Some("image_url") => text("/image_url/url").or_else(|| text("/image_url")).map(locate),
        Some("file") => text("/file/file_id")
            .map(Part::FileId)
            .or_else(|| text("/file/file_data").or_else(|| text("/file/file_url")).map(locate)),
        Some("input_audio") => text("/input_audio/data").map(|data| Part::Data {
            media_type: format!("audio/{}", text("/input_audio/format").unwrap_or("wav")).into(),
            data,
        }),
        _ => None,
    };
    read.unwrap_or(Part::Other(part))
}

/// The error of a part that a provider cannot be given.
pub(crate) fn unsupported(part: &Value, provider: &str, allowed: &str) -> ModelError {
    ModelError::new(
        ModelErrorKind::InvalidRequest,
        format!(
            "a content part of type {} cannot be sent to {provider}; allowed are {allowed}",
            part["type"]
        ),
    )
}

fn locate(url: &str) -> Part<'_> {
    url.strip_prefix("data:")
        .and_then(|rest| rest.split_once(','))
        .and_then(|(head, data)| Some((head.strip_suffix(";base64")?, data)))
        .map_or(Part::Url(url), |(media_type, data)| Part::Data {
            // A media type may carry parameters, which no provider wants.
            media_type: media_type.split(';').next().unwrap_or_default().into(),
            data,
        })
}
