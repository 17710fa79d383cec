//! `semantik graph`: draws a pipeline in the notation of Mermaid or Graphviz.

use std::fmt::Write as _;

use pipeline::{BoxError, Plan};
use serde_json::json;

use crate::cli::{GraphArgs, GraphFormat};
use crate::{composition, render};

pub(super) fn graph(args: &GraphArgs) -> Result<(), BoxError> {
    let (_, plan) = composition::load(&args.file)?;
    if args.json {
        let nodes: Vec<_> = plan
            .graph()
            .map(|(id, uses, inputs)| json!({ "id": id, "uses": uses, "inputs": inputs }))
            .collect();
        return render::print_json(&json!({ "pipeline": plan.name(), "nodes": nodes }));
    }
    let picture = match args.format {
        GraphFormat::Mermaid => mermaid(&plan)?,
        GraphFormat::Dot => dot(&plan)?,
    };
    render::print(&picture)
}

/// The label of a node: its id and, if different, the name of its stage.
fn node_label(id: &str, uses: &str, between: &str) -> String {
    if id == uses { id.to_owned() } else { format!("{id}{between}{uses}") }
}

fn mermaid(plan: &Plan) -> Result<String, BoxError> {
    let mut out = String::from("flowchart LR\n");
    for (id, uses, inputs) in plan.graph() {
        writeln!(out, "    {id}[\"{}\"]", node_label(id, uses, "<br/>"))?;
        for input in inputs {
            writeln!(out, "    {input} --> {id}")?;
        }
    }
    Ok(out)
}

fn dot(plan: &Plan) -> Result<String, BoxError> {
    let mut out = String::from("digraph pipeline {\n    rankdir=LR;\n    node [shape=box];\n");
    for (id, uses, inputs) in plan.graph() {
        writeln!(out, "    \"{id}\" [label=\"{}\"];", node_label(id, uses, "\\n"))?;
        for input in inputs {
            writeln!(out, "    \"{input}\" -> \"{id}\";")?;
        }
    }
    out.push_str("}\n");
    Ok(out)
}
