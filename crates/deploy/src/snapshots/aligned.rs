//! Memory that a disk reads and writes without a copy of it.

/// What direct I/O wants addresses, sizes and places in a file to be a multiple of, on nearly every
/// disk: one that wants more refuses, and its files go through the page cache.
const ALIGNMENT: usize = 4096;

/// Room for so many bytes, from an address that direct I/O takes.
pub(super) struct AlignedBuffer {
    /// A page more than is used, so that a whole number of pages fits wherever it begins.
    room: Vec<u8>,
    start: usize,
    capacity: usize,
    filled: usize,
}

impl AlignedBuffer {
    /// Of a capacity that is a multiple of the alignment.
    pub(super) fn new(capacity: usize) -> Self {
        let room = vec![0; capacity + ALIGNMENT];
        let start = room.as_ptr().align_offset(ALIGNMENT);
        Self {
            room,
            start,
            capacity,
            filled: 0,
        }
    }

    /// Takes up what there is room for; the rest.
    pub(super) fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (taken, rest) = bytes.split_at(bytes.len().min(self.capacity - self.filled));
        let at = self.start + self.filled;
        self.room[at..at + taken.len()].copy_from_slice(taken);
        self.filled += taken.len();
        rest
    }

    pub(super) fn is_full(&self) -> bool {
        self.filled == self.capacity
    }

    pub(super) fn filled(&self) -> &[u8] {
        &self.room[self.start..self.start + self.filled]
    }

    pub(super) fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.room[self.start..self.start + self.filled]
    }

    pub(super) fn clear(&mut self) {
        self.filled = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_where_direct_io_can_and_takes_what_fits() {
        let mut buffer = AlignedBuffer::new(2 * ALIGNMENT);
        let bytes = vec![7; 3 * ALIGNMENT];
        assert_eq!(buffer.fill(&bytes[..10]), b"");
        assert!(!buffer.is_full());
        assert_eq!(buffer.fill(&bytes).len(), ALIGNMENT + 10);
        assert!(buffer.is_full());
        assert_eq!(buffer.filled(), &bytes[..2 * ALIGNMENT]);
        assert_eq!(buffer.filled().as_ptr().align_offset(ALIGNMENT), 0);
        buffer.clear();
        assert_eq!(buffer.filled(), b"");
    }
}
