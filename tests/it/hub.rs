//! Models of the Hugging Face hub, from a local test hub: each is downloaded once, completely or
//! not at all, and equals the model in a folder.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use self::server::{Fault, Hub};
use crate::support::{CommandOutput, ROOT, TestProject, command_with_libtorch, ran, wait_for};

mod server;

const MODEL: &str = "hf:acme/tiny-e5";

/// A small model.
fn folder() -> PathBuf {
    Path::new(ROOT).join("embedding/tests/reference/tiny-e5")
}

/// A test hub, and a place whose pipeline uses a model of it.
struct HubProject {
    hub: Hub,
    place: TestProject,
}

impl HubProject {
    fn new() -> Self {
        let place = TestProject::with_embedding(&format!("model: '{MODEL}'"));
        place.write_pipeline(&format!("model: '{MODEL}'"), "", "size: 32, overlap: 4");
        place.write("bridge.txt", "The bridge over the river is lit at night.");
        place.write("index.txt", "An index of all documents is kept, and kept true.");
        Self { hub: Hub::new("acme/tiny-e5", &folder()), place }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = command_with_libtorch(args);
        command.current_dir(self.place.path());
        for (variable, _) in std::env::vars() {
            if variable.starts_with("HF_") || variable.to_uppercase().ends_with("_PROXY") {
                command.env_remove(variable);
            }
        }
        command.env("HF_ENDPOINT", &self.hub.url).env("HF_HOME", self.cache());
        command
    }

    fn cache(&self) -> PathBuf {
        self.place.path().join("hf")
    }

    /// The folder of the model in the Hugging Face cache.
    fn cached_model(&self) -> PathBuf {
        self.cache().join("hub/models--acme--tiny-e5")
    }

    fn semantik(&self, args: &[&str]) -> CommandOutput {
        ran(self.command(args).output().unwrap())
    }

    /// Runs a verb that must succeed.
    fn run_ok(&self, args: &[&str]) -> CommandOutput {
        let ran = self.semantik(args);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
        ran
    }

    /// Runs a verb that must fail; gives its standard error with variable parts replaced.
    fn run_err(&self, args: &[&str]) -> String {
        let ran = self.semantik(args);
        assert!(ran.code > 0, "{args:?} ended with {}: {}", ran.code, ran.stdout);
        let place = self.place.path().to_str().unwrap();
        ran.stderr.replace(&self.hub.url, "HUB").replace(place, "PLACE")
    }

    /// The fingerprint of a model.
    fn fingerprint(&self, model: &str) -> Value {
        self.run_ok(&["models", "show", model, "--json"]).json()["fingerprint"].clone()
    }

    /// Asserts that the downloaded model equals the one in the folder.
    fn assert_is_the_model(&self) {
        assert_eq!(self.fingerprint(MODEL), self.fingerprint(folder().to_str().unwrap()));
    }

    /// Paths requested from the hub since the last call; files by name.
    fn requested_files(&self) -> Vec<String> {
        let name = |path: String| {
            path.rsplit_once(&"1".repeat(40)).map_or(path.clone(), |it| it.1.to_owned())
        };
        self.hub.take_requests().into_iter().map(|asked| name(asked.path)).collect()
    }
}

#[test]
fn a_model_of_the_hub_is_fetched_once_and_is_what_its_folder_is() {
    let it = HubProject::new();

    // Read-only verbs download nothing.
    insta::assert_snapshot!("not_fetched", it.run_err(&["check", "pipeline.yaml"]));
    it.run_err(&["plan", "pipeline.yaml"]);
    it.run_err(&["models", "show", MODEL]);
    assert_eq!(it.requested_files(), [""; 0]);

    let said = it.run_ok(&["run", "pipeline.yaml"]).stderr;
    assert_eq!(said.matches("semantik: fetching hf:acme/tiny-e5\n").count(), 1, "{said}");
    assert_eq!(said.matches("semantik: fetched hf:acme/tiny-e5, ").count(), 1, "{said}");
    let asked = it.requested_files();
    assert_eq!(asked[0], "/api/models/acme/tiny-e5/revision/main?blobs=true");
    // All files of the model, weights last; unused files are not downloaded.
    assert_eq!(asked.last().unwrap(), "/model.safetensors");
    for file in ["/config.json", "/tokenizer.json", "/modules.json", "/1_Pooling/config.json"] {
        assert!(asked.iter().any(|it| it == file), "{file} is missing in {asked:?}");
    }
    assert!(!asked.iter().any(|it| it == "/reference.safetensors"));

    // The collection records its name, and it has the fingerprint of its folder.
    let named = it.place.value("SELECT embedding_model FROM collections");
    assert_eq!(named, "acme/tiny-e5");
    let pinned = it.place.value("SELECT model_path FROM generations");
    assert_eq!(pinned, format!("{MODEL}@{}", "1".repeat(40)));
    it.assert_is_the_model();

    // From here on, the hub receives no request.
    it.hub.set_fault(Fault::Locked);
    it.run_ok(&["check", "pipeline.yaml"]);
    let found = it.run_ok(&["search", "pipeline.yaml", "--json", "a lit bridge"]).json();
    assert_eq!(found.as_array().unwrap().len(), 2);
    let again = it.run_ok(&["run", "pipeline.yaml", "--json"]).json();
    assert_eq!(again["documents"]["unchanged"], 2);
    // The same model from a folder causes no rebuild.
    it.place.edit_pipeline(MODEL, folder().to_str().unwrap());
    let again = it.run_ok(&["run", "pipeline.yaml", "--json"]).json();
    assert_eq!(again["documents"]["unchanged"], 2);
    assert_eq!(it.place.value("SELECT count(*) FROM generations"), "1");
    assert_eq!(it.requested_files(), [""; 0]);
}

#[test]
fn what_a_model_wants_is_known_by_its_name_on_the_hub() {
    // Models of this family need prompts that their files do not contain.
    let it = HubProject::new();
    let files = Path::new(ROOT).join("embedding/tests/reference/tiny-bert-cls");
    let folder = it.place.path().join("e5-small-v9");
    let copied = Command::new("cp").arg("-r").args([&files, &folder]).status().unwrap();
    assert!(copied.success());
    let hub = Hub::new("acme/e5-small-v9", &files);
    let it = HubProject { hub, place: it.place };
    it.run_ok(&["models", "fetch", "hf:acme/e5-small-v9"]);
    let fetched = it.fingerprint("hf:acme/e5-small-v9");
    assert_eq!(fetched, it.fingerprint(folder.to_str().unwrap()));
    assert_ne!(fetched, it.fingerprint(files.to_str().unwrap()));
}

#[test]
fn an_incomplete_download_is_not_used() {
    let it = HubProject::new();
    let fetch = ["models", "fetch", MODEL];

    it.hub.set_fault(Fault::CorruptedByte);
    insta::assert_snapshot!("damaged", it.run_err(&fetch));
    it.run_err(&["models", "show", MODEL]);

    it.hub.set_fault(Fault::ExtraByte);
    let said = it.run_err(&fetch);
    assert!(said.contains("because the file is longer than the hub declares"), "{said}");

    // An interrupted download is resumed: by the next command, or immediately.
    it.hub.set_fault(Fault::Refuses);
    let said = it.run_err(&fetch);
    assert!(said.contains("from HUB; the next attempt resumes the download"), "{said}");
    assert!(said.contains("because http status: 503"), "{said}");
    it.run_err(&["models", "show", MODEL]);
    it.hub.take_requests();
    it.hub.set_fault(Fault::BreaksOff);
    it.run_ok(&fetch);
    let asked = it.hub.take_requests();
    assert!(!asked.iter().any(|asked| asked.path.ends_with("tokenizer.json")), "{asked:?}");
    let weights: Vec<_> = asked.iter().filter(|it| it.path.ends_with(".safetensors")).collect();
    assert!(weights.len() > 2 && weights.is_sorted_by_key(|asked| asked.from), "{asked:?}");
    assert!(weights[0].from > 0, "{asked:?}");
    it.assert_is_the_model();

    // A missing file is detected and downloaded again.
    let weights =
        it.cached_model().join("snapshots").join("1".repeat(40)).join("model.safetensors");
    std::fs::remove_file(std::fs::canonicalize(weights).unwrap()).unwrap();
    it.run_err(&["check", "pipeline.yaml"]);
    it.hub.set_fault(Fault::None);
    it.run_ok(&["run", "pipeline.yaml"]);
}

#[test]
fn hubs_and_models_of_all_kinds() {
    // A hub that describes files by name only.
    let it = HubProject::new();
    it.hub.hide_metadata();
    it.run_ok(&["models", "fetch", MODEL]);
    it.assert_is_the_model();

    // A hub that requires a token, with weights on another host that must not receive the token.
    let it = HubProject::new();
    let elsewhere = Hub::new("acme/tiny-e5", &folder());
    it.hub.redirect_weights_to(&elsewhere);
    it.hub.set_fault(Fault::Locked);
    std::fs::create_dir(it.cache()).unwrap();
    std::fs::write(it.cache().join("token"), "secret-token\n").unwrap();
    it.run_ok(&["models", "fetch", MODEL]);
    it.assert_is_the_model();
    assert!(it.hub.take_requests().iter().all(|asked| asked.token));
    let asked = elsewhere.take_requests();
    assert!(asked.len() == 1 && !asked[0].token, "{asked:?}");

    // Weights in several files.
    let it = HubProject::new();
    let weights = it.hub.file("model.safetensors");
    let length = u64::from_le_bytes(weights[..8].try_into().unwrap());
    let head: Value =
        serde_json::from_slice(&weights[8..8 + usize::try_from(length).unwrap()]).unwrap();
    let names = head.as_object().unwrap().keys().filter(|name| *name != "__metadata__");
    let part = "model-00001-of-00001.safetensors";
    let map: serde_json::Map<_, _> = names.map(|name| (name.clone(), part.into())).collect();
    let index = serde_json::json!({ "weight_map": map }).to_string();
    it.hub.commit("model.safetensors.index.json", Some(index.as_bytes()));
    it.hub.commit(part, Some(&weights));
    it.hub.commit("model.safetensors", None);
    it.run_ok(&["models", "fetch", MODEL]);
    let folder = it.run_ok(&["models", "show", MODEL, "--json"]).json()["folder"].clone();
    assert!(Path::new(folder.as_str().unwrap()).join(part).is_file());
    it.run_ok(&["run", "pipeline.yaml"]);
}

#[test]
fn a_reranker_of_the_hub_is_fetched_by_its_name() {
    let it = HubProject::new();
    let folder = Path::new(ROOT).join("embedding/tests/reference/tiny-bert-reranker");
    let hub = Hub::new("acme/tiny-bert-reranker", &folder);
    let run = |args: &[&str]| {
        let ran = ran(it.command(args).env("HF_ENDPOINT", &hub.url).output().unwrap());
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
        ran.json()
    };
    let fetched = run(&["models", "fetch", "hf:acme/tiny-bert-reranker", "--json"])[0].clone();
    assert_eq!(fetched["reranker"], true);
    assert_eq!(fetched["dim"], Value::Null);
    let local = run(&["models", "show", folder.to_str().unwrap(), "--json"]);
    assert_eq!(fetched["fingerprint"], local["fingerprint"]);
}

#[test]
fn what_another_program_has_fetched_is_not_fetched_again() {
    let it = HubProject::new();
    it.run_ok(&["models", "fetch", MODEL]);
    let branch = std::fs::read_to_string(it.cached_model().join("refs/main")).unwrap();
    assert_eq!(branch, "1".repeat(40));
    // The state that the Python library leaves, without the records of semantik.
    std::fs::remove_dir_all(it.cached_model().join("semantik")).unwrap();
    std::fs::remove_dir_all(it.cached_model().join("snapshots")).unwrap();
    it.run_err(&["models", "show", MODEL]);
    it.requested_files();
    let said = it.run_ok(&["models", "fetch", MODEL]).stderr;
    assert_eq!(said, "");
    assert_eq!(it.requested_files(), ["/api/models/acme/tiny-e5/revision/main?blobs=true"]);
    it.assert_is_the_model();
}

#[test]
fn what_cannot_be_run_is_refused_before_its_weights_come() {
    let it = HubProject::new();
    let fetch = ["models", "fetch", MODEL];
    let config = it.hub.file("config.json");

    it.hub.commit("config.json", Some(br#"{ "architectures": ["T5EncoderModel"] }"#));
    let said = it.run_err(&fetch);
    assert!(said.contains("unsupported architecture `T5EncoderModel`"), "{said}");
    it.hub.commit("config.json", Some(&config));
    it.hub.commit("model.safetensors", None);
    insta::assert_snapshot!("without_weights", it.run_err(&fetch));
    assert!(!it.requested_files().iter().any(|it| it.ends_with(".safetensors")));

    it.hub.set_fault(Fault::Locked);
    insta::assert_snapshot!("locked", it.run_err(&["run", "pipeline.yaml"]));
    insta::assert_snapshot!("no_name", it.run_err(&["models", "fetch", "hf:acme/../tiny-e5"]));

    let offline = it.command(&fetch).env("HF_HUB_OFFLINE", "1").output().unwrap();
    let said = ran(offline).stderr;
    assert!(said.contains("HF_HUB_OFFLINE is set"), "{said}");
    let nobody = it.command(&fetch).env("HF_ENDPOINT", "http://127.0.0.1:1").output().unwrap();
    let said = ran(nobody).stderr;
    assert!(said.contains("Without network access, use a local model folder"), "{said}");
}

#[test]
fn a_branch_is_what_it_was_until_it_is_fetched_again() {
    let it = HubProject::new();
    it.run_ok(&["run", "pipeline.yaml"]);
    let before = it.fingerprint(MODEL);
    it.requested_files();

    let mut weights = it.hub.file("model.safetensors");
    let last = weights.len() - 1;
    weights[last] ^= 1;
    it.hub.commit("model.safetensors", Some(&weights));
    it.run_ok(&["run", "pipeline.yaml"]);
    assert_eq!(it.fingerprint(MODEL), before);
    assert_eq!(it.requested_files(), [""; 0]);

    // Only changed files are downloaded.
    it.run_ok(&["models", "fetch", MODEL]);
    assert_ne!(it.fingerprint(MODEL), before);
    assert_eq!(it.requested_files().len(), 2);
    // Existing vectors are searched with the old model until they are rebuilt.
    let search = ["search", "pipeline.yaml", "--json", "a lit bridge"];
    let found = it.run_ok(&search).json();
    assert_eq!(found.as_array().unwrap().len(), 2);
    it.run_ok(&["run", "pipeline.yaml"]);
    assert_eq!(it.place.value("SELECT count(*) FROM generations"), "2");
    it.run_ok(&search);

    // A tag is a separate revision.
    it.run_err(&["models", "show", "hf:acme/tiny-e5@v1"]);
    it.requested_files();
    it.run_ok(&["models", "fetch", "hf:acme/tiny-e5@v1"]);
    assert_eq!(it.requested_files(), ["/api/models/acme/tiny-e5/revision/v1?blobs=true"]);
}

/// Starts `embed` with the model and empty input.
fn embeds(it: &HubProject) -> Child {
    let mut child = it.command(&["embed", "--model", MODEL]);
    child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn concurrent_fetches_of_a_model_wait() {
    let it = HubProject::new();
    it.hub.set_fault(Fault::Hangs);
    let first = embeds(&it);
    wait_for("the first request", || it.hub.take_requests().pop());
    let mut second = embeds(&it);
    let mut said = BufReader::new(second.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, format!("semantik: waiting for another process to fetch {MODEL}\n"));
    it.hub.set_fault(Fault::None);
    for child in [first, second] {
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success());
    }
    let asked = it.requested_files();
    assert_eq!(asked.iter().filter(|it| *it == "/model.safetensors").count(), 1, "{asked:?}");
}

#[test]
fn an_unresponsive_hub_blocks_nothing() {
    let it = HubProject::new();
    it.hub.set_fault(Fault::Hangs);
    for verb in [&["run"][..], &["worker"], &["serve", "--listen", "127.0.0.1:0"]] {
        let args = [verb, &["pipeline.yaml"]].concat();
        let mut child = it.command(&args).stderr(Stdio::null()).spawn().unwrap();
        wait_for("the request", || it.hub.take_requests().pop());
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        wait_for("the end of the process", || child.try_wait().unwrap());
    }
}

#[test]
fn a_file_that_comes_to_name_a_model_is_served_when_it_has_come() {
    let it = HubProject::new();
    it.place.edit_pipeline(MODEL, "stand-in:16");
    let mut worker =
        it.command(&["worker", "pipeline.yaml"]).stderr(Stdio::null()).spawn().unwrap();
    let fault = "SELECT files -> 0 ->> 'fault' FROM executors";
    it.place.wait_until(&format!("SELECT ({fault}) IS NULL AND EXISTS (SELECT FROM executors)"));
    it.hub.set_fault(Fault::Hangs);
    it.place.edit_pipeline("stand-in:16", MODEL);
    // The worker stays alive and reports the missing model.
    it.place.wait_until(&format!("SELECT ({fault}) LIKE '%has not been fetched%'"));
    it.hub.set_fault(Fault::None);
    it.place.wait_until(&format!("SELECT ({fault}) IS NULL"));
    worker.kill().unwrap();
    worker.wait().unwrap();
}
