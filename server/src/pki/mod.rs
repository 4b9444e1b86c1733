//! The daemon's own keys and certificates, kept in `DIR/pki`.
//!
//! In reading order: [`authority`] makes and signs, [`files`] keeps on disk, [`kubeconfig`] writes `DIR/admin.kubeconfig`.
//!
//! Invariants: a key file is readable by its owner alone from the moment it exists; a file is replaced whole or not at
//! all; what is still good is reused, so that kubeconfigs and running clients survive a restart.

pub mod authority;
pub mod files;
pub mod kubeconfig;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use authority::{Authority, Leaf, Purpose};

use crate::failure::Failure;

/// Where everything is, after [`prepare`].
#[derive(Debug, Clone)]
pub struct Pki {
    /// `DIR/pki`.
    pub folder: PathBuf,
    /// PEM of the CA that signs the serving and client certificates.
    pub ca_certificate: String,
    /// PEM of the administrator's certificate.
    pub admin_certificate: String,
    /// PEM of the administrator's key.
    pub admin_key: String,
}

impl Pki {
    /// A file of the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Makes what is missing, expires soon, or no longer fits the names that clients use.
pub fn prepare(folder: &Path, serving_names: &[String]) -> Result<Pki, Failure> {
    files::make_private_folder(folder)?;
    let serving = Leaf {
        file: "apiserver",
        common_name: "kube-apiserver",
        organisation: None,
        purpose: Purpose::Server { names: serving_names },
    };
    let admin = Leaf {
        file: "admin",
        common_name: "kubernetes-admin",
        organisation: Some("system:masters"),
        purpose: Purpose::Client,
    };
    let proxy = Leaf {
        file: "front-proxy-client",
        common_name: "front-proxy-client",
        organisation: None,
        purpose: Purpose::Client,
    };
    // A new file waits for the disk: what does not need another is made beside it.
    let (ca, (admin_certificate, admin_key)) = std::thread::scope(|scope| {
        let front_proxy = scope.spawn(|| {
            Authority::load_or_make(folder, "front-proxy-ca", "triune-front-proxy-ca")?.load_or_sign(folder, &proxy)
        });
        let signing_key = scope.spawn(|| authority::load_or_make_signing_key(folder, "service-account"));
        let ca = Authority::load_or_make(folder, "ca", "triune-ca")?;
        let admin = std::thread::scope(|scope| {
            let served = scope.spawn(|| ca.load_or_sign(folder, &serving));
            let admin = ca.load_or_sign(folder, &admin)?;
            joined(served)?;
            Ok::<_, Failure>(admin)
        })?;
        joined(front_proxy)?;
        joined(signing_key)?;
        Ok::<_, Failure>((ca.certificate().to_owned(), admin))
    })?;
    Ok(Pki { folder: folder.to_owned(), ca_certificate: ca, admin_certificate, admin_key })
}

fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T, Failure>>) -> Result<T, Failure> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The names and addresses by which clients reach the server: where it listens, loopback, and the `kubernetes` service.
pub fn serving_names(bind: IpAddr, advertise: Option<IpAddr>, service_ip: IpAddr) -> Vec<String> {
    let mut names: Vec<String> = [
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "127.0.0.1",
        "::1",
    ]
    .map(str::to_owned)
    .into();
    names.push(hostname());
    let addresses = [Some(bind), advertise, Some(service_ip)];
    names.extend(addresses.into_iter().flatten().filter(|ip| !ip.is_unspecified()).map(|ip| ip.to_string()));
    names.retain(|name| !name.is_empty());
    names.sort();
    names.dedup();
    names
}

/// The name of this machine; "localhost" where it cannot be told.
pub fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim().to_ascii_lowercase();
    if name.is_empty() || !name.is_ascii() { "localhost".into() } else { name }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn names(bind: &str) -> Vec<String> {
        serving_names(bind.parse().unwrap(), None, "10.0.0.1".parse().unwrap())
    }

    fn read_all(folder: &Path) -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
            .collect();
        files.sort();
        files
    }

    fn changed(before: &[(String, Vec<u8>)], after: &[(String, Vec<u8>)]) -> Vec<String> {
        before.iter().zip(after).filter(|(a, b)| a != b).map(|(a, _)| a.0.clone()).collect()
    }

    #[test]
    fn files_are_private_and_reused() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("pki");
        prepare(&folder, &names("127.0.0.1")).unwrap();
        let first = read_all(&folder);
        assert_eq!(first.len(), 12, "{:?}", first.iter().map(|file| &file.0).collect::<Vec<_>>());
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        for (name, _) in first.iter().filter(|(name, _)| name.ends_with(".key")) {
            assert_eq!(fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
        prepare(&folder, &names("127.0.0.1")).unwrap();
        assert_eq!(read_all(&folder), first);
    }

    #[test]
    fn a_new_name_renews_the_serving_certificate_alone() {
        let scratch = tempfile::tempdir().unwrap();
        prepare(scratch.path(), &names("127.0.0.1")).unwrap();
        let first = read_all(scratch.path());
        prepare(scratch.path(), &names("192.0.2.7")).unwrap();
        assert_eq!(changed(&first, &read_all(scratch.path())), ["apiserver.crt", "apiserver.key"]);
    }

    #[test]
    fn a_lost_key_renews_its_certificate() {
        let scratch = tempfile::tempdir().unwrap();
        prepare(scratch.path(), &names("127.0.0.1")).unwrap();
        let first = read_all(scratch.path());
        fs::remove_file(scratch.path().join("admin.key")).unwrap();
        prepare(scratch.path(), &names("127.0.0.1")).unwrap();
        assert_eq!(changed(&first, &read_all(scratch.path())), ["admin.crt", "admin.key"]);
    }

    #[test]
    fn a_new_authority_signs_everything_anew() {
        let scratch = tempfile::tempdir().unwrap();
        prepare(scratch.path(), &names("127.0.0.1")).unwrap();
        let first = read_all(scratch.path());
        fs::remove_file(scratch.path().join("ca.crt")).unwrap();
        prepare(scratch.path(), &names("127.0.0.1")).unwrap();
        let expected = ["admin.crt", "admin.key", "apiserver.crt", "apiserver.key", "ca.crt", "ca.key"];
        assert_eq!(changed(&first, &read_all(scratch.path())), expected);
    }

    #[test]
    fn what_is_no_certificate_is_said_and_left_alone() {
        let scratch = tempfile::tempdir().unwrap();
        prepare(scratch.path(), &names("127.0.0.1")).unwrap();
        fs::write(scratch.path().join("ca.crt"), "nonsense").unwrap();
        let failure = prepare(scratch.path(), &names("127.0.0.1")).unwrap_err().to_string();
        assert!(failure.contains("ca.crt"), "{failure}");
        assert_eq!(fs::read(scratch.path().join("ca.crt")).unwrap(), b"nonsense");
    }
}
