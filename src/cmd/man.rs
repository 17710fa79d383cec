//! `semantik man`: writes the manual pages, one per command.

use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use pipeline::BoxError;

use crate::cli::Cli;
use crate::cmd::{EXIT_CODES, reference};

pub(super) fn man(dir: &Path) -> Result<(), BoxError> {
    fs_err::create_dir_all(dir)?;
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    write_pages(&root, dir)
}

/// Writes the page of a command, and those of its subcommands.
fn write_pages(command: &Command, dir: &Path) -> Result<(), BoxError> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_pages(below, dir)?;
    }
    let page = Man::new(command.clone())
        .source(concat!("semantik ", env!("CARGO_PKG_VERSION")))
        .manual("semantik manual");
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    if command.has_subcommands() {
        page.render_subcommands_section(&mut text)?;
    }
    examples_and_exit_codes(command).to_writer(&mut text)?;
    fs_err::write(dir.join(page.get_filename()), text)?;
    Ok(())
}

fn examples_and_exit_codes(command: &Command) -> Roff {
    let mut roff = Roff::default();
    if let Some(examples) = reference::examples(command) {
        roff.control("SH", ["EXAMPLES"]);
        roff.control("nf", []);
        for line in examples.lines() {
            roff.text([roman(line)]);
        }
        roff.control("fi", []);
    }
    roff.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in EXIT_CODES {
        roff.control("TP", []);
        roff.text([bold(code)]);
        roff.text([roman(meaning)]);
    }
    roff
}
