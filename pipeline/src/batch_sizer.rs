//! Weight of the next batch of a node, derived from the time of its earlier batches.
//!
//! A batch of fixed size takes milliseconds on one device and minutes on another. Documents leave
//! the node when their batch is done, so the size of a batch bounds the delay of progress reports
//! and the work that an interruption has to finish
//! (`docs/adr/0027-batch-windows-and-cli-output.md`). Results do not depend on it.
//!
//! This module reads no clock; callers pass all times.

use std::time::{Duration, Instant};

use crate::BatchPolicy;

/// Target duration of a batch.
const TARGET_DURATION: Duration = Duration::from_secs(2);

/// Largest factor between the weights of consecutive batches.
const MAX_STEP_FACTOR: usize = 4;

/// Weight of the next batch of a node.
pub(crate) struct BatchSizer {
    target: usize,
    min: usize,
    max: usize,
    is_adaptive: bool,
    /// End of the previous batch.
    last_finished: Option<Instant>,
}

impl BatchSizer {
    pub(crate) fn new(gather: &BatchPolicy) -> Self {
        let most = gather.target_weight.max(1);
        let first = gather.initial_weight.unwrap_or(most).clamp(1, most);
        let adapts = gather.initial_weight.is_some();
        let least = if adapts { (first / MAX_STEP_FACTOR).max(1) } else { most };
        Self { target: first, min: least, max: most, is_adaptive: adapts, last_finished: None }
    }

    /// Weight of the next batch.
    pub(crate) fn target(&self) -> usize {
        self.target
    }

    /// `true` if the weight adapts, so that batches are split to keep to it.
    pub(crate) fn is_adaptive(&self) -> bool {
        self.is_adaptive
    }

    /// Records the time of a batch of this weight. Called in the order of the batches; if two
    /// batches overlap, the time of the later one counts from the end of the earlier one.
    pub(crate) fn record(&mut self, weight: usize, began: Instant, done: Instant) {
        let since = self.last_finished.map_or(began, |before| before.max(began));
        self.last_finished = Some(self.last_finished.map_or(done, |before| before.max(done)));
        if self.is_adaptive {
            self.target = next_target(self.target, weight, done.saturating_duration_since(since))
                .clamp(self.min, self.max);
        }
    }
}

/// The next weight, if a batch of weight `found` took `time` and `asked` was allowed.
fn next_target(asked: usize, found: usize, time: Duration) -> usize {
    let (aim, seconds) = (TARGET_DURATION.as_secs_f64(), time.as_secs_f64());
    let is_quick = seconds < aim * 0.75;
    // A quick batch that was not full does not predict the time of a full one.
    if (is_quick && found < asked / 2) || (!is_quick && seconds <= aim * 1.5) {
        return asked;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "saturates and is clamped"
    )]
    let fits = (found as f64 * aim / seconds.max(1e-6)) as usize;
    fits.clamp(asked / MAX_STEP_FACTOR, asked.saturating_mul(MAX_STEP_FACTOR))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(first: Option<usize>, most: usize) -> BatchSizer {
        BatchSizer::new(&BatchPolicy {
            target_weight: most,
            weight: |_| 0,
            initial_weight: first,
            idle_weight: None,
            max_wait: None,
        })
    }

    /// Weights on a device that takes `batch` seconds per batch and `unit` seconds per unit.
    fn weights(first: usize, most: usize, unit: f64, batch: f64, count: usize) -> Vec<usize> {
        let mut window = window(Some(first), most);
        let mut now = Instant::now();
        let mut weights = Vec::new();
        for _ in 0..count {
            let weight = window.target();
            let took = Duration::from_secs_f64(batch + unit * weight as f64);
            window.record(weight, now, now + took);
            now += took;
            weights.push(weight);
        }
        weights
    }

    #[test]
    fn a_fast_device_gets_all_it_may_have_and_a_slow_one_two_seconds() {
        assert_eq!(weights(16, 1024, 1e-6, 1e-3, 5), [16, 64, 256, 1024, 1024]);
        // 128 units per second.
        assert_eq!(weights(16, 1024, 1.0 / 128.0, 0.0, 4), [16, 64, 256, 256]);
        // Two seconds per unit: the minimum is a quarter of the first weight.
        assert_eq!(weights(16, 1024, 2.0, 0.0, 3), [16, 4, 4]);
    }

    #[test]
    fn a_fixed_weight_stays() {
        let mut window = window(None, 2048);
        let now = Instant::now();
        window.record(2048, now, now + Duration::from_secs(60));
        assert_eq!((window.target(), window.is_adaptive()), (2048, false));
    }

    #[test]
    fn of_two_in_work_at_once_the_later_counts_from_the_end_of_the_first() {
        let mut window = window(Some(100), 10_000);
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs_f64(seconds);
        window.record(100, at(0.0), at(2.0));
        // It started with the first batch and used the device for two seconds.
        window.record(100, at(0.0), at(4.0));
        assert_eq!(window.target(), 100);
        // A batch that the source left small does not predict the time of a large one.
        window.record(3, at(4.0), at(4.1));
        assert_eq!(window.target(), 100);
    }

    proptest! {
        /// The weight stays within its bounds; on a device of constant speed, batches converge to
        /// about two seconds unless a bound prevents it.
        #[test]
        fn batches_come_to_take_two_seconds(
            first in 1_usize..200,
            more in 0_usize..20_000,
            units_a_second in 1.0..1e6_f64,
            batch in 0.0..0.2_f64,
        ) {
            let most = first + more;
            let weights = weights(first, most, 1.0 / units_a_second, batch, 40);
            let least = (first / MAX_STEP_FACTOR).max(1);
            prop_assert!(weights.iter().all(|&weight| (least..=most).contains(&weight)));
            let last = *weights.last().unwrap();
            let took = batch + last as f64 / units_a_second;
            prop_assert!(took <= 3.2 || last <= least.max(4), "{took} s for {last}");
            prop_assert!(took >= 1.2 || last == most || last <= 8, "{took} s for {last}");
        }
    }
}
