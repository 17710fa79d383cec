//! Weight of the next batch of a node, derived from the time of its earlier batches.
//!
//! A batch of fixed size takes milliseconds on one device and minutes on another. Documents leave
//! the node when their batch is done, so the size of a batch bounds the delay of progress reports
//! and the work that an interruption has to finish
//! (`docs/adr/0027-batch-windows-and-cli-output.md`). Results do not depend on it.
//!
//! This module reads no clock; callers pass all times.

use std::time::{Duration, Instant};

use crate::Gather;

/// Target duration of a batch.
const AIM: Duration = Duration::from_secs(2);

/// Largest factor between the weights of consecutive batches.
const STEP: usize = 4;

/// Weight of the next batch of a node.
pub(crate) struct Window {
    weight: usize,
    least: usize,
    most: usize,
    adapts: bool,
    /// End of the previous batch.
    done: Option<Instant>,
}

impl Window {
    pub(crate) fn of(gather: &Gather) -> Self {
        let most = gather.at_least.max(1);
        let first = gather.first.unwrap_or(most).clamp(1, most);
        let adapts = gather.first.is_some();
        let least = if adapts { (first / STEP).max(1) } else { most };
        Self { weight: first, least, most, adapts, done: None }
    }

    /// Weight of the next batch.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    /// `true` if the weight adapts, so that batches are split to keep to it.
    pub(crate) fn adapts(&self) -> bool {
        self.adapts
    }

    /// Records the time of a batch of this weight. Called in the order of the batches; if two
    /// batches overlap, the time of the later one counts from the end of the earlier one.
    pub(crate) fn took(&mut self, weight: usize, began: Instant, done: Instant) {
        let since = self.done.map_or(began, |before| before.max(began));
        self.done = Some(self.done.map_or(done, |before| before.max(done)));
        if self.adapts {
            self.weight = next(self.weight, weight, done.saturating_duration_since(since))
                .clamp(self.least, self.most);
        }
    }
}

/// The next weight, if a batch of weight `found` took `time` and `asked` was allowed.
fn next(asked: usize, found: usize, time: Duration) -> usize {
    let (aim, seconds) = (AIM.as_secs_f64(), time.as_secs_f64());
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
    fits.clamp(asked / STEP, asked.saturating_mul(STEP))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(first: Option<usize>, most: usize) -> Window {
        Window::of(&Gather { at_least: most, weight: |_| 0, first, hold: None })
    }

    /// Weights on a device that takes `batch` seconds per batch and `unit` seconds per unit.
    fn weights(first: usize, most: usize, unit: f64, batch: f64, count: usize) -> Vec<usize> {
        let mut window = window(Some(first), most);
        let mut now = Instant::now();
        let mut weights = Vec::new();
        for _ in 0..count {
            let weight = window.weight();
            let took = Duration::from_secs_f64(batch + unit * weight as f64);
            window.took(weight, now, now + took);
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
        window.took(2048, now, now + Duration::from_secs(60));
        assert_eq!((window.weight(), window.adapts()), (2048, false));
    }

    #[test]
    fn of_two_in_work_at_once_the_later_counts_from_the_end_of_the_first() {
        let mut window = window(Some(100), 10_000);
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs_f64(seconds);
        window.took(100, at(0.0), at(2.0));
        // It started with the first batch and used the device for two seconds.
        window.took(100, at(0.0), at(4.0));
        assert_eq!(window.weight(), 100);
        // A batch that the source left small does not predict the time of a large one.
        window.took(3, at(4.0), at(4.1));
        assert_eq!(window.weight(), 100);
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
            let least = (first / STEP).max(1);
            prop_assert!(weights.iter().all(|&weight| (least..=most).contains(&weight)));
            let last = *weights.last().unwrap();
            let took = batch + last as f64 / units_a_second;
            prop_assert!(took <= 3.2 || last <= least.max(4), "{took} s for {last}");
            prop_assert!(took >= 1.2 || last == most || last <= 8, "{took} s for {last}");
        }
    }
}
