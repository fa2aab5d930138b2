//! Programs that do what can't be avoided and nothing else: what they take is the floor.
//!
//! Two threads share the projects; directories are opened once, files are stat-ed relative to them.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::thread;

/// Lists the directories of inputs and stats every file in them.
pub fn list(root: &Path) {
    let found = on_two_threads(root, |project| {
        let source = project.join("src").into_os_string().into_encoded_bytes();
        stats(&CString::new(source).expect("a path"))
    });
    assert!(found > 0, "nothing is there");
}

/// How many files of a directory aren't empty.
fn stats(directory: &CString) -> u64 {
    let mut found = 0;
    // SAFETY: the stream is open and used by this thread alone; names live until the next entry is read.
    unsafe {
        let stream = libc::opendir(directory.as_ptr());
        assert!(!stream.is_null(), "opens");
        let at = libc::dirfd(stream);
        while let Some(entry) = libc::readdir(stream).as_ref() {
            if entry.d_type == libc::DT_DIR {
                continue;
            }
            let mut stat: libc::stat = std::mem::zeroed();
            let flags = libc::AT_SYMLINK_NOFOLLOW;
            let answer = libc::fstatat(at, entry.d_name.as_ptr(), &mut stat, flags);
            found += u64::from(answer == 0 && stat.st_size > 0);
        }
        libc::closedir(stream);
    }
    found
}

/// Reads and digests every file.
pub fn hash(root: &Path) {
    let sum = on_two_threads(root, |project| {
        let mut sum = 0;
        let mut text = Vec::new();
        for entry in fs::read_dir(project.join("src")).expect("lists") {
            text.clear();
            let path = entry.expect("an entry").path();
            let mut file = File::open(path).expect("opens");
            file.read_to_end(&mut text).expect("reads");
            sum += u64::from(blake3::hash(&text).as_bytes()[0]);
        }
        sum
    });
    assert!(sum > 0, "nothing is there");
}

/// Copies every project's `out.txt`, or a file, from a directory to another.
pub fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        fs::copy(from, to).expect("copies");
        return;
    }
    on_two_threads(from, |project| {
        let name = project.file_name().expect("has one");
        fs::copy(project.join("out.txt"), to.join(name)).expect("copies")
    });
}

fn on_two_threads(root: &Path, work: impl Fn(&Path) -> u64 + Sync) -> u64 {
    let projects: Vec<_> = (0..)
        .map(|number| root.join(format!("p{number}")))
        .take_while(|project| project.exists())
        .collect();
    let half = |from: usize| -> u64 {
        let mine = projects.iter().skip(from).step_by(2);
        mine.map(|project| work(project)).sum()
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| half(1));
        half(0) + other.join().expect("counts")
    })
}
