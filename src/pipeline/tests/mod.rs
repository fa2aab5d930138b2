//! What a file means, once it is a workspace; and that no file whatever brings the reader down.

mod keys;
mod meaning;
mod properties;

use crate::pipeline::model::{Target, Workspace};
use crate::pipeline::{LoadOptions, Problems, load_texts};

fn load(files: &[(&str, &str)]) -> Workspace {
    match load_texts(files, &LoadOptions::default()) {
        Ok(loaded) => loaded.workspace,
        Err(problems) => panic!("{}", render(&problems)),
    }
}

fn codes(files: &[(&str, &str)]) -> Vec<&'static str> {
    match load_texts(files, &LoadOptions::default()) {
        Ok(_) => Vec::new(),
        Err(problems) => problems
            .0
            .iter()
            .map(|problem| problem.code_str())
            .collect(),
    }
}

fn render(problems: &Problems) -> String {
    let theme = miette::GraphicalTheme::unicode_nocolor();
    let handler = miette::GraphicalReportHandler::new_themed(theme);
    let mut text = String::new();
    for problem in &problems.0 {
        handler.render_report(&mut text, problem).unwrap();
    }
    text
}

fn target<'w>(ws: &'w Workspace, address: &str) -> &'w Target {
    let mut targets = ws.targets.iter();
    targets.find(|target| &*target.address == address).unwrap()
}
