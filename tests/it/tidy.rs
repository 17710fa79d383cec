//! Rules about the code that no lint knows. Each is stated in ARCHITECTURE.md.

use std::path::{Path, PathBuf};

use crate::support::ROOT;

const CRATES: [&str; 11] = [
    "pipeline",
    "sources",
    "stages",
    "embedding",
    "cache",
    "metadata",
    "vectors",
    "sinks",
    "search",
    "server",
    "operations",
];

fn sources(dir: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut todo: Vec<PathBuf> = vec![Path::new(ROOT).join(dir)];
    while let Some(dir) = todo.pop() {
        for entry in
            std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(ROOT).unwrap().to_str().unwrap().to_owned();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

pub(crate) fn every_source() -> Vec<(String, String)> {
    let dirs = ["src", "tests", "benches"].map(str::to_owned).into_iter();
    dirs.chain(CRATES.iter().map(|krate| format!("{krate}/src")))
        .flat_map(|dir| sources(&dir))
        .collect()
}

#[test]
fn every_file_says_what_it_is_for() {
    for (name, text) in every_source() {
        assert!(text.starts_with("//!"), "{name} does not begin with `//!`");
    }
}

#[test]
fn no_file_outgrows_its_question() {
    for (name, text) in every_source().iter().filter(|(name, _)| name.contains("src/")) {
        let lines = text.lines().take_while(|line| !line.contains("#[cfg(test)]")).count();
        assert!(lines <= 600, "{name} has {lines} lines");
    }
}

/// Files that may start tasks or threads, or wait for several events: the runtime, the owners of a
/// model or of a shard, blocking work of a search, the extract worker, the execution of operations,
/// and the main loops of the command.
const CONCURRENT: [&str; 18] = [
    "pipeline/src/run.rs",
    "pipeline/src/run/drive.rs",
    "pipeline/src/channel.rs",
    "embedding/src/model_threads.rs",
    // The worker extracts on a thread with a larger stack; its self-test tries to start a thread.
    "stages/src/extract/worker/sandbox.rs",
    "stages/src/extract/worker/probe.rs",
    "search/src/blocking.rs",
    "vectors/src/edge/threads.rs",
    "operations/src/operator.rs",
    "operations/src/delegate.rs",
    "operations/src/model_downloads.rs",
    "operations/src/worker.rs",
    "src/cmd/embed.rs",
    "src/cmd/run.rs",
    "src/cmd/signals.rs",
    "src/cmd/worker.rs",
    "src/serve.rs",
    "src/telemetry/endpoint.rs",
];

/// The folders with the code of the product: the libraries, and the command.
fn code_folders() -> impl Iterator<Item = String> {
    CRATES.iter().map(|krate| format!("{krate}/src")).chain(["src".to_owned()])
}

/// Lines of code outside unit tests and comments, with their file.
fn code_lines() -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let files = code_folders().flat_map(|folder| sources(&folder));
    for (name, text) in files.filter(|(name, _)| !name.ends_with("/tests.rs")) {
        let code = text.lines().take_while(|line| !line.contains("#[cfg(test)]"));
        for line in code.filter(|line| !line.trim_start().starts_with("//")) {
            lines.push((name.clone(), line.to_owned()));
        }
    }
    lines
}

#[test]
fn concurrency_has_an_address() {
    let words =
        ["tokio::spawn", "spawn_blocking", "tokio::select!", "thread::spawn", "thread::Builder"];
    for (name, line) in code_lines() {
        for word in words {
            let is_allowed = CONCURRENT.contains(&name.as_str()) || !line.contains(word);
            assert!(is_allowed, "{name} uses `{word}`");
        }
    }
}

/// Nodes declare facts about themselves. The framework names none of their types, and code around
/// it looks no node up by its type and reads none of its options.
#[test]
fn composition_knows_no_node_by_name() {
    let types = [sources::NODES, stages::NODES, sinks::NODES].into_iter().flatten();
    let types: Vec<String> = types.map(|def| format!("{:?}", def.name)).collect();
    let is_in = |name: &str, crates: &[&str]| {
        crates.iter().any(|krate| name.starts_with(&format!("{krate}/src/")))
    };
    for (name, line) in code_lines() {
        if is_in(&name, &["pipeline"]) {
            let named = types.iter().find(|known| line.contains(known.as_str()));
            assert!(named.is_none(), "{name} names a type of node: {line}");
        } else if !is_in(&name, &["sources", "stages", "sinks"]) {
            let reads = ["node.uses", ".with.uses", "node.with", ".with.get(", ".with.clone("];
            assert!(!reads.iter().any(|it| line.contains(it)), "{name} inspects a node: {line}");
        }
    }
}

/// A name that reaches users has a `Display` or `serde` form of its own: renaming a variant of an
/// enum must not change output. Two files need the `Debug` form: the client of Qdrant describes the
/// cause of a failed connection in no other way, and a test names its queries. Files of tests may
/// use it.
#[test]
fn no_text_comes_from_debug() {
    let allowed = ["vectors/src/qdrant/error.rs", "/list_queries.rs"];
    for (name, line) in code_lines() {
        let formats = [":?}", ":#?}"].iter().any(|form| line.contains(form));
        let is_test = name.starts_with("vectors/src/contract") || name == "src/cli/grammar.rs";
        let is_allowed = is_test || allowed.iter().any(|file| name.ends_with(file));
        assert!(!formats || is_allowed, "{name} formats with `Debug`: {line}");
    }
}

/// A document format is declared in its file: no other file of the stages names its media types.
#[test]
fn a_document_format_is_named_in_one_file() {
    let mut formats = 0;
    for (file, text) in sources("stages/src") {
        let Some((_, declared)) = text.split_once("const FORMAT: Format = Format {") else {
            continue;
        };
        formats += 1;
        let (_, types) = declared.split_once("media_types: &[").unwrap();
        let (types, _) = types.split_once(']').unwrap();
        for media_type in types.split('"').skip(1).step_by(2) {
            let quoted = format!("\"{media_type}\"");
            for (other, line) in code_lines().iter().filter(|(name, _)| *name != file) {
                let is_named = other.starts_with("stages/") && line.contains(&quoted);
                assert!(!is_named, "{other} names {quoted} of {file}");
            }
        }
    }
    assert!(formats > 5, "{formats} formats");
}

/// The traces of an operation are complete only if spans of all crates are exported.
#[test]
fn spans_of_all_crates_are_exported() {
    let exported =
        std::fs::read_to_string(Path::new(ROOT).join("src/telemetry/traces.rs")).unwrap();
    for krate in CRATES.into_iter().chain(["semantik"]) {
        assert!(exported.contains(&format!("\"{krate}\",")), "spans of `{krate}` are dropped");
    }
}

/// Configuration is a value that is passed, so the environment is read in few places: the command
/// line, conventions of other programs (`HF_HOME`, `OTEL_EXPORTER_OTLP_ENDPOINT`, `PATH`,
/// `LD_LIBRARY_PATH`), and the worker's self-test, which counts the variables.
#[test]
fn the_environment_is_read_in_few_places() {
    let allowed = [
        "src/cli.rs",
        "src/telemetry/traces.rs",
        "embedding/src/hub.rs",
        "metadata/src/cluster/server.rs",
        "stages/src/extract/worker.rs",
        "stages/src/extract/worker/probe.rs",
    ];
    for (name, line) in code_lines() {
        let reads = line.contains("env::var(")
            || line.contains("env::var_os(")
            || line.contains("env::vars");
        assert!(!reads || allowed.contains(&name.as_str()), "{name} reads the environment");
    }
}

/// Who may import whom inside the workspace; the picture in ARCHITECTURE.md, as data.
#[test]
fn the_layers_hold() {
    let layers: [(&str, &[&str]); 11] = [
        ("pipeline", &[]),
        ("sources", &["pipeline"]),
        ("stages", &["pipeline", "sources"]),
        ("embedding", &["pipeline"]),
        ("cache", &["pipeline"]),
        ("metadata", &["pipeline"]),
        ("vectors", &["pipeline"]),
        ("sinks", &["pipeline"]),
        ("search", &["pipeline"]),
        ("server", &["pipeline", "search", "metadata"]),
        ("operations", &["pipeline", "stages", "cache", "metadata", "vectors", "sinks", "search"]),
    ];
    for (krate, allowed) in layers {
        let toml = std::fs::read_to_string(Path::new(ROOT).join(krate).join("Cargo.toml")).unwrap();
        let dependencies = toml.split("[dependencies]").nth(1).unwrap();
        let dependencies = dependencies.split("[dev-dependencies]").next().unwrap();
        for other in CRATES {
            let used = dependencies.lines().any(|line| line.split('.').next() == Some(other));
            assert!(!used || allowed.contains(&other), "`{krate}` depends on `{other}`");
        }
    }
}

/// A library of the outside world has one crate that names it.
#[test]
fn the_outside_world_is_behind_one_crate() {
    let owners = [
        ("tch", "embedding"),
        ("tokenizers", "embedding"),
        ("sqlx", "metadata"),
        ("qdrant-client", "vectors"),
        ("qdrant-edge", "vectors"),
        ("rusqlite", "cache"),
        ("serde-saphyr", "pipeline"),
    ];
    for krate in CRATES.iter().copied().chain(["."]) {
        let toml = std::fs::read_to_string(Path::new(ROOT).join(krate).join("Cargo.toml")).unwrap();
        for (library, owner) in owners {
            let used = toml.lines().any(|line| line == format!("{library}.workspace = true"));
            assert!(
                !used || krate == owner,
                "`{krate}` depends on `{library}`, which belongs to `{owner}`"
            );
        }
    }
}

#[test]
fn architecture_is_about_this_tree() {
    let text = std::fs::read_to_string(Path::new(ROOT).join("ARCHITECTURE.md")).unwrap();
    for krate in CRATES {
        assert!(text.contains(&format!("`{krate}/`")), "ARCHITECTURE.md does not name `{krate}/`");
    }
    let quoted = text.split('`').skip(1).step_by(2);
    let paths = quoted.filter(|word| {
        let is_path = word.contains('/')
            && !word.contains(' ')
            && !word.contains("://")
            && !word.contains('*');
        is_path && !word.starts_with('/') && !word.starts_with('.')
    });
    for path in paths {
        assert!(
            Path::new(ROOT).join(path).exists(),
            "ARCHITECTURE.md names `{path}`, which is not there"
        );
    }
    for adr in std::fs::read_dir(Path::new(ROOT).join("docs/adr")).unwrap() {
        let adr = std::fs::read_to_string(adr.unwrap().path()).unwrap();
        for part in ["Context", "Decision", "Consequences", "Date"] {
            assert!(adr.contains(part), "an ADR lacks its {part}: {}", adr.lines().next().unwrap());
        }
    }
}

#[test]
fn the_readme_names_only_verbs_that_there_are() {
    let readme = std::fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    let makefile = std::fs::read_to_string(Path::new(ROOT).join("Makefile")).unwrap();
    let verbs: Vec<&str> = readme
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("make "))
        .filter_map(|rest| rest.split_whitespace().next())
        .collect();
    assert!(verbs.contains(&"demo") && verbs.contains(&"test"), "{verbs:?}");
    for verb in verbs {
        assert!(makefile.contains(&format!("\n{verb}:")), "the Makefile has no `{verb}`");
    }
}

/// Words of the private dialect that the prose of this project replaced; see the language rules in
/// CONTRIBUTING.md.
const UNPLAIN: [&str; 14] = [
    "whoever",
    "somebody",
    "nobody",
    "anybody",
    "sign of life",
    "signs of life",
    "is none",
    "are none",
    "goes on",
    "carries out",
    "carried out",
    "is told of",
    "is not there",
    "are not there",
];

/// Longest line of prose, in characters.
const PROSE_WIDTH: usize = 100;

/// Lines of prose with their file and number: comments of sources, and pages without their tables,
/// code blocks and links, which cannot be wrapped.
fn prose() -> Vec<(String, usize, String)> {
    let mut lines = Vec::new();
    for (name, text) in every_source() {
        for (at, line) in text.lines().enumerate() {
            if let Some(start) = line.find("//")
                && line[..start].trim().is_empty()
            {
                lines.push((name.clone(), at + 1, line.to_owned()));
            }
        }
    }
    for (name, text) in pages() {
        let mut in_code = false;
        for (at, line) in text.lines().enumerate() {
            in_code ^= line.trim_start().starts_with("```");
            if !in_code && !line.trim_start().starts_with('|') && !line.contains("](") {
                lines.push((name.clone(), at + 1, line.to_owned()));
            }
        }
    }
    lines
}

/// The pages of the documentation, by path.
fn pages() -> Vec<(String, String)> {
    let tops = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];
    let mut paths: Vec<PathBuf> = tops.iter().map(|name| Path::new(ROOT).join(name)).collect();
    for folder in ["docs", "docs/adr", "docs/reference"] {
        let entries = std::fs::read_dir(Path::new(ROOT).join(folder)).unwrap();
        paths.extend(entries.map(|entry| entry.unwrap().path()));
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    let named = |path: PathBuf| {
        let name = path.strip_prefix(ROOT).unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read_to_string(&path).unwrap())
    };
    paths.into_iter().map(named).collect()
}

#[test]
fn prose_is_plain_and_fits_its_width() {
    let mut faults = Vec::new();
    for (name, number, line) in prose() {
        // Text in backticks is quoted: names of users, output of commands.
        let quoted = line.split('`').step_by(2).collect::<Vec<_>>().join("`").to_lowercase();
        for word in UNPLAIN {
            if quoted.contains(word) {
                faults.push(format!("{name}:{number}: {word:?}"));
            }
        }
        if line.chars().count() > PROSE_WIDTH {
            faults.push(format!("{name}:{number}: over {PROSE_WIDTH} columns"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A public type has one meaning in its crate.
#[test]
fn no_public_type_name_stands_twice_in_a_crate() {
    for krate in CRATES {
        let mut seen = std::collections::BTreeMap::<String, String>::new();
        for (name, text) in sources(&format!("{krate}/src")) {
            for line in text.lines().take_while(|line| !line.contains("#[cfg(test)]")) {
                let declared = ["pub struct ", "pub enum ", "pub trait ", "pub type "]
                    .iter()
                    .find_map(|start| line.strip_prefix(start));
                let Some(declared) = declared else { continue };
                let word: String =
                    declared.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if let Some(other) = seen.insert(word.clone(), name.clone()) {
                    panic!("`{krate}` has two public types `{word}`: {other} and {name}");
                }
            }
        }
    }
}

/// The bodies of all tests, with their file.
fn test_functions() -> Vec<(String, String)> {
    let folders = CRATES.iter().map(|krate| format!("{krate}/tests")).chain(["tests".to_owned()]);
    let files = folders.filter(|folder| Path::new(ROOT).join(folder).exists());
    let mut found = Vec::new();
    for (name, text) in files.chain(code_folders()).flat_map(|folder| sources(&folder)) {
        let mut lines = text.lines();
        while let Some(line) = lines.by_ref().find(|line| is_test_attribute(line)) {
            let end = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
            let body = lines.by_ref().take_while(|line| *line != end).collect::<Vec<_>>();
            found.push((name.clone(), body.join("\n")));
        }
    }
    found
}

fn is_test_attribute(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("#[test]") || line.starts_with("#[tokio::test")
}

/// `true` if the body of a test may end early without a failure, or says that it does.
fn may_skip(body: &str) -> bool {
    let words: Vec<&str> = body.split_whitespace().collect();
    let leaves = words.contains(&"return;")
        || words.windows(2).any(|pair| pair == ["return", "}"] || pair == ["return", "};"]);
    let says = body.lines().any(|line| line.contains("println!") && line.contains("skipp"));
    leaves || says
}

/// A test that lacks something fails, or has the attribute `ignore` with the reason and a command
/// that runs it.
#[test]
fn no_test_skips_silently() {
    let tests = test_functions();
    assert!(tests.len() > 500, "{} tests were found", tests.len());
    for (name, body) in &tests {
        assert!(!may_skip(body), "{name}: a test may end without a check:\n{body}");
    }
    let leave = ["return", ";"].concat();
    for skips in
        [format!("let Some(a) = b else {{ {} }};", "return"), format!("if a {{ {leave} }}")]
    {
        assert!(may_skip(&skips), "{skips}");
    }
    let says = ["eprintln!", "(\"skip", "ped: no server\");"].concat();
    assert!(may_skip(&says) && !may_skip("return check(a);"));
}

/// `make test-qdrant` finds the tests that need a Qdrant server by the name of their module.
#[test]
fn tests_that_need_a_qdrant_server_have_a_module_of_their_own() {
    let ignored = format!("#[ignore = \"{}\"]", "needs QDRANT_URL");
    let mut count = 0;
    for folder in ["tests", "vectors/tests"] {
        for (name, text) in sources(folder).iter().filter(|(_, text)| text.contains(&ignored)) {
            assert!(name.ends_with("/qdrant_server.rs"), "{name}");
            count += text.matches(&ignored).count();
        }
    }
    assert_eq!(count, 3);
    let makefile = std::fs::read_to_string(Path::new(ROOT).join("Makefile")).unwrap();
    assert!(makefile.contains("qdrant_server -- --ignored"));
}
