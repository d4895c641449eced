//! The unit, start file or manifest: what of it counts for a running member.

use std::collections::BTreeSet;

use etcdup_core::flag::FlagSet;
use etcdup_core::observation::{DataDir, HostView};
use etcdup_core::stage::{Artifact, Content};
use etcdup_core::topology::Member;

use super::certificates::place;
use super::difference::{Change, Cost, Difference, DifferenceKind};
use crate::identity::read_flags;
use crate::target::Target;

/// The unit or start file. What counts at first start only is no reason to restart; anything else
/// is, unless systemd has not even read the file that was changed by hand.
pub(super) fn start_file(
    target: &Target,
    member: &Member,
    host: &HostView,
    wanted: &Artifact,
    formed: bool,
) -> Option<Difference> {
    let found = host.files.get(&wanted.path);
    let has_data = matches!(host.data.get(&member.layout.data), Some(DataDir::Member(_)));
    if target.topology.keep_unit {
        let process = host.processes.get(&member.name);
        let flags = &target.desired(member).flags;
        let keeps = match process {
            Some(process) => process.flags.differences(flags).is_empty(),
            // Without data it starts with what its file says of the cluster: any other list, or
            // `new`, makes a cluster of its own.
            None if formed && !has_data => found
                .and_then(|found| found.text.as_deref())
                .is_some_and(|text| joins_by(&read_flags(member, text), wanted, member)),
            None => found.is_some(),
        };
        // A unit of a package's lies below /usr/lib: what runs as it should is kept, wherever its
        // unit is.
        if keeps {
            return None;
        }
    }
    let Some(found) = found else {
        return Some(DifferenceKind::Missing(wanted.path.clone()).costs(Cost::NoRestart));
    };
    let sum = found.sha256.as_deref().unwrap_or_default();
    let settled = &target.desired(member).settled;
    // A member that joins starts with the list as it is meanwhile.
    let joining = (formed && *wanted != *settled).then(|| wanted.content.sha256());
    let right = match &joining {
        Some(joining) => joining.as_deref(),
        None => target.desired(member).sum(&wanted.path),
    };
    // Until the bootstrap has ended both files are right for a member with data: etcd ignores the
    // state once it has any.
    let same = if formed {
        Some(sum) == right
    } else {
        target.desired(member).is_fresh(sum) || has_data && Some(sum) == right
    };
    if same {
        return place(found, wanted);
    }
    let changed = |change: Change, cost: Cost| {
        let path = wanted.path.clone();
        Some(DifferenceKind::Content { path, change }.costs(cost))
    };
    if formed && target.desired(member).is_fresh(sum) {
        // The kubelet restarts a pod whose manifest changes. It is worth that: until then an
        // emptied directory would come up as a new cluster (kubespray issue 13261).
        let cost = if member.layout.is_pod() {
            Cost::EndsBootstrap
        } else {
            Cost::NoRestart
        };
        return changed(Change::StillNew, cost);
    }
    if let (Some(text), Content::Text(wanted_text)) = (&found.text, &wanted.content)
        && lasting(text) == lasting(wanted_text)
    {
        // Without data it starts with this very list.
        if member.layout.is_pod() && has_data {
            // Writing it would restart the pod: it is brought up to date with its next real change.
            return None;
        }
        return changed(Change::BootstrapFlags, Cost::NoRestart);
    }
    let ours = host
        .record()
        .and_then(|record| record.files.get(&wanted.path));
    let by_hand = ours.is_some_and(|ours| ours.sha256 != sum);
    let unread = host
        .units
        .get(&member.layout.unit)
        .is_some_and(|unit| unit.needs_reload);
    let change = if by_hand {
        Change::OutsideEtcdup
    } else {
        Change::Rendered
    };
    let cost = if by_hand && unread || !host.processes.contains_key(&member.name) {
        Cost::NoRestart
    } else {
        Cost::Restart
    };
    changed(change, cost)
}

/// Whether these flags let a member in that the wanted start file lets in.
fn joins_by(flags: &FlagSet, wanted: &Artifact, member: &Member) -> bool {
    let Content::Text(text) = &wanted.content else {
        return false;
    };
    let wanted = read_flags(member, text);
    let list = |flags: &FlagSet| {
        let list = flags.get("initial-cluster").unwrap_or_default();
        list.split(',').map(str::to_owned).collect::<BTreeSet<_>>()
    };
    flags.get("initial-cluster-state") == Some("existing") && list(flags) == list(&wanted)
}

/// A start file without its lines of the first start: `--initial-cluster...`, `--discovery-srv...`
/// and their variables.
fn lasting(text: &str) -> Vec<&str> {
    let mut of_first_start = false;
    let mut lines = text.lines().peekable();
    // A manifest folds a long list, and the fold has a line of its own.
    let unfolded = std::iter::from_fn(|| {
        let line = lines.next()?;
        let folds = line.trim() == "- >-"
            && lines
                .peek()
                .is_some_and(|next| next.contains("--initial-cluster"));
        if folds { lines.next() } else { Some(line) }
    });
    unfolded
        .filter(|line| {
            let low = line.to_ascii_lowercase().replace('_', "-");
            // A manifest has a variable's value in the line below its name.
            let value = of_first_start && low.trim_start().starts_with("value:");
            of_first_start = low.contains("initial-cluster") || low.contains("discovery-srv");
            !of_first_start && !value
        })
        .collect()
}
