//! The error type of code that only passes errors on.

/// An error of any type, for code that only passes it on.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
