//! Wildcards: which of the values that there are match a pattern.
//!
//! Stores compare whole values, so a pattern becomes the values that match it; those that there are, the store says.
//! A pattern of paths is read as one in `.gitignore`: it matches at any depth unless it begins with `/`, `*` stays
//! within a folder, and a folder stands for everything in it.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use percent_encoding::percent_decode_str;
use pipeline::Keyword;

/// The patterns of one condition.
pub(crate) struct Patterns {
    set: GlobSet,
    of_paths: bool,
}

impl Patterns {
    /// # Errors
    /// If one of them is no pattern, in words.
    pub(crate) fn new(field: Keyword, patterns: &[String]) -> Result<Self, String> {
        let of_paths = matches!(field, Keyword::Uri | Keyword::Source);
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            let written = if of_paths { as_paths(pattern) } else { vec![pattern.clone()] };
            for pattern in written {
                let glob = GlobBuilder::new(&pattern)
                    .literal_separator(of_paths)
                    .backslash_escape(true)
                    .empty_alternates(true)
                    .build();
                set.add(glob.map_err(|error| error.kind().to_string())?);
            }
        }
        Ok(Self { set: set.build().map_err(|error| error.kind().to_string())?, of_paths })
    }

    pub(crate) fn match_one(&self, value: &str) -> bool {
        if self.of_paths { self.set.is_match(path_of(value)) } else { self.set.is_match(value) }
    }
}

/// What a pattern of paths matches, as patterns of whole paths.
fn as_paths(pattern: &str) -> Vec<String> {
    let (from, rest) = match pattern.split_once("://") {
        Some((_, rest)) => ("", rest.to_owned()),
        None if pattern.starts_with('/') => ("", pattern.to_owned()),
        None => ("**/", pattern.to_owned()),
    };
    let rest = rest.trim_end_matches('/');
    vec![format!("{from}{rest}"), format!("{from}{rest}/**")]
}

/// The path of `file:///a%20b`, `/a b`; host and path of a URL.
fn path_of(uri: &str) -> String {
    let path = uri.split_once("://").map_or(uri, |(_, path)| path);
    percent_decode_str(path).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_paths_are_those_of_gitignore() {
        let uri = "file:///work/corpus/docs/api%20guide/index.html";
        for (pattern, matches) in [
            ("*.html", true),
            ("**/*.html", true),
            ("*.md", false),
            ("docs/**", true),
            ("docs", true),
            ("docs/", true),
            ("docs/*", true),
            ("docs/*.html", false),
            ("docs/*/*.html", true),
            ("corpus/*.html", false),
            ("corpus/**/*.html", true),
            ("api guide/index.{html,md}", true),
            ("/work/**", true),
            ("/docs/**", false),
            ("/work/corpus/docs/api guide/index.html", true),
            ("file:///work/corpus", true),
            ("ocs/**", false),
            ("index.html", true),
        ] {
            let patterns = Patterns::new(Keyword::Uri, &[pattern.to_owned()]).unwrap();
            assert_eq!(patterns.match_one(uri), matches, "{pattern}");
        }
        let text = Patterns::new(Keyword::MimeType, &["text/*".to_owned()]).unwrap();
        assert!(text.match_one("text/html") && !text.match_one("image/png"));
        assert!(Patterns::new(Keyword::Uri, &["a[".to_owned()]).is_err());
    }
}
