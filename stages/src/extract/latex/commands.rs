//! Commands by their treatment.

/// Sectioning commands, from the highest level.
pub(super) const SECTIONS: [&str; 7] =
    ["part", "chapter", "section", "subsection", "subsubsection", "paragraph", "subparagraph"];

/// Environments whose text is kept as it is.
pub(super) const VERBATIM: [&str; 5] =
    ["verbatim", "verbatim*", "lstlisting", "minted", "Verbatim"];

/// Environments with formulas, which are kept as they are. Most have a variant with a star.
pub(super) const FORMULAS: [&str; 10] = [
    "align",
    "alignat",
    "displaymath",
    "eqnarray",
    "equation",
    "flalign",
    "gather",
    "math",
    "multline",
    "subequations",
];

/// Environments that are left out.
pub(super) const IGNORED_ENVIRONMENTS: [&str; 3] = ["comment", "filecontents", "tikzpicture"];

/// Environments whose begin has an argument that is not text.
pub(super) const WITH_ARGUMENT: [&str; 8] = [
    "array",
    "longtable",
    "minipage",
    "multicols",
    "tabular",
    "tabularx",
    "thebibliography",
    "wrapfigure",
];

/// Environments of tables, in which `&` separates cells.
pub(super) const TABLES: [&str; 6] =
    ["array", "longtable", "tabular", "tabular*", "tabularx", "tabulary"];

/// Commands that are removed with this number of arguments, because these are not text.
pub(super) const REMOVED: &[(&str, usize)] = &[
    ("DeclareMathOperator", 2),
    ("addcontentsline", 3),
    ("addtocounter", 2),
    ("addtolength", 2),
    ("author", 1),
    ("bibliography", 1),
    ("bibliographystyle", 1),
    ("cline", 1),
    ("color", 1),
    ("date", 1),
    ("def", 2),
    ("definecolor", 3),
    ("documentclass", 1),
    ("fontsize", 2),
    ("graphicspath", 1),
    ("hspace", 1),
    ("hypersetup", 1),
    ("include", 1),
    ("includegraphics", 1),
    ("index", 1),
    ("input", 1),
    ("label", 1),
    ("lstset", 1),
    ("let", 2),
    ("newcommand", 2),
    ("newcounter", 1),
    ("newenvironment", 3),
    ("newlength", 1),
    ("newtheorem", 2),
    ("pagenumbering", 1),
    ("pagestyle", 1),
    ("phantom", 1),
    ("providecommand", 2),
    ("renewcommand", 2),
    ("renewenvironment", 3),
    ("selectlanguage", 1),
    ("setcounter", 2),
    ("setlength", 2),
    ("thanks", 1),
    ("thispagestyle", 1),
    ("title", 1),
    ("usepackage", 1),
    ("vspace", 1),
];

/// Commands whose argument is a key, which is written in brackets.
pub(super) const KEYS: [&str; 20] = [
    "Cite",
    "Cref",
    "autocite",
    "autoref",
    "cite",
    "citeauthor",
    "citep",
    "citet",
    "citeyear",
    "cref",
    "eqref",
    "footcite",
    "nameref",
    "nocite",
    "pageref",
    "parencite",
    "ref",
    "textcite",
    "vref",
    "fullcite",
];

/// Environments in which commands are read, but lines are kept.
pub(super) const PREFORMATTED: [&str; 2] = ["Highlighting", "alltt"];

/// Commands whose first argument is not text, but the second one is.
pub(super) const STYLED: [&str; 7] =
    ["colorbox", "href", "hyperlink", "hypertarget", "parbox", "raisebox", "textcolor"];
