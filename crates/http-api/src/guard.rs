//! Who may reach the server at all: requests of other sites' pages, and guessers, may not.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use tokio::time::Instant;

use crate::problem::{BAD_REQUEST, FOREIGN, Problem, TOO_MANY, UNAUTHENTICATED};

/// So many failures in a row are answered at once.
const FAILURES: u32 = 10;
/// Then one in this time.
const PAUSE: Duration = Duration::from_secs(1);
/// Failures older than this are forgotten.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// Addresses that are remembered at once: what a scan from many costs here is bounded.
const REMEMBERED: usize = 4096;

/// The names that this server answers to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    names: Vec<String>,
    /// Other sites whose pages may ask, as `https://dashboard.example.com`.
    origins: Vec<String>,
}

impl Names {
    /// These names, and the address that is listened on, where it is one that a client can name.
    pub(crate) fn of(mut names: Vec<String>, origins: Vec<String>, listen: IpAddr) -> Self {
        if !listen.is_unspecified() {
            names.push(listen.to_string());
        }
        Self { names, origins }
    }

    /// A page of another site must not be able to ask by a name that it made resolve to loopback,
    /// nor to send requests blindly: browsers say where a request comes from.
    ///
    /// A person who follows a link from elsewhere to the page itself is let in: it shows nothing
    /// before somebody signs in, and nothing of what it is asked comes with the link.
    pub(crate) fn check(
        &self,
        method: &Method,
        headers: &HeaderMap,
        uri: &Uri,
    ) -> Result<(), Problem> {
        let refuse = |why: &str| Problem::new(StatusCode::FORBIDDEN, &FOREIGN, why);
        let value = |name: header::HeaderName| {
            let value = headers.get(name);
            value.and_then(|value| value.to_str().ok())
        };
        if headers.get_all(header::HOST).iter().count() > 1 {
            let why = "`Host` is given twice";
            return Err(Problem::new(StatusCode::BAD_REQUEST, &BAD_REQUEST, why));
        }
        let of_uri = uri.authority().map(http::uri::Authority::as_str);
        let host = match (value(header::HOST), of_uri) {
            (Some(host), Some(authority)) if !host.eq_ignore_ascii_case(authority) => {
                let why = "`Host` and the request's authority differ";
                return Err(Problem::new(StatusCode::BAD_REQUEST, &BAD_REQUEST, why));
            }
            (Some(host), _) => host,
            (None, Some(authority)) => authority,
            (None, None) => {
                let why = "the request names no host";
                return Err(Problem::new(StatusCode::BAD_REQUEST, &BAD_REQUEST, why));
            }
        };
        if !self.is_own(host) {
            return Err(refuse("this server does not answer to that host name"));
        }
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let (mode, to) = (text("sec-fetch-mode"), text("sec-fetch-dest"));
        let visits = method == Method::GET
            && uri.path() == "/"
            && (mode, to) == (Some("navigate"), Some("document"));
        let site = text("sec-fetch-site").filter(|_| !visits);
        let named_origin = value(header::ORIGIN)
            .is_some_and(|origin| self.origins.iter().any(|other| other == origin));
        let strange = site.is_some_and(|site| !["same-origin", "none"].contains(&site));
        if strange && !named_origin {
            return Err(refuse("the request comes from another site's page"));
        }
        let own = |origin: &str| {
            let bare = origin
                .strip_prefix("http://")
                .or(origin.strip_prefix("https://"));
            bare.is_some_and(|bare| bare.eq_ignore_ascii_case(host))
        };
        if !named_origin && value(header::ORIGIN).is_some_and(|origin| !own(origin)) {
            return Err(refuse("the request comes from another site's page"));
        }
        Ok(())
    }

    /// The origin of another site whose page asks and may.
    pub(crate) fn other_origin<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        let text = origin.to_str().ok()?;
        let named = self.origins.iter().any(|other| other == text);
        named.then_some(origin)
    }

    fn is_own(&self, host: &str) -> bool {
        let bare = host
            .rsplit_once(':')
            .filter(|(_, port)| port.chars().all(|c| c.is_ascii_digit()))
            .map_or(host, |(host, _)| host);
        let bare = bare.trim_matches(['[', ']']);
        let address = bare.parse::<IpAddr>();
        bare.eq_ignore_ascii_case("localhost")
            || address.is_ok_and(|ip| ip.is_loopback())
            || self
                .names
                .iter()
                .any(|name| bare.eq_ignore_ascii_case(name))
    }
}

/// Failures to authenticate, by address.
#[derive(Default)]
pub(crate) struct Failures(Mutex<HashMap<IpAddr, (u32, Instant)>>);

impl Failures {
    /// Notes a failure, and says what it is answered with. Whoever has a valid token is never kept
    /// waiting for those who have none: on loopback all have one address.
    pub(crate) fn failed(&self, from: IpAddr, why: &str) -> Problem {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= REMEMBERED {
            failures.retain(|_, (_, last)| last.elapsed() < FORGOTTEN);
        }
        if failures.len() >= REMEMBERED {
            failures.clear();
        }
        let now = Instant::now();
        let (count, last) = failures.entry(block_of(from)).or_insert((0, now));
        if last.elapsed() >= FORGOTTEN {
            *count = 0;
        }
        if *count >= FAILURES && last.elapsed() < PAUSE {
            let why = "too many requests without a valid token";
            return Problem::new(StatusCode::TOO_MANY_REQUESTS, &TOO_MANY, why).after(PAUSE);
        }
        *count = count.saturating_add(1);
        *last = now;
        Problem::new(StatusCode::UNAUTHORIZED, &UNAUTHENTICATED, why)
    }

    /// Forgets the failures of an address that has a valid token.
    pub(crate) fn succeeded(&self, from: IpAddr) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.remove(&block_of(from));
    }
}

/// What one person has: an IPv4 address, or a /64 of IPv6.
fn block_of(address: IpAddr) -> IpAddr {
    // What is IPv4 within IPv6 is one address, not a network of all of them.
    match address.to_canonical() {
        four @ IpAddr::V4(_) => four,
        IpAddr::V6(six) => {
            let [a, b, c, d, ..] = six.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ten_failures_in_a_row_are_answered_and_then_one_a_second() {
        let failures = Failures::default();
        let one: IpAddr = Ipv6Addr::new(0xfd00, 1, 2, 3, 0, 0, 0, 1).into();
        let neighbour: IpAddr = Ipv6Addr::new(0xfd00, 1, 2, 3, 9, 9, 9, 9).into();
        let other: IpAddr = Ipv6Addr::new(0xfd00, 1, 2, 4, 0, 0, 0, 1).into();
        let status = |from| failures.failed(from, "").status.as_u16();
        for _ in 0..FAILURES {
            assert_eq!(status(one), 401);
        }
        assert_eq!(status(neighbour), 429, "one /64 is one person");
        assert_eq!(status(other), 401);
        tokio::time::advance(PAUSE).await;
        assert_eq!((status(one), status(one)), (401, 429));
        failures.succeeded(one);
        assert_eq!(status(one), 401);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let failures = Failures::default();
        for n in 0..20_000_u32 {
            failures.failed(std::net::Ipv4Addr::from(n).into(), "");
        }
        let known = failures.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(known.len() <= REMEMBERED);
    }
}
