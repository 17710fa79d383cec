//! Freshness: recently modified documents rank higher.
//!
//! The score of a candidate is multiplied by `1 - weight + weight · 2^(-age / half-life)`: a
//! document of this moment keeps its score, and one of any age keeps a share of `1 - weight`.
//!
//! A document without a date is neutral: it gets the mean factor of the candidates that have one.
//! Neither extreme is right: as if it were new, it would pass every dated document, and as if it
//! were very old, it would be lost. If no candidate has a date, no score changes.

use serde::Serialize;

use crate::request::InvalidRequest;

/// Largest half-life, in seconds: that of a duration of six digits in days.
const MAX_HALF_LIFE: u64 = 999_999 * 86_400;

/// A decay of scores by the age of the document.
///
/// ```
/// use search::{Freshness, Request, SettingsOverrides};
///
/// let freshness = Some(Freshness { half_life: 0, weight: 0.1 });
/// let overrides = SettingsOverrides { freshness, ..SettingsOverrides::default() };
/// let request = Request { overrides, ..Request::new("lease", vec!["handbook".to_owned()]) };
/// let error = request.cost().unwrap_err();
/// assert_eq!(error.to_string(), "invalid `freshness`: expected a half-life of at least 1 second");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Freshness {
    /// Age in seconds at which half of `weight` is left.
    pub half_life: u64,
    /// Share of the score that decays, from 0 (which disables it) to 1.
    pub weight: f32,
}

impl Freshness {
    pub(crate) fn check(&self) -> Result<(), InvalidRequest> {
        let message = if self.half_life == 0 {
            "expected a half-life of at least 1 second".to_owned()
        } else if self.half_life > MAX_HALF_LIFE {
            "expected a half-life of at most 999999 days".to_owned()
        } else if !(0.0..=1.0).contains(&self.weight) {
            format!("expected a weight from 0 to 1, found {}", self.weight)
        } else {
            return Ok(());
        };
        Err(InvalidRequest { field: "freshness", message })
    }

    /// The factor of each candidate, from `1 - weight` to 1. Dates and `now` are in microseconds
    /// since 1970-01-01 UTC; a date in the future counts as now.
    pub(crate) fn factors(&self, dates: &[Option<i64>], now: i64) -> Vec<f32> {
        let factor = |date: i64| {
            #[expect(clippy::cast_precision_loss, reason = "an age needs no microseconds")]
            let (age, half_life) =
                (now.saturating_sub(date).max(0) as f64 / 1e6, self.half_life.max(1) as f64);
            #[expect(clippy::cast_possible_truncation, reason = "from 0 to 1")]
            let share = (-age / half_life).exp2() as f32;
            1.0 - self.weight + self.weight * share
        };
        let factors: Vec<Option<f32>> = dates.iter().map(|date| date.map(factor)).collect();
        let neutral = mean(factors.iter().copied().flatten()).unwrap_or(1.0);
        factors.into_iter().map(|it| it.unwrap_or(neutral)).collect()
    }
}

/// A score after its decay. A negative score, as cosines may be, falls as well.
pub(crate) fn decayed(score: f32, factor: f32) -> f32 {
    score - score.abs() * (1.0 - factor)
}

fn mean(numbers: impl Iterator<Item = f32>) -> Option<f32> {
    let (sum, count) = numbers.fold((0.0, 0.0), |(sum, count), it| (sum + it, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: i64 = 86_400_000_000;
    const NOW: i64 = 20_000 * DAY;

    fn by_days(days: u64, weight: f32) -> Freshness {
        Freshness { half_life: days * 86_400, weight }
    }

    #[test]
    fn half_of_the_weight_is_left_at_the_half_life() {
        let dates = [Some(NOW), Some(NOW - 180 * DAY), Some(NOW - 360 * DAY), Some(0)];
        let factors = by_days(180, 0.4).factors(&dates, NOW);
        for (factor, expected) in factors.iter().zip([1.0, 0.8, 0.7, 0.6]) {
            assert!((factor - expected).abs() < 1e-6, "{factors:?}");
        }
        assert_eq!(by_days(1, 0.5).factors(&[Some(NOW + DAY)], NOW), [1.0]);
    }

    #[test]
    fn a_document_without_a_date_is_neutral() {
        // Between a new and an old document of the same score, not before and not after both.
        let factors = by_days(1, 1.0).factors(&[Some(NOW), None, Some(0)], NOW);
        assert!(factors[0] > factors[1] && factors[1] > factors[2], "{factors:?}");
        assert!((factors[1] - 0.5).abs() < 1e-6, "the mean of the others: {factors:?}");
        assert_eq!(by_days(1, 1.0).factors(&[None, None], NOW), [1.0, 1.0]);
        // In a collection of old documents it does not pass all of them.
        let factors = by_days(1, 0.5).factors(&[Some(0), None], NOW);
        assert_eq!(factors, [0.5, 0.5]);
    }

    proptest! {
        #[test]
        fn older_is_never_better(
            dates in prop::collection::vec(prop::option::of(0..2 * NOW), 0..20),
            score in -1.0_f32..2.0, days in 1_u64..10_000, weight in 0.0_f32..=1.0,
        ) {
            let factors = by_days(days, weight).factors(&dates, NOW);
            for (factor, date) in factors.iter().zip(&dates) {
                prop_assert!((1.0 - weight - 1e-6..=1.0 + 1e-6).contains(factor));
                for (other, later) in factors.iter().zip(&dates) {
                    if date.is_some() && date < later {
                        prop_assert!(factor <= other);
                        prop_assert!(decayed(score, *factor) <= decayed(score, *other));
                    }
                }
            }
        }

        #[test]
        fn without_weight_nothing_changes(
            date in prop::option::of(0..NOW), score in -1.0_f32..2.0,
        ) {
            let factors = by_days(1, 0.0).factors(&[date], NOW);
            prop_assert_eq!(decayed(score, factors[0]), score);
        }
    }
}
