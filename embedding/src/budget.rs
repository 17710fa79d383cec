//! How large the batches of a model may be, for all of its threads.
//!
//! A budget is given, or found out by trying when there is enough work for it; it becomes smaller when a device has no
//! memory for a batch, and never larger again.

use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::batcher::Limits;

/// Finds out how many tokens are best.
pub(crate) type Find = Box<dyn Fn() -> Option<usize> + Send + Sync>;

pub(crate) struct Budget {
    limits: Limits,
    tokens: AtomicUsize,
    find: Option<Find>,
    found: Once,
}

impl Budget {
    /// One that is known.
    pub(crate) fn of(limits: Limits) -> Self {
        Self { limits, tokens: AtomicUsize::new(limits.tokens), find: None, found: Once::new() }
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
                if let Some(best) = find() {
                    self.tokens.store(best.max(1), Ordering::Relaxed);
                }
            });
        }
        self.limits()
    }

    /// Lets no batch be larger than this from now on. Says what they may be.
    pub(crate) fn lower(&self, tokens: usize) -> usize {
        let tokens = tokens.max(1);
        self.tokens.fetch_min(tokens, Ordering::Relaxed).min(tokens)
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
        assert_eq!(budget.lower(350), 350);
        assert_eq!(budget.lower(500), 350);
        assert_eq!(budget.for_call(5000).tokens, 350);
    }
}
