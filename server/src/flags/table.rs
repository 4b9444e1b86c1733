//! Every flag of kube-apiserver v1.37.2, and what becomes of it here.
//!
//! One row a flag; names, types and defaults are those of `testdata/kube-apiserver-flags.tsv`, which a test compares.
//! The rule: a flag works; or it is accepted and one line is logged that says why it has no effect; or, where leaving it
//! out would make the server less safe than its operator asked for, the start is refused.

use super::{
    Disposition::{Implemented, NoEffect, Refused},
    Flag, Group,
    Kind::{
        Bool, Duration, Features, Float, Int, Ip, Map, NamedCertificate, PortRange, Quantity, Switch, Text, TextArray,
        Texts,
    },
    flag,
};

const AUDIT: &str = "no audit log is written";
const ETCD: &str = "objects are kept in Triune's own store; no etcd is contacted";
const KUBELET: &str = "this server opens no connections to kubelets";
const LOGS: &str = "log lines are written at once, unbuffered, to standard error";
const OIDC: &str = "it belongs to --oidc-issuer-url";
const PEER: &str = "requests are not passed on to other API servers";
const SIGNED_TOKENS: &str = "service account tokens are neither issued nor accepted";
const WEBHOOK_AUTHENTICATION: &str = "it belongs to --authentication-token-webhook-config-file";
const WEBHOOK_AUTHORIZATION: &str = "it belongs to --authorization-webhook-config-file";

/// The flags in the order of the reference's help.
#[rustfmt::skip]
pub const GROUPS: &[Group] = &[
    Group {
        name: "Generic",
        flags: &[
            flag("advertise-address", Ip, "", Implemented("Address that the `kubernetes` service points to")),
            flag("cors-allowed-origins", Texts, "", Implemented("Regular expressions of origins that browsers may call from")),
            flag("emulated-version", Texts, "", NoEffect("this server serves Kubernetes 1.37 and emulates no other version")),
            flag("emulation-forward-compatible", Bool, "", NoEffect("this server serves Kubernetes 1.37 and emulates no other version")),
            flag("external-hostname", Text, "", NoEffect("no served document contains the server's external name")),
            flag("feature-gates", Features, "", NoEffect("features are those that are on by default in Kubernetes 1.37")),
            flag("goaway-chance", Float, "", Implemented("Chance that a request ends its HTTP/2 connection, so that clients spread: 0 to 0.02")),
            flag("livez-grace-period", Duration, "", NoEffect("the server is live from its first answer on")),
            flag("max-mutating-requests-inflight", Int, "200", Implemented("Writes served at a time; 0 is no limit")),
            flag("max-requests-inflight", Int, "400", Implemented("Reads served at a time; 0 is no limit")),
            flag("min-compatibility-version", Texts, "", NoEffect("this server serves Kubernetes 1.37 and emulates no other version")),
            flag("min-request-timeout", Int, "1800", NoEffect("watches without a timeout of their own end after 30 to 60 minutes")),
            flag("request-timeout", Duration, "1m0s", Implemented("Time in which a request must be answered, watches apart")),
            flag("runtime-config-emulation-forward-compatible", Bool, "", NoEffect("this server serves Kubernetes 1.37 and emulates no other version")),
            flag("shutdown-delay-duration", Duration, "", Implemented("Time between the signal to stop and the end of new connections")),
            flag("shutdown-send-retry-after", Bool, "", Implemented("Answer requests with 429 while shutting down, instead of refusing connections")),
            flag("shutdown-watch-termination-grace-period", Duration, "", Implemented("Time that open watches get at shutdown")),
            flag("storage-initialization-timeout", Duration, "1m0s", NoEffect("the store is open before the port is")),
            flag("strict-transport-security-directives", Texts, "", Implemented("Directives of the Strict-Transport-Security header")),
        ],
    },
    Group {
        name: "Etcd",
        flags: &[
            flag("delete-collection-workers", Int, "1", NoEffect("one request deletes its objects one after the other")),
            flag("enable-garbage-collector", Bool, "true", NoEffect("the server always keeps what the garbage collector needs")),
            flag("encryption-provider-config", Text, "", Refused("objects are stored unencrypted; encrypt the disk, and remove the flag")),
            flag("encryption-provider-config-automatic-reload", Bool, "", NoEffect("it belongs to --encryption-provider-config")),
            flag("etcd-cafile", Text, "", NoEffect(ETCD)),
            flag("etcd-certfile", Text, "", NoEffect(ETCD)),
            flag("etcd-compaction-interval", Duration, "5m0s", Implemented("How often the change log is compacted, and how long changes are kept at least")),
            flag("etcd-count-metric-poll-period", Duration, "1m0s", NoEffect(ETCD)),
            flag("etcd-db-metric-poll-interval", Duration, "30s", NoEffect(ETCD)),
            flag("etcd-healthcheck-timeout", Duration, "2s", NoEffect(ETCD)),
            flag("etcd-keyfile", Text, "", NoEffect(ETCD)),
            flag("etcd-prefix", Text, "/registry", NoEffect(ETCD)),
            flag("etcd-readycheck-timeout", Duration, "2s", NoEffect(ETCD)),
            flag("etcd-servers", Texts, "", NoEffect(ETCD)),
            flag("etcd-servers-overrides", Texts, "", NoEffect(ETCD)),
            flag("lease-reuse-duration-seconds", Int, "60", NoEffect(ETCD)),
            flag("storage-backend", Text, "", NoEffect(ETCD)),
            flag("storage-media-type", Text, "application/vnd.kubernetes.protobuf", NoEffect("objects are stored as JSON")),
            flag("watch-cache", Bool, "true", NoEffect("reads and watches are always served from the watch cache")),
            flag("watch-cache-sizes", Texts, "", NoEffect("the watch cache sizes itself")),
        ],
    },
    Group {
        name: "Secure serving",
        flags: &[
            flag("bind-address", Ip, "0.0.0.0", Implemented("Address to listen on")),
            flag("cert-dir", Text, "/var/run/kubernetes", Implemented("Folder of apiserver.crt and apiserver.key, used if both are there")),
            flag("disable-http2-serving", Bool, "", Implemented("Offer HTTP/1.1 only")),
            flag("http2-max-streams-per-connection", Int, "", Implemented("Requests that an HTTP/2 connection may have under way")),
            flag("permit-address-sharing", Bool, "", NoEffect("the port can always be taken again at once")),
            flag("permit-port-sharing", Bool, "", NoEffect("one process serves a port")),
            flag("secure-port", Int, "6443", Implemented("Port to listen on; 0 takes a free one")),
            flag("tls-cert-file", Text, "", Implemented("Serving certificate with its chain, PEM")),
            flag("tls-cipher-suites", Texts, "", Implemented("Cipher suites of TLS 1.2 that may be used")),
            flag("tls-curve-preferences", Texts, "[]", Implemented("Key exchange groups that may be used")),
            flag("tls-min-version", Text, "", Implemented("VersionTLS12 or VersionTLS13")),
            flag("tls-private-key-file", Text, "", Implemented("Key of --tls-cert-file, PEM")),
            flag("tls-sni-cert-key", NamedCertificate, "[]", Implemented("CERT,KEY[:NAME,...]: another certificate, for clients that ask for one of its names")),
        ],
    },
    Group {
        name: "Auditing",
        flags: &[
            flag("audit-log-batch-buffer-size", Int, "10000", NoEffect(AUDIT)),
            flag("audit-log-batch-max-size", Int, "1", NoEffect(AUDIT)),
            flag("audit-log-batch-max-wait", Duration, "", NoEffect(AUDIT)),
            flag("audit-log-batch-throttle-burst", Int, "", NoEffect(AUDIT)),
            flag("audit-log-batch-throttle-enable", Bool, "", NoEffect(AUDIT)),
            flag("audit-log-batch-throttle-qps", Float, "", NoEffect(AUDIT)),
            flag("audit-log-compress", Bool, "", NoEffect(AUDIT)),
            flag("audit-log-format", Text, "json", NoEffect(AUDIT)),
            flag("audit-log-maxage", Int, "366", NoEffect(AUDIT)),
            flag("audit-log-maxbackup", Int, "100", NoEffect(AUDIT)),
            flag("audit-log-maxsize", Int, "100", NoEffect(AUDIT)),
            flag("audit-log-mode", Text, "blocking", NoEffect(AUDIT)),
            flag("audit-log-path", Text, "", Refused("there is no audit log yet, so requests would go unrecorded")),
            flag("audit-log-truncate-enabled", Bool, "", NoEffect(AUDIT)),
            flag("audit-log-truncate-max-batch-size", Int, "10485760", NoEffect(AUDIT)),
            flag("audit-log-truncate-max-event-size", Int, "102400", NoEffect(AUDIT)),
            flag("audit-log-version", Text, "audit.k8s.io/v1", NoEffect(AUDIT)),
            flag("audit-policy-file", Text, "", Refused("there is no audit log yet, so requests would go unrecorded")),
            flag("audit-webhook-batch-buffer-size", Int, "10000", NoEffect(AUDIT)),
            flag("audit-webhook-batch-max-size", Int, "400", NoEffect(AUDIT)),
            flag("audit-webhook-batch-max-wait", Duration, "30s", NoEffect(AUDIT)),
            flag("audit-webhook-batch-throttle-burst", Int, "15", NoEffect(AUDIT)),
            flag("audit-webhook-batch-throttle-enable", Bool, "true", NoEffect(AUDIT)),
            flag("audit-webhook-batch-throttle-qps", Float, "10", NoEffect(AUDIT)),
            flag("audit-webhook-config-file", Text, "", Refused("there is no audit log yet, so requests would go unrecorded")),
            flag("audit-webhook-initial-backoff", Duration, "10s", NoEffect(AUDIT)),
            flag("audit-webhook-mode", Text, "batch", NoEffect(AUDIT)),
            flag("audit-webhook-truncate-enabled", Bool, "", NoEffect(AUDIT)),
            flag("audit-webhook-truncate-max-batch-size", Int, "10485760", NoEffect(AUDIT)),
            flag("audit-webhook-truncate-max-event-size", Int, "102400", NoEffect(AUDIT)),
            flag("audit-webhook-version", Text, "audit.k8s.io/v1", NoEffect(AUDIT)),
        ],
    },
    Group {
        name: "Features",
        flags: &[
            flag("contention-profiling", Bool, "", NoEffect("there are no /debug/pprof pages")),
            flag("debug-socket-path", Text, "", NoEffect("there are no /debug/pprof pages")),
            flag("enable-priority-and-fairness", Bool, "true", NoEffect("requests are limited by the two max-...-inflight flags alone")),
            flag("profiling", Bool, "true", NoEffect("there are no /debug/pprof pages")),
        ],
    },
    Group {
        name: "Authentication",
        flags: &[
            flag("anonymous-auth", Bool, "true", Implemented("Take requests without credentials for system:anonymous")),
            flag("api-audiences", Texts, "", NoEffect(SIGNED_TOKENS)),
            flag("authentication-config", Text, "", Refused("it may restrict anonymous requests, and is not read yet; use --anonymous-auth")),
            flag("authentication-token-webhook-cache-ttl", Duration, "2m0s", NoEffect(WEBHOOK_AUTHENTICATION)),
            flag("authentication-token-webhook-config-file", Text, "", NoEffect("no webhook is asked: tokens that only it knows are answered with 401")),
            flag("authentication-token-webhook-version", Text, "v1beta1", NoEffect(WEBHOOK_AUTHENTICATION)),
            flag("client-ca-file", Text, "", Implemented("CAs whose client certificates are accepted, PEM")),
            flag("enable-bootstrap-token-auth", Bool, "", NoEffect("bootstrap tokens are answered with 401")),
            flag("oidc-ca-file", Text, "", NoEffect(OIDC)),
            flag("oidc-client-id", Text, "", NoEffect(OIDC)),
            flag("oidc-groups-claim", Text, "", NoEffect(OIDC)),
            flag("oidc-groups-prefix", Text, "", NoEffect(OIDC)),
            flag("oidc-issuer-url", Text, "", NoEffect("no OpenID Connect issuer is trusted: its tokens are answered with 401")),
            flag("oidc-required-claim", Map, "", NoEffect(OIDC)),
            flag("oidc-signing-algs", Texts, "[RS256]", NoEffect(OIDC)),
            flag("oidc-username-claim", Text, "sub", NoEffect(OIDC)),
            flag("oidc-username-prefix", Text, "", NoEffect(OIDC)),
            flag("requestheader-allowed-names", Texts, "", Implemented("Common names that a front proxy's certificate may have; none allows all")),
            flag("requestheader-client-ca-file", Text, "", Implemented("CAs whose certificates make a client a front proxy, PEM")),
            flag("requestheader-extra-headers-prefix", Texts, "", Implemented("Prefixes of a front proxy's headers with further facts of the user")),
            flag("requestheader-group-headers", Texts, "", Implemented("A front proxy's headers with the user's groups")),
            flag("requestheader-uid-headers", Texts, "", Implemented("A front proxy's headers with the user's UID")),
            flag("requestheader-username-headers", Texts, "", Implemented("A front proxy's headers with the user's name")),
            flag("service-account-extend-token-expiration", Bool, "true", NoEffect(SIGNED_TOKENS)),
            flag("service-account-issuer", TextArray, "", NoEffect(SIGNED_TOKENS)),
            flag("service-account-jwks-uri", Text, "", NoEffect(SIGNED_TOKENS)),
            flag("service-account-key-file", TextArray, "", NoEffect(SIGNED_TOKENS)),
            flag("service-account-lookup", Bool, "true", NoEffect(SIGNED_TOKENS)),
            flag("service-account-max-token-expiration", Duration, "", NoEffect(SIGNED_TOKENS)),
            flag("token-auth-file", Text, "", Implemented("Bearer tokens: lines of TOKEN,USER,UID[,\"GROUP,...\"]")),
        ],
    },
    Group {
        name: "Authorization",
        flags: &[
            flag("authorization-config", Text, "", Refused("its authorizers are not built yet, so their denials would be missing; use --authorization-mode")),
            flag("authorization-mode", Texts, "", Implemented("RBAC, Node, AlwaysAllow or AlwaysDeny; several are asked in order")),
            flag("authorization-policy-file", Text, "", Refused("the ABAC authorizer is not built, so its policy would not be kept; use --authorization-mode=RBAC")),
            flag("authorization-webhook-cache-authorized-ttl", Duration, "5m0s", NoEffect(WEBHOOK_AUTHORIZATION)),
            flag("authorization-webhook-cache-unauthorized-ttl", Duration, "30s", NoEffect(WEBHOOK_AUTHORIZATION)),
            flag("authorization-webhook-config-file", Text, "", Refused("the webhook authorizer is not built yet, so its denials would be missing; use --authorization-mode=RBAC")),
            flag("authorization-webhook-version", Text, "v1beta1", NoEffect(WEBHOOK_AUTHORIZATION)),
        ],
    },
    Group {
        name: "API enablement",
        flags: &[flag("runtime-config", Map, "", NoEffect("the APIs served are those that are on by default in Kubernetes 1.37"))],
    },
    Group {
        name: "Egress selector",
        flags: &[flag("egress-selector-config-file", Text, "", Refused("connections would not go through the proxy it names; remove the flag to connect directly"))],
    },
    Group {
        name: "Admission",
        flags: &[
            flag("admission-control", Texts, "", Implemented("Old name of --enable-admission-plugins")),
            flag("admission-control-config-file", Text, "", Refused("the plugins it configures are not built yet, so what they forbid would be allowed")),
            flag("default-not-ready-toleration-seconds", Int, "300", NoEffect("the plugin DefaultTolerationSeconds is not built yet")),
            flag("default-unreachable-toleration-seconds", Int, "300", NoEffect("the plugin DefaultTolerationSeconds is not built yet")),
            flag("disable-admission-plugins", Texts, "", NoEffect("plugins that are built cannot be turned off")),
            flag("enable-admission-plugins", Texts, "", Implemented("Plugins to turn on; those that forbid things and are not built are refused")),
        ],
    },
    Group {
        name: "Metrics",
        flags: &[
            flag("allow-metric-labels", Map, "[]", NoEffect("metrics always have all of their labels")),
            flag("allow-metric-labels-manifest", Text, "", NoEffect("metrics always have all of their labels")),
            flag("disabled-metrics", Texts, "", NoEffect("no metric can be turned off")),
            flag("show-hidden-metrics-for-version", Text, "", NoEffect("no metric is hidden")),
        ],
    },
    Group {
        name: "Logs",
        flags: &[
            flag("log-flush-frequency", Duration, "5s", NoEffect(LOGS)),
            flag("log-json-info-buffer-size", Quantity, "", NoEffect(LOGS)),
            flag("log-json-split-stream", Bool, "", NoEffect(LOGS)),
            flag("log-text-info-buffer-size", Quantity, "", NoEffect(LOGS)),
            flag("log-text-split-stream", Bool, "", NoEffect(LOGS)),
            flag("logging-format", Text, "text", Implemented("Form of log lines: text or json")),
            flag("vmodule", Text, "", NoEffect("log levels are set for the whole server, with -v")),
        ],
    },
    Group {
        name: "Traces",
        flags: &[flag("tracing-config-file", Text, "", NoEffect("no spans are exported"))],
    },
    Group {
        name: "Misc",
        flags: &[
            flag("aggregator-reject-forwarding-redirect", Bool, "true", NoEffect("requests are not yet forwarded to aggregated API servers")),
            flag("allow-privileged", Bool, "", NoEffect("privileged containers are always allowed by the API; restrict them by admission")),
            flag("coordinated-leadership-lease-duration", Duration, "15s", NoEffect("the server elects no leaders for others")),
            flag("coordinated-leadership-renew-deadline", Duration, "10s", NoEffect("the server elects no leaders for others")),
            flag("coordinated-leadership-retry-period", Duration, "2s", NoEffect("the server elects no leaders for others")),
            flag("enable-aggregator-routing", Bool, "", NoEffect("requests are not yet forwarded to aggregated API servers")),
            flag("enable-logs-handler", Bool, "", NoEffect("there is no /logs page")),
            flag("endpoint-reconciler-type", Text, "lease", NoEffect("the `kubernetes` service points to the one server that there is")),
            flag("event-ttl", Duration, "1h0m0s", Implemented("How long events are kept after their last write; 0 is for ever")),
            flag("kubelet-certificate-authority", Text, "", NoEffect(KUBELET)),
            flag("kubelet-client-certificate", Text, "", NoEffect(KUBELET)),
            flag("kubelet-client-key", Text, "", NoEffect(KUBELET)),
            flag("kubelet-preferred-address-types", Texts, "[Hostname,InternalDNS,InternalIP,ExternalDNS,ExternalIP]", NoEffect(KUBELET)),
            flag("kubelet-timeout", Duration, "5s", NoEffect(KUBELET)),
            flag("kubernetes-service-node-port", Int, "", NoEffect("the `kubernetes` service is always of type ClusterIP")),
            flag("max-connection-bytes-per-sec", Int, "", NoEffect("exec, attach and port-forward are not served")),
            flag("peer-advertise-ip", Text, "", NoEffect(PEER)),
            flag("peer-advertise-port", Text, "", NoEffect(PEER)),
            flag("peer-ca-file", Text, "", NoEffect(PEER)),
            flag("proxy-client-cert-file", Text, "", NoEffect("requests are not yet forwarded to aggregated API servers")),
            flag("proxy-client-key-file", Text, "", NoEffect("requests are not yet forwarded to aggregated API servers")),
            flag("service-account-signing-endpoint", Text, "", NoEffect(SIGNED_TOKENS)),
            flag("service-account-signing-key-file", Text, "", NoEffect(SIGNED_TOKENS)),
            flag("service-cluster-ip-range", Text, "", Implemented("Addresses of services, CIDR")),
            flag("service-node-port-range", PortRange, "30000-32767", Implemented("Ports of services of type NodePort")),
        ],
    },
    Group {
        name: "Global",
        flags: &[flag("version", Switch, "", Implemented("Print the version and exit"))],
    },
];

/// The row of a flag.
pub fn find(name: &str) -> Option<&'static Flag> {
    GROUPS.iter().flat_map(|group| group.flags).find(|flag| flag.name == name)
}
