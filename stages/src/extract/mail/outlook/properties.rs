//! The properties of an object in a compound file: strings and bytes are streams of their own,
//! values of a fixed size are entries of one stream.

use std::io::{Cursor, Read as _};
use std::path::{Path, PathBuf};

use cfb::CompoundFile;
use encoding_rs::{Encoding, UTF_16LE};
use mail_parser::DateTime;

use crate::extract::error::ExtractErrorKind;
use crate::extract::text::decode;

/// The stream of the values of a fixed size.
const FIXED_STREAM: &str = "__properties_version1.0";

/// Bytes of one entry of that stream.
const ENTRY_BYTES: usize = 16;

/// Ids of the properties that name the code page of HTML, and that of strings.
const INTERNET_CODE_PAGE: u16 = 0x3fde;
const MESSAGE_CODE_PAGE: u16 = 0x3ffd;

/// Code pages of the Internet, and those of Windows for the same scripts.
const WINDOWS_CODE_PAGES: &[(u32, u32)] = &[
    (20866, 1251),
    (21866, 1251),
    (28591, 1252),
    (28592, 1250),
    (28595, 1251),
    (28597, 1253),
    (28599, 1254),
    (28605, 1252),
    (50220, 932),
    (50221, 932),
    (50222, 932),
    (51932, 932),
    (51949, 949),
];

/// Ticks of 100 ns from 1601 to 1970.
const UNIX_EPOCH_TICKS: i64 = 116_444_736_000_000_000;

/// The streams of a file, which may contain a limited number of bytes in total.
pub(super) struct Streams<'a> {
    file: CompoundFile<Cursor<&'a [u8]>>,
    remaining_bytes: u64,
    max_bytes: u64,
}

impl<'a> Streams<'a> {
    pub(super) fn new(file: CompoundFile<Cursor<&'a [u8]>>, most: u64) -> Self {
        Self { file, remaining_bytes: most, max_bytes: most }
    }

    /// The content of a stream; `None` if it is missing or damaged.
    fn read(&mut self, path: &Path) -> Result<Option<Vec<u8>>, ExtractErrorKind> {
        let Ok(stream) = self.file.open_stream(path) else { return Ok(None) };
        let mut bytes = Vec::new();
        if stream.take(self.remaining_bytes + 1).read_to_end(&mut bytes).is_err() {
            return Ok(None);
        }
        let Some(left) = self.remaining_bytes.checked_sub(bytes.len() as u64) else {
            return Err(ExtractErrorKind::unpack_limit(self.max_bytes));
        };
        self.remaining_bytes = left;
        Ok(Some(bytes))
    }

    fn property(
        &mut self,
        storage: &Path,
        id: u16,
        kind: &str,
    ) -> Result<Option<Vec<u8>>, ExtractErrorKind> {
        self.read(&storage.join(format!("__substg1.0_{id:04X}{kind}")))
    }

    /// A string; empty if it is missing.
    pub(super) fn text(
        &mut self,
        storage: &Path,
        id: u16,
        fixed: &Properties,
    ) -> Result<String, ExtractErrorKind> {
        if let Some(unicode) = self.property(storage, id, "001F")? {
            let (text, _) = UTF_16LE.decode_without_bom_handling(&unicode);
            return Ok(text.trim_end_matches('\0').to_owned());
        }
        let bytes = self.property(storage, id, "001E")?.unwrap_or_default();
        Ok(decode_by(&bytes, fixed.code_page()))
    }

    /// HTML, which is stored as a string or as bytes; empty if it is missing.
    pub(super) fn page(
        &mut self,
        storage: &Path,
        id: u16,
        fixed: &Properties,
    ) -> Result<String, ExtractErrorKind> {
        match self.bytes(storage, id)? {
            bytes if bytes.is_empty() => self.text(storage, id, fixed),
            bytes => Ok(decode_by(&bytes, fixed.number(INTERNET_CODE_PAGE))),
        }
    }

    /// Bytes; empty if they are missing.
    pub(super) fn bytes(&mut self, storage: &Path, id: u16) -> Result<Vec<u8>, ExtractErrorKind> {
        Ok(self.property(storage, id, "0102")?.unwrap_or_default())
    }

    pub(super) fn is_storage(&self, path: &Path) -> bool {
        self.file.is_storage(path)
    }

    /// The paths of at most `most` storages whose names have this prefix.
    pub(super) fn children(&self, storage: &Path, prefix: &str, most: usize) -> Vec<PathBuf> {
        let Ok(entries) = self.file.read_storage(storage) else { return Vec::new() };
        let children = entries.filter(|it| it.is_storage() && it.name().starts_with(prefix));
        children.take(most).map(|it| storage.join(it.name())).collect()
    }
}

/// The values of a fixed size of one object.
#[derive(Default)]
pub(super) struct Properties {
    values: Vec<(u16, [u8; 8])>,
}

impl Properties {
    /// Reads the values; the stream begins with a header of this length.
    pub(super) fn read(
        streams: &mut Streams<'_>,
        storage: &Path,
        header: usize,
    ) -> Result<Self, ExtractErrorKind> {
        let bytes = streams.read(&storage.join(FIXED_STREAM))?.unwrap_or_default();
        let entries = bytes.get(header..).unwrap_or_default().chunks_exact(ENTRY_BYTES);
        let value = |entry: &[u8]| {
            let id = u16::from_le_bytes([entry[2], entry[3]]);
            entry[8..].try_into().ok().map(|value| (id, value))
        };
        Ok(Self { values: entries.filter_map(value).collect() })
    }

    fn value(&self, id: u16) -> Option<[u8; 8]> {
        self.values.iter().find(|(it, _)| *it == id).map(|(_, value)| *value)
    }

    pub(super) fn number(&self, id: u16) -> Option<u32> {
        let [a, b, c, d, ..] = self.value(id)?;
        Some(u32::from_le_bytes([a, b, c, d]))
    }

    /// A point in time, in the form of RFC 3339.
    pub(super) fn time(&self, id: u16) -> Option<String> {
        let ticks = i64::from_le_bytes(self.value(id)?).checked_sub(UNIX_EPOCH_TICKS)?;
        let time = DateTime::from_timestamp(ticks.div_euclid(10_000_000));
        time.is_valid().then(|| time.to_rfc3339())
    }

    /// The code page of strings: the declared one, or that of Windows for the script of the HTML.
    fn code_page(&self) -> Option<u32> {
        let of_script = |page: u32| {
            WINDOWS_CODE_PAGES.iter().find(|(it, _)| *it == page).map_or(page, |(_, page)| *page)
        };
        let declared = self.number(MESSAGE_CODE_PAGE);
        declared.or_else(|| self.number(INTERNET_CODE_PAGE).map(of_script))
    }
}

/// Decodes bytes by a code page, or a detected encoding. UTF-8 is recognised.
fn decode_by(bytes: &[u8], code_page: Option<u32>) -> String {
    let text = decode(bytes, code_page.and_then(encoding_of));
    text.map_or_else(String::new, |text| text.trim_end_matches('\0').to_owned())
}

/// The encoding of a Windows code page.
fn encoding_of(code_page: u32) -> Option<&'static Encoding> {
    let label = match code_page {
        874 => "windows-874".to_owned(),
        932 => "shift_jis".to_owned(),
        936 => "gbk".to_owned(),
        949 => "euc-kr".to_owned(),
        950 => "big5".to_owned(),
        1250..=1258 => format!("windows-{code_page}"),
        20127 => "us-ascii".to_owned(),
        20866 => "koi8-r".to_owned(),
        21866 => "koi8-u".to_owned(),
        28591..=28605 => format!("iso-8859-{}", code_page - 28590),
        50220..=50222 => "iso-2022-jp".to_owned(),
        51932 => "euc-jp".to_owned(),
        51949 => "euc-kr".to_owned(),
        54936 => "gb18030".to_owned(),
        65001 => "utf-8".to_owned(),
        _ => return None,
    };
    Encoding::for_label(label.as_bytes())
}
