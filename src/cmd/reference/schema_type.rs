//! Types of the JSON Schema of pipeline files as text: `integer, 1 to 256`, `list of strings`.

use serde_json::Value;

use crate::cmd::reference::{alternatives, anchor};

/// A type as text, with what the page describes below the table that contains it.
#[derive(Default)]
pub(super) struct SchemaType<'a> {
    /// The type for a cell of a table.
    pub(super) text: String,
    /// Its named values with their descriptions.
    pub(super) values: Vec<(&'a str, &'a str)>,
    /// The objects in it, each with the path of its section.
    pub(super) objects: Vec<(String, &'a Value)>,
    /// Description of the type itself.
    pub(super) description: Option<&'a str>,
    /// Regular expression that matches its strings.
    pub(super) pattern: Option<&'a str>,
}

impl<'a> SchemaType<'a> {
    /// Describes the value at `path`; `definitions` resolves references.
    pub(super) fn of(schema: &'a Value, path: &str, definitions: &'a Value) -> Self {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.rsplit('/').next().unwrap_or_default();
            return Self::of(&definitions[name], path, definitions);
        }
        for key in ["oneOf", "anyOf"] {
            if let Some(options) = schema[key].as_array() {
                return Self::of_alternatives(schema, options, path, definitions);
            }
        }
        match type_name(schema) {
            Some("array") => Self::list(schema, path, definitions),
            Some("object") => Self::object(schema, path, definitions),
            Some(name) => {
                let pattern = schema["pattern"].as_str().filter(|_| schema["examples"].is_null());
                Self { text: constrained(schema, name), pattern, ..Self::default() }
            }
            None => Self { text: "any value".to_owned(), ..Self::default() },
        }
    }

    fn of_alternatives(
        schema: &'a Value,
        options: &'a [Value],
        path: &str,
        definitions: &'a Value,
    ) -> Self {
        let options = options.iter().filter(|option| type_name(option) != Some("null"));
        let options: Vec<&Value> = options.collect();
        // Types of JSON, which the description of the schema explains together.
        if options.len() > 1 && options.iter().all(|option| option["description"].is_null()) {
            let names = options.iter().filter_map(|option| type_name(option));
            let names: Vec<String> = names.map(str::to_owned).collect();
            if names.len() == options.len() {
                let description = schema["description"].as_str();
                return Self { text: alternatives(&names), description, ..Self::default() };
            }
        }
        let mut out = Self::default();
        let mut texts = Vec::new();
        for option in options {
            if let Some(value) = option["const"].as_str() {
                texts.push(format!("`{value}`"));
                out.values.push((value, option["description"].as_str().unwrap_or_default()));
                continue;
            }
            let inner = Self::of(option, path, definitions);
            let values: Vec<String> =
                inner.values.iter().map(|(value, _)| format!("`{value}`")).collect();
            if inner.text == alternatives(&values) {
                texts.extend(values);
            } else {
                texts.push(inner.text);
            }
            out.values.extend(inner.values);
            out.objects.extend(inner.objects);
            out.pattern = out.pattern.or(inner.pattern);
        }
        out.text = alternatives(&texts);
        out
    }

    fn list(schema: &'a Value, path: &str, definitions: &'a Value) -> Self {
        let item = Self::of(&schema["items"], &format!("{path}[]"), definitions);
        let plural = match item.text.as_str() {
            "string" => "strings".to_owned(),
            "integer" => "integers".to_owned(),
            text => text.replace("[object]", "[objects]"),
        };
        let count = match (schema["minItems"].as_u64(), schema["maxItems"].as_u64()) {
            (Some(1), None) => ", not empty".to_owned(),
            (None, Some(most)) => format!(", at most {most}"),
            (Some(least), Some(most)) => format!(", {least} to {most}"),
            (Some(least), None) => format!(", at least {least}"),
            (None, None) => String::new(),
        };
        Self { text: format!("list of {plural}{count}"), ..item }
    }

    fn object(schema: &'a Value, path: &str, definitions: &'a Value) -> Self {
        if schema["properties"].is_object() {
            let text = format!("[object](#{})", anchor(path));
            return Self { text, objects: vec![(path.to_owned(), schema)], ..Self::default() };
        }
        let values = &schema["additionalProperties"];
        if values.is_object() {
            let inner = Self::of(values, &format!("{path}.NAME"), definitions);
            return Self { text: format!("map of names to {}", inner.text), ..inner };
        }
        Self { text: "object".to_owned(), ..Self::default() }
    }
}

/// The JSON type; of an optional value, that of its presence.
fn type_name(schema: &Value) -> Option<&str> {
    let name = &schema["type"];
    match name.as_array() {
        Some(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        None => name.as_str(),
    }
}

/// The largest number that needs no mention: the type already limits it.
const NO_LIMIT: u64 = u32::MAX as u64;

fn constrained(schema: &Value, name: &str) -> String {
    let least = &schema["minimum"];
    let most = if schema["maximum"].as_u64() == Some(NO_LIMIT) {
        &Value::Null
    } else {
        &schema["maximum"]
    };
    let number = |value: &Value| match value.as_f64() {
        Some(whole) if whole.fract() == 0.0 => format!("{whole:.0}"),
        _ => value.to_string(),
    };
    let range = match (least.is_null(), most.is_null()) {
        (false, false) if least == most => Some(number(least)),
        (false, false) => Some(format!("{} to {}", number(least), number(most))),
        (false, true) => Some(format!("at least {}", number(least))),
        (true, false) => Some(format!("at most {}", number(most))),
        (true, true) => None,
    };
    let examples = schema["examples"].as_array().map(|examples| {
        let examples: Vec<String> =
            examples.iter().filter_map(Value::as_str).map(|it| format!("`{it}`")).collect();
        format!("such as {}", alternatives(&examples))
    });
    let not_empty = (schema["minLength"].as_u64() == Some(1)).then(|| "not empty".to_owned());
    match range.or(examples).or(not_empty) {
        Some(constraint) => format!("{name}, {constraint}"),
        None => name.to_owned(),
    }
}
