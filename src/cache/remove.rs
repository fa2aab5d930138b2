//! What a target made goes: recorded outputs, and nothing else.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::manifest::{Manifest, Node};
use super::restore::{Place, RestoreError, is_plain, open_up};
use super::walk::with_path;
use crate::fault;

impl Place<'_> {
    /// Removes what the manifest names (and is still of that kind), with the directories that are empty then; how many paths.
    ///
    /// # Errors
    /// Something can't be removed.
    pub fn remove(&self, manifest: &Manifest) -> Result<usize, RestoreError> {
        self.remove_except(manifest, &Manifest::default())
    }

    pub(super) fn remove_except(
        &self,
        previous: &Manifest,
        keep: &Manifest,
    ) -> Result<usize, RestoreError> {
        let mut removed = 0;
        let opened = self.open_to_remove(previous)?;
        // Backwards: what is in a directory before the directory.
        for entry in previous.entries.iter().rev() {
            if keep.get(&entry.path).is_some()
                || !is_plain(&entry.path)
                || self.leads_out(&entry.path)
            {
                continue;
            }
            let path = self.root.join(&entry.path);
            let result = match (&entry.node, fs::symlink_metadata(&path)) {
                (_, Err(_)) => continue,
                (Node::Directory { .. }, Ok(found)) if found.is_dir() => fs::remove_dir(&path),
                (Node::File { .. } | Node::Link { .. }, Ok(found)) if !found.is_dir() => {
                    fs::remove_file(&path)
                }
                _ => continue,
            };
            match result {
                Ok(()) => {
                    removed += 1;
                    fault::point("output removed");
                }
                // Somebody else's files are in it.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                Err(error) => return Err(with_path(error, &path).into()),
            }
        }
        for (path, mode) in opened.into_iter().rev() {
            match fs::set_permissions(&path, Permissions::from_mode(mode)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(with_path(error, &path).into());
                }
                _ => {}
            }
        }
        Ok(removed)
    }

    /// Makes read-only directories among outputs writable, so that what is in them can go; which, and what they were.
    fn open_to_remove(&self, outputs: &Manifest) -> Result<Vec<(PathBuf, u32)>, RestoreError> {
        let mut opened = Vec::new();
        for entry in &outputs.entries {
            let is_closed = matches!(entry.node, Node::Directory { mode } if mode & 0o700 != 0o700);
            if !is_closed || !is_plain(&entry.path) || self.leads_out(&entry.path) {
                continue;
            }
            if let Some(mode) = self.open(&entry.path)? {
                opened.push((self.root.join(&entry.path), mode));
            }
        }
        Ok(opened)
    }

    /// Makes a read-only directory writable, if one is there; what its mode was, if it wasn't.
    ///
    /// # Errors
    /// It is somebody else's.
    pub fn open(&self, directory: &str) -> io::Result<Option<u32>> {
        let path = self.root.join(directory);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {
                open_up(&path, &found).map_err(|error| with_path(error, &path))
            }
            _ => Ok(None),
        }
    }
}
