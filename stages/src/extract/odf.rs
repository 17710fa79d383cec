//! OpenDocument: the parts of a document, its metadata and language. ODT and ODP share the rest,
//! too: the styles and the blocks of text.
//!
//! A document is a ZIP archive, or one XML file ("flat"), which contains all parts.

pub(crate) mod body;
mod meta;
pub(crate) mod styles;

use crate::extract::document::Document;
use crate::extract::error::ExtractErrorKind;
use crate::extract::language;
use crate::extract::odf::styles::Styles;
use crate::extract::package::{Package, corrupt};
use crate::extract::text::decode;

/// The XML of a document.
pub(crate) struct OpenDocument {
    pub(crate) content: String,
    pub(crate) styles: Styles,
    /// `None` for a flat file, whose metadata are in `content`.
    meta: Option<String>,
}

/// The first bytes of a ZIP archive.
const ZIP_MAGIC: &[u8] = b"PK";

impl OpenDocument {
    /// Reads the parts, which may unpack to at most `most` bytes in total.
    pub(crate) fn read(bytes: &[u8], most: u64) -> Result<Self, ExtractErrorKind> {
        let mut styles = Styles::default();
        if !bytes.starts_with(ZIP_MAGIC) {
            let xml = decode(bytes, None).ok_or(ExtractErrorKind::NotText)?.into_owned();
            styles.read(&xml)?;
            return Ok(Self { content: xml, styles, meta: None });
        }
        let mut package = Package::open(bytes, most)?;
        let manifest = package.read_part("META-INF/manifest.xml")?;
        if manifest.is_some_and(|manifest| manifest.contains("encryption-data")) {
            return Err(ExtractErrorKind::Encrypted);
        }
        let Some(content) = package.read_part("content.xml")? else {
            return Err(corrupt("content.xml is missing"));
        };
        if let Some(xml) = optional_part(&mut package, "styles.xml")? {
            ExtractErrorKind::unless_corrupt(styles.read(&xml))?;
        }
        styles.read(&content)?;
        Ok(Self { content, styles, meta: optional_part(&mut package, "meta.xml")? })
    }

    /// Adds the metadata. The language is the declared one, or else that of the text if it is
    /// clear, or else that of the default style, which programs fill from the settings of the user.
    pub(crate) fn add_metadata(&self, document: &mut Document) -> Result<(), ExtractErrorKind> {
        let meta = self.meta.as_ref().unwrap_or(&self.content);
        ExtractErrorKind::unless_corrupt(meta::read(meta, document))?;
        document.language = document
            .language
            .take()
            .or_else(|| language::detect(&document.text))
            .or_else(|| self.styles.language.clone());
        Ok(())
    }
}

/// The text of a part without which the document can be read.
fn optional_part(
    package: &mut Package<'_>,
    name: &str,
) -> Result<Option<String>, ExtractErrorKind> {
    Ok(ExtractErrorKind::unless_corrupt(package.read_part(name))?.flatten())
}
