//! Office Open XML: relationships between the parts of a document, and its properties.

use quick_xml::events::Event;

use crate::extract::document::{Document, collapse_whitespace};
use crate::extract::error::ExtractErrorKind;
use crate::extract::language;
use crate::extract::ole;
use crate::extract::package::{Package, resolve};
use crate::extract::xml::{attribute, for_each_event, for_each_field};

/// Opens a document. The parts that are read may unpack to at most `most` bytes in total.
pub(crate) fn open(bytes: &[u8], most: u64) -> Result<Package<'_>, ExtractErrorKind> {
    ole::refuse_encrypted(bytes)?;
    Package::open(bytes, most)
}

/// A reference from a part to another part.
pub(crate) struct Relationship {
    pub(crate) id: String,
    /// The last segment of its type, such as `slide`.
    pub(crate) kind: String,
    /// The name of the other part.
    pub(crate) part: String,
}

/// The relationships of a part, without those to resources outside of the document.
pub(crate) fn relationships(
    package: &mut Package<'_>,
    part: &str,
) -> Result<Vec<Relationship>, ExtractErrorKind> {
    let (folder, name) = part.rsplit_once('/').unwrap_or(("", part));
    let file = resolve("", &format!("{folder}/_rels/{name}.rels"));
    let Some(xml) = package.read_part(&file)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for_each_event(&xml, |event| {
        let Event::Start(element) = event else { return };
        let is_external = attribute(element, "TargetMode").is_some_and(|mode| mode == "External");
        if element.local_name().as_ref() != "Relationship" || is_external {
            return;
        }
        let value = |name| attribute(element, name).unwrap_or_default();
        let kind = value("Type").rsplit('/').next().unwrap_or_default().to_owned();
        found.push(Relationship { id: value("Id"), kind, part: resolve(part, &value("Target")) });
    })?;
    Ok(found)
}

/// Reads `docProps/core.xml`, if it is readable.
pub(crate) fn read_properties(
    package: &mut Package<'_>,
    document: &mut Document,
) -> Result<(), ExtractErrorKind> {
    let core = ExtractErrorKind::unless_corrupt(package.read_part("docProps/core.xml"))?;
    let Some(core) = core.flatten() else { return Ok(()) };
    let read = for_each_field(&core, |element, text| match element.local_name().as_ref() {
        "title" => document.title = Some(collapse_whitespace(text)),
        "language" => document.language = language::iso_code(text),
        "creator" => document.add_metadata("author", text),
        "lastModifiedBy" => document.add_metadata("last_modified_by", text),
        name @ ("created" | "modified" | "description" | "subject" | "keywords") => {
            document.add_metadata(name, text);
        }
        _ => {}
    });
    ExtractErrorKind::unless_corrupt(read).map(drop)
}
