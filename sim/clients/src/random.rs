//! Randomness of clients: all of it follows from the seed of a plan, so that an edited plan replays.
//!
//! Each operation has a source of its own ([`Random::of`]): leaving one out changes nothing in the others.

use std::time::Duration;

/// A source of numbers (splitmix64, Steele, Lea and Flood 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The source of the `number`th thing of a seed.
    pub fn of(seed: u64, number: u64) -> Random {
        let mut base = Random(seed);
        Random(base.u64() ^ number.wrapping_mul(0xd134_2543_de82_ef95))
    }

    /// 64 bits.
    pub fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Less than `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The bias is below bound / 2^64: nobody could tell.
        ((u128::from(self.u64()) * u128::from(bound)) >> 64) as u64
    }

    /// From `range.0` to `range.1`, both included.
    pub fn between(&mut self, range: (u64, u64)) -> u64 {
        range.0 + self.below(range.1.saturating_sub(range.0).saturating_add(1))
    }

    /// Milliseconds from `range.0` to `range.1`.
    pub fn millis(&mut self, range: (u64, u64)) -> Duration {
        Duration::from_millis(self.between(range))
    }

    /// True in `percent` of 100 cases.
    pub fn percent(&mut self, percent: u32) -> bool {
        self.below(100) < u64::from(percent)
    }

    /// One of `items`; None of nothing.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len() as u64) as usize)
    }

    /// One of `items` by weight; None if all weights are 0.
    pub fn weighted<T: Copy>(&mut self, items: &[(T, u32)]) -> Option<T> {
        let sum: u64 = items.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut at = self.below(sum);
        items
            .iter()
            .find(|(_, weight)| at.checked_sub(u64::from(*weight)).map(|rest| at = rest).is_none())
            .map(|(item, _)| *item)
    }

    /// `items` in their order, each with `percent`, but at least one.
    pub fn subset<T: Clone>(&mut self, items: &[T], percent: u32) -> Vec<T> {
        let some: Vec<T> = items.iter().filter(|_| self.percent(percent)).cloned().collect();
        if some.is_empty() { self.pick(items).cloned().into_iter().collect() } else { some }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_and_all_values_come() {
        let mut random = Random::new(1);
        let mut seen = [0; 3];
        for _ in 0..300 {
            seen[random.below(3) as usize] += 1;
            assert!((5..=7).contains(&random.between((5, 7))));
        }
        assert!(seen.iter().all(|count| (60..140).contains(count)), "{seen:?}");
        assert_eq!((random.below(0), random.pick::<u8>(&[])), (0, None));
    }

    #[test]
    fn weights_count() {
        let mut random = Random::new(2);
        let drawn: Vec<char> = (0..100).filter_map(|_| random.weighted(&[('a', 0), ('b', 1), ('c', 9)])).collect();
        let count = |letter| drawn.iter().filter(|drawn| **drawn == letter).count();
        assert_eq!((drawn.len(), count('a')), (100, 0));
        assert!(count('b') > 0 && count('c') > 3 * count('b'));
        assert_eq!(random.weighted(&[('a', 0)]), None);
    }

    #[test]
    fn each_operation_has_its_own_numbers() {
        let first = |number| Random::of(7, number).u64();
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
        assert_eq!(Random::new(3).subset(&[1, 2, 3], 0).len(), 1);
    }
}
