//! Objects and changes as the watch cache holds them: bytes and what selectors look at, never a tree; the bytes of each
//! encoding are made once and shared: of an event by all watchers, of a state by lists and watches.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use triune_api::names::ObjectKey;

use crate::{
    Revision,
    types::{Attributes, AttributesOf, EventType},
};

/// Encodings kept of one event; further ones are made anew for each watcher.
const ENCODINGS_MAX: usize = 16;

/// Encodings kept of one state; further ones are made anew each time.
const STATE_ENCODINGS_MAX: usize = 4;

/// What all entries of a resource share.
pub struct Origin {
    attributes_of: Arc<dyn AttributesOf>,
    /// Bytes of encodings that entries may keep.
    room_bytes: usize,
    kept_bytes: AtomicUsize,
    /// Whether somebody has asked for an encoding since [`Origin::take_asked`].
    asked: AtomicBool,
}

impl Origin {
    /// Entries keep at most `room_bytes` of encodings, together.
    pub fn new(attributes_of: Arc<dyn AttributesOf>, room_bytes: usize) -> Arc<Origin> {
        let (kept_bytes, asked) = (AtomicUsize::new(0), AtomicBool::new(false));
        Arc::new(Origin { attributes_of, room_bytes, kept_bytes, asked })
    }

    /// Takes room; false if there is not enough left.
    fn take_room(&self, bytes: usize) -> bool {
        let room = |kept: usize| kept.checked_add(bytes).filter(|kept| *kept <= self.room_bytes);
        self.kept_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok()
    }

    fn give_room_back(&self, bytes: usize) {
        self.kept_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes of encodings that entries keep now.
    pub fn kept_bytes(&self) -> usize {
        self.kept_bytes.load(Ordering::Relaxed)
    }

    /// Whether somebody has asked for an encoding since the last call.
    pub(crate) fn take_asked(&self) -> bool {
        self.asked.swap(false, Ordering::Relaxed)
    }
}

/// An object in the watch cache.
pub struct Entry {
    /// Its key.
    pub key: ObjectKey,
    /// Revision of this state.
    pub revision: Revision,
    /// See [`crate::types::StoredObject::body`].
    pub body: Bytes,
    attributes: OnceLock<Attributes>,
    origin: Arc<Origin>,
    made: Mutex<Made>,
}

/// What has been made of a state.
#[derive(Default)]
struct Made {
    /// The event that shows it to a watch that starts with it, while somebody uses it.
    initial: Weak<ChangeEvent>,
    /// Its encodings, as far as there was room.
    encodings: Vec<(EncodingId, Bytes)>,
    /// It is the state of an object no more, and keeps nothing.
    is_past: bool,
}

impl Made {
    fn forget_encodings(&mut self, origin: &Origin) {
        origin.give_room_back(self.encodings.iter().map(|(_, bytes)| bytes.len()).sum());
        self.encodings = Vec::new();
    }
}

impl Entry {
    /// A state of an object. Its attributes are taken out when a selector first asks for them.
    pub fn new(key: ObjectKey, revision: Revision, body: Bytes, origin: Arc<Origin>) -> Entry {
        Entry { key, revision, body, attributes: OnceLock::new(), origin, made: Mutex::default() }
    }

    /// What selectors look at.
    pub fn attributes(&self) -> &Attributes {
        self.attributes.get_or_init(|| self.origin.attributes_of.attributes_of(&self.key, &self.body))
    }

    /// The same object with another state or revision.
    pub(crate) fn with(&self, revision: Revision, body: Bytes) -> Entry {
        Entry::new(self.key.clone(), revision, body, self.origin.clone())
    }

    /// The bytes of this state in one encoding. They are kept for others while this is the state of the object and there
    /// is room for them.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn encoded<E>(&self, encoding: EncodingId, make: impl FnOnce() -> Result<Bytes, E>) -> Result<Bytes, E> {
        self.origin.asked.store(true, Ordering::Relaxed);
        let find = |made: &Made| made.encodings.iter().find(|(id, _)| *id == encoding).map(|(_, bytes)| bytes.clone());
        if let Some(bytes) = find(&self.made()) {
            return Ok(bytes);
        }
        let bytes = make()?;
        let mut made = self.made();
        // Two who asked at the same time have both made it.
        if let Some(bytes) = find(&made) {
            return Ok(bytes);
        }
        if !made.is_past && made.encodings.len() < STATE_ENCODINGS_MAX && self.origin.take_room(bytes.len()) {
            made.encodings.reserve_exact(1);
            made.encodings.push((encoding, bytes.clone()));
        }
        Ok(bytes)
    }

    /// Lets go of the encodings.
    pub(crate) fn forget_encodings(&self) {
        self.made().forget_encodings(&self.origin);
    }

    /// Another state has taken its place: it lets go of its encodings and keeps none from now on.
    pub(crate) fn retire(&self) {
        let mut made = self.made();
        made.is_past = true;
        made.forget_encodings(&self.origin);
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ADDED event that shows this state to watches that start with it; shared while somebody holds it.
    pub(crate) fn initial_event(self: &Arc<Entry>) -> Arc<ChangeEvent> {
        let mut made = self.made();
        made.initial.upgrade().unwrap_or_else(|| {
            let event = Arc::new(ChangeEvent::new(self.revision, None, Some(self.clone()), None));
            made.initial = Arc::downgrade(&event);
            event
        })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let made = self.made.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !made.encodings.is_empty() {
            made.forget_encodings(&self.origin);
        }
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

/// Names an encoding of states or events, such as JSON of one version; the callers give out the numbers.
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
        Arc::new(Entry::new(key, Revision(revision), body, Origin::new(Arc::new(NoAttributes), 64)))
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

    /// Asks a state for an encoding of so many bytes; how often it was made.
    fn times_made(entry: &Entry, encoding: u32, length: usize, times: usize) -> usize {
        let made = Cell::new(0);
        for _ in 0..times {
            let bytes = entry.encoded(EncodingId(encoding), || {
                made.set(made.get() + 1);
                Ok::<Bytes, ()>(vec![encoding as u8; length].into())
            });
            assert_eq!(bytes.map(|bytes| (bytes.len(), bytes[0])), Ok((length, encoding as u8)));
        }
        made.get()
    }

    #[test]
    fn states_keep_encodings_while_there_is_room() {
        let entry = entry(1);
        assert_eq!(times_made(&entry, 1, 40, 3), 1);
        assert_eq!(times_made(&entry, 2, 40, 3), 3, "no room for a second");
        assert_eq!(times_made(&entry, 3, 24, 3), 1);
        assert_eq!(entry.origin.kept_bytes(), 64);
        let other = entry.with(Revision(2), Bytes::new());
        assert_eq!(times_made(&other, 1, 1, 2), 2, "room is shared");
        entry.forget_encodings();
        assert_eq!((entry.origin.kept_bytes(), times_made(&entry, 1, 40, 3)), (0, 1));
        entry.retire();
        assert_eq!((times_made(&entry, 1, 40, 2), entry.origin.kept_bytes()), (2, 0));
        assert_eq!(times_made(&other, 1, 64, 2), 1);
        drop(other);
        assert_eq!(entry.origin.kept_bytes(), 0);
        assert!(entry.origin.take_asked() && !entry.origin.take_asked());
    }

    #[test]
    fn a_state_keeps_few_encodings() {
        let entry = entry(1);
        for encoding in 0..40 {
            times_made(&entry, encoding, 1, 1);
        }
        assert_eq!(entry.origin.kept_bytes(), STATE_ENCODINGS_MAX);
        let failed: Result<Bytes, &str> = entry.encoded(EncodingId(50), || Err("no"));
        assert_eq!(failed, Err("no"));
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
