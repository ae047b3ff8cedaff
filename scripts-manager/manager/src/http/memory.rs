//! The bytes that requests take, bounded for all callers together and, at half of that, for each.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rockbot_identity::Caller;

/// Bodies while they come, scripts and inputs until they have ended, and results until they are read. With the results that
/// are being made (with the chart's values 11 MiB for each of the 16 scripts that run: 5 MiB as they come, and files again in
/// base64) and those that are kept for whoever asks again (32 MiB) that is less than 340 MiB; the chart lets it have 512.
const BUDGET: usize = 128 << 20;

/// What there is, and who has how much of it.
#[derive(Debug)]
pub(super) struct Memory {
    budget: usize,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    total: usize,
    by_caller: HashMap<Caller, usize>,
}

/// What one request has of it, until this is dropped.
#[derive(Debug)]
pub(super) struct Share {
    memory: Arc<Memory>,
    caller: Caller,
    bytes: usize,
}

impl Default for Memory {
    fn default() -> Self {
        Self::of(BUDGET)
    }
}

impl Memory {
    /// The most that one caller can have.
    pub(super) const SHARE: usize = BUDGET / 2;

    pub(super) fn of(budget: usize) -> Self {
        Self {
            budget,
            used: Mutex::default(),
        }
    }

    /// Nothing yet, of what `caller` may have.
    pub(super) fn share(self: &Arc<Self>, caller: &Caller) -> Share {
        Share {
            memory: Arc::clone(self),
            caller: caller.clone(),
            bytes: 0,
        }
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Takes so many bytes more if they are there. Never waits: requests that are half here would wait for each other.
    #[must_use]
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let mut used = self.memory.used();
        let of_caller = used.by_caller.get(&self.caller).copied().unwrap_or_default() + bytes;
        let fits = used.total + bytes <= self.memory.budget && of_caller <= self.memory.budget / 2;
        if fits && bytes > 0 {
            used.total += bytes;
            used.by_caller.insert(self.caller.clone(), of_caller);
            self.bytes += bytes;
        }
        fits
    }

    /// Gives back all but so many bytes.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes);
        let mut used = self.memory.used();
        used.total -= less;
        if let Some(of_caller) = used.by_caller.get_mut(&self.caller) {
            *of_caller -= less;
            if *of_caller == 0 {
                used.by_caller.remove(&self.caller);
            }
        }
        self.bytes -= less;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::caller;

    #[test]
    fn t16_no_caller_has_more_than_half() {
        let memory = Arc::new(Memory::of(100));
        let (mut one, mut two) = (memory.share(&caller("a")), memory.share(&caller("a")));
        assert!(one.grow(30) && two.grow(20) && !two.grow(1));
        let mut other = memory.share(&caller("b"));
        assert!(other.grow(50));
        let mut third = memory.share(&caller("c"));
        assert!(!third.grow(1), "all of it is taken");
        one.shrink_to(10);
        assert!(third.grow(20) && !two.grow(1), "what one gives back another gets");
        drop((one, two, other, third));
        let used = memory.used();
        assert!(used.total == 0 && used.by_caller.is_empty(), "{used:?}");
    }
}
