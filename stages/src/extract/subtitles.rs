//! Subtitles (SubRip, WebVTT) as running text: numbers, time stamps, styles and notes are left out.
//! The end of the last cue becomes the metadata `duration`.

use crate::extract::document::{Document, DocumentBuilder};
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::text::{decode, normalize_newlines};

pub(crate) const FORMAT: Format = Format {
    name: "subtitles",
    media_types: &["application/x-subrip", "text/vtt"],
    version: 1,
    is_cached: false,
    has_titles_in_headings: false,
    parse: |bytes, _| extract(bytes).ok_or(ExtractErrorKind::NotText),
};

/// The separator of the times of a cue.
const ARROW: &str = "-->";

/// Blocks of WebVTT that are not shown.
const HIDDEN_BLOCKS: [&str; 4] = ["WEBVTT", "NOTE", "STYLE", "REGION"];

/// The document; `None` if the bytes are not text.
fn extract(bytes: &[u8]) -> Option<Document> {
    let text = decode(bytes, None)?;
    let text = normalize_newlines(&text);
    let mut builder = DocumentBuilder::default();
    let mut end = "";
    // `true` between the time of a cue and the empty line after it.
    let mut in_cue = false;
    for block in text.split("\n\n") {
        let is_hidden = HIDDEN_BLOCKS.iter().any(|name| block.trim_start().starts_with(name));
        for line in block.lines() {
            if let Some((_, times)) = line.split_once(ARROW) {
                end = times.split_whitespace().next().unwrap_or(end);
                in_cue = true;
            } else if in_cue && !is_hidden {
                write_line(line, &mut builder);
            }
        }
        in_cue = false;
    }
    let mut document = builder.finish();
    document.add_metadata("duration", end);
    Some(document)
}

/// Writes a line without tags (`<i>`, `{\an8}`); the name of a speaker (`<v Ann>`) is kept.
fn write_line(line: &str, builder: &mut DocumentBuilder) {
    builder.begin_line();
    let mut rest = line;
    while let Some(at) = rest.find(['<', '{']) {
        let (before, tag) = rest.split_at(at);
        builder.push_text(before);
        let end = if tag.starts_with('<') { tag.find('>') } else { tag.find('}') };
        // A sign without an end, or a brace without a command, is text.
        let Some(end) = end.filter(|_| tag.starts_with('<') || tag.starts_with("{\\")) else {
            builder.push_text(&tag[..1]);
            rest = &tag[1..];
            continue;
        };
        if let Some(name) = tag[1..end].strip_prefix("v ") {
            builder.push_text(&format!("{name}: "));
        }
        rest = &tag[end + 1..];
    }
    builder.push_text(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cues_are_lines() {
        let srt = "1\r\n00:00:01,000 --> 00:00:04,000\r\n<i>One</i> {\\an8}line\r\n1 < 2\r\n\r\n2\r\n00:00:05,000 --> 00:01:06,500\r\n3\r\n";
        let document = extract(srt.as_bytes()).unwrap();
        assert_eq!(document.text, "One line\n1 < 2\n3");
        assert_eq!(document.metadata["duration"], "00:01:06,500");
        let vtt = "WEBVTT - title\n\nSTYLE\n::cue { color: red }\n\nNOTE\na --> b\nhidden\n\nid\n00:01.000 --> 00:02.000 line:0\n<v Ann>Hello <c.x>there</c>\n";
        let document = extract(vtt.as_bytes()).unwrap();
        assert_eq!(document.text, "Ann: Hello there");
    }
}
