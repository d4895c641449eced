//! What a recovery finds.

use etcdup_core::finding::Check;

pub(crate) const CHECKS: &[Check] = &[
    CAME_BACK,
    NOT_LOST,
    RECOVER_CERTIFICATE,
    RECOVER_CLOCK,
    RECOVER_DATA,
    RECOVER_FILE,
    RECOVER_GONE,
    RECOVER_LOG,
    RECOVER_OPEN,
    RECOVER_RELEASE,
    RECOVER_UNSEEN,
];

pub(crate) const RECOVER_OPEN: Check = Check {
    id: "recover-open",
    title: "a recovery of this cluster has not ended",
    about: "A host's record says that the cluster is being recovered by one of its members. Until that has ended nothing else is \
            done to it: members that would agree with one another may no longer belong together.",
    advice: "run `etcdup recover`: it goes on, or gives up where a quorum is back and nothing was changed yet",
};
pub(crate) const CAME_BACK: Check = Check {
    id: "came-back",
    title: "a member of before the recovery is back",
    about: "The cluster was recovered by one member, whose list has no other of that time. One that comes back with its data still \
            knows the old list. Where a quorum of those come back they serve, under the same cluster ID, and clients that know them \
            read and write what the recovered cluster does not have.",
    advice: "run `etcdup recover` again: it stops what came back and moves its data aside",
};
pub(crate) const NOT_LOST: Check = Check {
    id: "quorum-not-lost",
    title: "the cluster has a quorum, or can have one",
    about: "A recovery gives up what the other members hold. Where enough of them have their data nothing needs to be lost.",
    advice: "`etcdup apply` starts what does not run, and replaces members that are lost",
};
pub(crate) const RECOVER_UNSEEN: Check = Check {
    id: "recover-unseen",
    title: "a member may still be running",
    about: "Its host does not answer. If it runs, or comes back, with others, they are a cluster of their own beside the one that \
            is recovered. Only you can know that it is gone.",
    advice: "bring the host back; or, if it is gone for good and never starts again, name its member with --gone",
};
pub(crate) const RECOVER_GONE: Check = Check {
    id: "recover-gone",
    title: "a member that is called gone is not",
    about: "Members that are gone for good are named with --gone, by the names in the file. One that answers may hold what no other \
            does.",
    advice: "leave out whatever is not gone: a member whose host answers is stopped anyway",
};
pub(crate) const RECOVER_CERTIFICATE: Check = Check {
    id: "recover-certificate",
    title: "a certificate has ended that etcdup does not issue",
    about: "What the member shows to clients has ended, and the file provides it, or it lies on its host. Once the member runs alone \
            nobody could ask it anything.",
    advice: "put one that is valid in its place, as [certificates.provided] names it, then run the same command again",
};
pub(crate) const RECOVER_CLOCK: Check = Check {
    id: "recover-clock",
    title: "the clock of the member that would go on differs from this machine's",
    about: "Certificates are valid by a clock. More than five minutes apart, the member and this machine may refuse each other once it \
            runs alone, and nobody else could say how it is.",
    advice: "set the clock that is wrong (chrony, ntp or systemd-timesyncd), then run the same command again",
};
pub(crate) const RECOVER_DATA: Check = Check {
    id: "recover-data",
    title: "no member has data to go on with",
    about: "A recovery needs the data of one voter of this cluster, on a host that answers, with a log that is whole.",
    advice: "run `etcdup restore` with a snapshot: `etcdup snapshot list` shows what is kept",
};
pub(crate) const RECOVER_FILE: Check = Check {
    id: "recover-not-in-file",
    title: "the member that would go on is not in the file",
    about: "Its data goes furthest, and only host records know where it is. Once it goes on alone nothing would lead to it.",
    advice: "give it its [[member]] back, and take it out again once others have joined",
};
pub(crate) const RECOVER_LOG: Check = Check {
    id: "recover-log",
    title: "a member's log cannot be read",
    about: "Which member goes on is decided by how far their logs go. One whose log cannot be read may have gone furthest.",
    advice: "put right what keeps it from being read; if its data is of no use, name it with --gone",
};
pub(crate) const RECOVER_RELEASE: Check = Check {
    id: "recover-release",
    title: "the file asks for another release than the member ran",
    about: "A recovery changes nothing but who is a member: the release of etcd that wrote the data goes on with it.",
    advice: "set `etcd` to the release that it ran, recover, then set it back and run `etcdup apply`",
};
