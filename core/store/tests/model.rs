//! Random writes, lists, chunked lists, watches, compactions and restarts against a history of all writes.
//!
//! Checks W1 (a list is the state at its revision), W2, W4 and W5 (which revision), W6 (pages of one revision), W7 and W8
//! (what a watch gives), W9 (what DELETED shows), W10 and W11 (bookmarks), W12 (410 exactly when changes are gone). The
//! bounds are small, so that watchers fall behind the window and lists go back past the snapshots.

mod support;

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use support::*;
use triune_api::selector::FieldSelector;
use triune_store::{Revision, StoreOptions, WatchItem, Watcher, types::*};

const PATHS: [&str; 7] = ["a/x", "a/y", "a-b/x", "b/x", "b/y", "b/z", "c"];
/// Namespace, labels, fields.
const SELECTIONS: [(&str, &str, &str); 8] = [
    ("", "", ""),
    ("a", "", ""),
    ("", "app=one", ""),
    ("b", "app!=one", ""),
    ("b", "app=none", ""),
    ("", "", "metadata.name=x"),
    ("b", "app=one", "metadata.name=x"),
    ("", "", "metadata.namespace=a"),
];
const APPS: [&str; 2] = ["one", "two"];

#[derive(Debug, Clone)]
enum Step {
    Put { path: usize, app: usize },
    Delete { path: usize },
    List { selection: usize, at: At },
    StartChain { selection: usize, limit: usize },
    NextPage,
    Watch { selection: usize, from: From, bookmarks: bool },
    Drain { watcher: usize, max: usize },
    Bookmark { watcher: usize },
    Compact { back: usize },
    Restart,
}

#[derive(Debug, Clone, Copy)]
enum At {
    Latest,
    Any,
    NotOlderThan(usize),
    Exact(usize),
    ExactFuture,
}

#[derive(Debug, Clone, Copy)]
enum From {
    StateLatest,
    StateAny,
    StateNotOlderThan(usize),
    After(usize),
    Now,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let selection = 0..SELECTIONS.len();
    let at = prop_oneof![
        Just(At::Latest),
        Just(At::Any),
        (0_usize..20).prop_map(At::NotOlderThan),
        (0_usize..20).prop_map(At::Exact),
        Just(At::ExactFuture),
    ];
    let from = prop_oneof![
        Just(From::StateLatest),
        Just(From::StateAny),
        (0_usize..20).prop_map(From::StateNotOlderThan),
        (0_usize..20).prop_map(From::After),
        Just(From::Now),
    ];
    let step = prop_oneof![
        12 => (0..PATHS.len(), 0..APPS.len()).prop_map(|(path, app)| Step::Put { path, app }),
        5 => (0..PATHS.len()).prop_map(|path| Step::Delete { path }),
        4 => (selection.clone(), at).prop_map(|(selection, at)| Step::List { selection, at }),
        1 => (selection.clone(), 1_usize..4).prop_map(|(selection, limit)| Step::StartChain { selection, limit }),
        4 => Just(Step::NextPage),
        2 => (selection, from, any::<bool>()).prop_map(|(selection, from, bookmarks)| Step::Watch { selection, from, bookmarks }),
        4 => (0_usize..8, 1_usize..6).prop_map(|(watcher, max)| Step::Drain { watcher, max }),
        1 => (0_usize..8).prop_map(|watcher| Step::Bookmark { watcher }),
        1 => (0_usize..20).prop_map(|back| Step::Compact { back }),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..80)
}

/// What an object was: label and data.
type State = BTreeMap<String, (String, String)>;

struct Change {
    revision: Revision,
    path: String,
    before: Option<(String, String)>,
    after: Option<(String, String)>,
}

struct Watching {
    watcher: Watcher,
    selection: usize,
    bookmarks: bool,
    /// Expected and not given yet, before `start`'s changes.
    initial: Vec<String>,
    /// Changes above this are still to come.
    position: Revision,
    bookmark: Revision,
    wants_end: bool,
}

struct Chain {
    selection: usize,
    limit: usize,
    revision: Revision,
    token: String,
    items: Vec<String>,
}

struct Test {
    world: World,
    history: Vec<Change>,
    floor: Revision,
    watching: Vec<Watching>,
    chain: Option<Chain>,
}

impl Test {
    async fn new() -> Test {
        let options = StoreOptions {
            window_events_max: 6,
            snapshot_every_events: 5,
            fresh_wait_max: Duration::from_millis(20),
            ..StoreOptions::default()
        };
        let world = World::with(options).await;
        Test { world, history: Vec::new(), floor: Revision(0), watching: Vec::new(), chain: None }
    }

    fn last(&self) -> Revision {
        self.history.last().map_or(Revision(0), |change| change.revision)
    }

    /// The revision of a change so many back; below the first there is nothing.
    fn back(&self, back: usize) -> Revision {
        self.history.len().checked_sub(back + 1).map_or(Revision(0), |index| self.history[index].revision)
    }

    fn state(&self, revision: Revision) -> State {
        let mut state = State::new();
        for change in self.history.iter().take_while(|change| change.revision <= revision) {
            match &change.after {
                Some(after) => state.insert(change.path.clone(), after.clone()),
                None => state.remove(&change.path),
            };
        }
        state
    }

    fn selected(&self, selection: usize, revision: Revision) -> Vec<String> {
        let state = self.state(revision);
        let selected = state.iter().filter(|(path, (app, _))| matches(selection, path, app));
        selected.map(|(path, (_, data))| format!("{path}={data}")).collect()
    }

    /// What a watch is to give after `position`, up to the last change.
    fn projection(&self, selection: usize, position: Revision) -> Vec<(Revision, String)> {
        let mut expected = Vec::new();
        for change in self.history.iter().filter(|change| change.revision > position) {
            let side =
                |side: &Option<(String, String)>| side.clone().filter(|(app, _)| matches(selection, &change.path, app));
            let shown = match (side(&change.before), side(&change.after)) {
                (None, None) => continue,
                (None, Some((_, data))) => format!("ADDED {}={data}", change.path),
                (Some(_), Some((_, data))) => format!("MODIFIED {}={data}", change.path),
                (Some((_, data)), None) => format!("DELETED {}={data}", change.path),
            };
            expected.push((change.revision, shown));
        }
        expected
    }

    async fn run(&mut self, step: Step) {
        match step {
            Step::Put { path, app } => self.put(PATHS[path], APPS[app]).await,
            Step::Delete { path } => self.delete(PATHS[path]).await,
            Step::List { selection, at } => self.list(selection, at).await,
            Step::StartChain { selection, limit } => self.start_chain(selection, limit).await,
            Step::NextPage => self.next_page().await,
            Step::Watch { selection, from, bookmarks } => self.watch(selection, from, bookmarks).await,
            Step::Drain { watcher, max } => self.drain(watcher, max).await,
            Step::Bookmark { watcher } => self.bookmark(watcher).await,
            Step::Compact { back } => self.compact(self.back(back)).await,
            Step::Restart => self.restart().await,
        }
    }

    async fn put(&mut self, path: &str, app: &str) {
        let data = self.history.len().to_string();
        let before = self.state(self.last()).get(path).cloned();
        let revision = match before {
            None => self.world.create(path, app, &data).await,
            Some(_) => self.world.update(path, app, &data).await,
        };
        assert!(revision > self.last());
        self.history.push(Change { revision, path: path.into(), before, after: Some((app.into(), data)) });
    }

    async fn delete(&mut self, path: &str) {
        let before = self.state(self.last()).get(path).cloned();
        if before.is_some() {
            let revision = self.world.delete(path).await;
            self.history.push(Change { revision, path: path.into(), before, after: None });
        }
    }

    async fn list(&self, selection: usize, at: At) {
        let at = match at {
            At::Latest => ListAt::Latest,
            At::Any => ListAt::Any,
            At::NotOlderThan(back) => ListAt::NotOlderThan(self.back(back)),
            At::Exact(back) => ListAt::Exact(self.back(back)),
            At::ExactFuture => ListAt::Exact(Revision(self.world.store.current_revision().await.unwrap().0 + 1_000)),
        };
        let listed = self.world.cache.list(list_request(select(selection), at)).await;
        match (at, listed) {
            (ListAt::Exact(asked), Err(ReadError::Compacted { asked: told, oldest })) => {
                assert_eq!((asked, self.floor), (told, oldest), "W5: what 410 says");
                assert!(asked < self.floor, "W12: nothing is gone after {asked}");
            }
            (ListAt::Exact(asked), Err(ReadError::TooLarge { .. })) => assert!(asked > self.last(), "W4"),
            (at, Ok(list)) => {
                assert_eq!(shown(&list.items), sorted(self.selected(selection, list.revision)), "W1: {at:?}");
                match at {
                    ListAt::Latest => assert!(list.revision >= self.last(), "W2"),
                    ListAt::NotOlderThan(asked) => assert!(list.revision >= asked, "W4"),
                    ListAt::Exact(asked) => assert_eq!(list.revision, asked, "W5"),
                    ListAt::Any => {}
                }
            }
            (at, Err(error)) => panic!("{at:?}: {error}"),
        }
    }

    async fn start_chain(&mut self, selection: usize, limit: usize) {
        let request = ListRequest { limit, ..list_request(select(selection), ListAt::Latest) };
        let page = self.world.cache.list(request).await.unwrap();
        let items = shown(&page.items);
        let expected = sorted(self.selected(selection, page.revision));
        assert_eq!(items, expected[..items.len()], "W6: first page");
        self.check_remaining(selection, &page, expected.len() - items.len());
        let chain = |token| Chain { selection, limit, revision: page.revision, token, items };
        self.chain = page.continue_token.map(chain);
    }

    fn check_remaining(&self, selection: usize, page: &ListResult, left: usize) {
        let (_, labels, fields) = SELECTIONS[selection];
        let known = labels.is_empty() && fields.is_empty() && left > 0;
        assert_eq!(page.remaining, known.then_some(left as u64), "the remaining items are counted");
        assert_eq!(page.continue_token.is_some(), left > 0, "a token if and only if more is to come");
    }

    async fn next_page(&mut self) {
        let Some(mut chain) = self.chain.take() else { return };
        let mut request = ListRequest { limit: chain.limit, ..list_request(select(chain.selection), ListAt::Latest) };
        request.continue_token = Some(chain.token.clone());
        let page = match self.world.cache.list(request.clone()).await {
            Err(ReadError::ContinueExpired { token }) => {
                assert!(chain.revision < self.floor, "W12: nothing is gone after {}", chain.revision);
                request.continue_token = Some(token);
                request.limit = 0;
                return self.check_inconsistent_rest(&chain, self.world.cache.list(request).await.unwrap());
            }
            page => page.unwrap(),
        };
        assert_eq!(page.revision, chain.revision, "W6: pages of one revision");
        chain.items.extend(shown(&page.items));
        let expected = sorted(self.selected(chain.selection, chain.revision));
        assert_eq!(chain.items, expected[..chain.items.len()], "W6: no gap, no repetition");
        self.check_remaining(chain.selection, &page, expected.len() - chain.items.len());
        self.chain = page.continue_token.map(|token| Chain { token, ..chain });
    }

    /// After 410, the rest is what is there now after the last key.
    fn check_inconsistent_rest(&self, chain: &Chain, rest: ListResult) {
        let last = chain.items.last().and_then(|item| item.split('=').next()).unwrap();
        let now = sorted(self.selected(chain.selection, rest.revision));
        let expected: Vec<_> = now.into_iter().filter(|item| item.split('=').next().unwrap() > last).collect();
        assert_eq!(shown(&rest.items), expected, "W6: inconsistent continue");
    }

    async fn watch(&mut self, selection: usize, from: From, bookmarks: bool) {
        if self.watching.len() == 8 {
            return;
        }
        let at_start = self.last();
        let (from, asked) = match from {
            From::StateLatest => (WatchFrom::StateLatest, at_start),
            From::StateAny => (WatchFrom::StateAny, Revision(0)),
            From::StateNotOlderThan(back) => (WatchFrom::StateNotOlderThan(self.back(back)), self.back(back)),
            From::After(back) => (WatchFrom::After(self.back(back)), self.back(back)),
            From::Now => (WatchFrom::Now, at_start),
        };
        let request = WatchRequest { selection: select(selection), from, bookmarks, initial_events_end: bookmarks };
        let mut watcher = match self.world.cache.watch(request).await {
            Ok(watcher) => watcher,
            Err(ReadError::Compacted { asked: told, oldest }) => {
                assert_eq!((asked, self.floor), (told, oldest));
                return assert!(asked < self.floor, "W12");
            }
            Err(error) => panic!("{error}"),
        };
        let (mut initial, mut position, wants_end) = (Vec::new(), asked, bookmarks);
        let with_state = matches!(from, WatchFrom::StateLatest | WatchFrom::StateAny | WatchFrom::StateNotOlderThan(_));
        if with_state {
            // Where it starts is told only by its end mark: a twin says it.
            position = self.world.cache.revision();
            assert!(position >= asked, "W8, W11: as new as asked");
            initial =
                sorted(self.selected(selection, position)).into_iter().map(|item| format!("ADDED {item}")).collect();
        }
        if bookmarks {
            watcher.request_bookmark();
        }
        let wants_end = wants_end && with_state;
        self.watching.push(Watching {
            watcher,
            selection,
            bookmarks,
            initial,
            position,
            bookmark: Revision(0),
            wants_end,
        });
    }

    async fn bookmark(&mut self, watcher: usize) {
        if let Some(watching) = self.watching.get_mut(watcher)
            && watching.bookmarks
        {
            watching.watcher.request_bookmark();
            let open = self.watching.len();
            while self.expects(watcher) {
                self.drain(watcher, 3).await;
                if self.watching.len() < open {
                    return;
                }
            }
            let watching = &self.watching[watcher];
            assert!(watching.bookmark >= self.last(), "W10: the bookmark that was asked for came");
        }
    }

    fn expects(&self, watcher: usize) -> bool {
        let Some(watching) = self.watching.get(watcher) else { return false };
        !watching.initial.is_empty()
            || watching.wants_end
            || !self.projection(watching.selection, watching.position).is_empty()
            || (watching.bookmarks && watching.bookmark < self.last())
    }

    /// Takes what a watcher has, if something is expected of it.
    async fn drain(&mut self, index: usize, max: usize) {
        if !self.expects(index) {
            return;
        }
        self.watching[index].watcher.request_bookmark();
        let next = self.watching[index].watcher.next(max);
        let items = tokio::time::timeout(Duration::from_secs(5), next).await.expect("W7: something is expected");
        assert!(!items.is_empty() && items.len() <= max);
        for item in items {
            if let WatchItem::Error(error) = &item {
                assert!(matches!(error, ReadError::Compacted { .. }), "{error}");
                assert!(self.watching[index].position < self.floor, "W12: a watcher is not told 410 without need");
                self.watching.remove(index);
                return;
            }
            self.check_item(index, &item);
        }
    }

    fn check_item(&mut self, index: usize, item: &WatchItem) {
        let expected = self.projection(self.watching[index].selection, self.watching[index].position);
        let watching = &mut self.watching[index];
        let item_shown = shown_item(item);
        match item {
            WatchItem::Bookmark { revision, initial_events_end } => {
                assert!(watching.initial.is_empty(), "W11: after all initial events");
                assert!(*revision >= watching.bookmark && *revision >= watching.position, "W10: never back");
                assert!(expected.iter().all(|(event, _)| event > revision), "W10: {expected:?} is still to come");
                assert_eq!(*initial_events_end, std::mem::take(&mut watching.wants_end), "W11: once, and first");
                watching.bookmark = *revision;
                watching.position = *revision;
            }
            WatchItem::Change { entry, revision, .. } if !watching.initial.is_empty() => {
                assert_eq!(item_shown, watching.initial.remove(0), "W8");
                assert_eq!(entry.revision, *revision);
            }
            WatchItem::Change { entry, revision, .. } => {
                assert!(!watching.wants_end, "W11: before all changes");
                assert_eq!((*revision, item_shown), expected[0], "W7");
                assert_eq!(entry.revision, *revision, "W9: shown at the revision of the change");
                watching.position = *revision;
            }
            WatchItem::Error(_) => unreachable!(),
        }
    }

    async fn compact(&mut self, target: Revision) {
        self.world.store.compact(target).await.unwrap();
        let removed = self.history.iter().map(|change| change.revision).filter(|revision| *revision <= target).max();
        self.floor = self.floor.max(removed.unwrap_or_default());
    }

    /// Another server on the same storage; the watches end with the old one.
    async fn restart(&mut self) {
        self.watching.clear();
        let options = self.world.options.clone();
        self.world = World::on(self.world.env.clone(), self.world.storage.clone(), options).await;
    }
}

fn select(index: usize) -> Selection {
    let (namespace, labels, fields) = SELECTIONS[index];
    Selection { fields: FieldSelector::parse(fields).unwrap(), ..selection(namespace, labels) }
}

fn matches(selection: usize, path: &str, app: &str) -> bool {
    let (namespace, labels, fields) = SELECTIONS[selection];
    let in_namespace = namespace.is_empty() || path.split_once('/').is_some_and(|(of, _)| of == namespace);
    let selected = match labels {
        "" => true,
        "app=one" => app == "one",
        "app!=one" => app != "one",
        _ => false,
    };
    let by_key = match fields {
        "metadata.name=x" => path.ends_with("/x"),
        "metadata.namespace=a" => path.starts_with("a/"),
        _ => true,
    };
    in_namespace && selected && by_key
}

/// In the order of lists: that of the paths, not of what is shown after them.
fn sorted(mut items: Vec<String>) -> Vec<String> {
    items.sort_by(|one, other| one.split('=').next().cmp(&other.split('=').next()));
    items
}

async fn check(steps: Vec<Step>) {
    let mut test = Test::new().await;
    for step in steps {
        test.run(step).await;
    }
    while let Some(index) = (0..test.watching.len()).find(|index| test.expects(*index)) {
        test.drain(index, 4).await;
    }
    while test.chain.is_some() {
        test.next_page().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn the_store_keeps_to_its_history(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(check(steps));
    }
}
