//! How far the logs of members go that could go on alone.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use etcdup_core::host::HostId;
use etcdup_core::name::NameError;
use etcdup_core::observation::{DataDir, Observation, RaftLog, RaftLogReader};
use etcdup_core::observed::Observed;
use etcdup_core::path::HostPath;
use etcdup_core::plain::chain;
use etcdup_core::stage::Goal;
use etcdup_core::topology::{LOG, Member};
use etcdup_host::{Header, refusal};
use etcdup_planner::Planner;
use etcdup_transport::Transport;
use flate2::write::GzDecoder;

use crate::observe::state_of;
use crate::scripts::RAFT_LOG;
use crate::session::Session;
use crate::tasks::run_all;

/// What is printed before the segment: a line of ours, another with its name, and what a login
/// shell may have said before.
const HEAD: usize = 64 << 10;

impl Session {
    /// Reads the logs on these hosts, where they decide who goes on.
    pub(super) async fn read_raft_logs(
        &self,
        planner: &Planner,
        hosts: &[HostId],
        seen: &mut Observation,
    ) {
        if !matches!(planner.goal(), Goal::Recover { .. }) {
            return;
        }
        let topology = planner.topology();
        let mut work = Vec::new();
        for host in hosts {
            let Some(view) = seen.host(host) else {
                continue;
            };
            for member in topology.on_host(host) {
                let data = &member.layout.data;
                let (Some(DataDir::Member(_)), Ok(log), Observed::Known(link)) =
                    (view.data.get(data), wal(member), self.link(host))
                else {
                    continue;
                };
                let state = state_of(topology, host);
                let cluster = topology.cluster.to_string();
                // The tool would wait for the lock that etcd has, or etcd, which is started again
                // and again, for that of the tool.
                let runs = view.processes.contains_key(&member.name);
                let unit = view.units.get(&member.layout.unit);
                let rests = unit.is_none_or(|unit| ["dead", "failed"].contains(&unit.sub.as_str()));
                let store = (!runs && rests).then(|| data.join(STORE).ok()).flatten();
                let store = store.map_or_else(|| "-".to_owned(), |store| store.to_string());
                let asked = format!("{log}\n{store}\n{}\n", member.layout.binaries);
                let read = async move { read(link, &state, &cluster, &asked).await };
                work.push(((host.clone(), data.clone()), read));
            }
        }
        for ((host, data), log) in run_all(work).await {
            let log = log.unwrap_or_else(Observed::unknown);
            if let Some(Observed::Known(view)) = seen.hosts.get_mut(&host) {
                view.raft_logs.insert(data, log);
            }
        }
    }
}

/// The directory of a member's segments.
fn wal(member: &Member) -> Result<HostPath, NameError> {
    member.layout.holds_log()?.join(LOG)
}

/// What a member's directory of data has its store at.
const STORE: &str = "member/snap/db";

/// Takes up what the script prints: a line that names the segment, then the segment.
#[derive(Default)]
struct Reading {
    head: Vec<u8>,
    segment: Option<GzDecoder<Segment>>,
    written: Option<i64>,
    revision: Option<i64>,
    fault: Option<String>,
}

/// What the unpacked segment is written to.
struct Segment(RaftLogReader);

impl Write for Segment {
    fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
        self.0.push(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Reading {
    fn push(&mut self, piece: &[u8]) {
        if self.fault.is_some() {
            return;
        }
        let mut rest = piece;
        if self.segment.is_none() {
            self.head.extend_from_slice(piece);
            let Some((head, begins)) = head_of(&self.head) else {
                if self.head.len() > HEAD {
                    self.fault = Some("the answer has no beginning".to_owned());
                }
                return;
            };
            let Some(reader) = RaftLogReader::new(&head.name) else {
                self.fault = Some(format!("{} is no segment of a log", head.name));
                return;
            };
            (self.written, self.revision) = (head.written, head.revision);
            self.segment = Some(GzDecoder::new(Segment(reader)));
            rest = &piece[piece.len() - (self.head.len() - begins)..];
        }
        if let Some(segment) = &mut self.segment
            && let Err(error) = segment.write_all(rest)
        {
            self.fault = Some(chain(&error));
        }
    }

    fn finish(self) -> Result<RaftLog, String> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let segment = self.segment.ok_or("the answer was cut off")?;
        // Packed data says where it ends, so that one that was cut off is no shorter log.
        let segment = segment.finish().map_err(|error| chain(&error))?;
        Ok(RaftLog {
            written: self.written,
            revision: self.revision,
            ..segment.0.finish()
        })
    }
}

/// What is said of a segment before it comes.
struct SegmentHead {
    name: String,
    /// When it was written.
    written: Option<i64>,
    /// The revision of the store beside it.
    revision: Option<i64>,
}

/// What is said of the segment, and where it begins.
fn head_of(text: &[u8]) -> Option<(SegmentHead, usize)> {
    let mark = b"\n@log|";
    let at = text.windows(mark.len()).position(|found| found == mark)? + mark.len();
    let line = text[at..].split(|byte| *byte == b'\n').next()?;
    let end = at + line.len();
    (end < text.len()).then_some(())?;
    let line = std::str::from_utf8(line).ok()?;
    let mut fields = line.split('|');
    let (name, written, revision) = (fields.next()?, fields.next()?, fields.next()?);
    let head = SegmentHead {
        name: name.to_owned(),
        written: written.parse().ok(),
        revision: revision.parse().ok(),
    };
    Some((head, end + 1))
}

async fn read(
    link: Arc<dyn Transport>,
    state: &str,
    cluster: &str,
    asked: &str,
) -> Observed<RaftLog> {
    let header = Header {
        state,
        cluster,
        operation: None,
        now: jiff::Timestamp::now(),
    };
    let input = std::io::Cursor::new(header.line() + asked);
    let reading = Mutex::new(Reading::default());
    let watch = |piece: &[u8]| {
        let mut reading = reading.lock().unwrap_or_else(PoisonError::into_inner);
        reading.push(piece);
    };
    let ran = link.run_watched(&RAFT_LOG, Box::new(input), &watch).await;
    let output = match ran {
        Ok(output) => output,
        Err(error) => return Observed::unknown(chain(&error)),
    };
    if let Some(why) = refusal(&output.text()) {
        return Observed::unknown(why);
    }
    if output.status != Some(0) {
        return Observed::unknown(output.last_stderr_line());
    }
    let reading = reading.into_inner().unwrap_or_else(PoisonError::into_inner);
    reading
        .finish()
        .map_or_else(Observed::unknown, Observed::Known)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say what they expect")]

    use super::*;

    fn answer() -> Vec<u8> {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&[0; 4096]).unwrap();
        let head = "motd\n@etcdup\n@log|0000000000000001-0000000000000010.wal|1700000000|8123\n";
        [head.as_bytes(), &packed.finish().unwrap()].concat()
    }

    #[test]
    fn a_segment_is_read_in_pieces_of_any_size() {
        for size in [1, 3, 50, 10_000] {
            let mut reading = Reading::default();
            answer().chunks(size).for_each(|piece| reading.push(piece));
            let log = reading.finish().unwrap();
            assert_eq!((log.last, log.written), (15, Some(1_700_000_000)));
            assert_eq!(log.revision, Some(8123));
        }
    }

    /// Else a log that was cut off on the way would count as one that ends there.
    #[test]
    fn an_answer_that_was_cut_off_is_no_shorter_log() {
        let answer = answer();
        for end in 0..answer.len() {
            let mut reading = Reading::default();
            reading.push(&answer[..end]);
            assert!(reading.finish().is_err(), "cut at {end}");
        }
    }
}
