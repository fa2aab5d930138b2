//! What is measured: each scenario makes its workspace and names who takes part.

use std::cell::Cell;
use std::fs::{self, FileTimes};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, SystemTime};

use crate::measure::{Contender, Watcher, has};
use crate::workspace::{self, Size};

/// Stats of files younger than this aren't trusted: they are read again.
const SETTLED: Duration = Duration::from_millis(60);

pub struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    /// It is repeated for every size.
    pub sized: bool,
    /// Part of a run without names.
    pub usual: bool,
    pub prepare: fn(&Path, Size) -> Vec<Contender>,
}

pub const ALL: &[Scenario] = &[
    sized("noop", "nothing to do, all targets", noop),
    sized("one", "nothing to do, one target of many", one),
    sized(
        "touched",
        "every file has a new time and its old bytes",
        touched,
    ),
    sized("edited", "one file changed", edited),
    sized("watch", "one file changed, under forge watch", watch),
    sized("restored", "all outputs deleted", restored),
    sized("cold", "no cache, every command runs", cold),
    single(
        "version",
        "forge --version against a program that does nothing",
        true,
        version,
    ),
    single("graph", "100,000 targets and no files", true, graph),
    single(
        "large",
        "an output of 5 GB captured and restored",
        false,
        large,
    ),
];

const fn sized(
    name: &'static str,
    about: &'static str,
    prepare: fn(&Path, Size) -> Vec<Contender>,
) -> Scenario {
    Scenario {
        name,
        about,
        sized: true,
        usual: true,
        prepare,
    }
}

const fn single(
    name: &'static str,
    about: &'static str,
    usual: bool,
    prepare: fn(&Path, Size) -> Vec<Contender>,
) -> Scenario {
    Scenario {
        name,
        about,
        sized: false,
        usual,
        prepare,
    }
}

pub fn named(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}

fn noop(root: &Path, size: Size) -> Vec<Contender> {
    built(root, size);
    let mut contenders = vec![itself("floor", root, &["floor"])];
    contenders.extend(peers(root, size, || {}));
    contenders.push(forge("forge", root, &["build"], || {}));
    contenders
}

fn one(root: &Path, size: Size) -> Vec<Contender> {
    let (large, alone) = (root.join("large"), root.join("alone"));
    built(&large, size);
    built(
        &alone,
        Size {
            projects: 1,
            ..size
        },
    );
    let mut alone = forge("alone in its workspace", &alone, &["p0:build"], || {});
    alone.reference = true;
    let mut contenders = vec![alone];
    if has("ninja") {
        contenders.push(peer("ninja", &large, &["p0/ninja.txt"], || {}));
    }
    contenders.push(forge("forge", &large, &["p0:build"], || {}));
    contenders
}

fn touched(root: &Path, size: Size) -> Vec<Contender> {
    built(root, size);
    let hash = itself("digesting all", root, &["floor-hash"]);
    let files: Rc<[PathBuf]> = sources(root, size).into();
    let touch = move || {
        let now = FileTimes::new().set_modified(SystemTime::now());
        for file in &*files {
            let file = fs::File::options().append(true).open(file).expect("opens");
            file.set_times(now).expect("set");
        }
        thread::sleep(SETTLED);
    };
    vec![
        forge("its no-op", root, &["build"], || {}),
        hash,
        forge("forge", root, &["build"], touch),
    ]
}

fn edited(root: &Path, size: Size) -> Vec<Contender> {
    built(root, size);
    let file = root.join("p0/src/f0.c");
    let edit = move || {
        edit(&file);
        thread::sleep(SETTLED);
    };
    let mut contenders = vec![forge("its no-op", root, &["build"], || {})];
    contenders.extend(peers(root, size, edit.clone()));
    contenders.push(forge("forge", root, &["build"], edit));
    contenders
}

/// Beside a workspace of one project, to see what the others cost.
fn watch(root: &Path, size: Size) -> Vec<Contender> {
    let [large, same, alone] = ["large", "same", "alone"].map(|name| root.join(name));
    built(&large, size);
    built(&same, size);
    let one = Size {
        projects: 1,
        ..size
    };
    built(&alone, one);
    let watching = |name, root: &Path, reference| {
        let file = root.join("p0/src/f0.c");
        let watcher = Watcher::start(Path::new(FORGE), &["watch", "build"], root);
        Contender {
            reference,
            watcher: Some(watcher),
            ..forge(name, root, &[], move || edit(&file))
        }
    };
    let file = same.join("p0/src/f0.c");
    let mut run = forge("forge build", &same, &["build"], move || {
        edit(&file);
        thread::sleep(SETTLED);
    });
    run.reference = true;
    vec![
        watching("watch, alone in its workspace", &alone, true),
        watching("watch", &large, false),
        run,
    ]
}

fn edit(file: &Path) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    fs::write(file, format!("int now = {:?};\n", now.expect("later"))).expect("written");
}

fn restored(root: &Path, size: Size) -> Vec<Contender> {
    built(root, size);
    let copies = root.join("copies");
    fs::create_dir(&copies).expect("made");
    let to = copies.to_str().expect("UTF-8").to_owned();
    let again = copies.clone();
    let mut copy = itself("copying the bytes", root, &["floor-copy"]);
    copy.args.push(to);
    copy.prepare = Rc::new(move || {
        fs::remove_dir_all(&again).expect("removed");
        fs::create_dir(&again).expect("made");
    });
    let mut contenders = vec![copy];
    let at = root.to_path_buf();
    contenders.extend(peers(root, size, move || delete_outputs(&at, size)));
    let at = root.to_path_buf();
    contenders.push(forge("forge", root, &["build"], move || {
        delete_outputs(&at, size);
    }));
    contenders
}

/// What earlier rounds left is put away, not deleted: ext4 looks at each inode of a group that was freed in the last
/// minutes before it gives out another one, which nobody meets in a new clone.
fn cold(root: &Path, size: Size) -> Vec<Contender> {
    workspace::write(root, size);
    let (at, rounds) = (root.to_path_buf(), Rc::new(Cell::new(0)));
    let clear = move || {
        rounds.set(rounds.get() + 1);
        let away = at.join("away").join(rounds.get().to_string());
        fs::create_dir_all(&away).expect("made");
        let made = [".forge", ".ninja_log", ".ninja_deps"].map(PathBuf::from);
        for (number, path) in made.into_iter().chain(outputs(size)).enumerate() {
            let _ = fs::rename(at.join(path), away.join(number.to_string()));
        }
    };
    let mut contenders: Vec<Contender> = peers(root, size, clear.clone()).into_iter().collect();
    contenders.push(forge("forge", root, &["build"], clear));
    contenders
}

fn version(root: &Path, _: Size) -> Vec<Contender> {
    let mut nothing = itself("a bare program", root, &["floor-nothing"]);
    nothing.args.truncate(1);
    vec![nothing, forge("forge", root, &["--version"], || {})]
}

fn graph(root: &Path, _: Size) -> Vec<Contender> {
    workspace::write_graph(root, 100_000);
    vec![
        forge("forge check", root, &["check"], || {}),
        forge("forge -n all", root, &["-n", "all"], || {}),
        forge("forge all", root, &["all"], || {}),
    ]
}

fn large(root: &Path, _: Size) -> Vec<Contender> {
    let (small, large) = (root.join("small"), root.join("large"));
    workspace::write_large(&small, 1);
    workspace::write_large(&large, 5 * 1024);
    let capture = |name, directory: &Path| {
        let at = directory.to_path_buf();
        forge(name, directory, &["large"], move || {
            let _ = fs::remove_dir_all(at.join(".forge"));
            let _ = fs::remove_file(at.join("large"));
        })
    };
    let restore = |name, directory: &Path| {
        let at = directory.to_path_buf();
        forge(name, directory, &["large"], move || {
            let _ = fs::remove_file(at.join("large"));
        })
    };
    vec![
        capture("1 MB captured", &small),
        restore("1 MB restored", &small),
        capture("5 GB captured", &large),
        restore("5 GB restored", &large),
    ]
}

/// A workspace in which everybody has nothing left to do.
fn built(root: &Path, size: Size) {
    workspace::write(root, size);
    // What is too young is read again: only the second run after that has nothing to do.
    for _ in 0..2 {
        thread::sleep(SETTLED);
        succeed(Path::new(FORGE), &["build"], root);
    }
    for (peer, args) in PEERS {
        if takes_part(peer, size) {
            succeed(Path::new(peer), args, root);
        }
    }
}

/// What is measured.
pub const FORGE: &str = env!("CARGO_BIN_EXE_forge");

const PEERS: [(&str, &[&str]); 2] = [("ninja", &[]), ("make", &["-s"])];

/// What make takes grows with the square of the files.
fn takes_part(peer: &str, size: Size) -> bool {
    has(peer) && (peer != "make" || size.files * size.projects <= 10_000)
}

/// Those that are installed.
fn peers(root: &Path, size: Size, prepare: impl Fn() + Clone + 'static) -> Vec<Contender> {
    let there = PEERS.iter().filter(|(peer, _)| takes_part(peer, size));
    there
        .map(|(name, args)| peer(name, root, args, prepare.clone()))
        .collect()
}

fn peer(name: &'static str, root: &Path, args: &[&str], prepare: impl Fn() + 'static) -> Contender {
    Contender {
        name,
        reference: name == "ninja",
        prepare: Rc::new(prepare),
        program: name.into(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        directory: root.to_path_buf(),
        watcher: None,
    }
}

fn forge(
    name: &'static str,
    root: &Path,
    args: &[&str],
    prepare: impl Fn() + 'static,
) -> Contender {
    Contender {
        name,
        reference: name == "its no-op",
        prepare: Rc::new(prepare),
        program: FORGE.into(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        directory: root.to_path_buf(),
        watcher: None,
    }
}

/// One of the programs of [`crate::floor`], with the workspace as its argument.
fn itself(name: &'static str, root: &Path, args: &[&str]) -> Contender {
    let mut args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    args.push(root.to_str().expect("UTF-8").to_owned());
    Contender {
        name,
        reference: true,
        prepare: Rc::new(|| {}),
        program: std::env::current_exe().expect("known"),
        args,
        directory: root.to_path_buf(),
        watcher: None,
    }
}

fn succeed(program: &Path, args: &[&str], root: &Path) {
    let mut command = Command::new(program);
    command.args(args).current_dir(root);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status().expect("it starts");
    assert!(status.success(), "{} failed", program.display());
}

fn sources(root: &Path, size: Size) -> Vec<PathBuf> {
    let projects = 0..size.projects;
    let files = projects.flat_map(|project| (0..size.files).map(move |file| (project, file)));
    files
        .map(|(project, file)| root.join(format!("p{project}/src/f{file}.c")))
        .collect()
}

fn delete_outputs(root: &Path, size: Size) {
    for output in outputs(size) {
        let _ = fs::remove_file(root.join(output));
    }
}

/// Everybody's, relative to the workspace.
fn outputs(size: Size) -> impl Iterator<Item = PathBuf> {
    let names = |project| {
        let names = ["out.txt", "ninja.txt", "make.txt"].into_iter();
        names.map(move |name| PathBuf::from(format!("p{project}/{name}")))
    };
    (0..size.projects).flat_map(names)
}
