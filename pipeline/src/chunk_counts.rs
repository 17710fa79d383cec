//! Numbers of chunks and tokens in a batch.

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::UInt32Type;

use crate::column::CHUNKS;

/// Number of tokens in the chunks of all rows; 0 without a column of chunks.
pub(crate) fn token_count(rows: &RecordBatch) -> u64 {
    let Ok(chunks) = CHUNKS.of(rows) else { return 0 };
    let fields = chunks.values().as_struct_opt();
    let tokens = fields.and_then(|fields| fields.column_by_name("tokens"));
    let Some(tokens) = tokens.and_then(|tokens| tokens.as_list_opt::<i32>()) else { return 0 };
    // A slice of a batch has the child arrays of the whole batch.
    let index = |offset: i32| usize::try_from(offset).unwrap_or(0);
    let ends = chunks.value_offsets();
    let [first, .., last] = ends else { return 0 };
    let ends = tokens.value_offsets();
    u64::try_from(ends[index(*last)] - ends[index(*first)]).unwrap_or(0)
}

/// Number of chunks of one document, and of their tokens; `chunks` is the column [`CHUNKS`].
pub fn chunk_and_token_counts(chunks: &arrow::array::ListArray, row: usize) -> (u64, u64) {
    let of_row = chunks.value(row);
    let tokens = of_row
        .as_struct_opt()
        .and_then(|fields| fields.column_by_name("tokens"))
        .and_then(|tokens| tokens.as_list_opt::<i32>())
        .map_or(0, |tokens| {
            let offsets = tokens.offsets();
            let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
            debug_assert!(tokens.values().as_primitive_opt::<UInt32Type>().is_some(), "see CHUNKS");
            u64::try_from(last - first).unwrap_or(0)
        });
    (of_row.len() as u64, tokens)
}
