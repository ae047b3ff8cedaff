//! An installed RockBot on a real Kubernetes. Every test has a namespace of its own, so all of them run at once.

mod admission;
mod agents;
mod canary;
mod custom;
mod database;
mod dynamic;
mod handoffs;
mod identity;
mod lifecycle;
mod mcp;
mod outside;
mod permissions;
mod quiet;
mod storage;
mod telemetry;
mod walls;
