//! `rockbot-agent`: an agent without skills of its own.

use std::process::ExitCode;

use rockbot_agent_server::Program;

fn main() -> ExitCode {
    Program::new().main()
}
