//! How large the batches of a model may be, for all of its threads.
//!
//! A budget is given, or found out by trying when there is enough work for it. It becomes smaller when a device has no memory
//! for a batch that is about as large as batches may be, or again and again for smaller ones; never larger again. A
//! small batch for which there is no memory once says more about what else was there than about batches.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::batcher::Limits;

/// Finds out how many tokens are best.
pub(crate) type Find = Box<dyn Fn() -> Option<usize> + Send + Sync>;

pub(crate) struct Budget {
    limits: Limits,
    tokens: AtomicUsize,
    /// Small batches for which there was no memory, since it became smaller.
    small: AtomicUsize,
    find: Option<Find>,
    found: Once,
}

/// So many small batches without memory are no accident.
const ENOUGH: usize = 3;

impl Budget {
    /// One that is known.
    pub(crate) fn of(limits: Limits) -> Self {
        let tokens = AtomicUsize::new(limits.tokens);
        Self { limits, tokens, small: AtomicUsize::new(0), find: None, found: Once::new() }
    }

    /// One that is found out at the first call that is larger than this one.
    pub(crate) fn to_find(limits: Limits, find: Find) -> Self {
        Self { find: Some(find), ..Self::of(limits) }
    }

    /// What a batch may be now.
    pub(crate) fn limits(&self) -> Limits {
        // Nothing else depends on what is read here.
        Limits { tokens: self.tokens.load(Ordering::Relaxed), ..self.limits }
    }

    /// What a batch of a call of so many tokens may be.
    pub(crate) fn for_call(&self, tokens: usize) -> Limits {
        if let Some(find) = &self.find
            && tokens > self.limits.tokens
        {
            self.found.call_once(|| {
                // Whoever asked is to be answered, whatever becomes of this.
                let best = catch_unwind(AssertUnwindSafe(find)).ok().flatten();
                if let Some(best) = best {
                    // Unless it has become smaller meanwhile.
                    let (usual, best) = (self.limits.tokens, best.max(1));
                    let order = Ordering::Relaxed;
                    self.tokens.compare_exchange(usual, best, order, order).ok();
                }
            });
        }
        self.limits()
    }

    /// There was no memory for a batch of so many tokens. Says what batches may be now.
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
