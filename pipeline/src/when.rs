//! `when:`: conditions on the columns of a row that decide if a node takes it.
//!
//! A condition on a text column is a glob or a list of globs, one of which must match; on a number
//! it is `{ min, max }`, each optional and inclusive. All conditions of a node must hold. A missing
//! value meets no condition.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enums of arrow and serde_json have dozens of variants"
)]

use arrow::array::{AsArray as _, BooleanArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Schema};
use globset::{Glob, GlobSet, GlobSetBuilder};
use serde_json::{Map, Value};

use crate::finding::suggest;
use crate::pattern::check_patterns;

/// A checked `when:`.
#[derive(Clone, Debug)]
pub(crate) struct When(Vec<(String, ColumnCondition)>);

#[derive(Clone, Debug)]
enum ColumnCondition {
    Globs(GlobSet),
    Range { min: f64, max: f64 },
}

/// An invalid `when:`: its column, the message and a remedy.
pub(crate) struct WhenError {
    pub column: String,
    pub message: String,
    pub help: Option<String>,
}

impl When {
    /// Checks the conditions against the columns of the rows.
    pub(crate) fn compile(
        conditions: &Map<String, Value>,
        schema: &Schema,
    ) -> Result<Self, Vec<WhenError>> {
        let mut compiled = Vec::new();
        let mut faults = Vec::new();
        for (column, condition) in conditions {
            match compile_one(column, condition, schema) {
                Ok(condition) => compiled.push((column.clone(), condition)),
                Err((message, help)) => {
                    faults.push(WhenError { column: column.clone(), message, help });
                }
            }
        }
        if faults.is_empty() { Ok(Self(compiled)) } else { Err(faults) }
    }

    /// For each row, `true` if it meets every condition.
    pub(crate) fn evaluate(&self, rows: &RecordBatch) -> Vec<bool> {
        let mut mask = vec![true; rows.num_rows()];
        for (column, condition) in &self.0 {
            let array = rows.column_by_name(column).expect("checked by the plan");
            let met = condition.evaluate(array);
            for (kept, met) in mask.iter_mut().zip(met.iter()) {
                *kept &= met.unwrap_or(false);
            }
        }
        mask
    }
}

impl ColumnCondition {
    fn evaluate(&self, array: &arrow::array::ArrayRef) -> BooleanArray {
        match self {
            Self::Globs(globs) => {
                let text = cast(array, &DataType::Utf8).expect("checked by the plan");
                text.as_string::<i32>()
                    .iter()
                    .map(|text| text.map(|text| globs.is_match(text)))
                    .collect()
            }
            Self::Range { min, max } => {
                let numbers = cast(array, &DataType::Float64).expect("checked by the plan");
                numbers
                    .as_primitive::<Float64Type>()
                    .iter()
                    .map(|number| number.map(|number| (*min..=*max).contains(&number)))
                    .collect()
            }
        }
    }
}

fn compile_one(
    column: &str,
    condition: &Value,
    schema: &Schema,
) -> Result<ColumnCondition, (String, Option<String>)> {
    let Ok(field) = schema.field_with_name(column) else {
        let names = schema.fields().iter().map(|field| field.name().as_str());
        return Err((format!("unknown column `{column}`"), suggest(column, names)));
    };
    match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => globs(condition).map(ColumnCondition::Globs),
        number if number.is_numeric() => range(condition),
        other => Err((
            format!("column `{column}` has the type {other}, which `when:` does not support"),
            None,
        )),
    }
}

fn globs(condition: &Value) -> Result<GlobSet, (String, Option<String>)> {
    let wrong =
        || ("the condition of a text column must be a glob or a list of globs".to_owned(), None);
    let patterns = match condition {
        Value::String(one) => vec![one.as_str()],
        Value::Array(several) if !several.is_empty() => {
            several.iter().map(Value::as_str).collect::<Option<_>>().ok_or_else(wrong)?
        }
        _ => return Err(wrong()),
    };
    check_patterns(patterns.iter().copied()).map_err(|error| (error.to_string(), None))?;
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(Glob::new(pattern).map_err(|error| (error.to_string(), None))?);
    }
    set.build().map_err(|error| (error.to_string(), None))
}

fn range(condition: &Value) -> Result<ColumnCondition, (String, Option<String>)> {
    let wrong = || ("the condition of a number must be `{ min: …, max: … }`".to_owned(), None);
    let map = condition.as_object().ok_or_else(wrong)?;
    if map.is_empty() || map.keys().any(|key| key != "min" && key != "max") {
        return Err(wrong());
    }
    let bound = |key: &str, open: f64| match map.get(key) {
        Some(value) => value.as_f64().ok_or_else(wrong),
        None => Ok(open),
    };
    let (min, max) = (bound("min", f64::NEG_INFINITY)?, bound("max", f64::INFINITY)?);
    if min > max {
        return Err((format!("empty range: `min` {min} is greater than `max` {max}"), None));
    }
    Ok(ColumnCondition::Range { min, max })
}
