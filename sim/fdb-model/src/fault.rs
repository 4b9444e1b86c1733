//! Mistakes that tests plant, to see that the properties of `check` find them. Outside of tests there are none.

/// A planted mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A cleared range conflicts with nobody.
    ResolverIgnoresClearRange,
    /// What was written at the read version itself conflicts.
    ConflictsWithOldWrites,
    /// A read shows the version after its own.
    ReadsOneVersionLate,
    /// States go while they can still be read.
    PrunesTooEarly,
    /// All commits of a batch have one stamp.
    SharesBatchOrder,
    /// Removed rows wake nobody.
    LosesWatchesOfRemovals,
}

#[cfg(test)]
impl Fault {
    pub(crate) const ALL: [Fault; 6] = [
        Fault::ResolverIgnoresClearRange,
        Fault::ConflictsWithOldWrites,
        Fault::ReadsOneVersionLate,
        Fault::PrunesTooEarly,
        Fault::SharesBatchOrder,
        Fault::LosesWatchesOfRemovals,
    ];
}
