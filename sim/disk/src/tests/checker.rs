//! What must hold of the rows that a recovered store shows. Pure.
//!
//! Each transaction writes, besides its changes, a stamped row of its own, which tells whether and where it was applied.

use std::collections::BTreeMap;

use bytes::Bytes;
use triune_env::storage::Revision;

/// A change of one transaction, on keys and values that are texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Set {
        key: String,
        value: String,
    },
    Clear {
        key: String,
    },
    /// `end` is excluded.
    ClearRange {
        start: String,
        end: String,
    },
}

/// What a transaction was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// It was applied, there.
    Applied(Revision),
    /// It was not applied.
    Refused,
    /// Nothing, or that its outcome is unknown.
    Nothing,
}

/// A transaction as its caller knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) steps: Vec<Step>,
    pub(super) told: Told,
    /// What a recovered store showed of it before: applied there, or not at all. That may not change any more.
    pub(super) shown: Option<Option<Revision>>,
}

/// What a store shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) revision: Revision,
    /// Where each transaction was applied, by its number.
    pub(super) applied: BTreeMap<usize, Revision>,
    /// All other rows.
    pub(super) rows: BTreeMap<String, Bytes>,
}

/// Nothing acknowledged is lost, nothing refused is there, no transaction is there by half, what was shown once stays, and
/// no revision goes back. `highest` is the highest revision that anybody was told before.
pub(super) fn check(attempts: &[Attempt], highest: Revision, shown: &Shown) -> Result<(), String> {
    if shown.revision < highest {
        return Err(format!("the store is at {}, it was at {highest}", shown.revision));
    }
    for (number, attempt) in attempts.iter().enumerate() {
        let applied = shown.applied.get(&number).copied();
        match attempt.told {
            Told::Applied(revision) if applied != Some(revision) => {
                return Err(format!("transaction {number} was acknowledged at {revision}, and is at {applied:?}"));
            }
            Told::Refused if applied.is_some() => {
                return Err(format!("transaction {number} was refused, and is at {applied:?}"));
            }
            _ => {}
        }
        if attempt.shown.is_some_and(|before| before != applied) {
            return Err(format!("transaction {number} was shown as {:?}, and is at {applied:?}", attempt.shown));
        }
    }
    let rows = replay(attempts, shown)?;
    if rows == shown.rows {
        return Ok(());
    }
    let differs = |key: &&String| rows.get(*key) != shown.rows.get(*key);
    let key = rows.keys().chain(shown.rows.keys()).find(differs);
    Err(format!("transactions are there by half: the row {key:?} is not what they make together"))
}

/// What the applied transactions make together, in the order of their revisions.
fn replay(attempts: &[Attempt], shown: &Shown) -> Result<BTreeMap<String, Bytes>, String> {
    let mut order: Vec<(Revision, usize)> =
        shown.applied.iter().map(|(number, revision)| (*revision, *number)).collect();
    order.sort_unstable();
    if let Some(pair) = order.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(format!("transactions {} and {} have one revision", pair[0].1, pair[1].1));
    }
    if let Some((revision, number)) = order.last().filter(|(revision, _)| *revision > shown.revision) {
        return Err(format!("transaction {number} is at {revision}, the store at {}", shown.revision));
    }
    let mut rows = BTreeMap::new();
    for (_, number) in order {
        let attempt = attempts.get(number).ok_or_else(|| format!("nobody made transaction {number}"))?;
        for step in &attempt.steps {
            match step {
                Step::Set { key, value } => drop(rows.insert(key.clone(), Bytes::from(value.clone()))),
                Step::Clear { key } => drop(rows.remove(key)),
                Step::ClearRange { start, end } => rows.retain(|key, _| key < start || key >= end),
            }
        }
    }
    Ok(rows)
}

/// Two transactions: `0` set a and b, and was acknowledged at 2; `1` cleared a and set c, and heard nothing.
fn check_story(change: impl FnOnce(&mut [Attempt; 2], &mut Revision, &mut Shown), expect: &str) {
    let set = |key: &str| Step::Set { key: key.to_owned(), value: format!("{key}!") };
    let attempt = |steps, told| Attempt { steps, told, shown: None };
    let mut attempts = [
        attempt(vec![set("a"), set("b")], Told::Applied(Revision(2))),
        attempt(vec![Step::Clear { key: "a".to_owned() }, set("c")], Told::Nothing),
    ];
    let row = |key: &str| (key.to_owned(), Bytes::from(format!("{key}!")));
    let mut shown =
        Shown { revision: Revision(2), applied: BTreeMap::from([(0, Revision(2))]), rows: [row("a"), row("b")].into() };
    let mut highest = Revision(2);
    change(&mut attempts, &mut highest, &mut shown);
    let outcome = check(&attempts, highest, &shown).err().unwrap_or_default();
    assert!(outcome.contains(expect) && outcome.is_empty() == expect.is_empty(), "{outcome:?}, not {expect:?}");
}

/// The second transaction is there.
fn apply_second(shown: &mut Shown) {
    shown.revision = Revision(3);
    shown.applied.insert(1, Revision(3));
    shown.rows.remove("a");
    shown.rows.insert("c".to_owned(), Bytes::from_static(b"c!"));
}

#[test]
fn an_unknown_transaction_may_be_there_or_not() {
    check_story(|_, _, _| (), "");
    check_story(|_, _, shown| apply_second(shown), "");
}

#[test]
fn a_lost_or_moved_transaction_is_noticed() {
    check_story(
        |_, _, shown| {
            shown.applied.clear();
            shown.rows.clear();
        },
        "transaction 0 was acknowledged at 2, and is at None",
    );
    check_story(
        |_, _, shown| {
            shown.applied.insert(0, Revision(1));
        },
        "acknowledged at 2, and is at Some",
    );
    check_story(|attempts, _, _| attempts[1].shown = Some(Some(Revision(3))), "transaction 1 was shown as");
}

#[test]
fn a_transaction_that_should_not_be_there_is_noticed() {
    check_story(
        |attempts, _, shown| {
            attempts[1].told = Told::Refused;
            apply_second(shown);
        },
        "transaction 1 was refused",
    );
    check_story(
        |attempts, _, shown| {
            attempts[1].shown = Some(None);
            apply_second(shown);
        },
        "transaction 1 was shown as Some(None)",
    );
    check_story(
        |_, _, shown| {
            shown.applied.insert(7, Revision(1));
        },
        "nobody made transaction 7",
    );
}

#[test]
fn half_a_transaction_is_noticed() {
    check_story(|_, _, shown| drop(shown.rows.remove("b")), "by half: the row Some(\"b\")");
    check_story(|_, _, shown| drop(shown.rows.insert("c".to_owned(), Bytes::from_static(b"c!"))), "Some(\"c\")");
    check_story(|_, _, shown| drop(shown.rows.insert("b".to_owned(), Bytes::from_static(b"?"))), "Some(\"b\")");
    check_story(
        |_, _, shown| {
            apply_second(shown);
            shown.rows.insert("a".to_owned(), Bytes::from_static(b"a!"));
        },
        "Some(\"a\")",
    );
}

#[test]
fn wrong_revisions_are_noticed() {
    check_story(|_, highest, _| *highest = Revision(3), "the store is at 2, it was at 3");
    check_story(
        |_, _, shown| {
            apply_second(shown);
            shown.applied.insert(1, Revision(2));
        },
        "have one revision",
    );
    check_story(
        |_, _, shown| {
            apply_second(shown);
            shown.revision = Revision(2);
        },
        "transaction 1 is at 3, the store at 2",
    );
}
