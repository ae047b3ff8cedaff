//! How many sandboxes should be parked, and prepared with what. Pure: time comes from outside.
//!
//! A sandbox that was used is replaced after a while, the *refill time*. So as many are needed as there are scripts in any
//! such while; the most that there were lately is what to have.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Weak},
    time::Duration,
};

use rand::Rng;
use rockbot_scripts_packages::{Layer, LayerId};
use tokio::time::Instant;

use crate::desk::PoolKey;

/// For so long at least the pool stays as large as it was needed once, and twice as long at most.
const MEMORY: Duration = Duration::from_secs(120);
/// Packages that were used so often …
const HOT_USES: usize = 3;
/// … in this time get sandboxes of their own …
const HOT_PERIOD: Duration = Duration::from_secs(600);
/// … but no more than so many sets of packages.
const MAX_HOT: usize = 2;
/// Sets of packages of which is known how often they were used.
const MAX_LAYERS: usize = 64;
/// For so long no sandboxes are made for packages that did not become ready in one; it doubles with each failure.
const FIRST_REST: Duration = Duration::from_secs(30);
const LONGEST_REST: Duration = HOT_PERIOD;
/// What a start takes until one was measured.
const FIRST_REFILL: Duration = Duration::from_secs(2);
/// A slow start is one of a busy node, not a reason to make it busier.
const LONGEST_REFILL: Duration = Duration::from_secs(10);
/// Weight of a new measurement.
const LEARNING: f64 = 0.25;

/// How many sandboxes there may be, whatever the demand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// With nothing prepared, always.
    pub min: usize,
    /// Parked ones, all together.
    pub max: usize,
}

/// What the pool is for.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// What is prepared in the sandbox, if anything.
    pub layer: Option<Arc<Layer>>,
    /// How many.
    pub count: usize,
}

/// Who came lately.
#[derive(Debug)]
pub(crate) struct Demand {
    bounds: Bounds,
    refill: Duration,
    plain: Flow,
    layers: HashMap<LayerId, Use>,
    /// Those that get sandboxes of their own. They alone are held: what is held cannot leave the cache of packages.
    hot: Vec<Arc<Layer>>,
}

/// A set of packages that was used lately.
#[derive(Debug)]
struct Use {
    layer: Weak<Layer>,
    flow: Flow,
    failures: u32,
    /// Until then it gets no sandboxes, when it failed to become ready.
    rests_until: Instant,
}

/// Scripts of one kind.
#[derive(Debug)]
struct Flow {
    /// Those of one refill time.
    arrivals: VecDeque<Instant>,
    /// The most of them at once, in this period and in the one before.
    peaks: [usize; 2],
    period: Instant,
    /// The latest few.
    uses: VecDeque<Instant>,
}

impl Demand {
    pub(crate) fn new(bounds: Bounds, now: Instant) -> Self {
        Self {
            bounds,
            refill: FIRST_REFILL,
            plain: Flow::new(now),
            layers: HashMap::new(),
            hot: Vec::new(),
        }
    }

    /// A script came that needs these packages.
    pub(crate) fn arrived(&mut self, layer: Option<&Arc<Layer>>, now: Instant) {
        let most = self.bounds.max;
        let mut has_its_own = false;
        if let Some(layer) = layer {
            has_its_own = self.hot.iter().any(|hot| hot.id == layer.id);
            if !self.layers.contains_key(&layer.id) {
                self.forget(now);
            }
            let used = self.layers.entry(layer.id).or_insert_with(|| Use::new(now));
            // One that came back to the cache is another than before.
            used.layer = Arc::downgrade(layer);
            used.flow.arrived(self.refill, most, now);
            self.choose(now);
        }
        if !has_its_own {
            self.plain.arrived(self.refill, most, now);
        }
    }

    /// A sandbox took so long to be there.
    pub(crate) fn refilled(&mut self, took: Duration) {
        let took = took.min(LONGEST_REFILL).as_secs_f64();
        let refill = self.refill.as_secs_f64();
        self.refill = Duration::from_secs_f64(refill + LEARNING * (took - refill));
    }

    /// A sandbox did not become ready with these packages, or did not stay so. They may be why, whatever was said: a module
    /// may end its process, or never come to an end, when it is imported. Many that fail at once are one failure.
    pub(crate) fn failed(&mut self, layer: LayerId, now: Instant) {
        if let Some(used) = self.layers.get_mut(&layer)
            && now >= used.rests_until
        {
            let rest = FIRST_REST.saturating_mul(1 << used.failures.min(10)).min(LONGEST_REST);
            used.failures += 1;
            used.rests_until = now + rest.mul_f64(rand::rng().random_range(0.8..1.2));
        }
    }

    /// A sandbox became ready with these packages.
    pub(crate) fn succeeded(&mut self, layer: LayerId) {
        if let Some(used) = self.layers.get_mut(&layer) {
            used.failures = 0;
        }
    }

    /// How long it takes to replace a sandbox.
    pub(crate) fn refill_time(&self) -> Duration {
        self.refill
    }

    /// What should be parked, the more important first.
    pub(crate) fn targets(&mut self, now: Instant) -> Vec<Target> {
        let Bounds { min, max } = self.bounds;
        let plain = self.plain.peak(now).max(min).min(max);
        let mut left = max - plain;
        let mut targets = vec![Target {
            layer: None,
            count: plain,
        }];
        self.choose(now);
        for layer in &self.hot {
            let used = self.layers.get_mut(&layer.id);
            let count = used.map_or(0, |used| used.flow.peak(now)).max(1).min(left);
            left -= count;
            targets.push(Target {
                layer: Some(Arc::clone(layer)),
                count,
            });
        }
        targets.retain(|target| target.layer.is_none() || target.count > 0);
        targets
    }

    /// Holds the packages that are used often, the most used first, and are still in the cache.
    fn choose(&mut self, now: Instant) {
        let often = self.layers.values().filter_map(|used| {
            let uses = used.flow.uses_since(now, HOT_PERIOD);
            (uses >= HOT_USES && now >= used.rests_until).then(|| Some((uses, used.layer.upgrade()?)))?
        });
        let mut often: Vec<_> = often.collect();
        often.sort_by_key(|(uses, layer)| (std::cmp::Reverse(*uses), layer.id));
        self.hot = often.into_iter().take(MAX_HOT).map(|(_, layer)| layer).collect();
    }

    /// Makes room for one more set of packages.
    fn forget(&mut self, now: Instant) {
        self.layers.retain(|_, used| used.flow.uses_since(now, HOT_PERIOD) > 0);
        if self.layers.len() >= MAX_LAYERS {
            let latest = |used: &Use| used.flow.uses.back().copied();
            let idlest = self.layers.iter().min_by_key(|(_, used)| latest(used));
            if let Some(id) = idlest.map(|(id, _)| *id) {
                self.layers.remove(&id);
            }
        }
    }
}

impl Target {
    pub(crate) fn key(&self) -> PoolKey {
        PoolKey {
            packages: self.layer.as_ref().map(|layer| layer.id),
        }
    }
}

impl Use {
    fn new(now: Instant) -> Self {
        Self {
            layer: Weak::new(),
            flow: Flow::new(now),
            failures: 0,
            rests_until: now,
        }
    }
}

impl Flow {
    /// Uses that are remembered: enough to tell which of two sets of packages is used more.
    const MAX_USES: usize = 32;

    fn new(now: Instant) -> Self {
        Self {
            arrivals: VecDeque::new(),
            peaks: [0, 0],
            period: now,
            uses: VecDeque::new(),
        }
    }

    /// `most` is as many as matter.
    fn arrived(&mut self, refill: Duration, most: usize, now: Instant) {
        self.arrivals.push_back(now);
        self.arrivals.retain(|arrival| now - *arrival < refill);
        if self.arrivals.len() > most {
            self.arrivals.pop_front();
        }
        self.turn(now);
        self.peaks[0] = self.peaks[0].max(self.arrivals.len());
        self.uses.push_back(now);
        if self.uses.len() > Self::MAX_USES {
            self.uses.pop_front();
        }
    }

    fn peak(&mut self, now: Instant) -> usize {
        self.turn(now);
        self.peaks[0].max(self.peaks[1])
    }

    fn turn(&mut self, now: Instant) {
        let passed = now - self.period;
        if passed >= MEMORY {
            let before = if passed < 2 * MEMORY { self.peaks[0] } else { 0 };
            self.peaks = [0, before];
            self.period = now;
        }
    }

    fn uses_since(&self, now: Instant, period: Duration) -> usize {
        self.uses.iter().filter(|one| now - **one < period).count()
    }
}
