//! `semantik test`: samples in the pipeline file, and the output for unexpected results.

use insta::assert_snapshot;

use crate::support::TestProject;

/// A place with this `tests` section at the end of its pipeline file.
fn place(tests: &str) -> TestProject {
    let place = TestProject::with("model: 'stand-in:16'", "");
    place.append_pipeline(tests);
    place
}

const GOOD: &str = r#"
tests:
  - name: a page becomes chunks with its headings
    input:
      name: page.html
      text: |
        <html lang="en"><head><title>A page</title></head>
        <body><h1>Birds</h1><p>The heron stands in the water.</p><h2>Geese</h2><p>They fly in the autumn.</p></body></html>
    expect:
      text: { contains: [The heron stands], lacks: ["<p>"] }
      chunks:
        max_tokens: 64
        at: [{ index: 0, contains: heron }]
      metadata: { title: A page, mime_type: text/html }
      route: { through: [extract, chunk, embed] }
  - name: nothing is set aside as empty
    input: { name: empty.txt, text: "  \n" }
    expect: { route: { set_aside: empty, at: extract } }
  - name: a file beside the pipeline
    input: { file: samples/note.md }
    expect: { text: { snapshot: samples/note.txt }, chunks: { count: 1, snapshot: samples/note.chunks.txt } }
  - name: an image has no extractor
    input: { file: samples/picture.png }
    expect: { route: { set_aside: unsupported, around: [chunk], because: image/png } }
"#;

fn with_samples(tests: &str) -> TestProject {
    let place = place(tests);
    let samples = place.path().join("samples");
    std::fs::create_dir(&samples).unwrap();
    std::fs::write(samples.join("note.md"), "# A note\n\nWater the plants.\n").unwrap();
    std::fs::write(samples.join("picture.png"), b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR").unwrap();
    place
}

#[test]
fn samples_become_what_the_file_says_without_a_store() {
    let place = with_samples(GOOD);
    let ran = place.semantik(&["test", "pipeline.yaml"]);
    assert_eq!(ran.code, 1, "expected missing snapshots: {}", ran.stderr);
    assert_snapshot!("not_written", ran.stdout);
    let ran = place.semantik(&["test", "pipeline.yaml", "--update"]);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    let chunks = std::fs::read_to_string(place.path().join("samples/note.chunks.txt")).unwrap();
    assert_snapshot!("chunks", chunks);
    let ran = place.semantik(&["test", "pipeline.yaml"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert_snapshot!("good", ran.stdout);
    assert!(!place.path().join(".semantik").exists(), "no store may be created");
}

#[test]
fn what_differs_is_shown_line_by_line() {
    let place = with_samples(
        r#"
tests:
  - name: all that can be wrong with a text
    input: { name: a.txt, text: "one\ntwo\nthree\n" }
    expect:
      text: { equals: "one\n2\nthree", contains: [tvo, "nothing of it"], lacks: [three] }
      chunks: { count: 2, max_chars: 5, at: [{ index: 0, equals: "one\ntwo" }, { index: 7, contains: x }, { index: 0, headings: A, page: 3 }] }
      metadata: { title: another, author: nobody }
      route: { through: [upsert], around: [hash] }
  - name: set aside where it should not be
    input: { name: empty.txt, text: "" }
    expect: { text: { contains: [something] } }
  - name: not set aside where it should be
    input: { name: a.txt, text: "one" }
    expect: { route: { set_aside: failed } }
"#,
    );
    let ran = place.semantik(&["test", "pipeline.yaml"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert_snapshot!("differences", ran.stdout);
    let ran = place.semantik(&["test", "pipeline.yaml", "--json", "--only", "not set aside"]);
    let json = ran.json();
    assert_eq!((json.as_array().unwrap().len(), &json[0]["passed"]), (1, &false.into()));
    assert_eq!(json[0]["failures"][0]["what"], "set aside");
}

#[test]
fn a_test_that_cannot_be_run_is_a_fault_of_the_file() {
    let place = place(
        r#"
tests:
  - { name: both, input: { text: a, file: b.txt }, expect: {} }
  - { name: neither, input: { name: a.txt }, expect: {} }
  - { name: no name, input: { text: a }, expect: { route: { through: [embd] } } }
  - { name: misspelt, input: { text: a, name: a.txt }, expect: { chunks: { cuont: 3 } } }
"#,
    );
    let ran = place.semantik(&["check", "pipeline.yaml"]);
    assert_eq!(ran.code, 78);
    assert_snapshot!("faults", ran.stderr);
}

#[test]
fn routes_are_taken_as_the_file_says() {
    let place = place("");
    let yaml = r#"
version: 1
name: routes
collection: routes
nodes:
  - { id: scan,  uses: scan, with: { paths: [corpus] } }
  - { id: hash,  uses: hash, from: scan }
  - { id: pages, uses: extract, from: hash, when: { mime_type: text/html } }
  - { id: notes, uses: extract, from: hash, when: { mime_type: text/plain } }
  - { id: chunk, uses: chunk, from: [pages, notes] }
  - { id: embed, uses: embed, from: chunk, with: { model: ./models/not-there } }
  - { id: upsert, uses: upsert, from: embed }
tests:
  - { name: page, input: { name: a.html, text: "<p>a" }, expect: { route: { through: [pages, embed], around: [notes] } } }
  - { name: note, input: { name: a.txt, text: "a" }, expect: { route: { through: [notes], around: [pages] } } }
  - { name: neither, input: { name: a.json, text: "{}" }, expect: { route: { set_aside: unrouted, at: hash } } }
"#;
    std::fs::write(place.file(), yaml).unwrap();
    let ran = place.semantik(&["test", "pipeline.yaml"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
}
