//! The pure parts: who is next, when to start, what to sweep.

use std::{cell::Cell, rc::Rc, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use rockbot_identity::Caller;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    desk::{Counts, Desk, Full, Lack, Limits, Parked, Waiting},
    leftovers::Facts,
    pace::Pace,
};

#[derive(Clone, Debug)]
struct Job {
    caller: Caller,
    name: &'static str,
    wanted: Rc<Cell<bool>>,
}

impl Job {
    fn new(agent: &str, name: &'static str) -> Self {
        let caller = Caller {
            namespace: "n".into(),
            agent: agent.into(),
        };
        Self {
            caller,
            name,
            wanted: Rc::new(Cell::new(true)),
        }
    }
}

impl Waiting for Job {
    fn caller(&self) -> &Caller {
        &self.caller
    }

    fn is_wanted(&self) -> bool {
        self.wanted.get()
    }
}

impl Parked for &'static str {
    fn name(&self) -> &str {
        self
    }
}

fn desk(pool_size: usize, queue_size: usize) -> Desk<Job, &'static str> {
    Desk::new(Limits {
        pool_size,
        queue_size,
        max_concurrent: 3,
        max_concurrent_per_agent: 2,
    })
}

fn park(desk: &mut Desk<Job, &'static str>, names: &[&'static str]) {
    for name in names {
        desk.starting();
        desk.park(name);
    }
}

fn pairs(desk: &mut Desk<Job, &'static str>) -> Vec<(&'static str, &'static str)> {
    std::iter::from_fn(|| desk.next_pair())
        .map(|(job, sandbox)| (job.name, sandbox))
        .collect()
}

#[test]
fn the_oldest_script_gets_the_oldest_sandbox() {
    let mut desk = desk(0, 9);
    park(&mut desk, &["p1", "p2", "p3"]);
    desk.submit(Job::new("a", "1")).unwrap();
    desk.submit(Job::new("b", "2")).unwrap();
    assert_eq!(pairs(&mut desk), [("1", "p1"), ("2", "p2")]);
    assert_eq!(
        desk.counts(),
        Counts {
            parked: 1,
            starting: 0,
            running: 2,
            waiting: 0
        }
    );
}

#[test]
fn an_agent_at_its_limit_lets_others_pass() {
    let mut desk = desk(0, 9);
    park(&mut desk, &["p1", "p2", "p3", "p4"]);
    for name in ["a1", "a2", "a3"] {
        desk.submit(Job::new("a", name)).unwrap();
    }
    desk.submit(Job::new("b", "b1")).unwrap();
    desk.submit(Job::new("c", "c1")).unwrap();
    // Two of a at once, three in all.
    assert_eq!(pairs(&mut desk), [("a1", "p1"), ("a2", "p2"), ("b1", "p3")]);
    desk.finished(&Job::new("b", "").caller);
    assert_eq!(pairs(&mut desk), [("c1", "p4")]);
    desk.finished(&Job::new("a", "").caller);
    park(&mut desk, &["p5"]);
    assert_eq!(pairs(&mut desk), [("a3", "p5")]);
}

#[test]
fn the_queue_is_bounded_and_no_agent_fills_it() {
    let mut full = desk(0, 2);
    full.submit(Job::new("a", "1")).unwrap();
    full.submit(Job::new("b", "2")).unwrap();
    assert_eq!(full.submit(Job::new("c", "3")), Err(Full::Queue));
    let mut shared = desk(0, 64);
    for _ in 0..8 {
        shared.submit(Job::new("a", "1")).unwrap();
    }
    assert_eq!(shared.submit(Job::new("a", "9")), Err(Full::AgentsShare));
    shared.submit(Job::new("b", "10")).unwrap();
    // Without a queue a script still gets a sandbox that is parked.
    let mut no_queue = desk(1, 0);
    assert_eq!(no_queue.submit(Job::new("a", "1")), Err(Full::Queue));
    park(&mut no_queue, &["p1"]);
    no_queue.submit(Job::new("a", "1")).unwrap();
    assert_eq!(no_queue.submit(Job::new("a", "2")), Err(Full::Queue));
}

#[test]
fn a_script_that_nobody_wants_any_more_takes_no_sandbox_and_no_place() {
    let mut desk = desk(0, 1);
    let gone = Job::new("a", "gone");
    desk.submit(gone.clone()).unwrap();
    gone.wanted.set(false);
    assert_eq!(desk.lack(), Lack::Nothing);
    desk.submit(Job::new("a", "next")).unwrap();
    park(&mut desk, &["p1"]);
    assert_eq!(pairs(&mut desk), [("next", "p1")]);
}

#[test]
fn a_script_whose_sandbox_was_gone_is_first_again() {
    let mut desk = desk(0, 9);
    park(&mut desk, &["gone", "p2"]);
    desk.submit(Job::new("a", "1")).unwrap();
    desk.submit(Job::new("a", "2")).unwrap();
    let (job, _) = desk.next_pair().unwrap();
    desk.give_back(job);
    assert_eq!(pairs(&mut desk), [("1", "p2")]);
    assert_eq!(
        desk.counts(),
        Counts {
            parked: 0,
            starting: 0,
            running: 1,
            waiting: 1
        }
    );
    assert_eq!(desk.expire(|job| job.name == "2").len(), 1);
    assert_eq!(desk.counts().waiting, 0);
}

#[test]
fn what_lacks_follows_from_who_waits_and_what_comes() {
    let mut desk = desk(2, 9);
    assert_eq!(desk.lack(), Lack::Spare);
    desk.starting();
    desk.starting();
    assert_eq!(desk.lack(), Lack::Nothing);
    desk.start_failed();
    desk.park("p1");
    assert_eq!(desk.lack(), Lack::Spare);
    // Three scripts of one agent, of which two may run: one takes the parked sandbox, one lacks another.
    for name in ["1", "2", "3"] {
        desk.submit(Job::new("a", name)).unwrap();
    }
    assert_eq!(desk.lack(), Lack::Urgent);
    assert_eq!(pairs(&mut desk), [("1", "p1")]);
    desk.starting();
    assert_eq!(desk.lack(), Lack::Spare, "the third may not run yet");
    desk.withdraw("p1");
    desk.starting();
    desk.starting();
    assert_eq!(desk.lack(), Lack::Nothing);
}

#[test]
fn spare_sandboxes_wait_for_quiet_but_not_for_ever() {
    let now = Instant::now();
    let after = |millis| now + Duration::from_millis(millis);
    let mut pace = Pace::new(now);
    assert_eq!(pace.when(Lack::Nothing, now), None);
    assert_eq!(pace.when(Lack::Urgent, now), Some(now));
    assert_eq!(pace.when(Lack::Spare, now), Some(after(30)));
    pace.active(after(290));
    assert_eq!(pace.when(Lack::Spare, after(290)), Some(after(300)));
    pace.started(after(300));
    assert_eq!(
        pace.when(Lack::Spare, after(301)),
        Some(after(400)),
        "one after the other"
    );
}

#[test]
fn failures_slow_every_start_down() {
    let now = Instant::now();
    let mut pace = Pace::new(now);
    let mut last = Duration::ZERO;
    for failures in 0..20 {
        pace.failed(now, "quota".into());
        let wait = pace.when(Lack::Urgent, now).unwrap() - now;
        assert!(
            wait <= Duration::from_secs(36) && (failures >= 6 || wait > last.mul_f64(1.2)),
            "{failures}: {wait:?}"
        );
        last = wait;
    }
    assert_eq!(pace.problem().as_deref(), Some("quota"));
    pace.succeeded();
    assert_eq!(pace.problem(), None);
}

fn facts(instance: &str, status: &Value) -> Facts {
    let pod = json!({
        "metadata": {
            "name": "script-1",
            "annotations": { "rockbot.dev/instance": instance },
            "creationTimestamp": "1970-01-01T00:16:40Z",
        },
        "status": status,
    });
    Facts::of(&serde_json::from_value::<Pod>(pod).unwrap())
}

#[test]
fn leftovers_are_pods_that_nobody_will_use() {
    let (pending, running) = (json!({ "phase": "Pending" }), json!({ "phase": "Running" }));
    let (ended, failed) = (json!({ "phase": "Succeeded" }), json!({ "phase": "Failed" }));
    let created = 1000;
    let cases = [
        // Ours, and yet unknown to us: of an earlier process in this pod.
        ("me", &running, 1, true),
        ("me", &pending, 1, true),
        // Another manager's, which may be alive.
        ("other", &running, 1800, false),
        ("other", &pending, 200, false),
        // What a dead manager leaves.
        ("other", &ended, 1, true),
        ("other", &failed, 1, true),
        ("other", &pending, 301, true),
        ("other", &running, 2101, true),
        // A clock that runs behind.
        ("other", &running, -50, false),
    ];
    for (instance, status, age, expected) in cases {
        assert_eq!(
            facts(instance, status).is_leftover("me", created + age),
            expected,
            "{instance} {status} {age}"
        );
    }
    let deleting = Facts {
        deleting: true,
        ..facts("me", &ended)
    };
    assert!(!deleting.is_leftover("me", created));
}

#[test]
fn a_pod_tells_why_it_does_not_run() {
    let container = |state: &Value| {
        json!({ "phase": "Pending", "containerStatuses": [
        { "name": "script", "state": state, "image": "", "imageID": "", "ready": false, "restartCount": 0 }] })
    };
    assert!(facts("me", &container(&json!({ "running": {} }))).running);
    let creating = container(&json!({ "waiting": { "reason": "ContainerCreating" } }));
    assert_eq!(facts("me", &creating).problem, None);
    let missing = container(&json!({ "waiting": { "reason": "ErrImagePull", "message": "not found" } }));
    assert_eq!(
        facts("me", &missing).problem.as_deref(),
        Some("ErrImagePull: not found")
    );
    let full = json!({ "phase": "Pending", "conditions": [
        { "type": "PodScheduled", "status": "False", "message": "0/1 nodes are available" }] });
    assert_eq!(facts("me", &full).problem.as_deref(), Some("0/1 nodes are available"));
}
