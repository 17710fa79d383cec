//! semantik
fn main() {}
