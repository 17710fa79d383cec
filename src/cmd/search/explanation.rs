//! The explanation of a hit: how it came to its score.

use search::{Explanation, Leg};
use serde_json::{Map, Value, json};

/// Maximum number of words of the query that are printed.
const MAX_TERMS: usize = 8;

/// The explanation as lines of text.
pub(super) fn lines(explanation: &Explanation) -> Vec<String> {
    let Explanation { dense, sparse, fused, rerank, exact, terms, .. } = explanation;
    let place = |name: &str, leg: &Option<Leg>| match leg {
        Some(Leg { rank, score }) => format!("{name} rank {rank} (score {score:.3})"),
        None => format!("not in the {name} ranking"),
    };
    let rankings = [
        dense.is_some().then(|| place("dense", dense)),
        sparse.is_some().then(|| place("sparse", sparse)),
    ];
    let rankings: Vec<String> = match fused {
        Some(_) => vec![place("dense", dense), place("sparse", sparse)],
        None => rankings.into_iter().flatten().collect(),
    };
    let fused = fused.map(|score| format!("; fused score {score:.3}"));
    let mut lines = vec![format!("{}{}", rankings.join(", "), fused.unwrap_or_default())];
    if !exact.is_empty() {
        lines.push(format!("exact terms: {}", exact.join(", ")));
    }
    lines.extend(rescoring(explanation));
    if let Some(score) = rerank {
        lines.push(format!("reranked: score {score:.3}"));
    }
    if !terms.is_empty() {
        let words = terms.iter().take(MAX_TERMS).map(|it| {
            let times =
                if it.frequency > 1 { format!(" {} times", it.frequency) } else { String::new() };
            format!("`{}`{times} in the {} ({:.2})", it.term, it.field.name(), it.weight)
        });
        let words: Vec<String> = words.collect();
        let further = terms.len().saturating_sub(MAX_TERMS);
        let further = if further > 0 { format!(", and {further} more") } else { String::new() };
        lines.push(format!("words: {}{further}", words.join(", ")));
    }
    lines
}

/// The steps after the fusion that changed the score, in their order.
fn rescoring(explanation: &Explanation) -> Option<String> {
    let Explanation { siblings, lead, freshness, proximity, diversity, .. } = explanation;
    let steps = [
        siblings.map(|it| format!("best other passage of the document {it:.3}")),
        lead.map(|it| format!("first chunk × {it:.2}")),
        freshness.map(|it| format!("age × {it:.3}")),
        proximity.map(|it| format!("proximity {it:.2}")),
        diversity.map(|it| format!("similarity to an earlier hit {it:.2}")),
    ];
    let steps: Vec<String> = steps.into_iter().flatten().collect();
    (!steps.is_empty()).then(|| format!("then: {}", steps.join(", ")))
}

/// The explanation as a JSON object. Steps that do not concern the hit are left out.
pub(super) fn as_json(explanation: &Explanation) -> Value {
    let Explanation { dense, sparse, fused, rerank, exact, terms, .. } = explanation;
    let place = |leg: &Leg| json!({ "rank": leg.rank, "score": leg.score });
    let steps = [
        ("dense", dense.as_ref().map(place)),
        ("sparse", sparse.as_ref().map(place)),
        ("fused", fused.map(Value::from)),
        ("exact_terms", (!exact.is_empty()).then(|| json!(exact))),
        ("rerank", rerank.map(Value::from)),
        ("siblings", explanation.siblings.map(Value::from)),
        ("lead", explanation.lead.map(Value::from)),
        ("freshness", explanation.freshness.map(Value::from)),
        ("proximity", explanation.proximity.map(Value::from)),
        ("diversity", explanation.diversity.map(Value::from)),
    ];
    let steps = steps.into_iter().filter_map(|(name, step)| Some((name.to_owned(), step?)));
    let mut json: Map<String, Value> = steps.collect();
    let term = |it: &pipeline::TermMatch| {
        json!({
            "term": it.term,
            "field": it.field.name(),
            "frequency": it.frequency,
            "score": it.weight,
        })
    };
    json.insert("terms".to_owned(), terms.iter().map(term).collect());
    Value::Object(json)
}

#[cfg(test)]
mod tests {
    use pipeline::{PassageField, TermMatch};

    use super::*;

    #[test]
    fn an_explanation_is_read_step_by_step() {
        let term = |term: &str, field, frequency, weight| TermMatch {
            term: term.to_owned(),
            index: 1,
            field,
            frequency,
            weight,
        };
        let explanation = Explanation {
            dense: Some(Leg { rank: 3, score: 0.531 }),
            sparse: None,
            fused: Some(0.672),
            rerank: Some(0.91),
            exact: vec!["pthread_mutex_lock".to_owned()],
            siblings: Some(0.61),
            freshness: Some(0.95),
            proximity: Some(0.5),
            terms: vec![
                term("pthread_mutex_lock", PassageField::Text, 3, 9.25),
                term("locking", PassageField::Headings, 1, 1.5),
            ],
            ..Explanation::default()
        };
        insta::assert_snapshot!(lines(&explanation).join("\n"), @r"
        dense rank 3 (score 0.531), not in the sparse ranking; fused score 0.672
        exact terms: pthread_mutex_lock
        then: best other passage of the document 0.610, age × 0.950, proximity 0.50
        reranked: score 0.910
        words: `pthread_mutex_lock` 3 times in the text (9.25), `locking` in the headings (1.50)
        ");
    }
}
