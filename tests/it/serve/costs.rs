//! Limits of request cost: filters, patterns and searches of any size are answered or rejected, and
//! do not block other requests.

use std::sync::Mutex;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use super::server::Server;
use crate::support::{TestProject, text};

/// Patterns of every size: short, deep, wide and long.
fn pattern() -> BoxedStrategy<String> {
    prop_oneof![
        "[a-z*?/.]{1,12}",
        (1..40_000_usize).prop_map(|depth| "{".repeat(depth) + "a" + &"}".repeat(depth)),
        (1..40_000_usize).prop_map(|depth| "{".repeat(depth)),
        (1..2_000_usize).prop_map(|count| format!("{{{}}}", vec!["a"; count].join(","))),
        (1..3_000_usize).prop_map(|bytes| "*a".repeat(bytes)),
        (1..200_usize).prop_map(|count| "[a-z]*".repeat(count)),
    ]
    .boxed()
}

/// Filters of every size and depth.
fn filter() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        pattern().prop_map(|it| json!({ "path": { "glob": it } })),
        pattern().prop_map(|it| json!({ "metadata": { "author": { "glob": it } } })),
        "[a-z]{1,8}".prop_map(|it| json!({ "path": it })),
        (1..3_000_usize).prop_map(|n| json!({ "language": vec!["en"; n] })),
        (1..200_usize).prop_map(|n| json!({ "path": { "glob": vec!["*a*"; n] } })),
    ];
    let wide = (leaf.clone(), 1..5_000_usize)
        .prop_map(|(leaf, n)| json!({ "or": vec![leaf; n.min(2_000)] }));
    let deep = (leaf.clone(), 1..60_usize).prop_map(|(leaf, depth)| {
        (0..depth).fold(leaf, |inner, n| match n % 3 {
            0 => json!({ "not": inner }),
            1 => json!({ "and": [inner] }),
            _ => json!({ "or": [inner, { "page": 1 }] }),
        })
    });
    prop_oneof![leaf, wide, deep]
        .prop_filter("bodies are limited to a mebibyte", |it| it.to_string().len() < 1_000_000)
        .boxed()
}

#[test]
fn any_filter_is_refused_or_matched_and_holds_nobody_up() {
    let place = TestProject::with_stand_in();
    for n in 0..50 {
        place.write(&format!("folder/{n}-a.txt"), format!("document number {n}"));
    }
    place.run();
    let server = Server::start(&place);
    let root = server.set_up();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[12; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let filters: Vec<Value> =
        (0..120).map(|_| filter().new_tree(&mut runner).unwrap().current()).collect();
    let search = |filter: &Value| {
        server.post("/search", Some(&root), &json!({ "query": "document", "filter": filter }))
    };
    let (mut matched, mut refused) = (0, 0);
    for filter in &filters {
        let reply = search(filter);
        let sent: String = filter.to_string().chars().take(200).collect();
        match reply.status {
            200 => matched += 1,
            422 => {
                refused += 1;
                let detail = text(&reply.json()["detail"]);
                let names_a_limit =
                    ["at most", "more than"].iter().any(|word| detail.contains(word));
                assert!(names_a_limit || detail.contains("invalid pattern"), "{sent}: {detail}");
            }
            _ => panic!("{sent}: {reply:?}"),
        }
    }
    assert!(matched > 20 && refused > 20, "{matched} matched, {refused} refused");

    // More of the most expensive accepted requests than threads: a cheap request is answered before
    // them.
    let largest = json!({ "or": (0..32).map(|n| json!({ "path": { "glob": format!("{n}{}", "[a-z]*".repeat(80)) } }))
        .collect::<Vec<_>>() });
    let order = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                let reply = search(&largest);
                order.lock().unwrap().push("large");
                assert_eq!(reply.status, 200, "{reply:?}");
            });
        }
        scope.spawn(|| {
            for _ in 0..5 {
                server.get("/health/live", None).ok_json();
                order.lock().unwrap().push("small");
            }
        });
    });
    let order = order.into_inner().unwrap();
    let smalls = order.iter().rposition(|it| *it == "small").unwrap();
    assert!(order[smalls..].len() > 12, "the cheap requests had to wait: {order:?}");
}

#[test]
fn a_search_costs_no_more_than_its_budget_and_counts_as_what_it_costs() {
    let place = TestProject::with_stand_in();
    place.write("a.txt", "a document");
    place.run();
    let rates = ["--rate", "search=0.001:100", "--rate", "login=0", "--rate", "look=0"];
    let server = Server::start_with_args(&place, &rates);
    let root = server.set_up();
    let search = |more: Value| {
        let mut wanted = json!({ "query": "document" });
        wanted.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.post("/search", Some(&root), &wanted)
    };
    for more in [
        json!({ "k": 1000, "offset": 10_000, "per_document": 100 }),
        json!({ "offset": 10_000, "per_document": 2 }),
    ] {
        let refused = search(more);
        assert_eq!((refused.status, refused.code().as_str()), (422, "too_costly"), "{refused:?}");
        assert!(text(&refused.json()["detail"]).contains("the allowed 50000"), "{refused:?}");
    }
    // Each of these counts as twelve of a hundred.
    let large: Vec<u16> =
        (0..10).map(|_| search(json!({ "k": 1000, "candidates": 10_000 })).status).collect();
    assert!(large.contains(&200) && large.ends_with(&[429]), "{large:?}");
}

#[test]
fn patterns_of_files_and_commands_have_the_same_limits() {
    let place = TestProject::with_stand_in();
    let deep = "{".repeat(20_000) + "a" + &"}".repeat(20_000);
    let filter = json!({ "path": { "glob": deep } }).to_string();
    let ran = place.semantik(&["search", "pipeline.yaml", "--filter", &filter, "x"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("at most 1000 are allowed"), "{}", ran.stderr);
    let nested = "{".repeat(11) + "a" + &"}".repeat(11);
    let plain = std::fs::read_to_string(place.file()).unwrap();
    for (from, to, said) in [
        ("max_size: 8MB", format!("include: ['{deep}']"), "at most 1000 are allowed"),
        ("max_size: 8MB", format!("exclude: ['{nested}']"), "more than 10 deep"),
        (
            "max_size: 8MB",
            format!("include: [{}]", vec!["'*.md'"; 1001].join(", ")),
            "at most 1000",
        ),
        (
            "from: extract,",
            format!("from: extract, when: {{ mime_type: '{deep}' }},"),
            "at most 1000 are allowed",
        ),
        (
            "from: extract,",
            format!("from: extract, when: {{ mime_type: '{nested}' }},"),
            "more than 10 deep",
        ),
    ] {
        std::fs::write(place.file(), plain.replace(from, &to)).unwrap();
        let ran = place.semantik(&["check", "pipeline.yaml"]);
        let shown: String = to.chars().take(60).collect();
        assert_ne!(ran.code, 0, "{shown}: {}", ran.stderr);
        assert!((ran.stderr + &ran.stdout).contains(said), "{shown}");
    }
}
