//! Which objects a list or watch shows, and as what: the selector transition table (W7).

use std::{ops::Bound, sync::Arc};

use triune_api::names::ObjectKey;

use crate::{
    event::{ChangeEvent, Entry},
    keys::{item_key, namespace_bounds},
    scope::ScopeKey,
    types::{EventType, Selection},
};

/// A selection, made ready: key comparisons first, attributes only where a selector asks for them.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    namespace: Option<Arc<str>>,
    name: Option<Arc<str>>,
    selection: Selection,
    /// Whether every object with a fitting key is selected.
    keys_only: bool,
}

impl Filter {
    pub(crate) fn new(selection: Selection) -> Filter {
        let exact = |path| selection.fields.exact(path).map(Arc::<str>::from);
        let namespace = selection.namespace.clone().filter(|namespace| !namespace.is_empty());
        let namespace = namespace.or_else(|| exact("metadata.namespace").filter(|namespace| !namespace.is_empty()));
        let name = exact("metadata.name");
        let keys_only = selection.labels.is_empty() && selection.fields.is_empty();
        Filter { namespace, name, selection, keys_only }
    }

    /// Whether there is no selector besides a namespace: then the number of remaining items is known.
    pub(crate) fn is_plain(&self) -> bool {
        self.keys_only
    }

    /// Whether every object is selected.
    pub(crate) fn is_everything(&self) -> bool {
        self.keys_only && self.namespace.is_none()
    }

    /// Which changes may concern it.
    pub(crate) fn scope(&self) -> ScopeKey {
        (self.namespace.clone(), self.name.clone())
    }

    /// What start keys of continue tokens are relative to: `namespace/`, or nothing.
    pub(crate) fn list_prefix(&self) -> String {
        self.selection
            .namespace
            .as_ref()
            .filter(|namespace| !namespace.is_empty())
            .map_or_else(String::new, |namespace| item_key(namespace, ""))
    }

    /// The item keys that may be selected, from `start` on.
    pub(crate) fn range(&self, start: Bound<String>) -> (Bound<Arc<str>>, Bound<Arc<str>>) {
        let (first, end) = match (&self.namespace, &self.name) {
            (Some(namespace), Some(name)) => {
                let key: Arc<str> = item_key(namespace, name).into();
                (Bound::Included(key.clone()), Bound::Included(key))
            }
            (Some(namespace), None) => {
                let (first, end) = namespace_bounds(namespace);
                (Bound::Included(first.into()), Bound::Excluded(end.into()))
            }
            (None, _) => (Bound::Unbounded, Bound::Unbounded),
        };
        let start = start.map(Arc::<str>::from);
        let text = |bound: &Bound<Arc<str>>| match bound {
            Bound::Included(key) | Bound::Excluded(key) => Some(key.clone()),
            Bound::Unbounded => None,
        };
        let start =
            if text(&start) > text(&first) || (text(&start) == text(&first) && matches!(start, Bound::Excluded(_))) {
                start
            } else {
                first
            };
        // A range whose start is past its end would be refused: nothing is selected then.
        match (text(&start), text(&end)) {
            (Some(from), Some(to)) if from > to || (from == to && matches!(start, Bound::Excluded(_))) => {
                (Bound::Included(from.clone()), Bound::Excluded(from))
            }
            _ => (start, end),
        }
    }

    /// Whether objects with this key may be selected.
    pub(crate) fn matches_key(&self, key: &ObjectKey) -> bool {
        self.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace)
            && self.name.as_ref().is_none_or(|name| *name == key.name)
    }

    /// Whether this state is selected.
    pub(crate) fn matches(&self, entry: &Entry) -> bool {
        self.matches_key(&entry.key) && (self.keys_only || self.matches_attributes(entry))
    }

    fn matches_attributes(&self, entry: &Entry) -> bool {
        let attributes = entry.attributes();
        self.selection.labels.matches(&attributes.labels) && self.selection.fields.matches(&attributes.fields)
    }

    /// As what a watch with this selection shows a change; None if it does not.
    pub(crate) fn shows(&self, event: &ChangeEvent) -> Option<EventType> {
        let matches = |entry: Option<&Arc<Entry>>| entry.is_some_and(|entry| self.matches(entry));
        match (matches(event.previous()), matches(event.current())) {
            (false, false) => None,
            (false, true) => Some(EventType::Added),
            (true, true) => Some(EventType::Modified),
            (true, false) => Some(EventType::Deleted),
        }
    }
}
