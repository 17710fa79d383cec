//! Dense vectors of the questions, and of chunks without the words of a question.

use pipeline::{BoxError, HEADING_SEPARATOR, Payload, TextKind};

use crate::target::QueryModel;
use crate::tuning::corpus::{Corpus, normalize};
use crate::tuning::dense_lab::{MaskedVectors, dot, masked_vectors};
use crate::tuning::question::Question;

/// Chunks with which the form of the model input is found.
const SAMPLES: usize = 16;

/// What the model may have read of a chunk. A generation does not record it, so the form that gives
/// the stored vectors is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PassageForm {
    /// The text alone.
    Text,
    /// Title and headings in a line before the text.
    TitleAndHeadings,
    /// The headings in a line before the text.
    Headings,
    /// The title in a line before the text.
    Title,
}

impl PassageForm {
    const ALL: [Self; 4] = [Self::Text, Self::TitleAndHeadings, Self::Headings, Self::Title];

    fn input(self, payload: &Payload) -> String {
        let title = payload.title.as_deref().map(str::trim).unwrap_or_default();
        let path = payload.headings.as_deref().unwrap_or_default();
        let mut parts: Vec<&str> = match self {
            Self::Text => Vec::new(),
            Self::TitleAndHeadings => vec![title],
            Self::Headings => Vec::new(),
            Self::Title => vec![title],
        };
        if matches!(self, Self::TitleAndHeadings | Self::Headings) {
            for heading in path.split(HEADING_SEPARATOR).map(str::trim) {
                let last = parts.last().copied().unwrap_or_default();
                if !last.eq_ignore_ascii_case(heading) {
                    parts.push(heading);
                }
            }
        }
        parts.retain(|part| !part.is_empty());
        if parts.is_empty() {
            return payload.content.clone();
        }
        format!("{}\n{}", parts.join(" › "), payload.content)
    }
}

/// The vectors of questions, of length 1.
///
/// # Errors
/// If the model cannot be loaded or fails.
pub(crate) fn question_vectors(
    model: &QueryModel,
    questions: &[Question],
) -> Result<Vec<Vec<f32>>, BoxError> {
    let texts: Vec<String> = questions.iter().map(|question| question.text.clone()).collect();
    embed(model, &texts, TextKind::Query)
}

/// The vectors of the masked chunks of all questions.
///
/// # Errors
/// If the model cannot be loaded or fails.
pub(crate) fn vectors_of_masked(
    model: &QueryModel,
    corpus: &Corpus,
    questions: &[Question],
) -> Result<Vec<MaskedVectors>, BoxError> {
    let payloads = questions.iter().flat_map(|question| &question.masked);
    let payloads: Vec<&Payload> = payloads.filter_map(|masked| masked.payload.as_ref()).collect();
    if payloads.is_empty() {
        return Ok(masked_vectors(questions, std::iter::empty()));
    }
    let form = stored_form(model, corpus)?;
    let inputs: Vec<String> = payloads.into_iter().map(|payload| form.input(payload)).collect();
    let vectors = embed(model, &inputs, TextKind::Document)?;
    Ok(masked_vectors(questions, vectors.into_iter()))
}

/// The form of the input that gives vectors most similar to the stored ones.
fn stored_form(model: &QueryModel, corpus: &Corpus) -> Result<PassageForm, BoxError> {
    let step = (corpus.chunks.len() / SAMPLES).max(1);
    let samples: Vec<_> = corpus.chunks.iter().step_by(step).take(SAMPLES).collect();
    let mut best = (f32::NEG_INFINITY, PassageForm::Text);
    for form in PassageForm::ALL {
        let inputs: Vec<String> = samples.iter().map(|it| form.input(&it.payload)).collect();
        let vectors = embed(model, &inputs, TextKind::Document)?;
        let same: f32 =
            vectors.iter().zip(&samples).map(|(new, stored)| dot(new, &stored.vector)).sum();
        // Forms that differ by rounding only are equal; the first one is the simplest.
        #[expect(clippy::cast_precision_loss, reason = "few samples")]
        let tolerance = 1e-4 * samples.len() as f32;
        if same > best.0 + tolerance {
            best = (same, form);
        }
    }
    Ok(best.1)
}

fn embed(model: &QueryModel, texts: &[String], kind: TextKind) -> Result<Vec<Vec<f32>>, BoxError> {
    let tokenizer = model.models.tokenizer(&model.info.path)?;
    let embedder = model.models.embedder(&model.info.path, &model.options)?;
    let inputs = texts.iter().map(|text| tokenizer.encode_input(text, kind));
    let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
    let sequences: Vec<&[u32]> = inputs.iter().map(|input| &*input.ids).collect();
    let floats = embedder.embed(&sequences)?;
    let vectors = floats.chunks(model.info.dim.max(1)).map(|vector| {
        let mut vector = vector.to_vec();
        normalize(&mut vector);
        vector
    });
    Ok(vectors.collect())
}
