//! Checks a JSON value against a JSON Schema and writes a message for each violation.
//!
//! The schemas come from the option structs, so this check, `serde` and `configs/schema.json`
//! accept the same files.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enums of jsonschema have dozens of variants"
)]

use std::fmt::Write as _;

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use serde_json::Value;

use crate::finding::{Finding, suggest};
use crate::yaml::{YamlDocument, escape_pointer_segment};

/// All violations of `schema` by the value at `pointer`.
pub(crate) fn validate(
    document: &YamlDocument,
    pointer: &str,
    schema: &Value,
) -> Vec<SchemaViolation> {
    let value = document.value.pointer(pointer).unwrap_or(&Value::Null);
    let validator = jsonschema::validator_for(schema).expect("schemars generates valid schemas");
    let faults = validator.iter_errors(value).flat_map(|error| describe_error(&error, schema));
    faults
        .map(|fault| SchemaViolation { pointer: format!("{pointer}{}", fault.pointer), ..fault })
        .collect()
}

/// A violation with its position.
pub(crate) struct SchemaViolation {
    /// JSON pointer to the value; for a missing key, to the map that lacks it.
    pub pointer: String,
    /// The missing key.
    pub missing: Option<String>,
    /// `true` if the key is invalid, and not its value.
    of_key: bool,
    message: String,
    help: Option<String>,
}

impl SchemaViolation {
    pub(crate) fn into_finding(self, document: &YamlDocument) -> Finding {
        let at = if self.of_key {
            document.key_span(&self.pointer)
        } else {
            document.span_of(&self.pointer)
        };
        Finding { help: self.help, ..Finding::new(at, self.message) }
    }
}

fn describe_error(error: &ValidationError<'_>, schema: &Value) -> Vec<SchemaViolation> {
    let pointer = error.instance_path().as_str().to_owned();
    let name = pointer_name(&pointer);
    let found = found_value(error);
    let of_value = |message: String| SchemaViolation {
        pointer: pointer.clone(),
        missing: None,
        of_key: false,
        message,
        help: None,
    };
    let fault = match error.kind() {
        Kind::AdditionalProperties { unexpected } => {
            let known = known_keys(error, schema);
            return unexpected
                .iter()
                .map(|key| SchemaViolation {
                    pointer: format!("{pointer}/{}", escape_pointer_segment(key)),
                    missing: None,
                    of_key: true,
                    message: format!("unknown key `{key}`"),
                    help: suggest(key, known.iter().map(String::as_str))
                        .or_else(|| allowed_values_help(&known)),
                })
                .collect();
        }
        Kind::Required { property } => SchemaViolation {
            pointer: pointer.clone(),
            missing: property.as_str().map(str::to_owned),
            of_key: true,
            message: format!("missing key `{}`", property.as_str().unwrap_or_default()),
            help: None,
        },
        Kind::Type { kind } => of_value(format!("{name} must be {}, not {found}", type_name(kind))),
        Kind::Minimum { limit } => {
            of_value(format!("{name} must be at least {limit}, not {found}"))
        }
        Kind::Maximum { limit } if pointer == "/version" => SchemaViolation {
            help: Some(format!("write `version: {limit}`, or use a newer version of semantik")),
            ..of_value(format!(
                "unsupported file version {}: this version of semantik reads version {limit}",
                unquoted(error.instance())
            ))
        },
        Kind::Maximum { limit } => of_value(format!("{name} must be at most {limit}, not {found}")),
        Kind::ExclusiveMinimum { limit } => {
            of_value(format!("{name} must be more than {limit}, not {found}"))
        }
        Kind::ExclusiveMaximum { limit } => {
            of_value(format!("{name} must be less than {limit}, not {found}"))
        }
        Kind::MinItems { limit } => of_value(format!("{name} must have at least {limit} items")),
        Kind::MaxItems { limit } => of_value(format!("{name} must have at most {limit} items")),
        Kind::MinLength { limit: 1 } => of_value(format!("{name} must not be empty")),
        Kind::Enum { options } => {
            let options: Vec<String> =
                options.as_array().into_iter().flatten().map(unquoted).collect();
            with_allowed_values(of_value(format!("{name} cannot be {found}")), error, &options)
        }
        Kind::Constant { expected_value } => with_allowed_values(
            of_value(format!("{name} cannot be {found}")),
            error,
            &[unquoted(expected_value)],
        ),
        Kind::OneOfNotValid { context } | Kind::AnyOf { context } => {
            return closest_alternative(error, context, schema);
        }
        Kind::Pattern { .. } | Kind::Format { .. } => SchemaViolation {
            help: allowed_values_help(&accepted_examples(error, schema)),
            ..of_value(format!("{name} cannot be {found}"))
        },
        _ => of_value(format!("{name}: {error}")),
    };
    vec![fault]
}

/// Violations of a value that matches none of several forms: those of the nearest form, which has
/// the type of the value, else one violation that lists the allowed values.
fn closest_alternative(
    error: &ValidationError<'_>,
    context: &[Vec<ValidationError<'static>>],
    schema: &Value,
) -> Vec<SchemaViolation> {
    let pointer = error.instance_path().as_str();
    let same_type = |errors: &&Vec<ValidationError<'static>>| {
        !errors.iter().any(|e| {
            e.instance_path().as_str() == pointer
                && matches!(
                    e.kind(),
                    Kind::Type { .. }
                        | Kind::Enum { .. }
                        | Kind::Constant { .. }
                        | Kind::OneOfNotValid { .. }
                        | Kind::AnyOf { .. }
                )
        })
    };
    if let Some(nearest) = context.iter().filter(same_type).min_by_key(|errors| errors.len()) {
        return nearest.iter().flat_map(|error| describe_error(error, schema)).collect();
    }
    let mut options = Vec::new();
    for error in context.iter().flatten() {
        match error.kind() {
            Kind::Enum { options: some } => {
                options.extend(some.as_array().into_iter().flatten().map(unquoted));
            }
            Kind::Constant { expected_value } => options.push(unquoted(expected_value)),
            Kind::Type { kind } => options.push(type_name(kind)),
            _ => {}
        }
    }
    options.dedup();
    let found = found_value(error);
    let fault = SchemaViolation {
        pointer: pointer.to_owned(),
        missing: None,
        of_key: false,
        message: format!("{} cannot be {found}", pointer_name(pointer)),
        help: None,
    };
    vec![with_allowed_values(fault, error, &options)]
}

fn with_allowed_values(
    mut fault: SchemaViolation,
    error: &ValidationError<'_>,
    options: &[String],
) -> SchemaViolation {
    let word = error.instance().as_str().unwrap_or_default();
    fault.help =
        suggest(word, options.iter().map(String::as_str)).or_else(|| allowed_values_help(options));
    fault
}

fn allowed_values_help(options: &[String]) -> Option<String> {
    (!options.is_empty()).then(|| format!("it can be: {}", options.join(", ")))
}

/// The part of the schema that rejected a value.
fn failing_schema<'a>(error: &ValidationError<'_>, schema: &'a Value) -> Option<&'a Value> {
    let path = error
        .absolute_keyword_location()
        .and_then(|uri| uri.as_str().split_once('#'))
        .map_or_else(|| error.schema_path().as_str().to_owned(), |(_, path)| path.to_owned());
    schema.pointer(path.rsplit_once('/').map_or("", |(parent, _)| parent))
}

/// Example values in the part of the schema that rejected a value.
fn accepted_examples(error: &ValidationError<'_>, schema: &Value) -> Vec<String> {
    let examples = failing_schema(error, schema).and_then(|part| part.get("examples"));
    examples.and_then(Value::as_array).into_iter().flatten().map(unquoted).collect()
}

/// Keys in the part of the schema that rejected a key.
fn known_keys(error: &ValidationError<'_>, schema: &Value) -> Vec<String> {
    failing_schema(error, schema)
        .and_then(|part| part.get("properties"))
        .and_then(Value::as_object)
        .map(|properties| properties.keys().cloned().collect())
        .unwrap_or_default()
}

fn type_name(kind: &TypeKind) -> String {
    let name = |kind: &str| match kind {
        "integer" => "a whole number",
        "number" => "a number",
        "string" => "text",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "a map",
        _ => "empty",
    };
    let mut out = String::new();
    let mut push = |kind: &str| {
        if !out.is_empty() {
            out.push_str(" or ");
        }
        write!(out, "{}", name(kind)).expect("writing to a string cannot fail");
    };
    match kind {
        TypeKind::Single(kind) => push(kind.as_str()),
        TypeKind::Multiple(kinds) => {
            kinds
                .iter()
                .map(|kind| kind.as_str())
                .filter(|kind| *kind != "null")
                .for_each(&mut push);
        }
    }
    out
}

/// Name of the value at a pointer, for messages.
fn pointer_name(pointer: &str) -> String {
    let Some((parent, last)) = pointer.rsplit_once('/') else { return "the file".to_owned() };
    match last.parse::<usize>() {
        Ok(index) => format!("item {} of {}", index + 1, pointer_name(parent)),
        Err(_) => format!("`{last}`"),
    }
}

/// The value in the file, for messages; replaced where it may be a password.
fn found_value(error: &ValidationError<'_>) -> String {
    if error.instance_path().as_str().starts_with("/stores/") {
        return "this value".to_owned();
    }
    abbreviate(error.instance())
}

/// A value for messages, cut to 40 characters.
fn abbreviate(value: &Value) -> String {
    match value {
        Value::Null => "empty".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map".to_owned(),
        Value::String(text) if text.chars().count() > 40 => {
            format!("`{}…`", text.chars().take(39).collect::<String>())
        }
        Value::String(_) | Value::Bool(_) | Value::Number(_) => format!("`{}`", unquoted(value)),
    }
}

fn unquoted(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
