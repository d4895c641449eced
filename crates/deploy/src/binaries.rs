//! Where etcd's binaries come from: a release, an archive, a directory or the host itself.

pub(crate) mod release;
