//! Probes for the best number of tokens in one forward pass of a device.
//!
//! The best budget is the smallest one that is about as fast as any larger one: memory is shared
//! with other users, and a query waits for one pass. Only devices without a known good budget are
//! probed; a CPU has one (see `device.rs`).
//!
//! Pure: the forward pass is a parameter.

use std::time::Duration;

/// Budgets to try, in this order.
const CANDIDATES: &[usize] = &[4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10];

/// Speed-up that justifies the memory of a larger budget.
const MIN_GAIN: f64 = 1.03;

/// Time limit of the probe.
const MAX_PROBE_TIME: Duration = Duration::from_millis(1500);

/// The best budget; `None` if even the smallest fails. `pass` runs a forward pass of so many tokens
/// and returns its time; an error means that the budget is too large.
pub(crate) fn best_budget<E>(mut pass: impl FnMut(usize) -> Result<Duration, E>) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    let mut spent = Duration::ZERO;
    for &tokens in CANDIDATES {
        // The first pass of a size allocates memory and compiles kernels, so only the second is
        // measured.
        let Ok(first) = pass(tokens) else { break };
        let Ok(second) = pass(tokens) else { break };
        spent += first + second;
        let rate = tokens as f64 / second.as_secs_f64().max(1e-9);
        match best {
            Some((_, before)) if rate < before * MIN_GAIN => break,
            _ => best = Some((tokens, rate)),
        }
        if spent >= MAX_PROBE_TIME {
            break;
        }
    }
    best.map(|(tokens, _)| tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Simulates a device with a cost per pass and per token, and a memory limit in tokens.
    fn found(pass: f64, token: f64, memory: usize) -> (Option<usize>, Duration) {
        let mut spent = Duration::ZERO;
        let best = best_budget(|tokens| {
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
        // Without a cost per pass, the smallest budget is as good as any.
        assert_eq!(found(0.0, 1e-6, usize::MAX).0, Some(4 << 10));
        // One millisecond per pass: from 16 thousand tokens on, doubling gains at most 3 %.
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
