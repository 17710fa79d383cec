//! XHTML as HTML: HTML ignores the end of `<title/>`, and would read the rest of a page as title.

#![expect(clippy::wildcard_enum_match_arm, reason = "all other variants are treated alike")]

use std::borrow::Cow;
use std::fmt::Write as _;

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::extract::html::is_void;

/// The page with an end tag for each empty element that is not void in HTML, and with CDATA
/// sections as text. A page that is not well-formed stays as it is.
pub(super) fn with_end_tags(page: &str) -> Cow<'_, str> {
    rewrite(page).map_or(Cow::Borrowed(page), Cow::Owned)
}

fn rewrite(page: &str) -> Option<String> {
    let mut reader = Reader::from_str(page);
    let mut html = String::with_capacity(page.len());
    let mut copied = 0;
    loop {
        let event = reader.read_event().ok()?;
        let end = usize::try_from(reader.buffer_position()).ok()?;
        match event {
            Event::Eof => return Some(html),
            Event::Empty(element) if !is_void(element.name().as_ref()) => {
                write!(html, "<{}></{}>", &*element, element.name().as_ref()).ok()?;
            }
            Event::CData(text) => html.push_str(&text.escape().ok()?),
            _ => html.push_str(page.get(copied..end)?),
        }
        copied = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_elements_without_end_tags_in_html_stay_empty() {
        let page = "<p>a<br/><a id=\"x\"/> &amp; b<title/><![CDATA[c<d]]></p>";
        let expected = "<p>a<br/><a id=\"x\"></a> &amp; b<title></title>c&lt;d</p>";
        assert_eq!(with_end_tags(page), expected);
        assert_eq!(with_end_tags("<p>a<title/></b>"), "<p>a<title/></b>");
    }
}
