//! The URLs etcd listens on and advertises, in one canonical spelling.
//!
//! etcd compares URLs as text, so two spellings of one IPv6 address are a mismatch to it
//! (etcd issue 15127). Here every address is parsed and printed the one way.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::name::{DnsName, NameError};

/// `http` or `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        })
    }
}

/// An IP address or a name that resolves to one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Address {
    /// An IP address.
    Ip(IpAddr),
    /// A name.
    Name(DnsName),
}

impl Address {
    /// Whether this is a loopback address or `localhost`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Address::Ip(ip) => ip.is_loopback(),
            Address::Name(name) => name.as_str() == "localhost",
        }
    }

    /// The IP address, when this is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Address::Ip(ip) => Some(*ip),
            Address::Name(_) => None,
        }
    }
}

impl std::str::FromStr for Address {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(text);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(Address::Ip(ip));
        }
        if !bare.is_empty() && bare.chars().all(|c| c.is_ascii_digit() || c == '.') {
            return Err(NameError::new(
                "address",
                text,
                "is neither an IP address nor a host name",
            ));
        }
        bare.parse().map(Address::Name)
    }
}

impl TryFrom<String> for Address {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(ip) => fmt::Display::fmt(ip, f),
            Address::Name(name) => f.pad(name.as_str()),
        }
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        Address::Ip(ip)
    }
}

/// A scheme, an address and a port: what etcd's URL flags hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EtcdUrl {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// Where.
    pub address: Address,
    /// On which port.
    pub port: u16,
}

impl EtcdUrl {
    /// A URL from its parts.
    #[must_use]
    pub fn new(scheme: Scheme, address: impl Into<Address>, port: u16) -> Self {
        Self {
            scheme,
            address: address.into(),
            port,
        }
    }

    /// `address:port`, an IPv6 address in brackets.
    #[must_use]
    pub fn authority(&self) -> String {
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = self.write_authority(&mut text);
        text
    }

    fn write_authority(&self, out: &mut impl fmt::Write) -> fmt::Result {
        match &self.address {
            Address::Ip(IpAddr::V6(ip)) => write!(out, "[{ip}]:{}", self.port),
            other => write!(out, "{other}:{}", self.port),
        }
    }
}

impl std::str::FromStr for EtcdUrl {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let refuse = |why| NameError::new("URL", text, why);
        let (scheme, rest) = if let Some(rest) = text.strip_prefix("https://") {
            (Scheme::Https, rest)
        } else if let Some(rest) = text.strip_prefix("http://") {
            (Scheme::Http, rest)
        } else {
            return Err(refuse("starts with neither http:// nor https://"));
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (address, port) = rest
            .rsplit_once(':')
            .ok_or_else(|| refuse("names no port"))?;
        if address.parse::<Ipv6Addr>().is_ok() {
            return Err(refuse("needs brackets round its IPv6 address"));
        }
        let port = port
            .parse()
            .map_err(|_| refuse("has no port from 1 to 65535"))?;
        Ok(Self {
            scheme,
            address: address.parse()?,
            port,
        })
    }
}

impl TryFrom<String> for EtcdUrl {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<EtcdUrl> for String {
    fn from(url: EtcdUrl) -> String {
        url.to_string()
    }
}

impl fmt::Display for EtcdUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        self.write_authority(f)
    }
}

/// URLs joined with commas, as etcd's flags take them.
#[must_use]
pub fn join_urls(urls: &[EtcdUrl]) -> String {
    urls.iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

/// Returns whether a plain HTTP URL leads to the machine that reads it, with no network in between.
#[must_use]
pub fn is_loopback_http(url: &str) -> bool {
    let host = url.trim_start_matches("http://");
    ["127.0.0.1", "localhost", "[::1]"].iter().any(|own| {
        host.strip_prefix(own)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_spellings_of_one_ipv6_address_are_one_url() {
        let long: EtcdUrl = "https://[2001:0db8:0:0::0001]:2380".parse().unwrap();
        let short: EtcdUrl = "https://[2001:db8::1]:2380/".parse().unwrap();
        assert_eq!(long, short);
        assert_eq!(long.to_string(), "https://[2001:db8::1]:2380");
    }

    #[test]
    fn missing_brackets_and_ports_are_named() {
        let why = |text: &str| text.parse::<EtcdUrl>().unwrap_err().to_string();
        assert!(why("https://2001:db8::1:2380").contains("brackets"));
        assert!(why("https://10.0.0.1").contains("port"));
        assert!(why("10.0.0.1:2380").contains("http://"));
        assert!("300.1.1.1".parse::<Address>().is_err());
    }
}
