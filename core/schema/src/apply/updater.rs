//! Who owns what after a write: structured-merge-diff's `merge.Updater` over versions of a kind.
//!
//! Entries of other versions are judged in theirs: both objects are converted, compared there, and what changed is taken
//! from the entry. Entries of versions that the kind no longer has go.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{
    ResetFields, Versions,
    compare::{Changes, compare},
    conflict::{ApplyError, Conflict},
    element::same,
    entries::{Entry, Identity},
    merge::{merge, reconcile, remove, with_declared_parents},
    schema::MergeSchema,
    set::{FieldSet, Set},
    validate::field_set,
};

/// A kind in the version of a request.
pub(super) struct Updater<'a> {
    pub(super) versions: &'a dyn Versions,
    pub(super) api_version: &'a str,
    pub(super) schema: &'a MergeSchema,
    /// Fields of this version that requests do not set.
    pub(super) reset: Option<Arc<ResetFields>>,
}

/// An object in some version: the one at hand, or one that was converted.
type Versioned<'v> = Cow<'v, Value>;

impl<'a> Updater<'a> {
    /// What a write changed, after it was taken from the entries of others than `current`.
    ///
    /// # Errors
    /// Objects that do not fit the type; conflicts with other entries, unless `force` is set.
    fn take<'o>(
        &self,
        live: &'o Value,
        new: &'o Value,
        entries: &mut Vec<Entry<'_>>,
        current: Option<Identity<'_>>,
        force: bool,
    ) -> Result<Changes<'o>, ApplyError>
    where
        'a: 'o,
    {
        let changes = match std::ptr::eq(live, new) {
            true => Changes::default(),
            false => compare(self.schema.root(), live, new)
                .map_err(|errors| ApplyError::failed(format!("failed to compare objects: {errors}")))?
                .without(self.reset.as_deref()),
        };
        let is_current = |entry: &Entry<'_>| current.is_some_and(|current| entry.is_of(current));
        // Versions, with what changed in them; None if the kind does not have it any more.
        let mut others: BTreeMap<String, Option<[FieldSet; 3]>> = BTreeMap::new();
        for entry in entries.iter().filter(|entry| !is_current(entry) && entry.api_version != self.api_version) {
            if !others.contains_key(&*entry.api_version) {
                others.insert(entry.api_version.to_string(), self.changes_in(&entry.api_version, live, new)?);
            }
        }
        let mut conflicts = Vec::new();
        entries.retain_mut(|entry| {
            if is_current(entry) {
                return true;
            }
            let here = [&changes.removed, &changes.modified, &changes.added];
            let [removed, modified, added] = match others.get(&*entry.api_version) {
                Some(Some([removed, modified, added])) => [removed, modified, added],
                Some(None) => return false,
                None => here,
            };
            if !force {
                let disputed = entry.set.intersection(modified).union(entry.set.intersection(added));
                if !disputed.is_empty() {
                    conflicts.push((entry.id(), disputed.into_owned()));
                }
            }
            for taken in [modified, added, removed] {
                entry.lose(taken);
            }
            true
        });
        if !conflicts.is_empty() {
            conflicts.sort_by_key(|(manager, _)| manager.text());
            let mut all = Vec::new();
            for (manager, set) in conflicts {
                set.for_each(&mut |path| {
                    let path = path.iter().map(ToString::to_string).collect();
                    all.push(Conflict { manager: manager.clone(), path });
                });
            }
            return Err(ApplyError::Conflicts(all));
        }
        entries.retain(|entry| !entry.set.is_empty());
        Ok(changes)
    }

    /// What changed, seen in another version.
    fn changes_in(&self, api_version: &str, live: &Value, new: &Value) -> Result<Option<[FieldSet; 3]>, ApplyError> {
        let Some(schema) = self.versions.schema(api_version) else { return Ok(None) };
        let (Some(live), Some(new)) =
            (self.versions.convert(live, api_version), self.versions.convert(new, api_version))
        else {
            return Ok(None);
        };
        let changes = compare(schema.root(), &live, &new)
            .map_err(|errors| ApplyError::failed(format!("failed to compare objects: {errors}")))?
            .without(self.versions.reset_fields(api_version).as_deref());
        Ok(Some([changes.removed.into_owned(), changes.modified.into_owned(), changes.added.into_owned()]))
    }

    /// Brings entries to the schemas of today.
    fn reconcile(&self, entries: &mut Vec<Entry<'_>>) {
        entries.retain_mut(|entry| {
            let other;
            let schema = if entry.api_version == self.api_version {
                self.schema
            } else {
                match self.versions.schema(&entry.api_version) {
                    Some(schema) => {
                        other = schema;
                        &other
                    }
                    None => return false,
                }
            };
            if reconcile(&mut entry.set, schema.root()) {
                entry.unchanged = None;
            }
            true
        });
    }

    /// Tracks a write that is no apply: the fields that it set, taken from everybody's entries.
    pub(super) fn update<'o>(
        &self,
        live: &'o Value,
        new: &'o Value,
        entries: &mut Vec<Entry<'_>>,
    ) -> Result<Set<'o>, ApplyError>
    where
        'a: 'o,
    {
        self.reconcile(entries);
        let changes = self.take(live, new, entries, None, true)?;
        Ok(changes.modified.union(changes.added))
    }

    /// Lays a configuration over the live object, with fields taken away that the manager applied before and nobody owns
    /// now; None if that is the live object again. The manager's entry has the fields of this configuration.
    pub(super) fn apply<'o>(
        &self,
        live: &Value,
        applied: &'o Value,
        entries: &mut Vec<Entry<'o>>,
        identity: Identity<'o>,
        force: bool,
    ) -> Result<Option<Value>, ApplyError>
    where
        'a: 'o,
    {
        self.reconcile(entries);
        let merged = merge(self.schema.root(), live, applied)
            .map_err(|errors| ApplyError::failed(format!("failed to merge config: {errors}")))?;
        let mut set = field_set(self.schema.root(), applied);
        if let Some(reset) = &self.reset {
            set = reset.leave(set);
        }
        let mut entry = Entry::new(identity, set, None);
        let at = entries.iter().position(|entry| entry.is_of(identity));
        let last = match at {
            Some(at) => {
                entry.time = entries[at].time.clone();
                let last = std::mem::replace(&mut entries[at], entry);
                Some((last.set, last.api_version))
            }
            None => {
                entries.push(entry);
                None
            }
        };
        let at = at.unwrap_or(entries.len() - 1);
        let merged = match last {
            Some((last, version)) if !last.is_empty() && !self.keeps_all(&last, &version, &entries[at]) => {
                self.prune(merged, &last, &version, entries)
            }
            _ => merged,
        };
        let changed = !same(live, &merged);
        let merged = changed.then_some(merged);
        self.take(live, merged.as_ref().unwrap_or(live), entries, Some(identity), force)?;
        Ok(merged)
    }

    /// Whether the configuration still has all that it had: then nothing is taken away.
    fn keeps_all(&self, last: &Set<'_>, version: &str, entry: &Entry<'_>) -> bool {
        version == self.api_version && last.is_subset(&entry.set)
    }

    fn convert<'v>(&self, object: Versioned<'v>, from: &str, to: &str) -> Result<Versioned<'v>, Versioned<'v>> {
        if from == to {
            return Ok(object);
        }
        match self.versions.convert(&object, to) {
            Some(converted) => Ok(Cow::Owned(converted)),
            None => Err(object),
        }
    }

    fn schema_of(&self, version: &str) -> Option<Cow<'_, MergeSchema>> {
        if version == self.api_version {
            Some(Cow::Borrowed(self.schema))
        } else {
            self.versions.schema(version).map(Cow::Owned)
        }
    }

    /// Takes away what the last configuration had and nobody owns now.
    fn prune(&self, merged: Value, last: &Set<'_>, version: &str, entries: &[Entry<'_>]) -> Value {
        let Some(schema) = self.schema_of(version) else { return merged };
        let Ok(before) = self.convert(Cow::Borrowed(&merged), self.api_version, version) else { return merged };
        let last = with_declared_parents(last.clone(), schema.root());
        let pruned = remove(schema.root(), &before, &last);
        let (pruned, pruned_version) = self.keep_owned(&before, pruned, version, entries);
        let pruned = match self.convert(Cow::Owned(pruned), &pruned_version, version) {
            Ok(pruned) => {
                // What nobody owned, or only others did, comes back.
                let kept = with_declared_parents(field_set(schema.root(), &pruned), schema.root());
                let all = with_declared_parents(field_set(schema.root(), &before), schema.root());
                remove(schema.root(), &before, &all.difference(&kept).intersection(&last))
            }
            Err(_) => before.into_owned(),
        };
        match self.convert(Cow::Owned(pruned), version, self.api_version) {
            Ok(pruned) => pruned.into_owned(),
            Err(_) => merged,
        }
    }

    /// Puts back what somebody owns, version by version; the result is in the version that comes with it.
    fn keep_owned(&self, before: &Value, pruned: Value, version: &str, entries: &[Entry<'_>]) -> (Value, String) {
        let mut owned: BTreeMap<&str, Set<'_>> = BTreeMap::new();
        for entry in entries {
            let set = owned.remove(&*entry.api_version).unwrap_or_default();
            owned.insert(&entry.api_version, set.union(entry.set.clone()));
        }
        // The version that was pruned comes first: others may need what it puts back to be converted.
        let first = owned.remove(version).map(|set| (version, set));
        let (mut before, mut before_version) = (Cow::Borrowed(before), version.to_string());
        let (mut pruned, mut pruned_version) = (Cow::<Value>::Owned(pruned), version.to_string());
        for (version, set) in first.into_iter().chain(owned) {
            let Some(schema) = self.schema_of(version) else { continue };
            match self.convert(before, &before_version, version) {
                Ok(converted) => (before, before_version) = (converted, version.to_string()),
                Err(kept) => {
                    before = kept;
                    continue;
                }
            }
            match self.convert(pruned, &pruned_version, version) {
                Ok(converted) => (pruned, pruned_version) = (converted, version.to_string()),
                Err(kept) => {
                    pruned = kept;
                    continue;
                }
            }
            let root = schema.root();
            let with_parents = |set: Set<'_>| with_declared_parents(set.into_owned(), root);
            let all = with_parents(field_set(root, &before));
            let kept = with_parents(field_set(root, &pruned)).union(with_parents(set));
            pruned = Cow::Owned(remove(root, &before, &all.difference(&kept)));
        }
        (pruned.into_owned(), pruned_version)
    }
}
