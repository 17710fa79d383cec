//! Source code in about 60 languages, kept verbatim. The language follows from the media type and
//! becomes the metadata `programming_language`; the title is the name of the file.
//!
//! Code is no prose: the natural language of a file is that of the comments that begin a line, if
//! they are long enough to tell.

mod comments;

use serde_json::Value;

use crate::extract::document::Document;
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::language;
use crate::extract::source_code::comments::Comments;
use crate::extract::text::decode_verbatim;

pub(crate) const FORMAT: Format = Format {
    name: "source code",
    media_types: &[
        "text/x-ada",
        "text/x-asm",
        "text/x-awk",
        "text/x-batch",
        "text/x-c",
        "text/x-c++",
        "text/x-clojure",
        "text/x-cmake",
        "text/x-cobol",
        "text/x-common-lisp",
        "text/x-csharp",
        "text/css",
        "text/x-cuda",
        "text/x-cython",
        "text/x-d",
        "text/x-dart",
        "text/x-dockerfile",
        "text/x-elixir",
        "text/x-emacs-lisp",
        "text/x-erlang",
        "text/x-fortran",
        "text/x-fsharp",
        "text/x-go",
        "text/x-graphql",
        "text/x-groovy",
        "text/x-haskell",
        "text/x-hcl",
        "text/x-java",
        "text/javascript",
        "text/x-julia",
        "text/x-kotlin",
        "text/x-less",
        "text/x-lua",
        "text/x-makefile",
        "text/x-matlab",
        "text/x-nim",
        "text/x-nix",
        "text/x-objective-c",
        "text/x-ocaml",
        "text/x-pascal",
        "text/x-perl",
        "text/x-php",
        "text/x-powershell",
        "text/x-protobuf",
        "text/x-python",
        "text/x-r",
        "text/x-ruby",
        "text/x-rust",
        "text/x-scala",
        "text/x-scheme",
        "text/x-scss",
        "text/x-shellscript",
        "text/x-solidity",
        "application/sql",
        "text/x-svelte",
        "text/x-swift",
        "text/x-tcl",
        "text/x-tex-macros",
        "text/x-typescript",
        "text/x-vala",
        "text/x-vb",
        "text/x-verilog",
        "text/x-vhdl",
        "text/x-vim",
        "text/x-vue",
        "text/x-zig",
    ],
    version: 1,
    is_cached: false,
    has_titles_in_headings: false,
    parse: |bytes, _| extract(bytes).ok_or(ExtractErrorKind::NotText),
};

const C_LIKE: Comments = Comments::new(&["//"], &[("/*", "*/")]);
const HASH: Comments = Comments::new(&["#"], &[]);
const DOCSTRINGS: &[(&str, &str)] = &[("\"\"\"", "\"\"\""), ("'''", "'''")];

/// Media type, name and comments of each language, in the order of [`FORMAT`].
const LANGUAGES: &[(&str, &str, Comments)] = &[
    ("text/x-ada", "Ada", Comments::new(&["--"], &[])),
    ("text/x-asm", "Assembly", Comments::new(&[";", "#", "//"], &[("/*", "*/")])),
    ("text/x-awk", "AWK", HASH),
    ("text/x-batch", "Batch", Comments::new(&["rem ", "REM ", "::"], &[])),
    ("text/x-c", "C", C_LIKE),
    ("text/x-c++", "C++", C_LIKE),
    ("text/x-clojure", "Clojure", Comments::new(&[";"], &[])),
    ("text/x-cmake", "CMake", Comments::new(&["#"], &[("#[[", "]]")])),
    ("text/x-cobol", "COBOL", Comments::new(&["*"], &[])),
    ("text/x-common-lisp", "Common Lisp", Comments::new(&[";"], &[("#|", "|#")])),
    ("text/x-csharp", "C#", C_LIKE),
    ("text/css", "CSS", Comments::new(&[], &[("/*", "*/")])),
    ("text/x-cuda", "CUDA", C_LIKE),
    ("text/x-cython", "Cython", Comments::new(&["#"], DOCSTRINGS)),
    ("text/x-d", "D", Comments::new(&["//"], &[("/*", "*/"), ("/+", "+/")])),
    ("text/x-dart", "Dart", C_LIKE),
    ("text/x-dockerfile", "Dockerfile", HASH),
    (
        "text/x-elixir",
        "Elixir",
        Comments::new(&["#"], &[("@moduledoc \"\"\"", "\"\"\""), ("@doc \"\"\"", "\"\"\"")]),
    ),
    ("text/x-emacs-lisp", "Emacs Lisp", Comments::new(&[";"], &[])),
    ("text/x-erlang", "Erlang", Comments::new(&["%"], &[])),
    ("text/x-fortran", "Fortran", Comments::new(&["!", "C ", "c ", "* "], &[])),
    ("text/x-fsharp", "F#", Comments::new(&["//"], &[("(*", "*)")])),
    ("text/x-go", "Go", C_LIKE),
    ("text/x-graphql", "GraphQL", Comments::new(&["#"], DOCSTRINGS)),
    ("text/x-groovy", "Groovy", C_LIKE),
    ("text/x-haskell", "Haskell", Comments::new(&["--"], &[("{-", "-}")])),
    ("text/x-hcl", "HCL", Comments::new(&["#", "//"], &[("/*", "*/")])),
    ("text/x-java", "Java", C_LIKE),
    ("text/javascript", "JavaScript", C_LIKE),
    ("text/x-julia", "Julia", Comments::new(&["#"], &[("#=", "=#"), ("\"\"\"", "\"\"\"")])),
    ("text/x-kotlin", "Kotlin", C_LIKE),
    ("text/x-less", "Less", C_LIKE),
    ("text/x-lua", "Lua", Comments::new(&["--"], &[("--[[", "]]")])),
    ("text/x-makefile", "Makefile", HASH),
    ("text/x-matlab", "MATLAB", Comments::new(&["%"], &[("%{", "%}")])),
    ("text/x-nim", "Nim", Comments::new(&["#"], &[("#[", "]#")])),
    ("text/x-nix", "Nix", Comments::new(&["#"], &[("/*", "*/")])),
    ("text/x-objective-c", "Objective-C", C_LIKE),
    ("text/x-ocaml", "OCaml", Comments::new(&[], &[("(*", "*)")])),
    ("text/x-pascal", "Pascal", Comments::new(&["//"], &[("{", "}"), ("(*", "*)")])),
    ("text/x-perl", "Perl", Comments::new(&["#"], &[("=pod", "=cut"), ("=head", "=cut")])),
    ("text/x-php", "PHP", Comments::new(&["//", "#"], &[("/*", "*/")])),
    ("text/x-powershell", "PowerShell", Comments::new(&["#"], &[("<#", "#>")])),
    ("text/x-protobuf", "Protocol Buffers", C_LIKE),
    ("text/x-python", "Python", Comments::new(&["#"], DOCSTRINGS)),
    ("text/x-r", "R", HASH),
    ("text/x-ruby", "Ruby", Comments::new(&["#"], &[("=begin", "=end")])),
    ("text/x-rust", "Rust", C_LIKE),
    ("text/x-scala", "Scala", C_LIKE),
    ("text/x-scheme", "Scheme", Comments::new(&[";"], &[("#|", "|#")])),
    ("text/x-scss", "SCSS", C_LIKE),
    ("text/x-shellscript", "Shell", HASH),
    ("text/x-solidity", "Solidity", C_LIKE),
    ("application/sql", "SQL", Comments::new(&["--"], &[("/*", "*/")])),
    ("text/x-svelte", "Svelte", Comments::new(&["//"], &[("<!--", "-->"), ("/*", "*/")])),
    ("text/x-swift", "Swift", C_LIKE),
    ("text/x-tcl", "Tcl", HASH),
    ("text/x-tex-macros", "TeX", Comments::new(&["%"], &[])),
    ("text/x-typescript", "TypeScript", C_LIKE),
    ("text/x-vala", "Vala", C_LIKE),
    ("text/x-vb", "Visual Basic", Comments::new(&["'"], &[])),
    ("text/x-verilog", "Verilog", C_LIKE),
    ("text/x-vhdl", "VHDL", Comments::new(&["--"], &[])),
    ("text/x-vim", "Vim script", Comments::new(&["\""], &[])),
    ("text/x-vue", "Vue", Comments::new(&["//"], &[("<!--", "-->"), ("/*", "*/")])),
    ("text/x-zig", "Zig", Comments::new(&["//"], &[])),
];

/// Bytes of comments from which a language is detected; fewer are not reliable.
const MIN_COMMENT_BYTES: usize = 120;

/// The text; `None` if the bytes are not text.
fn extract(bytes: &[u8]) -> Option<Document> {
    Some(Document { text: decode_verbatim(bytes, None)?, ..Document::default() })
}

/// `true` for the media type of a programming language.
pub(crate) fn is_code(media_type: &str) -> bool {
    FORMAT.media_types.contains(&media_type)
}

/// The name of a programming language as this module writes it, or as it is given.
pub(crate) fn language_name(name: &str) -> String {
    let known = LANGUAGES.iter().find(|(_, known, _)| known.eq_ignore_ascii_case(name));
    known.map_or(name, |(_, known, _)| known).to_owned()
}

/// Sets the programming language, and the natural language of the comments.
pub(crate) fn describe(media_type: &str, document: &mut Document) {
    let Some((_, name, syntax)) = LANGUAGES.iter().find(|(it, ..)| *it == media_type) else {
        return;
    };
    let name = Value::String((*name).to_owned());
    document.metadata.insert("programming_language".to_owned(), name);
    let comments = syntax.sample(&document.text);
    if comments.len() >= MIN_COMMENT_BYTES {
        document.language = language::detect(&comments);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_media_type_has_a_language() {
        let types: Vec<&str> = LANGUAGES.iter().map(|(media_type, ..)| *media_type).collect();
        assert_eq!(FORMAT.media_types, types);
    }
}
