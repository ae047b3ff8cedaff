//! Prompts: what skills add to the system message of each request.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use tracing::warn;

use super::Present;
use crate::{Context, scope::Scope, tools::panic_message};

/// Writes the text of a prompt for one request, or says why it cannot.
pub type PromptFn = Arc<dyn Fn(Context) -> BoxFuture<'static, Result<String, String>> + Send + Sync>;

/// A part of the system message.
pub struct Prompt {
    /// Name, for the log.
    pub name: String,
    /// The skill it belongs to; set when the skill is added.
    pub skill: String,
    /// The lower comes first.
    pub priority: i32,
    /// For whose requests it speaks.
    pub scope: Scope,
    /// Writes it.
    pub write: PromptFn,
}

/// The agent's instructions and the prompts after them, with a blank line between any two. A prompt that fails, or has
/// nothing to say, is left out.
pub(crate) async fn system_message(instructions: &str, present: &Present, context: &Context) -> String {
    let mut text = instructions.to_owned();
    for prompt in present.prompts() {
        if !prompt.scope.admits(&context.scope) {
            continue;
        }
        let written = AssertUnwindSafe((prompt.write)(context.clone())).catch_unwind().await;
        match written.unwrap_or_else(|panic| Err(panic_message(&*panic))) {
            Ok(more) if more.is_empty() => {}
            Ok(more) if text.is_empty() => text = more,
            Ok(more) => text.extend(["\n\n", &more]),
            Err(error) => warn!(skill = prompt.skill, prompt = prompt.name, "a prompt failed: {error}"),
        }
    }
    text
}
