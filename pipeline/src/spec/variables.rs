//! Environment variables in the stores of a pipeline file.

use serde_json::Value;

use crate::finding::Finding;
use crate::yaml::YamlDocument;

/// Replaces environment variables in `stores`.
pub(super) fn expand_variables(
    document: &mut YamlDocument,
    env: &dyn Fn(&str) -> Option<String>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(mut stores) = document.value.get("stores").cloned() {
        substitute(&mut stores, "/stores", document, env, &mut findings);
        document.value["stores"] = stores;
    }
    findings
}

fn substitute(
    value: &mut Value,
    pointer: &str,
    document: &YamlDocument,
    env: &dyn Fn(&str) -> Option<String>,
    findings: &mut Vec<Finding>,
) {
    match value {
        Value::String(text) => match expand(text, env) {
            Ok(expanded) => *text = expanded,
            Err((message, help)) => {
                findings.push(Finding::new(document.span_of(pointer), message).with_help(help));
            }
        },
        Value::Object(map) => {
            for (key, value) in map {
                substitute(value, &format!("{pointer}/{key}"), document, env, findings);
            }
        }
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Replaces `${VAR}` and `${VAR:-default}`; as in a shell, the default applies to a variable that
/// is unset or empty.
fn expand(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<String, (String, &'static str)> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let Some((inside, behind)) = after.split_once('}') else {
            return Err(("`${` is not closed".to_owned(), "write `${VAR}` or `${VAR:-default}`"));
        };
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        if name.is_empty() || inside.contains("${") {
            return Err((
                format!("`${{{inside}}}` is not a valid variable"),
                "write `${VAR}` or `${VAR:-default}`",
            ));
        }
        let value = env(name).filter(|value| default.is_none() || !value.is_empty());
        match (value, default) {
            (Some(value), _) => out.push_str(&value),
            (None, Some(default)) => out.push_str(default),
            (None, None) => {
                return Err((
                    format!("the environment variable `{name}` is not set"),
                    "set it, or give a default: `${VAR:-default}`",
                ));
            }
        }
        rest = behind;
    }
    out.push_str(rest);
    Ok(out)
}
