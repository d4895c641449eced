//! Checks of SRV records, as every host's own resolver answers.

use etcdup_core::file::KeyPath;
use etcdup_core::finding::{Check, Finding};
use etcdup_core::observed::Observed;
use etcdup_core::topology::{SrvRecord, peer_records, peer_services, zone_lines};

use super::stopped::StoppedMember;

pub(super) const SRV: Check = Check {
    id: "srv-records",
    title: "SRV records that etcd cannot start with",
    about: "With SRV discovery a member that starts for the first time asks its host's resolver for `_etcd-server-ssl._tcp` and \
            `_etcd-server._tcp` of the domain, merges both, and must find itself among the records by its own peer URL. 3.4 \
            fails when the first of the two is missing, later releases when both are (etcd issues 10643, 11321); fields in \
            another order than priority, weight, port, target give the same error.",
    advice: "put the records that `etcdup check` prints into the zone",
};

pub(super) fn records(fresh: &StoppedMember<'_>, findings: &mut Vec<Finding>) {
    let topology = &fresh.target.topology;
    let Some(services) = peer_services(topology) else {
        return;
    };
    let (host, name) = (&fresh.member.host, &fresh.member.name);
    let mut refuse = |why: String| {
        findings.push(SRV.error(name, why).at(KeyPath::root("discovery")));
    };
    let answer = |service: &str| {
        let answer = fresh.seen.srv.get(&(host.clone(), service.to_owned()));
        answer
            .cloned()
            .unwrap_or_else(|| Observed::unknown("it was not asked"))
    };
    let found = match answer(&services.own) {
        Observed::Known(found) => found,
        Observed::Unknown(why) => {
            refuse(format!(
                "the resolver of {host} does not answer for {}: {why}",
                services.own
            ));
            return;
        }
    };
    let wanted = peer_records(topology);
    if found.is_empty() {
        let lines = zone_lines(topology);
        let own: Vec<&String> = lines
            .iter()
            .filter(|line| line.starts_with(&services.own))
            .collect();
        let own: Vec<&str> = own.iter().map(|line| line.as_str()).collect();
        refuse(format!(
            "{host} finds no record of {}; the zone needs {}",
            services.own,
            own.join(", ")
        ));
    } else {
        compare(&wanted, &found).into_iter().for_each(|why| {
            refuse(format!("{host} finds {}: {why}", services.own));
        });
    }
    match answer(&services.other) {
        Observed::Known(other) if !other.is_empty() => refuse(format!(
            "{host} finds records of {} too, and etcd merges both: every member would be listed twice",
            services.other
        )),
        // 3.4 gives up when the service of TLS is missing, even where peers speak plain HTTP.
        Observed::Known(_) if topology.version.minor() == 4 && services.other.contains("-ssl") => {
            refuse(format!(
                "etcd 3.4 also wants {}, though peers speak plain HTTP: use TLS for peers, or a newer etcd",
                services.other
            ));
        }
        Observed::Known(_) | Observed::Unknown(_) => {}
    }
}

/// What is wrong with the records found, in words.
fn compare(wanted: &[SrvRecord], found: &[SrvRecord]) -> Vec<String> {
    let same =
        |a: &SrvRecord, b: &SrvRecord| a.port == b.port && a.target.eq_ignore_ascii_case(&b.target);
    let mut wrong = Vec::new();
    for record in wanted {
        if found.iter().any(|other| same(record, other)) {
            continue;
        }
        let near = found
            .iter()
            .find(|other| other.target.eq_ignore_ascii_case(&record.target));
        wrong.push(match near {
            Some(other) if [other.priority, other.weight].contains(&record.port) => format!(
                "`{other}` has its fields in the wrong order; it is priority, weight, port, target: `{record}`"
            ),
            Some(other) if other.port == record.port => {
                format!("`{other}` is spelled differently; wanted `{record}`")
            }
            Some(other) => format!("`{other}` has another port; wanted `{record}`"),
            None => format!("`{record}` is missing"),
        });
    }
    for other in found {
        let known = wanted
            .iter()
            .any(|record| record.target.eq_ignore_ascii_case(&other.target));
        if !known {
            wrong.push(format!("`{other}` is no member: etcd would wait for it"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(priority: u16, weight: u16, port: u16, target: &str) -> SrvRecord {
        SrvRecord {
            priority,
            weight,
            port,
            target: target.to_owned(),
        }
    }

    #[test]
    fn each_mistake_in_a_zone_has_its_own_words() {
        let wanted = [
            record(0, 0, 2380, "m1.lab"),
            record(0, 0, 2380, "m2.lab"),
            record(0, 0, 2380, "m3.lab"),
        ];
        let found = [
            record(2380, 0, 0, "m1.lab"),
            record(10, 10, 2379, "M2.LAB"),
            record(0, 0, 2380, "m9.lab"),
        ];
        let wrong = compare(&wanted, &found);
        assert!(wrong[0].contains("wrong order"), "{wrong:?}");
        assert!(wrong[1].contains("another port"), "{wrong:?}");
        assert!(wrong[2].contains("is missing"), "{wrong:?}");
        assert!(wrong[3].contains("is no member"), "{wrong:?}");
        assert!(compare(&wanted, &wanted).is_empty());
    }
}
