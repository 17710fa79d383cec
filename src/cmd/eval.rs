//! `semantik eval`: measures the search quality of a collection with judged queries.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use operations::search_settings;
use pipeline::BoxError;
use search::evaluation::{
    Answerer, Estimate, Evaluation, Judgements, MEASURES, Measure, compare, estimate, evaluate,
    evaluate_by,
};
use search::{Request, SearchMode, SearchResults, Searcher, Target, TargetResolver as _};
use serde_json::{Value, json};

use crate::cli::{EvalArgs, ModeArg};
use crate::composition::{self, FileTargets};
use crate::remote::RemoteServer;
use crate::{model_download, remote, render};

/// Significance level: a difference with a smaller p-value counts as real.
const SIGNIFICANCE_LEVEL: f64 = 0.05;

/// The evaluation of one mode of a generation.
struct EvaluationRun {
    generation: i32,
    /// The file with the settings of the search, if it is not that of the collection.
    settings: Option<String>,
    evaluation: Evaluation,
}

pub(super) async fn eval(args: &EvalArgs) -> Result<(), BoxError> {
    let judgements = judgements(&args.judgements, args.topics.as_deref())?;
    let least = args.min.iter().map(|text| parse_minimum(text)).collect::<Result<Vec<_>, _>>()?;
    let asked = match args.server.server() {
        Some(server) => {
            if args.generation.is_some() || args.against.is_some() {
                return Err("a server searches the live generation only: leave out \
                            `--generation` and `--against`, or `--server`"
                    .into());
            }
            if args.against_settings.is_some() {
                return Err("a server searches with its own settings only: leave out \
                            `--against-settings` or `--server`"
                    .into());
            }
            let collection = remote::collection_name(&args.file)?;
            evaluate_on_server(&server, &collection, &judgements, &args.mode).await?
        }
        None => evaluate_file(args, &judgements).await?,
    };
    let questions = judgements.queries.len();
    if args.json {
        render::print_json(&as_json(&judgements, &asked))?;
    } else {
        render::print(&as_text(questions, &asked))?;
    }
    // `--min` applies to the first mode of the requested generation, the default of a search.
    check_minimums(&asked[0], &least)
}

/// Reads a file of judgements.
pub(super) fn judgements(file: &Path, topics: Option<&Path>) -> Result<Judgements, BoxError> {
    let text = fs_err::read_to_string(file)?;
    let judgements = match topics {
        Some(topics) => Judgements::from_trec(&text, &fs_err::read_to_string(topics)?),
        None => Judgements::from_jsonl(&text),
    };
    judgements.map_err(|error| format!("{}: {error}", file.display()).into())
}

/// Parses `ndcg@10=0.4`.
fn parse_minimum(text: &str) -> Result<(Measure, f64), BoxError> {
    let (name, score) = text.split_once('=').unwrap_or((text, ""));
    let known: Vec<&str> = MEASURES.iter().map(|measure| measure.name).collect();
    let measure = Measure::by_name(name.trim())
        .ok_or_else(|| format!("unknown measure `{name}`: expected one of {}", known.join(", ")))?;
    let score = score.trim().parse::<f64>().ok().filter(|score| (0.0..=1.0).contains(score));
    let score =
        score.ok_or_else(|| format!("invalid minimum `{text}`: expected a score from 0 to 1"))?;
    Ok((measure, score))
}

/// The modes to evaluate, the default mode of a search first.
fn modes(has_sparse: bool, wanted: &[ModeArg]) -> Vec<SearchMode> {
    if !wanted.is_empty() {
        return wanted.iter().copied().map(SearchMode::from).collect();
    }
    if has_sparse {
        vec![SearchMode::Hybrid, SearchMode::Dense, SearchMode::Sparse]
    } else {
        vec![SearchMode::Dense]
    }
}

/// Evaluates generations of a pipeline file: the live one through the server that has its vectors
/// open, others in this process.
async fn evaluate_file(
    args: &EvalArgs,
    judgements: &Judgements,
) -> Result<Vec<EvaluationRun>, BoxError> {
    model_download::fetch_models_of(&args.file).await?;
    let files = FileTargets::open(std::slice::from_ref(&args.file)).await?;
    let live = files.live().await?.number;
    let server = files.local_server()?;
    let mut asked = Vec::new();
    for number in std::iter::once(args.generation).chain(args.against.map(Some)) {
        let is_live = number.is_none_or(|number| number == live);
        asked.extend(match (&server, number) {
            (Some(server), _) if is_live => {
                let collection = files.ids()[0].to_string();
                evaluate_on_server(server, &collection, judgements, &args.mode).await?
            }
            (_, Some(number)) => {
                run_evaluations(&files.generation(number).await?, judgements, &args.mode).await?
            }
            (_, None) => {
                run_evaluations(&files.resolve("0").await?, judgements, &args.mode).await?
            }
        });
    }
    if let Some(file) = &args.against_settings {
        let target = match (&server, args.generation) {
            (Some(_), None) => {
                return Err(
                    "`--against-settings` reads the vectors in this process, and a server \
                            has them open: stop it first"
                        .into(),
                );
            }
            (_, Some(number)) => files.generation(number).await?,
            (None, None) => files.resolve("0").await?,
        };
        asked.extend(other_settings(&target, file, judgements, &args.mode).await?);
    }
    Ok(asked)
}

/// Evaluates hybrid search of a generation under the settings of another pipeline file, which
/// affect no other mode.
async fn other_settings(
    target: &Target,
    file: &Path,
    judgements: &Judgements,
    wanted: &[ModeArg],
) -> Result<Vec<EvaluationRun>, BoxError> {
    let spec = composition::read_spec(file)?;
    let other = Arc::new(target.with_settings(search_settings(&spec.file.search, &spec.base)));
    let runs = run_evaluations(&other, judgements, wanted).await?;
    let hybrid = runs.into_iter().filter(|it| it.evaluation.mode == SearchMode::Hybrid);
    let name = file.display().to_string();
    Ok(hybrid.map(|it| EvaluationRun { settings: Some(name.clone()), ..it }).collect())
}

/// Answers queries through a server, and notes the generations of the answers.
struct ServerAnswerer<'a> {
    server: &'a RemoteServer,
    generations: Mutex<BTreeSet<i32>>,
}

#[async_trait]
impl Answerer for ServerAnswerer<'_> {
    async fn answer(&self, request: &Request) -> Result<SearchResults, BoxError> {
        let answer = self.server.search(request, None).await?;
        let searched = answer.searched.iter().map(|it| it.generation);
        pipeline::lock(&self.generations).extend(searched);
        Ok(answer)
    }
}

impl ServerAnswerer<'_> {
    /// The generation of all answers.
    fn generation(&self) -> Result<i32, BoxError> {
        let generations = pipeline::lock(&self.generations);
        match (generations.first(), generations.len()) {
            (Some(one), 1) => Ok(*one),
            (None, _) => Err("the collection was not searched".into()),
            _ => Err("the live generation was replaced during the evaluation: run it again".into()),
        }
    }
}

/// Evaluates the live generation through a server.
async fn evaluate_on_server(
    server: &RemoteServer,
    collection: &str,
    judgements: &Judgements,
    wanted: &[ModeArg],
) -> Result<Vec<EvaluationRun>, BoxError> {
    let answerer = ServerAnswerer { server, generations: Mutex::default() };
    let mut has_sparse = false;
    if wanted.is_empty()
        && let Some(judged) = judgements.queries.first()
    {
        // The default mode of a search tells if the collection has sparse vectors.
        let probe = Request { k: 1, ..Request::new(&judged.query, vec![collection.to_owned()]) };
        let answer = answerer.answer(&probe).await?;
        has_sparse = answer.searched.iter().any(|it| it.mode == SearchMode::Hybrid);
    }
    let mut evaluations = Vec::new();
    for mode in modes(has_sparse, wanted) {
        evaluations.push(evaluate_by(&answerer, collection, judgements, Some(mode)).await?);
    }
    let generation = answerer.generation()?;
    let run = |evaluation| EvaluationRun { generation, settings: None, evaluation };
    Ok(evaluations.into_iter().map(run).collect())
}

async fn run_evaluations(
    target: &Arc<Target>,
    judgements: &Judgements,
    wanted: &[ModeArg],
) -> Result<Vec<EvaluationRun>, BoxError> {
    let searcher = Searcher::default();
    let mut asked = Vec::new();
    for mode in modes(target.sparse, wanted) {
        let evaluation = evaluate(&searcher, target, judgements, Some(mode)).await?;
        let generation = target.generation;
        asked.push(EvaluationRun { generation, settings: None, evaluation });
    }
    Ok(asked)
}

/// The evaluation to compare with: the same mode of the other generation or under the settings of
/// the collection, otherwise the first mode.
fn baseline(asked: &[EvaluationRun], of: usize) -> Option<&EvaluationRun> {
    let first = &asked[0];
    if asked[of].settings.is_some() {
        let mode = asked[of].evaluation.mode;
        return asked.iter().find(|it| it.settings.is_none() && it.evaluation.mode == mode);
    }
    let other = |it: &&EvaluationRun| {
        it.generation != asked[of].generation && it.evaluation.mode == asked[of].evaluation.mode
    };
    if asked[of].generation == first.generation && asked.iter().any(|it| other(&it)) {
        return asked.iter().find(other);
    }
    (of > 0 && asked[of].generation == first.generation).then_some(first)
}

fn as_text(questions: usize, asked: &[EvaluationRun]) -> String {
    let mut head = vec!["generation", "mode"];
    head.extend(MEASURES.iter().map(|measure| measure.title));
    let rows = asked.iter().map(|EvaluationRun { generation, settings, evaluation }| {
        let settings = settings.as_ref().map_or_else(String::new, |file| format!(" ({file})"));
        let mut row = vec![generation.to_string(), format!("{}{settings}", evaluation.mode)];
        row.extend(MEASURES.iter().map(|measure| {
            let Estimate { mean, low, high } = estimate(&evaluation.sample(*measure));
            format!("{mean:.3} ({low:.3}–{high:.3})")
        }));
        row
    });
    let questions = render::count_of(questions, "question");
    let mut out = format!("{questions}; 95 % confidence intervals in parentheses\n");
    out.push_str(&render::table(&head, rows));
    for of in 0..asked.len() {
        let Some(rival) = baseline(asked, of) else {
            continue;
        };
        out.push_str(&comparison_line(&asked[of], rival));
    }
    out
}

/// One line that names the better evaluation, if the difference is significant.
fn comparison_line(one: &EvaluationRun, other: &EvaluationRun) -> String {
    let ndcg = MEASURES[0];
    let said = compare(&one.evaluation.sample(ndcg), &other.evaluation.sample(ndcg));
    let Estimate { mean, low, high } = said.difference;
    let name = |it: &EvaluationRun| {
        let with = it.settings.as_ref().map(|file| format!(" with the settings of {file}"));
        let (mode, number) = (it.evaluation.mode, it.generation);
        format!("{mode} of generation {number}{}", with.unwrap_or_default())
    };
    let (one, other) = (name(one), name(other));
    let (title, p) = (ndcg.title, said.p_value);
    if p >= SIGNIFICANCE_LEVEL {
        return format!("{one} and {other} do not differ significantly in {title} (p = {p:.3})\n");
    }
    let word = if mean > 0.0 { "better" } else { "worse" };
    format!("{one} is {word} than {other}: {title} {mean:+.3} ({low:+.3}–{high:+.3}, p = {p:.4})\n")
}

fn as_json(judgements: &Judgements, asked: &[EvaluationRun]) -> Value {
    let evaluations =
        asked.iter().enumerate().map(|(of, EvaluationRun { generation, settings, evaluation })| {
            let measures = MEASURES.iter().map(|measure| {
                let sample = evaluation.sample(*measure);
                let Estimate { mean, low, high } = estimate(&sample);
                let against = baseline(asked, of).map(|rival| {
                    let other = compare(&sample, &rival.evaluation.sample(*measure));
                    json!({
                        "generation": rival.generation,
                        "mode": rival.evaluation.mode.name(),
                        "settings": rival.settings,
                        "difference": other.difference.mean,
                        "low": other.difference.low,
                        "high": other.difference.high,
                        "p": other.p_value,
                    })
                });
                let said = json!({ "mean": mean, "low": low, "high": high, "against": against });
                (measure.name.to_owned(), said)
            });
            let questions =
                judgements.queries.iter().zip(&evaluation.scores).map(|(judged, scores)| {
                    let of =
                        |measure: &Measure| (measure.name.to_owned(), measure.score(scores).into());
                    let scores: serde_json::Map<String, Value> = MEASURES.iter().map(of).collect();
                    json!({ "id": judged.id, "query": judged.query, "scores": scores })
                });
            json!({
                "generation": generation,
                "mode": evaluation.mode.name(),
                "settings": settings,
                "measures": measures.collect::<serde_json::Map<_, _>>(),
                "questions": questions.collect::<Vec<_>>(),
            })
        });
    json!({ "questions": judgements.queries.len(), "evaluations": evaluations.collect::<Vec<_>>() })
}

/// Returns an error for each mean below its required minimum.
fn check_minimums(asked: &EvaluationRun, least: &[(Measure, f64)]) -> Result<(), BoxError> {
    let worse = least.iter().filter_map(|(measure, least)| {
        let found = asked.evaluation.mean(*measure);
        let title = measure.title;
        (found < *least).then(|| format!("{title} is {found:.3}, below the required {least}"))
    });
    let worse: Vec<String> = worse.collect();
    if worse.is_empty() { Ok(()) } else { Err(worse.join("; ").into()) }
}
