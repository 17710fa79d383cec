//! Title, headings and path of a chunk, without repetitions, for its vectors.

use std::borrow::Cow;

/// Separates the headings in the input of a model.
pub(crate) const HEADING_ARROW: &str = " › ";

/// The headings of a path, outermost first, without one that repeats the heading above it, or the
/// title if it is the first.
pub(crate) fn distinct_headings<'a>(
    title: Option<&str>,
    headings: impl Iterator<Item = &'a str>,
) -> Vec<&'a str> {
    let mut above = title.map(comparable);
    let mut kept = Vec::new();
    for heading in headings.map(str::trim).filter(|heading| !heading.is_empty()) {
        let this = Some(comparable(heading));
        if this != above {
            kept.push(heading);
        }
        above = this;
    }
    kept
}

fn comparable(heading: &str) -> String {
    heading.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// Folders and name of a file without its extension; `path` is percent-encoded.
pub(crate) fn path_words(path: &str) -> Cow<'_, str> {
    let name = path.rfind('/').map_or(0, |at| at + 1);
    let stem = match path[name..].rfind('.') {
        Some(dot) if dot > 0 => &path[..name + dot],
        Some(_) | None => path,
    };
    pipeline::uri::decode_lossy(stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_its_folders_and_the_stem_of_the_name() {
        for (path, words) in [
            ("man1/ls.1", "man1/ls"),
            ("net/dns%20setup.md", "net/dns setup"),
            ("a.b/README", "a.b/README"),
            (".bashrc", ".bashrc"),
            ("lib/libfoo.so.1", "lib/libfoo.so"),
            ("caf%E9%zz.txt", "caf\u{fffd}%zz"),
            ("", ""),
        ] {
            assert_eq!(path_words(path), words);
        }
    }

    #[test]
    fn repeated_headings_count_once() {
        let distinct = |title, headings: &[&'static str]| {
            distinct_headings(title, headings.iter().copied()).join(", ")
        };
        assert_eq!(distinct(Some("Trees"), &["TREES ", "Oaks", "Oaks", "Trees"]), "Oaks, Trees");
        assert_eq!(distinct(None, &["Trees", "", "Oaks"]), "Trees, Oaks");
    }
}
