//! A folder with a pipeline file and documents, the command run in it, and what the stores then hold.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use pipeline::{Point, VectorIndex as _};
use serde_json::Value;
use sinks::{EdgeStore, EmbeddedPostgres, Postgres, PostgresOptions, Quantization, VectorsConfig};

pub(crate) const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The real model; `make test` puts it there.
pub(crate) fn model() -> PathBuf {
    let model = Path::new(ROOT).join(".cache/models/all-MiniLM-L6-v2");
    assert!(model.exists(), "the model is missing; run `.ci/setup model`");
    model
}

/// A folder of its own, in which `pipeline.yaml` indexes `corpus/`.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

/// How a command ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", self.stdout, self.stderr))
    }
}

impl Place {
    /// A place whose pipeline embeds with the real model.
    pub(crate) fn new() -> Self {
        Self::with(&format!("model: {}", model().display()), "")
    }

    /// A place whose pipeline embeds with the stand-in, for tests of everything else.
    pub(crate) fn with_stand_in() -> Self {
        Self::with("model: 'stand-in:16'", "")
    }

    /// A place with these options of the embed node and these stores.
    pub(crate) fn with(embed: &str, stores: &str) -> Self {
        // The server of the embedded Postgres runs as another user when this one is root, and has to
        // reach its folder.
        let folder = tempfile::Builder::new().prefix("semantik-test-").tempdir().unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let place = Self { folder };
        std::fs::create_dir(place.corpus()).unwrap();
        place.write_pipeline(embed, stores, "size: 64, overlap: 8");
        place
    }

    pub(crate) fn write_pipeline(&self, embed: &str, stores: &str, chunk: &str) {
        let yaml = format!(
            "\
version: 1
name: test
collection: test
{stores}
nodes:
  - {{ id: scan,    uses: scan,    with: {{ paths: [corpus], max_size: 8MB, batch_bytes: 16KB }} }}
  - {{ id: hash,    uses: hash,    from: scan }}
  - {{ id: dedup,   uses: dedup,   from: hash }}
  - {{ id: extract, uses: extract, from: dedup }}
  - {{ id: chunk,   uses: chunk,   from: extract, with: {{ {chunk} }} }}
  - {{ id: embed,   uses: embed,   from: chunk, with: {{ {embed} }} }}
  - {{ id: upsert,  uses: upsert,  from: embed, with: {{ window: 64 }} }}
"
        );
        std::fs::write(self.file(), yaml).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.path().join("pipeline.yaml")
    }

    pub(crate) fn corpus(&self) -> PathBuf {
        self.path().join("corpus")
    }

    /// Writes a document.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.corpus().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Starts the command in this folder.
    pub(crate) fn start(&self, args: &[&str]) -> std::process::Child {
        command(args)
            .current_dir(self.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    pub(crate) fn semantik(&self, args: &[&str]) -> Ran {
        ran(command(args).current_dir(self.path()).output().unwrap())
    }

    /// Runs the pipeline, and expects it to end well or with documents that failed.
    pub(crate) fn run(&self) -> Value {
        let ran = self.semantik(&["run", "pipeline.yaml", "--json"]);
        assert!(matches!(ran.code, 0 | 2), "exit code {}: {}", ran.code, ran.stderr);
        let report = ran.json();
        let count = |key: &str| report["documents"][key].as_u64().unwrap();
        let left = count("stored") + count("unchanged") + count("duplicate") + count("set_aside");
        assert_eq!(count("seen"), left, "the numbers add up: {report}");
        report
    }

    pub(crate) fn search(&self, words: &str, k: usize) -> Vec<Value> {
        let k = k.to_string();
        let ran =
            self.semantik(&["search", "--config", "pipeline.yaml", "--k", &k, "--json", words]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.json().as_array().unwrap().clone()
    }

    /// Everything that the embedded stores hold, by what a user sees of it.
    pub(crate) fn index(&self) -> Index {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let embedded = EmbeddedPostgres::start(&self.path().join(".semantik/postgres")).unwrap();
        let points = runtime.block_on(async {
            let options = PostgresOptions::default();
            let postgres = Postgres::connect(embedded.url(), &options).await.unwrap();
            let collection = postgres.collections().find(None, "test").await.unwrap().unwrap();
            let mut documents = BTreeMap::new();
            for document in postgres.documents().list(collection.id, None, 10_000).await.unwrap() {
                let state = (format!("{:?}", document.status), document.chunk_count);
                documents.insert(document.file_path, state);
            }
            let name = &collection.vector_store_name;
            let folder = self.path().join(".semantik/vectors").join(name);
            let dim = if name.contains("standin") { 16 } else { 384 };
            let config = VectorsConfig::new(name.clone(), dim, Quantization::Float16);
            let edge = EdgeStore::open(&folder, &config).unwrap();
            let mut points: Vec<Point> = Vec::new();
            loop {
                let page = edge.scroll(points.last().map(|point| point.id), 500).await.unwrap();
                if page.is_empty() {
                    break;
                }
                points.extend(page);
            }
            assert_eq!(edge.count().await.unwrap(), points.len() as u64);
            let stuck = postgres.operations().recent(collection.id, None, 100).await.unwrap();
            let stuck = stuck.iter().filter(|operation| operation.completed_at.is_none()).count();
            postgres.close().await;
            (documents, points, stuck)
        });
        let (documents, points, stuck) = points;
        let mut chunks: Vec<Chunk> = points
            .into_iter()
            .map(|point| Chunk {
                uri: point.payload.uri,
                index: point.payload.chunk_index,
                content: point.payload.content,
                vector: point.vector,
            })
            .collect();
        chunks.sort_by(|a, b| (&a.uri, a.index).cmp(&(&b.uri, b.index)));
        Index { documents, chunks, unfinished_operations: stuck }
    }
}

/// What a collection holds.
#[derive(Debug)]
pub(crate) struct Index {
    /// Path → status and number of chunks.
    pub(crate) documents: BTreeMap<String, (String, i64)>,
    /// In order of uri and index.
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) unfinished_operations: usize,
}

#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) uri: String,
    pub(crate) index: u32,
    pub(crate) content: String,
    vector: Vec<f32>,
}

impl Index {
    /// That another index holds the same, in another folder: same documents, chunk texts and vectors.
    pub(crate) fn assert_same_as(&self, other: &Self) {
        let name = |path: &str| path.rsplit("/corpus/").next().unwrap().to_owned();
        let documents = |index: &Self| -> Vec<(String, (String, i64))> {
            index.documents.iter().map(|(path, state)| (name(path), state.clone())).collect()
        };
        assert_eq!(documents(self), documents(other));
        let texts = |index: &Self| -> Vec<(String, u32, String)> {
            let chunks = index.chunks.iter();
            chunks.map(|chunk| (name(&chunk.uri), chunk.index, chunk.content.clone())).collect()
        };
        assert_eq!(texts(self), texts(other));
        for (a, b) in self.chunks.iter().zip(&other.chunks) {
            let dot: f32 = a.vector.iter().zip(&b.vector).map(|(a, b)| a * b).sum();
            let norm = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
            let cosine = dot / norm(&a.vector) / norm(&b.vector);
            assert!(cosine > 0.9999, "the vectors of {} #{} differ: {cosine}", a.uri, a.index);
        }
    }
}

/// The command, with nothing of this environment that could change what it does.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_semantik"));
    command.args(args).env_remove("SEMANTIK_LOG").env_remove("DATABASE_URL");
    command
}

pub(crate) fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
