//! The suite that tests each clause of the [`Storage`](crate::storage::Storage) contract.
