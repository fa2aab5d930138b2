//! How an optimized forge is linked, and what tells one forge from another.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|it| it == value);
    // At a fixed address nothing has to be relocated when it starts: a forge that can lie anywhere has 60,000 pointers
    // to mend before its first line, which takes a quarter of what it takes to say that there is nothing to do.
    if is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && is("PROFILE", "release")
    {
        println!("cargo:rustc-link-arg-bin=forge=-no-pie");
    }
    println!("cargo:rustc-env=FORGE_SOURCES={:016x}", sources()?);
    Ok(())
}

/// Of everything that forge is made of: what one forge has written in its own way no other one reads.
fn sources() -> io::Result<u64> {
    let mut files = vec![PathBuf::from("Cargo.lock")];
    add(Path::new("src"), &mut files)?;
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        hasher.write(file.as_os_str().as_encoded_bytes());
        hasher.write(&fs::read(&file)?);
    }
    for path in ["Cargo.lock", "src"] {
        println!("cargo:rerun-if-changed={path}");
    }
    Ok(hasher.finish())
}

fn add(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        match path.is_dir() {
            true => add(&path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}
