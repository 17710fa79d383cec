//! Links between the pages of this repository: each leads to a file and a heading that exist, and
//! every page of `docs/` can be reached from its index.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use crate::support::ROOT;

/// All Markdown pages by path, relative to the repository.
fn pages() -> BTreeMap<PathBuf, String> {
    let mut pages = BTreeMap::new();
    let mut todo = vec![PathBuf::from(ROOT)];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
            if entry.file_type().unwrap().is_dir() {
                if !(name.starts_with('.') || name == "target") {
                    todo.push(path);
                }
            } else if name.ends_with(".md") {
                let text = std::fs::read_to_string(&path).unwrap();
                pages.insert(path.strip_prefix(ROOT).unwrap().to_owned(), text);
            }
        }
    }
    pages
}

/// The lines of a page outside code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !(in_code || fence)
    })
}

/// The destinations of the links of a page.
fn links(text: &str) -> Vec<String> {
    let prose: Vec<&str> = prose(text).collect();
    let prose = prose.join("\n");
    let without_code: String = prose.split('`').step_by(2).collect();
    let ends = without_code.split("](").skip(1);
    ends.map(|end| end.split(')').next().unwrap().to_owned()).collect()
}

/// The anchors of the headings of a page.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).filter(|line| line.starts_with('#'));
    headings
        .map(|heading| {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let kept =
                heading.chars().filter(|char| char.is_alphanumeric() || " -_".contains(*char));
            kept.map(|char| if char == ' ' { '-' } else { char }).collect()
        })
        .collect()
}

/// The path of a link from a page, without `.` and `..`.
fn resolve(page: &Path, link: &str) -> PathBuf {
    let mut path = page.parent().unwrap().to_owned();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => assert!(path.pop(), "{}: {link}", page.display()),
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => path.push(part),
        }
    }
    path
}

/// The relative links of a page: the path, and the anchor in it.
fn relative_links(page: &Path, text: &str) -> Vec<(PathBuf, Option<String>)> {
    let links = links(text).into_iter().filter(|link| !link.contains("://"));
    links
        .map(|link| {
            let (path, anchor) = match link.split_once('#') {
                Some((path, anchor)) => (path, Some(anchor.to_owned())),
                None => (link.as_str(), None),
            };
            let path = if path.is_empty() { page.to_owned() } else { resolve(page, path) };
            (path, anchor)
        })
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let mut faults = Vec::new();
    for (page, text) in &pages {
        for (path, anchor) in relative_links(page, text) {
            let found = match (&anchor, pages.get(&path)) {
                (Some(anchor), Some(target)) => anchors(target).contains(anchor),
                _ => Path::new(ROOT).join(&path).exists(),
            };
            if !found {
                let anchor = anchor.map(|it| format!("#{it}")).unwrap_or_default();
                faults.push(format!("{}: {}{anchor}", page.display(), path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "links without a target:\n{}", faults.join("\n"));
}

#[test]
fn every_page_of_the_documentation_is_reachable() {
    let pages = pages();
    let mut reached = BTreeSet::new();
    let mut todo = vec![PathBuf::from("docs/README.md")];
    while let Some(page) = todo.pop() {
        let Some(text) = pages.get(&page) else { continue };
        if !reached.insert(page.clone()) {
            continue;
        }
        for (path, _) in relative_links(&page, text) {
            // A link to a folder leads to all pages in it.
            todo.extend(pages.keys().filter(|page| page.starts_with(&path)).cloned());
        }
    }
    let unreached: Vec<&PathBuf> =
        pages.keys().filter(|page| page.starts_with("docs") && !reached.contains(*page)).collect();
    assert!(unreached.is_empty(), "no link from docs/README.md leads to {unreached:?}");
}
