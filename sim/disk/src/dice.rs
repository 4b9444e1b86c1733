//! Draws from an entropy. Modulo bias is of no matter here: bounds are small.

use std::{ops::RangeInclusive, time::Duration};

use triune_env::Entropy;

/// A number below `bound`; 0 if `bound` is 0.
pub(crate) fn below(entropy: &dyn Entropy, bound: u64) -> u64 {
    if bound == 0 { 0 } else { entropy.u64() % bound }
}

/// Whether something with this chance in a thousand happens. Draws nothing for what never does.
pub(crate) fn happens(entropy: &dyn Entropy, per_mille: u32) -> bool {
    per_mille > 0 && below(entropy, 1_000) < u64::from(per_mille)
}

/// A time of the range, in microseconds.
pub(crate) fn time(entropy: &dyn Entropy, range: &RangeInclusive<Duration>) -> Duration {
    let micros = |time: &Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let (low, high) = (micros(range.start()), micros(range.end()));
    let wide = high.saturating_sub(low).saturating_add(1);
    Duration::from_micros(low.saturating_add(below(entropy, wide)))
}

/// The numbers below `count` in a drawn order.
pub(crate) fn order(entropy: &dyn Entropy, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        let other = below(entropy, last as u64 + 1) as usize;
        order.swap(last, other);
    }
    order
}
