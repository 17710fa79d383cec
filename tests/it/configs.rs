//! Checks `configs/`: each pipeline compiles, and the JSON Schema is current.

use std::path::Path;

use serde_json::Value;

use crate::support::{ROOT, command, ran};

#[test]
fn every_pipeline_compiles() {
    let mut checked = 0;
    for entry in std::fs::read_dir(Path::new(ROOT).join("configs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let ran = ran(command(&["check", path.to_str().unwrap()]).output().unwrap());
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            // Its sample documents have the expected results.
            let tested =
                crate::support::ran(command(&["test", path.to_str().unwrap()]).output().unwrap());
            assert_eq!(tested.code, 0, "{}{}", tested.stdout, tested.stderr);
            checked += 1;
        }
    }
    assert!(checked > 0);
}

#[test]
fn the_schema_is_current() {
    let said = ran(command(&["schema"]).output().unwrap()).stdout;
    let path = Path::new(ROOT).join("configs/schema.json");
    if std::env::var_os("SEMANTIK_UPDATE").is_some() {
        std::fs::write(&path, &said).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == said, "configs/schema.json is out of date; run `make snapshots`");
}

/// Editors validate with the schema: it must reject a misspelt option or stage, and a missing
/// option, as the command does.
#[test]
fn the_schema_refuses_what_the_command_refuses() {
    let text = std::fs::read_to_string(Path::new(ROOT).join("configs/schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let good = serde_json::json!({
        "version": 1, "name": "x", "collection": "x",
        "stores": { "postgres": "embedded", "vectors": "embedded" },
        "nodes": [
            { "id": "scan", "uses": "scan", "with": { "paths": ["x"] } },
            { "id": "chunk", "uses": "chunk", "from": "scan", "with": { "size": 100 } },
        ],
    });
    assert!(
        validator.is_valid(&good),
        "{:?}",
        validator.iter_errors(&good).map(|e| e.to_string()).collect::<Vec<_>>()
    );
    let mut bad = good.clone();
    bad["nodes"][1]["with"] = serde_json::json!({ "sise": 100 });
    assert!(!validator.is_valid(&bad));
    let mut bad = good.clone();
    bad["nodes"][0].as_object_mut().unwrap().remove("with");
    assert!(!validator.is_valid(&bad));
    let mut bad = good;
    bad["nodes"][0]["uses"] = "scna".into();
    assert!(!validator.is_valid(&bad));
}
