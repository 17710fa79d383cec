//! HTML: the visible content of a page, without scripts, styles, navigation and other boilerplate.
//! Blocks become lines and paragraphs, tables of data Markdown tables and layout tables rows of
//! cells, `pre` is kept verbatim.
//!
//! The extractor works on the stream of tags, not on a tree: it needs one pass, whatever the
//! nesting of the tags, and memory of a small multiple of the size of the page.

mod elements;
mod skip;
mod tables;
mod tag;

use std::borrow::Cow;
use std::convert::Infallible;

use encoding_rs::Encoding;
use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Span, Tokenizer};

use crate::extract::document::{Document, DocumentBuilder, collapse_whitespace};
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::html::elements::{
    BLOCK_ELEMENTS, IGNORED_ELEMENTS, LINE_ELEMENTS, META_KEYS, VOID_ELEMENTS,
};
use crate::extract::html::skip::{Skip, SkipKind};
use crate::extract::html::tables::OpenTables;
use crate::extract::html::tag::Tag;
use crate::extract::language;
use crate::extract::text::decode;

pub(crate) const FORMAT: Format = Format {
    name: "HTML",
    media_types: &["text/html", "application/xhtml+xml"],
    version: 1,
    is_cached: true,
    has_titles_in_headings: true,
    parse: |bytes, _| extract(bytes).ok_or(ExtractErrorKind::NotText),
};

/// The document; `None` if the bytes are not text.
fn extract(bytes: &[u8]) -> Option<Document> {
    Some(from_text(&decode_page(bytes)?))
}

/// The text of a page in its encoding; `None` if the bytes are not text.
pub(crate) fn decode_page(bytes: &[u8]) -> Option<Cow<'_, str>> {
    decode(bytes, declared_encoding(bytes))
}

/// The document of a decoded page.
pub(crate) fn from_text(html: &str) -> Document {
    let document = render(html, Boilerplate::Drop);
    if document.text.is_empty() {
        // A page of links is all navigation; then the navigation is its content.
        return render(html, Boilerplate::Keep);
    }
    document
}

/// The document of a page without boilerplate, such as a chapter of a book.
pub(crate) fn read_all(html: &str) -> Document {
    render(html, Boilerplate::Keep)
}

/// `true` for an element that has no end tag.
pub(crate) fn is_void(name: &str) -> bool {
    VOID_ELEMENTS.contains(&name)
}

/// The encoding that a page, or an XML document, declares in its first 1,024 bytes.
pub(crate) fn declared_encoding(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(1024)]).to_ascii_lowercase();
    let at = head.find("charset=").or_else(|| head.find("encoding="))?;
    let label = head[at..].split_once('=')?.1.trim_start_matches(['"', '\'']);
    let end = label.find(|c: char| !c.is_ascii_alphanumeric() && !"-_:.".contains(c));
    Encoding::for_label(&label.as_bytes()[..end.unwrap_or(label.len())])
}

#[derive(Clone, Copy, PartialEq)]
enum Boilerplate {
    Drop,
    Keep,
}

fn render(html: &str, chrome: Boilerplate) -> Document {
    let mut page = HtmlReader::new(chrome);
    let mut emitter = CallbackEmitter::new(|event: CallbackEvent<'_>, _: Span<()>| {
        page.handle_event(&event);
        None::<Infallible>
    });
    emitter.naively_switch_states(true);
    // The callback does the work; the iterator yields no items.
    Tokenizer::new_with_emitter(html, emitter).for_each(drop);
    page.finish()
}

struct HtmlReader {
    builder: DocumentBuilder,
    boilerplate: Boilerplate,
    tag: Tag,
    skip: Option<Skip>,
    /// Number of open `pre` elements.
    pre_depth: usize,
    /// Number of open elements in which a `header` belongs to the content.
    content_depth: usize,
    /// Open lists, with the number of the last item for ordered ones.
    list_counters: Vec<Option<u32>>,
    /// `true` if the row already has a cell.
    row_has_cell: bool,
    tables: OpenTables,
    title: Option<String>,
    in_title: bool,
    head: Document,
}

impl HtmlReader {
    fn handle_event(&mut self, event: &CallbackEvent<'_>) {
        match event {
            CallbackEvent::OpenStartTag { name } => {
                self.tag.name.clear();
                self.tag.name.push_str(&String::from_utf8_lossy(name));
                self.tag.attributes.clear();
            }
            CallbackEvent::AttributeName { name } => {
                let name = String::from_utf8_lossy(name).into_owned();
                self.tag.attributes.push((name, String::new()));
            }
            CallbackEvent::AttributeValue { value } => {
                if let Some((_, last)) = self.tag.attributes.last_mut() {
                    last.push_str(&String::from_utf8_lossy(value));
                }
            }
            CallbackEvent::CloseStartTag { self_closing } => {
                let tag = std::mem::take(&mut self.tag);
                self.start(&tag, *self_closing);
                self.tag = tag;
            }
            CallbackEvent::EndTag { name } => self.end(&String::from_utf8_lossy(name)),
            CallbackEvent::String { value } => self.text(&String::from_utf8_lossy(value)),
            CallbackEvent::Comment { .. }
            | CallbackEvent::Doctype { .. }
            | CallbackEvent::Error(_) => {}
        }
    }

    fn new(chrome: Boilerplate) -> Self {
        Self {
            builder: DocumentBuilder::default(),
            boilerplate: chrome,
            tag: Tag::default(),
            skip: None,
            pre_depth: 0,
            content_depth: 0,
            list_counters: Vec::new(),
            row_has_cell: false,
            tables: OpenTables::default(),
            title: None,
            in_title: false,
            head: Document::default(),
        }
    }

    fn start(&mut self, tag: &Tag, self_closing: bool) {
        let name = tag.name.as_str();
        if let Some(skip) = &mut self.skip {
            if skip.name == name && !self_closing {
                skip.depth += 1;
            }
            if matches!(skip.kind, SkipKind::Ignored) {
                return;
            }
        } else if !VOID_ELEMENTS.contains(&name) && !self_closing {
            self.skip = self.skip_for(tag);
            if matches!(self.skip, Some(Skip { kind: SkipKind::Ignored, .. })) {
                return;
            }
        }
        self.tables.end_part(name, &self.builder);
        if BLOCK_ELEMENTS.contains(&name) {
            self.builder.begin_block();
        } else if LINE_ELEMENTS.contains(&name) {
            self.builder.begin_line();
        }
        match name {
            "title" => self.in_title = self.title.is_none(),
            "html" => self.head.language = tag.attribute("lang").and_then(language::iso_code),
            "meta" => self.read_meta(tag),
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.builder.begin_heading(name.as_bytes()[1] - b'0');
            }
            "br" if self.pre_depth > 0 => self.builder.push_verbatim("\n"),
            "br" => self.builder.begin_line(),
            "pre" => self.pre_depth += 1,
            "main" | "article" | "section" => self.content_depth += 1,
            "ul" => self.list_counters.push(None),
            "ol" => self.list_counters.push(Some(0)),
            "li" => self.begin_list_item(),
            "tr" => self.row_has_cell = false,
            "td" | "th" => self.begin_cell(),
            "img" => {
                self.builder.push_text(tag.attribute("alt").unwrap_or_default());
            }
            _ => {}
        }
        self.tables.start(tag, &self.builder);
        let skips_rows = self.skip.is_some() && matches!(name, "tr" | "thead" | "tbody" | "tfoot");
        if self.pre_depth > 0 || skips_rows {
            self.tables.keep_text();
        }
    }

    /// The skip that begins with this element; `None` if its content is kept.
    fn skip_for(&self, tag: &Tag) -> Option<Skip> {
        let name = tag.name.as_str();
        let kind = if IGNORED_ELEMENTS.contains(&name) {
            SkipKind::Ignored
        } else if self.boilerplate == Boilerplate::Keep || matches!(name, "html" | "body" | "main")
        {
            return None;
        } else if tag.is_boilerplate() || (name == "footer" && self.content_depth == 0) {
            SkipKind::RolledBack(self.builder.checkpoint())
        } else if name == "header" && self.content_depth == 0 {
            SkipKind::RolledBackUnlessHeading(self.builder.checkpoint())
        } else {
            return None;
        };
        Some(Skip { name: name.to_owned(), depth: 1, kind })
    }

    fn end(&mut self, name: &str) {
        if name == "table"
            && let Some(skip) = &self.skip
            && skip.start().is_some_and(|start| self.tables.has_begun_before(start))
        {
            // The text of the table is needed to remove the skipped part, or is part of it.
            self.tables.keep_text();
        }
        if let Some(skip) = &mut self.skip {
            let is_deaf = matches!(skip.kind, SkipKind::Ignored);
            if skip.name == name {
                skip.depth -= 1;
                if skip.depth == 0 {
                    self.tables.end(name, &mut self.builder);
                    return self.end_skip();
                }
            }
            if is_deaf {
                return;
            }
        }
        self.tables.end(name, &mut self.builder);
        match name {
            "title" => self.in_title = false,
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => self.builder.end_heading(),
            "pre" => self.pre_depth = self.pre_depth.saturating_sub(1),
            "main" | "article" | "section" => {
                self.content_depth = self.content_depth.saturating_sub(1);
            }
            "ul" | "ol" => {
                self.list_counters.pop();
            }
            _ => {}
        }
        if BLOCK_ELEMENTS.contains(&name) {
            self.builder.begin_block();
        } else if LINE_ELEMENTS.contains(&name) {
            self.builder.begin_line();
        }
    }

    fn end_skip(&mut self) {
        let Some(skip) = self.skip.take() else { return };
        match skip.kind {
            SkipKind::Ignored => {}
            SkipKind::RolledBack(mark) => self.builder.rollback(mark),
            SkipKind::RolledBackUnlessHeading(mark) => {
                if self.builder.headings_since(mark) == 0 {
                    self.builder.rollback(mark);
                }
                self.builder.begin_block();
            }
        }
        if skip.name == "pre" {
            self.pre_depth = self.pre_depth.saturating_sub(1);
        }
    }

    fn text(&mut self, text: &str) {
        if matches!(self.skip, Some(Skip { kind: SkipKind::Ignored, .. })) {
            return;
        }
        self.tables.text(text);
        if self.in_title {
            self.title.get_or_insert_default().push_str(text);
        } else if self.pre_depth > 0 {
            self.builder.push_verbatim(text);
        } else {
            self.builder.push_text(text);
        }
    }

    fn begin_list_item(&mut self) {
        match self.list_counters.last_mut() {
            Some(Some(number)) => {
                *number += 1;
                let number = *number;
                self.builder.begin_item(&format!("{number}."));
            }
            Some(None) | None => self.builder.begin_item("-"),
        }
    }

    fn begin_cell(&mut self) {
        if self.row_has_cell {
            self.builder.push_text(" | ");
        }
        self.row_has_cell = true;
    }

    fn read_meta(&mut self, tag: &Tag) {
        let names = ["name", "property", "http-equiv"];
        let Some(name) = names.iter().find_map(|name| tag.attribute(name)) else { return };
        let name = name.to_ascii_lowercase();
        let known = META_KEYS.iter().find(|(known, _)| *known == name);
        if let (Some((_, key)), Some(content)) = (known, tag.attribute("content")) {
            self.head.add_metadata(key, content);
        }
    }

    fn finish(mut self) -> Document {
        self.tables.finish(&mut self.builder);
        let Document { metadata, language, .. } = self.head;
        let body = self.builder.finish();
        let title =
            self.title.map(|title| collapse_whitespace(&title)).filter(|title| !title.is_empty());
        let first = body.outline.iter().min_by_key(|heading| heading.level);
        let title = title.or_else(|| first.map(|heading| heading.title.clone()));
        Document { title, language, metadata, ..body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(html: &str) -> String {
        extract(html.as_bytes()).unwrap().text
    }

    #[test]
    fn reads_as_the_page_does() {
        let html = r##"<!DOCTYPE html><html lang="de-AT"><head>
            <title>Sch&ouml;ne &amp; neue
            Seite</title><meta name=Author content="A. Autor"><style>p { x: y }</style>
            <script>if (a < b) { "</p>" }</script></head><body>
            <header><a href="/">Home</a></header><nav><ul><li>Menu</ul></nav>
            <main><header><h1>Title<a class="headerlink" href="#x">¶</a></h1></header>
            <p>One <b>bold</b>ly <i>set</i>
            line.<br>Next&nbsp;line</p><p></p><p>Two
            <h2>Sub</h2><ul><li>a<li><p>b</p></ul><ol><li>x</li><li>y</li></ol>
            <pre>
  def f():
      pass

</pre><table><tr><th>K<th>V<tr><td>1</td><td>2 <b>3</b></td></tr></table>
            <dl><dt>term</dt><dd>meaning</dd></dl></main>
            <footer>Imprint</footer></body></html>"##;
        let document = extract(html.as_bytes()).unwrap();
        insta::assert_snapshot!(document.text, @r#"
        Title

        One boldly set line.
        Next line

        Two

        Sub

        - a
        - b

        1. x
        2. y

          def f():
              pass

        | K | V |
        |-|-|
        | 1 | 2 3 |

        term
        meaning
        "#);
        assert_eq!(document.title.as_deref(), Some("Schöne & neue Seite"));
        assert_eq!(document.language.as_deref(), Some("de"));
        assert_eq!(document.metadata["author"], "A. Autor");
        let outline: Vec<_> =
            document.outline.iter().map(|h| (h.level, h.title.as_str())).collect();
        assert_eq!(outline, [(1, "Title"), (2, "Sub")]);
    }

    #[test]
    fn broken_pages_lose_nothing() {
        assert_eq!(text("<p>a<nav>b<p>c"), "a\n\nb\n\nc");
        assert_eq!(text("</div></p>a</nav><b>c"), "a\n\nc");
        assert_eq!(text("<nav><a href=x>only links</a></nav>"), "only links");
        assert_eq!(text("a < b & c &unknown; &#0; d"), "a < b & c &unknown; \u{fffd} d");
        assert_eq!(text(&"<div>".repeat(100_000)), "");
        assert_eq!(text(&format!("{}x", "<nav><div><ul>".repeat(100_000))), "x");
    }

    #[test]
    fn the_encoding_is_the_declared_one() {
        let cyrillic =
            "<meta http-equiv=Content-Type content='text/html; charset=koi8-r'><p>Привет";
        let (bytes, ..) = encoding_rs::KOI8_R.encode(cyrillic);
        assert_eq!(extract(&bytes).unwrap().text, "Привет");
        // A false declaration of UTF-8.
        let (bytes, ..) =
            encoding_rs::WINDOWS_1252.encode("<meta charset=utf-8><p>Übung macht den Meister");
        assert_eq!(extract(&bytes).unwrap().text, "Übung macht den Meister");
    }

    #[test]
    fn a_header_with_a_heading_is_content() {
        assert_eq!(text("<header>Site</header><p>a"), "a");
        assert_eq!(text("<header><h1>On trees</h1>by me</header><p>a"), "On trees\n\nby me\n\na");
    }
}
