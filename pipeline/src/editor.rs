//! JSON Schema of a pipeline file with the options of every node type, for editors.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::{NodeDef, Registry};

/// JSON Schema of a pipeline file with the options of every node type, for editors
/// (`configs/schema.json`).
///
/// ```
/// let schema = pipeline::file_schema(&pipeline::Registry::new(&[]));
/// assert_eq!(schema["title"], "semantik pipeline");
/// assert_eq!(schema["required"], serde_json::json!(["version", "name", "nodes"]));
/// ```
pub fn file_schema(registry: &Registry) -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let mut options = Vec::new();
    for def in registry.iter() {
        let schema: Value = (def.schema)(&mut generator).into();
        let properties = json!({ "with": schema });
        let then = if requires_options(def) {
            json!({ "properties": properties, "required": ["with"] })
        } else {
            json!({ "properties": properties })
        };
        options.push(json!({
            "if": { "properties": { "uses": { "const": def.name } }, "required": ["uses"] },
            "then": then,
        }));
    }
    let names: Vec<Value> = registry
        .iter()
        .map(|def| json!({ "const": def.name, "description": def.summary }))
        .collect();
    let mut schema: Value = generator.into_root_schema_for::<crate::PipelineFile>().into();
    let node = &mut schema["$defs"]["NodeSpec"];
    node["properties"]["uses"]["oneOf"] = Value::Array(names);
    node["allOf"] = Value::Array(options);
    schema
}

/// `true` if a node type has required options.
fn requires_options(def: &NodeDef) -> bool {
    let mut generator =
        schemars::SchemaGenerator::new(SchemaSettings::draft2020_12().with(|settings| {
            settings.inline_subschemas = true;
        }));
    let schema: Value = (def.schema)(&mut generator).into();
    schema["required"].as_array().is_some_and(|required| !required.is_empty())
}
