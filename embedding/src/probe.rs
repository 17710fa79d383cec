//! How many tokens a device wants in one forward pass, found out by trying.
//!
//! A budget is good if a larger one is no faster: memory is for others too, and a question waits for one pass. Only
//! devices whose good budget is not known beforehand are probed, which a CPU's is (see `device.rs`).
//!
//! Pure: what is tried is a function.

use std::time::Duration;

/// Budgets that are tried, in this order.
const CANDIDATES: &[usize] = &[4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10];

/// A larger budget must be faster by this factor to be worth its memory.
const GAIN: f64 = 1.03;

/// Trying ends when it has taken this long.
const PATIENCE: Duration = Duration::from_millis(1500);

/// The best budget, if there is one. `pass` makes a forward pass of so many tokens and says how long it took; what it
/// fails at is too large.
pub(crate) fn find<E>(mut pass: impl FnMut(usize) -> Result<Duration, E>) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    let mut spent = Duration::ZERO;
    for &tokens in CANDIDATES {
        // The first pass of a size finds its memory and its kernels, and says little.
        let Ok(first) = pass(tokens) else { break };
        let Ok(second) = pass(tokens) else { break };
        spent += first + second;
        let rate = tokens as f64 / second.as_secs_f64().max(1e-9);
        match best {
            Some((_, before)) if rate < before * GAIN => break,
            _ => best = Some((tokens, rate)),
        }
        if spent >= PATIENCE {
            break;
        }
    }
    best.map(|(tokens, _)| tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device with a cost for each pass and for each token, and so much memory.
    fn found(pass: f64, token: f64, memory: usize) -> (Option<usize>, Duration) {
        let mut spent = Duration::ZERO;
        let best = find(|tokens| {
            if tokens > memory {
                return Err("out of memory");
            }
            let took = Duration::from_secs_f64(pass + token * tokens as f64);
            spent += took;
            Ok(took)
        });
        (best, spent)
    }

    #[test]
    fn the_smallest_budget_that_is_as_fast() {
        // Passes cost nothing: the smallest is as good as any.
        assert_eq!(found(0.0, 1e-6, usize::MAX).0, Some(4 << 10));
        // A millisecond each: from 16 thousand on, twice as many tokens gain 3 % and less.
        assert_eq!(found(1e-3, 1e-6, usize::MAX).0, Some(16 << 10));
        assert_eq!(found(1.0, 1e-9, usize::MAX).0, Some(4 << 10));
    }

    #[test]
    fn what_does_not_fit_is_not_taken() {
        assert_eq!(found(1e-2, 1e-8, 20_000).0, Some(16 << 10));
        assert_eq!(found(1e-2, 1e-8, 1000).0, None);
    }

    #[test]
    fn a_slow_device_is_not_tried_for_long() {
        let (best, spent) = found(0.0, 1e-4, usize::MAX);
        assert_eq!(best, Some(4 << 10));
        assert!(spent < Duration::from_secs(3));
    }
}
