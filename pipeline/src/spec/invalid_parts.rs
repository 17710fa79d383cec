//! Removes invalid parts of a pipeline file, so that the rest can be checked.

use serde_json::Value;

use crate::validate::SchemaViolation;

/// Removes invalid parts: an invalid value is removed, a node keeps its index under an empty name,
/// and missing keys of the file and its nodes are filled in.
pub(super) fn remove_invalid(mut value: Value, faults: &[SchemaViolation]) -> Value {
    for fault in faults.iter().rev() {
        let is_whole = fault.pointer.is_empty();
        let is_node = fault.pointer.strip_prefix("/nodes/").is_some_and(|rest| !rest.contains('/'));
        match (&fault.missing, value.pointer_mut(&fault.pointer)) {
            (Some(key), Some(Value::Object(map))) if is_whole || is_node => {
                let filler = match key.as_str() {
                    "version" => Value::from(1),
                    "nodes" => Value::Array(Vec::new()),
                    _ => Value::from(""),
                };
                map.insert(key.clone(), filler);
            }
            (None, Some(node)) if is_node => *node = serde_json::json!({ "id": "", "uses": "" }),
            _ => remove(&mut value, &fault.pointer),
        }
    }
    value
}

/// Removes a value from its map. A required key keeps an empty text, and an invalid item removes
/// its whole list.
fn remove(value: &mut Value, pointer: &str) {
    let Some((parent, key)) = pointer.rsplit_once('/') else { return };
    match value.pointer_mut(parent) {
        Some(Value::Object(map)) if matches!(key, "id" | "uses" | "name" | "collection") => {
            map.insert(key.to_owned(), Value::from(""));
        }
        Some(Value::Object(map)) if key == "version" => {
            map.insert(key.to_owned(), Value::from(1));
        }
        Some(Value::Object(map)) => {
            map.remove(key);
        }
        Some(Value::Array(_)) => remove(value, parent),
        _ => {}
    }
}
