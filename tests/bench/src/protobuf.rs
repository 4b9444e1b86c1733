//! The little of protobuf that is needed: config maps as they are sent, fields of what is answered.

use crate::objects::SENT;

/// Media type of requests and answers.
pub(crate) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

const PREFIX: &[u8] = b"k8s\0";

/// A config map in its envelope, with the fields that [`crate::objects::Template`] writes in JSON.
pub(crate) fn config_map(name: &str, counter: &str, payload: &str, sent: Option<u64>) -> Vec<u8> {
    let mut metadata = Vec::new();
    append(&mut metadata, 1, name.as_bytes());
    if let Some(sent) = sent {
        append(&mut metadata, 12, &entry(SENT, &sent.to_string()));
    }
    let mut message = Vec::new();
    append(&mut message, 1, &metadata);
    append(&mut message, 2, &entry("counter", counter));
    append(&mut message, 2, &entry("payload", payload));
    let mut type_meta = Vec::new();
    append(&mut type_meta, 1, b"v1");
    append(&mut type_meta, 2, b"ConfigMap");
    let mut object = PREFIX.to_vec();
    append(&mut object, 1, &type_meta);
    append(&mut object, 2, &message);
    object
}

fn entry(key: &str, value: &str) -> Vec<u8> {
    let mut entry = Vec::new();
    append(&mut entry, 1, key.as_bytes());
    append(&mut entry, 2, value.as_bytes());
    entry
}

fn append(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}

/// The message of an object: what is in its envelope.
pub(crate) fn message(object: &[u8]) -> Option<&[u8]> {
    field(object.strip_prefix(PREFIX)?, 2)
}

/// The first field of this number that holds bytes.
pub(crate) fn field(message: &[u8], number: u64) -> Option<&[u8]> {
    Fields(message).find(|(found, _)| *found == number).map(|(_, bytes)| bytes)
}

/// Fields of a message that hold bytes.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<(u64, &'a [u8])> {
        while !self.0.is_empty() {
            let tag = self.varint()?;
            match tag & 7 {
                0 => {
                    self.varint()?;
                }
                2 => {
                    let length = usize::try_from(self.varint()?).ok()?;
                    let (bytes, rest) = self.0.split_at_checked(length)?;
                    self.0 = rest;
                    return Some((tag >> 3, bytes));
                }
                1 => self.0 = self.0.get(8..)?,
                5 => self.0 = self.0.get(4..)?,
                _ => return None,
            }
        }
        None
    }
}

impl Fields<'_> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7F) << shift;
            if *byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

/// How many items a list has.
pub(crate) fn item_count(list: &[u8]) -> usize {
    message(list).map_or(0, |message| Fields(message).filter(|(number, _)| *number == 2).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_maps_are_read_again() {
        let object = config_map("a", "7", &"x".repeat(300), Some(12));
        let message = message(&object).unwrap();
        let metadata = field(message, 1).unwrap();
        assert_eq!((field(metadata, 1), field(message, 3)), (Some(&b"a"[..]), None));
        let annotation = field(metadata, 12).unwrap();
        assert_eq!((field(annotation, 1), field(annotation, 2)), (Some(SENT.as_bytes()), Some(&b"12"[..])));
        assert_eq!(Fields(message).count(), 3);
        let payload = Fields(message).last().unwrap().1;
        assert_eq!(field(payload, 2).map(<[u8]>::len), Some(300));
        assert_eq!(item_count(&object), 2, "a list's items have the number of a config map's data");
        for length in 0..object.len() {
            // No cut is more than it was.
            assert!(item_count(&object[..length]) <= 2);
        }
    }
}
