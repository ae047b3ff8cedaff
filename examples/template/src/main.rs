//! {{project-name}}: all that RockBot's agent does, and a skill of its own.

use std::process::ExitCode;

use rockbot_agent::sdk::{Context, skill};
use rockbot_agent_server::Program;

/// What this agent can do that no other can.
struct Dice;

#[skill]
impl Dice {
    /// Says what is on the far side of a die.
    #[tool]
    fn far_side(
        &self,
        /// Eyes on the near side, 1 to 6.
        eyes: u8,
    ) -> Result<u8, String> {
        if (1..=6).contains(&eyes) {
            Ok(7 - eyes)
        } else {
            Err(format!("a die has 1 to 6 eyes, not {eyes}"))
        }
    }

    #[prompt]
    fn player(context: &Context) -> String {
        format!("You play dice with {}.", context.user_id)
    }
}

fn main() -> ExitCode {
    Program::new().skill(Dice).main()
}
