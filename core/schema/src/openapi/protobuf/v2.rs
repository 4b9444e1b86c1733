//! Messages of gnostic's `openapiv2/OpenAPIv2.proto`. Deliberately absent: OAuth, files, forms, headers, examples of
//! answers, which none of our documents has.

use super::{
    Kind::{Any, Anys, Bool, Float, Integer, Many, One, Text, Texts},
    Message::{self, Choice, Entries, Object, Wrapped},
    Test,
};

pub(super) static DOCUMENT: Message = Object(&[
    ("swagger", 1, Text),
    ("info", 2, One(&INFO)),
    ("host", 3, Text),
    ("basePath", 4, Text),
    ("schemes", 5, Texts),
    ("consumes", 6, Texts),
    ("produces", 7, Texts),
    ("paths", 8, One(&PATHS)),
    ("definitions", 9, One(&SCHEMAS)),
    ("parameters", 10, One(&PARAMETER_DEFINITIONS)),
    ("security", 12, Many(&SECURITY_REQUIREMENT)),
    ("securityDefinitions", 13, One(&SECURITY_DEFINITIONS)),
    ("x-*", 16, Any),
]);
static INFO: Message =
    Object(&[("title", 1, Text), ("version", 2, Text), ("description", 3, Text), ("termsOfService", 4, Text)]);
static PATHS: Message = Object(&[("x-*", 1, Any), ("/*", 2, One(&PATH_ITEM))]);
static PATH_ITEM: Message = Object(&[
    ("$ref", 1, Text),
    ("get", 2, One(&OPERATION)),
    ("put", 3, One(&OPERATION)),
    ("post", 4, One(&OPERATION)),
    ("delete", 5, One(&OPERATION)),
    ("options", 6, One(&OPERATION)),
    ("head", 7, One(&OPERATION)),
    ("patch", 8, One(&OPERATION)),
    ("parameters", 9, Many(&PARAMETERS_ITEM)),
    ("x-*", 10, Any),
]);
static OPERATION: Message = Object(&[
    ("tags", 1, Texts),
    ("summary", 2, Text),
    ("description", 3, Text),
    ("externalDocs", 4, One(&EXTERNAL_DOCS)),
    ("operationId", 5, Text),
    ("produces", 6, Texts),
    ("consumes", 7, Texts),
    ("parameters", 8, Many(&PARAMETERS_ITEM)),
    ("responses", 9, One(&RESPONSES)),
    ("schemes", 10, Texts),
    ("deprecated", 11, Bool),
    ("security", 12, Many(&SECURITY_REQUIREMENT)),
    ("x-*", 13, Any),
]);
static EXTERNAL_DOCS: Message = Object(&[("description", 1, Text), ("url", 2, Text), ("x-*", 3, Any)]);
static PARAMETERS_ITEM: Message =
    Choice(&[(Test::Has("$ref"), 2, One(&REFERENCE)), (Test::Object, 1, One(&PARAMETER))]);
static PARAMETER: Message =
    Choice(&[(Test::Is("in", "body"), 1, One(&BODY_PARAMETER)), (Test::Object, 2, One(&NON_BODY_PARAMETER))]);
static NON_BODY_PARAMETER: Message = Choice(&[
    (Test::Is("in", "header"), 1, One(&PATH_PARAMETER)),
    (Test::Is("in", "query"), 3, One(&QUERY_PARAMETER)),
    (Test::Is("in", "path"), 4, One(&PATH_PARAMETER)),
]);
static BODY_PARAMETER: Message = Object(&[
    ("description", 1, Text),
    ("name", 2, Text),
    ("in", 3, Text),
    ("required", 4, Bool),
    ("schema", 5, One(&SCHEMA)),
    ("x-*", 6, Any),
]);
static QUERY_PARAMETER: Message = Object(&[
    ("required", 1, Bool),
    ("in", 2, Text),
    ("description", 3, Text),
    ("name", 4, Text),
    ("allowEmptyValue", 5, Bool),
    ("type", 6, Text),
    ("format", 7, Text),
    ("collectionFormat", 9, Text),
    ("default", 10, Any),
    ("uniqueItems", 20, Bool),
    ("enum", 21, Anys),
    ("x-*", 23, Any),
]);
/// Those in headers have the same fields.
static PATH_PARAMETER: Message = Object(&[
    ("required", 1, Bool),
    ("in", 2, Text),
    ("description", 3, Text),
    ("name", 4, Text),
    ("type", 5, Text),
    ("format", 6, Text),
    ("collectionFormat", 8, Text),
    ("default", 9, Any),
    ("uniqueItems", 19, Bool),
    ("enum", 20, Anys),
    ("x-*", 22, Any),
]);
static PARAMETER_DEFINITIONS: Message = Entries(One(&PARAMETER));
static REFERENCE: Message = Object(&[("$ref", 1, Text), ("description", 2, Text)]);
static RESPONSES: Message = Object(&[("*", 1, One(&RESPONSE_VALUE)), ("x-*", 2, Any)]);
static RESPONSE_VALUE: Message = Choice(&[(Test::Has("$ref"), 2, One(&REFERENCE)), (Test::Object, 1, One(&RESPONSE))]);
static RESPONSE: Message = Object(&[("description", 1, Text), ("schema", 2, One(&SCHEMA_ITEM)), ("x-*", 5, Any)]);
static SCHEMA_ITEM: Message = Wrapped(One(&SCHEMA));
static SCHEMAS: Message = Entries(One(&SCHEMA));
static SCHEMA: Message = Object(&[
    ("$ref", 1, Text),
    ("format", 2, Text),
    ("title", 3, Text),
    ("description", 4, Text),
    ("default", 5, Any),
    ("multipleOf", 6, Float),
    ("maximum", 7, Float),
    ("exclusiveMaximum", 8, Bool),
    ("minimum", 9, Float),
    ("exclusiveMinimum", 10, Bool),
    ("maxLength", 11, Integer),
    ("minLength", 12, Integer),
    ("pattern", 13, Text),
    ("maxItems", 14, Integer),
    ("minItems", 15, Integer),
    ("uniqueItems", 16, Bool),
    ("maxProperties", 17, Integer),
    ("minProperties", 18, Integer),
    ("required", 19, Texts),
    ("enum", 20, Anys),
    ("additionalProperties", 21, One(&ADDITIONAL_PROPERTIES)),
    ("type", 22, One(&TEXTS)),
    ("items", 23, One(&ITEMS)),
    ("allOf", 24, Many(&SCHEMA)),
    ("properties", 25, One(&SCHEMAS)),
    ("discriminator", 26, Text),
    ("readOnly", 27, Bool),
    ("externalDocs", 29, One(&EXTERNAL_DOCS)),
    ("example", 30, Any),
    ("x-*", 31, Any),
]);
static ADDITIONAL_PROPERTIES: Message = Choice(&[(Test::Bool, 2, Bool), (Test::Object, 1, One(&SCHEMA))]);
static TEXTS: Message = Wrapped(Texts);
static ITEMS: Message = Wrapped(One(&SCHEMA));
static SECURITY_REQUIREMENT: Message = Entries(One(&TEXTS));
static SECURITY_DEFINITIONS: Message = Entries(One(&SECURITY_DEFINITION));
static SECURITY_DEFINITION: Message = Choice(&[(Test::Is("type", "apiKey"), 2, One(&API_KEY))]);
static API_KEY: Message =
    Object(&[("type", 1, Text), ("name", 2, Text), ("in", 3, Text), ("description", 4, Text), ("x-*", 5, Any)]);
