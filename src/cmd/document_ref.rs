//! Names of documents on the command line and in the API: an id, a URL, or a path in any spelling.
//!
//! The metadata store identifies a location by the URI under which its source found it, and that
//! depends on the spelling of the source in the pipeline file. So a path is expanded to every URI
//! that it may stand for: as written; with `.`, `..` and the links of its folder resolved; and
//! below each source whose real path contains it. The first URI that the store has is used.

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use metadata::{Collection, DocumentHistory, ListedDocument, Postgres};
use pipeline::BoxError;
use pipeline::uri;
use sources::real_path;
use uuid::Uuid;

/// A parsed name of a document.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DocumentRef {
    Id(Uuid),
    Location(PathCandidates),
}

/// The possible meanings of a path or URL.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PathCandidates {
    /// The URIs, the most likely first; never empty.
    pub(super) uris: Vec<String>,
    /// The path as typed, which `documents list` shows for names that are not UTF-8.
    path: Option<String>,
}

impl DocumentRef {
    /// Parses a command-line argument, relative to the current directory; `places` are the URIs of
    /// sources.
    pub(super) fn from_argument(words: &OsStr, places: &[String]) -> Result<Self, BoxError> {
        if let Some(id) = words.to_str().and_then(|words| words.parse().ok()) {
            return Ok(Self::Id(id));
        }
        let path = match words.to_str().and_then(as_url) {
            None => PathBuf::from(words),
            Some(url) => match path_of(url) {
                Some(path) => path,
                None => return Ok(Self::from_uri(url.to_owned())),
            },
        };
        let absolute = std::path::absolute(&path)?;
        let paths = path_candidates(&absolute, places);
        let path =
            words.to_str().map_or_else(|| words.to_string_lossy().into_owned(), str::to_owned);
        let uris = paths.iter().map(|path| uri::of_path(path)).collect();
        Ok(Self::Location(PathCandidates { uris, path: Some(path) }))
    }

    /// Parses a name in an API request: an id, a URL or an absolute path. Does not access the file
    /// system, since the result could reveal its structure.
    pub(super) fn from_request(words: &str) -> Self {
        if let Ok(id) = words.parse() {
            return Self::Id(id);
        }
        let path = match as_url(words) {
            None => Some(PathBuf::from(words)),
            Some(url) => path_of(url),
        };
        Self::from_uri(match path {
            Some(path) => uri::of_path(&path.components().collect::<PathBuf>()),
            None => words.to_owned(),
        })
    }

    fn from_uri(uri: String) -> Self {
        Self::Location(PathCandidates { uris: vec![uri], path: None })
    }

    /// The most likely URI; `None` for an id.
    pub(super) fn uri(&self) -> Option<&str> {
        match self {
            Self::Id(_) => None,
            Self::Location(spellings) => spellings.uris.first().map(String::as_str),
        }
    }

    /// Looks up the history of the document or location, and the URI under which the store has it.
    pub(super) async fn history(
        &self,
        postgres: &Postgres,
        collection: &Collection,
    ) -> Result<(DocumentHistory, Option<String>), BoxError> {
        let documents = postgres.documents();
        let spellings = match self {
            Self::Id(id) => return Ok((documents.history_of(collection.id, *id).await?, None)),
            Self::Location(spellings) => spellings,
        };
        for uri in &spellings.uris {
            let story = documents.history_at(collection.id, uri).await?;
            if story.document.is_some() || !story.locations.is_empty() {
                return Ok((story, Some(uri.clone())));
            }
        }
        match spellings.find_listed(postgres, collection).await? {
            Some(document) => {
                let story = documents.history_of(collection.id, document).await?;
                let uri = story.locations.first().map(|place| place.uri.clone());
                Ok((story, uri))
            }
            None => Ok((
                DocumentHistory { document: None, locations: Vec::new(), actions: Vec::new() },
                None,
            )),
        }
    }

    /// Looks up the document, including one that was deleted at this location.
    pub(super) async fn find_document(
        &self,
        postgres: &Postgres,
        collection: &Collection,
    ) -> Result<Option<Uuid>, BoxError> {
        let documents = postgres.documents();
        let spellings = match self {
            Self::Id(id) => return Ok(documents.find(collection.id, *id).await?.map(|it| it.id)),
            Self::Location(spellings) => spellings,
        };
        for uri in &spellings.uris {
            if let Some(found) = documents.find_by_uri(collection.id, uri).await? {
                return Ok(Some(found));
            }
        }
        spellings.find_listed(postgres, collection).await
    }
}

impl PathCandidates {
    /// The only document that `documents list` shows under this path; an error if there are
    /// several.
    async fn find_listed(
        &self,
        postgres: &Postgres,
        collection: &Collection,
    ) -> Result<Option<Uuid>, BoxError> {
        let Some(path) = &self.path else { return Ok(None) };
        let found = postgres.documents().find_by_listed_path(collection.id, path).await?;
        match &found[..] {
            [] => Ok(None),
            [one] => Ok(Some(*one)),
            several => {
                let ids: Vec<String> = several.iter().map(Uuid::to_string).collect();
                Err(format!(
                    "several documents are listed as {path}; use an id: {}",
                    ids.join(", ")
                )
                .into())
            }
        }
    }
}

/// Returns the argument if it is a URL and not a path.
fn as_url(words: &str) -> Option<&str> {
    let (scheme, _) = words.split_once("://")?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|it| it.is_ascii_alphanumeric() || matches!(it, '+' | '-' | '.'));
    is_scheme.then_some(words)
}

/// The path of a `file:` URL; its host may be `localhost`.
fn path_of(url: &str) -> Option<PathBuf> {
    let local = url.strip_prefix("file://localhost/").map(|rest| format!("file:///{rest}"));
    uri::to_path(local.as_deref().unwrap_or(url)).filter(|path| path.is_absolute())
}

/// Every path that an absolute path may be known by, the most likely first.
fn path_candidates(path: &Path, places: &[String]) -> Vec<PathBuf> {
    let mut spellings: Vec<PathBuf> = Vec::new();
    let mut add = |path: PathBuf| {
        if !spellings.contains(&path) {
            spellings.push(path);
        }
    };
    if !path.components().any(|part| part == Component::ParentDir) {
        add(path.components().collect());
    }
    // The last component may be a link, which is a separate location, so it is not resolved.
    let resolved = match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => real_path::resolve(folder).join(name),
        _ => real_path::resolve(path),
    };
    let mut roots: Vec<PathBuf> = places.iter().filter_map(|place| uri::to_path(place)).collect();
    // Of nested sources, the inner one provides the document.
    roots.sort_by_key(|root| std::cmp::Reverse(root.components().count()));
    for root in roots {
        let real_root = real_path::resolve(&root);
        match resolved.strip_prefix(&real_root) {
            Ok(below) if below == Path::new("") => add(root),
            Ok(below) => add(root.join(below)),
            Err(_) => {}
        }
    }
    add(resolved);
    spellings
}

/// The location of a document as lists show it, so that the output is a valid name: a path if all
/// characters are visible, otherwise its URI, with the others percent-encoded.
pub(super) fn display_path(document: &ListedDocument) -> String {
    match &document.uri {
        Some(uri) => display_uri(uri),
        None => document.file_path.clone(),
    }
}

/// Like [`display_path`], for a URI.
pub(super) fn display_uri(uri: &str) -> String {
    let path = uri::to_path(uri).map(PathBuf::into_os_string).map(OsString::into_string);
    match path {
        Some(Ok(path)) if !path.contains(is_invisible) => path,
        Some(_) => {
            let mut shown = String::with_capacity(uri.len());
            for char in uri.chars() {
                match is_invisible(char) {
                    false => shown.push(char),
                    true => shown.extend(
                        char.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("%{byte:02X}")),
                    ),
                }
            }
            shown
        }
        None => uri.to_owned(),
    }
}

/// Control characters, and those that change the text direction.
fn is_invisible(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_urls_and_paths_are_told_apart() {
        let id = "3f0c1a5e-0000-4000-8000-000000000001";
        assert_eq!(DocumentRef::from_request(id), DocumentRef::Id(id.parse().unwrap()));
        let at = |words: &str| match DocumentRef::from_request(words) {
            DocumentRef::Location(PathCandidates { uris, .. }) => uris.concat(),
            DocumentRef::Id(id) => panic!("{id}"),
        };
        for same in
            ["/srv/ä b", "/srv/./ä b", "file:///srv/%C3%A4%20b", "file://localhost/srv/ä%20b"]
        {
            assert_eq!(at(same), "file:///srv/ä%20b", "{same}");
        }
        assert_eq!(at("https://example.org/a"), "https://example.org/a");
        assert_eq!(at("/a/b://c"), "file:///a/b:/c", "a path may contain `://`");
    }

    #[test]
    fn what_is_shown_stands_for_the_same_document() {
        for (uri, expected) in [
            ("file:///srv/%C3%BCber%20uns", "/srv/über uns"),
            ("file:///srv/caf%E9", "file:///srv/caf%E9"),
            ("file:///srv/a%0Ab", "file:///srv/a%0Ab"),
            ("file:///srv/\u{202e}gpj", "file:///srv/%E2%80%AEgpj"),
            ("https://example.org/", "https://example.org/"),
        ] {
            let shown = display_uri(uri);
            assert_eq!(shown, expected);
            let exact = |named: &str| DocumentRef::from_request(named);
            assert_eq!(exact(&shown), exact(uri));
        }
    }
}
