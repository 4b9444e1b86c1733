//! Messages of gnostic's `openapiv3/OpenAPIv3.proto`. Deliberately absent: OAuth, servers, links, callbacks, headers,
//! examples, which none of our documents has.

use super::{
    Kind::{Any, Anys, Bool, Float, Integer, Many, One, Text, Texts},
    Message::{self, Choice, Entries, Object, Wrapped},
    Test,
};

pub(super) static DOCUMENT: Message = Object(&[
    ("openapi", 1, Text),
    ("info", 2, One(&INFO)),
    ("paths", 4, One(&PATHS)),
    ("components", 5, One(&COMPONENTS)),
    ("security", 6, Many(&SECURITY_REQUIREMENT)),
    ("externalDocs", 8, One(&EXTERNAL_DOCS)),
    ("x-*", 9, Any),
]);
static INFO: Message =
    Object(&[("title", 1, Text), ("description", 2, Text), ("termsOfService", 3, Text), ("version", 6, Text)]);
static PATHS: Message = Object(&[("/*", 1, One(&PATH_ITEM)), ("x-*", 2, Any)]);
static COMPONENTS: Message = Object(&[
    ("schemas", 1, One(&SCHEMAS)),
    ("responses", 2, One(&RESPONSE_DEFINITIONS)),
    ("parameters", 3, One(&PARAMETER_DEFINITIONS)),
    ("securitySchemes", 7, One(&SECURITY_SCHEMES)),
    ("x-*", 10, Any),
]);
static PATH_ITEM: Message = Object(&[
    ("$ref", 1, Text),
    ("summary", 2, Text),
    ("description", 3, Text),
    ("get", 4, One(&OPERATION)),
    ("put", 5, One(&OPERATION)),
    ("post", 6, One(&OPERATION)),
    ("delete", 7, One(&OPERATION)),
    ("options", 8, One(&OPERATION)),
    ("head", 9, One(&OPERATION)),
    ("patch", 10, One(&OPERATION)),
    ("trace", 11, One(&OPERATION)),
    ("parameters", 13, Many(&PARAMETER_OR_REFERENCE)),
    ("x-*", 14, Any),
]);
static OPERATION: Message = Object(&[
    ("tags", 1, Texts),
    ("summary", 2, Text),
    ("description", 3, Text),
    ("externalDocs", 4, One(&EXTERNAL_DOCS)),
    ("operationId", 5, Text),
    ("parameters", 6, Many(&PARAMETER_OR_REFERENCE)),
    ("requestBody", 7, One(&REQUEST_BODY_OR_REFERENCE)),
    ("responses", 8, One(&RESPONSES)),
    ("deprecated", 10, Bool),
    ("security", 11, Many(&SECURITY_REQUIREMENT)),
    ("x-*", 13, Any),
]);
static EXTERNAL_DOCS: Message = Object(&[("description", 1, Text), ("url", 2, Text), ("x-*", 3, Any)]);
static PARAMETER_DEFINITIONS: Message = Entries(One(&PARAMETER_OR_REFERENCE));
static PARAMETER_OR_REFERENCE: Message =
    Choice(&[(Test::Has("$ref"), 2, One(&REFERENCE)), (Test::Object, 1, One(&PARAMETER))]);
static PARAMETER: Message = Object(&[
    ("name", 1, Text),
    ("in", 2, Text),
    ("description", 3, Text),
    ("required", 4, Bool),
    ("deprecated", 5, Bool),
    ("allowEmptyValue", 6, Bool),
    ("style", 7, Text),
    ("explode", 8, Bool),
    ("allowReserved", 9, Bool),
    ("schema", 10, One(&SCHEMA_OR_REFERENCE)),
    ("example", 11, Any),
    ("content", 13, One(&MEDIA_TYPES)),
    ("x-*", 14, Any),
]);
static REFERENCE: Message = Object(&[("$ref", 1, Text), ("summary", 2, Text), ("description", 3, Text)]);
static REQUEST_BODY_OR_REFERENCE: Message =
    Choice(&[(Test::Has("$ref"), 2, One(&REFERENCE)), (Test::Object, 1, One(&REQUEST_BODY))]);
static REQUEST_BODY: Message =
    Object(&[("description", 1, Text), ("content", 2, One(&MEDIA_TYPES)), ("required", 3, Bool), ("x-*", 4, Any)]);
static MEDIA_TYPES: Message = Entries(One(&MEDIA_TYPE));
static MEDIA_TYPE: Message = Object(&[("schema", 1, One(&SCHEMA_OR_REFERENCE)), ("example", 2, Any), ("x-*", 5, Any)]);
static RESPONSES: Message =
    Object(&[("default", 1, One(&RESPONSE_OR_REFERENCE)), ("*", 2, One(&RESPONSE_OR_REFERENCE)), ("x-*", 3, Any)]);
static RESPONSE_DEFINITIONS: Message = Entries(One(&RESPONSE_OR_REFERENCE));
static RESPONSE_OR_REFERENCE: Message =
    Choice(&[(Test::Has("$ref"), 2, One(&REFERENCE)), (Test::Object, 1, One(&RESPONSE))]);
static RESPONSE: Message = Object(&[("description", 1, Text), ("content", 3, One(&MEDIA_TYPES)), ("x-*", 5, Any)]);
static SCHEMAS: Message = Entries(One(&SCHEMA_OR_REFERENCE));
static SCHEMA_OR_REFERENCE: Message =
    Choice(&[(Test::Has("$ref"), 2, One(&REFERENCE)), (Test::Object, 1, One(&SCHEMA))]);
static SCHEMA: Message = Object(&[
    ("nullable", 1, Bool),
    ("readOnly", 3, Bool),
    ("writeOnly", 4, Bool),
    ("externalDocs", 6, One(&EXTERNAL_DOCS)),
    ("example", 7, Any),
    ("deprecated", 8, Bool),
    ("title", 9, Text),
    ("multipleOf", 10, Float),
    ("maximum", 11, Float),
    ("exclusiveMaximum", 12, Bool),
    ("minimum", 13, Float),
    ("exclusiveMinimum", 14, Bool),
    ("maxLength", 15, Integer),
    ("minLength", 16, Integer),
    ("pattern", 17, Text),
    ("maxItems", 18, Integer),
    ("minItems", 19, Integer),
    ("uniqueItems", 20, Bool),
    ("maxProperties", 21, Integer),
    ("minProperties", 22, Integer),
    ("required", 23, Texts),
    ("enum", 24, Anys),
    ("type", 25, Text),
    ("allOf", 26, Many(&SCHEMA_OR_REFERENCE)),
    ("oneOf", 27, Many(&SCHEMA_OR_REFERENCE)),
    ("anyOf", 28, Many(&SCHEMA_OR_REFERENCE)),
    ("not", 29, One(&SCHEMA)),
    ("items", 30, One(&ITEMS)),
    ("properties", 31, One(&SCHEMAS)),
    ("additionalProperties", 32, One(&ADDITIONAL_PROPERTIES)),
    ("default", 33, One(&DEFAULT)),
    ("description", 34, Text),
    ("format", 35, Text),
    ("x-*", 36, Any),
]);
static ITEMS: Message = Wrapped(One(&SCHEMA_OR_REFERENCE));
static ADDITIONAL_PROPERTIES: Message = Choice(&[(Test::Bool, 2, Bool), (Test::Object, 1, One(&SCHEMA_OR_REFERENCE))]);
/// Defaults that are objects or lists are an empty message.
static DEFAULT: Message = Choice(&[(Test::Number, 1, Float), (Test::Bool, 2, Bool), (Test::Text, 3, Text)]);
static SECURITY_REQUIREMENT: Message = Entries(One(&TEXTS));
static TEXTS: Message = Wrapped(Texts);
static SECURITY_SCHEMES: Message = Entries(One(&SECURITY_SCHEME_OR_REFERENCE));
static SECURITY_SCHEME_OR_REFERENCE: Message =
    Choice(&[(Test::Has("$ref"), 2, One(&REFERENCE)), (Test::Object, 1, One(&SECURITY_SCHEME))]);
static SECURITY_SCHEME: Message = Object(&[
    ("type", 1, Text),
    ("description", 2, Text),
    ("name", 3, Text),
    ("in", 4, Text),
    ("scheme", 5, Text),
    ("bearerFormat", 6, Text),
    ("openIdConnectUrl", 8, Text),
    ("x-*", 9, Any),
]);
