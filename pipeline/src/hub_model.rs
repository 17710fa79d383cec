//! The name of a model on the Hugging Face hub, where a folder could stand: `hf:ORG/NAME`, `hf:ORG/NAME@REVISION`.

use std::fmt;
use std::path::{Path, PathBuf};

const WORD: &str = "hf:";

/// What the hub calls the revision that is meant where none is named.
const MAIN: &str = "main";

/// A model of the hub. Both parts may stand in a URL and below a folder as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubModel {
    repository: String,
    revision: Option<String>,
}

/// `hf:` with something behind it that names no model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names no model of the hub; write `hf:ORG/NAME`, or `hf:ORG/NAME@REVISION` with a branch, a tag or a commit"
)]
pub struct HubModelError(String);

impl HubModel {
    /// The model of the hub that is named in place of a folder; `None` if it is none.
    ///
    /// # Errors
    /// If the name has not the form of one.
    pub fn named(model: &Path) -> Option<Result<Self, HubModelError>> {
        let text = model.to_str()?;
        let name = text.strip_prefix(WORD)?;
        let (repository, revision) = match name.split_once('@') {
            Some((repository, revision)) => (repository, Some(revision)),
            None => (name, None),
        };
        let known = (1..=2).contains(&repository.split('/').count());
        // `--` stands for `/` in names of files.
        let clear = !repository.contains("--");
        if !known || !clear || !is_plain_name(repository) || !revision.is_none_or(is_plain_name) {
            return Some(Err(HubModelError(text.to_owned())));
        }
        let (repository, revision) = (repository.to_owned(), revision.map(str::to_owned));
        Some(Ok(Self { repository, revision }))
    }

    /// The same model at this revision.
    #[must_use]
    pub fn at(&self, revision: &str) -> Self {
        Self { revision: Some(revision.to_owned()), ..self.clone() }
    }

    /// The name as it stands in place of a folder.
    pub fn path(&self) -> PathBuf {
        format!("{WORD}{self}").into()
    }

    /// Its repository, `ORG/NAME`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Its name within the organisation.
    pub fn name(&self) -> &str {
        self.repository.rsplit('/').next().unwrap_or_default()
    }

    /// The branch, tag or commit; `main` where none is named.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or(MAIN)
    }
}

/// As a person names it: `ORG/NAME` or `ORG/NAME@REVISION`.
impl fmt::Display for HubModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        self.revision.iter().try_for_each(|revision| write!(f, "@{revision}"))
    }
}

/// Whether each part is a word of letters, digits, `-`, `_` and `.` that begins with a letter or digit or `_`: it means
/// nothing else in a URL, and leads nowhere else in a file system.
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
        let named = HubModel::named(Path::new(text))?;
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
