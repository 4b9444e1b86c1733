//! The flags as clap arguments, and the values that were given.

use std::{collections::BTreeMap, ffi::OsString};

use clap::{Arg, ArgAction, ArgMatches};

use super::{
    Disposition::{Implemented, NoEffect, Refused},
    Flag, Kind,
    table::{self, GROUPS},
    value,
};
use crate::failure::Failure;

/// The flags that were given, with their values in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    values: BTreeMap<&'static str, Vec<String>>,
}

/// How the flags are shown in a command's help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// All of them, under their headings.
    All,
    /// None: they are understood all the same.
    None,
}

/// Every flag but `except`, as clap takes them.
pub fn arguments(show: Show, except: &[&str]) -> Vec<Arg> {
    let mut arguments = Vec::new();
    for group in GROUPS {
        for flag in group.flags.iter().filter(|flag| !except.contains(&flag.name)) {
            arguments.push(argument(flag).help_heading(group.name).hide(show == Show::None));
        }
    }
    arguments
}

fn argument(flag: &'static Flag) -> Arg {
    let help = match flag.disposition {
        Implemented(what) if flag.default.is_empty() => what.to_owned(),
        Implemented(what) => format!("{what} (default {})", flag.default),
        NoEffect(because) => format!("No effect: {because}"),
        Refused(because) => format!("Refused: {because}"),
    };
    let argument = Arg::new(flag.name).long(flag.name).help(help).value_name(value_name(flag.kind));
    match flag.kind {
        Kind::Switch => argument.action(ArgAction::SetTrue),
        // As pflag has it: `--x` is true, and a value must be joined with `=`.
        Kind::Bool => {
            argument.action(ArgAction::Append).num_args(0..=1).require_equals(true).default_missing_value("true")
        }
        _ => argument.action(ArgAction::Append).num_args(1).allow_hyphen_values(true),
    }
}

fn value_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool | Kind::Switch => "BOOL",
        Kind::Int => "INT",
        Kind::Float => "NUMBER",
        Kind::Duration => "DURATION",
        Kind::Text => "TEXT",
        Kind::Texts | Kind::TextArray => "TEXT,...",
        Kind::Ip => "IP",
        Kind::Map => "KEY=VALUE,...",
        Kind::Features => "FEATURE=BOOL,...",
        Kind::PortRange => "PORT-PORT",
        Kind::Quantity => "QUANTITY",
        Kind::NamedCertificate => "CERT,KEY[:NAME,...]",
    }
}

/// Flag names may be written with underscores, as kube-apiserver allows (`--secure_port`).
pub fn with_dashes(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let normalise = |argument: OsString| match argument.to_str() {
        Some(text) if text.starts_with("--") => {
            let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
            let name = name.replace('_', "-");
            value.map_or_else(|| name.clone(), |value| format!("{name}={value}")).into()
        }
        _ => argument,
    };
    arguments.into_iter().map(normalise).collect()
}

impl Given {
    /// The values given, each checked by its type.
    pub fn read(matches: &ArgMatches) -> Result<Given, Failure> {
        let mut given = Given::default();
        for flag in GROUPS.iter().flat_map(|group| group.flags).filter(|flag| flag.kind != Kind::Switch) {
            let Ok(Some(values)) = matches.try_get_many::<String>(flag.name) else { continue };
            let values: Vec<String> = values.cloned().collect();
            for text in &values {
                value::check(flag.kind, text).map_err(|expected| {
                    Failure::usage(format!("invalid value {text:?} for --{}: {expected}", flag.name))
                })?;
            }
            given.values.insert(flag.name, values);
        }
        Ok(given)
    }

    /// Refuses what must not be ignored, and says of the rest what has no effect: one sentence a flag.
    pub fn without_effect(&self) -> Result<Vec<String>, Failure> {
        let mut sentences = Vec::new();
        for (name, values) in &self.values {
            match table::find(name).map(|flag| flag.disposition) {
                Some(Refused(because)) if values.iter().any(|value| !value.is_empty()) => {
                    return Err(Failure::usage(format!("--{name} cannot be honoured: {because}")));
                }
                Some(NoEffect(because)) => sentences.push(format!("--{name} has no effect because {because}")),
                _ => {}
            }
        }
        Ok(sentences)
    }

    /// The last value of a flag, if it was given and is not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        debug_assert!(table::find(name).is_some(), "no flag {name}");
        self.values.get(name)?.last().map(String::as_str).filter(|text| !text.is_empty())
    }

    /// All values of a flag, lists taken apart.
    pub fn texts(&self, name: &str) -> Vec<String> {
        self.each(name).iter().flat_map(|text| value::texts(text)).collect()
    }

    /// The values of a flag as given.
    pub fn each(&self, name: &str) -> &[String] {
        debug_assert!(table::find(name).is_some(), "no flag {name}");
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether a flag was given as true; None if it was not given.
    pub fn boolean(&self, name: &str) -> Option<bool> {
        value::boolean(self.text(name)?).ok()
    }

    /// The value of a numeric flag within `range`.
    pub fn integer<T: TryFrom<i64>>(&self, name: &str, accepted: &str) -> Result<Option<T>, Failure> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let parsed = value::integer(text).ok().and_then(|number| T::try_from(number).ok());
        match parsed {
            Some(number) => Ok(Some(number)),
            None => Err(Failure::usage(format!("invalid value {text:?} for --{name}: expected {accepted}"))),
        }
    }

    /// The value of a duration flag.
    pub fn duration(&self, name: &str) -> Option<std::time::Duration> {
        value::duration(self.text(name)?).ok()
    }

    /// The value of an address flag.
    pub fn ip(&self, name: &str) -> Option<std::net::IpAddr> {
        value::ip(self.text(name)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;

    fn given(arguments: &[&str]) -> Result<Given, String> {
        let command = Command::new("kube-apiserver").args(super::arguments(Show::All, &[]));
        let line = with_dashes(std::iter::once("kube-apiserver").chain(arguments.iter().copied()).map(OsString::from));
        let matches = command.try_get_matches_from(line).map_err(|error| error.to_string())?;
        Given::read(&matches).map_err(|failure| failure.to_string())
    }

    #[test]
    fn flags_are_read_as_pflag_reads_them() {
        let found =
            given(&["--secure_port", "7000", "--anonymous-auth=false", "--profiling", "--authorization-mode=A,B"]);
        let found = found.expect("accepted");
        assert_eq!(found.text("secure-port"), Some("7000"));
        assert_eq!(found.boolean("anonymous-auth"), Some(false));
        assert_eq!(found.boolean("profiling"), Some(true));
        assert_eq!(found.texts("authorization-mode"), ["A", "B"]);
        assert_eq!(found.text("bind-address"), None);
    }

    #[test]
    fn bad_values_say_what_is_accepted() {
        let check = |arguments: &[&str], part: &str| {
            let error = given(arguments).expect_err("refused");
            assert!(error.contains(part), "{error:?} lacks {part:?}");
        };
        check(&["--request-timeout=soon"], "expected a duration");
        check(&["--bind-address=here"], "expected an IP address");
        check(&["--no-such-flag"], "--no-such-flag");
        check(&["--insecure-port=0"], "--insecure-port");
    }

    #[test]
    fn nothing_is_ignored_in_silence() {
        let check = |arguments: &[&str], expected: Result<&str, &str>| {
            let found = given(arguments).expect("accepted").without_effect();
            match (found, expected) {
                (Ok(sentences), Ok(part)) => assert!(sentences.join("\n").contains(part), "{sentences:?}"),
                (Err(failure), Err(part)) => assert!(failure.to_string().contains(part), "{failure}"),
                (found, expected) => panic!("{found:?} is not {expected:?}"),
            }
        };
        check(&["--etcd-servers=http://127.0.0.1:2379"], Ok("--etcd-servers has no effect because"));
        check(&["--audit-policy-file=a.yaml"], Err("--audit-policy-file cannot be honoured"));
        check(&["--audit-policy-file="], Ok(""));
    }
}
