//! Confidence intervals of means, and tests of differences.
//!
//! Intervals come from a bootstrap over the queries; differences are tested by randomly flipping
//! the signs of the per-query differences (Fisher's randomisation test, recommended by Smucker,
//! Allan and Carterette, CIKM 2007). Samples are small and scores far from normally distributed, so
//! no closed formula is used.

use pipeline::SplitMix64;

/// Number of resamples.
const RESAMPLES: usize = 10_000;

/// Fixed seed, for reproducible results.
const SEED: u64 = 0x5e3a_171c;

/// A mean with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Lower bound of the interval.
    pub low: f64,
    /// Upper bound of the interval.
    pub high: f64,
}

/// Comparison of two means over the same queries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// First mean minus second mean.
    pub difference: Estimate,
    /// Probability of a difference at least this large if both means are equal.
    pub p_value: f64,
}

/// Mean and confidence interval of a sample; all are 0 for an empty one.
///
/// ```
/// use search::evaluation::estimate;
///
/// let scores = [0.2, 0.9, 0.4, 0.7, 0.3, 0.8];
/// let estimate = estimate(&scores);
/// assert!((estimate.mean - 0.55).abs() < 1e-9);
/// assert!(estimate.low < 0.45 && estimate.high > 0.65, "six queries are few");
/// ```
pub fn estimate(sample: &[f64]) -> Estimate {
    let mean = mean(sample);
    if sample.is_empty() {
        return Estimate { mean, low: mean, high: mean };
    }
    let mut chance = SplitMix64::new(SEED);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let drawn = (0..sample.len()).map(|_| sample[chance.below(sample.len())]);
            drawn.sum::<f64>() / count(sample)
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |share: usize| means[(RESAMPLES - 1) * share / 1000];
    Estimate { mean, low: at(25), high: at(975) }
}

/// Compares two samples over the same queries.
///
/// # Panics
/// If they differ in length.
///
/// ```
/// use search::evaluation::compare;
///
/// let before = [0.2, 0.9, 0.4, 0.7, 0.3, 0.8, 0.5, 0.6];
/// let after = before.map(|score| score + 0.1);
/// let comparison = compare(&after, &before);
/// assert!((comparison.difference.mean - 0.1).abs() < 1e-9);
/// // Only two of the 256 ways to flip the signs give a difference this large.
/// assert!((comparison.p_value - 2.0 / 256.0).abs() < 0.005);
/// ```
pub fn compare(first: &[f64], second: &[f64]) -> Comparison {
    assert_eq!(first.len(), second.len(), "the samples have the same queries");
    let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| a - b).collect();
    let found = mean(&differences).abs();
    let mut chance = SplitMix64::new(SEED);
    let as_great = (0..RESAMPLES).filter(|_| {
        let (mut signs, mut left) = (0, 0);
        let turned = differences.iter().map(|difference| {
            if left == 0 {
                (signs, left) = (chance.next_u64(), 64);
            }
            let turned = if signs & 1 == 1 { -difference } else { *difference };
            (signs, left) = (signs >> 1, left - 1);
            turned
        });
        // The tolerance allows for the order of floating-point additions.
        (turned.sum::<f64>() / count(&differences)).abs() >= found - 1e-12
    });
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let p = (as_great.count() + 1) as f64 / (RESAMPLES + 1) as f64;
    Comparison { difference: estimate(&differences), p_value: p }
}

pub(super) fn mean(sample: &[f64]) -> f64 {
    if sample.is_empty() { 0.0 } else { sample.iter().sum::<f64>() / count(sample) }
}

#[expect(clippy::cast_precision_loss, reason = "queries are few")]
fn count(sample: &[f64]) -> f64 {
    sample.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_clear_is_told_from_chance() {
        let low: Vec<f64> = (0..100).map(|n| f64::from(n % 10) / 20.0).collect();
        let high: Vec<f64> = low.iter().map(|score| score + 0.1).collect();
        let clear = compare(&high, &low);
        assert!((clear.difference.mean - 0.1).abs() < 1e-12 && clear.p_value < 0.001);
        let same = compare(&low, &low);
        assert_eq!((same.difference.mean, same.p_value), (0.0, 1.0));
        let mixed: Vec<f64> = low.iter().zip(0..).map(|(it, n)| it + [0.1, -0.1][n % 2]).collect();
        assert!(compare(&mixed, &low).p_value > 0.5);
    }

    #[test]
    fn the_interval_is_that_of_the_normal_distribution_where_it_holds() {
        // Half zeros, half ones: the standard error of the mean is 0.5 / sqrt(400).
        let sample: Vec<f64> = (0..400).map(|n| f64::from(n % 2)).collect();
        let Estimate { mean, low, high } = estimate(&sample);
        assert_eq!(mean, 0.5);
        let half = 1.96 * 0.5 / 20.0;
        assert!((mean - low - half).abs() < 0.005 && (high - mean - half).abs() < 0.005);
        assert_eq!(estimate(&sample), estimate(&sample), "the result is reproducible");
    }
}
