//! Proposed settings as keys of a pipeline file.

use pipeline::{Bm25fParameters, PassageField};
use serde_json::{Value, json};

use crate::ranking::Fusion;
use crate::settings::SearchSettings;

/// Settings that a pipeline file does not have yet.
#[derive(Clone, Debug, PartialEq)]
pub struct TuningProposal {
    /// Keys below `search`, which apply to the next search.
    pub search: Vec<ParameterChange>,
    /// Keys below the option for sparse vectors of the embedding node, which need a new
    /// generation.
    pub sparse: Vec<ParameterChange>,
}

/// A key with its value before and after.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterChange {
    /// JSON pointer, relative to `search` or to the option for sparse vectors.
    pub key: String,
    /// The value in use.
    pub from: Value,
    /// The proposed value.
    pub to: Value,
}

impl TuningProposal {
    pub(crate) fn new(
        settings: (&SearchSettings, &SearchSettings),
        parameters: (Option<&Bm25fParameters>, Option<&Bm25fParameters>),
    ) -> Self {
        let (from, to) = settings;
        let mut search = Vec::new();
        if from.fusion != to.fusion {
            let change = |fusion: Fusion| rounded(json!(fusion));
            search.push(ParameterChange {
                key: "/fusion".to_owned(),
                from: change(from.fusion),
                to: change(to.fusion),
            });
        }
        let mut add = |key: &str, is_changed: bool, from: Value, to: Value| {
            if is_changed {
                let key = key.to_owned();
                search.push(ParameterChange { key, from: rounded(from), to: rounded(to) });
            }
        };
        let proximity = |settings: &SearchSettings| json!(settings.proximity);
        add(
            "/documents/siblings",
            (from.siblings - to.siblings).abs() > 1e-6,
            json!(from.siblings),
            json!(to.siblings),
        );
        add(
            "/documents/lead",
            (from.lead - to.lead).abs() > 1e-6,
            json!(from.lead),
            json!(to.lead),
        );
        add("/proximity", from.proximity != to.proximity, proximity(from), proximity(to));
        add(
            "/exact_terms",
            from.exact_terms != to.exact_terms,
            json!(from.exact_terms),
            json!(to.exact_terms),
        );
        let mut sparse = Vec::new();
        if let (Some(from), Some(to)) = parameters {
            let mut add = |key: String, from: f64, to: f64| {
                if (from - to).abs() > 1e-9 {
                    sparse.push(ParameterChange { key, from: json!(from), to: json!(to) });
                }
            };
            add("/k1".to_owned(), from.k1, to.k1);
            for field in PassageField::ALL {
                let (from, to) = (from.fields[field as usize], to.fields[field as usize]);
                if field == PassageField::Text {
                    add("/b".to_owned(), from.b, to.b);
                    continue;
                }
                let name = field.name();
                add(format!("/fields/{name}/weight"), from.weight, to.weight);
                add(format!("/fields/{name}/b"), from.b, to.b);
            }
        }
        Self { search, sparse }
    }

    /// `true` if it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.search.is_empty() && self.sparse.is_empty()
    }
}

/// Numbers with their shortest digits: 0.8 as a 32-bit number is 0.800000011920929 as a 64-bit one.
fn rounded(value: Value) -> Value {
    match value {
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, rounded(value))).collect(),
        Value::Number(number) if !number.is_u64() && !number.is_i64() => {
            let number = number.as_f64().unwrap_or_default();
            json!((number * 1e4).round() / 1e4)
        }
        other @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)) => other,
    }
}
