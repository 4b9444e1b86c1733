//! Stored JSON as a list of values, each with the field of its type that it is: read once, in order, so that the encoder
//! can take fields in the order of their numbers. What the facts look into is read, the rest is passed over.
//!
//! Invariants: no bytes make it panic; a list has at most one entry for each value of the text, and one more.

use std::borrow::Cow;

use triune_api::decode::DEPTH_MAX;

use super::encode::Json;
use crate::facts::{Facts, Kind, ShapeIndex};

/// A value that is no field of a struct.
const NO_FIELD: u32 = u32::MAX;

/// Values in the order of the text, each before those in it.
pub(super) struct Text<'a> {
    nodes: Vec<Node<'a>>,
}

struct Node<'a> {
    /// Of an entry of a map: its key, as it stands in the text.
    key: &'a [u8],
    /// As it stands in the text.
    text: &'a [u8],
    /// Of a field of a struct: its index in the facts.
    field: u32,
    /// Index of the first node that is not in it.
    end: u32,
}

/// A value of a [`Text`].
#[derive(Clone, Copy)]
pub(super) struct NodeRef<'t> {
    nodes: &'t [Node<'t>],
    at: u32,
}

impl<'a> Text<'a> {
    /// Reads members of an object of a type up to its closing brace; `revision`, in quotes, becomes its
    /// `metadata.resourceVersion`. None if this is no JSON.
    pub(super) fn read(facts: &Facts, index: u32, body: &'a [u8], revision: &'a str) -> Option<Text<'a>> {
        let nodes = Vec::with_capacity(body.len() / 24 + 8);
        let mut reader = Reader { facts, rest: body, revision, nodes, depth: 0 };
        reader.nodes.push(Node { key: &[], text: body, field: NO_FIELD, end: 0 });
        reader.members(index)?;
        reader.nodes[0].end = u32::try_from(reader.nodes.len()).ok()?;
        reader.rest.is_empty().then_some(Text { nodes: reader.nodes })
    }

    pub(super) fn root(&self) -> NodeRef<'_> {
        NodeRef { nodes: &self.nodes, at: 0 }
    }
}

struct Reader<'a, 'f> {
    facts: &'f Facts,
    rest: &'a [u8],
    revision: &'a str,
    nodes: Vec<Node<'a>>,
    depth: usize,
}

impl<'a> Reader<'a, '_> {
    /// Passes over one byte.
    fn expect(&mut self, byte: u8) -> Option<()> {
        self.rest = self.rest.strip_prefix(&[byte])?;
        Some(())
    }

    /// Whether another item follows; passes over the comma, or over `end`.
    fn more(&mut self, end: u8) -> Option<bool> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        match *first {
            b',' => Some(true),
            byte if byte == end => Some(false),
            _ => None,
        }
    }

    /// Passes over a string and gives what is between its quotes.
    fn string(&mut self) -> Option<&'a [u8]> {
        let text = self.rest.strip_prefix(b"\"")?;
        let mut at = 0;
        loop {
            match text.get(at)? {
                b'"' => break,
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
        self.rest = &text[at + 1..];
        Some(&text[..at])
    }

    /// The members of an object of a struct type, behind its opening brace.
    fn members(&mut self, index: u32) -> Option<()> {
        if self.rest.first() == Some(&b'}') {
            return self.expect(b'}');
        }
        let facts = self.facts;
        let names = facts.flat_names(facts.get(index));
        let (mut next, mut last): (usize, &[u8]) = (0, &[]);
        loop {
            let key = self.string()?;
            self.expect(b':')?;
            // Names and keys are sorted, but for `metadata`, which stored objects begin with.
            if key < last {
                next = 0;
            }
            last = key;
            while names.get(next).is_some_and(|at| facts.field(*at).name.as_bytes() < key) {
                next += 1;
            }
            match names.get(next).filter(|at| facts.field(**at).name.as_bytes() == key) {
                Some(at) => {
                    let is_metadata = self.depth == 0 && key == b"metadata";
                    self.value(Some(facts.field(*at).shape), *at, &[], is_metadata)?;
                }
                None => drop(self.skip()?),
            }
            if !self.more(b'}')? {
                return Some(());
            }
        }
    }

    /// A value of a shape; None is a value that is passed on as it is.
    fn value(&mut self, shape: Option<ShapeIndex>, field: u32, key: &'a [u8], is_metadata: bool) -> Option<()> {
        let start = self.rest;
        let at = self.nodes.len();
        self.nodes.push(Node { key, text: &[], field, end: 0 });
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return None;
        }
        let kind = shape.map(|shape| self.facts.pointee(shape).0.kind);
        match (kind, self.rest.first()?) {
            (
                Some(
                    Kind::Struct(index)
                    | Kind::SchemaOrArray(index)
                    | Kind::SchemaOrBool(index)
                    | Kind::SchemaOrStrings(index),
                ),
                b'{',
            ) => {
                self.expect(b'{')?;
                if is_metadata {
                    self.add_revision(index);
                }
                self.members(index)?;
            }
            (Some(Kind::Map(values)), b'{') => self.entries(values)?,
            (Some(Kind::List(items)), b'[') => self.items(|reader| reader.value(Some(items), NO_FIELD, &[], false))?,
            (Some(Kind::SchemaOrArray(index)), b'[') => self.items(|reader| reader.schema(index))?,
            (Some(Kind::SchemaOrStrings(_)), b'[') => {
                self.items(|reader| reader.value(None, NO_FIELD, &[], false))?;
            }
            _ => drop(self.skip()?),
        }
        self.depth -= 1;
        let end = u32::try_from(self.nodes.len()).ok()?;
        let node = self.nodes.get_mut(at)?;
        node.text = &start[..start.len() - self.rest.len()];
        node.end = end;
        Some(())
    }

    fn schema(&mut self, index: u32) -> Option<()> {
        let start = self.rest;
        let at = self.nodes.len();
        self.nodes.push(Node { key: &[], text: &[], field: NO_FIELD, end: 0 });
        match self.rest.first()? {
            b'{' => {
                self.expect(b'{')?;
                self.members(index)?;
            }
            _ => drop(self.skip()?),
        }
        let end = u32::try_from(self.nodes.len()).ok()?;
        let node = self.nodes.get_mut(at)?;
        node.text = &start[..start.len() - self.rest.len()];
        node.end = end;
        Some(())
    }

    fn items(&mut self, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.expect(b'[')?;
        if self.rest.first() == Some(&b']') {
            return self.expect(b']');
        }
        loop {
            item(self)?;
            if !self.more(b']')? {
                return Some(());
            }
        }
    }

    fn entries(&mut self, values: ShapeIndex) -> Option<()> {
        self.expect(b'{')?;
        if self.rest.first() == Some(&b'}') {
            return self.expect(b'}');
        }
        loop {
            let key = self.string()?;
            self.expect(b':')?;
            self.value(Some(values), NO_FIELD, key, false)?;
            if !self.more(b'}')? {
                return Some(());
            }
        }
    }

    /// The revision as a member of `metadata`, which stored objects do not have.
    fn add_revision(&mut self, index: u32) {
        let facts = self.facts;
        let names = facts.flat_names(facts.get(index));
        if let Some(at) = names.iter().find(|at| &*facts.field(**at).name == "resourceVersion")
            && let Ok(end) = u32::try_from(self.nodes.len() + 1)
        {
            self.nodes.push(Node { key: &[], text: self.revision.as_bytes(), field: *at, end });
        }
    }

    /// Passes over a value, without a look at what is in it.
    fn skip(&mut self) -> Option<&'a [u8]> {
        let start = self.rest;
        let mut depth = 0_usize;
        loop {
            match self.rest.first()? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.rest = &self.rest[1..];
                    continue;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.rest = &self.rest[1..];
                }
                b',' | b':' if depth > 0 => {
                    self.rest = &self.rest[1..];
                    continue;
                }
                b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b':' | b'"' | b'{' | b'[');
                    let length = self.rest.iter().position(ends).unwrap_or(self.rest.len());
                    self.rest = &self.rest[length..];
                }
                _ => return None,
            }
            if depth == 0 {
                return Some(&start[..start.len() - self.rest.len()]);
            }
        }
    }
}

impl<'t> NodeRef<'t> {
    fn node(self) -> &'t Node<'t> {
        &self.nodes[self.at as usize]
    }

    fn children(self) -> impl Iterator<Item = NodeRef<'t>> {
        let (nodes, end) = (self.nodes, self.node().end);
        let mut at = self.at + 1;
        std::iter::from_fn(move || {
            let child = (at < end).then_some(NodeRef { nodes, at })?;
            at = child.node().end;
            Some(child)
        })
    }

    fn starts_with(self, byte: u8) -> bool {
        self.node().text.first() == Some(&byte)
    }

    fn str(self) -> &'t str {
        std::str::from_utf8(self.node().text).unwrap_or_default()
    }
}

/// Text between quotes, with its escapes undone.
fn unescape(text: &[u8]) -> Cow<'_, str> {
    if !text.contains(&b'\\') {
        return Cow::Borrowed(std::str::from_utf8(text).unwrap_or_default());
    }
    let quoted = [b"\"", text, b"\""].concat();
    Cow::Owned(serde_json::from_slice(&quoted).unwrap_or_default())
}

impl<'t> Json<'t> for NodeRef<'t> {
    fn field(self, index: u32, _: &str) -> Option<Self> {
        self.children().find(|child| child.node().field == index)
    }
    fn text(self) -> Option<Cow<'t, str>> {
        let text = self.node().text.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        Some(unescape(text))
    }
    fn boolean(self) -> Option<bool> {
        match self.node().text {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }
    fn integer(self) -> Option<i64> {
        self.str().parse().ok()
    }
    fn float(self) -> Option<f64> {
        let is_number = self.node().text.first().is_some_and(|byte| matches!(byte, b'-' | b'0'..=b'9'));
        if is_number { self.str().parse().ok() } else { None }
    }
    fn is_list(self) -> bool {
        self.starts_with(b'[')
    }
    fn is_object(self) -> bool {
        self.starts_with(b'{')
    }
    fn is_null(self) -> bool {
        self.node().text == b"null"
    }
    fn items(self) -> impl Iterator<Item = Self> {
        let is_list = self.is_list();
        self.children().filter(move |_| is_list)
    }
    fn entries(self) -> impl Iterator<Item = (Cow<'t, str>, Self)> {
        let is_object = self.is_object();
        self.children().filter(move |_| is_object).map(|child| (unescape(child.node().key), child))
    }
    fn json(self) -> Cow<'t, str> {
        Cow::Borrowed(self.str())
    }
}
