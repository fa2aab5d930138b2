//! Pages and the blocks in them.

use std::fs;
use std::path::{Path, PathBuf};

pub struct Page {
    /// `README.md`, `docs/cache.md`.
    pub name: String,
    pub text: String,
}

/// A fenced block.
pub struct Block {
    /// Of its first line of text, from 0.
    pub line: usize,
    /// What stands after the fence, cut at commas.
    pub info: Vec<String>,
    pub text: String,
}

impl Block {
    pub fn language(&self) -> &str {
        self.info.first().map_or("", String::as_str)
    }

    pub fn has(&self, word: &str) -> bool {
        self.info.iter().any(|info| info == word)
    }

    /// The value of `name=value`.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// The same where it stands several times.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let values = self.info.iter().filter_map(|info| info.split_once('='));
        values.filter_map(move |(known, value)| (known == name).then_some(value))
    }
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

pub fn update() -> bool {
    std::env::var_os("UPDATE_GOLDENS").is_some()
}

/// README.md and everything in docs.
pub fn pages() -> Vec<Page> {
    let docs = fs::read_dir(root().join("docs")).expect("docs");
    let mut names: Vec<String> = docs
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| format!("docs/{}", name.to_string_lossy()))
        .filter(|name| name.ends_with(".md"))
        .collect();
    names.push("README.md".into());
    names.sort();
    names.into_iter().map(read).collect()
}

pub fn read(name: String) -> Page {
    let text = fs::read_to_string(root().join(&name)).expect("a page");
    Page { name, text }
}

impl Page {
    /// Whole at any moment: other tests read it.
    pub fn write(&self, text: &str) {
        let aside = Path::new(env!("CARGO_TARGET_TMPDIR")).join(self.name.replace('/', "-"));
        fs::write(&aside, text).expect("writing a page");
        fs::rename(aside, root().join(&self.name)).expect("writing a page");
    }

    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        for (number, line) in self.text.lines().enumerate() {
            match (&mut open, line.strip_prefix("```")) {
                (None, Some(info)) => {
                    open = Some(Block {
                        line: number + 1,
                        info: info.trim().split(',').map(str::to_owned).collect(),
                        text: String::new(),
                    });
                }
                (Some(_), Some("")) => blocks.extend(open.take()),
                (Some(block), _) => block.text += &format!("{line}\n"),
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{} has a block without an end", self.name);
        blocks
    }
}
