//! Skills inside of agents: what `#[skill]` makes of functions, and what a turn does with it. The model is scripted.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

mod handoffs;
mod hooks;
mod interleaving;
mod parts;
mod scopes;
mod site;
mod turns;
