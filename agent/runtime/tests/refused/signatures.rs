//! Signatures that no model could call, or that many requests could not share. All are reported at once.

#![allow(dead_code, unused_variables)]

use rockbot_agent::sdk::{Context, Delta, skill};

struct MySkill;

#[skill]
impl MySkill {
    /// Borrows.
    #[tool]
    fn borrows(&self, text: &str) {}

    /// Is generic.
    #[tool]
    fn generic<T>(&self, value: T) {}

    /// Takes apart.
    #[tool]
    fn takes_apart(&self, (a, b): (u8, u8)) {}

    /// Locks others out.
    #[tool]
    fn locks(&mut self) {}

    /// Wants the request twice.
    #[tool]
    fn two_contexts(&self, first: &Context, text: String, second: Context) {}

    #[tool]
    fn without_description(&self) {}

    /// Has a bad name.
    #[tool(name = "two words")]
    fn bad_name(&self) {}

    #[prompt]
    fn asks(&self, question: String) -> String {
        question
    }

    #[prompt]
    fn says_nothing(&self) {}

    #[hook(on_chunk)]
    fn wants_more(&self, chunk: &mut Delta, more: String) {}

    #[hook(on_connection)]
    fn no_chunk_yet(&self, chunk: &mut Delta) {}

    #[hook(on_chunk)]
    fn returns(&self, context: Context) -> Context {
        context
    }
}

fn main() {}
