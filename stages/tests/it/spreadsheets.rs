//! Spreadsheets and tables in files that LibreOffice, openpyxl, xlwt, odfpy and pyxlsbwriter made
//! (`tests/data/tables/make.py`), and damaged copies of them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use arrow::array::{Array as _, AsArray as _};
use pipeline::column::{MIME_TYPE, OUTLINE, TABLES, TEXT, TITLE};
use pipeline::test_util::reasons;
use pipeline::{DocumentError, Outcome, RejectReason, SplitMix64};
use serde_json::json;

use crate::extract::with_worker;
use crate::support::{files, mutated, run, stage};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tables")
}

/// Names, media types as a scan detects them, and contents of the test files.
fn test_files() -> Vec<(String, &'static str, Vec<u8>)> {
    let names = fs_err::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| !name.ends_with(".py"));
    names.sort();
    let file = |name: String| {
        let bytes = fs_err::read(folder().join(&name)).unwrap();
        let mime_type = sources::mime::detect(Path::new(&name), &bytes);
        (name, mime_type, bytes)
    };
    names.into_iter().map(file).collect()
}

fn extract(documents: &[(String, &'static str, Vec<u8>)]) -> Outcome {
    let rows: Vec<_> =
        documents.iter().map(|(name, kind, bytes)| (name.as_str(), *kind, &bytes[..])).collect();
    run(&*stage("extract", json!({})), &with_worker(), files(&rows))
}

/// The text of one test file.
fn text(name: &str) -> String {
    let mut documents = test_files();
    documents.retain(|(file, ..)| file == name);
    let outcome = extract(&documents);
    assert_eq!(reasons(&outcome.rejected), []);
    TEXT.of(&outcome.rows).unwrap().value(0).to_owned()
}

/// The first sheets, without the end of the long one.
fn beginning(name: &str) -> String {
    let text = text(name);
    let end = text.find("| 3 | ").unwrap_or(text.len());
    format!("{}…", &text[..end])
}

#[test]
fn a_workbook_of_openpyxl_is_read() {
    insta::assert_snapshot!(beginning("openpyxl.xlsx"), @r#"
    Survey & more

    Counted in spring

    | Tree | Kind | Height min | Height max | Planted | Share | Price |
    |-|-|-|-|-|-|-|
    | Oak | deciduous | 20 | 40 | 2024-05-01 | 12.5% | € 1234.50 |
    | Fir | evergreen | 30 | 55 | 2023-12-31 | 50.0% | € 99.00 |
    | Yew \| taxus | evergreen | 10 | 20 | 2022-02-03 | 100.0% | € 7.25 |
    | tallest | TRUE |
    | marten | seen below |

    Comment at B5: a heron nests here

    Far away

    near

    far

    Hidden

    newt

    Long

    | Number | Tree | Age |
    |-|-|-|
    | 1 | elm 1 | 7 |
    | 2 | fir 2 | 14 |
    …
    "#);
}

#[test]
fn a_workbook_of_libreoffice_is_read_in_each_format() {
    insta::assert_snapshot!(beginning("libreoffice.xlsx"), @r#"
    Survey & more

    Counted in spring

    | Tree | Kind | Height min | Height max | Planted | Share | Price |
    |-|-|-|-|-|-|-|
    | Oak | deciduous | 20 | 40 | 2024-05-01 | 12.5% | € 1234.50 |
    | Fir | evergreen | 30 | 55 | 2023-12-31 | 50.0% | € 99.00 |
    | Yew \| taxus | evergreen | 10 | 20 | 2022-02-03 | 100.0% | € 7.25 |
    | tallest | TRUE | | 55 |
    | marten | seen below |

    Comment at B5: a heron nests here

    Far away

    near

    far

    Hidden

    newt

    Long

    | Number | Tree | Age |
    |-|-|-|
    | 1 | elm 1 | 7 |
    | 2 | fir 2 | 14 |
    …
    "#);
    insta::assert_snapshot!(beginning("libreoffice.xls"), @r#"
    Survey & more

    Counted in spring

    | Tree | Kind | Height min | Height max | Planted | Share | Price |
    |-|-|-|-|-|-|-|
    | Oak | deciduous | 20 | 40 | 2024-05-01 | 0.125 | 1234.5 |
    | Fir | evergreen | 30 | 55 | 2023-12-31 | 0.5 | 99 |
    | Yew \| taxus | evergreen | 10 | 20 | 2022-02-03 | 1 | 7.25 |
    | tallest | TRUE | | 55 |
    | marten | seen below |

    Far away

    near

    Hidden

    newt

    Long

    | Number | Tree | Age |
    |-|-|-|
    | 1 | elm 1 | 7 |
    | 2 | fir 2 | 14 |
    …
    "#);
    insta::assert_snapshot!(beginning("libreoffice.ods"), @r#"
    Survey & more

    Counted in spring

    | Tree | Kind | Height min | Height max | Planted | Share | Price |
    |-|-|-|-|-|-|-|
    | Oak | deciduous | 20 | 40 | 2024-05-01 | 12.5% | € 1234.50 |
    | Fir | evergreen | 30 | 55 | 2023-12-31 | 50.0% | € 99.00 |
    | Yew \| taxus | evergreen | 10 | 20 | 2022-02-03 | 100.0% | € 7.25 |
    | tallest | TRUE | | 55 |
    | marten | seen below |

    Comment at B5: a heron nests here

    Far away

    near

    far

    Hidden

    newt

    Long

    | Number | Tree | Age |
    |-|-|-|
    | 1 | elm 1 | 7 |
    | 2 | fir 2 | 14 |
    …
    "#);
}

#[test]
fn files_of_other_programs_are_read() {
    insta::assert_snapshot!(text("xlwt.xls"), @r#"
    Trees

    | Tree | Kind | Planted | Price |
    |-|-|-|-|
    | Oak | deciduous | 2024-05-01 | 1234.5 |
    | Fir | evergreen | 2023-12-31 | 99 |
    | Yew \| taxus | evergreen | 2022-02-03 | 7.25 |
    "#);
    insta::assert_snapshot!(text("pyxlsbwriter.xlsb"), @r#"
    Trees

    | Tree | Planted | Price |
    |-|-|-|
    | Oak | 2024-05-01 | 1234.5 |
    | Fir | 2023-12-31 | 99 |
    | Yew \| taxus | 2022-02-03 | 7.25 |
    "#);
    insta::assert_snapshot!(text("odfpy.ods"), @r#"
    Trees

    | Tree | Kind |
    |-|-|
    | Oak | deciduous |
    | Fir | evergreen |
    | Yew \| taxus | evergreen |
    "#);
    insta::assert_snapshot!(text("libreoffice.docx"), @r#"
    Trees

    Counted in spring.

    | Tree | Height min | Height max |
    |-|-|-|
    | Oak | 20 | 40 |
    | Fir | 30 | marten |

    After it.
    "#);
}

#[test]
fn sheets_are_headings_and_tables_have_places() {
    let documents = test_files();
    let outcome = extract(&documents);
    let refused: Vec<&RejectReason> = outcome.rejected.iter().map(|it| &it.reason).collect();
    assert_eq!(refused, [&RejectReason::from(DocumentError::Encrypted); 2]);
    let rows = &outcome.rows;
    for row in 0..rows.num_rows() {
        let text = TEXT.of(rows).unwrap().value(row);
        let tables = TABLES.of(rows).unwrap().value(row);
        let offsets = |name: &str| {
            let column = tables.as_struct().column_by_name(name).unwrap();
            let column = column.as_primitive::<arrow::datatypes::UInt64Type>();
            column.values().iter().map(|at| usize::try_from(*at).unwrap()).collect::<Vec<_>>()
        };
        let (starts, bodies, ends) = (offsets("start"), offsets("body_start"), offsets("end"));
        assert!(!starts.is_empty(), "{text}");
        for table in 0..starts.len() {
            let (header, body) =
                (&text[starts[table]..bodies[table]], &text[bodies[table]..ends[table]]);
            assert!(header.ends_with("-|\n") && body.starts_with("| "), "{header:?} {body:?}");
            assert!(body.lines().all(|line| line.starts_with("| ") && line.ends_with(" |")));
        }
        let outline = OUTLINE.of(rows).unwrap().value(row);
        assert!(!outline.as_struct().column_by_name("title").unwrap().is_empty());
        let mime_type = MIME_TYPE.of(rows).unwrap().value(row);
        let title = TITLE.of(rows).unwrap().value(row);
        assert!(!matches!(title, "Sheet1" | "Survey & more"), "{mime_type} {title}");
    }
}

#[test]
fn a_far_cell_costs_nothing() {
    let mut documents = test_files();
    documents.retain(|(name, ..)| name == "openpyxl.xlsx");
    let options = json!({ "max_memory": "64MiB", "max_seconds": 5 });
    let rows: Vec<_> =
        documents.iter().map(|(name, kind, bytes)| (name.as_str(), *kind, &bytes[..])).collect();
    let outcome = run(&*stage("extract", options), &with_worker(), files(&rows));
    assert_eq!(reasons(&outcome.rejected), []);
    assert!(TEXT.of(&outcome.rows).unwrap().value(0).contains("Far away\n\nnear\n\nfar"));
}

#[test]
fn damaged_files_are_read_or_set_aside() {
    let mut random = SplitMix64::new(7);
    let sound = test_files();
    let mut documents = Vec::new();
    for round in 0..40 {
        for (name, mime_type, bytes) in &sound {
            documents.push((format!("{round}-{name}"), *mime_type, mutated(bytes, &mut random)));
        }
    }
    let start = Instant::now();
    let outcome = extract(&documents);
    assert!(start.elapsed() < Duration::from_secs(120), "{:?}", start.elapsed());
    assert_eq!(outcome.rows.num_rows() + outcome.rejected.len(), documents.len());
    for (name, reason) in reasons(&outcome.rejected) {
        assert!(!reason.contains("signal") && !reason.contains("crashed"), "{name} {reason}");
    }
}
