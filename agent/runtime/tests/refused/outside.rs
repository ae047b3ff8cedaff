//! Attributes without the skill that gives them a meaning.

#![allow(dead_code, unused_variables)]

use rockbot_agent::sdk::{Skill, skill, tool};

struct MySkill;

impl MySkill {
    /// Has no skill.
    #[tool]
    fn alone(&self) {}
}

#[skill]
impl Skill for MySkill {}

#[skill]
impl MySkill {
    fn nothing(&self) {}
}

#[skill]
struct Nowhere;

fn main() {}
