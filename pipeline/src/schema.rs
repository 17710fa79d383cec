//! Derives and checks the schema of an edge, and changes rows accordingly.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

use crate::column::Column;

/// The reason why a node cannot read the output of its inputs.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum SchemaError {
    /// A required column is missing.
    #[error("needs the column `{name}`, but its input has only: {present}")]
    Missing {
        /// The required column.
        name: String,
        /// The columns of the input.
        present: String,
    },
    /// A required column has another type.
    #[error("needs the column `{name}` as {wanted}, but its input has {found}")]
    Type {
        /// The column.
        name: String,
        /// The required type.
        wanted: DataType,
        /// The type in the input.
        found: DataType,
    },
    /// An added column already exists.
    #[error("adds the column `{name}`, which its input already has")]
    Duplicate {
        /// The column.
        name: String,
    },
    /// Inputs of a node have different columns.
    #[error("has inputs with different columns: `{left}` and `{right}` ({difference})")]
    Union {
        /// The first input.
        left: String,
        /// The input that differs from it.
        right: String,
        /// The columns that differ.
        difference: String,
    },
}

impl SchemaError {
    pub(crate) fn missing(wanted: &Field, schema: &Schema) -> Self {
        if let Ok(found) = schema.field_with_name(wanted.name()) {
            return Self::Type {
                name: wanted.name().clone(),
                wanted: wanted.data_type().clone(),
                found: found.data_type().clone(),
            };
        }
        let present: Vec<&str> =
            schema.fields().iter().map(|field| field.name().as_str()).collect();
        Self::Missing { name: wanted.name().clone(), present: present.join(", ") }
    }
}

/// Changes and checks of a schema by a node.
///
/// ```
/// use arrow::datatypes::Schema;
/// use pipeline::column::{BYTES, CONTENT_HASH};
/// use pipeline::{SchemaError, SchemaExt as _};
///
/// let input = Schema::new(vec![BYTES.field()]);
/// input.require(BYTES.field())?;
/// let output = input.with_column(CONTENT_HASH.field())?;
/// assert_eq!(output.fields().len(), 2);
/// let duplicate = SchemaError::Duplicate { name: "content_hash".to_owned() };
/// assert_eq!(output.with_column(CONTENT_HASH.field()), Err(duplicate));
/// assert_eq!(output.without_column(BYTES.name()).fields().len(), 1);
/// # Ok::<_, SchemaError>(())
/// ```
pub trait SchemaExt: Sized {
    /// Checks that a column exists with this type.
    ///
    /// # Errors
    /// If it is missing or has another type.
    fn require(&self, wanted: Field) -> Result<(), SchemaError>;

    /// The schema with a column added at the end.
    ///
    /// # Errors
    /// If a column of this name already exists.
    fn with_column(&self, field: Field) -> Result<SchemaRef, SchemaError>;

    /// The schema without the named column; unchanged if it is missing.
    fn without_column(&self, name: &str) -> SchemaRef;
}

impl SchemaExt for Schema {
    fn require(&self, wanted: Field) -> Result<(), SchemaError> {
        match self.field_with_name(wanted.name()) {
            Ok(found) if found.data_type() == wanted.data_type() => Ok(()),
            Ok(_) | Err(_) => Err(SchemaError::missing(&wanted, self)),
        }
    }

    fn with_column(&self, field: Field) -> Result<SchemaRef, SchemaError> {
        if self.field_with_name(field.name()).is_ok() {
            return Err(SchemaError::Duplicate { name: field.name().clone() });
        }
        let mut fields: Vec<_> = self.fields().iter().cloned().collect();
        fields.push(Arc::new(field));
        Ok(Arc::new(Self::new(fields)))
    }

    fn without_column(&self, name: &str) -> SchemaRef {
        let fields: Vec<_> =
            self.fields().iter().filter(|field| field.name() != name).cloned().collect();
        Arc::new(Self::new(fields))
    }
}

/// Changes of the rows of a batch by a stage.
///
/// ```
/// use std::sync::Arc;
///
/// use arrow::array::StringArray;
/// use pipeline::RowsExt as _;
/// use pipeline::column::TITLE;
/// # use pipeline::test_util::document_rows;
///
/// # let rows = document_rows(&[("a.txt", "text/plain", b"a"), ("b.txt", "text/plain", b"b")]);
/// // Two documents.
/// let titled = rows.with_column(&*TITLE, Arc::new(StringArray::from(vec!["A", "B"])))?;
/// let second = titled.filter_rows(vec![false, true])?;
/// assert_eq!((second.num_rows(), TITLE.of(&second)?.value(0)), (1, "B"));
/// assert_eq!(second.without_column(TITLE.name()).schema(), rows.schema());
/// # Ok::<_, pipeline::BoxError>(())
/// ```
pub trait RowsExt: Sized {
    /// The rows with a column added at the end.
    ///
    /// # Errors
    /// If the array does not have the column's type or the batch's length.
    fn with_column<A>(&self, column: &Column<A>, array: ArrayRef) -> Result<Self, ArrowError>;

    /// The rows without the named column; unchanged if it is missing.
    #[must_use]
    fn without_column(self, name: &str) -> Self;

    /// The rows for which `keep` is `true`.
    ///
    /// # Errors
    /// If `keep` does not have the batch's length.
    fn filter_rows(&self, keep: Vec<bool>) -> Result<Self, ArrowError>;
}

impl RowsExt for RecordBatch {
    fn with_column<A>(&self, column: &Column<A>, array: ArrayRef) -> Result<Self, ArrowError> {
        let mut fields: Vec<_> = self.schema_ref().fields().iter().cloned().collect();
        fields.push(Arc::new(column.field()));
        let mut columns = self.columns().to_vec();
        columns.push(array);
        Self::try_new(Arc::new(Schema::new(fields)), columns)
    }

    fn without_column(mut self, name: &str) -> Self {
        if let Ok(index) = self.schema_ref().index_of(name) {
            self.remove_column(index);
        }
        self
    }

    fn filter_rows(&self, keep: Vec<bool>) -> Result<Self, ArrowError> {
        if keep.iter().all(|keep| *keep) && keep.len() == self.num_rows() {
            return Ok(self.clone());
        }
        filter_record_batch(self, &BooleanArray::from(keep))
    }
}
