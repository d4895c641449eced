//! The checks of conflicts: what it is, why it matters, what to do.

use etcdup_core::finding::Check;

pub(crate) const CHECKS: &[Check] = &[
    RECORD_UNREADABLE,
    FOREIGN_UNIT,
    OTHER_RUNTIME,
    FOREIGN_DATA,
    NO_LOG,
    OTHER_CLUSTER,
    UNKNOWN_CLUSTER,
    OTHER_MEMBER,
    LOST_DATA,
    NOT_LISTED,
    UNWANTED,
    AUTH_DENIED,
    DATA_ELSEWHERE,
    SPLIT,
    RESTORED,
    NOT_MOUNTED,
    OTHER_NAME,
];

/// Also of a reset, where a copied file would delete the cluster that it was copied from.
pub(super) const OTHER_NAME: Check = Check {
    id: "cluster-of-another-name",
    title: "the cluster is known by another name here",
    about: "The host records a cluster of another name with the very ID of what runs, or lies, at this member's place: the file is a \
            copy with a new name, and still means the first cluster's members, units and data.",
    advice: "use that cluster's file; for a cluster of its own, give this one other hosts, or its own ports and [layout]. To rename \
             the cluster for good, delete the record that the evidence names on each host",
};

pub(super) const DATA_ELSEWHERE: Check = Check {
    id: "data-elsewhere",
    title: "a running member uses another data directory",
    about: "The member's etcd runs on another data directory than the topology names. Restarting it would put it on whatever is at \
            the named place: an old copy there would forget what the member voted for and acknowledged.",
    advice: "set `data` to the directory that the member runs on",
};

pub(super) const SPLIT: Check = Check {
    id: "cluster-split",
    title: "members that answer do not agree on their cluster",
    about: "Two members serve reads, follow different leaders and list different members. One was split off, by \
            `--force-new-cluster` or by a restored snapshot, and kept its IDs: counting it as a voter would spend the quorum of the \
            others.",
    advice: "stop the member that was split off, remove it from the cluster, and add it again",
};

pub(super) const RESTORED: Check = Check {
    id: "cluster-restored",
    title: "the data is of a restored cluster",
    about: "Every member has data, all of one cluster, and none of it is what the host records know. That is what a snapshot that \
            was restored by hand on all members looks like.",
    advice: "if it was restored, move /var/lib/etcdup/<cluster>.json aside on every host and run again; if it was restored with \
             another token, set `token` to that",
};

pub(super) const NOT_MOUNTED: Check = Check {
    id: "data-not-mounted",
    title: "the data directory is not the one that was prepared",
    about: "A bootstrap was started on this host before, no member has data, and the data directory has lost the owner and mode that \
            it was given: most likely its disk is not mounted. A new bootstrap would make an empty cluster over the mount point.",
    advice: "mount the disk; if there never was any data, run `etcdup reset` first",
};

/// Also of members that are waited for, and let etcdup in no later.
pub const AUTH_DENIED: Check = Check {
    id: "etcd-auth-denied",
    title: "etcd's own authentication refuses etcdup",
    about: "The cluster has authentication turned on (`etcdctl auth enable`), and etcdup connects with a client certificate that \
            no etcd user belongs to. A member that cannot be asked is never changed, so nothing can be applied.",
    advice: "with client = \"mutual\", let the operator's certificate in: `etcdup etcdctl -- --user root user add etcdup-operator \
             --no-password`, then `etcdup etcdctl -- --user root user grant-role etcdup-operator root`; otherwise turn \
             authentication off while applying",
};

pub(super) const RECORD_UNREADABLE: Check = Check {
    id: "record-unreadable",
    title: "the host record cannot be read",
    about: "The host record keeps what no other place remembers: that the cluster was bootstrapped, and the IDs of its members. \
            One that cannot be read is not the same as none, so nothing is changed on its word.",
    advice: "restore the file, or move it aside if you know that the member's data is intact",
};

pub(super) const OTHER_MEMBER: Check = Check {
    id: "data-other-member",
    title: "the data directory belongs to another member",
    about: "The first bytes of a WAL hold the IDs of the member and its cluster. A directory that was copied from another member, \
            or whose disk was swapped, would put two processes under one raft ID: both vote and acknowledge, and the healthy one \
            panics (\"tocommit is out of range\").",
    advice: "move the copy away and bring back the member's own data; without it, the member must be removed and added again",
};

pub(super) const FOREIGN_DATA: Check = Check {
    id: "data-foreign",
    title: "the data directory holds something else",
    about: "The directory is not empty and holds no etcd member. etcd would start in it, and the other files would be in \
            its way or be lost.",
    advice: "move the directory away, or name another with `data`",
};

pub(super) const NO_LOG: Check = Check {
    id: "data-without-log",
    title: "a member's data and its log are not together",
    about: "etcd needs its data and its write-ahead log, which may have a directory of its own (`wal-dir`). Where only one of them is \
            there, a disk is not mounted or has been replaced. etcd would begin a new log beside the old data, and forget what it \
            voted for and acknowledged.",
    advice: "mount the disk that is missing; if it is gone for good, move what is left of the member aside: etcdup then replaces it",
};

pub(super) const OTHER_CLUSTER: Check = Check {
    id: "data-other-cluster",
    title: "the data directory belongs to another cluster",
    about: "The first bytes of a WAL hold the IDs of the member and its cluster. etcd refuses to mix clusters with \"cluster \
            ID mismatch\" or \"already bootstrapped\" (etcd issues 10897, 11410, 12361).",
    advice: "set `token` to the value the data was created with, or move the directory away",
};

pub(super) const UNKNOWN_CLUSTER: Check = Check {
    id: "cluster-not-known",
    title: "whose data this is cannot be determined",
    about: "All data that was found is of one cluster, no member answers, no host record names it, and its ID is not the one that a \
            bootstrap of this file makes: the cluster was adopted, grown or made by another tool. Its ID depends on the members that \
            it began with, so no token in the file can match it.",
    advice: "start the members that have data by hand; once a quorum of them answers, run again. Leave the directories where they are \
             unless you know that they are not this cluster's",
};

pub(super) const LOST_DATA: Check = Check {
    id: "member-lost-data",
    title: "a member has lost its data",
    about: "The member has started before, and its data directory is missing, empty, or was refilled by etcd itself. Starting it \
            as the old member makes etcd panic (\"tocommit is out of range\") or lose acknowledged writes: it must be removed from \
            the cluster and added again. An older copy of its data is no way back either, since it has forgotten what it voted for. Where half the members or \
            more have lost theirs, no quorum is left to remove them: `etcdup recover` goes on with one that has its \
            data, and `etcdup restore` with a snapshot.",
    advice: "mount its disk again if it is only missing; otherwise bring the other members back: once a quorum of them serves, \
             `etcdup apply` removes this one and adds it again",
};

pub(super) const NOT_LISTED: Check = Check {
    id: "member-not-listed",
    title: "an etcd runs in a removed member's place",
    about: "The cluster lists no such member, an etcd runs where it would, and there is no data that shows whose it is.",
    advice: "stop it by hand, then run `etcdup apply`, which adds the member",
};

pub(crate) const FOREIGN_UNIT: Check = Check {
    id: "unit-of-another",
    title: "the unit or manifest there is another's",
    about: "A unit or manifest of the name that this member would have starts an etcd on another data directory: a second cluster on the \
            same hosts needs names of its own, or it would replace the first.",
    advice: "set layout.unit, layout.certificates and layout.data for this cluster",
};

pub(super) const OTHER_RUNTIME: Check = Check {
    id: "started-by-another",
    title: "the member runs, and something else started it",
    about: "An etcd runs on the member's data directory, and the unit or manifest that the file means is not there: the runtime, the unit's \
            name or the manifests' directory was changed in the file. Starting another beside it would have two etcds on one \
            data directory.",
    advice: "stop it by hand, or say in the file what runs it",
};

pub(super) const UNWANTED: Check = Check {
    id: "member-not-in-file",
    title: "the cluster has a member that nobody's file names",
    about: "The cluster's member list has a member that the file does not name and that no host record knows: another tool added it. A \
            member that etcdup knows is removed when the file names it no more; this one may be anybody's.",
    advice: "add the member to the file; to remove it, give it a [[member]] with absent = true, or absent = \"gone\" where its host is gone \
             for good",
};
