//! Names of skills, and of tools, that are none.

#![allow(dead_code, unused_variables)]

use rockbot_agent::sdk::skill;

struct Twins;

#[skill]
impl Twins {
    /// The first.
    #[tool]
    fn find(&self) {}

    /// The second.
    #[handoff(name = "find")]
    fn look_for(&self) -> String {
        String::new()
    }
}

struct Settings;

#[skill(title = "settings")]
impl Settings {}

struct Empty;

#[skill(name = "")]
impl Empty {}

#[skill]
impl [Twins; 2] {}

fn main() {}
