//! An agent for each team, beside the one that the configuration describes: nobody lists them, each is found by its name
//! when somebody asks for it.

use std::{future::ready, process::ExitCode};

use rockbot_agent_server::{AgentConfig, OnDemand, Program};

/// Who has an agent. A function may as well ask a database; it is asked at every request.
const TEAMS: [&str; 2] = ["blue", "red"];

/// The agent of a team, with the model, the tools and the keys of `main`.
fn team(main: &AgentConfig, name: String) -> Option<AgentConfig> {
    let instructions = format!("{} You work for the {name} team.", main.instructions);
    TEAMS.contains(&&*name).then(|| AgentConfig {
        name,
        instructions,
        ..main.clone()
    })
}

fn main() -> ExitCode {
    let teams = |main: &AgentConfig| {
        let main = main.clone();
        OnDemand::new(move |name| ready(Ok(team(&main, name))))
    };
    Program::new().resolver(teams).main()
}
