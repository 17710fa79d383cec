//! Limits concurrent writes by additive increase and multiplicative decrease (Chiu and Jain 1989):
//! the limit is halved when the server is overloaded, and raised by one after as many successes as
//! the limit.

use std::sync::Mutex;

use pipeline::lock;

use tokio::sync::{Semaphore, SemaphorePermit};

/// An adaptive limit of concurrent writes.
pub(super) struct WriteLimiter {
    permits: Semaphore,
    max: usize,
    state: Mutex<LimiterState>,
}

struct LimiterState {
    /// Current limit.
    limit: usize,
    /// Permits above the limit, held by writes that started before the limit fell.
    surplus: usize,
    /// Successes since the limit last changed.
    successes: usize,
}

impl WriteLimiter {
    /// Starts with the largest limit.
    pub(super) fn new(most: usize) -> Self {
        let state = LimiterState { limit: most, surplus: 0, successes: 0 };
        Self { permits: Semaphore::new(most), max: most, state: Mutex::new(state) }
    }

    /// Waits for a permit.
    pub(super) async fn acquire(&self) -> SemaphorePermit<'_> {
        self.permits.acquire().await.expect("the semaphore is never closed")
    }

    /// Returns a permit and reports whether the server was overloaded.
    pub(super) fn release(&self, permit: SemaphorePermit<'_>, congested: bool) {
        let mut state = lock(&self.state);
        let mut permit = Some(permit);
        if congested {
            let limit = (state.limit / 2).max(1);
            state.surplus += state.limit - limit;
            state.limit = limit;
            state.successes = 0;
            state.surplus -= self.permits.forget_permits(state.surplus);
        } else {
            state.successes += 1;
            if state.successes >= state.limit && state.limit < self.max {
                state.limit += 1;
                state.successes = 0;
                if state.surplus > 0 { state.surplus -= 1 } else { self.permits.add_permits(1) }
            }
        }
        if state.surplus > 0 {
            state.surplus -= 1;
            permit.take().expect("given above").forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Acquire,
        Release { congested: bool },
    }

    proptest! {
        #[test]
        fn there_are_as_many_places_as_the_limit_says(
            most in 1_usize..16,
            steps in prop::collection::vec(
                prop_oneof![
                    Just(Step::Acquire),
                    any::<bool>().prop_map(|congested| Step::Release { congested }),
                ],
                0..200,
            ),
        ) {
            let limiter = WriteLimiter::new(most);
            let mut taken = Vec::new();
            for step in steps {
                match step {
                    Step::Acquire => taken.extend(limiter.permits.try_acquire().ok()),
                    Step::Release { congested } => {
                        if let Some(permit) = taken.pop() {
                            limiter.release(permit, congested);
                        }
                    }
                }
                let state = limiter.state.lock().unwrap();
                prop_assert!((1..=most).contains(&state.limit));
                let places = limiter.permits.available_permits() + taken.len();
                prop_assert_eq!(places, state.limit + state.surplus);
            }
            while let Some(permit) = taken.pop() {
                limiter.release(permit, false);
            }
            let limit = limiter.state.lock().unwrap().limit;
            prop_assert_eq!(limiter.permits.available_permits(), limit);
        }
    }
}
