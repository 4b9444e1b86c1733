//! Why the process cannot do what it was asked: one clear line, and the exit code that scripts see.

use std::fmt;

/// An error that ends the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    message: String,
    exit_code: u8,
}

impl Failure {
    /// The command line is wrong: exit code 2.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), exit_code: 2 }
    }

    /// The command line is fine, the world is not: exit code 1.
    pub fn run(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), exit_code: 1 }
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Names the file in an I/O error.
pub fn of_file(path: &std::path::Path, what: &str) -> impl FnOnce(std::io::Error) -> Failure {
    let path = path.display().to_string();
    let what = what.to_owned();
    move |error| Failure::run(format!("cannot {what} {path}: {error}"))
}
