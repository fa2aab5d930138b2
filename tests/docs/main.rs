//! The documentation is run: every pipeline file in it loads, every command in it is given and prints what
//! the page says, the tables of keys are those of the code, and every link leads somewhere.
//! `UPDATE_GOLDENS=1` writes what is printed now into the pages.
//!
//! What the words after ``` mean, in README.md and docs/*.md:
//!
//! - `toml`: a whole root file. It loads, and begins a new, empty workspace for the commands that follow.
//! - `toml,member=DIR`: a member's file of the workspace before it.
//! - `toml,broken`: a root file that doesn't load; a workspace all the same.
//! - `console`: `$ command` and what it prints on both streams, run in the workspace before it, in order. An
//!   exit code that isn't 0 is printed as `[exit code N]`. Times, keys, commits and ports may differ, and
//!   `[..]` stands for anything in a line, `...` for any lines.
//! - `console,fixture=NAME`: the same in a fresh copy of `fixtures/NAME`.
//! - `aws=CLUSTER/SERVICE` beside `toml` or `fixture`: the workspace has a simulated AWS where that service runs.
//! - `unique=NAME` beside `toml`: where the page says NAME, a name is meant that nobody else on the machine uses.
//! - `remote=HOST` beside `toml`: a server that keeps what is PUT to it answers where the page says HOST.
//! - `crash=FAMILY:REVISION` beside `console`: tasks of that revision crash.
//!
//! An `--approve=ID` approves the plan that was printed last. What ECS does by itself may be told at other moments.

#[path = "../support/aws/mod.rs"]
mod aws;
mod commands;
mod console;
mod keys;
mod links;
mod page;
mod permissions;
#[path = "../support/shelf.rs"]
mod shelf;
mod toml_blocks;
mod workspace;

/// One after the other: both write into the pages when they are asked to.
#[test]
fn pages_say_what_the_code_says() {
    keys::tables_of_keys_are_those_of_the_code();
    console::every_command_prints_what_the_page_says();
}
