//! Lists of documents and facets over HTTP: sort orders, text filters, reasons, pagination, counts;
//! and generic titles.

use serde_json::{Value, json};

use super::server::Server;
use crate::support::{TestProject, text};

/// Documents of several sizes and types, some of which are set aside.
fn sample_project() -> TestProject {
    let place = TestProject::with_stand_in();
    place.write("b.txt", "a short note about the harbour");
    place.write("A.md", "# Ärger im Hafen\n\nThe harbour is closed, and the ferry does not leave.");
    place.write(
        "deep/c.html",
        "<html lang=en><title>untitled</title><p>Tickets of the ferry, and where to buy them.</p>",
    );
    place.write("deep/d.html", "<html lang=en><title>Microsoft Word - d.doc</title><p>Cranes</p>");
    place.write("Zoë.txt", "a letter. ".repeat(40));
    place.write("empty.txt", "");
    place.write("also empty.txt", " \n");
    place.write("broken.docx", "this is no zip archive");
    place.run();
    place
}

/// The names of all documents of a list, read page by page.
fn names(server: &Server, bearer: &str, query: &str, limit: usize) -> Vec<String> {
    let path =
        format!("/collections/{}/documents?limit={limit}&{query}", server.collection(bearer));
    let (mut names, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("{path}{cursor}"), Some(bearer)).ok_json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= limit, "{page}");
        names.extend(items.iter().map(|it| text(&it["name"])));
        let Some(next) = page["next"].as_str() else { return names };
        cursor = format!("&cursor={next}");
        assert!(names.len() < 100, "the pagination does not end");
    }
}

#[test]
fn documents_are_ordered_and_narrowed_as_one_asks() {
    let place = sample_project();
    let server = Server::start(&place);
    let root = server.set_up();
    for limit in [1, 2, 3, 50] {
        let names = |query: &str| names(&server, &root, query, limit);
        assert_eq!(
            names("sort=name"),
            [
                "A.md",
                "also empty.txt",
                "b.txt",
                "broken.docx",
                "c.html",
                "d.html",
                "empty.txt",
                "Zoë.txt"
            ]
        );
        let mut backwards = names("sort=name&order=desc");
        backwards.reverse();
        assert_eq!(backwards, names("sort=name&order=asc"));
        let by_size = names("sort=size");
        assert_eq!((by_size[0].as_str(), by_size[7].as_str()), ("empty.txt", "Zoë.txt"));
        assert_eq!(names("sort=size&order=desc")[0], "Zoë.txt");
        assert_eq!(names("sort=updated").len(), 8);
        let by_status = names("sort=status");
        assert!(by_status[..5].iter().all(|it| !it.contains("empty") && it != "broken.docx"));
        assert_eq!(names("").len(), 8);

        assert_eq!(
            names("sort=name&status=failed"),
            ["also empty.txt", "broken.docx", "empty.txt"]
        );
        assert_eq!(names("sort=name&reason=empty"), ["also empty.txt", "empty.txt"]);
        assert_eq!(names("sort=size&order=desc&status=failed&reason=empty").len(), 2);
        assert_eq!(names("reason=empty&status=completed"), [""; 0]);
        assert_eq!(names("reason=nothing"), [""; 0]);

        // Matches names, titles and messages without case, but not across their boundaries.
        assert_eq!(names("sort=name&q=ZO%C3%8B"), ["Zoë.txt"]);
        assert_eq!(names("sort=name&q=%C3%A4rger"), ["A.md"]);
        assert_eq!(names("sort=name&q=deep%2F"), ["c.html", "d.html"]);
        assert_eq!(names("sort=name&order=desc&q=.TXT&status=completed"), ["Zoë.txt", "b.txt"]);
        assert_eq!(names("sort=name&q=zip"), ["broken.docx"]);
        assert_eq!(names("q=50%25"), [""; 0], "the text must not be a pattern");
    }
    let of = |query: &str| {
        let path = format!("/collections/{}/documents?{query}", server.collection(&root));
        server.get(&path, Some(&root))
    };
    let next = text(&of("sort=name&limit=2").ok_json()["next"]);
    for wrong in [
        format!("sort=size&cursor={next}"),
        format!("sort=name&order=desc&cursor={next}"),
        format!("cursor={next}"),
        "sort=colour".to_owned(),
        "order=up".to_owned(),
        "sort=name&cursor=x".to_owned(),
        format!("q={}", "x".repeat(201)),
        "q=%00".to_owned(),
    ] {
        assert_eq!(of(&wrong).code(), "invalid_query", "{wrong}");
    }
}

#[test]
fn a_text_is_looked_for_in_parts_of_a_large_collection() {
    let place = sample_project();
    let server = Server::start(&place);
    let root = server.set_up();
    place.execute(
        "INSERT INTO documents (id, collection_id, file_path, file_name, file_size, content_hash, status)
         SELECT gen_random_uuid(), c.id, '/far/' || n || '.txt', n || '.txt', 1, sha256(n::text::bytea), 'completed'
         FROM collections c, generate_series(1, 25000) n",
    );
    let path = format!("/collections/{}/documents?sort=name&q=Zo%C3%AB", server.collection(&root));
    let (mut cursor, mut parts) = (String::new(), Vec::new());
    loop {
        let page = server.get(&format!("{path}{cursor}"), Some(&root)).ok_json();
        parts.push(page["items"].as_array().unwrap().len());
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(parts, [0, 0, 1], "a request must examine at most ten thousand");
}

#[test]
fn documents_are_counted_by_status_and_reason() {
    let place = sample_project();
    let server = Server::start(&place);
    let root = server.set_up();
    let counts = server
        .get(&format!("/collections/{}/documents/counts", server.collection(&root)), Some(&root))
        .ok_json();
    assert_eq!(
        (&counts["completed"], &counts["failed"], &counts["deleted"]),
        (&json!(5), &json!(3), &json!(0))
    );
    let reasons: Vec<(String, i64)> = counts["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (text(&it["reason"]), it["count"].as_i64().unwrap()))
        .collect();
    assert_eq!(reasons, [("empty".to_owned(), 2), ("failed".to_owned(), 1)], "{counts}");
    assert_eq!(counts["reasons"][0]["messages"], json!([{ "message": "has no text", "count": 2 }]));
}

#[test]
fn a_title_that_says_nothing_is_not_shown_as_one() {
    let place = sample_project();
    // As stored by versions without the filter of generic titles.
    let server = Server::start(&place);
    let root = server.set_up();
    let junk = "UPDATE documents SET meta = jsonb_set(meta, '{title}', '\"Microsoft Word - d.doc\"') WHERE file_name = 'd.html'";
    place.execute(junk);
    let path =
        format!("/collections/{}/documents?sort=name&status=completed", server.collection(&root));
    let page = server.get(&path, Some(&root)).ok_json();
    let titles: Vec<(String, &Value)> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (text(&it["name"]), &it["title"]))
        .collect();
    let of = |name: &str| titles.iter().find(|(it, _)| it == name).unwrap().1;
    assert_eq!(of("d.html"), &Value::Null);
    assert_eq!(of("A.md"), "Ärger im Hafen");
    let found = server.get("/search?q=tickets+of+the+ferry&k=50", Some(&root)).ok_json();
    for hit in found["hits"].as_array().unwrap() {
        let title = text(&hit["title"]);
        assert!(!title.is_empty() && !title.to_lowercase().contains("untitled"), "{hit}");
    }
}

/// The values of a field with their counts.
fn numbers(facets: &Value, field: &str) -> Vec<(String, i64)> {
    let values = facets[field].as_array().unwrap().iter();
    values.map(|it| (text(&it["value"]), it["count"].as_i64().unwrap())).collect()
}

#[test]
fn facets_count_what_answers_the_question() {
    let place = sample_project();
    let server = Server::start(&place);
    let root = server.set_up();
    let asked = |question: Value| server.post("/search/facets", Some(&root), &question);
    let words = |query: &str, filter: Value| {
        asked(json!({ "query": query, "mode": "sparse", "filter": filter })).ok_json()
    };
    // Sparse search counts only chunks with the words.
    let harbour = words("harbour", Value::Null);
    assert_eq!((&harbour["counted"], &harbour["is_whole"]), (&json!(2), &json!(true)), "{harbour}");
    let pairs = |list: &[(&str, i64)]| -> Vec<(String, i64)> {
        list.iter().map(|(value, count)| ((*value).to_owned(), *count)).collect()
    };
    assert_eq!(numbers(&harbour, "mime_type"), pairs(&[("text/markdown", 1), ("text/plain", 1)]));
    let ferry = words("ferry", Value::Null);
    assert_eq!(numbers(&ferry, "mime_type"), pairs(&[("text/html", 1), ("text/markdown", 1)]));
    assert_eq!(words("nowhere at all", Value::Null)["counted"], 0);

    // A filter restricts the counts, except for values of its own field.
    let narrowed = words("ferry", json!({ "mime_type": ["text/html"] }));
    assert_eq!(
        (&narrowed["counted"], numbers(&narrowed, "mime_type")),
        (&json!(1), numbers(&ferry, "mime_type"))
    );
    assert_eq!(numbers(&narrowed, "source").iter().map(|(_, count)| count).sum::<i64>(), 1);
    // Each count equals the number of hits with that value as filter.
    for (value, count) in numbers(&ferry, "mime_type") {
        let search = json!({ "query": "ferry", "mode": "sparse", "filter": { "mime_type": value }, "k": 50 });
        let found = server.post("/search", Some(&root), &search).ok_json();
        assert_eq!(
            i64::try_from(found["hits"].as_array().unwrap().len()).unwrap(),
            count,
            "{value}"
        );
    }

    // Dense search ranks all chunks that pass the filter; the best hundred are counted.
    let meaning = asked(json!({ "query": "ferry", "mode": "dense" })).ok_json();
    let chunks =
        server.get(&format!("/collections/{}", server.collection(&root)), Some(&root)).ok_json();
    assert_eq!(
        (&meaning["counted"], &meaning["is_whole"]),
        (&chunks["chunk_count"], &json!(true)),
        "{meaning}"
    );
    let left =
        asked(json!({ "query": "ferry", "mode": "dense", "filter": { "mime_type": "text/html" } }))
            .ok_json();
    assert_eq!(left["counted"], 2, "{left}");

    // Permissions and errors are those of a search.
    let nobody = server.post("/search/facets", None, &json!({ "query": "ferry" })).ok_json();
    assert_eq!((&nobody["counted"], numbers(&nobody, "mime_type")), (&json!(0), Vec::new()));
    assert_eq!(asked(json!({ "query": "x", "collections": ["none"] })).code(), "not_found");
    assert_eq!(
        asked(json!({ "query": "x", "filter": { "colour": "red" } })).code(),
        "invalid_body"
    );
    assert_eq!(asked(json!({ "query": "" })).code(), "invalid_body");
}
