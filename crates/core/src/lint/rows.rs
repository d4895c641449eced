//! Every check that needs no host.

use crate::finding::Check;

/// Every check of this file and of the flags, for `etcdup explain`.
pub const LINTS: &[Check] = &[
    NO_MEMBERS,
    DUPLICATE_NAME,
    DUPLICATE_ADDRESS,
    EVEN_MEMBERS,
    MANY_VOTERS,
    PORT_CLASH,
    PATH_CLASH,
    VERSION_HAZARD,
    VERSION_UNKNOWN,
    PLAIN_EXPOSED,
    CLIENT_ALSO,
    TRUST,
    CHECKSUM_FORM,
    TOOLS_SOURCE,
    MIRROR_URL,
    SNAPSHOT_PLACE,
    SYSTEM_PATH,
    ADDRESS,
    CLIENT_NAME,
    LIFETIME,
    UNKNOWN_FLAG,
    FLAG_IN_VERSION,
    FLAG_OWNED,
    FLAG_VALUE,
    TLS_CONTRADICTION,
];

pub(super) const NO_MEMBERS: Check = Check {
    id: "no-members",
    title: "the file names no member",
    about: "A cluster has at least one member. Each is a `[[member]]` table with a `host`.",
    advice: "add a [[member]] with a name and a host",
};

pub(super) const EVEN_MEMBERS: Check = Check {
    id: "even-members",
    title: "an even number of members",
    about: "Four members survive the loss of one, as three do, but need three of four to agree. An even number costs \
            more and protects no better.",
    advice: "use 1, 3, 5 or 7 members",
};

pub(super) const MANY_VOTERS: Check = Check {
    id: "many-voters",
    title: "more than seven voters",
    about: "Every write waits for a majority; past seven voters writes get slower and little is won. etcd's FAQ \
            recommends seven at most.",
    advice: "use 3 or 5 members",
};

pub(super) const VERSION_HAZARD: Check = Check {
    id: "known-issue",
    title: "a release with a known issue",
    about: "The release has a fault that etcd's maintainers have described. A fault that loses data is refused for a new \
            cluster; others are warnings, because distributions lag behind.",
    advice: "use the newest patch of the minor",
};

pub(super) const VERSION_UNKNOWN: Check = Check {
    id: "version-unknown",
    title: "an unknown etcd release",
    about: "A newer patch of a known minor is taken to have the flags of the newest known patch. A newer minor is refused, \
            because its flags and known issues are not known.",
    advice: "use a known minor, or a newer etcdup",
};

pub(super) const CHECKSUM_FORM: Check = Check {
    id: "checksum-form",
    title: "invalid checksum",
    about: "A SHA-256 is 64 hexadecimal digits.",
    advice: "copy the line from SHA256SUMS",
};

pub(super) const TOOLS_SOURCE: Check = Check {
    id: "tools-source",
    title: "tools that hosts lack cannot come from hosts",
    about: "`tools` under [binaries.host] says where etcdutl comes from for a restore on a host that has none in its own directory.",
    advice: "name a release, an archive or a directory, or leave `tools` out: then it is upstream's release",
};

pub(super) const MIRROR_URL: Check = Check {
    id: "mirror-url",
    title: "a mirror's URL that cannot be used",
    about: "A mirror is an http or https URL. A password in it would show in plans, reports and the hosts' process lists.",
    advice: "write https://host/path; let a netrc file or a proxy log in",
};

pub(super) const SNAPSHOT_PLACE: Check = Check {
    id: "snapshot-place",
    title: "snapshots cannot be kept as the file says",
    about: "Snapshots are kept in a directory, or in an object store whose URL begins with s3, gs or az. A secret in the topology file \
            would be in every copy of it.",
    advice: "write `to = \"/mnt/backup\"` or `to = \"s3://bucket/prefix\"`, and secrets into the file that `credentials` names",
};

pub(super) const ADDRESS: Check = Check {
    id: "address-unusable",
    title: "an address that others cannot use",
    about: "Peers and clients connect to this address. 0.0.0.0 is not routable, and loopback points every host at itself.",
    advice: "name the host's own address, or `address = { interface = \"..\" }`",
};

pub(super) const LIFETIME: Check = Check {
    id: "certificate-settings",
    title: "a setting of certificates that cannot be used",
    about: "Lifetimes are 1 to 36500 days, and every certificate and key has a file name of its own on its host.",
    advice: "correct the setting, or leave it out",
};

pub(super) const CLIENT_NAME: Check = Check {
    id: "client-name",
    title: "a client named like the CA",
    about: "A client's files lie beside the CA's and carry its name: one called `ca` would overwrite them.",
    advice: "give the client another name",
};

pub(super) const DUPLICATE_NAME: Check = Check {
    id: "duplicate-name",
    title: "two members have one name",
    about: "etcd tells members apart by name while a cluster forms; two of one name never do.",
    advice: "give each member a name of its own",
};

pub(super) const DUPLICATE_ADDRESS: Check = Check {
    id: "duplicate-address",
    title: "two members have one URL",
    about: "Two members with the same address and peer port would be one to their peers. Users have noticed only \
            after an outage that two hosts were the same (kubespray issue 2111).",
    advice: "give each member its own address, or its own ports where members share a host",
};

pub(super) const PORT_CLASH: Check = Check {
    id: "port-clash",
    title: "members of one host want one port",
    about: "Members that share a host also share its ports. Each needs its own client, peer and metrics port.",
    advice: "set client-port, peer-port and metrics-port for the member",
};

pub(super) const PATH_CLASH: Check = Check {
    id: "path-clash",
    title: "members of one host want one directory",
    about: "Two members in one data directory destroy each other's data.",
    advice: "leave `data` out, or name a directory for each member",
};

pub(super) const PLAIN_EXPOSED: Check = Check {
    id: "plain-exposed",
    title: "plain HTTP that the network can reach",
    about: "Whoever reaches a plain client port reads and changes everything in etcd, Kubernetes' secrets too.",
    advice: "use `mutual`, listen on loopback, or say `allow-plain = true` under [security]",
};

pub(super) const CLIENT_ALSO: Check = Check {
    id: "client-also",
    title: "one port cannot serve both",
    about: "While clients go from plain HTTP to TLS, or back, a member serves both on one port. Whether clients must show a \
            certificate it decides once for all that speak TLS.",
    advice: "write client = \"mutual\" and client-also = \"plain\" for a change to TLS, and take client-also out when it is over; \
             between `tls` and `mutual` change `client` alone",
};

pub(super) const TRUST: Check = Check {
    id: "trust-unused",
    title: "a CA is named that nothing would trust",
    about: "`certificates.trust` names certificates of CAs that members trust beside the one from which etcdup issues.",
    advice: "take it out, or put the certificate into the CA file that is provided",
};

pub(super) const SYSTEM_PATH: Check = Check {
    id: "system-path",
    title: "a directory that belongs to the system",
    about: "Directories for certificates, data and binaries are created, and their mode and owner are set. On /etc or /usr that \
            would break the host; inside one another they would be in each other's way.",
    advice: "name a directory of its own for each: certificates, data, and the log where it has one",
};

pub(super) const UNKNOWN_FLAG: Check = Check {
    id: "unknown-flag",
    title: "an unknown etcd flag",
    about: "etcd refuses to start with an unknown flag. As a variable it would be ignored in silence (etcd issue 11298).",
    advice: "`etcdup flags` lists the flags of the version",
};

pub(super) const FLAG_IN_VERSION: Check = Check {
    id: "flag-not-in-version",
    title: "a flag that this version does not have",
    about: "Flags come and go, in patch releases too: 3.7 dropped all --experimental flags, 3.6 those of the v2 store. Many \
            live on under another name or as a feature gate.",
    advice: "use the flag's successor, or another version",
};

pub(super) const FLAG_OWNED: Check = Check {
    id: "flag-owned",
    title: "a flag that etcdup sets itself",
    about: "Names, URLs, paths and the initial cluster follow from the rest of the file. Given twice they could contradict it.",
    advice: "leave the flag out; the file's other keys decide it",
};

pub(super) const FLAG_VALUE: Check = Check {
    id: "flag-value",
    title: "a value that does not fit its flag",
    about: "etcd refuses to start with a value of the wrong kind, and election timeouts must be at least five heartbeats and \
            at most 50 s, the same on every member.",
    advice: "`etcdup flags` says what each flag takes",
};

pub(super) const TLS_CONTRADICTION: Check = Check {
    id: "tls-contradiction",
    title: "a TLS flag that contradicts [security]",
    about: "[security] and [certificates] decide every certificate flag; a TLS flag on a plain plane does nothing.",
    advice: "leave the flag out, or change [security]",
};
