//! Hears of changes in directories: from the kernel, or, where that has no room for more, by looking every second.
//! Knows nothing of what the files are.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crossbeam_channel::Sender;
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Config, ErrorKind, PollWatcher, RecommendedWatcher, RecursiveMode, Watcher};

/// How often is looked where the kernel doesn't tell.
const LOOK: Duration = Duration::from_secs(1);

/// What is to be heard.
#[derive(Debug)]
pub enum Happening {
    /// Absolute paths, and whether they were removed or renamed.
    Changed(Vec<PathBuf>, bool),
    /// More than the kernel could keep.
    Overrun,
    /// Somebody asks the process to end.
    Signal,
}

/// Directories that are watched, each for itself.
pub struct Eyes {
    happens: Sender<Happening>,
    /// None where nothing can be watched at all.
    watcher: Option<Box<dyn Watcher>>,
    polls: bool,
    watched: BTreeSet<PathBuf>,
    warning: Option<String>,
}

impl Eyes {
    pub fn open(happens: Sender<Happening>) -> Self {
        let mut eyes = Self {
            happens,
            watcher: None,
            polls: false,
            watched: BTreeSet::new(),
            warning: None,
        };
        match RecommendedWatcher::new(eyes.teller(), config()) {
            Ok(watcher) => eyes.watcher = Some(Box::new(watcher)),
            Err(error) => eyes.poll(&error),
        }
        eyes
    }

    /// From now on these directories are watched, and no others. Those that aren't there are left out.
    pub fn look_at(&mut self, directories: BTreeSet<PathBuf>) {
        let old = std::mem::take(&mut self.watched);
        if let Some(watcher) = &mut self.watcher {
            for gone in old.difference(&directories) {
                // Where it was removed, so was the watch.
                let _ = watcher.unwatch(gone);
            }
        }
        let new: Vec<&PathBuf> = directories.difference(&old).collect();
        if let Err(error) = self.add(&new) {
            self.poll(&error);
            let all: Vec<&PathBuf> = directories.iter().collect();
            if let Err(error) = self.add(&all) {
                self.warning = Some(format!("some files aren't watched: {error}"));
            }
        }
        self.watched = directories;
    }

    /// Directories that are gone, or somewhere else: a new one with the same name is another.
    pub fn forget(&mut self, paths: &[PathBuf]) {
        self.watched
            .retain(|watched| !paths.iter().any(|path| watched.starts_with(path)));
    }

    /// Whether it is a directory that is watched.
    pub fn watches(&self, path: &Path) -> bool {
        self.watched.contains(path)
    }

    /// Whether every change is told of as it happens.
    pub fn see_all(&self) -> bool {
        self.watcher.is_some() && !self.polls
    }

    /// Once, why changes are noticed late or not at all.
    pub fn take_warning(&mut self) -> Option<String> {
        self.warning.take()
    }

    fn add(&mut self, directories: &[&PathBuf]) -> notify::Result<()> {
        let Some(watcher) = &mut self.watcher else {
            return Ok(());
        };
        for directory in directories {
            match watcher.watch(directory, RecursiveMode::NonRecursive) {
                Err(error) if !self.polls && is_out_of_room(&error) => return Err(error),
                Err(error) if self.polls && !is_gone(&error, directory) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn poll(&mut self, why: &notify::Error) {
        self.polls = true;
        self.warning = Some(format!(
            "changes are looked for every second: the system watches no more files for you ({why}); \
             fs.inotify.max_user_watches sets how many"
        ));
        match PollWatcher::new(self.teller(), config()) {
            Ok(watcher) => self.watcher = Some(Box::new(watcher)),
            Err(error) => {
                self.watcher = None;
                self.warning = Some(format!("changes can't be noticed: {error}"));
            }
        }
    }

    fn teller(&self) -> impl FnMut(notify::Result<notify::Event>) + Send + use<> {
        let happens = self.happens.clone();
        move |event| {
            if let Some(happening) = happening(event) {
                // Nobody listens only when the process ends.
                let _ = happens.send(happening);
            }
        }
    }
}

fn config() -> Config {
    Config::default()
        .with_poll_interval(LOOK)
        .with_follow_symlinks(false)
}

fn happening(event: notify::Result<notify::Event>) -> Option<Happening> {
    let Ok(event) = event else {
        return Some(Happening::Overrun);
    };
    if event.need_rescan() {
        return Some(Happening::Overrun);
    }
    match event.kind {
        // Reading changes nothing; writing has been told already.
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => {}
        EventKind::Access(_) => return None,
        _ => {}
    }
    let gone = matches!(
        event.kind,
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
    );
    Some(Happening::Changed(event.paths, gone))
}

/// Whether the kernel has no more watches, instances or memory to give.
fn is_out_of_room(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::MaxFilesWatch => true,
        ErrorKind::Io(error) => matches!(
            error.raw_os_error(),
            Some(libc::ENOSPC | libc::EMFILE | libc::ENFILE | libc::ENOMEM)
        ),
        _ => false,
    }
}

fn is_gone(error: &notify::Error, directory: &Path) -> bool {
    let missing = match &error.kind {
        ErrorKind::PathNotFound => true,
        ErrorKind::Io(error) => error.kind() == io::ErrorKind::NotFound,
        _ => false,
    };
    missing || !directory.exists()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::{Receiver, unbounded};
    use std::fs;

    /// Writes a file until somebody says that it changed.
    fn is_seen(happening: &Receiver<Happening>, file: &Path) {
        for attempt in 0..600 {
            fs::write(file, "x".repeat(attempt)).expect("written");
            while let Ok(seen) = happening.recv_timeout(Duration::from_millis(50)) {
                if matches!(&seen, Happening::Changed(paths, _) if paths.iter().any(|path| path == file))
                {
                    return;
                }
            }
        }
        panic!("{} changed unseen", file.display());
    }

    #[test]
    fn a_directory_made_again_is_watched_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let inner = dir.path().join("inner");
        let (happens, happening) = unbounded();
        let mut eyes = Eyes::open(happens);
        let both = BTreeSet::from([dir.path().to_path_buf(), inner.clone()]);
        for _ in 0..3 {
            fs::create_dir(&inner).expect("made");
            eyes.look_at(both.clone());
            is_seen(&happening, &inner.join("file"));
            fs::remove_dir_all(&inner).expect("removed");
            loop {
                let seen = happening.recv_timeout(Duration::from_secs(30));
                if let Happening::Changed(paths, true) = seen.expect("told of the removal") {
                    eyes.forget(&paths);
                    if paths.contains(&inner) {
                        break;
                    }
                }
            }
        }
        assert!(eyes.take_warning().is_none());
    }

    #[test]
    fn without_the_kernel_it_looks_itself() {
        let dir = tempfile::tempdir().expect("a directory");
        let (happens, happening) = unbounded();
        let mut eyes = Eyes::open(happens);
        eyes.poll(&notify::Error::new(ErrorKind::MaxFilesWatch));
        eyes.look_at(BTreeSet::from([
            dir.path().to_path_buf(),
            dir.path().join("missing"),
        ]));
        let warning = eyes.take_warning().expect("a warning");
        assert!(warning.contains("every second"), "{warning}");
        is_seen(&happening, &dir.path().join("file"));
    }

    #[test]
    fn reading_is_no_change() {
        let event = |kind| Ok(notify::Event::new(kind).add_path("/a".into()));
        let open = EventKind::Access(AccessKind::Open(AccessMode::Any));
        assert!(happening(event(open)).is_none());
        let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
        assert!(happening(event(written)).is_some());
    }
}
