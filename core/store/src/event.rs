//! Objects and changes as the watch cache holds them: bytes and what selectors look at, never a tree; the bytes of each
//! encoding are made once and shared by all watchers.

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use bytes::Bytes;
use triune_api::names::ObjectKey;

use crate::{
    Revision,
    types::{Attributes, AttributesOf, EventType},
};

/// Encodings kept of one event; further ones are made anew for each watcher.
const ENCODINGS_MAX: usize = 16;

/// An object in the watch cache.
pub struct Entry {
    /// Its key.
    pub key: ObjectKey,
    /// Revision of this state.
    pub revision: Revision,
    /// See [`crate::types::StoredObject::body`].
    pub body: Bytes,
    attributes: OnceLock<Attributes>,
    attributes_of: Arc<dyn AttributesOf>,
    /// The event that shows this state to a watch that starts with it, while somebody uses it.
    initial: Mutex<Weak<ChangeEvent>>,
}

impl Entry {
    /// A state of an object. Its attributes are taken out when a selector first asks for them.
    pub fn new(key: ObjectKey, revision: Revision, body: Bytes, attributes_of: Arc<dyn AttributesOf>) -> Entry {
        Entry { key, revision, body, attributes: OnceLock::new(), attributes_of, initial: Mutex::default() }
    }

    /// What selectors look at.
    pub fn attributes(&self) -> &Attributes {
        self.attributes.get_or_init(|| self.attributes_of.attributes_of(&self.key, &self.body))
    }

    /// The same object with another state or revision.
    pub(crate) fn with(&self, revision: Revision, body: Bytes) -> Entry {
        Entry::new(self.key.clone(), revision, body, self.attributes_of.clone())
    }

    /// The ADDED event that shows this state to watches that start with it; shared while somebody holds it.
    pub(crate) fn initial_event(self: &Arc<Entry>) -> Arc<ChangeEvent> {
        let mut initial = self.initial.lock().unwrap_or_else(PoisonError::into_inner);
        initial.upgrade().unwrap_or_else(|| {
            let event = Arc::new(ChangeEvent::new(self.revision, None, Some(self.clone()), None));
            *initial = Arc::downgrade(&event);
            event
        })
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        formatter
            .debug_struct("Entry")
            .field("key", &self.key)
            .field("revision", &self.revision)
            .field("body", &body)
            .finish()
    }
}

/// Names an encoding of events, such as JSON of one version; the callers give out the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EncodingId(pub u32);

/// One change of one object.
pub struct ChangeEvent {
    /// Its revision.
    pub revision: Revision,
    previous: Option<Arc<Entry>>,
    current: Option<Arc<Entry>>,
    /// What DELETED shows: the last state, at the revision of this change.
    departed: OnceLock<Arc<Entry>>,
    encodings: Encoding,
}

/// One encoding and the next: a list that only grows, read without a lock.
#[derive(Default)]
struct Encoding {
    made: OnceLock<(EncodingId, EventType, Bytes)>,
    next: OnceLock<Box<Encoding>>,
}

impl ChangeEvent {
    /// `last_shown` is what a delete shows, where that differs from the previous state.
    pub(crate) fn new(
        revision: Revision,
        previous: Option<Arc<Entry>>,
        current: Option<Arc<Entry>>,
        last_shown: Option<Arc<Entry>>,
    ) -> ChangeEvent {
        let departed = last_shown.map_or_else(OnceLock::new, OnceLock::from);
        ChangeEvent { revision, previous, current, departed, encodings: Encoding::default() }
    }

    /// The state before; None on create.
    pub fn previous(&self) -> Option<&Arc<Entry>> {
        self.previous.as_ref()
    }

    /// The state after; None on delete.
    pub fn current(&self) -> Option<&Arc<Entry>> {
        self.current.as_ref()
    }

    /// The object's key.
    pub fn key(&self) -> Option<&ObjectKey> {
        self.current.as_ref().or(self.previous.as_ref()).or_else(|| self.departed.get()).map(|entry| &entry.key)
    }

    /// What an event of this type shows (W9: DELETED shows the last state at the revision of this change).
    pub(crate) fn shown(&self, event_type: EventType) -> Option<&Arc<Entry>> {
        match event_type {
            EventType::Added | EventType::Modified => self.current.as_ref(),
            EventType::Deleted => match self.departed.get() {
                Some(entry) => Some(entry),
                None => {
                    let previous = self.previous.as_ref()?;
                    Some(self.departed.get_or_init(|| Arc::new(previous.with(self.revision, previous.body.clone()))))
                }
            },
        }
    }

    /// The bytes of this event in one encoding, made once and shared by all watchers.
    pub fn encoded(&self, encoding: EncodingId, event_type: EventType, make: impl FnOnce() -> Bytes) -> Bytes {
        let mut make = Some(make);
        let mut place = &self.encodings;
        for _ in 0..ENCODINGS_MAX {
            let (made_encoding, made_type, bytes) = place.made.get_or_init(|| {
                let bytes = make.take().map_or_else(Bytes::new, |make| make());
                (encoding, event_type, bytes)
            });
            if (*made_encoding, *made_type) == (encoding, event_type) {
                return bytes.clone();
            }
            place = place.next.get_or_init(Box::default);
        }
        make.take().map_or_else(Bytes::new, |make| make())
    }

    /// Bytes of bodies that this event keeps alive.
    pub(crate) fn body_bytes(&self) -> usize {
        let length = |entry: &Option<Arc<Entry>>| entry.as_ref().map_or(0, |entry| entry.body.len());
        length(&self.current) + length(&self.previous)
    }
}

impl fmt::Debug for ChangeEvent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ChangeEvent")
            .field("revision", &self.revision)
            .field("previous", &self.previous)
            .field("current", &self.current)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use triune_api::names::GroupResource;

    use super::*;

    struct NoAttributes;
    impl AttributesOf for NoAttributes {
        fn attributes_of(&self, _: &ObjectKey, _: &[u8]) -> Attributes {
            Attributes::default()
        }
    }

    fn entry(revision: u64) -> Arc<Entry> {
        let key = ObjectKey::new(GroupResource::new("", "pods"), "a", "b");
        let body = Bytes::from_static(b"\"metadata\":{}}");
        Arc::new(Entry::new(key, Revision(revision), body, Arc::new(NoAttributes)))
    }

    #[test]
    fn an_encoding_is_made_once() {
        let event = ChangeEvent::new(Revision(2), Some(entry(1)), Some(entry(2)), None);
        let made = Cell::new(0);
        let make = |encoding, event_type| {
            event.encoded(EncodingId(encoding), event_type, || {
                made.set(made.get() + 1);
                format!("{encoding} {}", event_type.as_str()).into()
            })
        };
        for _ in 0..3 {
            assert_eq!(make(1, EventType::Added), "1 ADDED");
            assert_eq!(make(1, EventType::Modified), "1 MODIFIED");
            assert_eq!(make(2, EventType::Modified), "2 MODIFIED");
        }
        assert_eq!(made.get(), 3);
    }

    #[test]
    fn past_the_bound_encodings_are_made_anew() {
        let event = ChangeEvent::new(Revision(2), None, Some(entry(2)), None);
        for encoding in (0..40).chain(0..40) {
            let made = event.encoded(EncodingId(encoding), EventType::Added, || encoding.to_string().into());
            assert_eq!(made, encoding.to_string());
        }
    }

    #[test]
    fn deleted_shows_the_last_state_at_the_revision_of_the_change() {
        let event = ChangeEvent::new(Revision(9), Some(entry(4)), None, None);
        assert_eq!(event.shown(EventType::Deleted).map(|shown| shown.revision), Some(Revision(9)));
        assert!(event.shown(EventType::Added).is_none());
    }

    #[test]
    fn initial_events_are_shared_while_held() {
        let entry = entry(4);
        let event = entry.initial_event();
        assert!(Arc::ptr_eq(&event, &entry.initial_event()));
        drop(event);
        assert_eq!(Arc::strong_count(&entry), 1, "nothing keeps the event alive");
    }
}
