//! How far a member's log goes, read from its last segment without starting etcd.

use serde::Serialize;

use super::wal::{Value, fields, varint_field};

/// Frames are at most so long: etcd takes no request that is a fraction of it.
const LONGEST: u64 = 512 << 20;

/// etcd writes its log in sectors, and a power cut leaves whole ones of zeros.
const SECTOR: usize = 512;

/// How far a member's log goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RaftLog {
    /// The raft term that it was last in.
    pub term: u64,
    /// The last entry that it knew to be committed.
    pub committed: u64,
    /// The last entry that it has, committed or not.
    pub last: u64,
    /// The revision of the store that was made of it, as far as that is on the disk; none where it
    /// is not known: etcd runs on it, or the host has no tool that says it.
    pub revision: Option<i64>,
    /// When it was last written, in seconds since 1970 by the host's clock.
    pub written: Option<i64>,
    /// Whether a record in its middle is damaged: etcd does not start on it.
    pub damaged: bool,
}

/// Reads a segment of a log piece by piece, and keeps nothing of what is in its entries.
///
/// Frames are as [`wal_identity`](super::wal_identity) has them; each holds a `walpb.Record { type
/// = 1, crc = 2, data = 3 }`, whose CRC-32C goes on from the record before. The data of type 2 is
/// `raftpb.Entry { Term = 2, Index = 3 }`, of type 3 `raftpb.HardState { term = 1, commit = 3 }`,
/// of type 4 nothing: its CRC is the one to go on from; of type 5 `walpb.Snapshot { index = 1 }`.
#[derive(Debug)]
pub struct RaftLogReader {
    found: RaftLog,
    crc: u32,
    pending: Vec<u8>,
    /// Where `pending` begins in the segment.
    at: usize,
    ended: bool,
    /// The last snapshot that it names.
    snapshot: u64,
    /// A record that is not what it should be: torn, unless something follows it.
    doubtful: bool,
}

impl RaftLogReader {
    /// For the segment of this name, `0000000000000001-00000000000004d2.wal`: without an entry in
    /// it the log ends right before it.
    ///
    /// ```
    /// # use etcdup_core::observation::RaftLogReader;
    /// let reader = RaftLogReader::new("0000000000000001-00000000000004d2.wal").unwrap();
    /// assert_eq!(reader.finish().last, 1233);
    /// ```
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let (_, index) = name.strip_suffix(".wal")?.split_once('-')?;
        let index = u64::from_str_radix(index, 16).ok()?;
        Some(Self {
            found: RaftLog {
                last: index.saturating_sub(1),
                ..RaftLog::default()
            },
            crc: 0,
            pending: Vec::new(),
            at: 0,
            ended: false,
            snapshot: 0,
            doubtful: false,
        })
    }

    /// Takes the next piece up.
    pub fn push(&mut self, piece: &[u8]) {
        if self.doubtful && piece.iter().any(|byte| *byte != 0) {
            self.found.damaged = true;
        }
        if self.ended {
            return;
        }
        self.pending.extend_from_slice(piece);
        let mut taken = 0;
        while !self.ended {
            match self.next_record(taken) {
                Some(next) => taken = next,
                None => break,
            }
        }
        self.at += taken;
        self.pending.drain(..taken);
        if self.ended {
            let rest = std::mem::take(&mut self.pending);
            self.found.damaged |= self.doubtful && rest.iter().any(|byte| *byte != 0);
        }
    }

    /// What there was. A record that was cut off, as a crash leaves it, is not there, to etcd
    /// neither.
    #[must_use]
    pub fn finish(mut self) -> RaftLog {
        // One that is beyond what is known to be committed was not yet taken over, to etcd neither.
        if self.snapshot <= self.found.committed {
            self.found.last = self.found.last.max(self.snapshot);
        }
        self.found
    }

    /// Where the record after the one that begins here begins, once all of it is there.
    fn next_record(&mut self, from: usize) -> Option<usize> {
        let rest = self.pending.get(from..)?;
        let length = u64::from_le_bytes(rest.get(..8)?.try_into().ok()?);
        // What was allocated and not written yet.
        if length == 0 {
            self.ended = true;
            return Some(from);
        }
        let size = length & 0x00ff_ffff_ffff_ffff;
        if size > LONGEST {
            self.ended = true;
            self.doubtful = true;
            return Some(from + 8);
        }
        let padding = if length >> 63 == 1 {
            (length >> 56) & 0x7
        } else {
            0
        };
        let size = usize::try_from(size).ok()?;
        let end = 8 + size + usize::try_from(padding).ok()?;
        let record = rest.get(8..end).map(|record| &record[..size])?;
        let torn = is_torn(record, self.at + from + 8);
        if self.take(from + 8, size).is_none() {
            self.ended = true;
            self.doubtful = !torn;
        }
        Some(from + end)
    }

    /// Takes a record up, if it is what it says.
    fn take(&mut self, from: usize, size: usize) -> Option<()> {
        let record = self.pending.get(from..from + size)?;
        let kind = varint_field(record, 1)?;
        let sum = u32::try_from(varint_field(record, 2).unwrap_or(0)).ok()?;
        let data = fields(record).find_map(|field| match field {
            (3, Value::Bytes(data)) => Some(data),
            _ => None,
        });
        let data = data.unwrap_or_default();
        if kind == 4 {
            if self.crc != 0 && self.crc != sum {
                return None;
            }
            self.crc = sum;
            return Some(());
        }
        self.crc = crc32c::crc32c_append(self.crc, data);
        if self.crc != sum {
            return None;
        }
        let number = |field| varint_field(data, field).unwrap_or(0);
        match kind {
            // One that is written again takes the place of all from there on.
            2 => {
                self.found.last = number(3);
                self.found.term = self.found.term.max(number(2));
            }
            3 => {
                self.found.term = self.found.term.max(number(1));
                self.found.committed = number(3);
            }
            5 => self.snapshot = number(1),
            _ => {}
        }
        Some(())
    }
}

/// Whether a whole sector of a record is zeros, as etcd itself tells one that was cut off.
fn is_torn(record: &[u8], at: usize) -> bool {
    let first = (SECTOR - at % SECTOR).min(record.len());
    let (head, rest) = record.split_at(first);
    let zeros = |piece: &[u8]| !piece.is_empty() && piece.iter().all(|byte| *byte == 0);
    zeros(head) || rest.chunks(SECTOR).any(zeros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varint(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let low = u8::try_from(value & 0x7f).unwrap();
            value >>= 7;
            if value == 0 {
                bytes.push(low);
                return bytes;
            }
            bytes.push(low | 0x80);
        }
    }

    fn message(fields: &[(u8, u64)]) -> Vec<u8> {
        let fields = fields.iter();
        let pair = |(number, value): &(u8, u64)| [vec![number << 3], varint(*value)].concat();
        fields.flat_map(pair).collect()
    }

    /// A segment as etcd writes it.
    struct Segment {
        bytes: Vec<u8>,
        crc: u32,
    }

    impl Segment {
        /// Goes on from the checksum of the segment before.
        fn after(crc: u32) -> Self {
            let mut segment = Self {
                bytes: Vec::new(),
                crc,
            };
            segment.frame(4, &[]);
            segment.record(1, &message(&[(1, 77), (2, 88)]));
            segment
        }

        fn record(&mut self, kind: u64, data: &[u8]) {
            self.crc = crc32c::crc32c_append(self.crc, data);
            self.frame(kind, data);
        }

        fn frame(&mut self, kind: u64, data: &[u8]) {
            let mut record = message(&[(1, kind), (2, u64::from(self.crc))]);
            if !data.is_empty() {
                record.push(0x1a);
                record.extend(varint(data.len() as u64));
                record.extend(data);
            }
            let padding = (8 - record.len() % 8) % 8;
            let mut length = record.len() as u64;
            if padding > 0 {
                length |= (0x80 | padding as u64) << 56;
            }
            self.bytes.extend(length.to_le_bytes());
            self.bytes.extend(&record);
            self.bytes.resize(self.bytes.len() + padding, 0);
        }

        fn entry(&mut self, term: u64, index: u64, data: &[u8]) {
            let mut entry = message(&[(1, 0), (2, term), (3, index)]);
            entry.push(0x22);
            entry.extend(varint(data.len() as u64));
            entry.extend(data);
            self.record(2, &entry);
        }

        fn state(&mut self, term: u64, committed: u64) {
            self.record(3, &message(&[(1, term), (2, 5), (3, committed)]));
        }

        fn allocated(mut self) -> Vec<u8> {
            self.bytes.resize(self.bytes.len() + 4096, 0);
            self.bytes
        }
    }

    fn ten() -> Segment {
        let mut segment = Segment::after(0xdead_beef);
        segment.state(3, 9);
        for index in 10..=20 {
            segment.entry(3, index, &[0x5a; 600]);
        }
        segment.state(4, 17);
        segment
    }

    fn read(bytes: &[u8], piece: usize) -> RaftLog {
        let name = "0000000000000002-000000000000000a.wal";
        let mut reader = RaftLogReader::new(name).unwrap();
        bytes.chunks(piece).for_each(|piece| reader.push(piece));
        reader.finish()
    }

    const TEN: RaftLog = RaftLog {
        term: 4,
        committed: 17,
        last: 20,
        revision: None,
        written: None,
        damaged: false,
    };

    #[test]
    fn entries_beyond_what_is_committed_are_told_apart() {
        let bytes = ten().allocated();
        for piece in [1, 7, 512, 100_000] {
            assert_eq!(read(&bytes, piece), TEN, "in pieces of {piece}");
        }
    }

    #[test]
    fn what_a_new_leader_overwrote_is_gone() {
        let mut segment = ten();
        segment.entry(5, 18, b"other");
        segment.state(5, 18);
        let found = read(&segment.allocated(), 100);
        assert_eq!((found.term, found.committed, found.last), (5, 18, 18));
    }

    #[test]
    fn a_segment_that_just_began_ends_where_the_one_before_did() {
        let mut segment = Segment::after(1);
        segment.state(3, 9);
        assert_eq!(read(&segment.allocated(), 64).last, 9);
    }

    /// A crash between the two records that a snapshot from the leader makes.
    #[test]
    fn a_snapshot_beyond_what_is_committed_counts_for_nothing() {
        let mut segment = ten();
        segment.record(5, &message(&[(1, 1000), (2, 4)]));
        let found = read(&segment.allocated(), 100);
        assert_eq!((found.committed, found.last), (17, 20));
        let mut segment = ten();
        segment.record(5, &message(&[(1, 1000), (2, 4)]));
        segment.state(4, 1000);
        let found = read(&segment.allocated(), 100);
        assert_eq!((found.committed, found.last), (1000, 1000));
    }

    /// Wherever a crash cuts it, it is a shorter log and no damaged one.
    #[test]
    fn a_log_that_was_cut_off_is_a_shorter_one() {
        let whole = ten().bytes;
        for end in 0..whole.len() {
            let cut = read(&whole[..end], 100);
            assert!(!cut.damaged && cut.last <= 20, "cut at {end}: {cut:?}");
        }
    }

    #[test]
    fn a_byte_that_flipped_in_the_middle_is_damage() {
        let whole = ten().allocated();
        let mut flipped = whole.clone();
        flipped[2000] ^= 1;
        assert!(read(&flipped, 100).damaged);
        assert!(read(&flipped, 100_000).damaged);
        assert!(!read(&whole, 100).damaged);
    }

    #[test]
    fn noise_is_never_a_log_that_is_well() {
        let noise: Vec<u8> = (0..4000_u32)
            .map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0] | 1)
            .collect();
        let found = read(&noise, 100);
        assert_eq!((found.committed, found.damaged), (0, true));
    }

    #[test]
    fn other_files_are_no_segments() {
        for name in ["", "0.tmp", "0000-zz.wal", "etcd.wal", "1-2"] {
            assert!(RaftLogReader::new(name).is_none(), "{name}");
        }
    }
}
