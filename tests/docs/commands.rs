//! Each command has a section in docs/commands.md, and each option a row.

use clap::CommandFactory;
use forge::cli::args::Cli;

use crate::page::read;

const PAGE: &str = "docs/commands.md";

#[test]
fn every_command_has_a_section() {
    let text = read(PAGE.into()).text;
    let headings: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .collect();
    let cli = Cli::command();
    let shown = cli
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    let missing: Vec<&str> = shown
        .map(clap::Command::get_name)
        .filter(|name| !headings.contains(name))
        .collect();
    assert!(missing.is_empty(), "{PAGE} has no section for {missing:?}");
}

#[test]
fn every_option_is_told() {
    let text = read(PAGE.into()).text;
    let cli = Cli::command();
    let own = cli.get_arguments().map(names);
    let below = cli.get_subcommands().flat_map(|command| {
        let options = command.get_arguments().filter(|arg| !arg.is_positional());
        options.map(names).collect::<Vec<_>>()
    });
    let missing: Vec<Vec<String>> = own
        .chain(below)
        .filter(|names| !names.is_empty() && !names.iter().any(|name| text.contains(name)))
        .collect();
    assert!(missing.is_empty(), "{PAGE} has no word of {missing:?}");
}

/// `-k` and `--keep-going`, as a page writes them.
fn names(arg: &clap::Arg) -> Vec<String> {
    let long = arg.get_long().map(|long| format!("`--{long}"));
    let short = arg.get_short().map(|short| format!("`-{short}"));
    long.into_iter().chain(short).collect()
}
