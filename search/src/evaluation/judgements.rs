//! Judged queries from a file: JSON Lines, or qrels and topics of TREC.
//!
//! Relevant documents are named by path patterns as in filters: `man3/open.3.gz`, `docs/guide/**`,
//! or a whole URI.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::glob::Patterns;

/// Judged queries.
pub struct Judgements {
    /// In the order of the file.
    pub queries: Vec<JudgedQuery>,
}

/// A query with its relevant documents.
pub struct JudgedQuery {
    /// Its name.
    pub id: String,
    /// The text of the query.
    pub query: String,
    /// Path patterns of relevant documents with their grades, which are above 0.
    pub(crate) relevant: Vec<(Patterns, u32)>,
}

/// An error in a file of judgements.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct JudgementsError {
    /// Line number, from 1.
    pub line: usize,
    /// The error in that line.
    pub message: String,
}

/// A line of JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JudgementLine {
    #[serde(default)]
    id: Option<String>,
    query: String,
    relevant: BTreeMap<String, u32>,
}

impl Judgements {
    /// Parses `{"query": "…", "relevant": {"path or pattern": grade}}`, one query per line; `id` is
    /// optional.
    ///
    /// # Errors
    /// The first invalid line.
    ///
    /// ```
    /// use search::evaluation::Judgements;
    ///
    /// let text = r#"{"query": "who signs", "relevant": {"contracts.md": 3, "faq/**": 1}}"#;
    /// let judgements = Judgements::from_jsonl(text)?;
    /// assert_eq!((&*judgements.queries[0].id, &*judgements.queries[0].query), ("1", "who signs"));
    ///
    /// let text = r#"{"query": "who signs", "relevant": {"contracts.md": 0}}"#;
    /// let error = Judgements::from_jsonl(text).err().unwrap();
    /// assert_eq!(error.to_string(), "line 1: no document is relevant");
    /// # Ok::<_, search::evaluation::JudgementsError>(())
    /// ```
    pub fn from_jsonl(text: &str) -> Result<Self, JudgementsError> {
        let mut judged = Vec::new();
        for (line, text) in lines(text) {
            let bad = |message: String| JudgementsError { line, message };
            let JudgementLine { id, query, relevant } =
                serde_json::from_str(text).map_err(|error| bad(error.to_string()))?;
            let id = id.unwrap_or_else(|| line.to_string());
            judged.push(JudgedQuery::new(id, query, relevant).map_err(bad)?);
        }
        Self::of(judged)
    }

    /// Parses qrels (`query 0 document grade`) and topics (`query<TAB>text`). Queries without a
    /// relevant document are ignored, as in `trec_eval`.
    ///
    /// # Errors
    /// The first invalid line.
    ///
    /// ```
    /// use search::evaluation::Judgements;
    ///
    /// let qrels = "q1 0 a.txt 2\nq1 0 b.txt 0\nq2 0 c.txt 0";
    /// let topics = "q1\twho signs\nq2\tnothing is relevant";
    /// let judgements = Judgements::from_trec(qrels, topics)?;
    /// assert_eq!(judgements.queries.iter().map(|it| &*it.id).collect::<Vec<_>>(), ["q1"]);
    /// # Ok::<_, search::evaluation::JudgementsError>(())
    /// ```
    pub fn from_trec(qrels: &str, topics: &str) -> Result<Self, JudgementsError> {
        let mut relevant: BTreeMap<&str, BTreeMap<String, u32>> = BTreeMap::new();
        for (line, text) in lines(qrels) {
            let bad = |message: &str| JudgementsError { line, message: message.to_owned() };
            let mut parts = text.split_whitespace();
            let (Some(question), Some(_), Some(document), Some(grade), None) =
                (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
            else {
                return Err(bad("expected four fields: query, iteration, document, grade"));
            };
            let grade: i64 = grade.parse().map_err(|_| bad("the grade is not a number"))?;
            // TREC uses grades below 0 for spam.
            let grade = u32::try_from(grade.max(0)).unwrap_or(u32::MAX);
            relevant.entry(question).or_default().insert(document.to_owned(), grade);
        }
        let mut judged = Vec::new();
        for (line, text) in lines(topics) {
            let bad = |message: String| JudgementsError { line, message };
            let (id, question) = text.split_once('\t').ok_or_else(|| {
                bad("expected the name of a query and its text, separated by a tab".to_owned())
            })?;
            let relevant = relevant.remove(id.trim()).unwrap_or_default();
            if relevant.values().any(|&grade| grade > 0) {
                let made =
                    JudgedQuery::new(id.trim().to_owned(), question.trim().to_owned(), relevant);
                judged.push(made.map_err(bad)?);
            }
        }
        Self::of(judged)
    }

    pub(crate) fn of(judged: Vec<JudgedQuery>) -> Result<Self, JudgementsError> {
        if judged.is_empty() {
            let message = "no query has a relevant document".to_owned();
            return Err(JudgementsError { line: 1, message });
        }
        Ok(Self { queries: judged })
    }
}

impl JudgedQuery {
    pub(crate) fn new(
        id: String,
        question: String,
        relevant: BTreeMap<String, u32>,
    ) -> Result<Self, String> {
        if question.trim().is_empty() {
            return Err("the query is empty".to_owned());
        }
        let mut patterns = Vec::new();
        for (pattern, grade) in relevant.into_iter().filter(|(_, grade)| *grade > 0) {
            let made = Patterns::of_paths(vec![pattern.clone()]);
            patterns.push((
                made.map_err(|error| format!("invalid pattern `{pattern}`: {error}"))?,
                grade,
            ));
        }
        if patterns.is_empty() {
            return Err("no document is relevant".to_owned());
        }
        Ok(Self { id, query: question, relevant: patterns })
    }
}

/// Non-empty lines with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_say_where_they_are() {
        let jsonl = |text: &str| Judgements::from_jsonl(text).err().unwrap().to_string();
        insta::assert_snapshot!(
            jsonl("{\"query\": \"q\", \"relevant\": {\"a\": 1}}\n\n{\"query\": \"q\"}"),
            @"line 3: missing field `relevant` at line 1 column 14"
        );
        insta::assert_snapshot!(
            jsonl(r#"{"query": "q", "relevant": {"a[": 1}}"#),
            @"line 1: invalid pattern `a[`: unclosed character class; missing ']'"
        );
        insta::assert_snapshot!(
            jsonl(r#"{"query": "q", "relevant": {"a": 0}}"#),
            @"line 1: no document is relevant"
        );
        insta::assert_snapshot!(jsonl(""), @"line 1: no query has a relevant document");
        let trec = Judgements::from_trec("1 0 a 1\n1 0 b", "1\tq").err().unwrap().to_string();
        insta::assert_snapshot!(trec, @"line 2: expected four fields: query, iteration, document, grade");
    }

    #[test]
    fn both_forms_say_the_same() {
        let jsonl = r#"{"id": "7", "query": "who?", "relevant": {"a.txt": 2, "b.txt": 1}}"#;
        let jsonl = Judgements::from_jsonl(jsonl).unwrap();
        let qrels = "7 0 a.txt 2\n7\t0\tb.txt 1\n7 0 c.txt 0\n8 0 a.txt -1\n";
        let trec = Judgements::from_trec(qrels, "7\twho?\n8\tnobody\n9\tnothing\n").unwrap();
        let said = |judgements: &Judgements| {
            let one = |it: &JudgedQuery| {
                let grades: Vec<u32> = it.relevant.iter().map(|(_, grade)| *grade).collect();
                let matches =
                    |(patterns, _): &(Patterns, u32)| patterns.match_one("file:///x/a.txt");
                (
                    it.id.clone(),
                    it.query.clone(),
                    grades,
                    it.relevant.iter().map(matches).collect::<Vec<_>>(),
                )
            };
            judgements.queries.iter().map(one).collect::<Vec<_>>()
        };
        assert_eq!(said(&jsonl), said(&trec));
    }
}
