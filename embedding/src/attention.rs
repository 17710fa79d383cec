//! Attention of every sequence of a batch with itself, group by group, and what belongs to it: where groups
//! stand, what a token may look at, and positions that are told by turning.
//!
//! A group has sequences of one length (see `batcher.rs`), so it needs no mask for its padding unless it has some.

use tch::{Device, Kind, TchError, Tensor};

use crate::batcher::Group;
use crate::device::uploaded;
use crate::layers::{joined, signed};

/// From this length on, keys and values are copied together before they are used: a row of each is in a page of memory of
/// its own otherwise. Measured with 12 heads of 64: 13 ms instead of 17 at 512 tokens, but no gain at 256.
const APART: i64 = 512;

type Result<T = Tensor> = std::result::Result<T, TchError>;

/// A group of a batch, with where it stands.
pub(crate) struct Span {
    pub(crate) start: i64,
    pub(crate) count: i64,
    pub(crate) length: i64,
    /// `count × 1 × 1 × length`, true where there is a token; `None` where there is no padding.
    pub(crate) mask: Option<Tensor>,
}

impl Span {
    /// Finds the rows of each group. `lengths` are those of the members, without padding.
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

    /// What fills a batch, as if it were a sequence.
    pub(crate) fn filling(start: i64, length: i64) -> Self {
        Self { start, count: 1, length, mask: None }
    }

    pub(crate) fn rows(&self) -> i64 {
        self.count * self.length
    }
}

/// What each token may look at, in every group of a batch.
pub(crate) struct Sight {
    masks: Vec<Option<Tensor>>,
    /// Only at itself and what stands before it.
    back: bool,
}

impl Sight {
    /// At all tokens of its sequence.
    pub(crate) fn all(spans: &[Span]) -> Self {
        Self { masks: spans.iter().map(|span| shared(span.mask.as_ref())).collect(), back: false }
    }

    /// At itself and what stands before it. Padding stands behind, so nobody looks at it.
    pub(crate) fn back(spans: &[Span]) -> Self {
        Self { masks: spans.iter().map(|_| None).collect(), back: true }
    }

    /// At those that are at most so many places away.
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

    /// At all tokens, more or less by where they stand: `bias` gives `heads × length × length` from the distances.
    pub(crate) fn biased(
        spans: &[Span],
        device: Device,
        bias: impl Fn(&Tensor) -> Result,
    ) -> Result<Self> {
        let mask = |span: &Span| {
            // GPUs have fast kernels only for a bias whose rows lie together.
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

/// `length × length`: how far the token of the column stands behind that of the row.
fn distances(length: i64, device: Device) -> Result {
    let places = Tensor::f_arange(length, (Kind::Int64, device))?;
    places.f_unsqueeze(0)?.f_sub(&places.f_unsqueeze(1)?)
}

/// The heads of a model's attention.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads {
    pub(crate) count: i64,
    /// Heads of keys and values; each serves as many heads of queries as it takes (Ainslie et al. 2023,
    /// <https://arxiv.org/abs/2305.13245>).
    pub(crate) keys: i64,
    pub(crate) width: i64,
}

impl Heads {
    /// So many heads that share these columns.
    pub(crate) fn sharing(width: usize, count: usize) -> std::result::Result<Self, String> {
        if count == 0 || !width.is_multiple_of(count) {
            return Err(format!("{width} columns cannot be shared by {count} attention heads"));
        }
        Ok(Self { count: signed(count), keys: signed(count), width: signed(width / count) })
    }

    /// `n × heads × width`, queries, keys and values, of rows that have all of them side by side.
    pub(crate) fn split(self, qkv: &Tensor) -> Result<[Tensor; 3]> {
        let (all, keys) = (self.count + 2 * self.keys, self.keys);
        let heads = qkv.f_view([-1, all, self.width])?;
        Ok([
            heads.f_narrow(1, 0, self.count)?,
            heads.f_narrow(1, self.count, keys)?,
            heads.f_narrow(1, self.count + keys, keys)?,
        ])
    }

    /// Scaled dot-product attention. The result has the heads' values side by side.
    pub(crate) fn attend(
        self,
        [query, key, value]: &[Tensor; 3],
        spans: &[Span],
        sight: &Sight,
    ) -> Result {
        // In single precision GPUs have a fast kernel only where each head of queries has its own keys.
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

/// Positions that are told by turning queries and keys (Su et al. 2021, <https://arxiv.org/abs/2104.09864>), each
/// number of the first half of a head with that of the second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rotary {
    pub(crate) base: f64,
    pub(crate) width: i64,
}

/// The angles of a batch's tokens.
pub(crate) struct Angles {
    cosine: Tensor,
    sine: Tensor,
}

impl Rotary {
    /// The angles at these places.
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
    /// Turns `n × heads × width`, in single precision, whatever the model's is: in bfloat16 it costs one vector in
    /// a few dozen its third digit.
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
