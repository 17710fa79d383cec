//! Title, authors, date, language and encoding that a document declares.

use encoding_rs::Encoding;

use crate::extract::document::Document;
use crate::extract::latex::reader::plain;
use crate::extract::latex::scanner::Scanner;

/// Names of languages in options of `babel`, and their ISO 639-1 codes.
const LANGUAGES: &[(&str, &str)] = &[
    ("american", "en"),
    ("austrian", "de"),
    ("brazil", "pt"),
    ("brazilian", "pt"),
    ("british", "en"),
    ("catalan", "ca"),
    ("czech", "cs"),
    ("danish", "da"),
    ("dutch", "nl"),
    ("english", "en"),
    ("finnish", "fi"),
    ("francais", "fr"),
    ("french", "fr"),
    ("frenchb", "fr"),
    ("german", "de"),
    ("greek", "el"),
    ("hungarian", "hu"),
    ("italian", "it"),
    ("magyar", "hu"),
    ("naustrian", "de"),
    ("ngerman", "de"),
    ("norsk", "nb"),
    ("polish", "pl"),
    ("portuguese", "pt"),
    ("romanian", "ro"),
    ("russian", "ru"),
    ("slovak", "sk"),
    ("slovene", "sl"),
    ("spanish", "es"),
    ("swedish", "sv"),
    ("turkish", "tr"),
    ("ukrainian", "uk"),
    ("usenglish", "en"),
];

/// Encodings of `inputenc`, and their labels.
const ENCODINGS: &[(&str, &str)] = &[
    ("ansinew", "windows-1252"),
    ("applemac", "macintosh"),
    ("cp1250", "windows-1250"),
    ("cp1251", "windows-1251"),
    ("cp1252", "windows-1252"),
    ("koi8-r", "koi8-r"),
    ("latin1", "iso-8859-1"),
    ("latin2", "iso-8859-2"),
    ("latin9", "iso-8859-15"),
];

/// Bytes at the start of a file that may declare its encoding.
const HEAD_BYTES: usize = 4096;

/// The encoding in the options of `inputenc`.
pub(super) fn declared_encoding(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(HEAD_BYTES)]);
    let (before, _) = head.split_once("]{inputenc}")?;
    let (_, option) = before.rsplit_once('[')?;
    let label = ENCODINGS.iter().find(|(name, _)| *name == option.trim())?.1;
    Encoding::for_label(label.as_bytes())
}

/// Reads the declarations; those that the document already has are kept.
pub(super) fn read_preamble(source: &str, document: &mut Document) {
    let mut scanner = Scanner::new(source);
    while let Some(char) = scanner.next() {
        match char {
            '%' => {
                scanner.take_until("\n");
            }
            '\\' => {
                let name = scanner.command();
                declaration(name, &mut scanner, document);
            }
            _ => {
                scanner.take_while(|char| !matches!(char, '%' | '\\'));
            }
        }
    }
}

fn declaration(name: &str, scanner: &mut Scanner<'_>, document: &mut Document) {
    match name {
        "title" | "author" | "date" => {
            scanner.option();
            let argument = scanner.argument().unwrap_or_default();
            if name == "author" {
                let authors = argument.split("\\and").map(plain);
                return authors.for_each(|author| document.append_metadata("author", &author));
            }
            let value = plain(argument);
            match name {
                _ if value.is_empty() => {}
                "title" if document.title.is_none() => document.title = Some(value),
                "date" => document.add_metadata("created", &value),
                _ => {}
            }
        }
        "documentclass" | "usepackage" => {
            let options = scanner.option().unwrap_or_default();
            let names_language = name == "documentclass" || scanner.argument() == Some("babel");
            if names_language {
                set_language(options, document);
            }
        }
        "setdefaultlanguage" | "setmainlanguage" => {
            scanner.option();
            set_language(scanner.argument().unwrap_or_default(), document);
        }
        _ => {}
    }
}

/// Sets the language of a list of options: the one that is declared as the main one, or the last.
fn set_language(options: &str, document: &mut Document) {
    let code = |option: &str| {
        let option = option.trim().trim_start_matches("main=");
        LANGUAGES.iter().find(|(name, _)| *name == option).map(|(_, code)| (*code).to_owned())
    };
    let mut languages = options.split(',').filter_map(code);
    let main = options.split(',').find(|option| option.trim().starts_with("main=")).and_then(code);
    if let Some(language) = main.or_else(|| languages.next_back()) {
        document.language = Some(language);
    }
}
