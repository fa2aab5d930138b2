use std::fs;
use std::io::Write;

use proptest::prelude::*;

use super::*;

fn file(dir: &Path, path: &str, text: &str) -> Entry {
    let source = dir.join(path);
    fs::create_dir_all(source.parent().unwrap()).unwrap();
    fs::write(&source, text).unwrap();
    Entry {
        path: path.into(),
        source,
        kind: Kind::File { executable: false },
    }
}

fn link(path: &str, target: &str) -> Entry {
    Entry {
        path: path.into(),
        source: PathBuf::new(),
        kind: Kind::Link {
            target: target.into(),
        },
    }
}

fn tar(context: &Context) -> Vec<u8> {
    context.tar().flat_map(|piece| piece.unwrap()).collect()
}

/// Path, type, mode, time, owner, target, text.
type Row = (String, u8, u32, u64, u64, String, String);

fn rows(bytes: &[u8]) -> Vec<Row> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().unwrap();
    entries
        .map(|entry| {
            let mut entry = entry.unwrap();
            let header = entry.header().clone();
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            let target = entry.link_name().unwrap().unwrap_or_default();
            let target = target.to_str().unwrap().to_owned();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            (
                path,
                header.entry_type().as_byte(),
                header.mode().unwrap(),
                header.mtime().unwrap(),
                header.uid().unwrap() + header.gid().unwrap(),
                target,
                text,
            )
        })
        .collect()
}

fn row(path: &str, kind: u8, mode: u32, target: &str, text: &str) -> Row {
    (path.into(), kind, mode, 0, 0, target.into(), text.into())
}

#[test]
fn everything_has_its_place_its_mode_and_no_time() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let long = format!("deep/{}/{}", "x".repeat(120), "y".repeat(120));
    let mut run = file(dir, "bin/run", "#!/bin/sh\n");
    run.kind = Kind::File { executable: true };
    let dockerfile = file(dir, "Dockerfile", "FROM scratch\n");
    let source = dockerfile.source.clone();
    let entries = vec![
        run,
        file(dir, "bin-2", ""),
        dockerfile,
        link("bin/link", "../../outside"),
        link("long", &"z".repeat(150)),
        file(dir, &long, "deep"),
        file(dir, "ä b\n", "ü"),
    ];
    let context = Context::new(entries.clone(), &source).unwrap();
    assert_eq!(context.dockerfile_name(), "Dockerfile");
    let found = rows(&tar(&context));
    let expected = [
        row("Dockerfile", b'0', 0o644, "", "FROM scratch\n"),
        row("bin", b'5', 0o755, "", ""),
        row("bin/link", b'2', 0o777, "../../outside", ""),
        row("bin/run", b'0', 0o755, "", "#!/bin/sh\n"),
        row("bin-2", b'0', 0o644, "", ""),
        row("deep", b'5', 0o755, "", ""),
        row(&long[..125], b'5', 0o755, "", ""),
        row(&long, b'0', 0o644, "", "deep"),
        row("long", b'2', 0o777, &"z".repeat(150), ""),
        row("ä b\n", b'0', 0o644, "", "ü"),
    ];
    assert_eq!(found, expected);

    // The order of the list, and who wrote the files when, say nothing.
    let again = Context::new(entries.into_iter().rev().collect(), &source).unwrap();
    let file = File::options().write(true).open(dir.join("bin-2")).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    assert_eq!(tar(&again), tar(&context));
}

#[test]
fn a_dockerfile_from_elsewhere_gets_a_name_that_is_free_and_ignored() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (dir, elsewhere) = (dir.path(), elsewhere.path());
    let source = file(elsewhere, "Dockerfile", "FROM x\n").source;

    let context = Context::new(vec![file(dir, "Dockerfile", "not this")], &source).unwrap();
    let found = rows(&tar(&context));
    let texts = found
        .iter()
        .map(|row| (row.0.as_str(), row.6.as_str()))
        .collect::<Vec<_>>();
    assert_eq!(
        texts,
        [
            ("Dockerfile", "not this"),
            (".dockerignore", ".forge.Dockerfile\n.dockerignore\n"),
            (".forge.Dockerfile", "FROM x\n"),
        ]
    );
    assert_eq!(context.entries().len(), 1);

    let entries = vec![
        file(dir, ".forge.Dockerfile", "taken"),
        file(dir, ".dockerignore", "a"),
    ];
    let context = Context::new(entries, &source).unwrap();
    assert_eq!(context.dockerfile_name(), ".forge.Dockerfile-1");
    let found = rows(&tar(&context));
    assert_eq!(found[1].6, "a\n.forge.Dockerfile-1\n");
}

#[test]
fn what_has_no_place_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for path in ["/etc/passwd", "../a", "a/../../b", "", "a\0b"] {
        let error = Context::new(vec![link(path, "x")], dir.path()).unwrap_err();
        assert!(error.message.contains("isn't below"), "{path}: {error}");
    }
    let below = Context::new(vec![link("a", "x"), link("a/b", "y")], dir.path()).unwrap_err();
    assert!(below.message.contains("`a` is no directory"), "{below}");
    let twice = Context::new(vec![link("a", "x"), link("a", "y")], dir.path()).unwrap_err();
    assert!(twice.message.contains("twice"), "{twice}");
}

/// The last piece of a context of one file of three pieces, `meddle` called after the first.
fn last(meddle: impl FnOnce(&mut File)) -> Result<Bytes, ContextError> {
    let dir = tempfile::tempdir().unwrap();
    let entry = file(dir.path(), "a", &"a".repeat(3 * PIECE));
    let mut writer = File::options().append(true).open(&entry.source).unwrap();
    let source = entry.source.clone();
    let mut pieces = Context::new(vec![entry], &source).unwrap().tar();
    pieces.next().unwrap().unwrap();
    pieces.next().unwrap().unwrap();
    meddle(&mut writer);
    pieces.last().unwrap()
}

#[test]
fn a_file_that_changes_its_size_meanwhile_is_an_error() {
    assert!(last(|_| ()).is_ok());
    let grown = last(|file| file.write_all(b"more").unwrap()).unwrap_err();
    assert_eq!(grown.message, "a changed while the build context was sent");
    let shrunk = last(|file| file.set_len(PIECE as u64 + 7).unwrap()).unwrap_err();
    assert_eq!(shrunk, grown);
}

#[test]
fn a_file_that_became_a_link_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let entry = file(dir.path(), "a", "text");
    let source = entry.source.clone();
    let context = Context::new(vec![entry], &source).unwrap();
    fs::remove_file(&source).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &source).unwrap();
    let error = context.tar().last().unwrap().unwrap_err();
    assert!(error.message.starts_with("can't read a "), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_files_come_out_as_they_went_in(
        files in proptest::collection::btree_map("[a-c]{1,2}(/[d-f]{1,3}){0,2}/g", "[x\n]{0,600}", 1..6),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let entries = files.iter().map(|(path, text)| file(dir.path(), path, text)).collect::<Vec<_>>();
        let source = entries[0].source.clone();
        let bytes = tar(&Context::new(entries, &source).unwrap());
        prop_assert_eq!(bytes.len() % BLOCK, 0);
        let found = rows(&bytes);
        let found: BTreeMap<String, String> = found.into_iter().filter(|row| row.1 == b'0').map(|row| (row.0, row.6)).collect();
        prop_assert_eq!(found, files);
    }
}
