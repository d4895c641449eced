//! What TLS demands: each shows a certificate of a CA that the other has trusted since it started.

use std::collections::BTreeSet;

use etcdup_core::certificate::{Algorithm, CertFacts, CertRequest, Issuer};
use etcdup_core::flag::FlagSet;
use etcdup_core::observation::{CaView, Observation};
use etcdup_core::observed::Observed;
use jiff::{SignedDuration, Timestamp};

use super::Model;
use super::machine::Machine;

/// The CAs on the operator's machine, by name, and which of them issued the client's certificate.
#[derive(Clone)]
pub(crate) struct Authorities {
    /// The one that issues.
    pub(crate) own: &'static str,
    /// Those that are trusted beside it, each with whether its key is here.
    pub(crate) trusted: Vec<(&'static str, bool)>,
    made: BTreeSet<&'static str>,
    client: Option<(String, CertFacts)>,
}

impl Default for Authorities {
    fn default() -> Self {
        Self {
            own: "ca",
            trusted: Vec::new(),
            made: BTreeSet::new(),
            client: None,
        }
    }
}

fn certificate(name: &str, issuer: &str, key: &str, hours: u32) -> CertFacts {
    CertFacts {
        name: name.into(),
        issuer: issuer.into(),
        sans: BTreeSet::new(),
        other_sans: Vec::new(),
        server_auth: true,
        client_auth: true,
        is_ca: name == issuer,
        not_before: Timestamp::UNIX_EPOCH,
        not_after: Timestamp::UNIX_EPOCH + SignedDuration::from_hours(i64::from(hours)),
        fingerprint: key.into(),
        key_id: key.into(),
        issuer_key_id: issuer.into(),
        public_key: key.into(),
        algorithm: Some(Algorithm::EcdsaP256),
        der: Some(key.as_bytes().into()),
        further: Vec::new(),
    }
}

fn ca(name: &str) -> CertFacts {
    certificate(name, name, name, 24 * 3650)
}

impl Authorities {
    pub(super) fn make(&mut self) {
        self.made.insert(self.own);
    }

    pub(super) fn issue_client(&mut self, request: &CertRequest) {
        let facts = self.sign(request, "client");
        self.client = Some((request.name.clone(), facts));
    }

    pub(super) fn sign(&self, request: &CertRequest, key: &str) -> CertFacts {
        let issuer = match request.issuer {
            Issuer::Own => self.own,
            Issuer::Trusted(place) => self.trusted[place].0,
        };
        assert!(self.made.contains(issuer), "{issuer} is not there");
        CertFacts {
            sans: request.sans.clone(),
            ..certificate(&request.name, issuer, key, request.hours)
        }
    }

    /// What a CA file has.
    pub(super) fn file(&self) -> CertFacts {
        let trusted = self.trusted.iter().map(|(name, _)| ca(name).identity());
        CertFacts {
            further: trusted.collect(),
            ..ca(self.own)
        }
    }

    /// What an observer finds on the operator's machine.
    pub(super) fn tell(&self, seen: &mut Observation) {
        seen.ca = match self.made.contains(self.own) {
            true => CaView::Usable(ca(self.own)),
            false => CaView::Absent,
        };
        let trusted = self.trusted.iter();
        seen.trusted = trusted
            .map(|(name, key)| match key {
                true => CaView::Usable(ca(name)),
                false => CaView::WithoutKey(ca(name)),
            })
            .collect();
        let client = self.client.iter();
        seen.clients = client
            .map(|(name, facts)| (name.clone(), Observed::Known(facts.clone())))
            .collect();
    }
}

impl Machine {
    /// The CAs in the CA file that is on its disk.
    pub(super) fn held_cas(&self) -> Vec<String> {
        let files = self.certificates.values().filter(|facts| facts.is_ca);
        let held = files.flat_map(CertFacts::file);
        held.map(|one| one.name).collect()
    }

    /// Who issued what it shows: etcd reads certificates at each handshake.
    fn issuers(&self) -> impl Iterator<Item = &str> {
        let shown = self.certificates.values().filter(|facts| !facts.is_ca);
        shown.map(|facts| facts.issuer.as_str())
    }
}

impl Model {
    /// Who issued what members show, each once.
    pub(crate) fn issuers(&self) -> Vec<String> {
        let issuers = self.machines.iter().flat_map(Machine::issuers);
        let issuers: BTreeSet<String> = issuers.map(str::to_owned).collect();
        issuers.into_iter().collect()
    }

    /// Members that run accept one another, and the client.
    pub(super) fn check_trust(&mut self) {
        let running: Vec<&Machine> = self
            .machines
            .iter()
            .filter(|machine| machine.up && machine.process.is_some())
            .collect();
        let mut refused = Vec::new();
        for machine in &running {
            let trusts = &machine.process.as_ref().unwrap().trusts;
            let others = running.iter().flat_map(|other| other.issuers());
            let client = self.authorities.client.iter();
            let client = client.map(|(_, facts)| facts.issuer.as_str());
            // Plain HTTP has no CA files.
            let mut shown = others.chain(client).filter(|_| !trusts.is_empty());
            if let Some(issuer) = shown.find(|issuer| !trusts.iter().any(|one| one == issuer)) {
                let name = &machine.member.name;
                refused.push(format!(
                    "{name} trusts {trusts:?} and is shown one of {issuer}"
                ));
            }
        }
        self.lost.extend(refused);
    }
}

/// How a member listens for others.
fn listens(flags: &FlagSet) -> &str {
    let urls = flags.get("listen-peer-urls").unwrap_or_default();
    urls.split(':').next().unwrap_or_default()
}

impl Model {
    /// Whether a member and the others reach one another: others dial it by the scheme that the
    /// list has, and whoever has no CA file is refused nothing and refuses all TLS.
    pub(super) fn is_in_touch(&self, index: usize, running: &[usize]) -> bool {
        let datas = running
            .iter()
            .filter_map(|index| self.machines[*index].data.as_ref());
        let Some(newest) = datas.max_by_key(|data| data.log) else {
            return false;
        };
        let is_found = |index: usize| {
            let machine = &self.machines[index];
            if machine.process.as_ref().unwrap().ready {
                return true;
            }
            let id = machine.data.as_ref().unwrap().id;
            let listed = newest.list.iter().find(|listed| listed.id == id);
            let urls = listed.iter().flat_map(|listed| &listed.peer_urls);
            let scheme = listens(&machine.process.as_ref().unwrap().flags);
            urls.into_iter()
                .any(|url| url.split(':').next() == Some(scheme))
        };
        let flags = &self.machines[index].process.as_ref().unwrap().flags;
        let others = running
            .iter()
            .filter(|other| **other != index && is_found(**other));
        let mut schemes =
            others.map(|other| listens(&self.machines[*other].process.as_ref().unwrap().flags));
        let knows_tls = flags.get("peer-trusted-ca-file").is_some();
        is_found(index) && (knows_tls || schemes.all(|scheme| scheme == "http"))
    }

    /// Members that run serve clients by the scheme that these have.
    pub(super) fn check_clients(&mut self) {
        let Some(scheme) = self.clients else { return };
        let deaf = self.machines.iter().filter(|machine| {
            let process = machine.process.as_ref().filter(|_| machine.up);
            process.is_some_and(|process| {
                let urls = process.flags.get("listen-client-urls").unwrap_or_default();
                !urls.split(',').any(|url| url.starts_with(scheme))
            })
        });
        let deaf: Vec<String> = deaf
            .map(|machine| format!("{} does not serve {scheme}", machine.member.name))
            .collect();
        self.lost.extend(deaf);
    }
}
