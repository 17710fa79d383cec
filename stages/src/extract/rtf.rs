//! Rich Text Format: paragraphs, headings, lists, tables and notes, in the code page of the
//! document or of the font.
//!
//! Headers, footers, comments, hidden and deleted text, field codes and pictures are left out.
//! Headings are paragraphs with an outline level, or with a style that is a heading. ADR 0048 has
//! the reason for a parser of our own.

mod body;
mod charset;
mod destination;
mod fonts;
mod info;
mod reader;
mod styles;
mod token;

use crate::extract::document::{Document, DocumentBuilder};
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::package::corrupt;
use crate::extract::rtf::reader::Reader;

pub(crate) const FORMAT: Format = Format {
    name: "RTF",
    media_types: &["application/rtf", "text/rtf"],
    version: 0,
    is_cached: true,
    has_titles_in_headings: true,
    parse: |bytes, _| extract(bytes),
};

/// The beginning of each RTF file.
const MAGIC: &[u8] = b"{\\rtf";

fn extract(bytes: &[u8]) -> Result<Document, ExtractErrorKind> {
    if !bytes.trim_ascii_start().starts_with(MAGIC) {
        return Err(corrupt("it does not begin with {\\rtf"));
    }
    let mut reader = Reader::new();
    reader.read(bytes)?;
    let mut builder = DocumentBuilder::default();
    for block in &reader.body.blocks {
        builder.push_block(block);
    }
    builder.push_notes(&reader.body.notes);
    let mut document = builder.finish();
    reader.info.add_metadata(&mut document);
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(rtf: &[u8]) -> String {
        extract(rtf).unwrap().text
    }

    #[test]
    fn characters_are_decoded_by_document_and_font() {
        let cases: [(&[u8], &str); 9] = [
            (b"{\\rtf1\\ansi\\ansicpg1251 \\'cf\\'f0\\'e8\\'e2\\'e5\\'f2}", "Привет"),
            (b"{\\rtf1\\ansi\\ansicpg1251 \xcf\xf0\xe8\xe2\xe5\xf2}", "Привет"),
            (
                b"{\\rtf1\\deff0{\\fonttbl{\\f0 A;}{\\f1\\fcharset238 B;}}\\f1 \\'e8{\\f0 \\'e8}\\plain\\'e8}",
                "čèè",
            ),
            (
                b"{\\rtf1{\\fonttbl{\\f3\\fcharset128 M;}}\\f3\\'93\\'fa\\'96\\'7b\\loch x}",
                "日本x",
            ),
            (b"{\\rtf1\\uc2 \\u20013\\'d6\\'d0\\uc0\\u-10179\\u-8704 .}", "中😀."),
            (b"{\\rtf1 {\\uc3\\u1087abc}\\u1088\\lquote d\\u1089{}e}", "прdсe"),
            (b"{\\rtf1 a\\~b\\_c\\-d\\{e\\}\\\\\\tab f\\emdash g}", "a b-cd{e}\\ f—g"),
            (b"{\\rtf1 wrapped\r\n lines\\\nand\\line breaks\\par}", "wrapped lines\n\nand\nbreaks"),
            (b"{\\rtf1 open {\\b bold", "open bold"),
        ];
        for (rtf, expected) in cases {
            assert_eq!(text(rtf), expected, "{}", rtf.escape_ascii());
        }
    }

    #[test]
    fn only_text_of_the_document_is_text() {
        let rtf = br"{\rtf1{\fonttbl{\f0\fnil Fontname;}}{\colortbl;\red0;}{\*\generator Program;}
            {\info{\comment C}{\title A {\b bold} title}{\author Ann}{\creatim\yr2024\mo1\dy2\hr3\min4}{\company C}}
            {\header headertext\par}{\footerf footertext\par}
            {\pict\wmetafile8 0102}{\object{\*\objdata 0102}{\result shown}}
            {\v hidden}{\deleted gone}{\v0 kept}{\*\unknown {\b unknown}}
            {\field{\*\fldinst HYPERLINK x}{\fldrslt link}}{\xe index}
            {\upr{ansi}{\*\ud{unicode}}}{\*\annotation comment}
            {\shp{\*\shpinst{\sp{\sn name}{\sv value}}{\shptxt box\par}}{\shprslt old}}
            {\pict\bin4 }}}}x}end}trailing";
        let document = extract(rtf).unwrap();
        assert_eq!(document.text, "shown kept link unicode box\n\nend");
        assert_eq!(document.title.as_deref(), Some("A bold title"));
        assert_eq!(document.metadata["author"], "Ann");
        assert_eq!(document.metadata["created"], "2024-01-02T03:04:00");
        assert_eq!(document.metadata.len(), 2);
    }

    #[test]
    fn paragraphs_become_headings_lists_tables_and_notes() {
        let rtf = br"{\rtf1{\stylesheet{\ql Normal;}{\s1{\*\soutlvl0}\sbasedon0 heading 1;}
            {\s2\sbasedon1 My Style;}{\*\cs3 Character;}{\s4\outlinelevel2 Third;}}
            \pard\s1 One\par\pard\s2 Derived{\*\footnote\chftn\pard\s1 A note\par Two lines}\par
            \pard\s4 Third\par\pard\outlinelevel9 body\par
            \pard{\listtext\bullet\tab}item\par{\pntext\'b7}item\par
            \trowd\trhdr\cellx1\cellx2\pard\intbl H1\cell H2\cell\row
            \trowd\cellx1\cellx2\pard\intbl a\par b\cell {\pard\intbl\itap2 n1\nestcell n2\nestcell
            {\*\nesttableprops\trowd\nestrow}{\nonesttables\par}}\pard\intbl c\cell\row\pard after\par}";
        let document = extract(rtf).unwrap();
        insta::assert_snapshot!(document.text, @r#"
        One

        Derived[1]

        Third

        body

        - item
        - item

        | H1 | H2 |
        |-|-|
        | a b | n1 n2 c |

        after

        [1] A note Two lines
        "#);
        let outline: Vec<_> =
            document.outline.iter().map(|h| (h.level, h.title.as_str())).collect();
        assert_eq!(outline, [(1, "One"), (1, "Derived[1]"), (3, "Third")]);
    }

    #[test]
    fn deep_groups_are_refused() {
        let deep = [b"{\\rtf1 ".as_slice(), &b"{".repeat(100_000)].concat();
        let why = extract(&deep).unwrap_err().to_string();
        assert_eq!(why, "corrupt: groups are nested too deeply");
    }
}
