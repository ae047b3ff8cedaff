//! An argument that cannot be read from JSON.

#![allow(dead_code, unused_variables)]

use rockbot_agent::sdk::skill;

struct Secret;

struct MySkill;

#[skill]
impl MySkill {
    /// Takes what no model can write.
    #[tool]
    fn take(&self, secret: Secret) {}
}

fn main() {}
