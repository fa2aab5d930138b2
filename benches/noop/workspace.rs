//! Workspaces to measure in: projects with files, described for forge, ninja and make alike.

use std::fmt;
use std::fs;
use std::path::Path;

/// How large a workspace is.
#[derive(Clone, Copy)]
pub struct Size {
    pub projects: usize,
    /// In each project.
    pub files: usize,
}

impl Size {
    pub const SMALL: Size = Size {
        projects: 100,
        files: 20,
    };
    pub const MIDDLE: Size = Size {
        projects: 200,
        files: 50,
    };
    pub const LARGE: Size = Size {
        projects: 1000,
        files: 100,
    };

    /// `100x20`
    pub fn parse(text: &str) -> Option<Self> {
        let (projects, files) = text.split_once('x')?;
        Some(Size {
            projects: projects.parse().ok()?,
            files: files.parse().ok()?,
        })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let files = self.projects * self.files;
        write!(f, "{} projects, {files} files", self.projects)
    }
}

const ROOT: &str = r#"[pipeline]
name = "bench"

[workspace]
members = ["p*"]

[template.t.target.build]
inputs = ["src/**/*.c"]
outputs = ["out.txt"]
run = "cat src/*.c > out.txt"
"#;

/// Projects with one target each, which puts its files together. Each peer writes to a file of its own.
pub fn write(root: &Path, size: Size) {
    put(root, "Pipeline.toml", ROOT);
    let mut ninja = String::from("rule cat\n  command = cat $in > $out\n");
    let (mut all, mut rules) = (String::from("all:"), String::new());
    for project in 0..size.projects {
        put(
            root,
            &format!("p{project}/Pipeline.toml"),
            &format!("[project]\nname = \"p{project}\"\ntemplate = \"t\"\n"),
        );
        let mut inputs = String::new();
        for file in 0..size.files {
            let path = format!("p{project}/src/f{file}.c");
            put(root, &path, &format!("int f{project}_{file};\n"));
            inputs += &format!(" {path}");
        }
        ninja += &format!("build p{project}/ninja.txt: cat{inputs}\n");
        all += &format!(" p{project}/make.txt");
        rules += &format!("p{project}/make.txt:{inputs}\n\tcat $^ > $@\n");
    }
    put(root, "build.ninja", &ninja);
    put(root, "Makefile", &format!("{all}\n{rules}"));
}

/// One target with one large output; what it is made of lies beside it.
pub fn write_large(root: &Path, megabytes: u64) {
    put(
        root,
        "Pipeline.toml",
        &format!(
            "[pipeline]\nname = \"bench\"\n[target.large]\ninputs = []\noutputs = [\"large\"]\n\
             run = \"head -c {megabytes}M /dev/urandom > large\"\n"
        ),
    );
}

/// A graph and nothing else: targets in rows of a hundred, each needing a few of the row before.
pub fn write_graph(root: &Path, targets: usize) {
    const ROW: usize = 100;
    let mut text = String::from("[pipeline]\nname = \"bench\"\n[target.all]\nneeds = [");
    for last in targets.saturating_sub(ROW)..targets {
        text += &format!("\"t{last}\", ");
    }
    text += "]\n";
    for target in 0..targets {
        text += &format!("[target.t{target}]\nneeds = [");
        if target >= ROW {
            let above = target - ROW;
            for other in [above, above / ROW * ROW + (above * 7 + 1) % ROW] {
                text += &format!("\"t{other}\", ");
            }
        }
        text += "]\n";
    }
    put(root, "Pipeline.toml", &text);
}

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).expect("made");
    }
    fs::write(path, text).expect("written");
}
