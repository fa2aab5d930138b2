//! The pipeline files as they were resolved last, kept by the digest of what they say.
//!
//! Reading back what came of them takes a third of what resolving them does. Whether it is the same is told by every byte of
//! them, by where they lie, and by which forge resolved them. Members are many and small, and seldom change: where
//! their stats are those with which they were read before, by the rule that inputs have too ([`Stat::is_settled`]), they
//! aren't read again.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::stat::Stat;
use super::store::write_whole;
use crate::parallel;
use crate::pipeline::model::{SourceFile, Workspace};
use crate::pipeline::{Files, LoadOptions};

/// In the cache directory.
const NAME: &str = "pipeline";
/// So many files are worth a thread to look at them.
const SHARE: usize = 96;

/// Where it is kept, and what it has to have been made of.
#[derive(Debug)]
pub struct Resolved {
    path: PathBuf,
    /// Of the root's file, and of names and stats of the members'.
    looks: Digest,
    stats: Vec<Stat>,
    /// Of all that they say; none as long as nobody has asked.
    says: Option<Digest>,
    /// Whether `looks` has come to stand for `says`.
    is_settled: bool,
}

/// What is kept of it.
#[derive(Serialize, Deserialize)]
struct Kept<W> {
    workspace: W,
    /// Names and texts, in their order.
    files: Vec<(String, String)>,
}

/// What can be told of how the file begins.
const DIGESTS: usize = 3 * 32;

impl Resolved {
    /// None where it can't be told what they are resolved from: something is wrong with them, or it isn't the files alone.
    pub fn of(files: &Files, options: &LoadOptions) -> Option<Self> {
        let dir = files.cache_dir().unwrap_or(".forge");
        if !options.vars.is_empty() || dir.contains("${") {
            return None;
        }
        let root = files.root_file()?;
        let names = files.member_names();
        let stats = parallel::map(&names, SHARE, |name| {
            match fs::metadata(files.root.join(name)) {
                Ok(found) => Some(Some(Stat::from(&found))),
                Err(error) if is_absent(&error) => Some(None),
                Err(_) => None,
            }
        });
        let stats: Vec<Option<Stat>> = stats.into_iter().collect::<Option<_>>()?;
        let mut hasher = Framed::of(files);
        hasher.add(root.name.as_bytes());
        hasher.add(root.text.as_bytes());
        for (name, stat) in names.iter().zip(&stats) {
            if let Some(stat) = stat {
                hasher.add(name.as_bytes());
                hasher.add(&stat.packed());
            }
        }
        Some(Self {
            path: files.root.join(dir).join(NAME),
            looks: hasher.end(),
            stats: stats.into_iter().flatten().collect(),
            says: None,
            is_settled: false,
        })
    }

    /// What came of these files; none where it isn't kept, or isn't whole.
    pub fn load(&mut self, files: &mut Files) -> Option<Workspace> {
        let (bytes, written) = self.read().unwrap_or_default();
        let (digests, payload) = bytes.split_at_checked(DIGESTS).unwrap_or_default();
        let mut digests = digests.chunks_exact(32);
        let (looks, says, checksum) = (digests.next(), digests.next(), digests.next());
        if looks == Some(&self.looks.0) {
            self.is_settled = true;
        } else {
            let key = said(files)?;
            self.says = Some(key);
            if says != Some(&key.0) {
                return None;
            }
            // Read after it was written: what hadn't changed for long by then has its stat to itself.
            self.is_settled = self.stats.iter().all(|stat| stat.is_settled(written));
        }
        let is_whole = checksum == Some(&Digest::of(payload).0);
        let kept = is_whole.then(|| postcard::from_bytes::<Kept<Workspace>>(payload).ok());
        let Some(mut kept) = kept.flatten() else {
            (self.says, self.is_settled) = (said(files), false);
            return None;
        };
        let texts = kept.files.into_iter();
        kept.workspace.files = texts
            .map(|(name, text)| SourceFile {
                name,
                text: text.into(),
            })
            .collect();
        Some(kept.workspace)
    }

    /// Whether there is something to keep after a [`Resolved::load`]: that the files needn't be read next time.
    pub fn is_news(&self) -> bool {
        self.says.is_some() && self.is_settled
    }

    /// The file, and when it was written.
    fn read(&self) -> io::Result<(Vec<u8>, i64)> {
        let mut file = File::open(&self.path)?;
        let stat = Stat::from(&file.metadata()?);
        let mut bytes = Vec::with_capacity(usize::try_from(stat.size).unwrap_or(0));
        file.read_to_end(&mut bytes)?;
        Ok((bytes, stat.mtime))
    }

    /// Keeps what came of them.
    ///
    /// # Errors
    /// It can't be written.
    pub fn save(&self, workspace: &Workspace) -> io::Result<()> {
        let Some(says) = self.says else {
            return Ok(());
        };
        let files = workspace.files.iter();
        let kept = Kept {
            workspace,
            files: files
                .map(|file| (file.name.clone(), file.text.to_string()))
                .collect(),
        };
        let payload = postcard::to_stdvec(&kept).map_err(io::Error::other)?;
        let looks = if self.is_settled {
            self.looks.0
        } else {
            [0; 32]
        };
        let bytes = [&looks[..], &says.0, &Digest::of(&payload).0, &payload].concat();
        write_whole(&self.path, &bytes)
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// A digest of all that the files say, read now.
fn said(files: &mut Files) -> Option<Digest> {
    let mut hasher = Framed::of(files);
    for (name, text) in files.texts()? {
        hasher.add(name.as_bytes());
        hasher.add(text.as_bytes());
    }
    Some(hasher.end())
}

/// A digest of parts, so that no two rows of them have the same.
struct Framed(blake3::Hasher);

impl Framed {
    /// Which forge resolves them, and where they lie.
    fn of(files: &Files) -> Self {
        let mut framed = Self(blake3::Hasher::new());
        framed.add(env!("FORGE_SOURCES").as_bytes());
        framed.add(files.root.as_os_str().as_encoded_bytes());
        framed
    }

    fn add(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn end(&self) -> Digest {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::pipeline;

    fn read(root: &Path) -> (Files, Resolved) {
        let files = pipeline::read(&root.join("Pipeline.toml")).expect("read");
        let resolved = Resolved::of(&files, &LoadOptions::default()).expect("nothing is wrong");
        (files, resolved)
    }

    /// What is kept, and what is said of it.
    fn load(root: &Path) -> (Option<Workspace>, Resolved, Files) {
        let (mut files, mut resolved) = read(root);
        (resolved.load(&mut files), resolved, files)
    }

    fn finish(files: Files) -> Workspace {
        let loaded = files.finish(&LoadOptions::default());
        loaded.expect("nothing is wrong").workspace
    }

    /// Keeps what came of the files of a workspace where nothing is kept.
    fn keep(root: &Path) -> Workspace {
        let (found, resolved, files) = load(root);
        assert!(found.is_none());
        let workspace = finish(files);
        resolved.save(&workspace).expect("saved");
        workspace
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
            let to = tempfile::tempdir().expect("a directory");
            let in_other_place = || {
                let (files, resolved) = read(root);
                let path = to.path().join(NAME);
                (files, Resolved { path, ..resolved })
            };
            let (mut files, mut resolved) = in_other_place();
            assert!(resolved.load(&mut files).is_none());
            let workspace = finish(files);
            resolved.save(&workspace).expect("saved");
            let (mut files, mut resolved) = in_other_place();
            let found = resolved.load(&mut files).expect("kept");
            assert_eq!(format!("{found:#?}"), format!("{workspace:#?}"));
        }
    }

    #[test]
    fn it_is_of_these_files_and_of_every_byte_of_them() {
        let dir = workspace();
        let file = |path: &str| dir.path().join(path);
        keep(dir.path());
        let kept = || load(dir.path()).0.is_some();
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
        assert!(load(&to).0.is_none(), "the workspace elsewhere");
        fs::rename(&to, dir.path()).expect("moved");
        let (files, _) = read(dir.path());
        let vars = LoadOptions {
            vars: vec![("a".into(), "b".into())],
        };
        assert!(Resolved::of(&files, &vars).is_none());
    }

    #[test]
    fn members_that_have_not_changed_for_long_are_not_read_again() {
        let dir = workspace();
        let member = dir.path().join("member/Pipeline.toml");
        let kept = dir.path().join(".forge").join(NAME);
        keep(dir.path());
        let (found, resolved, _) = load(dir.path());
        assert!(
            found.is_some() && !resolved.is_news(),
            "they changed a moment ago"
        );
        // As if it had been kept a while after the member was written.
        let later = fs::metadata(&member)
            .expect("there")
            .modified()
            .expect("has a time")
            + Duration::from_secs(9);
        let times = fs::FileTimes::new().set_modified(later);
        File::options()
            .write(true)
            .open(&kept)
            .expect("opens")
            .set_times(times)
            .expect("set");
        let (found, resolved, files) = load(dir.path());
        assert!(resolved.is_news() && files.are_read());
        resolved.save(&found.expect("kept")).expect("saved");
        let (found, resolved, files) = load(dir.path());
        let found = found.expect("kept");
        assert!(!resolved.is_news() && !files.are_read());
        assert_eq!(
            found.files[1].text.as_ref(),
            fs::read_to_string(&member).expect("read")
        );
        // Of the same size, with its time put back.
        let time = fs::metadata(&member)
            .expect("there")
            .modified()
            .expect("has a time");
        let text = fs::read_to_string(&member).expect("read");
        fs::write(&member, text.replace('b', "c")).expect("written");
        let file = File::options().write(true).open(&member).expect("opens");
        file.set_times(fs::FileTimes::new().set_modified(time))
            .expect("set");
        assert!(load(dir.path()).0.is_none());
    }

    #[test]
    fn damaged_it_is_not_there() {
        let dir = workspace();
        keep(dir.path());
        let path = dir.path().join(".forge").join(NAME);
        let good = fs::read(&path).expect("read");
        // Its first digest says how the files looked, which is nothing yet.
        for at in 32..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            fs::write(&path, &bytes).expect("damaged");
            assert!(load(dir.path()).0.is_none(), "{at}");
            fs::write(&path, &good[..at]).expect("cut");
            let (found, resolved, files) = load(dir.path());
            assert!(found.is_none(), "{at}");
            resolved.save(&finish(files)).expect("saved");
            assert!(load(dir.path()).0.is_some(), "{at}");
        }
    }
}
