//! Every backend means the same: one list of checks runs on each. What is special about one is tested beside it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod conformance;
mod ephemeral;
mod postgres;
mod volume;
