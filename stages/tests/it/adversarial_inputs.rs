//! `extract` on malicious documents: each is extracted or set aside, its neighbours are extracted
//! as usual, and the extracted text is at most a small multiple of the size of the document.

use pipeline::Outcome;
use pipeline::column::{TEXT, URI};
use pipeline::test_util::reasons;
use proptest::prelude::*;
use serde_json::json;

use crate::extract::{DOCX, docx, gzip, pdf, texts, with_worker};
use crate::support::{files, run, stage};

const ROFF: &str = "text/troff";
const HTML: &str = "text/html";
const MARKDOWN: &str = "text/markdown";

/// Media type, file extension, content, and unpacked size in bytes.
#[derive(Debug)]
struct AdversarialInput(&'static str, &'static str, Vec<u8>, usize);

impl AdversarialInput {
    fn of(mime_type: &'static str, content: Vec<u8>) -> Self {
        let size = content.len();
        match mime_type {
            ROFF => Self(mime_type, ".1", content, size),
            DOCX => Self(mime_type, ".docx", docx(&content), size),
            _ => Self(mime_type, "", content, size),
        }
    }

    fn gzipped(self) -> Self {
        match self {
            Self(ROFF, _, content, size) => Self("application/gzip", ".1.gz", gzip(&content), size),
            other => other,
        }
    }
}

/// Extracts the documents with a good one before, between and after them, and checks the good ones
/// and the size of the texts.
fn extract(hostile: &[AdversarialInput]) -> Outcome {
    let mut documents = vec![("good-0.txt".to_owned(), "text/plain", &b"good"[..])];
    for (at, AdversarialInput(mime_type, ending, bytes, _)) in hostile.iter().enumerate() {
        documents.push((format!("hostile-{at}{ending}"), *mime_type, bytes.as_slice()));
        documents.push((format!("good-{}.html", at + 1), HTML, b"<p>good"));
    }
    let rows: Vec<(&str, &str, &[u8])> =
        documents.iter().map(|(name, kind, bytes)| (name.as_str(), *kind, *bytes)).collect();
    let options = json!({ "max_seconds": 20, "max_memory": "256MiB" });
    let outcome = run(&*stage("extract", options), &with_worker(), files(&rows));
    assert_eq!(outcome.rows.num_rows() + outcome.rejected.len(), documents.len());
    let (uris, texts) = (URI.of(&outcome.rows).unwrap(), TEXT.of(&outcome.rows).unwrap());
    let mut good = 0;
    for row in 0..outcome.rows.num_rows() {
        let name = uris.value(row).rsplit('/').next().unwrap();
        let text = texts.value(row);
        match name.strip_prefix("hostile-") {
            Some(name) => {
                let at = name.split('.').next().unwrap();
                let source = hostile[at.parse::<usize>().unwrap()].3;
                let most = 8 * source + (128 << 10);
                assert!(text.len() <= most, "{name} of {source} bytes gives {}", text.len());
            }
            None => {
                assert_eq!(text, "good", "{name}");
                good += 1;
            }
        }
    }
    assert_eq!(good, hostile.len() + 1, "{:?}", reasons(&outcome.rejected));
    outcome
}

/// A page of `depth` strings, each of which contains the previous one `width` times ("billion
/// laughs").
fn billion_laughs(depth: usize, width: usize, request: &str) -> String {
    let mut page = format!(".TH X 1\n.{request} [0] lol\n.ds a0 lol\n");
    for level in 1..=depth {
        let value = format!("\\*[a{}]", level - 1).repeat(width);
        page += &format!(".{request} a{level} {value}\n");
    }
    page + &format!("\\*[a{depth}]\n")
}

fn nested(begin: &str, count: usize, inside: &str) -> Vec<u8> {
    (begin.repeat(count) + inside).into_bytes()
}

fn roff() -> BoxedStrategy<Vec<u8>> {
    let condition = prop::sample::select(vec![
        ".if 1 ",
        ".if n ",
        "'if 1 ",
        ".ie 1 ",
        ".if !0 ",
        ".if 1 \\{",
        ".if 1 \\{.if n ",
        ".el ",
        ".if 0 \\{",
    ]);
    let deep = (condition, 1..200_000_usize)
        .prop_map(|(condition, count)| nested(condition, count, "text\n"));
    let request = prop::sample::select(vec!["ds", "as", "ds1"]);
    let strings = (1..26_usize, 2..12_usize, request)
        .prop_map(|(depth, width, request)| billion_laughs(depth, width, request).into_bytes());
    let appended = (1..64_usize).prop_map(|count| {
        format!(".ds x {}\n{}\\*x\n", "seed".repeat(50), ".as x \\*x\n".repeat(count)).into_bytes()
    });
    let macros = (1..2_000_usize).prop_map(|count| {
        (".de AA\n.BB\n..\n.de BB\n.AA\n.AA\n..\n".to_owned() + &".AA\n.BB\n".repeat(count))
            .into_bytes()
    });
    let mdoc = prop::sample::select(vec![
        ".Bl -tag -width x\n.It Fl a\n",
        ".Bl -bullet\n",
        ".It\n",
        ".Bd -literal\n",
        ".Op Oo Oo\n",
        ".Nm\n",
        ".Xr a 1\n",
        ".Fn f a b c\n",
        ".Aq Bq Pq Qq x .\n",
    ]);
    let lists = (prop::collection::vec(mdoc, 1..8), 1..10_000_usize)
        .prop_map(|(lines, count)| nested(&lines.concat(), count, ""));
    let phrase = prop::sample::select(vec!["Op ", "Aq ", "Oo ", "Ns ", "Nm ", "Fl ", "Xr ", "Fn "]);
    let phrases = (phrase, 1..100_000_usize)
        .prop_map(|(word, count)| (".Op ".to_owned() + &word.repeat(count) + "x .\n").into_bytes());
    let names = (1..100_000_usize, 1..50_000_usize).prop_map(|(length, count)| {
        format!(".Sh NAME\n.Nm {}\n{}", "n".repeat(length), ".Nm\n".repeat(count)).into_bytes()
    });
    let joined = (1..200_000_usize).prop_map(|count| nested("a b\\\n", count, "end\n"));
    let soup = "(\\.(if|ie|el|ds|as|de|TS|TE|TP|IP|SH|BR|Nm|Bl|It|El|nf|ig|so)|\n| |\\\\[*fnsho(\\[{}\"c&]|[a-z0-9\\]':;!]|T[{}])*";
    let soup = soup.prop_map(String::into_bytes);
    prop_oneof![deep, strings, appended, macros, lists, phrases, names, joined, soup].boxed()
}

fn html() -> BoxedStrategy<Vec<u8>> {
    let tag = prop::sample::select(vec![
        "<div>",
        "<b>",
        "<table><tr><td>",
        "<svg>",
        "<template>",
        "<ul><li>",
        "<ol><li>",
        "<nav>",
        "<header>",
        "<h1>",
        "<pre>",
        "<p a=b c=d>",
        "<footer><h2>x</h2>",
        "</div>",
        "<!--",
        "<![CDATA[",
        "<script>",
        "<title>",
        "&amp",
        "<a href='",
    ]);
    let deep = (prop::collection::vec(tag, 1..5), 1..20_000_usize)
        .prop_map(|(tags, count)| nested(&tags.concat(), count, "text"));
    let attributes = (1..100_000_usize)
        .prop_map(|count| format!("<p{}>text", " class=nav".repeat(count)).into_bytes());
    prop_oneof![deep, attributes, prop::collection::vec(any::<u8>(), 0..2_000)].boxed()
}

fn markdown() -> BoxedStrategy<Vec<u8>> {
    let sign = prop::sample::select(vec![
        ">",
        "> ",
        "[",
        "![",
        "*",
        "_",
        "`",
        "- ",
        "1. ",
        "<",
        "# ",
        "\\",
        "|",
        "[a]: b\n",
        "~",
        "&",
        "***",
        "a|b\n-|-\n",
        "<div>",
        "(((",
        "]( ",
    ]);
    let deep = (prop::collection::vec(sign, 1..4), 1..20_000_usize)
        .prop_map(|(signs, count)| nested(&signs.concat(), count, "text"));
    let matter = (1..20_000_usize)
        .prop_map(|count| format!("---\n{}---\ntext", "tags:\n  - x\n".repeat(count)).into_bytes());
    prop_oneof![deep, matter].boxed()
}

fn word() -> BoxedStrategy<Vec<u8>> {
    let element = prop::sample::select(vec![
        "<w:tbl><w:tr><w:tc>",
        "<w:p>",
        "<w:p><w:r><w:t>x",
        "<w:del>",
        "<w:pPr>",
        "<a b='c'>",
        "&lt;",
        "<w:t/>",
        "<!--",
    ]);
    (element, 1..50_000_usize).prop_map(|(element, count)| nested(element, count, "text")).boxed()
}

fn any_adversarial() -> impl Strategy<Value = AdversarialInput> {
    let plain = prop_oneof![
        4 => roff().prop_map(|bytes| AdversarialInput::of(ROFF, bytes)),
        2 => html().prop_map(|bytes| AdversarialInput::of(HTML, bytes)),
        2 => markdown().prop_map(|bytes| AdversarialInput::of(MARKDOWN, bytes)),
        1 => word().prop_map(|bytes| AdversarialInput::of(DOCX, bytes)),
    ];
    (plain, any::<bool>())
        .prop_map(|(hostile, packs)| if packs { hostile.gzipped() } else { hostile })
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 100, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn a_hostile_document_costs_no_other(hostile in prop::collection::vec(any_adversarial(), 1..6)) {
        extract(&hostile);
    }
}

#[test]
fn what_is_hostile_to_a_reader_of_manual_pages_is_read() {
    let deep = |begin: &str| nested(begin, 200_000, "text\n");
    let name = "n".repeat(100_000);
    let hostile = [
        deep(".if 1 "),
        deep(".if 1 \\{"),
        deep(".ie n .if !0 "),
        billion_laughs(19, 10, "ds").into_bytes(),
        billion_laughs(19, 10, "as").into_bytes(),
        format!(".ds x {}\n{}text\n", "seed".repeat(1_000), ".as x \\*x\n".repeat(60)).into_bytes(),
        format!(".Nm {name}\n{}text\n", ".Nm\n".repeat(100_000)).into_bytes(),
        nested("a\\\n", 500_000, "text\n"),
        nested(".Bl -tag\n.It x\n", 100_000, "text\n"),
    ]
    .map(|page| AdversarialInput::of(ROFF, page));
    let outcome = extract(&hostile);
    assert_eq!(reasons(&outcome.rejected), []);
    let texts: Vec<String> = texts(&outcome).into_iter().filter(|text| text != "good").collect();
    assert_eq!(texts.len(), hostile.len());
    assert_eq!(texts[0], "text");
    assert_eq!(texts[1], "text");
    // Once the allowance of a page is spent, a string is shown as its reference.
    assert!(texts[3].ends_with("\\*[a19]") || texts[3].contains("lol"), "{:.100}", texts[3]);
    assert!(texts[5].ends_with("text") && texts[6].ends_with("text"));
}

#[test]
fn what_nests_without_end_is_read_or_set_aside() {
    let mut deep = vec![
        AdversarialInput::of(HTML, nested("<div><b><table><tr><td>", 100_000, "text")),
        AdversarialInput::of(HTML, nested("<svg><template>", 100_000, "text")),
        AdversarialInput::of(MARKDOWN, nested("> ", 100_000, "text")),
        AdversarialInput::of(MARKDOWN, nested("[", 200_000, "text")),
        AdversarialInput::of(MARKDOWN, nested("- ", 50_000, "text")),
        AdversarialInput::of(DOCX, nested("<w:tbl><w:tr><w:tc>", 100_000, "<w:p><w:r><w:t>text")),
    ];
    let json = "application/json";
    let (xml, mail, tex) = ("application/xml", "message/rfc822", "text/x-tex");
    deep.extend([
        AdversarialInput::of(json, nested("[", 100_000, "1")),
        AdversarialInput::of(json, [nested("{\"a\":", 120, "1"), vec![b'}'; 120]].concat()),
        AdversarialInput::of(
            json,
            format!("[{}]", vec!["[[[[1]]]]"; 50_000].join(",")).into_bytes(),
        ),
        AdversarialInput::of("application/jsonl", nested("{\"a\": {\"b\": 1}}\n", 50_000, "text")),
        AdversarialInput::of(xml, nested("<a>", 100_000, "text")),
        AdversarialInput::of(xml, nested("<a b='c'>", 100, &"text</a>".repeat(100))),
        AdversarialInput::of(
            xml,
            format!("<article>{}</article>", "<para><quote>".repeat(9)).into_bytes(),
        ),
        AdversarialInput::of(mail, nested("Content-Type: message/rfc822\n\n", 50_000, "text")),
        AdversarialInput::of(
            mail,
            nested("Content-Type: multipart/digest; boundary=a\n\n--a\n\n", 900, "text"),
        ),
        AdversarialInput::of(
            mail,
            nested("Content-Type: multipart/mixed; boundary=a\n\n--a\n", 5_000, "text"),
        ),
        AdversarialInput::of("application/mbox", nested("From a\nTo: b\n\n", 90_000, "text")),
        AdversarialInput::of(tex, nested("\\section{\\footnote{", 50_000, "text")),
        AdversarialInput::of(tex, nested("\\begin{tabular}{l}", 50_000, "text")),
        AdversarialInput::of("text/org", nested("#+begin_src\n* a\n", 50_000, "text")),
        AdversarialInput::of("text/x-rst", nested("..\na\n==\n", 50_000, "text")),
    ]);
    // PDF objects that are nested deeply, refer to themselves, or form endless lists.
    let good = String::from_utf8(pdf(&[&["First line", "Trees"]])).unwrap();
    for (from, to) in [
        ("/Kids [6 0 R]", "/Kids [2 0 R 2 0 R 6 0 R]".to_owned()),
        ("/Resources <<", format!("/X {} /Resources <<", "[".repeat(100_000))),
        ("/Resources <<", format!("/X {} /Resources <<", "<</A ".repeat(100_000))),
        ("BT /F1", format!("{} BT /F1", "q ".repeat(100_000))),
        ("/Parent 5 0 R", "/Parent 5 0 R /First 8 0 R /Next 8 0 R".to_owned()),
    ] {
        assert!(good.contains(from));
        deep.push(AdversarialInput::of("application/pdf", good.replace(from, &to).into_bytes()));
    }
    extract(&deep);
}
