//! Settings that do not exist, or are not what they may be.

#![allow(dead_code, unused_variables)]

use rockbot_agent::sdk::skill;

struct MySkill;

#[skill]
impl MySkill {
    #[hook(on_conection)]
    fn unknown_event(&self) {}

    #[hook(priority = 10)]
    fn no_event(&self) {}

    #[hook(on_chunk, on_message)]
    fn two_events(&self) {}

    #[hook(on_chunk, priority = "high")]
    fn bad_priority(&self) {}

    #[hook(on_chunk, must_succeed = "yes")]
    fn bad_must_succeed(&self) -> Result<(), String> {
        Ok(())
    }

    #[hook(on_chunk, must_succeed = true)]
    fn cannot_fail(&self) {}

    #[hook(on_chunk, must = true)]
    fn unknown_setting_of_a_hook(&self) {}

    /// Has a bad scope.
    #[tool(scope = "Owner")]
    fn bad_scope(&self) {}

    /// Admits nobody.
    #[tool(scope = [])]
    fn no_scope(&self) {}

    /// Has an unknown setting.
    #[tool(scopes = "owner")]
    fn unknown_setting(&self) {}

    /// Is over before it begins.
    #[tool(timeout_seconds = 0)]
    fn no_time(&self) {}

    /// Goes nowhere.
    #[handoff(type = "robot")]
    fn bad_type(&self) -> String {
        String::new()
    }

    /// Is two things.
    #[tool]
    #[handoff]
    fn two_things(&self) -> String {
        String::new()
    }
}

fn main() {}
