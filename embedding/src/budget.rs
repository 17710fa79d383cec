//! The token budget of a model, shared by all its threads.
//!
//! The budget is fixed, or found by a probe at the first call with enough work. It shrinks when a
//! device runs out of memory on a batch near the budget, or repeatedly on smaller ones, and never
//! grows again. A single failure of a small batch says more about other users of the memory than
//! about batch sizes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::batcher::Limits;

/// Probes for the best number of tokens; `None` if the probe failed.
pub(crate) type Find = Box<dyn Fn() -> Option<usize> + Send + Sync>;

pub(crate) struct Budget {
    limits: Limits,
    tokens: AtomicUsize,
    /// Small batches that ran out of memory since the budget last shrank.
    small: AtomicUsize,
    find: Option<Find>,
    found: Once,
}

/// Failures of small batches after which the budget shrinks.
const ENOUGH: usize = 3;

impl Budget {
    /// A fixed budget.
    pub(crate) fn of(limits: Limits) -> Self {
        let tokens = AtomicUsize::new(limits.tokens);
        Self { limits, tokens, small: AtomicUsize::new(0), find: None, found: Once::new() }
    }

    /// A budget that is probed at the first call with more than `limits.tokens` tokens.
    pub(crate) fn to_find(limits: Limits, find: Find) -> Self {
        Self { find: Some(find), ..Self::of(limits) }
    }

    /// The current limits of a batch.
    pub(crate) fn limits(&self) -> Limits {
        // Relaxed: no other memory access depends on this value.
        Limits { tokens: self.tokens.load(Ordering::Relaxed), ..self.limits }
    }

    /// The limits for a call with this many tokens; the first large call runs the probe.
    pub(crate) fn for_call(&self, tokens: usize) -> Limits {
        if let Some(find) = &self.find
            && tokens > self.limits.tokens
        {
            self.found.call_once(|| {
                // A panic of the probe must not fail the call.
                let best = catch_unwind(AssertUnwindSafe(find)).ok().flatten();
                if let Some(best) = best {
                    // Unless the budget shrank during the probe.
                    let (usual, best) = (self.limits.tokens, best.max(1));
                    let order = Ordering::Relaxed;
                    self.tokens.compare_exchange(usual, best, order, order).ok();
                }
            });
        }
        self.limits()
    }

    /// Records that a batch of `tokens` ran out of memory. Returns the new budget.
    pub(crate) fn was_too_much(&self, tokens: usize) -> usize {
        let order = Ordering::Relaxed;
        let now = self.tokens.load(order);
        if tokens < now / 2 && self.small.fetch_add(1, order) + 1 < ENOUGH {
            return now;
        }
        self.small.store(0, order);
        let half = (tokens / 2).max(1);
        self.tokens.fetch_min(half, order).min(half)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn it_is_found_once_and_only_for_much_work() {
        let limits = Limits { tokens: 100, slack: 2, fill: 1 };
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let find = move || {
            count.fetch_add(1, Ordering::Relaxed);
            Some(700)
        };
        let budget = Budget::to_find(limits, Box::new(find));
        assert_eq!(budget.for_call(100), limits);
        assert_eq!(asked.load(Ordering::Relaxed), 0);
        assert_eq!(budget.for_call(101), Limits { tokens: 700, ..limits });
        assert_eq!(budget.for_call(101), Limits { tokens: 700, ..limits });
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert_eq!(budget.was_too_much(700), 350);
        assert_eq!(budget.was_too_much(1000), 350);
        assert_eq!(budget.for_call(5000).tokens, 350);
    }

    #[test]
    fn a_small_batch_makes_it_smaller_only_again_and_again() {
        let budget = Budget::of(Limits { tokens: 100, slack: 0, fill: 1 });
        assert_eq!(budget.was_too_much(10), 100);
        assert_eq!(budget.was_too_much(12), 100);
        assert_eq!(budget.was_too_much(60), 30);
        assert_eq!([8, 8, 8].map(|tokens| budget.was_too_much(tokens)), [30, 30, 4]);
    }

    #[test]
    fn what_became_smaller_is_not_found_out_to_be_larger() {
        let limits = Limits { tokens: 100, slack: 0, fill: 1 };
        let budget = Budget::to_find(limits, Box::new(|| Some(700)));
        budget.was_too_much(80);
        assert_eq!(budget.for_call(5000).tokens, 40);
        let budget = Budget::to_find(limits, Box::new(|| panic!("no kernel")));
        assert_eq!(budget.for_call(5000).tokens, 100);
    }
}
