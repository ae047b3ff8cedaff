//! Calls that have failed in this turn. A model that repeats one word for word is told, and at last stopped.

use std::collections::HashMap;

use rockbot_llm::chat::ToolCall;

use super::{Outcome, OwnCall};

/// Failures of one call after which the same call does not run again. The second attempt is worth it: what was missing
/// may be there by then.
const ATTEMPTS: u32 = 2;

/// Failures by name and arguments of the call.
#[derive(Debug, Default)]
pub(super) struct Failures {
    counts: HashMap<(String, String), u32>,
    /// The calls whose outcomes are awaited.
    awaited: Vec<(String, String)>,
}

impl Failures {
    /// Refuses those of `calls` that have failed often enough. `may_ask` is the same for a whole round.
    pub(super) fn examine(&mut self, calls: Vec<ToolCall>, may_ask: bool) -> Vec<OwnCall> {
        self.awaited = calls.iter().map(key).collect();
        let refused = |call: &ToolCall| {
            let count = *self.counts.get(&key(call))?;
            (count >= ATTEMPTS).then(|| {
                format!(
                    "not run: this call has already failed {count} times with exactly these arguments; change them, use \
                     another tool, or answer without it"
                )
            })
        };
        let examined = calls.into_iter().map(|call| OwnCall {
            refused: refused(&call),
            call,
            may_ask,
        });
        examined.collect()
    }

    /// Takes in what became of the calls that were examined last, in their order.
    pub(super) fn learn(&mut self, outcomes: &[Outcome]) {
        for (call, outcome) in self.awaited.drain(..).zip(outcomes) {
            if outcome.failed {
                *self.counts.entry(call).or_default() += 1;
            } else {
                self.counts.remove(&call);
            }
        }
    }
}

fn key(call: &ToolCall) -> (String, String) {
    (call.function.name.clone(), call.function.arguments.clone())
}
