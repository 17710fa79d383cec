//! Self-attention over the sequences of a batch, group by group: row ranges of groups, attention
//! masks and rotary embeddings.
//!
//! All sequences of a group have the same length (see `batcher.rs`), so a group needs a padding
//! mask only if it contains padding.

use tch::{Device, Kind, TchError, Tensor};

use crate::batcher::Group;
use crate::device::upload;
use crate::layers::{concat, to_i64};

/// Length from which keys and values are made contiguous first; strided, each row lies on its own
/// memory page. Measured with 12 heads of 64: 13 ms instead of 17 ms at 512 tokens, no gain at 256.
const MIN_CONTIGUOUS_LENGTH: i64 = 512;

type TchResult<T = Tensor> = Result<T, TchError>;

/// The rows of a group in a batch: `start..start + count * length`.
pub(crate) struct GroupSpan {
    pub(crate) start: i64,
    pub(crate) count: i64,
    pub(crate) length: i64,
    /// `count × 1 × 1 × length`, true for tokens; `None` without padding.
    pub(crate) mask: Option<Tensor>,
}

impl GroupSpan {
    /// Computes the row range of each group. `lengths` are the members' lengths without padding.
    pub(crate) fn from_groups(
        groups: &[Group],
        lengths: &[i64],
        device: Device,
    ) -> TchResult<Vec<Self>> {
        let (mut start, mut member) = (0, 0);
        let mut spans = Vec::with_capacity(groups.len());
        for group in groups {
            let members = &lengths[member..member + group.count];
            member += group.count;
            let (count, length) = (to_i64(group.count), to_i64(group.length));
            let mut mask = None;
            if group.padding > 0 {
                let ends = upload(members, device)?;
                let positions = Tensor::f_arange(length, (Kind::Int64, device))?;
                mask = Some(positions.f_lt_tensor(&ends.f_view([count, 1, 1, 1])?)?);
            }
            spans.push(Self { start, count, length, mask });
            start += count * length;
        }
        Ok(spans)
    }

    /// The filler tokens of a batch as a sequence.
    pub(crate) fn filler(start: i64, length: i64) -> Self {
        Self { start, count: 1, length, mask: None }
    }

    pub(crate) fn rows(&self) -> i64 {
        self.count * self.length
    }
}

/// The attention mask of every group of a batch.
pub(crate) struct AttentionMask {
    masks: Vec<Option<Tensor>>,
    /// Causal: a token attends to itself and earlier tokens.
    causal: bool,
}

impl AttentionMask {
    /// Full attention within each sequence.
    pub(crate) fn full(spans: &[GroupSpan]) -> Self {
        Self {
            masks: spans.iter().map(|span| shallow_clone(span.mask.as_ref())).collect(),
            causal: false,
        }
    }

    /// Causal attention. Padding is at the end of a sequence, so no token attends to it.
    pub(crate) fn causal(spans: &[GroupSpan]) -> Self {
        Self { masks: spans.iter().map(|_| None).collect(), causal: true }
    }

    /// Sliding window: a token attends to tokens at most `places` positions away.
    pub(crate) fn sliding_window(
        spans: &[GroupSpan],
        places: i64,
        device: Device,
    ) -> TchResult<Self> {
        let mask = |span: &GroupSpan| {
            if span.length <= places + 1 {
                return Ok(shallow_clone(span.mask.as_ref()));
            }
            let near = distances(span.length, device)?.f_abs()?.f_le(places)?;
            span.mask
                .as_ref()
                .map_or(Ok(near.shallow_clone()), |mask| near.f_logical_and(mask))
                .map(Some)
        };
        Ok(Self { masks: spans.iter().map(mask).collect::<TchResult<_>>()?, causal: false })
    }

    /// Full attention with a position bias: `bias` maps distances to `heads × length × length`.
    pub(crate) fn with_bias(
        spans: &[GroupSpan],
        device: Device,
        bias: impl Fn(&Tensor) -> TchResult,
    ) -> TchResult<Self> {
        let mask = |span: &GroupSpan| {
            // Fast GPU kernels require contiguous rows in the bias.
            let bias = bias(&distances(span.length, device)?)?.f_contiguous()?.f_unsqueeze(0)?;
            match &span.mask {
                None => Ok(Some(bias)),
                Some(mask) => {
                    bias.f_masked_fill(&mask.f_logical_not()?, f64::NEG_INFINITY).map(Some)
                }
            }
        };
        Ok(Self { masks: spans.iter().map(mask).collect::<TchResult<_>>()?, causal: false })
    }
}

fn shallow_clone(mask: Option<&Tensor>) -> Option<Tensor> {
    mask.map(Tensor::shallow_clone)
}

/// `length × length`: the column's position minus the row's.
fn distances(length: i64, device: Device) -> TchResult {
    let places = Tensor::f_arange(length, (Kind::Int64, device))?;
    places.f_unsqueeze(0)?.f_sub(&places.f_unsqueeze(1)?)
}

/// Shape of multi-head attention.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLayout {
    pub(crate) query_heads: i64,
    /// Heads of keys and values; each serves `count / keys` query heads (grouped-query attention,
    /// Ainslie et al. 2023, <https://arxiv.org/abs/2305.13245>).
    pub(crate) kv_heads: i64,
    pub(crate) head_dim: i64,
}

impl HeadLayout {
    /// Multi-head attention over `width` columns.
    pub(crate) fn new(width: usize, count: usize) -> Result<Self, String> {
        if count == 0 || !width.is_multiple_of(count) {
            return Err(format!("{width} columns cannot be split among {count} attention heads"));
        }
        Ok(Self {
            query_heads: to_i64(count),
            kv_heads: to_i64(count),
            head_dim: to_i64(width / count),
        })
    }

    /// Splits fused rows into queries, keys and values, each `n × heads × width`.
    pub(crate) fn split(self, qkv: &Tensor) -> TchResult<[Tensor; 3]> {
        let (all, keys) = (self.query_heads + 2 * self.kv_heads, self.kv_heads);
        let heads = qkv.f_view([-1, all, self.head_dim])?;
        Ok([
            heads.f_narrow(1, 0, self.query_heads)?,
            heads.f_narrow(1, self.query_heads, keys)?,
            heads.f_narrow(1, self.query_heads + keys, keys)?,
        ])
    }

    /// Scaled dot-product attention. The result concatenates the heads' values.
    pub(crate) fn attend(
        self,
        [query, key, value]: &[Tensor; 3],
        spans: &[GroupSpan],
        sight: &AttentionMask,
    ) -> TchResult {
        // In float32, the fast GPU kernel requires one key head per query head.
        let single = query.device().is_cuda() && query.kind() == Kind::Float;
        let spreads = single && self.kv_heads != self.query_heads;
        let attended = spans
            .iter()
            .zip(&sight.masks)
            .map(|(span, mask)| {
                // count × heads × length × width, without a copy.
                let part = |all: &Tensor, heads| {
                    all.f_narrow(0, span.start, span.rows())?
                        .f_view([span.count, span.length, heads, self.head_dim])?
                        .f_transpose(1, 2)
                };
                let together = |all: Tensor| {
                    let all = if spreads {
                        all.f_repeat_interleave_self_int(self.query_heads / self.kv_heads, 1, None)?
                    } else {
                        all
                    };
                    if span.length < MIN_CONTIGUOUS_LENGTH { Ok(all) } else { all.f_contiguous() }
                };
                Tensor::f_scaled_dot_product_attention(
                    &part(query, self.query_heads)?,
                    &together(part(key, self.kv_heads)?)?,
                    &together(part(value, self.kv_heads)?)?,
                    mask.as_ref(),
                    0.0,
                    sight.causal,
                    None,
                    self.kv_heads != self.query_heads && !spreads,
                )?
                .f_transpose(1, 2)?
                .f_reshape([span.rows(), self.query_heads * self.head_dim])
            })
            .collect::<TchResult<Vec<_>>>()?;
        concat(attended)
    }
}

/// Rotary position embedding (Su et al. 2021, <https://arxiv.org/abs/2104.09864>). Pairs dimension
/// `i` of a head with dimension `i + width / 2`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RotaryParams {
    pub(crate) theta: f64,
    pub(crate) head_dim: i64,
}

/// Cosines and sines of the rotation angles of a batch's tokens.
pub(crate) struct RotaryEmbedding {
    cosine: Tensor,
    sine: Tensor,
}

impl RotaryParams {
    /// Angles at these position ids.
    pub(crate) fn embedding_for(self, places: &Tensor) -> TchResult<RotaryEmbedding> {
        let single = (Kind::Float, places.device());
        let steps = Tensor::f_arange_start_step(0, self.head_dim, 2, single)?;
        let exponents = steps.f_div_scalar(self.head_dim)?;
        let speeds =
            Tensor::f_scalar_tensor(self.theta, single)?.f_pow(&exponents)?.f_reciprocal()?;
        let angles =
            places.f_to_kind(Kind::Float)?.f_unsqueeze(1)?.f_mul(&speeds)?.f_unsqueeze(1)?;
        Ok(RotaryEmbedding { cosine: angles.f_cos()?, sine: angles.f_sin()? })
    }
}

impl RotaryEmbedding {
    /// Rotates `n × heads × width`. Computes in float32 for any model precision: in bfloat16, one
    /// vector in a few dozen changes in its third digit.
    pub(crate) fn apply(&self, heads: &Tensor) -> TchResult {
        let halves = heads.f_chunk(2, -1)?;
        let (first, second) = (&halves[0], &halves[1]);
        let turned = [
            first.f_mul(&self.cosine)?.f_sub(&second.f_mul(&self.sine)?)?,
            second.f_mul(&self.cosine)?.f_add(&first.f_mul(&self.sine)?)?,
        ];
        Tensor::f_cat(&turned, -1)?.f_to_kind(heads.kind())
    }
}
