//! Member and cluster IDs in documents: as etcdctl prints them, since a number of 64 bits loses digits in JavaScript.

/// An ID as `etcdctl member list` prints it.
#[must_use]
pub fn hex_id(id: u64) -> String {
    format!("{id:x}")
}

/// For fields that may be missing.
pub mod optional {
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes an ID in hex.
    ///
    /// # Errors
    /// As the serializer.
    pub fn serialize<S: Serializer>(id: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        match id {
            Some(id) => serializer.collect_str(&super::hex_id(*id)),
            None => serializer.serialize_none(),
        }
    }

    /// Reads an ID in hex.
    ///
    /// # Errors
    /// When it is none.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<u64>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let parse = |text: String| u64::from_str_radix(&text, 16);
        text.map(parse)
            .transpose()
            .map_err(serde::de::Error::custom)
    }
}
