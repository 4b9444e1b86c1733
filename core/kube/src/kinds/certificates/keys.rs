//! Public keys, and whether they made a signature.

use aws_lc_rs::signature::{
    self, EcdsaVerificationAlgorithm, ParsedPublicKey, UnparsedPublicKey, VerificationAlgorithm,
};
use x509_parser::{prelude::FromDer, public_key::PublicKey, x509::SubjectPublicKeyInfo};

const RSA: &str = "1.2.840.113549.1.1.1";
const ED25519: &str = "1.3.101.112";
const ELLIPTIC: &str = "1.2.840.10045.2.1";

/// What a public key is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Edwards curve 25519.
    Ed25519,
    /// A NIST curve.
    Elliptic(Curve),
    /// RSA with so many bytes of modulus.
    Rsa(usize),
    /// Anything else.
    Other,
}

/// The curves that keys may be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// P-256
    P256,
    /// P-384
    P384,
    /// P-521
    P521,
    /// P-224, which is only known so that it can be named.
    P224,
}

impl Curve {
    /// As Go names it.
    pub fn name(self) -> &'static str {
        match self {
            Curve::P224 => "P-224",
            Curve::P256 => "P-256",
            Curve::P384 => "P-384",
            Curve::P521 => "P-521",
        }
    }
}

/// The curve, named as Go's errors name it, that a key claims to be of and is not.
pub fn off_curve(key: &SubjectPublicKeyInfo<'_>) -> Option<String> {
    let curve = curve(key)?;
    (!is_on(curve, key)).then(|| curve.name().replace('-', ""))
}

fn curve(key: &SubjectPublicKeyInfo<'_>) -> Option<Curve> {
    match &*key.algorithm.parameters.as_ref()?.as_oid().ok()?.to_id_string() {
        "1.3.132.0.33" => Some(Curve::P224),
        "1.2.840.10045.3.1.7" => Some(Curve::P256),
        "1.3.132.0.34" => Some(Curve::P384),
        "1.3.132.0.35" => Some(Curve::P521),
        _ => None,
    }
}

/// What a key is made of; None if it cannot be read.
pub fn sort(key: &SubjectPublicKeyInfo<'_>) -> Option<Sort> {
    match &*key.algorithm.algorithm.to_id_string() {
        RSA => match key.parsed().ok()? {
            PublicKey::RSA(key) => Some(Sort::Rsa(key.key_size() / 8)),
            _ => None,
        },
        ED25519 => (key.subject_public_key.data.len() == 32).then_some(Sort::Ed25519),
        ELLIPTIC => {
            let curve = curve(key)?;
            is_on(curve, key).then_some(Sort::Elliptic(curve))
        }
        _ => Some(Sort::Other),
    }
}

/// Whether the key is a point of its curve; P-224 is not computed with.
fn is_on(curve: Curve, key: &SubjectPublicKeyInfo<'_>) -> bool {
    let algorithm = elliptic(curve, "1.2.840.10045.4.3.2");
    algorithm.is_none_or(|algorithm| ParsedPublicKey::new(algorithm, &key.subject_public_key.data).is_ok())
}

/// Reads a PKIX public key that nothing follows.
pub fn read(der: &[u8]) -> Option<(SubjectPublicKeyInfo<'_>, Sort)> {
    let (rest, key) = SubjectPublicKeyInfo::from_der(der).ok()?;
    let sort = sort(&key)?;
    rest.is_empty().then_some((key, sort))
}

/// Why a signature over a request is refused, in Go's words; None if it is the key's.
pub fn refused(key: &SubjectPublicKeyInfo<'_>, algorithm: &str, signed: &[u8], by: &[u8]) -> Option<&'static str> {
    const UNKNOWN: &str = "x509: cannot verify signature: algorithm unimplemented";
    let Some(sort) = sort(key) else { return Some("x509: malformed public key") };
    let (algorithm, failure): (&dyn VerificationAlgorithm, _) = match (sort, algorithm) {
        (Sort::Ed25519, ED25519) => (&signature::ED25519, "x509: Ed25519 verification failure"),
        (Sort::Elliptic(curve), "1.2.840.10045.4.3.2" | "1.2.840.10045.4.3.3" | "1.2.840.10045.4.3.4") => {
            match elliptic(curve, algorithm) {
                Some(algorithm) => (algorithm, "x509: ECDSA verification failure"),
                None => return Some(UNKNOWN),
            }
        }
        (Sort::Rsa(_), "1.2.840.113549.1.1.11") => (&signature::RSA_PKCS1_2048_8192_SHA256, RSA_FAILURE),
        (Sort::Rsa(_), "1.2.840.113549.1.1.12") => (&signature::RSA_PKCS1_2048_8192_SHA384, RSA_FAILURE),
        (Sort::Rsa(_), "1.2.840.113549.1.1.13") => (&signature::RSA_PKCS1_2048_8192_SHA512, RSA_FAILURE),
        _ => return Some(UNKNOWN),
    };
    let verified = UnparsedPublicKey::new(algorithm, &key.subject_public_key.data).verify(signed, by);
    verified.is_err().then_some(failure)
}

const RSA_FAILURE: &str = "crypto/rsa: verification error";

fn elliptic(curve: Curve, algorithm: &str) -> Option<&'static EcdsaVerificationAlgorithm> {
    Some(match (curve, algorithm) {
        (Curve::P256, "1.2.840.10045.4.3.2") => &signature::ECDSA_P256_SHA256_ASN1,
        (Curve::P256, "1.2.840.10045.4.3.3") => &signature::ECDSA_P256_SHA384_ASN1,
        (Curve::P256, "1.2.840.10045.4.3.4") => &signature::ECDSA_P256_SHA512_ASN1,
        (Curve::P384, "1.2.840.10045.4.3.2") => &signature::ECDSA_P384_SHA256_ASN1,
        (Curve::P384, "1.2.840.10045.4.3.3") => &signature::ECDSA_P384_SHA384_ASN1,
        (Curve::P384, "1.2.840.10045.4.3.4") => &signature::ECDSA_P384_SHA512_ASN1,
        (Curve::P521, "1.2.840.10045.4.3.2") => &signature::ECDSA_P521_SHA256_ASN1,
        (Curve::P521, "1.2.840.10045.4.3.3") => &signature::ECDSA_P521_SHA384_ASN1,
        (Curve::P521, "1.2.840.10045.4.3.4") => &signature::ECDSA_P521_SHA512_ASN1,
        _ => return None,
    })
}

/// Whether a key signed a text to prove that its holder has the private part.
pub fn proves(key: &SubjectPublicKeyInfo<'_>, sort: Sort, text: &str, proof: &[u8]) -> bool {
    let algorithm: &dyn VerificationAlgorithm = match sort {
        Sort::Ed25519 => &signature::ED25519,
        Sort::Elliptic(Curve::P256) => &signature::ECDSA_P256_SHA256_ASN1,
        Sort::Elliptic(Curve::P384) => &signature::ECDSA_P384_SHA256_ASN1,
        Sort::Elliptic(Curve::P521) => &signature::ECDSA_P521_SHA256_ASN1,
        Sort::Rsa(_) => &signature::RSA_PSS_2048_8192_SHA256,
        Sort::Elliptic(Curve::P224) | Sort::Other => return false,
    };
    UnparsedPublicKey::new(algorithm, &key.subject_public_key.data).verify(text.as_bytes(), proof).is_ok()
}
