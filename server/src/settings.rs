//! What the daemon is to do: the flags that were given, put together with the defaults of the command that was called.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::ArgMatches;
use http::HeaderValue;
use triune_kube::{EVENT_TTL, NodePorts, ServiceRange};
use triune_machinery::{
    authentication::StaticTokens, authorization::Authorizers, handler_chain::ChainOptions, serve::ServeOptions,
};

use crate::{
    authenticate::{self, FrontProxy},
    authorize,
    failure::Failure,
    flags::{Given, value},
    lifetime, logging,
};

/// Which command was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `triune serve`: makes all it needs in its data folder.
    Serve,
    /// `kube-apiserver`: is given what it needs.
    KubeApiserver,
}

/// Where objects are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// In this folder.
    Embedded(PathBuf),
    /// In memory.
    Memory,
}

/// Everything the daemon is told.
pub struct Settings {
    /// Which command was called.
    pub role: Role,
    /// Where objects are kept.
    pub store: Store,
    /// Where own certificates and `admin.kubeconfig` are kept, if they are made.
    pub state_dir: PathBuf,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Address that others reach the server at, if it was given.
    pub advertise: Option<IpAddr>,
    /// Addresses and ports of services.
    pub kube: triune_kube::Settings,
    /// Certificate and key files, if they were given or found.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Certificates for clients that ask for certain names.
    pub named_certificates: Vec<value::NamedCertificate>,
    /// CAs of client certificates.
    pub client_ca: Option<PathBuf>,
    /// CAs of front proxies.
    pub front_proxy_ca: Option<PathBuf>,
    /// What front proxies may say.
    pub front_proxy: FrontProxy,
    /// Oldest TLS version.
    pub tls_version_min: Option<String>,
    /// TLS 1.2 suites; empty allows all.
    pub cipher_suites: Vec<String>,
    /// Key exchange groups; empty allows all.
    pub tls_groups: Vec<String>,
    /// Whether HTTP/2 is offered.
    pub http2: bool,
    /// Whether requests without credentials are let in.
    pub anonymous: bool,
    /// Static tokens.
    pub tokens: Option<StaticTokens>,
    /// Who may do what.
    pub authorizers: Authorizers,
    /// Figures of the handler chain.
    pub chain: ChainOptions,
    /// Figures of the listener.
    pub serve: ServeOptions,
    /// How often the change log is compacted.
    pub compaction_interval: Option<Duration>,
    /// Time between the signal to stop and the end.
    pub shutdown_delay: Duration,
    /// Time that open watches get at shutdown.
    pub watch_termination_grace: Duration,
    /// Form of log lines.
    pub log_format: logging::Format,
    /// Whether the process ends with its parent.
    pub die_with_parent: bool,
}

/// Plugins whose work the server does.
const PLUGINS_BUILT: &[&str] = &["AlwaysAdmit", "NamespaceExists", "NamespaceLifecycle"];
/// Plugins that are not built and forbid nothing: without them objects lack a default or a label.
const PLUGINS_HARMLESS: &[&str] = &[
    "DefaultIngressClass",
    "DefaultStorageClass",
    "DefaultTolerationSeconds",
    "ExtendedResourceToleration",
    "NamespaceAutoProvision",
    "PodTopologyLabels",
    "Priority",
    "RuntimeClass",
    "ServiceAccount",
    "StorageObjectInUseProtection",
    "PodGroupProtection",
    "TaintNodesByCondition",
];
/// Plugins that are not built and forbid or change things for safety.
const PLUGINS_MISSED: &[&str] = &[
    "AlwaysDeny",
    "AlwaysPullImages",
    "CertificateApproval",
    "CertificateSigning",
    "CertificateSubjectRestriction",
    "ClusterTrustBundleAttest",
    "DenyServiceExternalIPs",
    "EventRateLimit",
    "ImagePolicyWebhook",
    "LimitPodHardAntiAffinityTopology",
    "LimitRanger",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionWebhook",
    "NodeDeclaredFeatureValidator",
    "NodeRestriction",
    "OwnerReferencesPermissionEnforcement",
    "PersistentVolumeClaimResize",
    "PodNodeSelector",
    "PodResizeValidator",
    "PodSecurity",
    "PodTolerationRestriction",
    "ResourceQuota",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionWebhook",
];

impl Settings {
    /// Puts flags and defaults together. Reads the token file; touches nothing else.
    pub fn new(role: Role, matches: &ArgMatches, given: &Given) -> Result<Settings, Failure> {
        check_plugins(given)?;
        let path = |name: &str| given.text(name).map(PathBuf::from);
        let cert_dir = path("cert-dir");
        let (store, state_dir) = places(role, matches, cert_dir.as_deref());
        let die_with_parent =
            lifetime::dies_with_parent(matches, role == Role::KubeApiserver && store == Store::Memory);
        let bind = given.ip("bind-address").unwrap_or(match role {
            Role::Serve => Ipv4Addr::LOCALHOST.into(),
            Role::KubeApiserver => Ipv4Addr::UNSPECIFIED.into(),
        });
        let port = given.integer("secure-port", "a port, 0 to 65535")?.unwrap_or(6443);
        Ok(Settings {
            role,
            store,
            state_dir,
            listen: SocketAddr::new(bind, port),
            advertise: given.ip("advertise-address").filter(|ip| !ip.is_unspecified()),
            kube: kube_settings(given)?,
            certificate: certificate(given, cert_dir.as_deref())?,
            named_certificates: given
                .each("tls-sni-cert-key")
                .iter()
                .map(|text| value::named_certificate(text).map_err(Failure::usage))
                .collect::<Result<_, _>>()?,
            client_ca: path("client-ca-file"),
            front_proxy_ca: path("requestheader-client-ca-file"),
            front_proxy: front_proxy(given),
            tls_version_min: given.text("tls-min-version").map(str::to_owned),
            cipher_suites: given.texts("tls-cipher-suites"),
            tls_groups: given.texts("tls-curve-preferences"),
            http2: !given.boolean("disable-http2-serving").unwrap_or(false),
            anonymous: given.boolean("anonymous-auth").unwrap_or(true),
            tokens: path("token-auth-file").map(|path| authenticate::read_tokens(&path)).transpose()?,
            authorizers: authorize::from_flags(
                given,
                match role {
                    Role::Serve => "RBAC",
                    Role::KubeApiserver => "AlwaysAllow",
                },
            )?,
            chain: chain_options(given)?,
            serve: serve_options(given)?,
            compaction_interval: given.duration("etcd-compaction-interval").filter(|interval| !interval.is_zero()),
            shutdown_delay: given.duration("shutdown-delay-duration").unwrap_or_default(),
            watch_termination_grace: given.duration("shutdown-watch-termination-grace-period").unwrap_or_default(),
            log_format: match given.text("logging-format") {
                None | Some("text") => logging::Format::Text,
                Some("json") => logging::Format::Json,
                Some(other) => {
                    let expected = "expected text or json";
                    return Err(Failure::usage(format!("invalid value {other:?} for --logging-format: {expected}")));
                }
            },
            die_with_parent,
        })
    }
}

/// Where objects and own files go. As kube-apiserver, which is told to use an etcd that does not exist, objects are kept
/// in memory unless a folder is named.
fn places(role: Role, matches: &ArgMatches, cert_dir: Option<&Path>) -> (Store, PathBuf) {
    let folder = matches.get_one::<PathBuf>("data-dir").cloned();
    let kind = matches.get_one::<String>("storage").map(String::as_str);
    let embedded = match (role, kind) {
        (_, Some(kind)) => kind == "embedded",
        (Role::Serve, None) => true,
        (Role::KubeApiserver, None) => folder.is_some(),
    };
    let fallback = match role {
        Role::Serve => Path::new("triune-data"),
        Role::KubeApiserver => cert_dir.unwrap_or(Path::new("/var/run/kubernetes")),
    };
    let folder = folder.unwrap_or_else(|| fallback.to_owned());
    (if embedded { Store::Embedded(folder.join("store")) } else { Store::Memory }, folder)
}

fn certificate(given: &Given, cert_dir: Option<&Path>) -> Result<Option<(PathBuf, PathBuf)>, Failure> {
    match (given.text("tls-cert-file"), given.text("tls-private-key-file")) {
        (Some(certificate), Some(key)) => return Ok(Some((certificate.into(), key.into()))),
        (None, None) => {}
        (Some(_), None) => return Err(Failure::usage("--tls-cert-file needs --tls-private-key-file")),
        (None, Some(_)) => return Err(Failure::usage("--tls-private-key-file needs --tls-cert-file")),
    }
    let found = cert_dir.map(|folder| (folder.join("apiserver.crt"), folder.join("apiserver.key")));
    Ok(found.filter(|(certificate, key)| certificate.exists() && key.exists()))
}

fn front_proxy(given: &Given) -> FrontProxy {
    FrontProxy {
        allowed_names: given.texts("requestheader-allowed-names"),
        username_headers: given.texts("requestheader-username-headers"),
        uid_headers: given.texts("requestheader-uid-headers"),
        group_headers: given.texts("requestheader-group-headers"),
        extra_prefixes: given.texts("requestheader-extra-headers-prefix"),
    }
}

/// `--service-cluster-ip-range` (its first range), `--service-node-port-range` and `--event-ttl`.
fn kube_settings(given: &Given) -> Result<triune_kube::Settings, Failure> {
    let ranges = given.texts("service-cluster-ip-range");
    let text = ranges.first().map_or("10.0.0.0/24", String::as_str);
    let service_range = ServiceRange::parse(text)
        .map_err(|error| Failure::usage(format!("invalid value for --service-cluster-ip-range: {error}")))?;
    let (first, last) = given
        .text("service-node-port-range")
        .map_or(Ok((30000, 32767)), value::port_range)
        .map_err(|expected| Failure::usage(format!("invalid value for --service-node-port-range: {expected}")))?;
    let event_ttl = given.duration("event-ttl").unwrap_or(EVENT_TTL);
    Ok(triune_kube::Settings { service_range, node_ports: NodePorts { first, last }, event_ttl })
}

/// What `--cors-allowed-origins` lets in: each is a regular expression that is searched for in the origin.
fn allowed_origins(given: &Given) -> Result<Option<Arc<dyn Fn(&str) -> bool + Send + Sync>>, Failure> {
    let texts = given.texts("cors-allowed-origins");
    if texts.is_empty() {
        return Ok(None);
    }
    let origins = regex::RegexSet::new(&texts)
        .map_err(|error| Failure::usage(format!("--cors-allowed-origins: not a regular expression: {error}")))?;
    Ok(Some(Arc::new(move |origin: &str| origins.is_match(origin))))
}

fn chain_options(given: &Given) -> Result<ChainOptions, Failure> {
    let count = |name: &str, default: usize| given.integer(name, "zero or more").map(|n| n.unwrap_or(default));
    let defaults = ChainOptions::default();
    let transport_security = given.texts("strict-transport-security-directives").join("; ");
    let strict_transport_security =
        (!transport_security.is_empty()).then(|| HeaderValue::try_from(transport_security)).transpose().map_err(
            |_| Failure::usage("--strict-transport-security-directives: expected directives, such as max-age=31536000"),
        )?;
    let goaway_chance = given.text("goaway-chance").map_or(Ok(0.0), str::parse::<f64>).unwrap_or(-1.0);
    if !(0.0..=0.02).contains(&goaway_chance) {
        return Err(Failure::usage("--goaway-chance: expected a number from 0 to 0.02"));
    }
    Ok(ChainOptions {
        request_timeout: given.duration("request-timeout").unwrap_or(defaults.request_timeout),
        in_flight_read_only_max: count("max-requests-inflight", defaults.in_flight_read_only_max)?,
        in_flight_mutating_max: count("max-mutating-requests-inflight", defaults.in_flight_mutating_max)?,
        strict_transport_security,
        allowed_origin: allowed_origins(given)?,
        goaway_chance,
        shutdown_send_retry_after: given.boolean("shutdown-send-retry-after").unwrap_or(false),
        ..defaults
    })
}

fn serve_options(given: &Given) -> Result<ServeOptions, Failure> {
    let defaults = ServeOptions::default();
    // As in the reference, 0 is the default.
    let streams = given.integer("http2-max-streams-per-connection", "zero or more")?.filter(|streams| *streams > 0);
    Ok(ServeOptions { streams_max: streams.unwrap_or(defaults.streams_max), ..defaults })
}

/// Refuses plugins whose absence would be felt, and names that are none.
fn check_plugins(given: &Given) -> Result<(), Failure> {
    let known = |name: &str| [PLUGINS_BUILT, PLUGINS_HARMLESS, PLUGINS_MISSED].iter().any(|list| list.contains(&name));
    for flag in ["enable-admission-plugins", "admission-control", "disable-admission-plugins"] {
        for name in given.texts(flag) {
            if !known(&name) {
                return Err(Failure::usage(format!("--{flag}: there is no admission plugin {name:?}")));
            }
            if flag != "disable-admission-plugins" && PLUGINS_MISSED.contains(&name.as_str()) {
                let why = "it is not built yet, so what it forbids would be allowed; leave it out to go without it";
                return Err(Failure::usage(format!("--{flag}={name} cannot be honoured: {why}")));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;
    use crate::flags::command_line::{Show, arguments};

    fn settings(line: &str) -> Result<Settings, String> {
        let own = ["data-dir", "storage"].map(|name| clap::Arg::new(name).long(name));
        let own = own
            .map(|arg| if arg.get_id() == "data-dir" { arg.value_parser(clap::value_parser!(PathBuf)) } else { arg });
        let command = Command::new("x").args(own).arg(lifetime::argument()).args(arguments(Show::All, &[]));
        let matches = command.try_get_matches_from(std::iter::once("x").chain(line.split_whitespace()));
        let matches = matches.map_err(|error| error.to_string())?;
        let given = Given::read(&matches).map_err(|failure| failure.to_string())?;
        Settings::new(Role::KubeApiserver, &matches, &given).map_err(|failure| failure.to_string())
    }

    #[test]
    fn wrong_values_are_refused_with_what_would_do() {
        let check = |line: &str, part: &str| {
            let why = settings(line).err().unwrap_or_default();
            assert!(why.contains(part), "{line}: {why:?} lacks {part:?}");
        };
        check("--secure-port=70000", "expected a port");
        check("--service-cluster-ip-range=10.0.0.0", "--service-cluster-ip-range");
        check("--service-cluster-ip-range=10.0.0.0/30", "--service-cluster-ip-range");
        check("--goaway-chance=0.5", "from 0 to 0.02");
        check("--cors-allowed-origins=(", "not a regular expression");
        check("--tls-cert-file=a", "needs --tls-private-key-file");
        check("--logging-format=xml", "expected text or json");
        check("--enable-admission-plugins=NodeRestriction", "cannot be honoured");
        check("--enable-admission-plugins=Nonsense", "there is no admission plugin");
        check("--authorization-mode=Webhook", "not built");
        check("--authorization-mode=Everything", "no such mode");
        check("--max-requests-inflight=-1", "expected zero or more");
        check("--token-auth-file=/nowhere/tokens", "cannot read the token file");
    }

    #[test]
    fn events_are_kept_as_long_as_asked() {
        let check = |line: &str, seconds: u64| {
            let found = settings(line).map(|settings| settings.kube.event_ttl.as_secs());
            assert_eq!(found, Ok(seconds), "{line}");
        };
        check("", 3_600);
        check("--event-ttl=90s", 90);
        check("--event-ttl=0", 0);
    }

    #[test]
    fn places_follow_the_flags() {
        let check = |line: &str, store: Store, folder: &str| {
            let found = settings(line).expect("accepted");
            assert_eq!((found.store, found.state_dir.as_path()), (store, Path::new(folder)), "{line}");
        };
        check("", Store::Memory, "/var/run/kubernetes");
        check("--cert-dir=/c", Store::Memory, "/c");
        check("--data-dir=/d", Store::Embedded("/d/store".into()), "/d");
        check("--data-dir=/d --storage=memory", Store::Memory, "/d");
    }
}
