//! `rockbot-agent`: an agent without skills of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    rockbot_agent_server::main(Vec::new())
}
