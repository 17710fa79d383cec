//! The token budget of a model, shared by all its threads.
//!
//! The budget is fixed, or found by a probe at the first call with enough work. It shrinks when a
//! device runs out of memory on a batch near the budget, or repeatedly on smaller ones, and never
//! grows again. A single failure of a small batch says more about other users of the memory than
//! about batch sizes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::batcher::BatchLimits;

/// Probes for the best number of tokens; `None` if the probe failed.
pub(crate) type BudgetProbe = Box<dyn Fn() -> Option<usize> + Send + Sync>;

pub(crate) struct TokenBudget {
    limits: BatchLimits,
    tokens: AtomicUsize,
    /// Small batches that ran out of memory since the budget last shrank.
    small_failures: AtomicUsize,
    probe: Option<BudgetProbe>,
    probed: Once,
}

/// Failures of small batches after which the budget shrinks.
const MAX_SMALL_FAILURES: usize = 3;

impl TokenBudget {
    /// A fixed budget.
    pub(crate) fn fixed(limits: BatchLimits) -> Self {
        let tokens = AtomicUsize::new(limits.max_tokens);
        Self {
            limits,
            tokens,
            small_failures: AtomicUsize::new(0),
            probe: None,
            probed: Once::new(),
        }
    }

    /// A budget that is probed at the first call with more than `limits.tokens` tokens.
    pub(crate) fn probed(limits: BatchLimits, find: BudgetProbe) -> Self {
        Self { probe: Some(find), ..Self::fixed(limits) }
    }

    /// The current limits of a batch.
    pub(crate) fn limits(&self) -> BatchLimits {
        // Relaxed: no other memory access depends on this value.
        BatchLimits { max_tokens: self.tokens.load(Ordering::Relaxed), ..self.limits }
    }

    /// The limits for a call with this many tokens; the first large call runs the probe.
    pub(crate) fn for_call(&self, tokens: usize) -> BatchLimits {
        if let Some(find) = &self.probe
            && tokens > self.limits.max_tokens
        {
            self.probed.call_once(|| {
                // A panic of the probe must not fail the call.
                let best = catch_unwind(AssertUnwindSafe(find)).ok().flatten();
                if let Some(best) = best {
                    // Unless the budget shrank during the probe.
                    let (usual, best) = (self.limits.max_tokens, best.max(1));
                    let order = Ordering::Relaxed;
                    self.tokens.compare_exchange(usual, best, order, order).ok();
                }
            });
        }
        self.limits()
    }

    /// Records that a batch of `tokens` ran out of memory. Returns the new budget.
    pub(crate) fn shrink(&self, tokens: usize) -> usize {
        let order = Ordering::Relaxed;
        let now = self.tokens.load(order);
        if tokens < now / 2 && self.small_failures.fetch_add(1, order) + 1 < MAX_SMALL_FAILURES {
            return now;
        }
        self.small_failures.store(0, order);
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
        let limits = BatchLimits { max_tokens: 100, max_padding_percent: 2, token_multiple: 1 };
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let find = move || {
            count.fetch_add(1, Ordering::Relaxed);
            Some(700)
        };
        let budget = TokenBudget::probed(limits, Box::new(find));
        assert_eq!(budget.for_call(100), limits);
        assert_eq!(asked.load(Ordering::Relaxed), 0);
        assert_eq!(budget.for_call(101), BatchLimits { max_tokens: 700, ..limits });
        assert_eq!(budget.for_call(101), BatchLimits { max_tokens: 700, ..limits });
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert_eq!(budget.shrink(700), 350);
        assert_eq!(budget.shrink(1000), 350);
        assert_eq!(budget.for_call(5000).max_tokens, 350);
    }

    #[test]
    fn a_small_batch_makes_it_smaller_only_again_and_again() {
        let budget = TokenBudget::fixed(BatchLimits {
            max_tokens: 100,
            max_padding_percent: 0,
            token_multiple: 1,
        });
        assert_eq!(budget.shrink(10), 100);
        assert_eq!(budget.shrink(12), 100);
        assert_eq!(budget.shrink(60), 30);
        assert_eq!([8, 8, 8].map(|tokens| budget.shrink(tokens)), [30, 30, 4]);
    }

    #[test]
    fn what_became_smaller_is_not_found_out_to_be_larger() {
        let limits = BatchLimits { max_tokens: 100, max_padding_percent: 0, token_multiple: 1 };
        let budget = TokenBudget::probed(limits, Box::new(|| Some(700)));
        budget.shrink(80);
        assert_eq!(budget.for_call(5000).max_tokens, 40);
        let budget = TokenBudget::probed(limits, Box::new(|| panic!("no kernel")));
        assert_eq!(budget.for_call(5000).max_tokens, 100);
    }
}
