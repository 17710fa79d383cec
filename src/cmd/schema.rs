//! `semantik schema` and `semantik completions`: the JSON Schema of pipeline files, and shell
//! completions.

use clap::CommandFactory as _;
use pipeline::BoxError;

use crate::{cli, composition, render};

pub(super) fn schema() -> Result<(), BoxError> {
    let schema = pipeline::file_schema(&composition::registry());
    render::print(&format!("{}\n", serde_json::to_string_pretty(&schema)?))
}

pub(super) fn completions(shell: clap_complete::Shell) -> Result<(), BoxError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli::Cli::command(), "semantik", &mut script);
    render::print(&String::from_utf8(script)?)
}
