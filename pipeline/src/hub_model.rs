//! The name of a model on the Hugging Face hub, in place of a folder: `hf:ORG/NAME`,
//! `hf:ORG/NAME@REVISION`.

use std::fmt;
use std::path::{Path, PathBuf};

const HUB_PREFIX: &str = "hf:";

/// Default revision of the hub.
const DEFAULT_REVISION: &str = "main";

/// A model on the hub. Repository and revision need no escaping in a URL or in a path below a
/// folder.
///
/// ```
/// use std::path::Path;
///
/// use pipeline::HubModel;
///
/// let model = HubModel::from_path(Path::new("hf:BAAI/bge-small-en-v1.5")).unwrap().unwrap();
/// assert_eq!((model.repository(), model.name()), ("BAAI/bge-small-en-v1.5", "bge-small-en-v1.5"));
/// assert_eq!(model.revision(), "main");
/// assert_eq!(model.with_revision("5c38ec7").to_string(), "BAAI/bge-small-en-v1.5@5c38ec7");
///
/// assert_eq!(HubModel::from_path(Path::new("./models/minilm")), None, "a folder");
/// assert!(HubModel::from_path(Path::new("hf:../secrets")).unwrap().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubModel {
    repository: String,
    revision: Option<String>,
}

/// A name with the prefix `hf:` that is malformed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid hub model `{0}`: write `hf:ORG/NAME` or `hf:ORG/NAME@REVISION` (branch, tag or commit)"
)]
pub struct HubModelError(String);

impl HubModel {
    /// Parses the name of a model; `None` for a folder.
    ///
    /// # Errors
    /// If the name has the prefix `hf:` and is malformed.
    pub fn from_path(model: &Path) -> Option<Result<Self, HubModelError>> {
        let text = model.to_str()?;
        let name = text.strip_prefix(HUB_PREFIX)?;
        let (repository, revision) = match name.split_once('@') {
            Some((repository, revision)) => (repository, Some(revision)),
            None => (name, None),
        };
        let known = (1..=2).contains(&repository.split('/').count());
        // `--` replaces `/` in file names.
        let clear = !repository.contains("--");
        if !known || !clear || !is_plain_name(repository) || !revision.is_none_or(is_plain_name) {
            return Some(Err(HubModelError(text.to_owned())));
        }
        let (repository, revision) = (repository.to_owned(), revision.map(str::to_owned));
        Some(Ok(Self { repository, revision }))
    }

    /// The same model at this revision.
    #[must_use]
    pub fn with_revision(&self, revision: &str) -> Self {
        Self { revision: Some(revision.to_owned()), ..self.clone() }
    }

    /// The name in place of a folder, with the prefix `hf:`.
    pub fn to_path(&self) -> PathBuf {
        format!("{HUB_PREFIX}{self}").into()
    }

    /// Repository of the model, such as `ORG/NAME`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Name of the model within its organisation.
    pub fn name(&self) -> &str {
        self.repository.rsplit('/').next().unwrap_or_default()
    }

    /// Branch, tag or commit; `main` by default.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or(DEFAULT_REVISION)
    }
}

/// Formats the name without the prefix: `ORG/NAME` or `ORG/NAME@REVISION`.
impl fmt::Display for HubModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        self.revision.iter().try_for_each(|revision| write!(f, "@{revision}"))
    }
}

/// `true` if each part between `/` consists of letters, digits, `-`, `_` and `.`, starts with a
/// letter, digit or `_`, and does not contain `..`. Such a name has no special meaning in a URL and
/// cannot leave a folder.
///
/// ```
/// use pipeline::is_plain_name;
///
/// assert!(is_plain_name("refs/pr/3"));
/// assert!(!is_plain_name("../3") && !is_plain_name("a?b") && !is_plain_name("-a"));
/// ```
pub fn is_plain_name(name: &str) -> bool {
    name.split('/').all(|part| {
        part.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
            && part.chars().all(|it| it.is_ascii_alphanumeric() || "-_.".contains(it))
            && !part.contains("..")
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::HubModel;

    fn named(text: &str) -> Option<Result<String, String>> {
        let named = HubModel::from_path(Path::new(text))?;
        let told =
            |it: HubModel| format!("{it} {} {} {}", it.repository(), it.name(), it.revision());
        Some(named.map(told).map_err(|error| error.to_string()))
    }

    #[test]
    fn names() {
        let told = |text: &str| named(text).unwrap().unwrap();
        assert_eq!(
            told("hf:BAAI/bge-small-en-v1.5"),
            "BAAI/bge-small-en-v1.5 BAAI/bge-small-en-v1.5 bge-small-en-v1.5 main"
        );
        assert_eq!(told("hf:gpt2"), "gpt2 gpt2 gpt2 main");
        assert_eq!(told("hf:a/b@refs/pr/3"), "a/b@refs/pr/3 a/b b refs/pr/3");
    }

    #[test]
    fn folders_are_none() {
        for folder in ["", "models/hf", "/models/hf:a/b", "HF:a/b", "stand-in:16"] {
            assert_eq!(named(folder), None, "{folder}");
        }
    }

    #[test]
    fn what_leads_elsewhere_is_refused() {
        for name in [
            "", "/", "a/", "/a", "a/b/c", "..", "a/..", "../a", "a/b@", "a/b@../x", "a/b@x..y",
            "a b", "a?b", "a%2Fb", "a/b@c@d", "-a", "a--b", "a\\b", "a/b@/x", "a/é",
        ] {
            let error = named(&format!("hf:{name}")).unwrap().unwrap_err();
            assert!(error.contains("write `hf:ORG/NAME`"), "{name}: {error}");
        }
    }
}
