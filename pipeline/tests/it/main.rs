//! Tests of the framework through its public surface, with nodes that live in memory.

mod check;
mod flow;
mod support;
