//! Metrics in a real Prometheus, which scrapes a worker and a server during real work. Every query
//! of every dashboard and rule in `configs/` must return data.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::receiver::receiver;
use crate::support::{ROOT, TestProject, command, signal, wait_for};

/// A process that is killed on drop.
struct ChildProcess(Child);

impl ChildProcess {
    /// Starts the command in a place and discards its output.
    fn start(place: &TestProject, args: &[&str]) -> Self {
        let mut command = command(args);
        command.current_dir(place.path()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        signal(&self.0, "-KILL");
        drop(self.0.wait());
    }
}

fn configs(folder: &str) -> PathBuf {
    Path::new(ROOT).join("configs").join(folder)
}

/// A port that is currently unused.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn get(url: &str) -> Option<String> {
    ureq::get(url).call().ok()?.body_mut().read_to_string().ok()
}

/// Starts a Prometheus with the rules of `configs/` that scrapes these addresses twice per second.
fn prometheus(folder: &Path, targets: &[(&str, u16)]) -> (ChildProcess, String) {
    let mut config = String::from(
        "global: { scrape_interval: 500ms, evaluation_interval: 500ms }\nrule_files:\n",
    );
    for rules in ["recording.yaml", "alerts.yaml"] {
        config += &format!("  - {}\n", configs("prometheus").join(rules).display());
    }
    config += "scrape_configs:\n  - job_name: semantik\n    static_configs:\n";
    for (role, port) in targets {
        config +=
            &format!("      - {{ targets: ['127.0.0.1:{port}'], labels: {{ role: {role} }} }}\n");
    }
    std::fs::write(folder.join("prometheus.yml"), config).unwrap();
    let port = free_port();
    let child = Command::new("prometheus")
        .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stderr(Stdio::null())
        .spawn()
        .expect("promtool and prometheus are missing; run `.ci/setup prometheus`");
    let running = ChildProcess(child);
    let server = format!("http://127.0.0.1:{port}");
    wait_for("Prometheus", || get(&format!("{server}/-/ready")));
    (running, server)
}

/// The current result of a query.
fn ask(server: &str, query: &str) -> Vec<Value> {
    let mut reply = ureq::get(format!("{server}/api/v1/query"))
        .query("query", query)
        .config()
        .http_status_as_error(false)
        .build()
        .call()
        .unwrap();
    let said: Value =
        serde_json::from_str(&reply.body_mut().read_to_string().unwrap()).expect("JSON");
    assert_eq!(said["status"], "success", "`{query}`: {said}");
    said["data"]["result"].as_array().unwrap().clone()
}

/// The queries of all dashboards with the names of their panels. Variables are replaced by
/// match-all patterns.
fn queries_of_dashboards() -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for file in std::fs::read_dir(configs("grafana")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let board: Value = serde_json::from_str(&text).unwrap();
        for panel in board["panels"].as_array().unwrap() {
            let name = format!("{}: {}", board["title"], panel["title"]);
            for target in panel["targets"].as_array().unwrap() {
                let query = target["expr"].as_str().unwrap();
                let query = query.replace("$__rate_interval", "1m").replace("$pipeline", ".*");
                queries.push((name.clone(), query));
            }
        }
    }
    queries
}

/// The metrics that alerts use.
fn metrics_of_alerts() -> BTreeSet<String> {
    let text = std::fs::read_to_string(configs("prometheus").join("alerts.yaml")).unwrap();
    let words = text.split(|it: char| !(it.is_ascii_alphanumeric() || it == '_' || it == ':'));
    let metrics = words.filter(|word| word.contains("semantik_") && !word.ends_with('_'));
    metrics.map(str::to_owned).collect()
}

#[test]
fn the_rules_are_right_and_fire_when_they_should() {
    let checked = Command::new("promtool")
        .current_dir(configs("prometheus"))
        .args(["test", "rules", "alerts_test.yaml"])
        .output()
        .expect("promtool and prometheus are missing; run `.ci/setup prometheus`");
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{said}{}", String::from_utf8_lossy(&checked.stderr));
    let config = Command::new("promtool")
        .current_dir(configs("prometheus"))
        .args(["check", "config", "prometheus.yml"])
        .output()
        .unwrap();
    assert!(config.status.success(), "{}", String::from_utf8_lossy(&config.stderr));
}

/// The number of series after a run with this many documents.
fn series(documents: usize) -> usize {
    let place = TestProject::with_stand_in();
    for number in 0..documents {
        place.write(&format!("{number}.txt"), format!("document number {number}"));
    }
    place.write("bad.pdf", b"%PDF-1.4 this is none");
    let ran = place.semantik(&["run", "pipeline.yaml", "--metrics-file", "metrics.prom"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    let text = std::fs::read_to_string(place.path().join("metrics.prom")).unwrap();
    text.lines().filter(|line| !line.starts_with('#')).count()
}

#[test]
fn the_number_of_series_does_not_depend_on_the_corpus() {
    let (few, many) = (series(3), series(300));
    assert_eq!(few, many);
    assert!(many < 900, "{many} series of one pipeline");
}

#[test]
fn metrics_are_pushed_to_a_gateway() {
    let (gateway, requests) = receiver(&[]);
    let place = TestProject::with_stand_in();
    place.write("a.txt", "a document");
    let ran = place.semantik(&["run", "pipeline.yaml", "--push-metrics", &gateway]);
    assert_eq!((ran.code, ran.stderr.contains("not pushed")), (0, false), "{}", ran.stderr);
    let (head, body) = requests.recv().unwrap();
    // The grouping key has the pipeline name `test` in base64, because a name may contain slashes.
    let first = "PUT /metrics/job/semantik/pipeline@base64/dGVzdA HTTP/1.1\r\n";
    assert!(head.starts_with(first), "{head}");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    let stored = "semantik_documents_total{outcome=\"stored\",pipeline=\"test\"} 1\n";
    assert!(body.contains(stored), "{body}");
}

/// A failed push of metrics does not change the result of a run.
#[test]
fn a_failing_gateway_does_not_fail_the_run() {
    let (refuses, _requests) = receiver(&[500, 500]);
    let away = format!("http://127.0.0.1:{}", free_port());
    let place = TestProject::with_stand_in();
    place.write("a.txt", "a document");
    for (name, content, code) in
        [("b.txt", "another one", 0), ("broken.pdf", "%PDF-1.4 this is none", 2)]
    {
        for (number, gateway) in [&refuses, &away].into_iter().enumerate() {
            // A known failure of a document does not fail the run again.
            place.write(&format!("{number}-{name}"), format!("{content} {number}"));
            let ran = place.semantik(&["run", "pipeline.yaml", "--push-metrics", gateway]);
            assert_eq!(ran.code, code, "{gateway}: {}", ran.stderr);
            assert!(ran.stderr.contains("the metrics were not pushed"), "{}", ran.stderr);
        }
    }
}

/// A worker and a server serve one pipeline each, in the same database.
#[test]
fn every_query_of_dashboards_and_rules_finds_data_of_real_work() {
    let place = TestProject::with_stand_in();
    for number in 0..200 {
        let words =
            format!("document number {number} of the pipeline speaks of metrics\n").repeat(20);
        place.write(&format!("{number}.txt"), words);
    }
    place.write("bad.pdf", b"%PDF-1.4 this is none");
    let text = std::fs::read_to_string(place.file()).unwrap();
    let scheduled = text
        .replace("name: test\ncollection: test", "name: nightly\ncollection: nightly")
        + "schedule: { cron: \"0 2 * * *\", timezone: Europe/Berlin }\n";
    std::fs::write(place.path().join("nightly.yaml"), scheduled).unwrap();

    let (worker, server, api) = (free_port(), free_port(), free_port());
    let address = |port: u16| format!("127.0.0.1:{port}");
    let _worker =
        ChildProcess::start(&place, &["worker", "nightly.yaml", "--metrics", &address(worker)]);
    let _server = ChildProcess::start(
        &place,
        &["serve", "pipeline.yaml", "--listen", &address(api), "--metrics", &address(server)],
    );
    let api = format!("http://{}", address(api));
    for (what, port) in [("worker", worker), ("server", server)] {
        let url = format!("http://{}/metrics", address(port));
        wait_for(&format!("metrics of the {what}"), || get(&url));
    }
    let targets = [("worker", worker), ("server", server)];
    let (_prometheus, prometheus) = prometheus(place.path(), &targets);
    wait_for("the first scrape", || {
        let up = ask(&prometheus, "sum(up) == 2");
        (!up.is_empty()).then_some(())
    });

    // Several rounds with changes: a rate needs two samples.
    for round in 0..3 {
        place.write("new.txt", format!("something new in round {round}"));
        for file in ["nightly.yaml", "pipeline.yaml"] {
            let ran = place.semantik(&["run", file, "--json"]);
            assert!(matches!(ran.code, 0 | 2), "{file}: exit code {}: {}", ran.code, ran.stderr);
        }
        place.execute("UPDATE collections SET is_public = TRUE");
        for _ in 0..2 {
            let found = get(&format!("{api}/api/v1/search?q=metrics&collections=test"));
            assert!(
                found.is_some_and(|found| found.contains("document number")),
                "the search returned no hit"
            );
        }
    }

    let mut queries = queries_of_dashboards();
    let rules = std::fs::read_to_string(configs("prometheus").join("recording.yaml")).unwrap();
    for line in rules.lines() {
        if let Some(name) = line.trim().strip_prefix("- record: ") {
            queries.push(("recording rule".to_owned(), name.to_owned()));
        }
    }
    for metric in metrics_of_alerts() {
        // Alerts use single series of histograms, such as `_bucket`.
        queries.push(("alert".to_owned(), metric));
    }
    assert!(queries.len() > 50, "{} queries", queries.len());
    let asked = Instant::now();
    let mut silent = queries;
    while !silent.is_empty() && asked.elapsed() < Duration::from_secs(120) {
        // Queue metrics of a run disappear after the run.
        let lately = |query: &str| format!("last_over_time(({query})[2m:500ms])");
        silent.retain(|(_, query)| ask(&prometheus, &lately(query)).is_empty());
        std::thread::sleep(Duration::from_millis(500));
    }
    let report: Vec<String> =
        silent.iter().map(|(of, query)| format!("{of}\n    {query}")).collect();
    assert!(silent.is_empty(), "queries without data:\n{}", report.join("\n"));
    let documented = std::fs::read_to_string(Path::new(ROOT).join("docs/metrics.md")).unwrap();
    for port in [worker, server] {
        let text = get(&format!("http://{}/metrics", address(port))).unwrap();
        let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        for name in names {
            assert!(documented.contains(&format!("`{name}`")), "docs/metrics.md lacks {name}");
        }
    }
    let firing = ask(&prometheus, "ALERTS{alertstate=\"firing\", severity=\"critical\"}");
    assert!(firing.is_empty(), "{firing:?}");
}
