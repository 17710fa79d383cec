//! Writes vectors as Parquet or JSON Lines.
//!
//! Until an output file is complete, it has `.part` after its name.

use std::io::{BufWriter, Write, stdout};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, FixedSizeListArray, Float32Array, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use fs_err::File;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use pipeline::BoxError;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{RowData, TextBatch};

/// The destination of the vectors.
pub(super) struct VectorOutput {
    form: OutputFormat,
    dim: usize,
    /// The final path of the file; `None` for standard output.
    file: Option<PathBuf>,
}

enum OutputFormat {
    /// The writer is created with the first columns, which give the schema.
    Parquet(Option<Box<ArrowWriter<std::fs::File>>>),
    Lines(Box<dyn Write>),
}

impl VectorOutput {
    /// Opens an output for vectors of length `dim`; the extension of the file determines the
    /// format.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub(super) fn open(file: Option<&Path>, dim: usize) -> Result<Self, BoxError> {
        let form = match file {
            None => OutputFormat::Lines(Box::new(BufWriter::new(stdout()))),
            Some(file) if file.extension().is_some_and(|ending| ending == "parquet") => {
                // Fails early if the location is not writable, before anything is computed.
                File::create(temporary_path(file))?;
                OutputFormat::Parquet(None)
            }
            Some(file) => {
                OutputFormat::Lines(Box::new(BufWriter::new(File::create(temporary_path(file))?)))
            }
        };
        Ok(Self { form, dim, file: file.map(Path::to_owned) })
    }

    /// Writes a piece with its vectors.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub(super) fn write(&mut self, piece: TextBatch, vectors: Vec<f32>) -> Result<(), BoxError> {
        match &mut self.form {
            OutputFormat::Lines(to) => lines(to, &piece, vectors.chunks_exact(self.dim)),
            OutputFormat::Parquet(writer) => {
                let rows = columns(piece, vectors, self.dim)?;
                let path = self.file.as_deref().ok_or("Parquet output needs a file")?;
                let writer = match writer {
                    Some(writer) => writer,
                    none => none.insert(Box::new(parquet(path, rows.schema())?)),
                };
                writer.write(&rows).map_err(|error| write_error(path, &error))
            }
        }
    }

    /// Removes the incomplete file.
    pub(super) fn discard(self) {
        if let Some(file) = &self.file {
            // Errors are ignored: the remaining file does not have the requested name.
            fs_err::remove_file(temporary_path(file)).ok();
        }
    }

    /// Completes the output and renames the file.
    ///
    /// # Errors
    /// If the rest cannot be written.
    pub(super) fn close(self) -> Result<(), BoxError> {
        match (self.form, &self.file) {
            (OutputFormat::Lines(mut to), _) => to.flush()?,
            (OutputFormat::Parquet(Some(writer)), Some(file)) => {
                drop(writer.close().map_err(|error| write_error(file, &error))?);
            }
            (OutputFormat::Parquet(None), Some(file)) => {
                let none = TextBatch { texts: Vec::new(), rows: RowData::Lines };
                let rows = columns(none, Vec::new(), self.dim)?;
                parquet(file, rows.schema())?.close()?;
            }
            (OutputFormat::Parquet(_), None) => {}
        }
        if let Some(file) = self.file {
            fs_err::rename(temporary_path(&file), file)?;
        }
        Ok(())
    }
}

fn write_error(file: &Path, error: &ParquetError) -> BoxError {
    let said = pipeline::strip_os_error_code(&error.to_string());
    format!("cannot write `{}`: {said}", file.display()).into()
}

fn temporary_path(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn parquet(file: &Path, schema: SchemaRef) -> Result<ArrowWriter<std::fs::File>, BoxError> {
    let compression = Compression::ZSTD(ZstdLevel::default());
    let properties = WriterProperties::builder().set_compression(compression).build();
    let file = File::create(temporary_path(file))?.into_file();
    Ok(ArrowWriter::try_new(file, schema, Some(properties))?)
}

fn lines<'a>(
    to: &mut impl Write,
    piece: &TextBatch,
    vectors: impl Iterator<Item = &'a [f32]>,
) -> Result<(), BoxError> {
    #[derive(Serialize)]
    struct Line<'a> {
        #[serde(flatten)]
        fields: &'a Map<String, Value>,
        text: &'a str,
        vector: &'a [f32],
    }
    let none = Map::new();
    for (row, (text, vector)) in piece.texts.iter().zip(vectors).enumerate() {
        let fields = match &piece.rows {
            RowData::Objects(objects) => &objects[row],
            // The other columns of a Parquet file have types that JSON lacks.
            RowData::Lines | RowData::Columns(_) => &none,
        };
        // Serialised to a string first, so that errors of the stream keep their type.
        let line = serde_json::to_string(&Line { fields, text, vector })?;
        writeln!(to, "{line}")?;
    }
    Ok(())
}

/// The rows as columns, followed by `vector`. For JSON objects, `fields` has the other fields as
/// JSON.
fn columns(piece: TextBatch, vectors: Vec<f32>, dim: usize) -> Result<RecordBatch, BoxError> {
    let item = Arc::new(Field::new_list_field(DataType::Float32, false));
    let numbers = Arc::new(Float32Array::from(vectors));
    let vectors = FixedSizeListArray::try_new(item, i32::try_from(dim)?, numbers, None)?;
    let vector = Field::new("vector", vectors.data_type().clone(), false);
    let text = || Arc::new(Field::new("text", DataType::Utf8, false));
    let (mut fields, mut columns): (Vec<Arc<Field>>, Vec<ArrayRef>) = match piece.rows {
        RowData::Columns(batch) => (batch.schema().fields().to_vec(), batch.columns().to_vec()),
        RowData::Lines => (vec![text()], vec![Arc::new(StringArray::from(piece.texts))]),
        RowData::Objects(objects) => {
            let others = Arc::new(Field::new("fields", DataType::Utf8, false));
            let objects = objects.into_iter().map(|object| Some(Value::Object(object).to_string()));
            let objects = StringArray::from_iter(objects);
            let texts = StringArray::from(piece.texts);
            (vec![text(), others], vec![Arc::new(texts), Arc::new(objects)])
        }
    };
    fields.push(Arc::new(vector));
    columns.push(Arc::new(vectors));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}
