//! The archive of a workbook: limits that calamine does not check, and comments, which it does not
//! read.

#![expect(clippy::wildcard_enum_match_arm, reason = "all other variants are treated alike")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Cursor, Read as _};

use quick_xml::Reader;
use quick_xml::events::Event;
use zip::ZipArchive;

use crate::extract::error::ExtractErrorKind;
use crate::extract::ooxml::relationships;
use crate::extract::package::{Package, corrupt, zip_error};
use crate::extract::xml::{attribute, for_each_event, text_of};

/// The part that lists the sheets of an XLSX file.
const WORKBOOK: &str = "xl/workbook.xml";

/// Bytes that an item of a list takes in its part at least, such as `<si/>`.
const MIN_ITEM_BYTES: u64 = 4;

/// Checks that all parts together unpack to at most `most` bytes, and that no part declares more
/// strings than it can contain, because calamine allocates as many.
pub(super) fn check_archive(bytes: &[u8], most: u64) -> Result<(), ExtractErrorKind> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| zip_error(&error))?;
    let mut left = most;
    for index in 0..archive.len() {
        let part = archive.by_index(index).map_err(|error| zip_error(&error))?;
        let name = part.name().map_err(|error| zip_error(&error))?.to_ascii_lowercase();
        let is_strings = name.ends_with("sharedstrings.xml");
        let size =
            std::io::copy(&mut part.take(left + 1), &mut std::io::sink()).map_err(corrupt)?;
        left = left.checked_sub(size).ok_or_else(|| ExtractErrorKind::unpack_limit(most))?;
        if is_strings {
            let part = archive.by_index(index).map_err(|error| zip_error(&error))?;
            if declared_strings(BufReader::new(part)) > size / MIN_ITEM_BYTES {
                return Err(corrupt("a part declares more strings than it contains"));
            }
        }
    }
    Ok(())
}

/// The number of strings that the part with the shared strings declares; 0 if it declares none.
fn declared_strings(part: impl BufRead) -> u64 {
    let (mut reader, mut buffer) = (Reader::from_reader(part), Vec::new());
    loop {
        buffer.clear();
        match reader.read_event_into(&mut buffer) {
            Ok(Event::Start(list) | Event::Empty(list)) if list.local_name().as_ref() == "sst" => {
                let count = attribute(&list, "uniqueCount").unwrap_or_default();
                return count.trim().parse().unwrap_or_default();
            }
            Ok(Event::Eof) | Err(_) => return 0,
            Ok(_) => {}
        }
    }
}

/// The comments of an XLSX file by the name of their sheet: `Comment at B2: text`.
pub(super) fn comments(
    bytes: &[u8],
    most: u64,
) -> Result<HashMap<String, Vec<String>>, ExtractErrorKind> {
    let Ok(mut package) = Package::open(bytes, most) else { return Ok(HashMap::new()) };
    let mut found = HashMap::new();
    let Some(workbook) = package.read_part(WORKBOOK)? else { return Ok(found) };
    let targets = relationships(&mut package, WORKBOOK)?;
    let mut sheets = Vec::new();
    for_each_event(&workbook, |event| {
        if let Event::Start(element) = event
            && element.local_name().as_ref() == "sheet"
            && let (Some(name), Some(id)) = (attribute(element, "name"), attribute(element, "id"))
        {
            sheets.push((name, id));
        }
    })?;
    for (name, id) in sheets {
        let Some(sheet) = targets.iter().find(|target| target.id == id) else { continue };
        let targets = relationships(&mut package, &sheet.part)?;
        let Some(comments) = targets.iter().find(|target| target.kind == "comments") else {
            continue;
        };
        if let Some(xml) = package.read_part(&comments.part)? {
            found.insert(name, read_comments(&xml)?);
        }
    }
    Ok(found)
}

fn read_comments(xml: &str) -> Result<Vec<String>, ExtractErrorKind> {
    let (mut comments, mut open, mut in_text) = (Vec::new(), None, false);
    for_each_event(xml, |event| match event {
        Event::Start(element) => match element.local_name().as_ref() {
            "comment" => {
                let place = attribute(element, "ref").unwrap_or_default();
                open = Some(format!("Comment at {place}: "));
            }
            "t" => in_text = true,
            _ => {}
        },
        Event::End(element) => match element.local_name().as_ref() {
            "comment" => comments.extend(open.take()),
            "t" => in_text = false,
            _ => {}
        },
        event => {
            if let Some(comment) = open.as_mut().filter(|_| in_text) {
                comment.push_str(&text_of(event).unwrap_or_default());
            }
        }
    })?;
    Ok(comments)
}
