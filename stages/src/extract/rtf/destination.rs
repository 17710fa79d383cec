//! The destinations of RTF: what the text of a group is for.

/// What the text of a group is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    Body,
    Note,
    /// Text in an ignored group: the destination is that of the group around it.
    Outer,
    /// A field of the document information.
    Info(InfoKey),
    FontTable,
    StyleSheet,
    /// The marker of a list item.
    Marker,
    /// Not text, but a group in it may be, such as a text box.
    Ignored,
    /// Not text, with all groups in it.
    Dropped,
}

/// The fields of the document information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InfoKey {
    /// A field that is not read.
    Other,
    Title,
    Subject,
    Author,
    Keywords,
    Description,
    LastModifiedBy,
    Created,
    Modified,
}

/// The destination that a control word begins; `None` if it begins none. After `\*`, each unknown
/// word begins a destination that is ignored.
pub(super) fn destination_of(word: &str, is_optional: bool) -> Option<Destination> {
    Some(match word {
        "footnote" => Destination::Note,
        "fonttbl" => Destination::FontTable,
        "stylesheet" => Destination::StyleSheet,
        "info" | "company" | "manager" | "category" => Destination::Info(InfoKey::Other),
        "title" => Destination::Info(InfoKey::Title),
        "subject" => Destination::Info(InfoKey::Subject),
        "author" => Destination::Info(InfoKey::Author),
        "keywords" => Destination::Info(InfoKey::Keywords),
        "doccomm" => Destination::Info(InfoKey::Description),
        "operator" => Destination::Info(InfoKey::LastModifiedBy),
        "creatim" => Destination::Info(InfoKey::Created),
        "revtim" => Destination::Info(InfoKey::Modified),
        "listtext" | "pntext" => Destination::Marker,
        // A text box in a shape, and the Unicode form of a text that is also in the code page.
        "shptxt" | "dptxbxtext" | "ud" => Destination::Outer,
        "shpinst" | "upr" | "do" => Destination::Ignored,
        "annotation" | "atnauthor" | "atnid" | "colortbl" | "datafield" | "fldinst" | "footer"
        | "footerf" | "footerl" | "footerr" | "ftncn" | "ftnsep" | "ftnsepc" | "header"
        | "headerf" | "headerl" | "headerr" | "aftncn" | "aftnsep" | "aftnsepc" | "listtable"
        | "nonesttables" | "nonshppict" | "objdata" | "pict" | "rxe" | "shprslt" | "sn" | "sp"
        | "sv" | "tc" | "tcn" | "txe" | "xe" => Destination::Dropped,
        _ if is_optional => Destination::Ignored,
        _ => return None,
    })
}
