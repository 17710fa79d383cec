//! `chunk`, with a test tokenizer that splits at white space and punctuation, and words into parts
//! of three letters.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, LargeStringArray, ListArray, RecordBatch, StringArray,
    StructArray, UInt8Array, UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{Field, UInt32Type, UInt64Type};
use pipeline::column::{CHUNKS, OUTLINE, PAGES, TABLES, TEXT, TITLE, outline_fields, table_fields};
use pipeline::{ChunkContents, ModelUse, NodeDef, StageConfig, Tokenizer as _};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{FakeTokenizer, empty_resources, files, model, stage, with_column};

pub(crate) type Heading<'a> = (u64, u8, &'a str);

/// Rows with the columns of `extract` that `chunk` reads, without titles.
fn documents(documents: &[(&str, &[Heading<'_>], &[u64])]) -> RecordBatch {
    titled(None, documents)
}

/// The same with a title.
pub(crate) fn titled(
    title: Option<&str>,
    documents: &[(&str, &[Heading<'_>], &[u64])],
) -> RecordBatch {
    let list = |lengths: Vec<usize>, items: ArrayRef| {
        let field = Arc::new(Field::new_list_field(items.data_type().clone(), false));
        ListArray::new(field, OffsetBuffer::from_lengths(lengths), items, None)
    };
    let names: Vec<String> = (0..documents.len()).map(|index| index.to_string()).collect();
    let rows: Vec<_> =
        names.iter().map(|name| (name.as_str(), "text/plain", b"".as_slice())).collect();
    let texts = LargeStringArray::from_iter_values(documents.iter().map(|document| document.0));
    let headings: Vec<_> = documents.iter().flat_map(|document| document.1).collect();
    let outline = StructArray::new(
        outline_fields(),
        vec![
            Arc::new(UInt64Array::from_iter_values(headings.iter().map(|heading| heading.0))),
            Arc::new(UInt8Array::from_iter_values(headings.iter().map(|heading| heading.1))),
            Arc::new(StringArray::from_iter_values(headings.iter().map(|heading| heading.2))),
        ],
        None,
    );
    let outline =
        list(documents.iter().map(|document| document.1.len()).collect(), Arc::new(outline));
    let pages: Vec<_> = documents.iter().flat_map(|document| document.2).copied().collect();
    let pages = UInt64Array::from(pages);
    let pages = list(documents.iter().map(|document| document.2.len()).collect(), Arc::new(pages));
    let rows = with_column(&files(&rows), TEXT.field(), Arc::new(texts));
    let rows = with_column(&rows, PAGES.field(), Arc::new(pages));
    let titles = StringArray::from(vec![title; documents.len()]);
    let rows = with_column(&rows, TITLE.field(), Arc::new(titles));
    with_column(&rows, OUTLINE.field(), Arc::new(outline))
}

/// A document with these tables: start, start of the body, end.
fn with_tables(text: &str, headings: &[Heading<'_>], tables: &[[u64; 3]]) -> RecordBatch {
    let rows = documents(&[(text, headings, &[])]);
    let column = |at: usize| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(tables.iter().map(|table| table[at])))
    };
    let spans = StructArray::new(table_fields(), (0..3).map(column).collect(), None);
    let field = Arc::new(Field::new_list_field(spans.data_type().clone(), false));
    let offsets = OffsetBuffer::from_lengths([tables.len()]);
    let list = ListArray::new(field, offsets, Arc::new(spans), None);
    with_column(&rows, TABLES.field(), Arc::new(list))
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chunk {
    pub(crate) range: Range<usize>,
    header: Option<Range<usize>>,
    page: Option<u32>,
    headings: Option<String>,
    pub(crate) tokens: Vec<u32>,
}

pub(crate) fn configured(options: Value) -> Box<dyn StageConfig> {
    let expected = match options["unit"].as_str() {
        Some("characters") => ModelUse::FollowsDownstream,
        _ => ModelUse::RequiresDownstream,
    };
    let mut config = stage("chunk", options);
    assert_eq!(config.model(), expected);
    config.bind_model(&model(Path::new("pieces"))).unwrap();
    config
}

/// The chunks of each row, and the number of rows that were set aside.
pub(crate) fn chunks_of(config: &dyn StageConfig, rows: RecordBatch) -> (Vec<Vec<Chunk>>, usize) {
    let expected = config.output_schema(rows.schema_ref()).unwrap();
    let outcome = config.build(&empty_resources()).unwrap().process(rows).unwrap();
    assert_eq!(outcome.rows.schema(), expected);
    let row = |list: ArrayRef| {
        let fields = list.as_struct();
        let contents = ChunkContents::of(fields);
        let number =
            |name| fields.column_by_name(name).unwrap().as_primitive::<UInt64Type>().clone();
        let (starts, ends) = (number("start"), number("end"));
        let pages = fields.column_by_name("page").unwrap().as_primitive::<UInt32Type>();
        let headings = fields.column_by_name("headings").unwrap().as_string::<i32>();
        let tokens = fields.column_by_name("tokens").unwrap().as_list::<i32>();
        (0..fields.len())
            .map(|at| Chunk {
                range: usize::try_from(starts.value(at)).unwrap()
                    ..usize::try_from(ends.value(at)).unwrap(),
                header: contents.header(at).map(|header| {
                    usize::try_from(header.start).unwrap()..usize::try_from(header.end).unwrap()
                }),
                page: pages.is_valid(at).then(|| pages.value(at)),
                headings: headings.is_valid(at).then(|| headings.value(at).to_owned()),
                tokens: tokens.value(at).as_primitive::<UInt32Type>().values().to_vec(),
            })
            .collect::<Vec<_>>()
    };
    let lists = CHUNKS.of(&outcome.rows).unwrap();
    (lists.iter().map(|list| row(list.unwrap())).collect(), outcome.rejected.len())
}

fn chunks(options: Value, text: &str) -> Vec<Chunk> {
    let (mut all, _) = chunks_of(&*configured(options), documents(&[(text, &[], &[])]));
    all.pop().unwrap_or_default()
}

fn texts<'a>(text: &'a str, chunks: &[Chunk]) -> Vec<&'a str> {
    chunks.iter().map(|chunk| &text[chunk.range.clone()]).collect()
}

#[test]
fn cuts_at_the_best_place_before_the_limit() {
    let text = "One two six. Two one.\n\nA b c. D e f\ng h i j. K.";
    // 8 tokens of text, because the model adds 2.
    let found = chunks(json!({ "size": 10, "overlap": 0 }), text);
    insta::assert_debug_snapshot!(texts(text, &found), @r#"
    [
        "One two six. Two one.",
        "A b c. D e f",
        "g h i j. K.",
    ]
    "#);
}

#[test]
fn overlap_begins_at_a_sentence_or_at_least_at_a_word() {
    let text = "Aa bb cc. Dd ee. Ff gg hh ii jj kk ll mm.";
    let found = chunks(json!({ "size": 9, "overlap": 3 }), text);
    insta::assert_debug_snapshot!(texts(text, &found), @r#"
    [
        "Aa bb cc. Dd ee.",
        "Dd ee. Ff gg hh ii",
        "gg hh ii jj kk ll mm",
        "kk ll mm.",
    ]
    "#);
}

#[test]
fn options_that_contradict_each_other_or_the_model_are_refused() {
    let def: &NodeDef = stages::NODES.iter().find(|def| def.name == "chunk").unwrap();
    let parse = |options| (def.parse)(options, Path::new("/")).err().unwrap().to_string();
    let mut long = stage("chunk", json!({ "size": 17, "overlap": 2 }));
    let unbound = stage("chunk", json!({ "size": 16, "overlap": 2 })).build(&empty_resources());
    let found = [
        parse(json!({ "size": 64, "overlap": 64 })),
        parse(json!({ "size": 64, "min_size": 65 })),
        parse(json!({ "context": "{titel}" })),
        long.bind_model(&model(Path::new("MODEL"))).unwrap_err().message,
        unbound.err().unwrap().to_string(),
    ];
    insta::assert_snapshot!(found.join("\n"), @r#"
    invalid overlap 64: expected less than the size 64
    invalid min_size 65: expected at most the size 64
    invalid context "{titel}": expected text with {title}, {headings} or {path}, or `none`
    invalid size 17: MODEL reads at most 16 tokens
    cannot count tokens: no later node names a model; use `unit: characters`
    "#);
}

#[test]
fn sections_are_not_mixed_unless_they_are_small_and_have_one_parent() {
    let text = "# A\none two three four five six\n\n## A1\nx\n\n## A2\ny\n\n# B\nz";
    let outline = [(0, 1, "A"), (33, 2, "A1"), (42, 2, "A2"), (51, 1, "B")];
    let options = json!({
        "strategy": "markdown", "size": 14, "overlap": 4, "min_size": 6, "context": "none",
    });
    let (found, _) = chunks_of(&*configured(options), documents(&[(text, &outline, &[])]));
    let shown: Vec<_> =
        found[0].iter().map(|c| (&text[c.range.clone()], c.headings.as_deref().unwrap())).collect();
    insta::assert_debug_snapshot!(shown, @r###"
    [
        (
            "# A\none two three four five six",
            "A",
        ),
        (
            "## A1\nx\n\n## A2\ny",
            "A > A1",
        ),
        (
            "# B\nz",
            "B",
        ),
    ]
    "###);
}

#[test]
fn code_is_kept_whole_where_it_fits() {
    let text = "Words before it, a few.\n\n```sh\na. B\n\nc. D\n```\n\nand after it.";
    let found = chunks(json!({ "strategy": "markdown", "size": 16, "overlap": 0 }), text);
    let with_code: Vec<_> =
        texts(text, &found).into_iter().filter(|text| text.contains("```")).collect();
    assert_eq!(with_code, ["```sh\na. B\n\nc. D\n```"]);
}

#[test]
fn pages_and_headings_are_those_of_the_first_byte() {
    let text = "aaa bbb ccc ddd eee fff ggg hhh";
    let rows = documents(&[
        (text, &[(8, 1, "C"), (16, 2, "E"), (24, 1, "G")], &[0, 8, 8, 16]),
        (" \n ", &[], &[]),
        (text, &[], &[]),
    ]);
    let options = json!({ "size": 4, "overlap": 0, "strategy": "fixed", "context": "none" });
    let (found, set_aside) = chunks_of(&*configured(options), rows);
    assert_eq!(set_aside, 1);
    let shown: Vec<_> =
        found[0].iter().map(|c| (c.page.unwrap(), c.headings.as_deref().unwrap_or("-"))).collect();
    assert_eq!(shown, [(1, "-"), (3, "C"), (4, "C > E"), (4, "G")]);
    assert!(found[1].iter().all(|chunk| chunk.page.is_none() && chunk.headings.is_none()));
}

#[test]
fn a_text_without_tokens_is_still_covered() {
    let config = stage("chunk", json!({ "unit": "characters", "size": 5, "overlap": 0 }));
    let text = "ab cd ef 日本語日本語";
    let (found, _) = chunks_of(&*config, documents(&[(text, &[], &[])]));
    assert_eq!(texts(text, &found[0]), ["ab cd", "ef 日本", "語日本語"]);
    assert!(found[0].iter().all(|chunk| chunk.tokens.is_empty()));
}

impl Chunk {
    /// What is stored of the chunk.
    fn content(&self, text: &str) -> String {
        let header = self.header.clone().map_or("", |header| &text[header]);
        format!("{header}{}", &text[self.range.clone()])
    }
}

#[test]
fn chunks_of_a_table_repeat_its_header() {
    let header = "| Tree | Age |\n|-|-|\n";
    let rows: String = (1..=8).map(|row| format!("| oak {row} | {row}00 |\n")).collect();
    let text = format!("Before it.\n\n{header}{rows}\nAfter it, words.");
    let start = "Before it.\n\n".len() as u64;
    let body = start + header.len() as u64;
    let rows = with_tables(&text, &[], &[[start, body, body + rows.len() as u64 - 1]]);
    let options = json!({ "unit": "characters", "size": 70, "overlap": 16 });
    let (found, _) = chunks_of(&*stage("chunk", options), rows);
    let contents: Vec<String> = found[0].iter().map(|chunk| chunk.content(&text)).collect();
    insta::assert_snapshot!(contents.join("\n====\n"), @r#"
    Before it.

    | Tree | Age |
    |-|-|
    | oak 1 | 100 |
    | oak 2 | 200 |
    ====
    | Tree | Age |
    |-|-|
    | oak 2 | 200 |
    | oak 3 | 300 |
    | oak 4 | 400 |
    ====
    | Tree | Age |
    |-|-|
    | oak 4 | 400 |
    | oak 5 | 500 |
    | oak 6 | 600 |
    ====
    | Tree | Age |
    |-|-|
    | oak 6 | 600 |
    | oak 7 | 700 |
    | oak 8 | 800 |
    ====
    | Tree | Age |
    |-|-|
    | oak 8 | 800 |

    After it, words.
    "#);
}

/// Checks the invariants of every split: limits, coverage, overlap and token ids.
fn check(text: &str, options: &Value, with_model: bool) {
    check_tables(text, &[], options, with_model);
}

/// The same for a text with tables: a chunk that begins in a table has its header, unless that is
/// longer than a third of the size.
fn check_tables(text: &str, tables: &[[u64; 3]], options: &Value, with_model: bool) {
    let config =
        if with_model { configured(options.clone()) } else { stage("chunk", options.clone()) };
    let (mut found, _) = chunks_of(&*config, with_tables(text, &[], tables));
    let found = found.pop().unwrap_or_default();
    let number = |key: &str| usize::try_from(options[key].as_u64().unwrap()).unwrap();
    let (size, overlap) = (number("size"), number("overlap"));
    let by_tokens = options["unit"] == "tokens";
    let (mut covered, mut last) = (0, None::<Range<usize>>);
    for chunk in &found {
        let Range { start, end } = chunk.range;
        let piece = &text[start..end];
        assert_eq!(piece.trim(), piece);
        assert!(!piece.is_empty());
        assert!(
            text[covered.min(start)..start].trim().is_empty(),
            "lost {:?}",
            &text[covered..start]
        );
        let content = chunk.content(text);
        check_header(text, tables, chunk, options, with_model);
        if with_model {
            let ids = FakeTokenizer.encode(&content).unwrap().ids;
            assert_eq!(chunk.tokens, FakeTokenizer.add_special_tokens(&ids), "{content:?}");
            assert!(chunk.tokens.len() <= FakeTokenizer.max_tokens());
        }
        if by_tokens {
            assert!(chunk.tokens.len() <= size);
        } else {
            assert!(content.chars().count() <= size);
        }
        if let Some(last) = last {
            assert!(start > last.start && end > last.end);
            let shared = text.get(start..last.end).unwrap_or_default();
            let shared = if by_tokens {
                FakeTokenizer.encode(shared).unwrap().ids.len()
            } else {
                shared.chars().count()
            };
            assert!(shared <= overlap, "{shared} > {overlap}");
        }
        covered = end;
        last = Some(start..end);
    }
    assert!(text[covered..].trim().is_empty());
}

fn check_header(text: &str, tables: &[[u64; 3]], chunk: &Chunk, options: &Value, with_model: bool) {
    let start = chunk.range.start as u64;
    // Only a table with rows after its header has a header to repeat.
    let inside = |[from, body, to]: &&[u64; 3]| *from < start && start < *to && body < to;
    let around = tables.iter().find(inside);
    let header = around
        .map(|[from, body, _]| usize::try_from(*from).unwrap()..usize::try_from(*body).unwrap());
    if chunk.header.is_some() {
        assert_eq!(chunk.header, header, "the header of another table");
    } else if let Some(header) = header.filter(|header| !header.is_empty()) {
        let size = usize::try_from(options["size"].as_u64().unwrap()).unwrap();
        let tokens = FakeTokenizer.encode(&text[header.clone()]).unwrap().ids.len();
        let (room, most) = if options["unit"] == "tokens" {
            (size - FakeTokenizer.num_added_tokens(), usize::MAX)
        } else if with_model {
            (FakeTokenizer.max_tokens() - FakeTokenizer.num_added_tokens(), size)
        } else {
            (usize::MAX, size)
        };
        let is_long = tokens > room / 3 || text[header].chars().count() > most / 3;
        assert!(is_long, "the header is missing at {start} of {text:?}");
    }
}

/// A text with tables and their places.
fn text_with_tables() -> impl Strategy<Value = (String, Vec<[u64; 3]>)> {
    let cell = "[a-z]{0,4}( [A-Z]\\.)?";
    let line = prop::collection::vec(cell, 1..4).prop_map(|cells| format!("|{}|", cells.join("|")));
    let table = (prop::collection::vec(line, 1..8), 0..2_usize);
    let part = ("[a-z. \n]{0,30}", table);
    prop::collection::vec(part, 0..4).prop_map(|parts| {
        let (mut text, mut tables) = (String::new(), Vec::new());
        for (words, (lines, header)) in parts {
            text.push_str(&words);
            text.push_str("\n\n");
            let start = text.len() as u64;
            let body = start + lines[..header].iter().map(|it| it.len() as u64 + 1).sum::<u64>();
            text.push_str(&lines.join("\n"));
            let end = text.len() as u64;
            tables.push([start, body.min(end), end]);
            text.push_str("\n\n");
        }
        (text, tables)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn tables_keep_their_header(
        (text, tables) in text_with_tables(),
        strategy in prop::sample::select(vec!["recursive", "markdown", "fixed"]),
        (unit, size) in prop_oneof![
            (Just("tokens"), 4_usize..=16),
            (Just("characters"), 4_usize..=80),
        ],
        overlap in 0..4_usize,
        with_model in any::<bool>(),
    ) {
        let options = json!({ "strategy": strategy, "unit": unit, "size": size, "overlap": overlap });
        check_tables(&text, &tables, &options, with_model || unit == "tokens");
    }

    #[test]
    fn nothing_is_lost_and_no_limit_exceeded(
        text in "([a-zé]{1,9}|[A-Z.!?]{1,3}|日本|。|[ \n\t]{1,3}|\n\n|```\n|\\| |\u{200b}|ﷺ|🎉|x{20}){0,80}",
        strategy in prop::sample::select(vec!["recursive", "markdown", "fixed"]),
        unit in prop::sample::select(vec!["tokens", "characters"]),
        (size, overlap) in (4_usize..=16).prop_flat_map(|size| (Just(size), 0..size)),
        with_model in any::<bool>(),
    ) {
        let options = json!({ "strategy": strategy, "unit": unit, "size": size, "overlap": overlap });
        check(&text, &options, with_model || unit == "tokens");
    }
}

#[test]
fn long_texts_and_long_words_come_to_an_end() {
    let options = json!({ "unit": "tokens", "size": 16, "overlap": 4 });
    check(&"x".repeat(100_000), &options, true);
    check(&"word ".repeat(20_000), &options, true);
    check(&"日".repeat(20_000), &options, true);
    check(&"\n".repeat(100_000), &options, true);
}

#[test]
fn its_identity_is_its_options_and_the_model() {
    let identity = |options| configured(options).identity();
    let plain = identity(json!({ "size": 16, "overlap": 8 }));
    assert_eq!(
        plain,
        identity(json!({ "size": 16, "overlap": 8, "unit": "tokens", "strategy": "recursive" }))
    );
    assert_ne!(plain, identity(json!({ "size": 15, "overlap": 8 })));
    assert_ne!(plain, identity(json!({ "size": 16, "overlap": 8, "context": "none" })));
    assert_eq!(plain["model"], "pieces-1");
}
