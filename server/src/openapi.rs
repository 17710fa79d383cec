//! The description of the API (OpenAPI 3.1), made from the handlers: what utoipa finds there, and what follows for every
//! endpoint from its right.

use utoipa::openapi::path::{Operation, PathItem, Paths};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, ResponseBuilder,
};
use utoipa::{PartialSchema as _, ToSchema as _};

use super::problem::{CODES, Code, MEDIA_TYPE, ProblemDetails};
use super::right::Right;
use super::wire::{DocumentStatus, Mode};

/// Where the description is.
pub(super) const PATH: &str = "/api/v1/openapi.json";
/// Where a person reads it.
pub(super) const DOCS: &str = "/api/v1/docs";
/// What the description calls tokens and keys.
const BEARER: &str = "bearer";
/// Under which the description says what right an endpoint asks for.
const RIGHT: &str = "x-right";

/// The description without any endpoint.
pub(super) fn head() -> OpenApi {
    let info = InfoBuilder::new()
        .title("semantik")
        .version("1")
        .description(Some(
            "Search in collections of documents, and work on them. Every answer that is an error is a problem \
             (RFC 9457) with a stable `code`. Tokens of sessions and API keys go into the header \
             `Authorization: Bearer …`.",
        ))
        .build();
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let components = ComponentsBuilder::new()
        .security_scheme(BEARER, scheme)
        .schema(ProblemDetails::name(), ProblemDetails::schema())
        // Parameters refer to these; utoipa takes only those of bodies in by itself.
        .schema(DocumentStatus::name(), DocumentStatus::schema())
        .schema(Mode::name(), Mode::schema())
        .build();
    OpenApiBuilder::new().info(info).components(Some(components)).build()
}

/// The methods that a path has, by their words.
pub(super) fn methods(item: &PathItem) -> Vec<String> {
    let all = [
        ("get", &item.get),
        ("put", &item.put),
        ("post", &item.post),
        ("delete", &item.delete),
        ("patch", &item.patch),
    ];
    all.iter().filter(|(_, it)| it.is_some()).map(|(name, _)| (*name).to_owned()).collect()
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch]
        .into_iter()
        .filter_map(Option::as_mut)
}

/// Writes the right of an endpoint into its description, with the problems that come of it.
pub(super) fn note_right(paths: &mut Paths, right: Right) {
    for item in paths.paths.values_mut() {
        for operation in operations(item) {
            let extension = utoipa::openapi::extensions::ExtensionsBuilder::new()
                .add(RIGHT, right.name())
                .build();
            operation.extensions.get_or_insert_default().merge(extension);
            let bearer = SecurityRequirement::new(BEARER, Vec::<String>::new());
            let nobody = SecurityRequirement::default();
            operation.security = match right {
                Right::Open => None,
                Right::Search | Right::Browse | Right::Read => Some(vec![nobody, bearer]),
                Right::Known
                | Right::Session
                | Right::Superuser
                | Right::SuperuserSession
                | Right::Write
                | Right::Admin
                | Right::Owner => Some(vec![bearer]),
            };
            let takes_body = operation.request_body.is_some();
            for (_, _, status, title) in
                CODES.iter().filter(|row| may_answer(row.0, right, takes_body))
            {
                let status = status.as_u16().to_string();
                operation.responses.responses.entry(status).or_insert_with(|| {
                    let content = ContentBuilder::new()
                        .schema(Some(Ref::from_schema_name(ProblemDetails::name())))
                        .build();
                    ResponseBuilder::new()
                        .description(*title)
                        .content(MEDIA_TYPE, content)
                        .build()
                        .into()
                });
            }
        }
    }
}

/// Whether a code may come from any endpoint of a right. Whatever else one may answer stands at its handler.
fn may_answer(code: Code, right: Right, takes_body: bool) -> bool {
    match code {
        Code::BadRequest | Code::RateLimited | Code::Internal | Code::Unavailable => true,
        Code::NotFound | Code::Misdirected => true,
        Code::InvalidJson
        | Code::UnsupportedMediaType
        | Code::InvalidBody
        | Code::TooLarge
        | Code::Timeout => takes_body,
        Code::Unauthenticated | Code::InvalidCredentials | Code::Forbidden => right != Right::Open,
        Code::InsufficientScope | Code::SessionRequired => right != Right::Open,
        Code::Conflict | Code::LimitReached | Code::NotServed => takes_body,
        Code::InvalidQuery | Code::ConfirmationRequired | Code::MethodNotAllowed => false,
        Code::TooCostly => false,
    }
}
