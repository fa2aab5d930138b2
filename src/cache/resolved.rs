//! The pipeline files as they were resolved last, kept by the digest of what they say.
//!
//! Reading back what came of them takes a third of what resolving them does. Whether it is the same is never told by times
//! or sizes: the files are read each time, and every byte of them counts, and which forge resolved them.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::digest::Digest;
use super::store::write_whole;
use crate::pipeline::model::{SourceFile, Workspace};
use crate::pipeline::{Files, LoadOptions};

/// In the cache directory.
const NAME: &str = "pipeline";

/// Where it is kept, and what it has to have been made of.
#[derive(Debug)]
pub struct Resolved {
    path: PathBuf,
    key: Digest,
}

impl Resolved {
    /// None where it can't be told what they are resolved from: something is wrong with them, or it isn't the files alone.
    pub fn of(files: &Files, options: &LoadOptions) -> Option<Self> {
        let dir = files.cache_dir().unwrap_or(".forge");
        if !options.vars.is_empty() || dir.contains("${") {
            return None;
        }
        let mut hasher = blake3::Hasher::new();
        let mut add = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        add(env!("FORGE_SOURCES").as_bytes());
        add(files.root.as_os_str().as_encoded_bytes());
        for (name, text) in files.texts()? {
            add(name.as_bytes());
            add(text.as_bytes());
        }
        Some(Self {
            path: files.root.join(dir).join(NAME),
            key: hasher.finalize().into(),
        })
    }

    /// What came of these files; none where it isn't kept, or isn't whole.
    pub fn load(&self, files: &Files) -> Option<Workspace> {
        let bytes = fs::read(&self.path).ok()?;
        let (key, rest) = bytes.split_first_chunk::<32>()?;
        if *key != self.key.0 {
            return None;
        }
        let (checksum, payload) = rest.split_first_chunk::<32>()?;
        if *checksum != Digest::of(payload).0 {
            return None;
        }
        let mut workspace: Workspace = postcard::from_bytes(payload).ok()?;
        let texts = files.texts()?.into_iter();
        let files = texts.map(|(name, text)| SourceFile {
            name,
            text: text.into(),
        });
        workspace.files = files.collect();
        Some(workspace)
    }

    /// Keeps what came of them.
    ///
    /// # Errors
    /// It can't be written.
    pub fn save(&self, workspace: &Workspace) -> io::Result<()> {
        let payload = postcard::to_stdvec(workspace).map_err(io::Error::other)?;
        let bytes = [&self.key.0[..], &Digest::of(&payload).0, &payload].concat();
        write_whole(&self.path, &bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::pipeline;

    fn read(root: &Path) -> (Files, Resolved) {
        let files = pipeline::read(&root.join("Pipeline.toml")).expect("read");
        let resolved = Resolved::of(&files, &LoadOptions::default()).expect("nothing is wrong");
        (files, resolved)
    }

    fn finish(files: Files) -> Workspace {
        let loaded = files.finish(&LoadOptions::default());
        loaded.expect("nothing is wrong").workspace
    }

    /// A workspace with a member, written out.
    fn workspace() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |path: &str, text: &str| {
            fs::create_dir_all(dir.path().join(path).parent().expect("has one")).expect("made");
            fs::write(dir.path().join(path), text).expect("written");
        };
        write(
            "Pipeline.toml",
            "[workspace]\nmembers = [\"m*\"]\n[target.t]\nrun = \"echo ${git.sha} ${env.X}\"\ntools = { sh = \"1\" }\n",
        );
        write("member/Pipeline.toml", "[target.u]\nrun = [\"a\", \"b\"]\n");
        fs::create_dir(dir.path().join(".forge")).expect("made");
        dir
    }

    #[test]
    fn what_is_kept_is_what_came_of_the_files() {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let fixtures = fs::read_dir(manifest.join("fixtures")).expect("read");
        let roots = fixtures.map(|entry| entry.expect("an entry").path());
        let roots = roots.chain([manifest.to_path_buf()]);
        let roots: Vec<PathBuf> = roots
            .filter(|root| root.join("Pipeline.toml").exists())
            .collect();
        assert_eq!(roots.len(), 3, "{roots:?}");
        let own = workspace();
        for root in roots.iter().map(PathBuf::as_path).chain([own.path()]) {
            let (files, resolved) = read(root);
            let to = tempfile::tempdir().expect("a directory");
            let resolved = Resolved {
                path: to.path().join(NAME),
                ..resolved
            };
            assert!(resolved.load(&files).is_none());
            let (again, _) = read(root);
            let workspace = finish(files);
            resolved.save(&workspace).expect("saved");
            let found = resolved.load(&again).expect("kept");
            assert_eq!(format!("{found:#?}"), format!("{workspace:#?}"));
        }
    }

    #[test]
    fn it_is_of_these_files_and_of_every_byte_of_them() {
        let dir = workspace();
        let file = |path: &str| dir.path().join(path);
        let (files, resolved) = read(dir.path());
        resolved.save(&finish(files)).expect("saved");
        let kept = || {
            let (files, resolved) = read(dir.path());
            resolved.load(&files).is_some()
        };
        assert!(kept());
        let member = fs::read_to_string(file("member/Pipeline.toml")).expect("read");
        fs::write(file("member/Pipeline.toml"), member.replace('b', "c")).expect("written");
        assert!(!kept(), "a member of the same size");
        fs::write(file("member/Pipeline.toml"), member).expect("written");
        assert!(kept());
        fs::create_dir(file("more")).expect("made");
        fs::write(file("more/Pipeline.toml"), "").expect("written");
        assert!(!kept(), "another member");
        fs::rename(file("more"), file("less")).expect("moved");
        assert!(kept());
        fs::rename(file("member"), file("mender")).expect("moved");
        assert!(!kept(), "a member elsewhere");
        fs::rename(file("mender"), file("member")).expect("moved");
        assert!(kept());
        let moved = tempfile::tempdir().expect("a directory");
        let to = moved.path().join("moved");
        fs::rename(dir.path(), &to).expect("moved");
        let (files, resolved) = read(&to);
        assert!(resolved.load(&files).is_none(), "the workspace elsewhere");
        fs::rename(&to, dir.path()).expect("moved");
        let (files, _) = read(dir.path());
        let vars = LoadOptions {
            vars: vec![("a".into(), "b".into())],
        };
        assert!(Resolved::of(&files, &vars).is_none());
    }

    #[test]
    fn damaged_it_is_not_there() {
        let dir = workspace();
        let (files, resolved) = read(dir.path());
        let (again, _) = read(dir.path());
        resolved.save(&finish(files)).expect("saved");
        let good = fs::read(&resolved.path).expect("read");
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            fs::write(&resolved.path, &bytes).expect("damaged");
            assert!(resolved.load(&again).is_none(), "{at}");
            fs::write(&resolved.path, &good[..at]).expect("cut");
            assert!(resolved.load(&again).is_none(), "{at}");
        }
    }
}
