//! Who owns which field: every write of a client records it in `metadata.managedFields`, and an apply decides by it
//! (KEP-555; apiserver `pkg/endpoints/handlers/{create,update,patch}.go`).
//!
//! Invariant: what is recorded is what the client asked for, defaults included, before the strategy takes back what the
//! request cannot change.

use std::{cell::RefCell, sync::Arc};

use triune_api::{Value, meta, names::GroupVersion, status::Status};
use triune_schema::apply::{self, FieldManager, FieldSet, MergeSchema, Versions};

use super::{input::Expected, options::WriteOptions, scope::Scope};
use crate::registry::{ResetFields, Resource, Strategy};

/// Longest name of an owner that is taken from `User-Agent`, in bytes.
const MANAGER_BYTES_MAX: usize = 128;

/// Records the owners of what one request changes.
pub struct Ownership<'a> {
    /// The request.
    pub scope: &'a Scope,
    /// That of the resource or of the subresource.
    pub strategy: &'a dyn Strategy,
    manager: String,
    force: bool,
    api_version: String,
    now: String,
}

impl<'a> Ownership<'a> {
    /// The owner is the `fieldManager` of the request, else the program that its `User-Agent` names.
    pub fn new(scope: &'a Scope, strategy: &'a dyn Strategy, options: &WriteOptions) -> Ownership<'a> {
        let user_agent = scope.headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok());
        let manager = match options.field_manager.as_str() {
            "" => program_of(user_agent.unwrap_or_default()),
            manager => manager.into(),
        };
        Ownership {
            scope,
            strategy,
            manager,
            force: options.force,
            api_version: scope.resource.gvk.api_version(),
            now: triune_api::time::rfc3339(scope.context.env.clock.wall()),
        }
    }

    /// Completes `new` with the defaults of its kind and records what a create (`live` is null) or an update changes, both
    /// in the served version.
    pub fn record(&self, live: &Value, new: &mut Value) {
        self.scope.strategy().defaults(new);
        let versions = Served { scope: self.scope, strategy: self.strategy };
        match live {
            Value::Null => self.fields(&versions).update(&self.nothing(), new, &self.manager),
            live => self.fields(&versions).update(live, new, &self.manager),
        }
    }

    /// The object after an apply; `live` is null where there is none yet.
    pub fn apply(&self, live: &Value, configuration: &Value, expected: &Expected<'_>) -> Result<Value, Status> {
        let versions = Served { scope: self.scope, strategy: self.strategy };
        let refused = RefCell::new(None);
        let complete = |object: &mut Value| {
            *refused.borrow_mut() = expected.normalise(object).err();
            self.scope.strategy().defaults(object);
        };
        let nothing = self.nothing();
        let live = if live.is_null() { &nothing } else { live };
        let applied = self.fields(&versions).apply(live, configuration, &self.manager, self.force, &complete);
        let new = applied.map_err(|error| error.status())?;
        match refused.into_inner() {
            Some(error) => Err(Status::internal(error)),
            None => Ok(new),
        }
    }

    fn fields<'b>(&'b self, versions: &'b dyn Versions) -> FieldManager<'b> {
        let subresource = &self.scope.context.info.subresource;
        FieldManager { api_version: &self.api_version, subresource, versions, now: &self.now }
    }

    /// An object of which nothing is known but its type.
    fn nothing(&self) -> Value {
        let mut object = Value::Object(triune_api::Map::new());
        meta::set_type(&mut object, &self.scope.resource.gvk);
        object
    }
}

/// The first part of a `User-Agent`, such as `kubectl` of `kubectl/v1.37.2 (linux/amd64)`.
fn program_of(user_agent: &str) -> String {
    let mut name = String::new();
    let program = user_agent.split('/').next().unwrap_or_default();
    for character in program.chars().filter(|character| !character.is_control()) {
        if name.len() + character.len_utf8() > MANAGER_BYTES_MAX {
            break;
        }
        name.push(character);
    }
    name
}

/// The versions in which the resource of a request is served: owners may have used any of them.
struct Served<'a> {
    scope: &'a Scope,
    strategy: &'a dyn Strategy,
}

impl Served<'_> {
    fn resource(&self, api_version: &str) -> Option<&Arc<Resource>> {
        let group_version = GroupVersion::parse(api_version)?;
        let other =
            self.scope.resources.get(&group_version.group, &group_version.version, &self.scope.resource.name)?;
        (other.storage == self.scope.resource.storage).then_some(other)
    }
}

impl Versions for Served<'_> {
    fn schema(&self, api_version: &str) -> Option<MergeSchema> {
        let resource = self.resource(api_version)?;
        Some(resource.schema.clone().map_or_else(MergeSchema::deduced, MergeSchema::from))
    }

    fn convert(&self, object: &Value, to_api_version: &str) -> Option<Value> {
        let to = self.resource(to_api_version)?;
        let from = self.resource(meta::api_version(object))?;
        let mut object = object.clone();
        if let Some(convert) = from.strategy.served_to_storage() {
            object = convert(object);
        }
        if let Some(convert) = to.strategy.storage_to_served() {
            object = convert(object);
        }
        meta::set_type(&mut object, &to.gvk);
        Some(object)
    }

    fn reset_fields(&self, _: &str) -> Option<Arc<apply::ResetFields>> {
        let reset = match self.strategy.reset_fields() {
            ResetFields::None => return None,
            ResetFields::These(paths) => apply::ResetFields::These(FieldSet::from_paths(paths)),
            ResetFields::AllBut(paths) => apply::ResetFields::AllBut(FieldSet::from_paths(paths)),
        };
        Some(Arc::new(reset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_user_agents() {
        let check = |user_agent: &str, expect: &str| assert_eq!(program_of(user_agent), expect);
        check("kubectl/v1.37.2 (linux/amd64) kubernetes/0000000", "kubectl");
        check("curl", "curl");
        check("a\u{7}b/c", "ab");
        check("", "");
        check(&"é".repeat(100), &"é".repeat(64));
    }
}
