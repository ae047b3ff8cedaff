//! The scripts manager by itself: what its callers see, what it does about faults, and what it leaves behind. Each test has
//! managers and pods of its own.

mod canary;
mod faults;
mod http;
mod limits;
mod metrics;
mod packages;
mod pool;
mod replicas;
mod walls;
