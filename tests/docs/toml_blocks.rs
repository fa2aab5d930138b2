//! Every pipeline file in the pages loads, except where the page says that it doesn't.

use forge::pipeline::{LoadOptions, code, load_texts};

use crate::page::{Block, Page, pages};

#[test]
fn every_pipeline_file_loads() {
    let mut wrong = Vec::new();
    for page in pages() {
        let blocks = page.blocks();
        for (at, block) in blocks.iter().enumerate() {
            if block.language() == "toml" && block.value("member").is_none() {
                wrong.extend(load(&page, block, &members(&blocks[at + 1..])));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The members' files up to the next root file.
fn members(after: &[Block]) -> Vec<(&str, &str)> {
    let toml = after.iter().filter(|block| block.language() == "toml");
    toml.map_while(|block| Some((block.value("member")?, block.text.as_str())))
        .collect()
}

fn load(page: &Page, block: &Block, members: &[(&str, &str)]) -> Option<String> {
    let mut files = vec![("", block.text.as_str())];
    files.extend(members);
    let place = format!("{}:{}", page.name, block.line + 1);
    match (
        load_texts(&files, &LoadOptions::default()),
        block.has("broken"),
    ) {
        (Ok(loaded), false) => {
            // A page may show how such a target is called.
            let mut warnings = loaded.warnings.iter();
            let other = warnings.find(|warning| warning.code_str() != code::COMMAND_NAME);
            other.map(|warning| format!("{place}: {warning}"))
        }
        (Err(_), true) => None,
        (Ok(_), true) => Some(format!("{place} loads, though it is said to be broken")),
        (Err(problems), false) => {
            let said: Vec<String> = problems.0.iter().map(ToString::to_string).collect();
            Some(format!("{place} doesn't load: {}", said.join("; ")))
        }
    }
}
