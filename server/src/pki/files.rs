//! Files that hold secrets: private from the moment they exist, replaced whole or not at all.

use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use crate::failure::{Failure, of_file};

/// Makes a folder that its owner alone can enter.
pub fn make_private_folder(folder: &Path) -> Result<(), Failure> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(of_file(folder, "make the folder"))?;
    let private = fs::Permissions::from_mode(0o700);
    fs::set_permissions(folder, private).map_err(of_file(folder, "set the permissions of"))
}

/// Writes a file that its owner alone can read, by way of a temporary one beside it.
pub fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    let temporary = path.with_extension("new");
    // A leftover of a start that was killed would keep its permissions.
    let _ = fs::remove_file(&temporary);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(of_file(&temporary, "write"))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(of_file(&temporary, "write"))?;
    fs::rename(&temporary, path).map_err(of_file(path, "write"))
}

/// Reads a file; None if there is none.
pub fn read_if_there(path: &Path) -> Result<Option<String>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(of_file(path, "read")(error)),
    }
}
