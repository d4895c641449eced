//! What a scenario is given.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::lab::{Kept, Lab};
use crate::outcome::{Outcome, ensure, note};
use crate::setup::testbed;
use crate::writer::{Writer, Written};

/// How the names of labs begin, for each scenario that is carried out at once.
pub(super) const LABS: [&str; 3] = ["e2e", "e2f", "e2g"];

/// What a scenario is given.
#[derive(Clone)]
pub(crate) struct Context {
    /// etcdup's binary.
    pub(crate) etcdup: PathBuf,
    /// The version most scenarios run.
    pub(crate) version: String,
    /// Whether proofs that take long are carried out in full.
    pub(crate) long: bool,
    /// How the names of its labs begin: scenarios that are carried out at once have their own.
    pub(super) labs: &'static str,
    /// Labs that are left to be looked at, where that was asked for.
    pub(super) kept: Option<Kept>,
}

impl Context {
    /// Boots hosts for this scenario.
    pub(crate) fn lab(&self, count: u32) -> Result<Lab, String> {
        self.named("", count)
    }

    /// Boots hosts under a name of their own, for scenarios that need several labs.
    pub(crate) fn named(&self, name: &str, count: u32) -> Result<Lab, String> {
        Ok(self.own(Lab::up(&self.lab_name(name), count, &self.etcdup)?))
    }

    /// So many hosts, the first of them with members that `apply` made.
    pub(crate) fn formed(&self, name: &str, hosts: u32, members: u32) -> Result<Lab, String> {
        let lab = self.named(name, hosts)?;
        lab.topology(&self.version, "", members)?;
        lab.apply()?;
        Ok(lab)
    }

    /// Boots hosts that run static pods, and makes the image they run: its archive.
    pub(crate) fn pods(&self, count: u32) -> Result<(Lab, String), String> {
        self.named_pods("", count)
    }

    /// The same, in a lab of its own name.
    pub(crate) fn named_pods(&self, name: &str, count: u32) -> Result<(Lab, String), String> {
        let output = testbed("image.sh")
            .arg(&self.version)
            .output()
            .map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let image = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let lab = Lab::with_pods(&self.lab_name(name), count, &self.etcdup)?;
        Ok((self.own(lab), image))
    }

    /// A lab's whole name, whichever of those that are carried out at once it is for.
    pub(super) fn lab_name(&self, name: &str) -> String {
        format!("{}{name}", self.labs)
    }

    /// Three members, applied and verified, agreed by etcdctl.
    pub(crate) fn three(&self, head: &str) -> Result<Lab, String> {
        let lab = self.lab(3)?;
        lab.topology(&self.version, head, 3)?;
        lab.apply()?.says("cluster prod")?;
        lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
        Ok(lab)
    }

    /// The lab, left up after a failure where that was asked for.
    fn own(&self, mut lab: Lab) -> Lab {
        lab.kept.clone_from(&self.kept);
        lab
    }
}

/// A scenario: what it is called, and what it does.
pub(crate) type Scenario = (&'static str, fn(&Context) -> Outcome);

/// The same numbers for the same seed (SplitMix64).
pub(super) fn numbers_of(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut next = state;
        next = (next ^ (next >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        next = (next ^ (next >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        next ^ (next >> 31)
    }
}

/// Does the same for each, all at once; why some failed.
pub(super) fn at_once<T: Copy + Send + Sync>(
    each: &[T],
    work: impl Fn(usize, T) -> Outcome + Sync,
) -> Vec<String> {
    let work = &work;
    thread::scope(|scope| {
        let running: Vec<_> = each
            .iter()
            .enumerate()
            .map(|(at, one)| scope.spawn(move || work(at, *one)))
            .collect();
        let ended = running.into_iter().map(|running| match running.join() {
            Ok(outcome) => outcome.err(),
            Err(_) => Some("a thread panicked".to_owned()),
        });
        ended.flatten().collect()
    })
}

/// Ensures that writes went on: an etcd client gives up after five seconds. How short the pause is,
/// the benchmark measures.
pub(super) fn never_still(written: &Written) -> Outcome {
    written.tell();
    gap_is_below(written, STILL)
}

/// How long writes may pause where all hosts have power.
pub(super) const STILL: Duration = Duration::from_secs(5);

fn gap_is_below(written: &Written, most: Duration) -> Outcome {
    ensure(
        written.gap < most,
        format!("writes stood still for {:?}", written.gap),
    )
}

/// etcdctl finds these hosts' members healthy, and no other member.
pub(super) fn agrees(lab: &Lab, hosts: &[u32]) -> Outcome {
    let urls: Vec<String> = hosts
        .iter()
        .map(|host| format!("https://{}:2379", Lab::address(*host)))
        .collect();
    lab.etcdctl_agrees(&urls.join(","), hosts.len())
}

/// A run that was killed, and the one that finished its work.
pub(super) struct Round {
    /// What the writer saw meanwhile.
    pub(super) written: Written,
    /// Whether the kill cut the run short, which may have ended before.
    pub(super) cut: bool,
}

/// `apply` is killed, and the next run finishes: these hosts have the members, all that was written
/// is there, and nothing is left to do.
pub(super) fn finishes_when_killed(
    lab: &Lab,
    mut writer: Writer<'_>,
    after: Duration,
    hosts: &[u32],
) -> Result<Round, String> {
    let cut = lab.apply_killed(after)?;
    let second = lab.apply()?;
    agrees(lab, hosts)?;
    writer.checks(hosts);
    let written = writer.stop()?;
    lab.etcdup(&["verify"])?.exits(0)?;
    lab.nothing_to_do()
        .map_err(|why| format!("{why}\nafter\n{}", second.all()))?;
    Ok(Round { written, cut })
}

/// Makes a member the leader.
pub(super) fn lead(lab: &Lab, member: u32) -> Outcome {
    let id = member_id(lab, &format!("m{member}"))?;
    let all = Lab::endpoints(3);
    let status = lab
        .etcdctl(&all, &["endpoint", "status", "--cluster"])?
        .exits(0)?;
    let leader = status
        .out
        .lines()
        .find(|line| line.split(", ").nth(4) == Some("true"))
        .and_then(|line| line.split(", ").next())
        .ok_or_else(|| status.all())?
        .to_owned();
    if leader.contains(&Lab::address(member)) {
        return Ok(());
    }
    let moved = lab.etcdctl(&leader, &["move-leader", &id])?;
    moved.exits(0).map(|_| ())
}

/// The ID that the cluster lists a member by.
pub(super) fn member_id(lab: &Lab, name: &str) -> Result<String, String> {
    let list = lab
        .etcdctl(&Lab::endpoints(1), &["member", "list"])?
        .exits(0)?;
    let line = list
        .out
        .lines()
        .find(|line| line.contains(&format!(", {name},")));
    let id = line.and_then(|line| line.split(',').next());
    id.map(str::to_owned).ok_or_else(|| list.all())
}

/// A series of runs, each killed at a moment of its own: twenty in a long series.
pub(super) struct Killed {
    /// What the moments follow from.
    pub(super) seed: u64,
    /// How the names of its labs begin, which no other series has.
    pub(super) labs: &'static str,
    /// How long such a run takes: the moments lie in it, from half a second on.
    pub(super) span: Duration,
    /// How long writes may pause.
    pub(super) gap: Duration,
    /// How many are enough where time is short.
    pub(super) sample: usize,
}

impl Killed {
    /// How many runs a long series has, and how many go on at once.
    const LONG: usize = 20;
    const AT_ONCE: usize = 3;

    /// Does the same at each moment, on hosts of its own.
    pub(super) fn series(
        self,
        context: &Context,
        work: impl Fn(&Context, &str, Duration) -> Result<Round, String> + Sync,
    ) -> Outcome {
        let seed = self.seed;
        let mut random = numbers_of(seed);
        let rounds = if context.long {
            Self::LONG
        } else {
            self.sample
        };
        let span = u64::try_from(self.span.as_millis()).map_err(|error| error.to_string())?;
        let moments: Vec<Duration> = (0..rounds)
            .map(|_| Duration::from_millis(500 + random() % span))
            .collect();
        let (mut failures, tally) = (Vec::new(), Mutex::<Tally>::default());
        // On a machine that is faster than the one for which these are moments in a run, few may be
        // cut: then they are sooner.
        let are_enough = |cut: usize| 2 * cut >= moments.len();
        for sooner in [1, 2, 4, 8] {
            for batch in moments.chunks(Self::AT_ONCE) {
                failures.extend(at_once(batch, |at, after| {
                    let after = after / sooner;
                    let round = work(context, &format!("{}{at}", self.labs), after);
                    let failed = |why| format!("seed {seed}, after {after:?}: {why}");
                    let round = round.map_err(failed)?;
                    Tally::add(&tally, &round);
                    gap_is_below(&round.written, self.gap)
                }));
            }
            let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            if are_enough(tally.cut) || !failures.is_empty() {
                break;
            }
        }
        let cut = Tally::report(tally, seed, &failures);
        ensure(failures.is_empty(), failures.join("\n"))?;
        ensure(
            are_enough(cut),
            format!("{cut} runs were cut: the moments lie too late"),
        )
    }
}

/// What a series of runs with faults came to.
#[derive(Default)]
struct Tally {
    rounds: usize,
    cut: usize,
    writes: usize,
    gap: Duration,
}

impl Tally {
    /// Adds what came of one of them.
    fn add(tally: &Mutex<Self>, round: &Round) {
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.rounds += 1;
        tally.cut += usize::from(round.cut);
        tally.writes += round.written.count;
        tally.gap = tally.gap.max(round.written.gap);
    }

    /// Says it, for docs/reliability.md, and returns how many runs were cut.
    fn report(tally: Mutex<Self>, seed: u64, failures: &[String]) -> usize {
        let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
        note!(
            "seed {seed}: {} of {} runs cut, {} failed, {} writes, the longest gap {} ms",
            tally.cut,
            tally.rounds,
            failures.len(),
            tally.writes,
            tally.gap.as_millis()
        );
        tally.cut
    }
}
