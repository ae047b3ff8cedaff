//! An installed RockBot on a real Kubernetes. Every test has a namespace of its own, so all of them run at once.

mod agents;
mod identity;
mod lifecycle;
mod mcp;
mod quiet;
mod walls;
