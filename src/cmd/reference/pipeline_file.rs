//! The reference of pipeline files, from their JSON Schema: `docs/reference/pipeline-file.md`.

use serde_json::Value;

use crate::cmd::reference::schema_type::SchemaType;
use crate::cmd::reference::{anchor, paragraph, row, sentences};
use crate::composition;

const INTRODUCTION: &str = "\
# Pipeline file

<!-- Generated from the JSON Schema; `make snapshots` updates this page. -->

All keys of a pipeline file. The [guide](../pipeline-file.md) explains how they work together;
`semantik check FILE` reports every error with its position, and `semantik schema` prints the JSON
Schema for editors. Together, the examples of this page are one valid file.
";

/// Examples by the path of their section. Joined in the order of the page, they are one pipeline
/// file.
const EXAMPLES: &[(&str, &str)] = &[
    (
        "",
        "\
version: 1
name: handbook
collection: handbook
description: Contracts, policies and manuals",
    ),
    (
        "stores",
        "\
stores:
  postgres: embedded       # or postgres://semantik:${PGPASSWORD}@db.example.org/semantik
  vectors: embedded        # or { qdrant: \"http://localhost:6334\", api_key: \"${QDRANT_API_KEY}\" }
  data: ./data
  webhooks:
    ops: { url: \"https://ops.example.org/hook\", secret: \"${OPS_SECRET:-replace-this-secret}\" }",
    ),
    (
        "nodes[]",
        "\
nodes:
  - id: pages              # a branch for web pages
    uses: extract
    from: dedup
    when: { mime_type: text/html }
    workers: 2",
    ),
    (
        "chunk",
        "  - id: chunk
    uses: chunk
    from: [pages, texts]
    with: { strategy: markdown, size: 256, overlap: 32 }",
    ),
    ("dedup", "  - { id: dedup, uses: dedup, from: hash }"),
    (
        "embed",
        "  - id: embed
    uses: embed
    from: chunk
    with:
      model: hf:sentence-transformers/all-MiniLM-L6-v2
      sparse: { kind: bm25, language: en }",
    ),
    (
        "extract",
        "  - id: texts              # a branch for the other formats
    uses: extract
    from: dedup
    when: { mime_type: [\"text/plain\", \"text/markdown\", \"application/pdf\"] }
    with: { max_seconds: 30, max_memory: 512MiB }",
    ),
    ("hash", "  - { id: hash, uses: hash, from: scan }"),
    (
        "parquet",
        "  - id: export
    uses: parquet
    from: embed
    with: { path: ./export }",
    ),
    (
        "scan",
        "  - id: scan
    uses: scan
    with:
      paths: [./corpus]
      include: [\"**/*.html\", \"**/*.md\", \"**/*.pdf\"]
      exclude: [\"drafts/**\"]
      max_size: 20MB",
    ),
    (
        "upsert",
        "  - id: upsert
    uses: upsert
    from: embed
    with: { quantization: float16 }",
    ),
    (
        "lifecycle",
        "\
lifecycle:
  max_delete_ratio: 0.3
  retain_generations: 2
  golden:
    - { query: \"who signs a contract\", expect: contracts/signing.html, k: 5 }",
    ),
    (
        "search",
        "\
search:
  fusion: { method: convex, dense: 0.7 }
  documents: { merge_adjacent: true }",
    ),
    (
        "schedule",
        "\
schedule:
  cron: \"30 2 * * MON-FRI\"
  timezone: Europe/Berlin
  jitter: 10m
  retry: { attempts: 3, backoff: 1m }",
    ),
    (
        "notify[]",
        "\
notify:
  - { webhook: ops, on: [failure, recovery] }",
    ),
    (
        "tests[]",
        "\
tests:
  - name: a page keeps its headings
    input:
      name: page.html
      text: <html><title>Birds</title><h1>Birds</h1><p>The heron stands in the water.</p></html>
    expect:
      text: { contains: [The heron stands], lacks: [\"<p>\"] }
      chunks: { count: 1, at: [{ index: 0, headings: Birds }] }
      route: { through: [pages, chunk], around: [texts] }",
    ),
];

/// The whole page.
pub(super) fn page() -> String {
    let schema = pipeline::file_schema(&composition::registry());
    let reference = Reference { definitions: &schema["$defs"] };
    let mut page = INTRODUCTION.to_owned();
    page += "\n## Keys of the file\n";
    page += &example("");
    let (table, objects) = reference.table("", &schema);
    page += &table;
    for (path, object) in objects {
        page += &reference.section(&path, object, 2);
        if path == "nodes[]" {
            for node in node_types(&schema) {
                page += &reference.node_type(node);
            }
        }
    }
    page
}

/// The conditions of the schema that give each node type its options.
fn node_types(schema: &Value) -> impl Iterator<Item = &Value> {
    schema["$defs"]["NodeSpec"]["allOf"].as_array().into_iter().flatten()
}

struct Reference<'a> {
    definitions: &'a Value,
}

impl<'a> Reference<'a> {
    /// The section of an object, followed by those of the objects in it.
    fn section(&self, path: &str, object: &'a Value, level: usize) -> String {
        let mut text = format!("\n{} `{path}`\n", "#".repeat(level));
        text += &described(object);
        text += &example(path);
        text + &self.properties(path, object, level)
    }

    /// The section of a node type.
    fn node_type(&self, condition: &'a Value) -> String {
        let name = condition["if"]["properties"]["uses"]["const"].as_str().unwrap_or_default();
        let uses = &self.definitions["NodeSpec"]["properties"]["uses"]["oneOf"];
        let mut uses = uses.as_array().into_iter().flatten();
        let summary = uses.find(|it| it["const"] == name).map(|it| &it["description"]);
        let summary = summary.and_then(Value::as_str).unwrap_or_default();
        let mut text =
            format!("\n### Node type {name}\n\n{}", paragraph(&format!("{summary}."), ""));
        let options =
            SchemaType::of(&condition["then"]["properties"]["with"], name, self.definitions);
        let Some((_, options)) = options.objects.first() else {
            return text + &example(name) + "\nIt has no options.\n";
        };
        text += &described(options);
        text += &example(name);
        text + &self.properties(name, options, 3)
    }

    fn properties(&self, path: &str, object: &'a Value, level: usize) -> String {
        let (mut text, objects) = self.table(path, object);
        for (path, object) in objects {
            text += &self.section(&path, object, level + 1);
        }
        text
    }

    /// The table of the keys of an object, the values of its enumerations, and the objects in it.
    fn table(&self, path: &str, object: &'a Value) -> (String, Vec<(String, &'a Value)>) {
        let mut table = "\n| key | type | default | description |\n|---|---|---|---|\n".to_owned();
        let mut values = String::new();
        let mut objects = Vec::new();
        for (key, property) in object["properties"].as_object().into_iter().flatten() {
            let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let kind = SchemaType::of(property, &below, self.definitions);
            let required =
                object["required"].as_array().is_some_and(|it| it.contains(&key.as_str().into()));
            let default = if required { "required".to_owned() } else { default_of(property) };
            let own = property["description"].as_str().unwrap_or_default().to_owned();
            let pattern = kind.pattern.map(|pattern| format!("Pattern: `{pattern}`"));
            let further = kind.description.map(str::to_owned).into_iter().chain(pattern);
            let parts: Vec<String> = [own].into_iter().chain(further).collect();
            table += &row([&format!("`{key}`"), &kind.text, &default, &sentences(&parts)]);
            if kind.values.len() > 1 {
                values += &format!("\nValues of `{key}`:\n\n");
                for (value, description) in kind.values {
                    let value = if below == "nodes[].uses" {
                        format!("[`{value}`](#{})", anchor(&format!("Node type {value}")))
                    } else {
                        format!("`{value}`")
                    };
                    values += &paragraph(&format!("- {value}: {description}"), "  ");
                }
            }
            objects.extend(kind.objects);
        }
        (table + &values, objects)
    }
}

/// The description of an object as a paragraph.
fn described(object: &Value) -> String {
    let description = object["description"].as_str().unwrap_or_default();
    // Options of nodes repeat the name of the node.
    if description.is_empty()
        || description.starts_with("Options of") && !description.contains(". ")
    {
        return String::new();
    }
    format!("\n{}", paragraph(description, ""))
}

fn example(path: &str) -> String {
    let example = EXAMPLES.iter().find(|(section, _)| *section == path);
    example.map_or_else(String::new, |(_, yaml)| format!("\n```yaml\n{yaml}\n```\n"))
}

fn default_of(property: &Value) -> String {
    match property.get("default") {
        // Types without a JSON form have no default in the schema.
        None if property["type"] == "array" => "`[]`".to_owned(),
        None | Some(Value::Null) => String::new(),
        Some(value) => format!("`{}`", flow_yaml(value)),
    }
}

/// A value in the flow style of YAML, without the quotes that it does not need.
fn flow_yaml(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(flow_yaml).collect::<Vec<_>>().join(", "))
        }
        Value::Object(entries) if entries.is_empty() => "{}".to_owned(),
        Value::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| format!("{key}: {}", flow_yaml(value)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
