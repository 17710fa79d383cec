//! LaTeX as running text. Sectioning commands are headings; title, authors, date and language of
//! the preamble become metadata, and the rest of the preamble is left out, as are comments.
//!
//! A command without a rule is removed and the text in its braces is kept (`\emph{x}` gives `x`);
//! its arguments in brackets are removed. Formulas and verbatim text stay as they are written.
//! Citations and references give the key in brackets. Included files are not read.

mod characters;
mod commands;
mod preamble;
mod reader;
mod scanner;

use crate::extract::document::Document;
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::latex::preamble::read_preamble;
use crate::extract::latex::reader::render;
use crate::extract::text::{decode, normalize_newlines};

pub(crate) const FORMAT: Format = Format {
    name: "LaTeX",
    media_types: &["text/x-tex"],
    version: 1,
    is_cached: false,
    has_titles_in_headings: false,
    parse: |bytes, _| extract(bytes).ok_or(ExtractErrorKind::NotText),
};

const BEGIN: &str = "\\begin{document}";
const END: &str = "\\end{document}";

/// The document; `None` if the bytes are not text.
fn extract(bytes: &[u8]) -> Option<Document> {
    let text = decode(bytes, preamble::declared_encoding(bytes))?;
    let text = normalize_newlines(&text);
    // A file without a preamble is part of a document.
    let (preamble, body) = text.split_once(BEGIN).unwrap_or(("", &text));
    let body = body.split_once(END).map_or(body, |(body, _)| body);
    let mut document = render(body);
    // Some documents declare their title after the preamble.
    read_preamble(preamble, &mut document);
    read_preamble(body, &mut document);
    Some(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"\documentclass[11pt,ngerman]{article}
\usepackage[utf8]{inputenc} % a comment
\newcommand{\tree}[1]{\textbf{#1}}
\title{On \emph{Trees}\thanks{To all}}
\author{Ann Lee \and Bj\"orn {\O}berg}
\date{1 May 2024}
\begin{document}
\maketitle
\begin{abstract}
Trees live long.
\end{abstract}
\section[Short]{Oaks \& yews}\label{sec:oaks}
See~\cite[p.~3]{darwin} in Section~\ref{sec:yews}; 50\,\% of the caf\'{e}s---``quoted''.
% gone
\begin{comment}
gone, too
\end{comment}
\begin{itemize}
  \item One\footnote{A note.}
  \item[Two:] two
\end{itemize}
\begin{equation}
  a_1 = \frac{1}{2} % kept
\end{equation}
Inline $x < \alpha$ math.

\subsection*{Code}
\begin{verbatim}
% kept \section{no}
  indented
\end{verbatim}
\begin{tabular}{l|r}
\hline
a & b \\
c & d \\
\end{tabular}
\paragraph{End} of \href{https://example.org/a_b}{the text} \verb|\x|.
\end{document}
gone at last
"#;

    #[test]
    fn reads_as_the_document_does() {
        let document = extract(TEXT.as_bytes()).unwrap();
        insta::assert_snapshot!(document.text, @r#"
        Trees live long.

        Oaks & yews

        See [darwin] in Section [sec:yews]; 50 % of the cafés—“quoted”.

        - One (A note.)
        - Two: two

          a_1 = \frac{1}{2} % kept

        Inline $x < \alpha$ math.

        Code

        % kept \section{no}
          indented

        a | b
        c | d

        End

        of the text (https://example.org/a_b) \x.
        "#);
        let outline = document.heading_starts(3);
        assert_eq!(outline, [(1, "Oaks & yews", "Oak"), (2, "Code", "Cod"), (4, "End", "End")]);
        assert_eq!(document.title.as_deref(), Some("On Trees"));
        assert_eq!(document.language.as_deref(), Some("de"));
        let metadata = serde_json::to_string(&document.metadata).unwrap();
        insta::assert_snapshot!(metadata, @r#"{"author":["Ann Lee","Björn Øberg"],"created":"1 May 2024"}"#);
    }

    #[test]
    fn nesting_and_open_groups_are_read_in_linear_time() {
        for sign in [
            "{",
            "\\emph{",
            "\\section{",
            "\\footnote{",
            "\\label{",
            "\\begin{x}",
            "$",
            "\\[",
            "\\verb|",
            "\\'",
            "\\begin{verbatim}",
            "\\cite[",
            "}",
        ] {
            let text = format!("{}end", sign.repeat(100_000));
            let document = extract(text.as_bytes()).unwrap();
            assert!(document.text.len() < 4 * text.len(), "{sign}");
        }
    }
}
