//! The agent server over HTTP, on the loopback interface, with a scripted model behind it.

mod answers;
mod errors;
mod isolation;
mod mcp;
mod site;
mod tools;
