//! Plans which sequences share a forward pass.
//!
//! Sequences are sorted by length and packed into batches within a token budget. Within a batch,
//! sequences of equal length form a group. Dense layers process the whole batch as one matrix,
//! since they ignore sequence boundaries; attention and pooling run per group, without a mask,
//! because a group has no padding. On devices where many small kernels cost more than some padding,
//! `slack` lets a group accept slightly shorter sequences and pads them.
//!
//! Pure functions from lengths to indices. The longest sequences come first, so that memory use
//! peaks at the start.

use std::collections::HashMap;

/// Limits of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BatchLimits {
    /// Token budget of a batch, including padding. A single longer sequence is still allowed.
    pub(crate) max_tokens: usize,
    /// Largest share of padding in a padded sequence, in percent.
    pub(crate) max_padding_percent: usize,
    /// Batches are padded with filler tokens to a multiple of this number, small batches to a
    /// multiple of a smaller number. 1 disables filling.
    pub(crate) token_multiple: usize,
}

impl BatchLimits {
    /// Rounds a batch of `tokens` up to its filled size.
    fn round_up(self, tokens: usize) -> usize {
        // The step is limited by the batch size: a short query must not become three times as long.
        let step = self.token_multiple.min(tokens.next_power_of_two() / 4).max(1);
        tokens.next_multiple_of(step)
    }
}

/// Sequences of one forward pass, in groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Indices of the sequences in the caller's list, in group order.
    pub(crate) members: Vec<usize>,
    pub(crate) groups: Vec<Group>,
    /// Filler tokens after the groups; they belong to no sequence.
    pub(crate) filler_tokens: usize,
}

/// Sequences that are computed with a common length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// Number of sequences.
    pub(crate) count: usize,
    /// Tokens per sequence, including padding.
    pub(crate) length: usize,
    /// Padding tokens of the whole group.
    pub(crate) padding: usize,
}

impl Batch {
    /// Tokens of the batch, including padding and filler.
    pub(crate) fn tokens(&self) -> usize {
        self.groups.iter().map(|group| group.count * group.length).sum::<usize>()
            + self.filler_tokens
    }

    /// Padding and filler tokens of the batch.
    pub(crate) fn padding(&self) -> usize {
        self.groups.iter().map(|group| group.padding).sum::<usize>() + self.filler_tokens
    }

    /// Splits the batch into batches with at most half of its members. `lengths` are those of the
    /// caller's list.
    pub(crate) fn split(&self, lengths: &[usize], limits: BatchLimits) -> Vec<Self> {
        let half = self.members.len().div_ceil(2);
        let members = self.members.chunks(half.max(1));
        members
            .flat_map(|members| {
                let own: Vec<usize> = members.iter().map(|&member| lengths[member]).collect();
                let mut batches = plan_batches(&own, limits);
                for member in batches.iter_mut().flat_map(|batch| &mut batch.members) {
                    *member = members[*member];
                }
                batches
            })
            .collect()
    }

    /// Sets the filler for a batch of `tokens`.
    fn with_filler(mut self, tokens: usize, limits: BatchLimits) -> Self {
        self.filler_tokens = limits.round_up(tokens) - tokens;
        self
    }
}

/// Packs sequences of these lengths into batches.
pub(crate) fn plan_batches(lengths: &[usize], limits: BatchLimits) -> Vec<Batch> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&member| std::cmp::Reverse(lengths[member]));

    let mut batches = Vec::new();
    let mut batch = Batch::default();
    let mut tokens = 0;
    for member in order {
        let length = lengths[member];
        let near = |group: &&mut Group| {
            (group.length - length) * 100 <= group.length * limits.max_padding_percent
        };
        let mut group = batch.groups.last_mut().filter(near);
        let takes = group.as_ref().map_or(length, |group| group.length);
        if limits.round_up(tokens + takes) > limits.max_tokens && tokens > 0 {
            batches.push(std::mem::take(&mut batch).with_filler(tokens, limits));
            (tokens, group) = (0, None);
        }
        if let Some(group) = group {
            group.count += 1;
            group.padding += group.length - length;
            tokens += group.length;
        } else {
            batch.groups.push(Group { count: 1, length, padding: 0 });
            tokens += length;
        }
        batch.members.push(member);
    }
    if !batch.members.is_empty() {
        batches.push(batch.with_filler(tokens, limits));
    }
    batches
}

/// The distinct sequences, and for each sequence its index among them.
pub(crate) fn deduplicate<'a>(sequences: &[&'a [u32]]) -> (Vec<&'a [u32]>, Vec<usize>) {
    let mut seen = HashMap::with_capacity(sequences.len());
    let mut different = Vec::new();
    let which = sequences
        .iter()
        .map(|&sequence| {
            *seen.entry(sequence).or_insert_with(|| {
                different.push(sequence);
                different.len() - 1
            })
        })
        .collect();
    (different, which)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_lengths_stand_together() {
        let batches = plan_batches(
            &[3, 5, 3, 5, 9],
            BatchLimits { max_tokens: 16, max_padding_percent: 0, token_multiple: 4 },
        );
        let group = |count, length| Group { count, length, padding: 0 };
        assert_eq!(
            batches,
            [
                Batch {
                    members: vec![4, 1],
                    groups: vec![group(1, 9), group(1, 5)],
                    filler_tokens: 2
                },
                Batch {
                    members: vec![3, 0, 2],
                    groups: vec![group(1, 5), group(2, 3)],
                    filler_tokens: 1
                },
            ]
        );
    }

    proptest! {
        #[test]
        fn every_sequence_once_within_the_limits(
            lengths in prop::collection::vec(1_usize..600, 0..300),
            tokens in 1_usize..5000,
            slack in 0_usize..40,
            fill in 1_usize..70,
        ) {
            let batches = plan_batches(&lengths, BatchLimits { max_tokens: tokens, max_padding_percent: slack, token_multiple: fill });
            let mut members: Vec<usize> = batches.iter().flat_map(|batch| batch.members.clone()).collect();
            members.sort_unstable();
            prop_assert_eq!(members, (0..lengths.len()).collect::<Vec<_>>());
            for batch in &batches {
                prop_assert!(batch.tokens() <= tokens || batch.members.len() == 1);
                let padded: Vec<usize> =
                    batch.groups.iter().flat_map(|group| vec![group.length; group.count]).collect();
                prop_assert_eq!(padded.len(), batch.members.len());
                let mut padding = 0;
                for (&member, padded) in batch.members.iter().zip(padded) {
                    prop_assert!(lengths[member] <= padded);
                    prop_assert!((padded - lengths[member]) * 100 <= slack * padded);
                    padding += padded - lengths[member];
                }
                prop_assert_eq!(batch.padding(), padding + batch.filler_tokens);
                prop_assert!(batch.filler_tokens < fill && batch.filler_tokens * 2 <= batch.tokens());
                // Batches must come in few sizes.
                prop_assert!(batch.tokens() < 4 * fill || batch.tokens().is_multiple_of(fill));
            }
            // No two consecutive batches would have fitted into one.
            for pair in batches.windows(2) {
                let next = lengths[pair[1].members[0]];
                let padded = next * 100 / (100 - slack) + 1;
                prop_assert!(pair[0].tokens() + padded + fill >= tokens);
            }
        }

        #[test]
        fn distinct_keeps_every_sequence(sequences in prop::collection::vec(prop::collection::vec(0_u32..3, 0..4), 0..40)) {
            let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
            let (different, which) = deduplicate(&sequences);
            let back: Vec<&[u32]> = which.iter().map(|&at| different[at]).collect();
            prop_assert_eq!(back, sequences);
            let mut sorted = different.clone();
            sorted.sort_unstable();
            sorted.dedup();
            prop_assert_eq!(sorted.len(), different.len());
        }
    }
}
