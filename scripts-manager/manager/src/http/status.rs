//! `GET /v1/status`: what a person or `rockbot script doctor` wants to know of a manager.

use axum::{Json, extract::State};
use rockbot_scripts_packages::LayerId;
use serde::Serialize;

use super::{App, Parts};
use crate::{args::Strictness, findings::Verdicts};

/// The body.
#[derive(Serialize)]
pub(super) struct Status {
    parked: usize,
    starting: usize,
    running: usize,
    waiting: usize,
    draining: bool,
    pools: Vec<Stock>,
    refill_seconds: f64,
    walls: Walls,
    canary: Verdicts,
    /// Why pods do not come, if they do not.
    last_problem: Option<String>,
}

#[derive(Serialize)]
struct Stock {
    /// What is unpacked in these pods; nothing in most.
    packages: Option<String>,
    parked: usize,
    starting: usize,
    target: usize,
}

#[derive(Serialize)]
struct Walls {
    mode: &'static str,
    held: Vec<String>,
    missing: Vec<String>,
    network_policy_required: bool,
    admission_policy: bool,
}

pub(super) async fn status(State(app): State<App>) -> Json<Status> {
    let Parts {
        args,
        pool,
        pods,
        findings,
        draining,
        ..
    } = &*app.parts;
    let (counts, known) = (pool.counts(), findings.now());
    let pools = pool.stocks().into_iter().map(|(key, stock)| Stock {
        packages: key.packages.as_ref().map(LayerId::to_string),
        parked: stock.parked,
        starting: stock.starting,
        target: stock.target,
    });
    Json(Status {
        parked: counts.parked,
        starting: counts.starting,
        running: counts.running,
        waiting: counts.waiting,
        draining: draining.is_cancelled(),
        pools: pools.collect(),
        refill_seconds: pool.refill_time().as_secs_f64(),
        walls: Walls {
            mode: match args.walls {
                Strictness::Strict => "strict",
                Strictness::Baseline => "baseline",
            },
            held: known.walls.held,
            missing: known.walls.missing,
            network_policy_required: args.require_network_policy,
            admission_policy: pods.are_guarded(),
        },
        canary: known.canary,
        last_problem: pool.problem(),
    })
}
