//! Excel workbooks: XLSX, XLSB and XLS, by calamine.
//!
//! Cells are read one by one and never as the rectangle that contains them, whatever extent a
//! sheet declares. Only calamine's reader of XLS builds that rectangle, of at most 65,536 rows and
//! 256 columns. Formulas have the value that was calculated last. A sheet that is corrupt costs
//! its remaining cells.

mod archive;
mod number_format;

use std::io::Cursor;

use calamine::{
    Data, DataRef, Dimensions, ExcelDateTime, Reader, SheetType, SheetVisible, WorkbookProperties,
    Xls, XlsError, Xlsb, Xlsx, XlsxError,
};

use crate::extract::document::{Document, DocumentBuilder, collapse_whitespace};
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::ole::OLE_MAGIC;
use crate::extract::package::corrupt;
use crate::extract::sheet::{MergedCells, Sheet, WorkbookBudget};
use crate::extract::spreadsheet::archive::{check_archive, comments};
use crate::extract::spreadsheet::number_format::{NumberFormat, general};

pub(crate) const XLSX: Format = Format {
    name: "XLSX",
    media_types: &[
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.template",
        "application/vnd.ms-excel.sheet.macroenabled.12",
        "application/vnd.ms-excel.template.macroenabled.12",
    ],
    version: 1,
    is_cached: true,
    has_titles_in_headings: false,
    parse: extract_xlsx,
};

pub(crate) const XLSB: Format = Format {
    name: "XLSB",
    media_types: &["application/vnd.ms-excel.sheet.binary.macroenabled.12"],
    version: 1,
    is_cached: true,
    has_titles_in_headings: false,
    parse: extract_xlsb,
};

pub(crate) const XLS: Format = Format {
    name: "XLS",
    media_types: &["application/vnd.ms-excel"],
    version: 1,
    is_cached: true,
    has_titles_in_headings: false,
    parse: extract_xls,
};

/// Maximum number of characters of an author, a date or another property.
const MAX_PROPERTY_CHARS: usize = 500;

/// A workbook that is being written.
struct Workbook {
    builder: DocumentBuilder,
    budget: WorkbookBudget,
    hidden: Vec<String>,
    /// The error of the first corrupt sheet.
    error: Option<ExtractErrorKind>,
}

fn extract_xlsx(bytes: &[u8], most: u64) -> Result<Document, ExtractErrorKind> {
    if !bytes.starts_with(&OLE_MAGIC) {
        check_archive(bytes, most)?;
    }
    let mut xlsx = Xlsx::new(Cursor::new(bytes)).map_err(|error| {
        let is_encrypted = matches!(error, XlsxError::Password);
        if is_encrypted { ExtractErrorKind::Encrypted } else { corrupt(error) }
    })?;
    let mut workbook = Workbook::new(most);
    let mut comments = comments(bytes, most)?;
    for (name, visible) in worksheets(xlsx.sheets_metadata()) {
        let mut sheet = Sheet::default();
        let read = read_xlsx_sheet(&mut xlsx, &name, &mut sheet, &mut workbook.budget);
        if let Ok(merged) = xlsx.merge_cells_by_sheet_name(&name) {
            merged.iter().for_each(|merged| sheet.push_merged(to_merged(merged)));
        }
        comments.remove(&name).unwrap_or_default().into_iter().for_each(|it| sheet.push_note(it));
        workbook.write(sheet, &name, visible, read)?;
    }
    let properties = xlsx.workbook_properties().unwrap_or_default();
    workbook.finish(properties)
}

fn read_xlsx_sheet(
    xlsx: &mut Xlsx<Cursor<&[u8]>>,
    name: &str,
    sheet: &mut Sheet,
    budget: &mut WorkbookBudget,
) -> Result<(), ExtractErrorKind> {
    let mut cells = xlsx.worksheet_cells_reader(name).map_err(corrupt)?;
    let formats: Vec<NumberFormat> = cells
        .styles()
        .iter()
        .map(|style| {
            let code = style.number_format.as_ref().map(|format| format.format_code.as_str());
            NumberFormat::parse(code.unwrap_or_default())
        })
        .collect();
    while let Some((cell, style)) = cells.next_cell_with_style_id().map_err(corrupt)? {
        let text = match (cell.get_value(), formats.get(style)) {
            (DataRef::Float(number), Some(format)) => format.show(*number),
            (value, _) => show(value),
        };
        let (row, column) = cell.get_position();
        sheet.push(row, column, text, budget)?;
    }
    Ok(())
}

fn extract_xlsb(bytes: &[u8], most: u64) -> Result<Document, ExtractErrorKind> {
    check_archive(bytes, most)?;
    let mut xlsb = Xlsb::new(Cursor::new(bytes)).map_err(corrupt)?;
    let mut workbook = Workbook::new(most);
    for (name, visible) in worksheets(xlsb.sheets_metadata()) {
        let mut sheet = Sheet::default();
        let read = read_xlsb_sheet(&mut xlsb, &name, &mut sheet, &mut workbook.budget);
        workbook.write(sheet, &name, visible, read)?;
    }
    let properties = xlsb.workbook_properties().unwrap_or_default();
    workbook.finish(properties)
}

fn read_xlsb_sheet(
    xlsb: &mut Xlsb<Cursor<&[u8]>>,
    name: &str,
    sheet: &mut Sheet,
    budget: &mut WorkbookBudget,
) -> Result<(), ExtractErrorKind> {
    let mut cells = xlsb.worksheet_cells_reader(name).map_err(corrupt)?;
    while let Some(cell) = cells.next_cell().map_err(corrupt)? {
        let (row, column) = cell.get_position();
        sheet.push(row, column, show(cell.get_value()), budget)?;
    }
    Ok(())
}

fn extract_xls(bytes: &[u8], most: u64) -> Result<Document, ExtractErrorKind> {
    let mut xls = Xls::new(Cursor::new(bytes)).map_err(|error| {
        let is_encrypted = matches!(error, XlsError::Password);
        if is_encrypted { ExtractErrorKind::Encrypted } else { corrupt(error) }
    })?;
    let mut workbook = Workbook::new(most);
    for (name, visible) in worksheets(xls.sheets_metadata()) {
        let mut sheet = Sheet::default();
        let read = read_xls_sheet(&mut xls, &name, &mut sheet, &mut workbook.budget);
        if let Ok(merged) = xls.merge_cells_by_sheet_name(&name) {
            merged.iter().for_each(|merged| sheet.push_merged(to_merged(merged)));
        }
        workbook.write(sheet, &name, visible, read)?;
    }
    let properties = xls.workbook_properties().unwrap_or_default();
    workbook.finish(properties)
}

fn read_xls_sheet(
    xls: &mut Xls<Cursor<&[u8]>>,
    name: &str,
    sheet: &mut Sheet,
    budget: &mut WorkbookBudget,
) -> Result<(), ExtractErrorKind> {
    let range = xls.worksheet_range(name).map_err(corrupt)?;
    let (first_row, first_column) = range.start().unwrap_or_default();
    for (row, column, value) in range.used_cells() {
        let (row, column) = (u32::try_from(row), u32::try_from(column));
        let (Ok(row), Ok(column)) = (row, column) else { continue };
        sheet.push(first_row + row, first_column + column, show(&to_ref(value)), budget)?;
    }
    Ok(())
}

/// Names of the sheets with cells, and their visibility.
fn worksheets(sheets: &[calamine::Sheet]) -> Vec<(String, SheetVisible)> {
    let sheets = sheets.iter().filter(|sheet| {
        matches!(sheet.typ, SheetType::WorkSheet | SheetType::DialogSheet | SheetType::MacroSheet)
    });
    sheets.map(|sheet| (sheet.name.clone(), sheet.visible)).collect()
}

fn to_merged(merged: &Dimensions) -> MergedCells {
    let ((row, column), (end_row, end_column)) = (merged.start, merged.end);
    MergedCells { row, column, end_row, end_column }
}

fn to_ref(value: &Data) -> DataRef<'_> {
    match value {
        Data::Int(number) => DataRef::Int(*number),
        Data::Float(number) => DataRef::Float(*number),
        Data::String(text) => DataRef::SharedString(text),
        Data::Bool(value) => DataRef::Bool(*value),
        Data::DateTime(value) => DataRef::DateTime(*value),
        Data::DateTimeIso(value) => DataRef::DateTimeIso(value.clone()),
        Data::DurationIso(value) => DataRef::DurationIso(value.clone()),
        Data::Error(error) => DataRef::Error(error.clone()),
        Data::Empty => DataRef::Empty,
    }
}

/// The text of a cell whose number format is not known.
fn show(value: &DataRef<'_>) -> String {
    match value {
        DataRef::Int(number) => number.to_string(),
        DataRef::Float(number) => general(*number),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => {
            text.clone()
        }
        DataRef::SharedString(text) => (*text).to_owned(),
        DataRef::Bool(true) => "TRUE".to_owned(),
        DataRef::Bool(false) => "FALSE".to_owned(),
        DataRef::DateTime(value) => show_time(*value),
        DataRef::Error(error) => error.to_string(),
        DataRef::Empty => String::new(),
    }
}

/// ISO 8601 without parts that are zero: a date, a time of day, both, or a duration in hours.
fn show_time(value: ExcelDateTime) -> String {
    let (year, month, day, hour, minute, second, _) = value.to_ymd_hms_milli();
    let seconds = if second == 0 { String::new() } else { format!(":{second:02}") };
    let number = value.as_f64();
    if value.is_duration() {
        let minutes = (number * 24.0 * 60.0 + 1e-6).trunc();
        return format!("{}:{minute:02}{seconds}", (minutes / 60.0).trunc());
    }
    let time = format!("{hour:02}:{minute:02}{seconds}");
    if (0.0..1.0).contains(&number) {
        return time;
    }
    let date = format!("{year}-{month:02}-{day:02}");
    if time == "00:00" { date } else { format!("{date} {time}") }
}

impl Workbook {
    fn new(most: u64) -> Self {
        let (builder, budget) = (DocumentBuilder::default(), WorkbookBudget::new(most));
        Self { builder, budget, hidden: Vec::new(), error: None }
    }

    /// Writes what could be read of a sheet.
    fn write(
        &mut self,
        sheet: Sheet,
        name: &str,
        visible: SheetVisible,
        read: Result<(), ExtractErrorKind>,
    ) -> Result<(), ExtractErrorKind> {
        match read {
            Err(error @ ExtractErrorKind::LimitExceeded(_)) => return Err(error),
            Err(error) => drop(self.error.get_or_insert(error)),
            Ok(()) => {}
        }
        if visible != SheetVisible::Visible {
            self.hidden.push(collapse_whitespace(name));
        }
        sheet.write(name, &mut self.builder, &mut self.budget)
    }

    fn finish(self, properties: WorkbookProperties) -> Result<Document, ExtractErrorKind> {
        let mut document = self.builder.finish();
        if let Some(error) = self.error.filter(|_| document.text.is_empty()) {
            return Err(error);
        }
        let short = |value: Option<String>| -> Option<String> {
            Some(value?.chars().take(MAX_PROPERTY_CHARS).collect())
        };
        document.title = short(properties.title).filter(|title| !title.trim().is_empty());
        for (key, value) in [
            ("author", properties.creator),
            ("last_modified_by", properties.last_modified_by),
            ("created", properties.created),
            ("modified", properties.modified),
            ("description", properties.description),
            ("subject", properties.subject),
            ("keywords", properties.keywords),
        ] {
            document.add_metadata(key, &short(value).unwrap_or_default());
        }
        if !self.hidden.is_empty() {
            document.metadata.insert("hidden_sheets".to_owned(), self.hidden.into());
        }
        Ok(document)
    }
}
