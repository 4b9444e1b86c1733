//! Storages in front of another, as tests make them to break it: a double says what it changes, and names what it passes
//! on. What it does neither of does not compile.
//!
//! ```ignore
//! impl Transaction for Forgetful {
//!     transaction_passes_on!(inner: read_version, get, range, set, clear, clear_range, commit);
//!     fn add_read_conflict_key(&mut self, _: Bytes) {}
//! }
//! ```

/// Methods of [`Storage`](crate::storage::Storage) that do what the storage in a field does.
#[macro_export]
macro_rules! storage_passes_on {
    ($field:ident: $($method:ident),+) => { $($crate::storage_passes_on! { @ $method $field })+ };
    (@ read_version $field:ident) => {
        fn read_version(
            &self,
        ) -> $crate::BoxFuture<'_, ::std::result::Result<$crate::storage::Revision, $crate::storage::StorageError>> {
            self.$field.read_version()
        }
    };
    (@ changed $field:ident) => {
        fn changed(
            &self,
            key: $crate::contract::Bytes,
            seen: ::std::option::Option<$crate::contract::Bytes>,
        ) -> $crate::BoxFuture<'static, ::std::result::Result<(), $crate::storage::StorageError>> {
            self.$field.changed(key, seen)
        }
    };
    (@ revision_of $field:ident) => {
        fn revision_of(&self, stamp: &$crate::storage::Stamp) -> $crate::storage::Revision {
            self.$field.revision_of(stamp)
        }
    };
    (@ stamp_of $field:ident) => {
        fn stamp_of(&self, revision: $crate::storage::Revision) -> $crate::storage::Stamp {
            self.$field.stamp_of(revision)
        }
    };
}

/// Methods of [`Transaction`](crate::storage::Transaction) that do what the transaction in a field does.
#[macro_export]
macro_rules! transaction_passes_on {
    ($field:ident: $($method:ident),+) => { $($crate::transaction_passes_on! { @ $method $field })+ };
    (@ read_version $field:ident) => {
        fn read_version(&self) -> $crate::storage::Revision {
            self.$field.read_version()
        }
    };
    (@ get $field:ident) => {
        fn get<'a>(
            &'a mut self,
            key: &'a [u8],
            isolation: $crate::storage::Isolation,
        ) -> $crate::BoxFuture<
            'a,
            ::std::result::Result<::std::option::Option<$crate::contract::Bytes>, $crate::storage::StorageError>,
        > {
            self.$field.get(key, isolation)
        }
    };
    (@ range $field:ident) => {
        fn range<'a>(
            &'a mut self,
            range: $crate::storage::KeyRange,
            limit: usize,
            reverse: bool,
            isolation: $crate::storage::Isolation,
        ) -> $crate::BoxFuture<
            'a,
            ::std::result::Result<::std::vec::Vec<$crate::storage::Row>, $crate::storage::StorageError>,
        > {
            self.$field.range(range, limit, reverse, isolation)
        }
    };
    (@ set $field:ident) => {
        fn set(&mut self, key: $crate::contract::Bytes, value: $crate::contract::Bytes) {
            self.$field.set(key, value);
        }
    };
    (@ set_stamped_key $field:ident) => {
        fn set_stamped_key(&mut self, prefix: &[u8], suffix: &[u8], value: $crate::contract::Bytes) {
            self.$field.set_stamped_key(prefix, suffix, value);
        }
    };
    (@ set_stamped_value $field:ident) => {
        fn set_stamped_value(&mut self, key: $crate::contract::Bytes, value: ::std::vec::Vec<u8>, offset: usize) {
            self.$field.set_stamped_value(key, value, offset);
        }
    };
    (@ clear_range $field:ident) => {
        fn clear_range(&mut self, range: $crate::storage::KeyRange) {
            self.$field.clear_range(range);
        }
    };
    (@ commit $field:ident) => {
        fn commit(
            self: ::std::boxed::Box<Self>,
        ) -> $crate::BoxFuture<'static, ::std::result::Result<$crate::storage::Revision, $crate::storage::CommitError>>
        {
            self.$field.commit()
        }
    };
    // `clear`, `add_read_conflict_key` and `add_write_conflict_key` take a key.
    (@ $method:ident $field:ident) => {
        fn $method(&mut self, key: $crate::contract::Bytes) {
            self.$field.$method(key);
        }
    };
}
