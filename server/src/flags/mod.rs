//! kube-apiserver's flags: what each takes and what becomes of it.
//!
//! In reading order:
//!
//! - [`table`]: every flag, its type, default and disposition
//! - [`value`]: how values are read, by type
//! - [`command_line`]: the flags as clap arguments, and the values that were given
//! - [`markdown`]: the table as a page of the documentation
//!
//! Invariants: no flag is ignored in silence; a flag whose absence would weaken security stops the start.

pub mod command_line;
pub mod markdown;
pub mod table;
pub mod value;

pub use command_line::Given;

/// What kind of value a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`; the flag alone means true.
    Bool,
    /// No value.
    Switch,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// Such as `1m30s`.
    Duration,
    /// Any text.
    Text,
    /// Texts, separated by commas or in several flags.
    Texts,
    /// One text a flag, in several flags.
    TextArray,
    /// An IP address.
    Ip,
    /// `key=value` pairs, separated by commas.
    Map,
    /// `Feature=true|false` pairs, separated by commas.
    Features,
    /// Such as `30000-32767`.
    PortRange,
    /// Such as `64Ki`.
    Quantity,
    /// `CERT,KEY[:NAME,...]`.
    NamedCertificate,
}

/// What becomes of a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// It works; the text says what it does.
    Implemented(&'static str),
    /// It is accepted and one line is logged: "has no effect because ...".
    NoEffect(&'static str),
    /// The start is refused, because ... An empty value is as good as none.
    Refused(&'static str),
}

/// A flag.
#[derive(Debug)]
pub struct Flag {
    /// Without dashes.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// As the reference prints it; "" is the type's zero value.
    pub default: &'static str,
    /// What becomes of it.
    pub disposition: Disposition,
}

/// Flags under one heading.
#[derive(Debug)]
pub struct Group {
    /// The heading.
    pub name: &'static str,
    /// Its flags.
    pub flags: &'static [Flag],
}

const fn flag(name: &'static str, kind: Kind, default: &'static str, disposition: Disposition) -> Flag {
    Flag { name, kind, default, disposition }
}
