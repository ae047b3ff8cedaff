//! The agent server over HTTP, on the loopback interface, with a scripted model behind it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

mod answers;
mod errors;
mod isolation;
mod mcp;
mod site;
mod tools;
