//! Output on a terminal and in a pipe: widths, colours, tables, escape sequences and logs; and
//! interrupted runs.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::empty_libtorch;
use crate::support::{CommandOutput, TestProject, command, ran, signal, wait_for};

/// Words that differ between documents.
fn words(n: usize, many: usize) -> String {
    (0..many).map(|word| format!("w{}x{n} ", word * word)).collect()
}

fn interrupted(many: usize, tokens: usize, rate: usize) -> TestProject {
    let place = TestProject::with_embedding(&format!("model: 'stand-in:16@{rate}'"));
    for n in 0..many {
        place.write(&format!("{n:04}.txt"), words(n, tokens));
    }
    place
}

fn count(report: &Value, key: &str) -> u64 {
    report["documents"][key].as_u64().unwrap()
}

/// Starts a run with logs, and waits until documents are stored.
fn start_run(place: &TestProject) -> Child {
    let child = place.start(&["--log-format", "text", "run", "pipeline.yaml", "--json"]);
    place.wait_until("SELECT count(*) > 0 FROM documents WHERE status = 'completed'");
    child
}

/// Interrupts a run with one or two signals and waits for its end. The second signal is sent after
/// the response to the first, because signals sent together are merged.
fn interrupt(mut child: Child, signals: usize) -> CommandOutput {
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    signal(&child, "-INT");
    while !said.contains("finishing ") {
        assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "no response to the signal: {said}");
    }
    if signals > 1 {
        signal(&child, "-INT");
    }
    stderr.read_to_string(&mut said).unwrap();
    let ended = ran(child.wait_with_output().unwrap());
    CommandOutput { stderr: said, ..ended }
}

/// The model would need minutes for the corpus: documents are stored long before the end, and two
/// signals end the run with every document accounted for.
#[test]
fn a_second_interrupt_stores_what_is_embedded_and_leaves_the_rest() {
    const DOCUMENTS: usize = 600;
    let place = interrupted(DOCUMENTS, 40, 200);
    let ran = interrupt(start_run(&place), 2);
    assert_eq!(ran.code, 130, "{}", ran.stderr);
    let report = ran.json();
    let [seen, stored, left] =
        ["seen", "stored", "interrupted"].map(|outcome| count(&report, outcome));
    assert!(stored > 0 && left > 0, "{report:#}");
    assert_eq!(seen, stored + left, "{report:#}");
    assert_eq!(report["stopped"], true);
    assert_eq!(
        place.index().documents.len() as u64,
        stored,
        "the reported documents must be stored"
    );
    // The first signal reports the remaining amount of work.
    let finishing = ran.stderr.lines().find(|line| line.contains("finishing ")).unwrap();
    let said: u64 = finishing
        .split_once("finishing ")
        .unwrap()
        .1
        .split(' ')
        .next()
        .unwrap()
        .replace('\u{202f}', "")
        .parse()
        .unwrap();
    assert!(said >= left && finishing.contains("about "), "{finishing}");
    assert!(ran.stderr.contains("storing embedded documents"), "{}", ran.stderr);

    // The same model, only faster: stored documents are not embedded again.
    place.edit_pipeline("stand-in:16@200", "stand-in:16");
    let report = place.run();
    assert_eq!(count(&report, "unchanged"), stored, "{report:#}");
    assert_eq!(count(&report, "stored"), DOCUMENTS as u64 - stored, "{report:#}");
    place.index().assert_equal_to(&place.fresh().index());
}

/// One signal finishes the batches in flight.
#[test]
fn one_interrupt_finishes_what_is_in_flight() {
    let place = interrupted(150, 40, 2000);
    let ran = interrupt(start_run(&place), 1);
    assert!(matches!(ran.code, 0 | 130), "{}", ran.stderr);
    let report = ran.json();
    assert_eq!(count(&report, "seen"), count(&report, "stored"), "{report:#}");
    assert_eq!(count(&report, "interrupted"), 0);
    assert_eq!(place.index().documents.len() as u64, count(&report, "stored"));
}

/// Progress of a running operation, as stored in its row.
#[test]
fn progress_counts_what_the_model_has_read_and_says_how_much_is_left() {
    let place = interrupted(200, 40, 1000);
    let child = start_run(&place);
    let progress = wait_for("a percentage", || {
        let rows = place.sql("SELECT progress FROM operation_leases WHERE progress IS NOT NULL");
        let found = rows.first()?["progress"].clone();
        found["share"].as_f64().filter(|share| *share < 1.0).map(|_| found)
    });
    let number = |key: &str| progress[key].as_f64().unwrap();
    assert!(number("tokens") > 0.0 && number("tokens_expected") > number("tokens"), "{progress:#}");
    assert!(number("share") > 0.0 && number("eta_seconds") > 0.0, "{progress:#}");
    interrupt(child, 2);
}

/// Runs the command on a terminal of this size; returns the output of both streams.
fn on_terminal(
    place: &TestProject,
    size: (u16, u16),
    variables: &[(&str, &str)],
    verb: &str,
) -> String {
    let (columns, rows) = size;
    let program = command(&[]).get_program().to_str().unwrap().to_owned();
    let line = format!("stty cols {columns} rows {rows}; exec {program} {verb}");
    let mut script = Command::new("script");
    script.args(["-q", "-e", "-c", &line, "/dev/null"]).current_dir(place.path());
    script.env("TERM", "xterm").env_remove("NO_COLOR").env_remove("SEMANTIK_LOG");
    script.envs(variables.iter().copied()).stdin(Stdio::null());
    if let Some(folder) = empty_libtorch::folder() {
        script.env("LD_LIBRARY_PATH", folder);
    }
    let output = script.output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Text without control sequences for cursor and colour.
fn plain(said: &str) -> String {
    let mut out = String::new();
    let mut rest = said;
    while let Some((before, sequence)) = rest.split_once("\u{1b}[") {
        out.push_str(before);
        let end = sequence.find(|letter: char| letter.is_ascii_alphabetic()).unwrap();
        rest = &sequence[end + 1..];
    }
    out + rest
}

/// Length of the longest line. Lines that consist of a URL are not wrapped, so that it can be
/// copied.
fn longest(said: &str) -> usize {
    let plain = plain(said);
    let lines = plain.split(['\r', '\n']).filter(|line| !line.trim_start().starts_with("file://"));
    lines.map(|line| line.chars().count()).max().unwrap()
}

/// All characters written to the first column of a terminal of this width, including continuation
/// lines of text that is wider.
fn first_column(said: &str, columns: usize) -> BTreeSet<char> {
    let (mut column, mut found) = (0, BTreeSet::new());
    let mut rest = said;
    while let Some(letter) = rest.chars().next() {
        if let Some(sequence) = rest.strip_prefix("\u{1b}[") {
            // The sequences of this program move between lines, erase a line or set colours.
            let end = sequence.find(|letter: char| letter.is_ascii_alphabetic()).unwrap();
            rest = &sequence[end + 1..];
            continue;
        }
        rest = &rest[letter.len_utf8()..];
        match letter {
            '\r' | '\n' => column = 0,
            letter => {
                column = if column == columns { 0 } else { column };
                if column == 0 {
                    found.insert(letter);
                }
                column += 1;
            }
        }
    }
    found
}

fn is_coloured(said: &str) -> bool {
    said.split("\u{1b}[").skip(1).any(|rest| {
        let end = rest.find(|letter: char| letter.is_ascii_alphabetic()).unwrap();
        rest[end..].starts_with('m')
    })
}

/// A place with names wider than a terminal.
fn long_names(rate: usize) -> TestProject {
    let place = interrupted(60, 30, rate);
    let folder = "a-rather-long-name-of-a-folder/and-another-one-in-it/".repeat(3);
    place.write(&format!("{folder}empty.txt"), "");
    place.write(&format!("{folder}broken.docx"), "this is no archive");
    place
}

#[test]
fn nothing_is_wider_than_the_terminal() {
    for size in [(80, 24), (50, 20)] {
        let place = long_names(1000);
        let said = on_terminal(&place, size, &[], "run pipeline.yaml");
        // The live view and the messages of the run were shown.
        assert!(
            said.contains("embed") && said.contains(" tokens") && said.contains(" %"),
            "{said}"
        );
        assert!(said.contains("set aside"), "{said}");
        assert!(is_coloured(&said), "{said}");
        // Lines of the view start with a spinner or blanks, table lines with a border.
        let view = said.split_once("meaningless results").unwrap().1;
        let odd = |letter: &char| !matches!(letter, ' ' | '\u{2800}'..='\u{28ff}' | '\u{2500}'..='\u{257f}');
        let odd: String = first_column(view, size.0.into()).into_iter().filter(odd).collect();
        assert_eq!(odd, "", "at {size:?}:\n{said}");
        for verb in [
            "status pipeline.yaml",
            "plan pipeline.yaml",
            "documents list pipeline.yaml",
            "collections show pipeline.yaml",
            "operations list pipeline.yaml",
            "sources list pipeline.yaml",
            "why pipeline.yaml corpus/0001.txt",
            "search pipeline.yaml w4x1",
            "top pipeline.yaml --once",
        ] {
            let said = on_terminal(&place, size, &[], verb);
            assert!(longest(&said) <= size.0.into(), "{verb} at {size:?}:\n{said}");
        }
    }
}

#[test]
fn colours_are_left_out_where_they_are_not_wanted() {
    let run = |variables: &[(&str, &str)]| {
        let place = long_names(2000);
        let run = on_terminal(&place, (80, 24), variables, "run pipeline.yaml");
        let hit = on_terminal(&place, (80, 24), variables, "search pipeline.yaml w4x1");
        (run, hit)
    };
    let (said, hit) = run(&[("NO_COLOR", "1")]);
    assert!(said.contains("tokens") && !is_coloured(&said) && !is_coloured(&hit), "{said}\n{hit}");
    // A dumb terminal gets lines instead of the view.
    let (said, hit) = run(&[("TERM", "dumb")]);
    assert!(!said.contains('\u{1b}') && !hit.contains('\u{1b}'), "{said}\n{hit}");
    let (_, hit) = run(&[]);
    assert!(is_coloured(&hit), "{hit}");
}

#[test]
fn tables_in_a_pipe_are_tab_separated() {
    let place = TestProject::with_stand_in();
    place.write("a.txt", "a document");
    place.write("b.txt", "");
    let ran = place.semantik(&["run", "pipeline.yaml"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let listed = place.semantik(&["documents", "list", "pipeline.yaml"]).stdout;
    let rows: Vec<Vec<&str>> = listed.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(rows[0][0], "document", "{listed}");
    assert!(rows.len() == 3 && rows.iter().all(|row| row.len() == rows[0].len()), "{listed}");
    for verb in [&["status", "pipeline.yaml"][..], &["run", "pipeline.yaml"]] {
        let said = place.semantik(verb).stdout;
        assert!(!said.contains(['│', '┌', '═']) && !said.contains("  \t"), "{said}");
        assert!(said.lines().any(|line| line.contains('\t')), "{said}");
    }
}

#[test]
fn logs_are_text_unless_json_is_asked_for() {
    let place = TestProject::with_stand_in();
    place.write("a.txt", "a document");
    let run = |more: &[&str], variables: &[(&str, &str)]| -> CommandOutput {
        let mut run = command(&[&["--log", "debug", "run", "pipeline.yaml"], more].concat());
        run.env_remove("SEMANTIK_LOG_FORMAT").envs(variables.iter().copied());
        ran(run.current_dir(place.path()).output().unwrap())
    };
    let is_json = |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|it| it.is_object());
    let text = run(&[], &[]);
    assert!(text.stderr.contains("DEBUG") && !text.stderr.lines().any(is_json), "{}", text.stderr);
    assert!(!text.stderr.contains('\u{1b}'), "{}", text.stderr);
    let asked = run(&["--log-format", "json"], &[]);
    let by_variable = run(&[], &[("SEMANTIK_LOG_FORMAT", "json")]);
    for ran in [asked, by_variable] {
        let lines = ran.stderr.lines().filter(|line| !line.starts_with("semantik: "));
        assert!(lines.clone().count() > 0 && lines.clone().all(is_json), "{}", ran.stderr);
    }
}

/// Control sequences of every kind, and characters that change the text direction.
const HOSTILE: [&str; 7] = [
    "\u{1b}[2J",
    "\u{1b}]0;owned\u{7}",
    "\u{9b}31m",
    "\u{202e}fdp",
    "\u{2066}iso",
    "\u{61c}\u{200f}",
    "\u{7f}\u{8}",
];

fn is_unsafe(letter: char) -> bool {
    (letter.is_control() && letter != '\n' && letter != '\t')
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Every command that prints, over documents with terminal control characters in names, titles,
/// headings and text.
#[test]
fn nothing_that_a_terminal_acts_on_is_printed() {
    let place = TestProject::with_stand_in();
    for (n, hostile) in HOSTILE.iter().enumerate() {
        place.write(
            &format!("{n}{hostile}.html"),
            format!(
                "<html><head><title>title {hostile} {n}</title></head><body><h1>heading {hostile}</h1>
                 <p>some text {hostile} of document {n}</p></body></html>"
            ),
        );
        place.write(
            &format!("{n}{hostile}.md"),
            format!("# head {hostile}\n\nbody {hostile} {n}\n"),
        );
        place.write(&format!("{n}{hostile}.docx"), "no archive");
        place.write(&format!("{n}{hostile}.txt"), format!("text {hostile} {n}"));
    }
    place.append_pipeline(
        "schedule: { cron: '0 3 * * *' }
tests:
  - name: \"hostile\\e[2J\"
    input: { text: \"a\\e[2J b\", name: a.txt }
    expect: { text: { contains: [nothing of it] } }
",
    );
    let hostile_file = place.corpus().join(format!("0{}.txt", HOSTILE[0]));
    let hostile_file = hostile_file.to_str().unwrap();
    place
        .write("../judged.jsonl", "{\"query\": \"text of document\", \"relevant\": {\"**\": 1}}\n");
    let mut verbs: Vec<Vec<&str>> = vec![
        vec!["--log", "debug", "run", "pipeline.yaml"],
        vec!["plan", "pipeline.yaml"],
        vec!["check", "pipeline.yaml", "--columns"],
        vec!["graph", "pipeline.yaml"],
        vec!["test", "pipeline.yaml"],
        vec!["status", "pipeline.yaml"],
        vec!["verify", "pipeline.yaml"],
        vec!["rollback", "pipeline.yaml"],
        vec!["schedule", "next", "pipeline.yaml"],
        vec!["schedule", "history", "pipeline.yaml"],
        vec!["schedule", "pause", "pipeline.yaml"],
        vec!["schedule", "resume", "pipeline.yaml"],
        vec!["search", "pipeline.yaml", "--k", "100", "text of document"],
        vec!["why", "pipeline.yaml", hostile_file],
        vec!["documents", "show", "pipeline.yaml", hostile_file],
        vec!["documents", "delete", "pipeline.yaml", "--yes", hostile_file],
        vec!["documents", "undelete", "pipeline.yaml", "--yes", hostile_file],
        vec!["eval", "pipeline.yaml", "--judgements", "judged.jsonl"],
        vec!["documents", "list", "pipeline.yaml"],
        vec!["collections", "list", "pipeline.yaml"],
        vec!["collections", "show", "pipeline.yaml"],
        vec!["collections", "audit", "pipeline.yaml"],
        vec!["collections", "list", "pipeline.yaml", "--deleted"],
        vec!["sources", "list", "pipeline.yaml"],
        vec!["operations", "list", "pipeline.yaml"],
        vec!["schedule", "list", "pipeline.yaml"],
        vec!["users", "list", "pipeline.yaml"],
        vec!["migrate", "status", "pipeline.yaml"],
        vec!["top", "pipeline.yaml", "--once"],
    ];
    let as_json: Vec<_> =
        verbs.iter().skip(1).map(|verb| [&verb[..], &["--json"]].concat()).collect();
    verbs.extend(as_json);
    let mut seen = String::new();
    for verb in &verbs {
        let verb: Vec<&str> = verb.clone();
        let verb: Vec<&str> = if verb.contains(&"--columns") && verb.contains(&"--json") {
            vec!["check", "pipeline.yaml", "--json"]
        } else {
            verb
        };
        let ran = place.semantik(&verb);
        // Some commands fail, for example without a generation to roll back to, but none may have a
        // usage error.
        assert_ne!(ran.code, 64, "{verb:?}: {}", ran.stderr);
        for said in [&ran.stdout, &ran.stderr] {
            let found = said.lines().find(|line| line.contains(is_unsafe));
            assert!(found.is_none(), "{verb:?}: {found:?}");
        }
        if verb.contains(&"--json") && !ran.stdout.is_empty() {
            serde_json::from_str::<Value>(&ran.stdout)
                .unwrap_or_else(|error| panic!("{verb:?}: {error}: {}", ran.stdout));
        }
        seen += &ran.stdout;
    }
    // The characters occur in the output, escaped. Names with C1 controls are listed as URLs, which
    // encode them.
    for shown in ["\\u{202e}", "%C2%9B", "\\u202e", "\\u009b"] {
        assert!(seen.contains(shown), "{shown} is missing in the output");
    }
}
