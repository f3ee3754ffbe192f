//! A certificate authority for trials: made on the spot, good for this machine only.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, GeneralSubtree, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, NameConstraints,
};

use crate::secrets;

/// Days a trial certificate is good.
const DAYS: i64 = 365;
/// Days for which the authority of a user's trial nodes is good; theirs are made anew meanwhile.
const AUTHORITY_DAYS: i64 = 3650;

/// For which hosts an authority may issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hosts {
    /// For all: whoever trusts it, trusts it wholly.
    All,
    /// For this machine as it calls itself, whoever trusts it.
    ThisMachine,
}

/// The files of an authority in `folder`.
fn files(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("authority.pem"), folder.join("authority.key"))
}

/// The authority's certificate, made where it is missing.
pub(super) fn ensure(folder: &Path, hosts: Hosts) -> anyhow::Result<PathBuf> {
    let (certificate, key_file) = files(folder);
    if certificate.exists() {
        return Ok(certificate);
    }
    let key = KeyPair::generate().context("making the authority's key")?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, "Concordat trial authority");
    match hosts {
        Hosts::All => period(&mut params, DAYS)?,
        Hosts::ThisMachine => {
            let permitted_subtrees = vec![
                GeneralSubtree::DnsName("localhost".to_owned()),
                GeneralSubtree::IpAddress(CidrSubnet::V4([127, 0, 0, 0], [255, 0, 0, 0])),
            ];
            params.name_constraints =
                Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
            period(&mut params, AUTHORITY_DAYS)?;
        }
    }
    let made = params.self_signed(&key).context("signing the authority's certificate")?;
    secrets::create(&key_file, &key.serialize_pem())?;
    std::fs::write(&certificate, made.pem()).with_context(|| format!("writing {}", certificate.display()))?;
    Ok(certificate)
}

/// Issues a certificate for `host`; returns the PEM of certificate and key.
pub(super) fn issue(folder: &Path, host: &str) -> anyhow::Result<(String, String)> {
    let (certificate, key_file) = files(folder);
    let authority = std::fs::read_to_string(&certificate)
        .with_context(|| format!("reading {}", certificate.display()))?;
    let authority_key =
        KeyPair::from_pem(&secrets::read(&key_file)?).context("reading the authority's key")?;
    let issuer =
        Issuer::from_ca_cert_pem(&authority, authority_key).context("reading the authority's certificate")?;
    let key = KeyPair::generate().context("making a key")?;
    let mut params = params_for(host)?;
    period(&mut params, DAYS)?;
    let made = params.signed_by(&key, &issuer).context("signing a certificate")?;
    Ok((made.pem(), key.serialize_pem()))
}

/// A certificate that vouches for itself: peers must be given it as a root.
pub(super) fn self_signed(host: &str) -> anyhow::Result<(String, String)> {
    let key = KeyPair::generate().context("making a key")?;
    let mut params = params_for(host)?;
    period(&mut params, DAYS)?;
    let made = params.self_signed(&key).context("signing a certificate")?;
    Ok((made.pem(), key.serialize_pem()))
}

fn params_for(host: &str) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(vec![host.to_owned()])
        .with_context(|| format!("`{host}` cannot stand in a certificate"))?;
    params.distinguished_name.push(DnType::CommonName, host);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // A node is a client too, and may be asked for its certificate.
    params.extended_key_usages =
        vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth, rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

fn period(params: &mut CertificateParams, days: i64) -> anyhow::Result<()> {
    let now = crate::clock::now();
    let day = |offset: i64| {
        let at = now.checked_add(jiff::SignedDuration::from_hours(24 * offset))?;
        let date = at.to_zoned(jiff::tz::TimeZone::UTC).date();
        Ok::<_, jiff::Error>((i32::from(date.year()), date.month(), date.day()))
    };
    let ymd = |(year, month, day): (i32, i8, i8)| {
        rcgen::date_time_ymd(year, u8::try_from(month).unwrap_or(1), u8::try_from(day).unwrap_or(1))
    };
    params.not_before = ymd(day(-1)?);
    params.not_after = ymd(day(days)?);
    Ok(())
}
