//! The real binary: what it tells a receiver of OTLP, what it passes on, what it never does, what it says of requests that it refuses, and how it stops.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod agent;
mod broken;
mod drain;
mod off;
mod on;
mod refused;
mod scripts;

/// A caller's `traceparent`: its trace, and its span.
const CALLER: (&str, &str) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");

fn traceparent() -> String {
    format!("00-{}-{}-01", CALLER.0, CALLER.1)
}
