//! The key space: every kind of row that the store writes, on one page.
//!
//! A key is `tenant / tag / component / ...`. Components are escaped so that none contains the separator; hence a range
//! over a prefix that ends with the separator holds whole components only, and `foos` never matches `foobars` (S11).
//! The separator is `/`, so that objects sort as the reference sorts them (`a-b/x` before `a/y`); fixed-length
//! components (stamps, times, numbers) and the name of an object come last and need no separator. Tags are never reused.

use std::sync::Arc;

use bytes::Bytes;
use triune_api::names::{GroupResource, ObjectKey};
use triune_env::storage::{KeyRange, STAMP_BYTES, Stamp, StorageError};

const SEPARATOR: u8 = b'/';
/// The byte after the separator: the end of a range over a prefix.
const AFTER_SEPARATOR: u8 = b'/' + 1;
const ESCAPE: u8 = 1;

/// The rows, each with what its value says (see [`crate::rows`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowKey {
    /// `o/group/resource/namespace/name` -> the live object.
    Object(ObjectKey),
    /// `l/group/resource/`stamp -> one change of one object; the stamp is the revision.
    Log(GroupResource, Stamp),
    /// `w/group/resource` -> write id of the last change of the resource: what idle tailers wait on.
    Wake(GroupResource),
    /// `c/group/resource` -> the compaction floor: log rows at and below it may be gone.
    Compacted(GroupResource),
    /// `u/space/name` -> who holds a unique name.
    Claim(Arc<str>, Arc<str>),
    /// `e/`milliseconds since 1970, 8 bytes`/group/resource/namespace/name` -> revision that expires then.
    Expiry(u64, ObjectKey),
    /// `b/`write id, 16 bytes, part, 1 byte, index, 4 bytes -> a piece of a large body.
    Body(BodyId, u32),
    /// `f` -> the layout of all rows of the tenant.
    Layout,
}

/// A body kept in pieces: the write that stored it, and which of its bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BodyId {
    /// The write.
    pub write_id: u128,
    /// 0 is the new state, 1 the state before.
    pub part: u8,
}

/// The rows of one tenant.
#[derive(Debug, Clone)]
pub struct KeySpace {
    prefix: Vec<u8>,
}

impl KeySpace {
    /// The first component of every key is `tenant`.
    pub fn new(tenant: &str) -> KeySpace {
        let mut prefix = Vec::new();
        push_component(&mut prefix, tenant);
        KeySpace { prefix }
    }

    /// The bytes of a key.
    pub fn encode(&self, key: &RowKey) -> Bytes {
        let mut bytes = self.prefix.clone();
        match key {
            RowKey::Object(key) => self.push_object(&mut bytes, key),
            RowKey::Log(resource, stamp) => {
                push_resource(&mut bytes, b'l', resource);
                bytes.extend_from_slice(stamp);
            }
            RowKey::Wake(resource) => push_resource(&mut bytes, b'w', resource),
            RowKey::Compacted(resource) => push_resource(&mut bytes, b'c', resource),
            RowKey::Claim(space, name) => {
                bytes.extend_from_slice(&[b'u', SEPARATOR]);
                push_component(&mut bytes, space);
                push_component(&mut bytes, name);
            }
            RowKey::Expiry(at_ms, key) => {
                bytes.extend_from_slice(&[b'e', SEPARATOR]);
                bytes.extend_from_slice(&at_ms.to_be_bytes());
                bytes.push(SEPARATOR);
                push_components(&mut bytes, key);
            }
            RowKey::Body(id, index) => {
                push_body(&mut bytes, *id);
                bytes.extend_from_slice(&index.to_be_bytes());
            }
            RowKey::Layout => bytes.extend_from_slice(&[b'f', SEPARATOR]),
        }
        bytes.into()
    }

    /// The key of an object's row, without a clone of its names.
    pub fn object(&self, key: &ObjectKey) -> Bytes {
        let mut bytes = Vec::with_capacity(self.prefix.len() + 64 + key.name.len() + key.namespace.len());
        bytes.extend_from_slice(&self.prefix);
        self.push_object(&mut bytes, key);
        bytes.into()
    }

    fn push_object(&self, bytes: &mut Vec<u8>, key: &ObjectKey) {
        bytes.extend_from_slice(&[b'o', SEPARATOR]);
        push_components(bytes, key);
    }

    /// All objects of a resource.
    pub fn objects(&self, resource: &GroupResource) -> KeyRange {
        self.resource_range(b'o', resource)
    }

    /// All log rows of a resource.
    pub fn log(&self, resource: &GroupResource) -> KeyRange {
        self.resource_range(b'l', resource)
    }

    /// The log rows of a resource above `after`.
    pub fn log_after(&self, resource: &GroupResource, after: &Stamp) -> KeyRange {
        let all = self.log(resource);
        KeyRange { start: join(&all.start, &[after, &[0]]), end: all.end }
    }

    /// The log rows of a resource up to and including `last`.
    pub fn log_up_to(&self, resource: &GroupResource, last: &Stamp) -> KeyRange {
        let all = self.log(resource);
        KeyRange { end: join(&all.start, &[last, &[0]]), start: all.start }
    }

    /// What log keys start with, before their stamp.
    pub fn log_prefix(&self, resource: &GroupResource) -> Vec<u8> {
        let mut bytes = self.prefix.clone();
        push_resource(&mut bytes, b'l', resource);
        bytes
    }

    /// All log rows of all resources.
    pub fn logs(&self) -> KeyRange {
        self.tag_range(b'l')
    }

    /// The expiry rows due at `now_ms` or before.
    pub fn expired(&self, now_ms: u64) -> KeyRange {
        let all = self.tag_range(b'e');
        KeyRange { end: join(&all.start, &[&now_ms.saturating_add(1).to_be_bytes()]), start: all.start }
    }

    /// All pieces of a body.
    pub fn body(&self, id: BodyId) -> KeyRange {
        let mut start = self.prefix.clone();
        push_body(&mut start, id);
        let mut end = start.clone();
        end.extend_from_slice(&[0xff; 5]);
        KeyRange { start: start.into(), end: end.into() }
    }

    fn resource_range(&self, tag: u8, resource: &GroupResource) -> KeyRange {
        let mut start = self.prefix.clone();
        push_resource(&mut start, tag, resource);
        prefix_range(start)
    }

    fn tag_range(&self, tag: u8) -> KeyRange {
        let mut start = self.prefix.clone();
        start.extend_from_slice(&[tag, SEPARATOR]);
        prefix_range(start)
    }

    /// What a key is. Fails on keys that [`KeySpace::encode`] does not make.
    pub fn decode(&self, key: &[u8]) -> Result<RowKey, StorageError> {
        let corrupt = || StorageError::Corrupt(format!("unknown key {:?}", key.escape_ascii().to_string()));
        self.decode_some(key).ok_or_else(corrupt)
    }

    fn decode_some(&self, key: &[u8]) -> Option<RowKey> {
        let mut rest = Components(key.strip_prefix(self.prefix.as_slice())?);
        let tag = rest.fixed::<2>()?;
        if tag[1] != SEPARATOR {
            return None;
        }
        let row = match tag[0] {
            b'o' => RowKey::Object(rest.object()?),
            b'l' => RowKey::Log(rest.resource()?, rest.fixed::<STAMP_BYTES>()?),
            b'w' => RowKey::Wake(rest.resource()?),
            b'c' => RowKey::Compacted(rest.resource()?),
            b'u' => RowKey::Claim(rest.component()?, rest.component()?),
            b'e' => {
                let at_ms = u64::from_be_bytes(rest.fixed::<8>()?);
                if rest.fixed::<1>()? != [SEPARATOR] {
                    return None;
                }
                RowKey::Expiry(at_ms, rest.object()?)
            }
            b'b' => {
                let write_id = u128::from_be_bytes(rest.fixed::<16>()?);
                let [part] = rest.fixed::<1>()?;
                RowKey::Body(BodyId { write_id, part }, u32::from_be_bytes(rest.fixed::<4>()?))
            }
            b'f' => RowKey::Layout,
            _ => return None,
        };
        rest.0.is_empty().then_some(row)
    }
}

/// The key of an item within its resource, as caches and continue tokens order it: `namespace/name`, or `name`.
pub fn item_key(namespace: &str, name: &str) -> String {
    let mut bytes = Vec::with_capacity(namespace.len() + name.len() + 1);
    if !namespace.is_empty() {
        push_component(&mut bytes, namespace);
    }
    push_escaped(&mut bytes, name);
    // The escapes are ASCII and replace ASCII, so this is always UTF-8.
    String::from_utf8(bytes).unwrap_or_default()
}

/// First item key of a namespace, and first past it.
pub fn namespace_bounds(namespace: &str) -> (String, String) {
    let start = item_key(namespace, "");
    let mut end = start.clone();
    end.pop();
    end.push(char::from(AFTER_SEPARATOR));
    (start, end)
}

fn push_escaped(bytes: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            SEPARATOR => bytes.extend_from_slice(&[ESCAPE, 1]),
            ESCAPE => bytes.extend_from_slice(&[ESCAPE, 2]),
            other => bytes.push(other),
        }
    }
}

fn push_component(bytes: &mut Vec<u8>, text: &str) {
    push_escaped(bytes, text);
    bytes.push(SEPARATOR);
}

fn push_components(bytes: &mut Vec<u8>, key: &ObjectKey) {
    push_component(bytes, &key.resource.group);
    push_component(bytes, &key.resource.resource);
    push_component(bytes, &key.namespace);
    push_escaped(bytes, &key.name);
}

fn push_resource(bytes: &mut Vec<u8>, tag: u8, resource: &GroupResource) {
    bytes.extend_from_slice(&[tag, SEPARATOR]);
    push_component(bytes, &resource.group);
    push_component(bytes, &resource.resource);
}

fn push_body(bytes: &mut Vec<u8>, id: BodyId) {
    bytes.extend_from_slice(&[b'b', SEPARATOR]);
    bytes.extend_from_slice(&id.write_id.to_be_bytes());
    bytes.push(id.part);
}

fn join(first: &[u8], rest: &[&[u8]]) -> Bytes {
    let mut bytes = first.to_vec();
    for part in rest {
        bytes.extend_from_slice(part);
    }
    bytes.into()
}

/// The range of what starts with `prefix`, which ends with the separator.
fn prefix_range(prefix: Vec<u8>) -> KeyRange {
    let mut end = prefix.clone();
    end.pop();
    end.push(AFTER_SEPARATOR);
    KeyRange { start: prefix.into(), end: end.into() }
}

struct Components<'a>(&'a [u8]);

impl Components<'_> {
    fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn component(&mut self) -> Option<Arc<str>> {
        let length = self.0.iter().position(|byte| *byte == SEPARATOR)?;
        let (escaped, rest) = self.0.split_at(length);
        self.0 = &rest[1..];
        unescape(escaped)
    }

    fn last_component(&mut self) -> Option<Arc<str>> {
        unescape(std::mem::take(&mut self.0))
    }

    fn resource(&mut self) -> Option<GroupResource> {
        Some(GroupResource { group: self.component()?, resource: self.component()? })
    }

    fn object(&mut self) -> Option<ObjectKey> {
        Some(ObjectKey { resource: self.resource()?, namespace: self.component()?, name: self.last_component()? })
    }
}

fn unescape(escaped: &[u8]) -> Option<Arc<str>> {
    if escaped.contains(&SEPARATOR) {
        return None;
    }
    if !escaped.contains(&ESCAPE) {
        return Some(std::str::from_utf8(escaped).ok()?.into());
    }
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut source = escaped.iter();
    while let Some(byte) = source.next() {
        bytes.push(match *byte {
            ESCAPE => match source.next()? {
                1 => SEPARATOR,
                2 => ESCAPE,
                _ => return None,
            },
            plain => plain,
        });
    }
    Some(String::from_utf8(bytes).ok()?.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names() -> impl Strategy<Value = Arc<str>> {
        prop_oneof![Just("".to_string()), Just("foos".into()), Just("foobars".into()), "[a-b/\u{1}\u{2}.0ü-]{0,6}"]
            .prop_map(Arc::from)
    }

    fn resources() -> impl Strategy<Value = GroupResource> {
        (names(), names()).prop_map(|(group, resource)| GroupResource { group, resource })
    }

    fn objects() -> impl Strategy<Value = ObjectKey> {
        (resources(), names(), names()).prop_map(|(resource, namespace, name)| ObjectKey { resource, namespace, name })
    }

    fn rows() -> impl Strategy<Value = RowKey> {
        let body = (any::<u128>(), any::<u8>(), any::<u32>());
        prop_oneof![
            objects().prop_map(RowKey::Object),
            (resources(), any::<Stamp>()).prop_map(|(resource, stamp)| RowKey::Log(resource, stamp)),
            resources().prop_map(RowKey::Wake),
            resources().prop_map(RowKey::Compacted),
            (names(), names()).prop_map(|(space, name)| RowKey::Claim(space, name)),
            (any::<u64>(), objects()).prop_map(|(at_ms, key)| RowKey::Expiry(at_ms, key)),
            body.prop_map(|(write_id, part, index)| RowKey::Body(BodyId { write_id, part }, index)),
            Just(RowKey::Layout),
        ]
    }

    fn within(range: &KeyRange, key: &[u8]) -> bool {
        range.start.as_ref() <= key && key < range.end.as_ref()
    }

    proptest! {
        #[test]
        fn each_row_kind_round_trips(row in rows(), tenant in names()) {
            let space = KeySpace::new(&tenant);
            prop_assert_eq!(space.decode(&space.encode(&row)).unwrap(), row);
        }

        #[test]
        fn different_rows_have_different_keys(one in rows(), other in rows()) {
            let space = KeySpace::new("t");
            prop_assert_eq!(one == other, space.encode(&one) == space.encode(&other));
        }

        #[test]
        fn a_resource_range_holds_its_objects_only(key in objects(), resource in resources()) {
            let space = KeySpace::new("t");
            prop_assert_eq!(within(&space.objects(&resource), &space.object(&key)), key.resource == resource);
        }

        #[test]
        fn log_ranges_split_at_the_stamp(row in any::<Stamp>(), bound in any::<Stamp>(), resource in resources()) {
            let space = KeySpace::new("t");
            let key = space.encode(&RowKey::Log(resource.clone(), row));
            prop_assert_eq!(within(&space.log_after(&resource, &bound), &key), row > bound);
            prop_assert_eq!(within(&space.log_up_to(&resource, &bound), &key), row <= bound);
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let space = KeySpace::new("t");
            let mut key = b"t/".to_vec();
            key.extend_from_slice(&bytes);
            if let Ok(row) = space.decode(&key) {
                prop_assert_eq!(space.encode(&row).to_vec(), key);
            }
        }

        #[test]
        fn namespace_bounds_hold_the_namespace_only(wanted in "[a-b/.-]{1,3}", namespace in "[a-b/.-]{1,3}", name in "[a-b/.-]{1,3}") {
            let (start, end) = namespace_bounds(&wanted);
            let key = item_key(&namespace, &name);
            prop_assert_eq!(start <= key && key < end, wanted == namespace);
        }
    }

    fn check_order(before: (&str, &str), after: (&str, &str)) {
        let resource = GroupResource::new("", "pods");
        let space = KeySpace::new("t");
        assert!(item_key(before.0, before.1) < item_key(after.0, after.1), "{before:?} {after:?}");
        let row = |(namespace, name): (&str, &str)| space.object(&ObjectKey::new(resource.clone(), namespace, name));
        assert!(row(before) < row(after), "{before:?} {after:?}");
    }

    #[test]
    fn items_sort_as_the_reference_sorts_them() {
        check_order(("a", "x"), ("b", "a"));
        check_order(("kube-system", "z"), ("kube", "a"));
        check_order(("a", "x"), ("a", "x-y"));
        check_order(("", "a"), ("", "a-b"));
    }

    fn check_key(row: RowKey, expected: &str) {
        assert_eq!(KeySpace::new("t").encode(&row).escape_ascii().to_string(), expected);
    }

    #[test]
    fn keys_are_as_documented() {
        let pods = GroupResource::new("", "pods");
        check_key(
            RowKey::Object(ObjectKey::new(GroupResource::new("apps", "deployments"), "a", "b")),
            "t/o/apps/deployments/a/b",
        );
        check_key(RowKey::Object(ObjectKey::new(GroupResource::new("", "nodes"), "", "n")), "t/o//nodes//n");
        check_key(RowKey::Log(pods.clone(), *b"0123456789"), "t/l//pods/0123456789");
        check_key(RowKey::Wake(pods.clone()), "t/w//pods/");
        check_key(RowKey::Compacted(pods), "t/c//pods/");
        check_key(RowKey::Claim("ip".into(), "10.0.0.1".into()), "t/u/ip/10.0.0.1/");
        check_key(RowKey::Layout, "t/f/");
    }
}
