//! The checks that a new generation must pass before it becomes the live one.

use std::path::Path;
use std::sync::Arc;

use metadata::{Generation, GenerationComparison};
use pipeline::{
    BoxError, GoldenSpec, Hit, IndexQuery, LifecycleSpec, Point, SearchAccuracy, StoreError,
};
use search::evaluation::{Judgements, Measure, evaluate};
use search::{Request, Searcher};

use crate::context::Context;
use crate::operation::Run;
use crate::search_target::build_target;
use crate::stores::GenerationVectors;
use crate::sync::exceeds_ratio;

/// Number of sampled chunks.
const SAMPLE_SIZE: usize = 100;

/// Number of nearest neighbours compared per sampled chunk.
const NEIGHBOURS: usize = 10;

/// Required recall: share of the nearest neighbours of an exact search that the index finds.
const MIN_RECALL: f64 = 0.9;

/// The new generation failed a check.
#[derive(Debug, thiserror::Error)]
#[error("the new generation was not made live, and the live one stays in use: {0}")]
pub(crate) struct CheckFailed(String);

/// Compares counts, searches sampled chunks by their own vectors, compares the index with exact
/// search, and runs the golden and judged queries.
pub(crate) async fn check_generation(
    run: &Run<'_>,
    generation: &Generation,
    vectors: &GenerationVectors,
) -> Result<(), BoxError> {
    let comparison = run.lease.compare_generations().await?;
    let held = vectors.store.count().await?;
    check_counts(&comparison, held)?;
    if !run.request.allow_deletes {
        check_losses(&comparison, run.context.spec.file.lifecycle.max_delete_ratio)?;
    }
    let sample = sample_points(vectors, held).await?;
    check_self_retrieval(vectors, &sample).await?;
    check_recall(vectors, &sample).await?;
    check_queries(run.context, generation, vectors).await
}

/// Runs the golden and the judged queries.
async fn check_queries(
    context: &Context,
    generation: &Generation,
    vectors: &GenerationVectors,
) -> Result<(), BoxError> {
    let LifecycleSpec { golden, judgements, min, .. } = &context.spec.file.lifecycle;
    if golden.is_empty() && judgements.is_none() {
        return Ok(());
    }
    let collection = context.database.collection(&context.spec).await?;
    let (models, model) = (&context.models, context.model.clone());
    let target = build_target(
        &context.spec,
        &context.facts,
        models,
        &collection,
        generation,
        model,
        vectors,
        context.postgres(),
    );
    let target = Arc::new(target);
    let searcher = Searcher::default();
    for GoldenSpec { query, expect, k } in golden {
        let request = Request { k: *k, ..Request::new(query, vec![String::new()]) };
        let answer = searcher.search(&request, &target).await?;
        if let Some(failure) = answer.failed.first() {
            return Err(failure.error.clone().into());
        }
        if !answer.hits.iter().any(|hit| hit.payload.uri.ends_with(expect)) {
            let refused =
                format!("query `{query}` does not find {expect} among its first {k} hits");
            return Err(CheckFailed(refused).into());
        }
    }
    let Some(file) = judgements else {
        return Ok(());
    };
    let judgements = read_judgements(&context.spec.base.join(file))?;
    let found = evaluate(&searcher, &target, &judgements, None).await?;
    for (name, least) in min.thresholds() {
        let measure = Measure::by_name(name).expect("both know the same measures");
        let mean = found.mean(measure);
        tracing::info!(measure = name, mean, least, "measured the new generation");
        if mean < least {
            let title = measure.title;
            let refused = format!("{title} is {mean:.3}, below the required {least}");
            return Err(CheckFailed(refused).into());
        }
    }
    Ok(())
}

fn read_judgements(file: &Path) -> Result<Judgements, BoxError> {
    let judgements = Judgements::from_jsonl(&fs_err::read_to_string(file)?);
    judgements.map_err(|error| format!("{}: {error}", file.display()).into())
}

/// Checks that each chunk has a point and that there is no other point.
fn check_counts(comparison: &GenerationComparison, held: u64) -> Result<(), CheckFailed> {
    let chunks = comparison.chunks;
    if held == chunks.unsigned_abs() {
        return Ok(());
    }
    Err(CheckFailed(format!("{held} points for {chunks} chunks")))
}

/// Checks the documents that are searchable now and missing in the new generation. Documents that
/// no source provided are always an error, since their absence may be unintended; of the others,
/// too many are.
fn check_losses(comparison: &GenerationComparison, ratio: f64) -> Result<(), CheckFailed> {
    let GenerationComparison { live_documents, lost, first_lost, unseen, first_unseen, .. } =
        comparison;
    let named = |path: &Option<String>| path.clone().unwrap_or_default();
    let anyway = "`--allow-deletes` accepts this";
    if *unseen > 0 {
        return Err(CheckFailed(format!(
            "{unseen} of {live_documents} documents of the live generation were not provided by \
             any source of the file or could not be read, for example {} ({anyway})",
            named(first_unseen)
        )));
    }
    if exceeds_ratio(*lost, *live_documents, ratio) {
        return Err(CheckFailed(format!(
            "{lost} of {live_documents} documents of the live generation are missing in it, for \
             example {} ({anyway})",
            named(first_lost)
        )));
    }
    Ok(())
}

/// Samples points of the generation. Point ids are hashes, so the points after evenly spaced ids
/// are a random sample that is equal in each call.
async fn sample_points(vectors: &GenerationVectors, held: u64) -> Result<Vec<Point>, BoxError> {
    let wanted = SAMPLE_SIZE.min(usize::try_from(held)?);
    let mut points = Vec::with_capacity(wanted);
    for n in 0..wanted {
        let from = u128::MAX / wanted as u128 * n as u128;
        let after = (n > 0).then(|| uuid::Uuid::from_u128(from));
        points.extend(vectors.store.scroll(after, 1).await?);
    }
    Ok(points)
}

async fn nearest(
    vectors: &GenerationVectors,
    to: &Point,
    effort: SearchAccuracy,
) -> Result<Vec<Hit>, StoreError> {
    vectors.store.query(&IndexQuery::nearest(&to.vector, NEIGHBOURS, effort)).await
}

/// Checks that the best hit for the vector of a chunk is the chunk itself or one with the same
/// text.
async fn check_self_retrieval(
    vectors: &GenerationVectors,
    sample: &[Point],
) -> Result<(), BoxError> {
    for point in sample {
        let hits = nearest(vectors, point, SearchAccuracy::Approximate).await?;
        let is_found = hits.iter().any(|hit| {
            let (found, own) = (&hit.payload, &point.payload);
            (found.document, found.chunk_index) == (own.document, own.chunk_index)
                || found.content == own.content
                || hit.score > 0.999
        });
        if !is_found {
            let (uri, index) = (&point.payload.uri, point.payload.chunk_index);
            return Err(CheckFailed(format!(
                "chunk {index} of {uri} is not its own nearest neighbour"
            ))
            .into());
        }
    }
    Ok(())
}

/// Compares the index with a comparison of all vectors.
async fn check_recall(vectors: &GenerationVectors, sample: &[Point]) -> Result<(), BoxError> {
    let (mut found, mut wanted) = (0_u32, 0_u32);
    for point in sample {
        let exact = nearest(vectors, point, SearchAccuracy::Exact).await?;
        let indexed = nearest(vectors, point, SearchAccuracy::Approximate).await?;
        // Hits that score like the last exact one count as found: ties are resolved arbitrarily.
        let least = exact.last().map_or(0.0, |hit| hit.score - 1e-4);
        wanted += u32::try_from(exact.len())?;
        found += u32::try_from(indexed.iter().filter(|hit| hit.score >= least).count())?;
    }
    let recall = f64::from(found) / f64::from(wanted.max(1));
    if wanted > 0 && recall < MIN_RECALL {
        let percent = recall * 100.0;
        return Err(CheckFailed(format!(
            "the index finds only {percent:.0} % of the nearest neighbours"
        ))
        .into());
    }
    Ok(())
}
