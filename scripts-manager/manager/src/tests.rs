//! The pure parts: who is next, when to start, how much to keep.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use rockbot_identity::Caller;
use rockbot_scripts_packages::{Layer, LayerId};
use tokio::time::Instant;

use crate::{
    demand::{Bounds, Demand},
    desk::{Counts, Desk, Full, Lack, Limits, Parked, PoolKey, Stock, Waiting},
    pace::Pace,
};

/// An agent of the namespace `n`.
pub(crate) fn caller(agent: &str) -> Caller {
    Caller {
        namespace: "n".into(),
        agent: agent.into(),
    }
}

#[derive(Clone, Debug)]
struct Job {
    caller: Caller,
    name: &'static str,
    key: PoolKey,
    wanted: Rc<Cell<bool>>,
}

impl Job {
    fn new(agent: &str, name: &'static str) -> Self {
        Self {
            caller: caller(agent),
            name,
            key: PoolKey::default(),
            wanted: Rc::new(Cell::new(true)),
        }
    }

    fn with(self, key: PoolKey) -> Self {
        Self { key, ..self }
    }
}

impl Waiting for Job {
    fn caller(&self) -> &Caller {
        &self.caller
    }

    fn key(&self) -> PoolKey {
        self.key
    }

    fn is_wanted(&self) -> bool {
        self.wanted.get()
    }
}

type Sandbox = (&'static str, PoolKey);

impl Parked for Sandbox {
    fn name(&self) -> &str {
        self.0
    }

    fn key(&self) -> PoolKey {
        self.1
    }
}

/// The packages number `n`.
fn packages(n: u8) -> PoolKey {
    PoolKey {
        packages: Some(LayerId::new(&[], "cp312", &n.to_string())),
    }
}

fn desk(target: usize, queue_size: usize) -> Desk<Job, Sandbox> {
    let mut desk = Desk::new(Limits {
        queue_size,
        max_concurrent: 3,
        max_concurrent_per_agent: 2,
    });
    desk.aim(vec![(PoolKey::default(), target)]);
    desk
}

fn park(desk: &mut Desk<Job, Sandbox>, names: &[&'static str]) {
    for name in names {
        park_with(desk, name, PoolKey::default());
    }
}

fn park_with(desk: &mut Desk<Job, Sandbox>, name: &'static str, key: PoolKey) {
    desk.starting(key);
    desk.park((name, key));
}

fn pairs(desk: &mut Desk<Job, Sandbox>) -> Vec<(&'static str, &'static str)> {
    std::iter::from_fn(|| desk.next_pair())
        .map(|(job, sandbox)| (job.name, sandbox.0))
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
fn t18_a_script_is_warm_when_a_sandbox_is_parked_that_it_can_have() {
    let mut desk = desk(0, 9);
    let (numpy, pandas) = (packages(1), packages(2));
    assert_eq!(desk.submit(Job::new("a", "cold")), Ok(false));
    park_with(&mut desk, "numpy", numpy);
    assert_eq!(
        desk.submit(Job::new("a", "plain")),
        Ok(false),
        "it has packages of others"
    );
    assert_eq!(desk.submit(Job::new("a", "pandas").with(pandas)), Ok(false));
    assert_eq!(desk.submit(Job::new("a", "numpy").with(numpy)), Ok(true));
    park(&mut desk, &["p1"]);
    assert_eq!(desk.submit(Job::new("a", "pandas").with(pandas)), Ok(true));
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

/// A lack of spare sandboxes with nothing in them.
fn spare(filled: usize, target: usize) -> Lack {
    let key = PoolKey::default();
    Lack::Spare { key, filled, target }
}

#[test]
fn what_lacks_follows_from_who_waits_and_what_comes() {
    let mut desk = desk(2, 9);
    let plain = PoolKey::default();
    assert_eq!(desk.lack(), spare(0, 2));
    desk.starting(plain);
    desk.starting(plain);
    assert_eq!(desk.lack(), Lack::Nothing);
    desk.start_failed(plain);
    desk.park(("p1", plain));
    assert_eq!(desk.lack(), spare(1, 2));
    // Three scripts of one agent, of which two may run: one takes the parked sandbox, one lacks another.
    for name in ["1", "2", "3"] {
        desk.submit(Job::new("a", name)).unwrap();
    }
    assert_eq!(desk.lack(), Lack::Urgent);
    assert_eq!(pairs(&mut desk), [("1", "p1")]);
    desk.starting(plain);
    assert_eq!(desk.lack(), spare(0, 2), "the third may not run yet");
    desk.withdraw("p1");
    desk.starting(plain);
    desk.starting(plain);
    assert_eq!(desk.lack(), Lack::Nothing);
}

#[test]
fn a_script_gets_what_was_prepared_for_it_or_a_sandbox_with_nothing_in_it() {
    let mut desk = desk(1, 9);
    let (numpy, pandas) = (packages(1), packages(2));
    park_with(&mut desk, "numpy", numpy);
    park(&mut desk, &["p1", "p2"]);
    desk.submit(Job::new("a", "plain")).unwrap();
    desk.submit(Job::new("b", "pandas").with(pandas)).unwrap();
    desk.submit(Job::new("c", "numpy").with(numpy)).unwrap();
    assert_eq!(
        pairs(&mut desk),
        [("plain", "p1"), ("pandas", "p2"), ("numpy", "numpy")]
    );
    for agent in ["a", "b", "c"] {
        desk.finished(&Job::new(agent, "").caller);
    }
    // Nobody gets a sandbox with somebody else's packages, and who can be served passes who cannot.
    park_with(&mut desk, "pandas", pandas);
    desk.submit(Job::new("a", "plain")).unwrap();
    desk.submit(Job::new("b", "pandas").with(pandas)).unwrap();
    assert_eq!(desk.lack(), Lack::Urgent);
    assert_eq!(pairs(&mut desk), [("pandas", "pandas")]);
}

#[test]
fn sandboxes_with_packages_are_kept_beside_the_others_and_let_go_when_they_are_too_many() {
    let mut desk = desk(1, 9);
    let (plain, numpy) = (PoolKey::default(), packages(1));
    desk.aim(vec![(plain, 1), (numpy, 1)]);
    park(&mut desk, &["p1"]);
    let lack = Lack::Spare {
        key: numpy,
        filled: 0,
        target: 1,
    };
    assert_eq!(desk.lack(), lack);
    park_with(&mut desk, "n1", numpy);
    // A script that a prepared sandbox is there for does not make another one urgent.
    desk.submit(Job::new("a", "numpy").with(numpy)).unwrap();
    assert_eq!(desk.lack(), Lack::Nothing);
    desk.submit(Job::new("b", "numpy").with(numpy)).unwrap();
    desk.submit(Job::new("c", "numpy").with(numpy)).unwrap();
    assert_eq!(desk.lack(), Lack::Urgent, "one of three has to wait for a start");
    assert_eq!(pairs(&mut desk), [("numpy", "n1"), ("numpy", "p1")]);
    assert_eq!(desk.expire(|_| true).len(), 1);

    park(&mut desk, &["p2", "p3", "p4"]);
    park_with(&mut desk, "n2", numpy);
    desk.aim(vec![(plain, 2)]);
    let surplus: Vec<_> = std::iter::from_fn(|| desk.surplus()).map(|sandbox| sandbox.0).collect();
    assert_eq!(surplus, ["p2", "n2"], "the oldest first, and all of what has no target");
    let stock = Stock {
        parked: 2,
        starting: 0,
        target: 2,
    };
    assert_eq!(desk.stocks(), [(plain, stock)]);
}

#[test]
fn spare_sandboxes_wait_for_quiet_but_not_for_ever() {
    let now = Instant::now();
    let after = |millis| now + Duration::from_millis(millis);
    let mut pace = Pace::new(now);
    assert_eq!(pace.when(Lack::Nothing, now), None);
    assert_eq!(pace.when(Lack::Urgent, now), Some(now));
    assert_eq!(pace.when(spare(2, 3), now), Some(after(40)));
    // Scripts all the time: the fuller the pool, the longer that goes before them.
    pace.active(after(600));
    let waited = pace.when(spare(1, 2), after(600));
    assert_eq!(waited, Some(after(500)));
    assert_eq!(
        pace.when(spare(0, 2), after(600)),
        Some(after(100)),
        "an empty pool waits for the end of a short script"
    );
    assert_eq!(pace.when_to_delete(after(590)), after(640));
    pace.active(after(1700));
    assert_eq!(pace.when_to_delete(after(590)), after(1590));
    pace.started(after(1700));
    let next = pace.when(spare(0, 2), after(1701)).unwrap();
    assert!((after(1780)..after(1820)).contains(&next), "one after the other");
}

#[test]
fn failures_slow_every_start_down() {
    let mut now = Instant::now();
    let mut pace = Pace::new(now);
    let mut last = Duration::ZERO;
    for failures in 0..20 {
        pace.failed(now, "quota".into());
        let next = pace.when(Lack::Urgent, now).unwrap();
        // Others that fail in this time fail for the same reason.
        pace.failed(now, "quota".into());
        assert_eq!(pace.when(Lack::Urgent, now), Some(next));
        let wait = next - now;
        assert!(
            wait <= Duration::from_secs(36) && (failures >= 6 || wait > last.mul_f64(1.2)),
            "{failures}: {wait:?}"
        );
        (last, now) = (wait, next);
    }
    assert_eq!(pace.problem().as_deref(), Some("quota"));
    pace.succeeded();
    assert_eq!(pace.problem(), None);
}

/// So many scripts so many milliseconds after the start.
type Arrivals = &'static [(u64, usize)];

#[test]
fn the_pool_is_as_large_as_what_one_refill_time_needed_lately() {
    let cases: [(&str, Arrivals, u64, usize); 7] = [
        ("nothing to do", &[], 0, 2),
        ("one now and then", &[(0, 1), (60_000, 1)], 60_000, 2),
        ("as many in parallel as a refill takes", &[(0, 4)], 0, 4),
        (
            "in a row within a refill",
            &[(0, 1), (500, 1), (1000, 1), (1900, 1), (2500, 1)],
            2500,
            4,
        ),
        ("more than there may be", &[(0, 50)], 0, 6),
        ("still remembered", &[(0, 5)], 200_000, 5),
        ("forgotten", &[(0, 5)], 240_000, 2),
    ];
    for (what, arrivals, at, expected) in cases {
        let now = Instant::now();
        let mut demand = Demand::new(Bounds { min: 2, max: 6 }, now);
        for &(millis, count) in arrivals {
            for _ in 0..count {
                demand.arrived(None, now + Duration::from_millis(millis));
            }
        }
        let targets = demand.targets(now + Duration::from_millis(at));
        assert_eq!((targets.len(), targets[0].count), (1, expected), "{what}");
    }
    let now = Instant::now();
    let mut none = Demand::new(Bounds { min: 0, max: 0 }, now);
    none.arrived(None, now);
    assert_eq!(none.targets(now)[0].count, 0);
}

#[test]
fn slower_starts_need_a_larger_pool() {
    let now = Instant::now();
    let mut demand = Demand::new(Bounds { min: 0, max: 9 }, now);
    let before = demand.refill_time();
    for _ in 0..30 {
        demand.refilled(Duration::from_secs(60));
    }
    assert!(demand.refill_time() > before && demand.refill_time() <= Duration::from_secs(10));
    for second in 0..10 {
        demand.arrived(None, now + Duration::from_secs(second));
    }
    let count = demand.targets(now + Duration::from_secs(9))[0].count;
    assert!(count >= 9, "{count}");
}

fn layer(n: u8) -> Arc<Layer> {
    Arc::new(Layer {
        id: packages(n).packages.unwrap(),
        path: "/cache".into(),
        modules: vec!["numpy".into()],
        bytes: 1,
    })
}

#[test]
fn packages_that_are_used_often_get_sandboxes_of_their_own() {
    let now = Instant::now();
    let after = |seconds| now + Duration::from_secs(seconds);
    let mut demand = Demand::new(Bounds { min: 1, max: 2 }, now);
    let keys = |demand: &mut Demand, seconds| -> Vec<_> {
        let targets = demand.targets(after(seconds));
        targets.iter().map(|target| (target.key(), target.count)).collect()
    };
    let plain = (PoolKey::default(), 1);
    demand.arrived(Some(&layer(1)), after(0));
    demand.arrived(Some(&layer(1)), after(100));
    assert_eq!(keys(&mut demand, 100), [plain]);
    demand.arrived(Some(&layer(1)), after(200));
    assert_eq!(keys(&mut demand, 200), [plain, (packages(1), 1)]);
    // The most used ones, and no more sandboxes in all than there may be.
    for seconds in 201..208 {
        demand.arrived(Some(&layer(2)), after(10 * seconds - 1800));
    }
    assert_eq!(keys(&mut demand, 280), [plain, (packages(2), 1)]);
    // Not used any more.
    assert_eq!(keys(&mut demand, 2000), [plain]);
}

#[test]
fn t18_only_packages_that_pods_are_made_for_are_held() {
    let now = Instant::now();
    let mut demand = Demand::new(Bounds { min: 1, max: 9 }, now);
    let layers: Vec<_> = (1..65).map(layer).collect();
    let held = || layers.iter().filter(|layer| Arc::strong_count(layer) > 1).count();
    for layer in &layers {
        demand.arrived(Some(layer), now);
        demand.arrived(Some(layer), now);
    }
    assert_eq!(held(), 0);
    for layer in &layers[1..] {
        demand.arrived(Some(layer), now);
    }
    assert_eq!(held(), 2);
    // One that nobody holds and that left the cache gets no sandboxes, however often it was used.
    let later = now + Duration::from_secs(300);
    for _ in 0..3 {
        demand.arrived(Some(&layer(0)), later);
    }
    let targets = demand.targets(later + Duration::from_secs(400));
    assert_eq!((held(), targets.len()), (0, 1), "not used any more, or not there");
}

#[test]
fn t18_packages_that_do_not_become_ready_get_no_sandboxes_for_a_while_and_then_a_longer_one() {
    let mut now = Instant::now();
    let mut demand = Demand::new(Bounds { min: 1, max: 9 }, now);
    let broken = layer(1);
    let is_hot = |demand: &mut Demand, now| {
        (0..3).for_each(|_| demand.arrived(Some(&broken), now));
        demand.targets(now).iter().any(|target| target.layer.is_some())
    };
    assert!(is_hot(&mut demand, now));
    for least in [24, 48, 96, 192, 384, 480, 480] {
        demand.failed(broken.id, now);
        // Others that were under way, too.
        demand.failed(broken.id, now);
        assert!(!is_hot(&mut demand, now + Duration::from_secs(least)), "{least}");
        now += Duration::from_secs(least * 3 / 2).max(Duration::from_secs(least + 1));
        assert!(is_hot(&mut demand, now), "{least}");
    }
    demand.succeeded(broken.id);
    demand.failed(broken.id, now);
    assert!(
        is_hot(&mut demand, now + Duration::from_secs(37)),
        "as if for the first time"
    );
}

#[test]
fn t18_starts_with_packages_do_not_hold_up_those_without() {
    let mut desk = desk(9, 9);
    let (plain, slow, other) = (PoolKey::default(), packages(1), packages(2));
    desk.aim(vec![(plain, 0), (slow, 3), (other, 3)]);
    let lack = |desk: &Desk<Job, Sandbox>| match desk.lack() {
        Lack::Spare { key, .. } => Some(key),
        _ => None,
    };
    for expected in [slow, slow, other, other] {
        assert_eq!(lack(&desk), Some(expected));
        desk.starting(expected);
    }
    assert_eq!(lack(&desk), None);
    desk.aim(vec![(plain, 9), (slow, 3), (other, 3)]);
    for _ in 0..4 {
        assert_eq!(lack(&desk), Some(plain));
        desk.starting(plain);
    }
    assert_eq!(lack(&desk), None, "those wait for each other");
}
