//! A name that two members have, as both the file and the resolved topology show it.

use super::rows::DUPLICATE_NAME;
use crate::file::KeyPath;
use crate::finding::Finding;
use crate::name::MemberName;

pub(super) fn duplicate_name(name: &MemberName, first: usize, index: usize) -> Finding {
    let evidence = format!("member {} of the file is called `{name}` too", first + 1);
    DUPLICATE_NAME
        .error(name, evidence)
        .at(KeyPath::member(index).key("name"))
}
