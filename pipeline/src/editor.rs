//! What an editor wants to know of a pipeline file: its JSON Schema, with the options of every node.

use serde_json::{Value, json};

use crate::Registry;

/// JSON Schema of a pipeline file with the options of every node, for editors (`configs/schema.json`).
pub fn file_schema(registry: &Registry) -> Value {
    let mut generator = schemars::generate::SchemaSettings::draft2020_12().into_generator();
    let mut options = Vec::new();
    for def in registry.iter() {
        let schema: Value = (def.schema)(&mut generator).into();
        options.push(json!({
            "if": { "properties": { "uses": { "const": def.name } } },
            "then": { "properties": { "with": schema } },
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
