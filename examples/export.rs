//! Runs a pipeline file without a model, a database or a server, and reports what happened.
//!
//! ```text
//! cargo run -p examples --example export -- examples/export.yaml
//! ```
//!
//! Ctrl-C stops the sources; documents in flight are still exported.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pipeline::{
    BoxError, EmbedderUsage, Engine as _, LocalEngine, NoModels, PipelineSpec, Plan,
    ProgressSampler, Registry, Resources, RunOptions, RunReport,
};

/// Checks a pipeline file.
///
/// # Errors
/// All faults of the file, with the lines that have them.
fn compile(file: &Path) -> Result<Plan, BoxError> {
    let env = |name: &str| std::env::var(name).ok();
    let spec = PipelineSpec::from_yaml(file, &fs_err::read_to_string(file)?, &env)?;
    let registry = Registry::new(&[sources::NODES, stages::NODES, sinks::NODES]);
    Ok(Plan::compile(&spec, &registry, &NoModels)?)
}

/// Runs a plan, and writes its progress once a second.
async fn run(plan: Plan, out: &mut (impl Write + Send)) -> Result<RunReport, BoxError> {
    let options = RunOptions::new(&plan);
    let stop = options.stop.clone();
    let nodes = plan.graph().map(|(id, _, _)| id.to_owned()).collect();
    let (metrics, rejections) = (Arc::clone(&options.metrics), options.rejections.clone());
    let mut sampler = ProgressSampler::new(nodes, metrics, rejections);
    let resources = Resources::without_collection();
    let mut running = LocalEngine.run(plan, &resources, options);
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            report = &mut running => return Ok(report?),
            Ok(()) = tokio::signal::ctrl_c() => stop.cancel(),
            _ = every_second.tick() => {
                let progress = sampler.sample(EmbedderUsage::default());
                writeln!(out, "{} of {} documents", progress.finished(), progress.seen)?;
            }
        }
    }
}

fn write_report(report: &RunReport, out: &mut impl Write) -> Result<(), BoxError> {
    let counts = report.documents;
    writeln!(out, "{} documents, {} chunks", counts.stored, report.chunks)?;
    for node in &report.nodes {
        writeln!(out, "{:8} {:6} documents {:6.2} s", node.id, node.rows_out, node.busy_seconds)?;
    }
    for document in &report.set_aside {
        writeln!(out, "{} left at {}: {}", document.uri, document.node, document.message)?;
    }
    Ok(())
}

async fn export(file: &Path, out: &mut (impl Write + Send)) -> Result<(), BoxError> {
    let plan = compile(file)?;
    // The graph with the columns after each node.
    write!(out, "{plan}")?;
    let report = run(plan, out).await?;
    write_report(&report, out)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let file = std::env::args_os().nth(1).ok_or("usage: export FILE")?;
    export(Path::new(&file), &mut std::io::stdout()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn exported(file: &Path) -> Result<String, BoxError> {
        let mut out = Vec::new();
        export(file, &mut out).await?;
        Ok(String::from_utf8(out)?)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_documentation_of_this_project_is_exported() {
        let folder = tempfile::tempdir().unwrap();
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let yaml = fs_err::read_to_string(here.join("export.yaml")).unwrap();
        fs_err::create_dir_all(folder.path().join("docs")).unwrap();
        for page in ["concepts.md", "search.md"] {
            let to = folder.path().join("docs").join(page);
            fs_err::copy(here.join("../docs").join(page), to).unwrap();
        }
        fs_err::write(folder.path().join("docs/empty.md"), "").unwrap();
        // The file is in a folder beside `docs`, as in the repository.
        let file = folder.path().join("examples/export.yaml");
        fs_err::create_dir_all(folder.path().join("examples")).unwrap();
        fs_err::write(&file, yaml).unwrap();
        let out = exported(&file).await.unwrap();
        assert!(out.contains("chunk (chunk) ← extract"), "{out}");
        assert!(out.contains("\n2 documents, "), "{out}");
        assert!(out.contains("/docs/empty.md left at extract: has no text"), "{out}");
        assert!(folder.path().join("target/dataset/documents").is_dir());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn faults_of_the_file_are_shown_with_their_lines() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("export.yaml");
        let yaml = "version: 1\nname: a\ncollection: a\nnodes:\n  - { id: scan, uses: scna }\n";
        fs_err::write(&file, yaml).unwrap();
        let error = exported(&file).await.unwrap_err().to_string();
        assert!(error.contains("unknown node type `scna`"), "{error}");
        assert!(error.contains("export.yaml:5:23"), "{error}");
        assert!(error.contains("did you mean `scan`?"), "{error}");
    }
}
