//! What a certificate says: for which names it is, and how long it is good.

use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::tls;

/// Days before its end at which a certificate is worth a warning.
pub const WARNING_DAYS: i64 = 14;

/// A certificate of an address.
#[derive(Debug, Clone)]
pub struct Certificate {
    der: CertificateDer<'static>,
    /// The names and addresses that it is for.
    pub names: Vec<String>,
    /// Since when it is good.
    pub from: Timestamp,
    /// Until when it is good.
    pub until: Timestamp,
}

/// How long a certificate is good still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It is not good yet.
    Early,
    /// For so many whole days.
    Days(i64),
    /// It is not good any more.
    Over,
}

impl Certificate {
    /// The first certificate of a PEM file: the one of the address, before those of its authorities.
    ///
    /// # Errors
    /// The file cannot be read, or is no certificate.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let chain = tls::certificates(path)?;
        let first =
            chain.into_iter().next().with_context(|| format!("no certificate in {}", path.display()))?;
        Self::parse(first).with_context(|| format!("in {}", path.display()))
    }

    /// A certificate in DER.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(der: CertificateDer<'static>) -> anyhow::Result<Self> {
        let (_, parsed) = X509Certificate::from_der(&der).context("the certificate cannot be read")?;
        let names = match parsed.subject_alternative_name() {
            Ok(Some(names)) => names.value.general_names.iter().filter_map(named).collect(),
            _ => Vec::new(),
        };
        let time = |seconds: i64| Timestamp::from_second(seconds).context("the certificate's period");
        let validity = parsed.validity();
        let (from, until) = (time(validity.not_before.timestamp())?, time(validity.not_after.timestamp())?);
        Ok(Self { names, from, until, der })
    }

    /// Whether a client that dials `host` takes it for that host's.
    #[must_use]
    pub fn is_for(&self, host: &str) -> bool {
        let (Ok(parsed), Ok(name)) = (ParsedCertificate::try_from(&self.der), ServerName::try_from(host))
        else {
            return false;
        };
        verify_server_name(&parsed, &name).is_ok()
    }

    /// How long it is good still.
    #[must_use]
    pub fn life(&self, now: Timestamp) -> Life {
        if now < self.from {
            return Life::Early;
        }
        match self.until.as_second() - now.as_second() {
            left if left < 0 => Life::Over,
            left => Life::Days(left.div_euclid(86_400)),
        }
    }

    /// Refuses one that no client would take at `now` for `host`.
    ///
    /// # Errors
    /// It has expired, is not good yet, or is for other names.
    pub fn check(&self, host: &str, now: Timestamp) -> anyhow::Result<()> {
        match self.life(now) {
            Life::Early => bail!("the certificate is not good before {}", day(self.from)),
            Life::Over => bail!("the certificate expired on {}", day(self.until)),
            Life::Days(_) => {}
        }
        if !self.is_for(host) {
            let names =
                if self.names.is_empty() { "no name at all".to_owned() } else { self.names.join(", ") };
            bail!("the certificate is for {names}, not for `{host}`");
        }
        Ok(())
    }
}

/// A time as people read it of certificates.
#[must_use]
pub fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

fn named(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok().map(|ip| ip.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(names: &[&str], from: (i32, u8, u8), until: (i32, u8, u8)) -> Certificate {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
        params.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
        let made = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        Certificate::parse(made.der().clone()).unwrap()
    }

    #[test]
    fn names_are_compared_as_clients_compare_them() {
        let made = made(&["data.city.example", "*.air.example", "192.0.2.1"], (2026, 1, 1), (2027, 1, 1));
        for host in ["data.city.example", "DATA.city.example", "no2.air.example", "192.0.2.1"] {
            assert!(made.is_for(host), "{host}");
        }
        for host in
            ["city.example", "data.city.example.evil", "a", "air.example", "a.b.air.example", "192.0.2.2"]
        {
            assert!(!made.is_for(host), "{host}");
        }
        assert_eq!(made.names, ["data.city.example", "*.air.example", "192.0.2.1"]);
    }

    #[test]
    fn what_no_client_would_take_is_refused_with_what_is_wrong() {
        let made = made(&["a.example"], (2026, 1, 2), (2026, 3, 1));
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let said = |host: &str, now: &str| made.check(host, at(now)).unwrap_err().to_string();
        assert!(made.check("a.example", at("2026-02-01T00:00:00Z")).is_ok());
        assert_eq!(
            said("a.example", "2026-01-01T00:00:00Z"),
            "the certificate is not good before 2026-01-02 00:00 UTC"
        );
        assert_eq!(
            said("a.example", "2026-03-02T00:00:00Z"),
            "the certificate expired on 2026-03-01 00:00 UTC"
        );
        assert_eq!(
            said("b.example", "2026-02-01T00:00:00Z"),
            "the certificate is for a.example, not for `b.example`"
        );
        assert_eq!(made.life(at("2026-02-19T00:00:00Z")), Life::Days(10));
    }
}
