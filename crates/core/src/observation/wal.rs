//! Who a data directory belongs to, read from the head of its WAL without starting etcd.

use serde::Serialize;

use crate::membership::{ClusterId, MemberId};

/// The member and the cluster that a data directory belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct DataIdentity {
    /// The member ID.
    pub member: MemberId,
    /// The cluster ID.
    pub cluster: ClusterId,
}

/// Reads the identity from the first bytes of a WAL segment.
///
/// A segment starts with two frames: a CRC record (16 bytes) and a metadata record. A frame is a
/// little-endian length (its upper byte counts padding) and a protobuf `walpb.Record { type = 1,
/// crc = 2, data = 3 }`; the data of type 1 (metadata) is `etcdserverpb.Metadata { NodeID = 1,
/// ClusterID = 2 }`. 56 bytes hold both.
#[must_use]
pub fn wal_identity(head: &[u8]) -> Option<DataIdentity> {
    let mut rest = head;
    for _ in 0..2 {
        let length = u64::from_le_bytes(rest.get(..8)?.try_into().ok()?);
        let size = usize::try_from(length & 0x00ff_ffff_ffff_ffff).ok()?;
        let padding = if length >> 63 == 1 {
            usize::try_from((length >> 56) & 0x7).ok()?
        } else {
            0
        };
        let record = rest.get(8..8 + size)?;
        if let Some(data) = metadata(record) {
            return Some(DataIdentity {
                member: MemberId::new(varint_field(data, 1)?),
                cluster: ClusterId::new(varint_field(data, 2)?),
            });
        }
        rest = rest.get(8 + size + padding..)?;
    }
    None
}

/// The data of a record of type 1.
fn metadata(record: &[u8]) -> Option<&[u8]> {
    if varint_field(record, 1)? != 1 {
        return None;
    }
    fields(record).find_map(|field| match field {
        (3, Value::Bytes(data)) => Some(data),
        _ => None,
    })
}

pub(super) fn varint_field(message: &[u8], number: u64) -> Option<u64> {
    fields(message).find_map(|field| match field {
        (found, Value::Varint(value)) if found == number => Some(value),
        _ => None,
    })
}

pub(super) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

/// The fields of a protobuf message, up to the first that is neither a varint nor bytes.
pub(super) fn fields(message: &[u8]) -> impl Iterator<Item = (u64, Value<'_>)> {
    let mut rest = message;
    std::iter::from_fn(move || {
        let (key, after) = varint(rest)?;
        let (value, after) = match key & 7 {
            0 => {
                let (value, after) = varint(after)?;
                (Value::Varint(value), after)
            }
            2 => {
                let (length, after) = varint(after)?;
                let length = usize::try_from(length).ok()?;
                (Value::Bytes(after.get(..length)?), after.get(length..)?)
            }
            _ => return None,
        };
        rest = after;
        Some((key >> 3, value))
    })
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_has_no_identity() {
        assert_eq!(wal_identity(&[]), None);
        assert_eq!(wal_identity(&[0xff; 56]), None);
        assert_eq!(
            wal_identity(b"this is not a write-ahead log, it is just some text....."),
            None
        );
    }

    #[test]
    fn the_head_of_a_segment_names_member_and_cluster() {
        let mut head = vec![
            0x04, 0, 0, 0, 0, 0, 0, 0x84, 0x08, 0x04, 0x10, 0x00, 0, 0, 0, 0,
        ];
        let data = [0x08, 0xd2, 0x09, 0x10, 0xae, 0x2c];
        let mut record = vec![
            0x08,
            0x01,
            0x10,
            0x05,
            0x1a,
            u8::try_from(data.len()).unwrap(),
        ];
        record.extend(data);
        head.extend((record.len() as u64).to_le_bytes());
        head.extend(record);
        assert_eq!(
            wal_identity(&head),
            Some(DataIdentity {
                member: MemberId::new(1234),
                cluster: ClusterId::new(5678)
            })
        );
    }
}
