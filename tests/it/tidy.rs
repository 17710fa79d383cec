//! Rules about the code that no lint knows. Each is stated in ARCHITECTURE.md.

use std::path::{Path, PathBuf};

use crate::support::ROOT;

const CRATES: [&str; 10] = [
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

fn every_source() -> Vec<(String, String)> {
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

/// Tasks and threads have few addresses: the runtime, and the owners of a model or of a shard.
#[test]
fn concurrency_has_an_address() {
    let allowed = [
        "pipeline/src/run.rs",
        "pipeline/src/channel.rs",
        "embedding/src/worker.rs",
        // The worker process reads documents on a thread whose stack has its own size, and tries in vain to start one.
        "stages/src/extract/worker/sandbox.rs",
        "stages/src/extract/worker/probe.rs",
        "search/src/questions.rs",
        "vectors/src/edge/owner.rs",
        "search/src/blocking.rs",
    ];
    for krate in CRATES {
        for (name, text) in sources(&format!("{krate}/src")) {
            if allowed.contains(&name.as_str()) {
                continue;
            }
            let code = text.lines().take_while(|line| !line.contains("#[cfg(test)]"));
            for line in code.filter(|line| !line.trim_start().starts_with("//")) {
                for word in [
                    "tokio::spawn",
                    "spawn_blocking",
                    "tokio::select!",
                    "thread::spawn",
                    "thread::Builder",
                ] {
                    assert!(!line.contains(word), "{name} uses `{word}`");
                }
            }
        }
    }
}

/// Who may import whom inside the workspace; the picture in ARCHITECTURE.md, as data.
#[test]
fn the_layers_hold() {
    let layers: [(&str, &[&str]); 10] = [
        ("pipeline", &[]),
        ("sources", &["pipeline"]),
        ("stages", &["pipeline", "sources"]),
        ("embedding", &["pipeline"]),
        ("cache", &["pipeline"]),
        ("metadata", &["pipeline"]),
        ("vectors", &["pipeline"]),
        ("sinks", &["pipeline"]),
        ("search", &["pipeline"]),
        ("server", &["pipeline", "search"]),
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
