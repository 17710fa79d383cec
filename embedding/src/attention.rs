//! Self-attention over the sequences of a batch, group by group: row ranges of groups, attention
//! masks and rotary embeddings.
//!
//! All sequences of a group have the same length (see `batcher.rs`), so a group needs a padding
//! mask only if it contains padding.

use tch::{Device, Kind, TchError, Tensor};

use crate::batcher::Group;
use crate::device::uploaded;
use crate::layers::{joined, signed};

/// Length from which keys and values are made contiguous first; strided, each row lies on its own
/// memory page. Measured with 12 heads of 64: 13 ms instead of 17 ms at 512 tokens, no gain at 256.
const APART: i64 = 512;

type Result<T = Tensor> = std::result::Result<T, TchError>;

/// The rows of a group in a batch: `start..start + count * length`.
pub(crate) struct Span {
    pub(crate) start: i64,
    pub(crate) count: i64,
    pub(crate) length: i64,
    /// `count × 1 × 1 × length`, true for tokens; `None` without padding.
    pub(crate) mask: Option<Tensor>,
}

impl Span {
    /// Computes the row range of each group. `lengths` are the members' lengths without padding.
    pub(crate) fn of(groups: &[Group], lengths: &[i64], device: Device) -> Result<Vec<Self>> {
        let (mut start, mut member) = (0, 0);
        let mut spans = Vec::with_capacity(groups.len());
        for group in groups {
            let members = &lengths[member..member + group.count];
            member += group.count;
            let (count, length) = (signed(group.count), signed(group.length));
            let mut mask = None;
            if group.padding > 0 {
                let ends = uploaded(members, device)?;
                let positions = Tensor::f_arange(length, (Kind::Int64, device))?;
                mask = Some(positions.f_lt_tensor(&ends.f_view([count, 1, 1, 1])?)?);
            }
            spans.push(Self { start, count, length, mask });
            start += count * length;
        }
        Ok(spans)
    }

    /// The filler tokens of a batch as a sequence.
    pub(crate) fn filling(start: i64, length: i64) -> Self {
        Self { start, count: 1, length, mask: None }
    }

    pub(crate) fn rows(&self) -> i64 {
        self.count * self.length
    }
}

/// The attention mask of every group of a batch.
pub(crate) struct Sight {
    masks: Vec<Option<Tensor>>,
    /// Causal: a token attends to itself and earlier tokens.
    back: bool,
}

impl Sight {
    /// Full attention within each sequence.
    pub(crate) fn all(spans: &[Span]) -> Self {
        Self { masks: spans.iter().map(|span| shared(span.mask.as_ref())).collect(), back: false }
    }

    /// Causal attention. Padding is at the end of a sequence, so no token attends to it.
    pub(crate) fn back(spans: &[Span]) -> Self {
        Self { masks: spans.iter().map(|_| None).collect(), back: true }
    }

    /// Sliding window: a token attends to tokens at most `places` positions away.
    pub(crate) fn near(spans: &[Span], places: i64, device: Device) -> Result<Self> {
        let mask = |span: &Span| {
            if span.length <= places + 1 {
                return Ok(shared(span.mask.as_ref()));
            }
            let near = distances(span.length, device)?.f_abs()?.f_le(places)?;
            span.mask
                .as_ref()
                .map_or(Ok(near.shallow_clone()), |mask| near.f_logical_and(mask))
                .map(Some)
        };
        Ok(Self { masks: spans.iter().map(mask).collect::<Result<_>>()?, back: false })
    }

    /// Full attention with a position bias: `bias` maps distances to `heads × length × length`.
    pub(crate) fn biased(
        spans: &[Span],
        device: Device,
        bias: impl Fn(&Tensor) -> Result,
    ) -> Result<Self> {
        let mask = |span: &Span| {
            // Fast GPU kernels require contiguous rows in the bias.
            let bias = bias(&distances(span.length, device)?)?.f_contiguous()?.f_unsqueeze(0)?;
            match &span.mask {
                None => Ok(Some(bias)),
                Some(mask) => {
                    bias.f_masked_fill(&mask.f_logical_not()?, f64::NEG_INFINITY).map(Some)
                }
            }
        };
        Ok(Self { masks: spans.iter().map(mask).collect::<Result<_>>()?, back: false })
    }
}

fn shared(mask: Option<&Tensor>) -> Option<Tensor> {
    mask.map(Tensor::shallow_clone)
}

/// `length × length`: the column's position minus the row's.
fn distances(length: i64, device: Device) -> Result {
    let places = Tensor::f_arange(length, (Kind::Int64, device))?;
    places.f_unsqueeze(0)?.f_sub(&places.f_unsqueeze(1)?)
}

/// Shape of multi-head attention.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads {
    pub(crate) count: i64,
    /// Heads of keys and values; each serves `count / keys` query heads (grouped-query attention,
    /// Ainslie et al. 2023, <https://arxiv.org/abs/2305.13245>).
    pub(crate) keys: i64,
    pub(crate) width: i64,
}

impl Heads {
    /// Multi-head attention over `width` columns.
    pub(crate) fn sharing(width: usize, count: usize) -> std::result::Result<Self, String> {
        if count == 0 || !width.is_multiple_of(count) {
            return Err(format!("{width} columns cannot be split among {count} attention heads"));
        }
        Ok(Self { count: signed(count), keys: signed(count), width: signed(width / count) })
    }

    /// Splits fused rows into queries, keys and values, each `n × heads × width`.
    pub(crate) fn split(self, qkv: &Tensor) -> Result<[Tensor; 3]> {
        let (all, keys) = (self.count + 2 * self.keys, self.keys);
        let heads = qkv.f_view([-1, all, self.width])?;
        Ok([
            heads.f_narrow(1, 0, self.count)?,
            heads.f_narrow(1, self.count, keys)?,
            heads.f_narrow(1, self.count + keys, keys)?,
        ])
    }

    /// Scaled dot-product attention. The result concatenates the heads' values.
    pub(crate) fn attend(
        self,
        [query, key, value]: &[Tensor; 3],
        spans: &[Span],
        sight: &Sight,
    ) -> Result {
        // In float32, the fast GPU kernel requires one key head per query head.
        let single = query.device().is_cuda() && query.kind() == Kind::Float;
        let spreads = single && self.keys != self.count;
        let attended = spans
            .iter()
            .zip(&sight.masks)
            .map(|(span, mask)| {
                // count × heads × length × width, without a copy.
                let part = |all: &Tensor, heads| {
                    all.f_narrow(0, span.start, span.rows())?
                        .f_view([span.count, span.length, heads, self.width])?
                        .f_transpose(1, 2)
                };
                let together = |all: Tensor| {
                    let all = if spreads {
                        all.f_repeat_interleave_self_int(self.count / self.keys, 1, None)?
                    } else {
                        all
                    };
                    if span.length < APART { Ok(all) } else { all.f_contiguous() }
                };
                Tensor::f_scaled_dot_product_attention(
                    &part(query, self.count)?,
                    &together(part(key, self.keys)?)?,
                    &together(part(value, self.keys)?)?,
                    mask.as_ref(),
                    0.0,
                    sight.back,
                    None,
                    self.keys != self.count && !spreads,
                )?
                .f_transpose(1, 2)?
                .f_reshape([span.rows(), self.count * self.width])
            })
            .collect::<Result<Vec<_>>>()?;
        joined(attended)
    }
}

/// Rotary position embedding (Su et al. 2021, <https://arxiv.org/abs/2104.09864>). Pairs dimension
/// `i` of a head with dimension `i + width / 2`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rotary {
    pub(crate) base: f64,
    pub(crate) width: i64,
}

/// Cosines and sines of the rotation angles of a batch's tokens.
pub(crate) struct Angles {
    cosine: Tensor,
    sine: Tensor,
}

impl Rotary {
    /// Angles at these position ids.
    pub(crate) fn angles(self, places: &Tensor) -> Result<Angles> {
        let single = (Kind::Float, places.device());
        let steps = Tensor::f_arange_start_step(0, self.width, 2, single)?;
        let exponents = steps.f_div_scalar(self.width)?;
        let speeds =
            Tensor::f_scalar_tensor(self.base, single)?.f_pow(&exponents)?.f_reciprocal()?;
        let angles =
            places.f_to_kind(Kind::Float)?.f_unsqueeze(1)?.f_mul(&speeds)?.f_unsqueeze(1)?;
        Ok(Angles { cosine: angles.f_cos()?, sine: angles.f_sin()? })
    }
}

impl Angles {
    /// Rotates `n × heads × width`. Computes in float32 for any model precision: in bfloat16, one
    /// vector in a few dozen changes in its third digit.
    pub(crate) fn turn(&self, heads: &Tensor) -> Result {
        let halves = heads.f_chunk(2, -1)?;
        let (first, second) = (&halves[0], &halves[1]);
        let turned = [
            first.f_mul(&self.cosine)?.f_sub(&second.f_mul(&self.sine)?)?,
            second.f_mul(&self.cosine)?.f_add(&first.f_mul(&self.sine)?)?,
        ];
        Tensor::f_cat(&turned, -1)?.f_to_kind(heads.kind())
    }
}
