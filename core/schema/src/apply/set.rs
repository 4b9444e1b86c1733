//! Sets of paths, as trees of sorted nodes, and the algebra over them.
//!
//! A node is in the set when it is a member; a node that is not only leads to members below it. Invariants: nodes are
//! sorted by their elements, no two are equal, and each is a member or has members below.

use std::borrow::Cow;

use super::element::PathElement;

/// A set of paths of fields. It may borrow names and values from the objects it was made of; [`FieldSet`] does not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Set<'a> {
    pub(super) nodes: Vec<Node<'a>>,
}

/// A set of paths of fields that borrows nothing.
pub type FieldSet = Set<'static>;

/// A step of the paths in a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node<'a> {
    pub(super) element: PathElement<'a>,
    /// Whether the path that ends here is in the set.
    pub(super) member: bool,
    pub(super) children: Set<'a>,
}

impl<'a> Set<'a> {
    /// No path.
    pub const fn new() -> Set<'a> {
        Set { nodes: Vec::new() }
    }

    /// Paths that are names of fields, in any order.
    pub fn from_paths(paths: &[&[&'a str]]) -> Set<'a> {
        let mut set = Set::new();
        for path in paths {
            set.insert(path.iter().map(|name| PathElement::Field(Cow::Borrowed(*name))));
        }
        set
    }

    /// Adds a path; the empty one is no path.
    pub fn insert(&mut self, path: impl IntoIterator<Item = PathElement<'a>>) {
        let mut path = path.into_iter();
        let Some(first) = path.next() else { return };
        let mut node = self.node(first);
        for element in path {
            node = node.children.node(element);
        }
        node.member = true;
    }

    /// The node of an element, made if there is none.
    fn node(&mut self, element: PathElement<'a>) -> &mut Node<'a> {
        let at = match self.find(&element) {
            Ok(at) => at,
            Err(at) => {
                self.nodes.insert(at, Node { element, member: false, children: Set::new() });
                at
            }
        };
        &mut self.nodes[at]
    }

    fn find(&self, element: &PathElement<'_>) -> Result<usize, usize> {
        // Sets are mostly built in order.
        match self.nodes.last() {
            Some(last) if last.element.cmp(element).is_lt() => Err(self.nodes.len()),
            None => Err(0),
            _ => self.nodes.binary_search_by(|node| node.element.cmp(element)),
        }
    }

    /// The node of an element.
    pub(super) fn get(&self, element: &PathElement<'_>) -> Option<&Node<'a>> {
        self.find(element).ok().map(|at| &self.nodes[at])
    }

    /// Adds a node behind or among the others.
    pub(super) fn push(&mut self, element: PathElement<'a>, member: bool, children: Set<'a>) {
        if !member && children.is_empty() {
            return;
        }
        match self.find(&element) {
            Err(at) if at == self.nodes.len() => self.nodes.push(Node { element, member, children }),
            Err(at) => self.nodes.insert(at, Node { element, member, children }),
            Ok(at) => {
                let node = &mut self.nodes[at];
                node.member |= member;
                let kept = std::mem::take(&mut node.children);
                node.children = kept.union(children);
            }
        }
    }

    /// Whether there is no path.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Whether a path is in the set.
    pub fn has(&self, path: &[PathElement<'_>]) -> bool {
        let mut set = self;
        let Some((last, parents)) = path.split_last() else { return false };
        for element in parents {
            match set.get(element) {
                Some(node) => set = &node.children,
                None => return false,
            }
        }
        set.get(last).is_some_and(|node| node.member)
    }

    /// Paths that are in one of the sets.
    #[must_use]
    pub fn union(self, other: Set<'a>) -> Set<'a> {
        if self.is_empty() || other.is_empty() {
            return if self.is_empty() { other } else { self };
        }
        let mut nodes = Vec::with_capacity(self.nodes.len().max(other.nodes.len()));
        let mut others = other.nodes.into_iter().peekable();
        for mut node in self.nodes {
            while let Some(other) = others.next_if(|other| other.element < node.element) {
                nodes.push(other);
            }
            if let Some(other) = others.next_if(|other| other.element == node.element) {
                node.member |= other.member;
                node.children = node.children.union(other.children);
            }
            nodes.push(node);
        }
        nodes.extend(others);
        Set { nodes }
    }

    /// Paths that are in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Set<'_>) -> Set<'a> {
        let mut nodes = Vec::new();
        let mut others = other.nodes.iter().peekable();
        for node in &self.nodes {
            while others.next_if(|other| other.element < node.element).is_some() {}
            if let Some(other) = others.next_if(|other| other.element == node.element) {
                let member = node.member && other.member;
                let children = node.children.intersection(&other.children);
                if member || !children.is_empty() {
                    nodes.push(Node { element: node.element.clone(), member, children });
                }
            }
        }
        Set { nodes }
    }

    /// Whether all paths are in the other set.
    pub fn is_subset(&self, other: &Set<'_>) -> bool {
        let mut others = other.nodes.iter().peekable();
        self.nodes.iter().all(|node| {
            while others.next_if(|other| other.element < node.element).is_some() {}
            others
                .next_if(|other| other.element == node.element)
                .is_some_and(|other| (!node.member || other.member) && node.children.is_subset(&other.children))
        })
    }

    /// Whether some path is in both sets.
    pub fn intersects(&self, other: &Set<'_>) -> bool {
        let mut others = other.nodes.iter().peekable();
        self.nodes.iter().any(|node| {
            while others.next_if(|other| other.element < node.element).is_some() {}
            others
                .next_if(|other| other.element == node.element)
                .is_some_and(|other| node.member && other.member || node.children.intersects(&other.children))
        })
    }

    /// Paths that are not in the other set.
    #[must_use]
    pub fn difference(self, other: &Set<'_>) -> Set<'a> {
        self.without(other, false)
    }

    /// Paths that are neither in the other set nor below one of its paths.
    #[must_use]
    pub fn recursive_difference(self, other: &Set<'_>) -> Set<'a> {
        self.without(other, true)
    }

    fn without(mut self, other: &Set<'_>, recursive: bool) -> Set<'a> {
        if other.is_empty() || self.is_empty() {
            return self;
        }
        let mut others = other.nodes.iter().peekable();
        self.nodes.retain_mut(|node| {
            while others.next_if(|other| other.element < node.element).is_some() {}
            let Some(other) = others.next_if(|other| other.element == node.element) else { return true };
            if recursive && other.member {
                return false;
            }
            node.member &= !other.member;
            node.children = std::mem::take(&mut node.children).without(&other.children, recursive);
            node.member || !node.children.is_empty()
        });
        self
    }

    /// Paths that are in the other set, which has names of fields alone, or below one of its paths. Items of lists and
    /// keys of maps on the way are passed through.
    #[must_use]
    pub(super) fn at_or_below(mut self, fields: &Set<'_>) -> Set<'a> {
        self.nodes.retain_mut(|node| {
            let below = match (&node.element, fields.find(&node.element)) {
                (PathElement::Field(_), Ok(at)) if fields.nodes[at].member => return true,
                (PathElement::Field(_), Ok(at)) => &fields.nodes[at].children,
                (PathElement::Field(_), Err(_)) => return false,
                _ => fields,
            };
            node.member = false;
            node.children = std::mem::take(&mut node.children).at_or_below(below);
            !node.children.is_empty()
        });
        self
    }

    /// Paths that lead to no other path of the set.
    #[must_use]
    pub fn leaves(mut self) -> Set<'a> {
        for node in &mut self.nodes {
            node.member &= node.children.is_empty();
            node.children = std::mem::take(&mut node.children).leaves();
        }
        self
    }

    /// How many paths there are.
    pub fn len(&self) -> usize {
        self.nodes.iter().map(|node| usize::from(node.member) + node.children.len()).sum()
    }

    /// A copy that borrows nothing.
    pub fn into_owned(self) -> FieldSet {
        let owned = |node: Node<'_>| Node {
            element: node.element.into_owned(),
            member: node.member,
            children: node.children.into_owned(),
        };
        Set { nodes: self.nodes.into_iter().map(owned).collect() }
    }

    /// Every path, those that end at a level before those that go deeper.
    pub fn for_each(&self, each: &mut impl FnMut(&[&PathElement<'a>])) {
        fn visit<'s, 'a>(
            set: &'s Set<'a>,
            prefix: &mut Vec<&'s PathElement<'a>>,
            each: &mut impl FnMut(&[&PathElement<'a>]),
        ) {
            for node in set.nodes.iter().filter(|node| node.member) {
                prefix.push(&node.element);
                each(prefix);
                prefix.pop();
            }
            for node in set.nodes.iter().filter(|node| !node.children.is_empty()) {
                prefix.push(&node.element);
                visit(&node.children, prefix, each);
                prefix.pop();
            }
        }
        visit(self, &mut Vec::new(), each);
    }
}
