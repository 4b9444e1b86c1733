//! The scratch copy of the sources: `target/mutants/tree`, with `target/mutants/target` to compile in.
//!
//! Keeps: it holds just what git tracks, as it is in the working tree; files that are equal are not written again, so that
//! what was compiled before stays compiled; after each mutant it is as it was.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use super::patch::Patch;

pub(super) struct Tree {
    folder: PathBuf,
}

impl Tree {
    /// Copies what is tracked under `root`.
    pub(super) fn copy(root: &Path) -> Result<Tree, String> {
        let root = root.canonicalize().map_err(|error| format!("cannot find {}: {error}", root.display()))?;
        let tree = Tree { folder: root.join("target/mutants") };
        let tracked = tracked(&root)?;
        for name in &tracked {
            copy_if_different(&root.join(name), &tree.sources().join(name))?;
        }
        remove_others(&tree.sources(), Path::new(""), &tracked)?;
        Ok(tree)
    }

    /// Where everything is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the sources are.
    pub(super) fn sources(&self) -> PathBuf {
        self.folder.join("tree")
    }

    /// Where they are compiled.
    pub(super) fn target(&self) -> PathBuf {
        self.folder.join("target")
    }

    /// Whether the patch applies.
    pub(super) fn check(&self, patch: &Patch) -> Result<(), String> {
        self.apply(patch, &["--check"])
    }

    /// Runs `body` with the patch applied.
    pub(super) fn with<T>(&self, patch: &Patch, body: impl FnOnce(&Tree) -> Result<T, String>) -> Result<T, String> {
        self.check(patch)?;
        self.apply(patch, &[])?;
        let outcome = body(self);
        self.apply(patch, &["--reverse"])?;
        outcome
    }

    fn apply(&self, patch: &Patch, how: &[&str]) -> Result<(), String> {
        let file = patch.file.canonicalize().map_err(|error| format!("cannot find the patch: {error}"))?;
        let output = Command::new("git")
            .arg("apply")
            .args(how)
            .arg(file)
            .current_dir(self.sources())
            // Inside a repository, git silently skips what is not below the working folder.
            .env("GIT_CEILING_DIRECTORIES", &self.folder)
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .output()
            .map_err(|error| format!("cannot start git: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        Err(format!("the patch does not apply; make it anew for the sources as they are:\n{}", text.trim_end()))
    }
}

/// The folder with `sim/mutants`, from here upwards.
pub(super) fn find_root() -> Result<PathBuf, String> {
    let here = std::env::current_dir().map_err(|error| format!("cannot tell where this is: {error}"))?;
    let root = here.ancestors().find(|folder| folder.join("sim/mutants").is_dir());
    root.map(Path::to_owned).ok_or_else(|| {
        format!(
            "no folder from {} upwards holds sim/mutants: start it inside the repository, or give --root",
            here.display()
        )
    })
}

fn tracked(root: &Path) -> Result<BTreeSet<PathBuf>, String> {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output();
    let output = output.map_err(|error| format!("cannot start git: {error}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!("git cannot list the files of {}: {}", root.display(), text.trim_end()));
    }
    let text =
        String::from_utf8(output.stdout).map_err(|_| "a tracked file has a name that is not UTF-8".to_owned())?;
    let names = text.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from);
    // A file that was removed is tracked until that is committed.
    Ok(names.filter(|name| root.join(name).is_file()).collect())
}

fn copy_if_different(from: &Path, to: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot copy {} to {}: {error}", from.display(), to.display());
    let bytes = std::fs::read(from).map_err(failed)?;
    if std::fs::read(to).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    // With its permissions, and a new time: cargo compiles what is newer.
    std::fs::copy(from, to).map(|_| ()).map_err(failed)
}

fn remove_others(sources: &Path, below: &Path, keep: &BTreeSet<PathBuf>) -> Result<(), String> {
    let folder = sources.join(below);
    let failed = |error: std::io::Error| format!("cannot clear {}: {error}", folder.display());
    for entry in std::fs::read_dir(&folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = below.join(entry.file_name());
        if entry.file_type().map_err(failed)?.is_dir() {
            remove_others(sources, &name, keep)?;
        } else if !keep.contains(&name) {
            std::fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}
