//! Which snapshots are kept when older ones are deleted.

use std::collections::BTreeSet;

use etcdup_core::file::Keep;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::kept::KeptSnapshot;

/// Those that a rule does not keep, and how many stay.
#[derive(Debug, Clone)]
pub struct Surplus {
    /// What may be deleted, the oldest first.
    pub gone: Vec<KeptSnapshot>,
    /// How many are left then.
    pub stay: usize,
}

/// What a rule does not keep of a list with the oldest first. The newest that is whole always
/// stays: it is read to its end, since what is kept is worth something only where one of it can be
/// restored. `None` where there are some and none is whole.
pub async fn surplus(found: Vec<KeptSnapshot>, keep: &Keep) -> Option<Surplus> {
    // What a restore replaced takes no other snapshot's place: those may be needed again.
    let mut stay = BTreeSet::new();
    for replaced in [false, true] {
        let of = found.iter().enumerate();
        let of: Vec<usize> = of
            .filter(|(_, one)| one.is_replaced() == replaced)
            .map(|(at, _)| at)
            .collect();
        let taken: Vec<Timestamp> = of.iter().map(|at| found[*at].taken).collect();
        stay.extend(kept(&taken, keep).into_iter().map(|at| of[at]));
    }
    let mut whole = None;
    let newest_first = (0..found.len()).rev();
    let (replaced, own): (Vec<usize>, Vec<usize>) =
        newest_first.partition(|at| found[*at].is_replaced());
    for at in own.into_iter().chain(replaced) {
        if found[at].verify().await.is_ok() {
            whole = Some(at);
            break;
        }
    }
    if whole.is_none() && !found.is_empty() {
        return None;
    }
    stay.extend(whole);
    let gone = found.into_iter().enumerate();
    let gone = gone
        .filter(|(at, _)| !stay.contains(at))
        .map(|(_, one)| one);
    Some(Surplus {
        gone: gone.collect(),
        stay: stay.len(),
    })
}

/// The places, in a list with the oldest first, of those that a rule keeps.
fn kept(taken: &[Timestamp], keep: &Keep) -> BTreeSet<usize> {
    let newest_first = || (0..taken.len()).rev();
    let last = newest_first().take(count(keep.last));
    let mut kept: BTreeSet<usize> = last.collect();
    let time = |at: usize| taken[at].to_zoned(TimeZone::UTC).datetime();
    let hour = |at| (time(at).date(), time(at).hour());
    let day = |at| (time(at).date(), 0);
    let week = |at| (monday(time(at).date()), 0);
    for (rule, of) in [
        (keep.hourly, &hour as &dyn Fn(usize) -> (Date, i8)),
        (keep.daily, &day),
        (keep.weekly, &week),
    ] {
        let mut spans = BTreeSet::new();
        for at in newest_first() {
            if spans.len() == count(rule) {
                break;
            }
            if spans.insert(of(at)) {
                kept.insert(at);
            }
        }
    }
    kept
}

fn monday(date: Date) -> Date {
    let since = date.weekday().to_monday_zero_offset();
    date.checked_sub(jiff::Span::new().days(since))
        .unwrap_or(date)
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say what they expect")]

    use super::*;

    fn times(times: &[&str]) -> Vec<Timestamp> {
        times.iter().map(|time| time.parse().unwrap()).collect()
    }

    fn only(keep: Keep, of: &[&str]) -> Vec<usize> {
        kept(&times(of), &keep).into_iter().collect()
    }

    const NONE: Keep = Keep {
        last: 0,
        hourly: 0,
        daily: 0,
        weekly: 0,
    };

    #[test]
    fn the_newest_of_each_span_is_kept() {
        let of = [
            "2026-11-15T23:00:00Z",
            "2026-11-16T00:30:00Z",
            "2026-11-22T10:00:00Z",
            "2026-11-23T10:00:00Z",
            "2026-11-23T10:59:59Z",
            "2026-11-23T11:00:00Z",
        ];
        assert_eq!(only(Keep { last: 2, ..NONE }, &of), [4, 5]);
        assert_eq!(only(Keep { hourly: 2, ..NONE }, &of), [4, 5]);
        assert_eq!(only(Keep { daily: 2, ..NONE }, &of), [2, 5]);
        // Of the week from Monday the 16th it is that of Sunday the 22nd.
        assert_eq!(only(Keep { weekly: 3, ..NONE }, &of), [0, 2, 5]);
        // Spans without any do not count.
        assert_eq!(only(Keep { daily: 9, ..NONE }, &of), [0, 1, 2, 5]);
        assert_eq!(only(Keep::default(), &of), [0, 1, 2, 3, 4, 5]);
        assert!(only(NONE, &of).is_empty());
        assert!(only(Keep::default(), &[]).is_empty());
    }

    /// A year of one every ten minutes: the number is bounded, and the newest is always there.
    #[test]
    fn the_number_is_bounded() {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let every = |at: i64| start + jiff::SignedDuration::from_mins(10 * at);
        let taken: Vec<Timestamp> = (0..6 * 24 * 365).map(every).collect();
        let kept = kept(&taken, &Keep::default());
        assert!(
            (24..=10 + 24 + 7 + 4).contains(&kept.len()),
            "{}",
            kept.len()
        );
        assert!(kept.contains(&(taken.len() - 1)));
    }

    /// Whatever the rule says, one that can be restored is left.
    #[tokio::test]
    async fn the_newest_that_is_whole_always_stays() {
        let place = tempfile::tempdir().unwrap();
        let one = |name: &str, bytes: &[u8]| {
            let path = place.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            KeptSnapshot {
                taken: "2026-11-15T23:00:00Z".parse().unwrap(),
                ..KeptSnapshot::at(&path).unwrap()
            }
        };
        let whole = crate::snapshots::digest::tests::snapshot(8);
        let found = vec![
            one("a.db", &whole),
            one("b.db", &whole),
            one("c.db", &whole[..900]),
        ];
        let keep = Keep { last: 1, ..NONE };
        let left = surplus(found.clone(), &keep).await.unwrap();
        let gone: Vec<&str> = left.gone.iter().map(|kept| kept.name.as_str()).collect();
        assert_eq!((gone, left.stay), (vec!["a"], 2));
        assert!(surplus(found[2..].to_vec(), &keep).await.is_none());
        assert_eq!(surplus(Vec::new(), &keep).await.unwrap().stay, 0);
    }

    /// What a restore replaced never pushes out another snapshot.
    #[tokio::test]
    async fn what_was_replaced_takes_no_place_of_another() {
        let place = tempfile::tempdir().unwrap();
        let whole = crate::snapshots::digest::tests::snapshot(8);
        let one = |name: &str, replaced: bool| {
            let path = place.path().join(format!("{name}.db"));
            std::fs::write(&path, &whole).unwrap();
            let mut kept = KeptSnapshot::at(&path).unwrap();
            kept.document = Some(crate::snapshots::kept::tests::document(name, replaced));
            let sha256 = crate::snapshots::digest::verify(&path).unwrap();
            kept.document.as_mut().unwrap().sha256 = sha256;
            kept
        };
        let found = vec![
            one("a", false),
            one("b", false),
            one("c", true),
            one("d", true),
        ];
        let left = surplus(found, &Keep { last: 1, ..NONE }).await.unwrap();
        let gone: Vec<&str> = left.gone.iter().map(|kept| kept.name.as_str()).collect();
        assert_eq!(gone, ["a", "c"]);
    }
}
