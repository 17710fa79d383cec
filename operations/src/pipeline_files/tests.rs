//! Tests of files that change, disappear and return.

use pipeline::{
    BoxError, Cache, Embedder, EmbedderOptions, ModelInfo, ModelProvider, Registry, Tokenizer,
};

use super::*;
use crate::composition::Models;

fn pipeline(name: &str, more: &str) -> String {
    format!(
        "\
version: 1
name: {name}
collection: docs
{more}
nodes:
  - {{ id: scan,    uses: scan,    with: {{ paths: [.] }} }}
  - {{ id: hash,    uses: hash,    from: scan }}
  - {{ id: extract, uses: extract, from: hash }}
  - {{ id: chunk,   uses: chunk,   from: extract, with: {{ size: 64, overlap: 8, unit: characters }} }}
  - {{ id: embed,   uses: embed,   from: chunk, with: {{ model: 'stand-in:16' }} }}
  - {{ id: upsert,  uses: upsert,  from: embed }}
"
    )
}

/// Models that can be described, and not loaded.
struct DescribedModels;

impl Models for DescribedModels {
    fn provider(&self, _: Option<Arc<dyn Cache>>) -> Arc<dyn ModelProvider> {
        Arc::new(Self)
    }

    fn is_available(&self, _: &Path) -> bool {
        false
    }

    fn fetch(&self, _: &Path) -> Result<(), BoxError> {
        Err("there is no model".into())
    }
}

impl ModelProvider for DescribedModels {
    fn describe(&self, model: &Path) -> Result<ModelInfo, BoxError> {
        let (path, short_name) = (model.to_owned(), "described".to_owned());
        let fingerprint = short_name.clone();
        Ok(ModelInfo { path, short_name, dim: 16, max_tokens: 512, fingerprint })
    }

    fn tokenizer(&self, _: &Path) -> Result<Arc<dyn Tokenizer>, BoxError> {
        Err("there is no model".into())
    }

    fn embedder(&self, _: &Path, _: &EmbedderOptions) -> Result<Arc<dyn Embedder>, BoxError> {
        Err("there is no model".into())
    }
}

fn composition() -> Arc<Composition> {
    Arc::new(Composition {
        nodes: Registry::new(&[sources::NODES, stages::NODES, sinks::NODES]),
        models: Arc::new(DescribedModels),
        variable: |_| None,
        data_folder: None,
        worker_program: || None,
    })
}

fn fault_of(files: &PipelineFiles) -> Option<String> {
    files.refresh();
    files.faults().into_iter().next().map(|(_, fault)| fault)
}

#[test]
fn a_file_that_vanishes_and_comes_back_as_it_was_is_whole_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("docs.yaml");
    fs_err::write(&path, pipeline("docs", "")).unwrap();
    let files = PipelineFiles::new(vec![path.clone()], composition());
    assert_eq!(fault_of(&files), None);
    fs_err::remove_file(&path).unwrap();
    assert!(
        fault_of(&files).is_some_and(|it| it.contains("No such file")),
        "the missing file is reported"
    );
    assert_eq!(
        (files.loaded().len(), files.present().len()),
        (1, 0),
        "its last version stays in use"
    );
    assert_eq!(files.status()[0]["gone"], true);
    fs_err::write(&path, pipeline("docs", "")).unwrap();
    assert_eq!(fault_of(&files), None);
    assert_eq!(files.present().len(), 1);

    // An export has no collection, so it has no operations either.
    let lines = pipeline("docs", "");
    let export = lines.split_inclusive('\n').filter(|line| !line.contains("uses: upsert"));
    let sink = "  - { id: out, uses: parquet, from: embed, with: { path: out } }\n";
    fs_err::write(&path, export.chain([sink]).collect::<String>()).unwrap();
    assert!(fault_of(&files).is_some_and(|it| it.contains("writes no collection")));
    fs_err::write(&path, pipeline("docs", "")).unwrap();
    assert_eq!(fault_of(&files), None);

    // A file that returns with invalid content is invalid, also after it is touched.
    fs_err::remove_file(&path).unwrap();
    files.refresh();
    for _ in 0..2 {
        fs_err::write(&path, "nothing of the kind").unwrap();
        assert!(fault_of(&files).is_some_and(|it| !it.contains("No such file")));
    }
    assert_eq!(files.loaded().len(), 1);
    assert!(files.removed().is_empty(), "the pipeline was served throughout");
}

#[test]
fn pipelines_that_no_file_has_any_more_are_named_until_somebody_takes_notice() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a.yaml"), folder.path().join("b.yaml"));
    fs_err::write(&a, pipeline("a", "schedule: { cron: \"@daily\" }\n")).unwrap();
    fs_err::write(&b, pipeline("b", "")).unwrap();
    let files = PipelineFiles::new(vec![folder.path().to_owned()], composition());
    assert_eq!(files.status()[0]["schedule"], true);
    // The pipeline is still served under another file name.
    fs_err::rename(&a, folder.path().join("c.yaml")).unwrap();
    files.refresh();
    assert!(files.removed().is_empty());
    fs_err::remove_file(folder.path().join("c.yaml")).unwrap();
    fs_err::write(&b, pipeline("renamed", "")).unwrap();
    files.refresh();
    let gone = files.removed();
    assert_eq!(gone.iter().map(|it| it.key().pipeline).collect::<Vec<_>>(), ["a", "b"]);
    files.acknowledge_removed(&gone);
    files.refresh();
    assert!(files.removed().is_empty());
}
