//! What of a member lies or runs elsewhere on its host than the file says.

use etcdup_core::file::RuntimeKind;
use etcdup_core::topology::{LOG, Member, MemberLayout};

use super::difference::{Cost, Difference, DifferenceKind};
use crate::target::Target;

/// What of a member is elsewhere than the file says: what, where it is, and where it should be.
pub(super) fn elsewhere(target: &Target, member: &Member) -> Vec<Difference> {
    let Some((_, there)) = target.there(&member.name) else {
        return Vec::new();
    };
    let (here, there) = (&member.layout, &there.layout);
    let mut found = Vec::new();
    let mut add = |what, is: String, wanted: String| {
        if is != wanted {
            let kind = DifferenceKind::Elsewhere { what, is, wanted };
            found.push(kind.costs(Cost::Restart));
        }
    };
    add("what runs it", runner(here), runner(there));
    add("its data", here.data.to_string(), there.data.to_string());
    let log = |layout: &MemberLayout| Some(layout.holds_log().ok()?.join(LOG).ok()?.to_string());
    if let (true, Some(is), Some(wanted)) = (here.wal != there.wal, log(here), log(there)) {
        add("its log", is, wanted);
    }
    if here.is_systemd() && there.is_systemd() {
        add("its user", here.user.to_string(), there.user.to_string());
    }
    if target.topology.uses_tls() {
        let of = |layout: &MemberLayout| layout.certificates.to_string();
        add("the directory of its certificates", of(here), of(there));
    }
    found
}

fn runner(layout: &MemberLayout) -> String {
    match layout.runtime {
        RuntimeKind::Systemd => layout.unit.clone(),
        RuntimeKind::StaticPod => format!("the static pod {}", layout.manifest),
        RuntimeKind::Process => format!("the process of {}", layout.start_file),
    }
}
