//! Documents of what some registries serve, made from the facts of types.
//!
//! A document is made when it is first asked for, and made again only if what it shows has changed: a v3 document when its
//! group version is another, the v2 document when any registry is. Trees are dropped at once and bytes are kept, up to
//! [`DOCUMENTS_BYTES_MAX`]; past that the documents asked for longest ago are forgotten, and made again when they are asked
//! for. Hashes are kept as long as what they are of. One document is made at a time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::SystemTime,
};

use bytes::Bytes;
use triune_api::names::GroupVersion;
use triune_schema::{
    Facts,
    openapi::{
        Descriptions, ServedResource, ServedSubresource, Source, group_version_document, group_version_path,
        plain::Plain, plain_document, protobuf, v2_document,
    },
};

use super::{Form, OpenApiDocument, OpenApiSource, etag_of};
use crate::{
    registry::{Resource, Subresource},
    resources::{InstalledVersion, Resources},
};

/// Documents of more bytes than these are not kept.
pub const DOCUMENTS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Documents of some registries.
pub struct RegistryOpenApi {
    facts: Arc<Facts>,
    registries: Vec<Arc<Resources>>,
    /// As documents name it, such as `1.37`.
    version: String,
    descriptions: Option<fn() -> Descriptions>,
    /// Plain paths that are described besides the roots of discovery.
    plain: OnceLock<Vec<Plain>>,
    made: Mutex<Made>,
}

/// What has been made.
#[derive(Default)]
struct Made {
    documents: BTreeMap<(Name, Form), Kept>,
    etags: BTreeMap<Name, (Shows, String)>,
    bytes: usize,
    /// Grows with each question, to tell what was asked for long ago.
    questions: u64,
}

struct Kept {
    shows: Shows,
    document: OpenApiDocument,
    asked: u64,
}

/// Which document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    V2,
    V3(String),
}

/// What a document was made from.
#[derive(Clone)]
enum Shows {
    /// The registries at these generations.
    All(Vec<u64>),
    Version(Arc<InstalledVersion>),
    /// Something that never changes.
    Plain(Plain),
}

impl Shows {
    fn same(&self, other: &Shows) -> bool {
        match (self, other) {
            (Shows::All(left), Shows::All(right)) => left == right,
            (Shows::Version(left), Shows::Version(right)) => Arc::ptr_eq(left, right),
            (Shows::Plain(left), Shows::Plain(right)) => left == right,
            _ => false,
        }
    }
}

impl RegistryOpenApi {
    /// Nothing is made yet. `version` is such as `1.37`; `descriptions` makes prose of types, each time documents are made.
    pub fn new(
        facts: Arc<Facts>,
        registries: Vec<Arc<Resources>>,
        version: String,
        descriptions: Option<fn() -> Descriptions>,
    ) -> RegistryOpenApi {
        let (plain, made) = (OnceLock::new(), Mutex::default());
        RegistryOpenApi { facts, registries, version, descriptions, plain, made }
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first registry that has a group version serves it.
    fn versions(&self) -> BTreeMap<GroupVersion, Arc<InstalledVersion>> {
        let mut versions = BTreeMap::new();
        for registry in &self.registries {
            for installed in registry.load().versions() {
                versions.entry(installed.group_version.clone()).or_insert_with(|| installed.clone());
            }
        }
        versions
    }

    /// Groups of built-in types have a document of their own; those of custom resources do not.
    fn plain(&self, versions: &BTreeMap<GroupVersion, Arc<InstalledVersion>>) -> Vec<Plain> {
        let built_in = |installed: &InstalledVersion| installed.resources.iter().any(|one| one.schema.is_some());
        let groups = versions.iter().filter(|(of, installed)| !of.group.is_empty() && built_in(installed));
        let mut plain: Vec<Plain> = groups.map(|(of, _)| Plain::Group(of.group.clone())).collect();
        plain.dedup();
        plain.extend([Plain::Versions, Plain::Groups]);
        plain.extend(self.plain.get().into_iter().flatten().cloned());
        plain
    }

    /// All v3 documents by path.
    fn all(&self) -> BTreeMap<String, Shows> {
        let versions = self.versions();
        let plain = self.plain(&versions).into_iter().map(|plain| (plain.path(), Shows::Plain(plain)));
        let versions = versions.into_iter().map(|(of, installed)| (group_version_path(&of), Shows::Version(installed)));
        plain.chain(versions).collect()
    }

    fn write(&self, shows: &Shows, descriptions: Option<&Descriptions>) -> Vec<u8> {
        let source = Source { facts: &self.facts, version: &self.version, descriptions };
        let served = |installed: &InstalledVersion| -> Vec<ServedResource> {
            installed.resources.iter().map(|resource| served(resource)).collect()
        };
        match shows {
            Shows::Version(installed) => group_version_document(source, &installed.group_version, &served(installed)),
            Shows::Plain(plain) => plain_document(source, plain),
            Shows::All(_) => {
                let versions = self.versions();
                let plain = self.plain(&versions);
                let versions: Vec<(GroupVersion, Vec<ServedResource>)> =
                    versions.into_iter().map(|(of, installed)| (of, served(&installed))).collect();
                v2_document(source, &versions, &plain)
            }
        }
    }

    fn document(
        &self,
        made: &mut Made,
        prose: &mut Prose,
        name: &Name,
        shows: &Shows,
        form: Form,
        now: SystemTime,
    ) -> OpenApiDocument {
        if let Some(document) = made.recall(name, form, shows) {
            return document;
        }
        let document = match form {
            Form::Json => {
                let json = Bytes::from(self.write(shows, prose.get()));
                OpenApiDocument { etag: etag_of(&json), bytes: json, modified: now }
            }
            Form::Protobuf => {
                let json = self.document(made, prose, name, shows, Form::Json, now);
                let encoded = match name {
                    Name::V2 => protobuf::encode_v2(&json.bytes),
                    Name::V3(_) => protobuf::encode_v3(&json.bytes),
                };
                // Our own JSON can be read.
                OpenApiDocument { bytes: encoded.unwrap_or_default().into(), ..json }
            }
        };
        made.keep(name, form, shows, &document);
        document
    }

    fn prose(&self) -> Prose {
        Prose { make: self.descriptions, made: None }
    }
}

/// Descriptions, made for one request if it needs any.
struct Prose {
    make: Option<fn() -> Descriptions>,
    made: Option<Descriptions>,
}

impl Prose {
    fn get(&mut self) -> Option<&Descriptions> {
        let make = self.make?;
        Some(self.made.get_or_insert_with(make))
    }
}

impl Made {
    fn recall(&mut self, name: &Name, form: Form, shows: &Shows) -> Option<OpenApiDocument> {
        self.questions += 1;
        let kept = self.documents.get_mut(&(name.clone(), form)).filter(|kept| kept.shows.same(shows))?;
        kept.asked = self.questions;
        Some(kept.document.clone())
    }

    fn keep(&mut self, name: &Name, form: Form, shows: &Shows, document: &OpenApiDocument) {
        self.etags.insert(name.clone(), (shows.clone(), document.etag.clone()));
        let kept = Kept { shows: shows.clone(), document: document.clone(), asked: self.questions };
        self.bytes += document.bytes.len();
        if let Some(old) = self.documents.insert((name.clone(), form), kept) {
            self.bytes -= old.document.bytes.len();
        }
        while self.bytes > DOCUMENTS_BYTES_MAX {
            let oldest = self.documents.iter().min_by_key(|(_, kept)| kept.asked).map(|(key, _)| key.clone());
            let Some(old) = oldest.and_then(|key| self.documents.remove(&key)) else { break };
            self.bytes -= old.document.bytes.len();
        }
    }

    /// Forgets what is not served any more.
    fn retain(&mut self, all: &BTreeMap<String, Shows>) {
        let is_served = |name: &Name| match name {
            Name::V2 => true,
            Name::V3(path) => all.contains_key(path),
        };
        self.etags.retain(|name, _| is_served(name));
        self.documents.retain(|(name, _), _| is_served(name));
        self.bytes = self.documents.values().map(|kept| kept.document.bytes.len()).sum();
    }
}

impl OpenApiSource for RegistryOpenApi {
    fn serves(&self, paths: &[String]) {
        let known = [Plain::Version, Plain::IssuerConfiguration, Plain::IssuerKeys];
        let is_served = |plain: &Plain| paths.iter().any(|path| path.trim_matches('/') == plain.path());
        // Later answers do not count.
        let _ = self.plain.set(known.into_iter().filter(is_served).collect());
    }

    fn v2(&self, form: Form, now: SystemTime) -> OpenApiDocument {
        let generations = self.registries.iter().map(|registry| registry.load().generation()).collect();
        self.document(&mut self.made(), &mut self.prose(), &Name::V2, &Shows::All(generations), form, now)
    }

    fn index(&self, now: SystemTime) -> BTreeMap<String, String> {
        let all = self.all();
        let (mut made, mut prose) = (self.made(), self.prose());
        made.retain(&all);
        let mut etag = |path: &String, shows: &Shows| {
            let name = Name::V3(path.clone());
            if let Some((of, etag)) = made.etags.get(&name)
                && of.same(shows)
            {
                return etag.clone();
            }
            self.document(&mut made, &mut prose, &name, shows, Form::Json, now).etag
        };
        all.iter().map(|(path, shows)| (path.clone(), etag(path, shows))).collect()
    }

    fn v3(&self, path: &str, form: Form, now: SystemTime) -> Option<OpenApiDocument> {
        let shows = self.all().remove(path)?;
        Some(self.document(&mut self.made(), &mut self.prose(), &Name::V3(path.into()), &shows, form, now))
    }
}

fn served(resource: &Resource) -> ServedResource {
    let subresource = |(name, subresource): (&String, &Subresource)| ServedSubresource {
        name: name.clone(),
        gvk: subresource.gvk.clone(),
        verbs: subresource.verbs.clone(),
    };
    ServedResource {
        name: resource.name.clone(),
        gvk: resource.gvk.clone(),
        namespaced: resource.namespaced,
        verbs: resource.verbs.clone(),
        subresources: resource.subresources.iter().map(subresource).collect(),
        answers_delete_with_object: resource.strategy.returns_deleted_object(),
        schemas: None,
    }
}
