//! Why a data folder could not be opened: one variant for each thing that somebody can do about it.

use std::{io, path::PathBuf};

/// Why [`embedded`](crate::embedded) failed. Nothing in the folder was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it: end that one, or give this one a folder of its own.
    #[error("data folder {folder} is in use by another process{holder}; give each daemon a data folder of its own")]
    Locked {
        /// The folder.
        folder: PathDisplay,
        /// ` (process 123)`, where known.
        holder: String,
    },
    /// It holds something else: give an empty folder, or one that this program made.
    #[error(
        "folder {folder} is not a Triune data folder and is not empty (found {found:?}); give an empty or a new folder"
    )]
    Foreign {
        /// The folder.
        folder: PathDisplay,
        /// A file in it.
        found: String,
    },
    /// It was written by another version: use that version.
    #[error(
        "data folder {folder} has format {found}, this program reads format {supported}; use the version that wrote it"
    )]
    Version {
        /// The folder.
        folder: PathDisplay,
        /// Its format.
        found: String,
        /// Ours.
        supported: u32,
    },
    /// It is damaged: restore it from a backup.
    #[error("data folder {folder} is damaged: {detail}; nothing in it was changed, restore it from a backup")]
    Corrupt {
        /// The folder.
        folder: PathDisplay,
        /// What is wrong.
        detail: String,
    },
    /// The operating system refused.
    #[error("cannot use data folder {folder}: {action}: {error}")]
    Io {
        /// The folder.
        folder: PathDisplay,
        /// What was tried.
        action: String,
        /// Why it failed.
        #[source]
        error: io::Error,
    },
}

/// A path in messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathDisplay(pub PathBuf);

impl std::fmt::Display for PathDisplay {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.display().fmt(formatter)
    }
}
