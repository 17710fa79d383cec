//! Macros of mdoc(7), which describe the meaning of text rather than its layout.

use crate::extract::roff::escape;
use crate::extract::roff::reader::{NextLine, RoffReader};

/// Macros that produce text or enclose it: name, text before each argument, before all, after all.
const MACROS: &[(&str, &str, &str, &str)] = &[
    ("Ac", "", "⟩", ""),
    ("Ad", "", "", ""),
    ("An", "", "", ""),
    ("Ao", "", "⟨", ""),
    ("Aq", "", "⟨", "⟩"),
    ("Ar", "", "", ""),
    ("Bc", "", "]", ""),
    ("Bo", "", "[", ""),
    ("Bq", "", "[", "]"),
    ("Brq", "", "{", "}"),
    ("Cd", "", "", ""),
    ("Cm", "", "", ""),
    ("D1", "", "", ""),
    ("Dc", "", "”", ""),
    ("Dl", "", "", ""),
    ("Do", "", "“", ""),
    ("Dq", "", "“", "”"),
    ("Dv", "", "", ""),
    ("Em", "", "", ""),
    ("Er", "", "", ""),
    ("Ev", "", "", ""),
    ("Fa", "", "", ""),
    ("Fd", "", "", ""),
    ("Fl", "-", "", ""),
    ("Ft", "", "", ""),
    ("Ic", "", "", ""),
    ("In", "", "<", ">"),
    ("Li", "", "", ""),
    ("Lb", "", "library ", ""),
    ("Lk", "", "", ""),
    ("Ms", "", "", ""),
    ("Mt", "", "", ""),
    ("Nm", "", "", ""),
    ("No", "", "", ""),
    ("Oc", "", "]", ""),
    ("Oo", "", "[", ""),
    ("Op", "", "[", "]"),
    ("Pa", "", "", ""),
    ("Pc", "", ")", ""),
    ("Po", "", "(", ""),
    ("Pq", "", "(", ")"),
    ("Qc", "", "\"", ""),
    ("Ql", "", "‘", "’"),
    ("Qo", "", "\"", ""),
    ("Qq", "", "\"", "\""),
    ("Rv", "", "", ""),
    ("Sc", "", "’", ""),
    ("So", "", "‘", ""),
    ("Sq", "", "‘", "’"),
    ("St", "", "", ""),
    ("Sx", "", "", ""),
    ("Sy", "", "", ""),
    ("Tn", "", "", ""),
    ("Ux", "", "Unix", ""),
    ("Va", "", "", ""),
    ("Vt", "", "", ""),
    ("Xr", "", "", ""),
    ("Fn", "", "", ""),
    ("Fo", "", "", "("),
    ("Fc", "", ")", ""),
    ("It", "", "", ""),
    ("Nd", "", "– ", ""),
    ("Dd", "", "", ""),
    ("Dt", "", "", ""),
    ("Os", "", "", ""),
    ("Ns", "", "", ""),
    ("Pf", "", "", ""),
    ("Ta", "", "| ", ""),
];

pub(super) fn is_macro(name: &str) -> bool {
    find(name).is_some()
}

fn find(name: &str) -> Option<&'static (&'static str, &'static str, &'static str, &'static str)> {
    MACROS.iter().find(|(known, ..)| *known == name)
}

/// Parses a line that begins with a macro.
pub(super) fn line(page: &mut RoffReader, name: &str, rest: &str) {
    let arguments = escape::arguments(rest);
    match name {
        "Dd" => {
            let date = arguments.join(" ");
            page.document.add_metadata("modified", &date);
        }
        "Dt" => {
            if let [title, section, ..] = &arguments[..] {
                page.title = Some(format!("{}({section})", title.to_lowercase()));
                page.document.add_metadata("section", section);
            }
        }
        "Os" => {}
        "It" => {
            page.builder.begin_block();
            let words = render_macros(page, &arguments);
            if words.is_empty() {
                page.builder.begin_item("-");
            } else {
                page.next_line = Some(NextLine::Tag);
                page.push_words(&words, true);
            }
        }
        _ => {
            let mut words = vec![name.to_owned()];
            words.extend(arguments);
            let words = render_macros(page, &words);
            page.push_words(&words, true);
        }
    }
}

/// The displayed text of words and macros.
fn render_macros(page: &mut RoffReader, words: &[String]) -> String {
    let mut shown = String::new();
    // Closing text of the open macros.
    let mut closing: Vec<&str> = Vec::new();
    let mut prefix = "";
    let mut glue = true;
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        if let Some((name, each, before, behind)) = find(word) {
            prefix = each;
            match *name {
                "Ns" => glue = true,
                "Nm" => match words.peek() {
                    Some(next) if find(next).is_none() && !is_punctuation(next) => {
                        if page.name.is_empty() {
                            page.name = page.strings.expand(next);
                        }
                    }
                    _ => {
                        // The page controls the length of the name and the number of its uses.
                        let paid = page.strings.spend(page.name.len());
                        let name = if paid { page.name.as_str() } else { "Nm" };
                        append_words(&mut shown, name, &mut glue);
                    }
                },
                "Xr" => {
                    let title = words.next().cloned().unwrap_or_default();
                    let section = words.next_if(|next| !is_punctuation(next));
                    let section = section.map(|section| format!("({section})")).unwrap_or_default();
                    append_words(&mut shown, &format!("{title}{section}"), &mut glue);
                }
                "Fn" => {
                    let name =
                        words.next().map(|name| page.strings.expand(name)).unwrap_or_default();
                    let mut given = Vec::new();
                    while let Some(next) =
                        words.next_if(|next| !is_punctuation(next) && find(next).is_none())
                    {
                        given.push(page.strings.expand(next));
                    }
                    append_words(&mut shown, &format!("{name}({})", given.join(", ")), &mut glue);
                }
                "Ar" if words.peek().is_none_or(|next| is_punctuation(next)) => {
                    append_words(&mut shown, "file ...", &mut glue);
                }
                "Fl" if words.peek().is_none() => append_words(&mut shown, "-", &mut glue),
                _ => {
                    if !before.is_empty() {
                        append_words(&mut shown, before, &mut glue);
                        glue = true;
                    }
                    if !behind.is_empty() {
                        closing.push(behind);
                    }
                }
            }
            continue;
        }
        let text = page.strings.expand(word);
        if is_closing_punctuation(&text) {
            // A full stop at the end follows the closing text.
            if words.peek().is_none() {
                shown.extend(closing.drain(..).rev());
            }
            shown.push_str(&text);
            glue = false;
        } else {
            append_words(&mut shown, &format!("{prefix}{text}"), &mut glue);
            glue = matches!(text.as_str(), "(" | "[");
        }
    }
    shown.extend(closing.drain(..).rev());
    shown
}

fn append_words(shown: &mut String, words: &str, glue: &mut bool) {
    if !*glue && !shown.is_empty() && !shown.ends_with(' ') {
        shown.push(' ');
    }
    shown.push_str(words);
    *glue = false;
}

fn is_punctuation(word: &str) -> bool {
    is_closing_punctuation(word) || matches!(word, "(" | "[" | "|")
}

fn is_closing_punctuation(word: &str) -> bool {
    matches!(word, "." | "," | ";" | ":" | "?" | "!" | ")" | "]")
}
