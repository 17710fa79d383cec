//! Wildcard patterns and the values that they match.
//!
//! Vector stores compare whole values, so a pattern is replaced by the matching values of the
//! collection. Path patterns follow `.gitignore`: they match at any depth unless they begin with
//! `/`, `*` stays within a folder, and a folder stands for everything in it.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use percent_encoding::percent_decode_str;
use pipeline::{Facet, Filter, KeywordField, check_patterns};

use crate::blocking::CancelFlag;

/// A filter as users write it: with patterns.
pub type PatternFilter = Filter<Patterns>;

/// Number of values matched between two checks of the cancellation flag.
const CANCEL_CHECK_INTERVAL: usize = 1000;

/// The compiled patterns of one condition. Clones share the compiled form; patterns are equal if
/// their texts are.
#[derive(Clone)]
pub struct Patterns {
    texts: Arc<[String]>,
    set: Arc<GlobSet>,
    of_paths: bool,
}

impl Patterns {
    /// Compiles patterns. Each one must have passed [`pipeline::check_pattern`] or be a literal
    /// text of bounded length, because the compiler has no limits.
    ///
    /// # Errors
    /// The message of the compiler for an invalid pattern.
    pub(crate) fn new(field: KeywordField, patterns: Vec<String>) -> Result<Self, String> {
        let of_paths = matches!(field, KeywordField::Uri | KeywordField::Source);
        let mut set = GlobSetBuilder::new();
        for pattern in &patterns {
            let written =
                if of_paths { expand_path_pattern(pattern) } else { vec![pattern.clone()] };
            for pattern in written {
                let glob = GlobBuilder::new(&pattern)
                    .literal_separator(of_paths)
                    .backslash_escape(true)
                    .empty_alternates(true)
                    .build();
                set.add(glob.map_err(|error| error.kind().to_string())?);
            }
        }
        let set = set.build().map_err(|error| error.kind().to_string())?;
        Ok(Self { texts: patterns.into(), set: Arc::new(set), of_paths })
    }

    /// Checks and compiles path patterns from a file.
    ///
    /// # Errors
    /// A message if a pattern exceeds a limit or is invalid.
    pub(crate) fn of_paths(patterns: Vec<String>) -> Result<Self, String> {
        check_patterns(patterns.iter().map(String::as_str)).map_err(|error| error.to_string())?;
        Self::new(KeywordField::Uri, patterns)
    }

    /// Number of patterns.
    pub(crate) fn count(&self) -> usize {
        self.texts.len()
    }

    /// Total size of the patterns in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.texts.iter().map(String::len).sum()
    }

    /// The values that match. Slow for many values; the result is incomplete if it was cancelled.
    pub(crate) fn matching(&self, values: &[Facet], cancelled: &CancelFlag) -> Vec<String> {
        let parts = values.chunks(CANCEL_CHECK_INTERVAL).take_while(|_| !cancelled.is_set());
        let values = parts.flatten().map(|facet| &facet.value);
        values.filter(|value| self.match_one(value)).cloned().collect()
    }

    pub(crate) fn match_one(&self, value: &str) -> bool {
        if self.of_paths { self.set.is_match(path_of(value)) } else { self.set.is_match(value) }
    }
}

impl PartialEq for Patterns {
    fn eq(&self, other: &Self) -> bool {
        (self.of_paths, &self.texts) == (other.of_paths, &other.texts)
    }
}

impl Eq for Patterns {}

impl Hash for Patterns {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.of_paths, &self.texts).hash(state);
    }
}

impl fmt::Debug for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.texts.fmt(f)
    }
}

/// The patterns of whole paths that a path pattern stands for: the path itself, and everything
/// below it.
fn expand_path_pattern(pattern: &str) -> Vec<String> {
    let (from, rest) = match pattern.split_once("://") {
        Some((_, rest)) => ("", rest.to_owned()),
        None if pattern.starts_with('/') => ("", pattern.to_owned()),
        None => ("**/", pattern.to_owned()),
    };
    let rest = rest.trim_end_matches('/');
    vec![format!("{from}{rest}"), format!("{from}{rest}/**")]
}

/// The decoded path of a URI: `/a b` for `file:///a%20b`; of other URLs host and path.
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
            let patterns = Patterns::new(KeywordField::Uri, vec![pattern.to_owned()]).unwrap();
            assert_eq!(patterns.match_one(uri), matches, "{pattern}");
        }
        let text = Patterns::new(KeywordField::MimeType, vec!["text/*".to_owned()]).unwrap();
        assert!(text.match_one("text/html") && !text.match_one("image/png"));
        assert!(Patterns::of_paths(vec!["a[".to_owned()]).is_err());
    }
}
