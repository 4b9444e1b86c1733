//! Lists and cached reads: which revision they show, and pages of one revision.
//!
//! Keeps W1 (a list at a revision is exactly the state at it), W2 and W4 (never older than asked), W5 (exact or 410) and
//! W6 (all pages of a chain show one revision; past the compaction floor an inconsistent token is offered).

use std::{ops::Bound, sync::Arc};

use triune_env::probe;

use crate::{
    Revision,
    base::yield_now,
    cache::ResourceCache,
    event::Entry,
    keys::item_key,
    selection::Filter,
    state::{Items, StateAt, undo, undo_one},
    token::Token,
    types::{ListAt, ListRequest, ListResult, ReadError},
};

/// Items a list looks at before it lets other tasks run: selectors may have to read bodies.
const LOOK_BETWEEN_YIELDS: usize = 2_000;

impl ResourceCache {
    /// Lists; see [`ListRequest`].
    pub async fn list(&self, request: ListRequest) -> Result<ListResult, ReadError> {
        self.shared.base.counters.lists.one();
        let filter = Filter::new(request.selection);
        let token = request.continue_token.as_deref().map(Token::decode).transpose()?;
        let (items, revision, start) = match token {
            None => {
                let (items, revision) = self.state(request.at).await?;
                (items, revision, Bound::Unbounded)
            }
            Some(token) => {
                let start = Bound::Included(filter.list_prefix() + &token.start);
                let (items, revision) = self.state_of_page(&token).await?;
                (items, revision, start)
            }
        };
        let page = Page::cut(&items, &filter, start, request.limit).await;
        if page.last.is_some() {
            let now = self.shared.base.now();
            self.shared.write().pin(revision, items, now);
        }
        let prefix = filter.list_prefix().len();
        let continue_token = page.last.map(|last| Token::after(&last[prefix..], revision).encode());
        Ok(ListResult { revision, items: page.items, continue_token, remaining: page.remaining })
    }

    /// One object, with the revision rules of lists.
    pub async fn get_cached(&self, namespace: &str, name: &str, at: ListAt) -> Result<Option<Arc<Entry>>, ReadError> {
        let item = item_key(namespace, name);
        match at {
            ListAt::Exact(revision) => Ok(self.state_at(revision).await?.get(item.as_str()).cloned()),
            _ => {
                self.bring_to(at).await?;
                Ok(self.shared.read().get(&item).cloned())
            }
        }
    }

    /// The objects at a revision that fits `at`.
    pub(crate) async fn state(&self, at: ListAt) -> Result<(Items, Revision), ReadError> {
        if let ListAt::Exact(revision) = at {
            return Ok((self.state_at(revision).await?, revision));
        }
        self.bring_to(at).await?;
        let state = self.shared.read();
        Ok((state.items().clone(), state.position()))
    }

    /// Waits until the cache is as new as `at` asks.
    async fn bring_to(&self, at: ListAt) -> Result<(), ReadError> {
        match at {
            ListAt::Any => self.shared.wait_loaded().await,
            ListAt::Latest => self.refresh().await.map(|_| ()),
            ListAt::NotOlderThan(revision) | ListAt::Exact(revision) => self.shared.wait_for(revision).await,
        }
    }

    async fn state_of_page(&self, token: &Token) -> Result<(Items, Revision), ReadError> {
        let Some(revision) = token.revision else {
            probe!("list: goes on inconsistently");
            return self.state(ListAt::Latest).await;
        };
        match self.state_at(revision).await {
            Ok(items) => Ok((items, revision)),
            Err(ReadError::Compacted { .. }) => {
                probe!("list: the page is compacted");
                let inconsistent = Token { revision: None, start: token.start.clone() };
                Err(ReadError::ContinueExpired { token: inconsistent.encode() })
            }
            Err(error) => Err(error),
        }
    }

    /// The objects at exactly `revision`.
    async fn state_at(&self, revision: Revision) -> Result<Items, ReadError> {
        self.shared.wait_for(revision).await?;
        let near = self.shared.read().at(revision);
        match near {
            StateAt::Here(items) => Ok(items),
            StateAt::Undo { mut items, events } => {
                probe!("list: a state by undoing the window");
                undo(&mut items, &events);
                Ok(items)
            }
            StateAt::UndoLog { items, to } => {
                probe!("list: a state by undoing the log");
                self.undo_from_log(items, revision, to).await
            }
            StateAt::Future => {
                // The position went back only if the cache was filled anew in between.
                let current = self.shared.read().position();
                Err(ReadError::TooLarge { asked: revision, current })
            }
        }
    }

    /// The state at `revision` from that at `to`, by the states before that the log has.
    async fn undo_from_log(&self, mut items: Items, revision: Revision, to: Revision) -> Result<Items, ReadError> {
        let mut done = std::collections::BTreeSet::new();
        let mut after = revision;
        loop {
            let (events, all) = self.shared.events_from_log(after, to).await.map_err(|error| match error {
                // Rows above `after` have been seen; what counts is whether those above `revision` are gone.
                ReadError::Compacted { oldest, .. } => ReadError::Compacted { asked: revision, oldest },
                other => other,
            })?;
            for event in &events {
                undo_one(&mut items, &mut done, event);
            }
            match events.last() {
                Some(last) if !all => after = last.revision,
                _ => return Ok(items),
            }
        }
    }
}

/// A page of a list.
struct Page {
    items: Vec<Arc<Entry>>,
    /// Item key of the last item, if more follow.
    last: Option<Arc<str>>,
    remaining: Option<u64>,
}

impl Page {
    async fn cut(items: &Items, filter: &Filter, start: Bound<String>, limit: usize) -> Page {
        let everything = filter.is_everything() && matches!(start, Bound::Unbounded);
        let capacity = match limit {
            0 if everything => items.len(),
            limit => limit.min(items.len()),
        };
        let mut page = Page { items: Vec::with_capacity(capacity), last: None, remaining: None };
        let mut last: Option<&Arc<str>> = None;
        let mut range = items.range::<_, Arc<str>>(filter.range(start));
        let mut looked = 0_usize;
        while let Some((item, entry)) = range.next() {
            looked += 1;
            if looked.is_multiple_of(LOOK_BETWEEN_YIELDS) {
                yield_now().await;
            }
            if !filter.matches(entry) {
                continue;
            }
            if limit != 0 && page.items.len() == limit {
                page.last = last.cloned();
                let rest = || if everything { items.len() - limit } else { 1 + range.count() };
                page.remaining = filter.is_plain().then(|| rest() as u64);
                break;
            }
            last = Some(item);
            page.items.push(entry.clone());
        }
        page
    }
}
