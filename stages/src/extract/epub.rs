//! EPUB books, versions 2 and 3: the documents of the spine in reading order, each read as HTML.
//!
//! The table of contents is no text. It names the chapters that have no heading of their own.
//! Obfuscated fonts do not matter; a book with other encrypted parts (DRM) is refused.

mod contents;
mod package_document;
mod xhtml;

use quick_xml::events::Event;

use crate::extract::document::{Document, Heading};
use crate::extract::epub::contents::Contents;
use crate::extract::epub::package_document::{Item, PackageDocument};
use crate::extract::epub::xhtml::with_end_tags;
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::html;
use crate::extract::package::{Package, corrupt, resolve};
use crate::extract::xml::{attribute, for_each_event};

pub(crate) const FORMAT: Format = Format {
    name: "EPUB",
    media_types: &["application/epub+zip"],
    version: 0,
    is_cached: true,
    has_titles_in_headings: true,
    parse: extract,
};

/// Algorithms that only obfuscate fonts.
const FONT_OBFUSCATION: &[&str] =
    &["http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC"];

/// Media types of chapters apart from those of HTML.
const CHAPTER_TYPES: &[&str] = &["application/x-dtbook+xml", "text/x-oeb1-document"];

/// Extracts the book; the parts that are read may unpack to at most `most` bytes in total.
fn extract(bytes: &[u8], most: u64) -> Result<Document, ExtractErrorKind> {
    let mut package = Package::open(bytes, most)?;
    if is_encrypted(&mut package)? {
        return Err(ExtractErrorKind::Encrypted);
    }
    let path = package_document_path(&mut package)?;
    let Some(xml) = package.read_part(&path)? else {
        return Err(corrupt(format!("{path} is missing")));
    };
    let opf = PackageDocument::parse(&xml, &path)?;
    let contents = read_contents(&mut package, &opf)?;
    let chapters = opf.spine.iter().filter(|item| is_chapter(item));
    let (pages_of_contents, chapters): (Vec<_>, Vec<_>) =
        chapters.partition(|item| item.is_contents);
    let mut book = read_chapters(&mut package, &chapters, &contents)?;
    if book.text.is_empty() {
        book = read_chapters(&mut package, &pages_of_contents, &contents)?;
    }
    opf.add_metadata(&mut book);
    Ok(book)
}

/// `true` if parts are encrypted, apart from fonts.
fn is_encrypted(package: &mut Package<'_>) -> Result<bool, ExtractErrorKind> {
    let Some(xml) = package.read_part("META-INF/encryption.xml")? else { return Ok(false) };
    let mut is_encrypted = false;
    for_each_event(&xml, |event| {
        let Event::Start(element) = event else { return };
        if element.local_name().as_ref() == "EncryptionMethod" {
            let algorithm = attribute(element, "Algorithm").unwrap_or_default();
            is_encrypted |= !FONT_OBFUSCATION.contains(&algorithm.as_str());
        }
    })?;
    Ok(is_encrypted)
}

/// The name of the package document, to which the container refers.
fn package_document_path(package: &mut Package<'_>) -> Result<String, ExtractErrorKind> {
    let Some(xml) = package.read_part("META-INF/container.xml")? else {
        return Err(corrupt("META-INF/container.xml is missing"));
    };
    let mut path = None;
    for_each_event(&xml, |event| {
        let Event::Start(element) = event else { return };
        if element.local_name().as_ref() == "rootfile" && path.is_none() {
            path = attribute(element, "full-path").map(|path| resolve("", &path));
        }
    })?;
    path.ok_or_else(|| corrupt("META-INF/container.xml names no package document"))
}

/// The table of contents. One that cannot be read is empty.
fn read_contents(
    package: &mut Package<'_>,
    opf: &PackageDocument,
) -> Result<Contents, ExtractErrorKind> {
    let Some(part) = &opf.contents else { return Ok(Contents::default()) };
    let xml = ExtractErrorKind::unless_corrupt(package.read_part(part))?.flatten();
    let contents = xml.map(|xml| Contents::parse(&xml, part)).transpose();
    Ok(ExtractErrorKind::unless_corrupt(contents)?.flatten().unwrap_or_default())
}

fn is_chapter(item: &Item) -> bool {
    let media_type = item.media_type.as_str();
    html::FORMAT.media_types.contains(&media_type) || CHAPTER_TYPES.contains(&media_type)
}

/// The text of chapters, one after the other. The metadata lists those that cannot be read.
fn read_chapters(
    package: &mut Package<'_>,
    chapters: &[&Item],
    contents: &Contents,
) -> Result<Document, ExtractErrorKind> {
    let (mut book, mut damaged) = (Document::default(), Vec::new());
    for item in chapters {
        match read_chapter(package, item, contents) {
            Ok(Some(chapter)) => book.append(chapter),
            Ok(None) => {}
            Err(ExtractErrorKind::Corrupt(_)) => damaged.push(item.part.as_str()),
            Err(error) => return Err(error),
        }
    }
    if let (true, [first, ..]) = (book.text.is_empty(), damaged.as_slice()) {
        return Err(corrupt(format!("{first} cannot be read")));
    }
    book.add_metadata("damaged_chapters", &damaged.join(", "));
    Ok(book)
}

/// A document of the spine; `None` if the archive does not contain it.
fn read_chapter(
    package: &mut Package<'_>,
    item: &Item,
    contents: &Contents,
) -> Result<Option<Document>, ExtractErrorKind> {
    let Some(bytes) = package.read_bytes(&item.part)? else { return Ok(None) };
    let page = html::decode_page(&bytes).ok_or_else(|| corrupt("a part is not text"))?;
    let mut chapter = html::read_all(&with_end_tags(&page));
    let is_unnamed = chapter.outline.is_empty() && !chapter.text.is_empty();
    if let (true, Some(entry)) = (is_unnamed, contents.entry(&item.part)) {
        chapter.outline.push(Heading { at: 0, level: entry.level, title: entry.label.clone() });
    }
    Ok(Some(chapter))
}
