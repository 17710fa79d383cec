//! Passes that reorder the candidates of a search, as functions of slices.

mod adjacent;
mod diversity;
mod freshness;
mod proximity;
mod siblings;
