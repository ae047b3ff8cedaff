//! The agent server over HTTP, on the loopback interface, with a scripted model behind it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

mod answers;
mod budget;
mod dynamic;
mod errors;
mod handoffs;
mod hooks;
mod humans;
mod isolation;
mod kept;
mod mcp;
mod metrics;
mod on_demand;
mod provider;
mod responses;
mod site;
mod tools;
