//! How sure a mean is, and whether one is really greater than another.
//!
//! Both by drawing again: a bootstrap over the questions gives the interval, and for a difference, the signs of the
//! questions' differences are turned by chance (Fisher's randomisation test, which Smucker, Allan and Carterette,
//! CIKM 2007, recommend for this). Questions are few and scores are far from normal, so no formula is trusted.

use super::chance::Chance;

/// How often is drawn.
const DRAWS: usize = 10_000;

/// Where drawing begins: the same each time.
const SEED: u64 = 0x5e3a_171c;

/// A mean, and where it lies with 95 % certainty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// Two means of the same questions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// How much greater the first is than the second.
    pub difference: Estimate,
    /// How likely a difference as great as this is if there is none.
    pub p: f64,
}

/// The mean of a sample.
pub fn estimate(sample: &[f64]) -> Estimate {
    let mean = mean(sample);
    if sample.is_empty() {
        return Estimate { mean, low: mean, high: mean };
    }
    let mut chance = Chance::new(SEED);
    let mut means: Vec<f64> = (0..DRAWS)
        .map(|_| {
            let drawn = (0..sample.len()).map(|_| sample[chance.below(sample.len())]);
            drawn.sum::<f64>() / count(sample)
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |share: usize| means[(DRAWS - 1) * share / 1000];
    Estimate { mean, low: at(25), high: at(975) }
}

/// Compares two samples of the same questions.
///
/// # Panics
/// If they are not of the same length.
pub fn compare(first: &[f64], second: &[f64]) -> Comparison {
    assert_eq!(first.len(), second.len(), "they are of the same questions");
    let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| a - b).collect();
    let found = mean(&differences).abs();
    let mut chance = Chance::new(SEED);
    let as_great = (0..DRAWS).filter(|_| {
        let (mut signs, mut left) = (0, 0);
        let turned = differences.iter().map(|difference| {
            if left == 0 {
                (signs, left) = (chance.bits(), 64);
            }
            let turned = if signs & 1 == 1 { -difference } else { *difference };
            (signs, left) = (signs >> 1, left - 1);
            turned
        });
        // As great but for the order of adding.
        (turned.sum::<f64>() / count(&differences)).abs() >= found - 1e-12
    });
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let p = (as_great.count() + 1) as f64 / (DRAWS + 1) as f64;
    Comparison { difference: estimate(&differences), p }
}

pub(super) fn mean(sample: &[f64]) -> f64 {
    if sample.is_empty() { 0.0 } else { sample.iter().sum::<f64>() / count(sample) }
}

#[expect(clippy::cast_precision_loss, reason = "questions are few")]
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
        assert!((clear.difference.mean - 0.1).abs() < 1e-12 && clear.p < 0.001);
        let same = compare(&low, &low);
        assert_eq!((same.difference.mean, same.p), (0.0, 1.0));
        let mixed: Vec<f64> = low.iter().zip(0..).map(|(it, n)| it + [0.1, -0.1][n % 2]).collect();
        assert!(compare(&mixed, &low).p > 0.5);
    }

    #[test]
    fn the_interval_is_that_of_the_normal_distribution_where_it_holds() {
        // Zeros and ones, half and half: the standard error of the mean is 0.5 / sqrt(400).
        let sample: Vec<f64> = (0..400).map(|n| f64::from(n % 2)).collect();
        let Estimate { mean, low, high } = estimate(&sample);
        assert_eq!(mean, 0.5);
        let half = 1.96 * 0.5 / 20.0;
        assert!((mean - low - half).abs() < 0.005 && (high - mean - half).abs() < 0.005);
        assert_eq!(estimate(&sample), estimate(&sample), "the same twice");
    }
}
