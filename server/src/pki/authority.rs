//! Certificate authorities of our own (ECDSA P-256): made once, and asked for a leaf whenever one is missing or stale.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use x509_parser::{
    extensions::{GeneralName, ParsedExtension},
    pem::parse_x509_pem,
    prelude::{FromDer, X509Certificate},
};

use super::files;
use crate::failure::Failure;

const DAY: Duration = Duration::from_hours(24);
const CA_LIFE: Duration = Duration::from_hours(24 * 365 * 10);
const LEAF_LIFE: Duration = Duration::from_hours(24 * 365);
/// What has less than this left is renewed at the start.
const RENEW_BEFORE: Duration = Duration::from_hours(24 * 60);
/// Clocks of clients may be behind by this much.
const BACKDATE: Duration = Duration::from_hours(1);

/// What a certificate is for.
pub enum Purpose<'a> {
    /// Serving under these names and addresses.
    Server {
        /// DNS names and IP addresses.
        names: &'a [String],
    },
    /// Authenticating a client.
    Client,
}

/// A certificate to be signed by an [`Authority`].
pub struct Leaf<'a> {
    /// Files `FILE.crt` and `FILE.key`.
    pub file: &'a str,
    /// The user's name.
    pub common_name: &'a str,
    /// The user's group.
    pub organisation: Option<&'a str>,
    /// What it is for.
    pub purpose: Purpose<'a>,
}

/// A CA and its key.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Reads `FILE.crt` and `FILE.key`; makes both where one is missing or expires soon.
    pub fn load_or_make(folder: &Path, file: &str, common_name: &str) -> Result<Authority, Failure> {
        let (certificate_path, key_path) = paths(folder, file);
        let found = (files::read_if_there(&certificate_path)?, files::read_if_there(&key_path)?);
        if let (Some(certificate), Some(key)) = found {
            let facts = Facts::read(&certificate, &certificate_path)?;
            if facts.lasts() {
                let key = KeyPair::from_pem(&key).map_err(unreadable(&key_path))?;
                let issuer = Issuer::from_ca_cert_pem(&certificate, key).map_err(unreadable(&certificate_path))?;
                return Ok(Authority { certificate, issuer });
            }
        }
        let key = KeyPair::generate().map_err(not_made)?;
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        set_life(&mut parameters, CA_LIFE);
        // The time is part of the name: a client that still trusts an older CA of ours must not take this one for it.
        let made = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        parameters.distinguished_name.push(DnType::CommonName, format!("{common_name}@{made}"));
        let certificate = parameters.self_signed(&key).map_err(not_made)?.pem();
        files::write_private(&key_path, &key.serialize_pem())?;
        files::write_private(&certificate_path, &certificate)?;
        Ok(Authority { certificate, issuer: Issuer::new(parameters, key) })
    }

    /// The CA certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Reads certificate and key of `leaf`; signs a new pair where one is missing, stale, or of another CA.
    pub fn load_or_sign(&self, folder: &Path, leaf: &Leaf) -> Result<(String, String), Failure> {
        let (certificate_path, key_path) = paths(folder, leaf.file);
        let found = (files::read_if_there(&certificate_path)?, files::read_if_there(&key_path)?);
        if let (Some(certificate), Some(key)) = found {
            let facts = Facts::read(&certificate, &certificate_path)?;
            if facts.lasts() && facts.fits(leaf) && facts.is_signed_by(&self.certificate) {
                return Ok((certificate, key));
            }
        }
        let key = KeyPair::generate().map_err(not_made)?;
        let mut parameters = match leaf.purpose {
            Purpose::Server { names } => CertificateParams::new(names.to_vec()).map_err(not_made)?,
            Purpose::Client => CertificateParams::default(),
        };
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![match leaf.purpose {
            Purpose::Server { .. } => ExtendedKeyUsagePurpose::ServerAuth,
            Purpose::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        parameters.use_authority_key_identifier_extension = true;
        set_life(&mut parameters, LEAF_LIFE);
        parameters.distinguished_name.push(DnType::CommonName, leaf.common_name);
        if let Some(organisation) = leaf.organisation {
            parameters.distinguished_name.push(DnType::OrganizationName, organisation);
        }
        let certificate = parameters.signed_by(&key, &self.issuer).map_err(not_made)?.pem();
        let key = key.serialize_pem();
        files::write_private(&key_path, &key)?;
        files::write_private(&certificate_path, &certificate)?;
        Ok((certificate, key))
    }
}

/// The key pair that signs service account tokens: `FILE.key` (PKCS #8) and `FILE.pub`.
pub fn load_or_make_signing_key(folder: &Path, file: &str) -> Result<(), Failure> {
    let (private, public) = (folder.join(format!("{file}.key")), folder.join(format!("{file}.pub")));
    let key = match files::read_if_there(&private)? {
        Some(pem) => KeyPair::from_pem(&pem).map_err(unreadable(&private))?,
        None => {
            let key = KeyPair::generate().map_err(not_made)?;
            files::write_private(&private, &key.serialize_pem())?;
            key
        }
    };
    if files::read_if_there(&public)?.as_deref() != Some(key.public_key_pem().as_str()) {
        files::write_private(&public, &key.public_key_pem())?;
    }
    Ok(())
}

/// What is read of a certificate to judge whether it is still good.
struct Facts {
    not_after: SystemTime,
    common_name: String,
    names: Vec<String>,
    der: Vec<u8>,
}

impl Facts {
    fn read(pem: &str, path: &Path) -> Result<Facts, Failure> {
        let unreadable = || {
            let path = path.display();
            Failure::run(format!("{path} holds no certificate; restore it, or delete it to have it made anew"))
        };
        let (_, pem) = parse_x509_pem(pem.as_bytes()).map_err(|_| unreadable())?;
        let (_, certificate) = X509Certificate::from_der(&pem.contents).map_err(|_| unreadable())?;
        let not_after = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
        let common_name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let mut names: Vec<String> = certificate
            .subject_alternative_name()
            .ok()
            .flatten()
            .map(|extension| extension.value.general_names.iter().filter_map(name_text).collect())
            .unwrap_or_default();
        names.sort();
        Ok(Facts {
            not_after: SystemTime::UNIX_EPOCH + Duration::from_secs(not_after),
            common_name: common_name.unwrap_or_default().to_owned(),
            names,
            der: pem.contents.clone(),
        })
    }

    fn lasts(&self) -> bool {
        self.not_after > SystemTime::now() + RENEW_BEFORE
    }

    fn fits(&self, leaf: &Leaf) -> bool {
        let names: &[String] = match leaf.purpose {
            Purpose::Server { names } => names,
            Purpose::Client => &[],
        };
        self.common_name == leaf.common_name && self.names == names
    }

    /// Compared by key identifiers: two CAs of ours may have been made in the same second and have one name.
    fn is_signed_by(&self, authority: &str) -> bool {
        let Ok((_, pem)) = parse_x509_pem(authority.as_bytes()) else { return false };
        let Ok((_, authority)) = X509Certificate::from_der(&pem.contents) else { return false };
        let Ok((_, leaf)) = X509Certificate::from_der(&self.der) else { return false };
        let signed_with = leaf.iter_extensions().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(found) => found.key_identifier.as_ref().map(|id| id.0),
            _ => None,
        });
        let key = authority.iter_extensions().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(found) => Some(found.0),
            _ => None,
        });
        signed_with.is_some() && signed_with == key
    }
}

fn name_text(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| std::net::IpAddr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| std::net::IpAddr::from(bytes).to_string()),
        },
        _ => None,
    }
}

fn set_life(parameters: &mut CertificateParams, life: Duration) {
    let now = SystemTime::now();
    parameters.not_before = (now - BACKDATE).into();
    parameters.not_after = (now + life + DAY).into();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
}

fn paths(folder: &Path, file: &str) -> (std::path::PathBuf, std::path::PathBuf) {
    (folder.join(format!("{file}.crt")), folder.join(format!("{file}.key")))
}

fn not_made(error: rcgen::Error) -> Failure {
    Failure::run(format!("cannot make a certificate: {error}"))
}

fn unreadable(path: &Path) -> impl FnOnce(rcgen::Error) -> Failure {
    let path = path.display().to_string();
    move |error| Failure::run(format!("cannot use {path}: {error}; restore it, or delete it to have it made anew"))
}
