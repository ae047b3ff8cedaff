//! A hook that wants something else than its event is about.

#![allow(dead_code, unused_variables)]

use rockbot_agent::sdk::{ToolResult, skill};

struct MySkill;

#[skill]
impl MySkill {
    #[hook(on_chunk)]
    fn chunk(&self, result: &mut ToolResult) {}
}

fn main() {}
