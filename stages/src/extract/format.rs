//! What a format declares: its media types and its parser.

use crate::extract::document::Document;
use crate::extract::error::ExtractErrorKind;

/// A format with a parser. Each is one file, and one entry of [`super::formats::FORMATS`].
pub(crate) struct Format {
    /// The name in messages.
    pub(crate) name: &'static str,
    /// The media types that the parser reads.
    pub(crate) media_types: &'static [&'static str],
    /// Raised with each change of the output of the parser: cached documents of the format are
    /// extracted again, and stored documents are processed again.
    pub(crate) version: u32,
    /// `false` if extraction is as fast as the cache.
    pub(crate) is_cached: bool,
    /// `false` if all documents of the format have the same headings, which are no titles.
    pub(crate) has_titles_in_headings: bool,
    /// Parses a file. The second argument is the largest size of its unpacked parts in bytes.
    pub(crate) parse: fn(&[u8], u64) -> Result<Document, ExtractErrorKind>,
}
