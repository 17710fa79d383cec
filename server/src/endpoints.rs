//! All endpoints: the right that each requires, the class of its rate, and its handler, whose
//! attribute has the method and path. A handler that is not listed here is not served, and every
//! entry has a right.

use axum::Router;
use axum::middleware::{Next, from_fn};
use axum::routing::MethodRouter;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use super::App;
use super::guard::{Admission, guard};
use super::openapi::{self, BASE_PATH};
use super::rate::RateClass;
use super::rate::RateClass::{Change, Light, Login, ReadOnly, Search as Searches};
use super::right::Right::{
    self, Admin, Authenticated, Browse, Owner, Public, Read, Search, Session, Superuser,
    SuperuserSession, Write,
};
use super::routes::{
    accounts, browser, collections, documents, facets, grants, keys, operations, search, sessions,
    system,
};

/// An endpoint of the table.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The right that it requires.
    pub right: Right,
    /// The class of its rate.
    pub class: RateClass,
    /// `get`, `post`, …
    pub method: String,
    /// Path with the names of its parameters: `/api/v1/collections/{collection}`.
    pub path: String,
}

type Methods = UtoipaMethodRouter<App>;

enum EndpointEntry {
    /// An endpoint that requires the collection of its path to exist, if the path names one.
    Row(Right, RateClass, Methods),
    /// An endpoint for records that outlive their collection. After its deletion, its last owner
    /// and superusers have the right, limited by the scope of their key.
    Record(Right, RateClass, Methods),
}

impl EndpointEntry {
    /// The requirements of a request, and the handlers.
    fn into_parts(self) -> (Admission, Methods) {
        match self {
            Self::Row(right, class, methods) => {
                (Admission { right, class, outlives_collection: false }, methods)
            }
            Self::Record(right, class, methods) => {
                (Admission { right, class, outlives_collection: true }, methods)
            }
        }
    }
}

#[rustfmt::skip]
fn endpoint_table() -> Vec<EndpointEntry> {
    use EndpointEntry::{Record, Row};
    vec![
        Row(Public,      Light,    routes!(system::live)),
        Row(Public,      Light,    routes!(system::ready)),
        Row(Superuser, ReadOnly,     routes!(system::metrics)),
        Row(Superuser, ReadOnly,     routes!(system::audit)),

        Row(Public,      Light,    routes!(browser::set_up_state)),
        Row(Public,      Login,    routes!(sessions::set_up)),
        Row(Public,      Login,    routes!(sessions::login)),
        Row(Public,      ReadOnly,     routes!(sessions::refresh)),
        Row(Public,      ReadOnly,     routes!(sessions::logout)),
        Row(Public,      Login,    routes!(browser::log_in)),
        Row(Public,      ReadOnly,     routes!(browser::token)),
        Row(Public,      ReadOnly,     routes!(browser::log_out)),

        Row(Authenticated,     ReadOnly,     routes!(accounts::me)),
        Row(Session,   Change,   routes!(accounts::change_me)),
        Row(Session,   Login,    routes!(accounts::change_password)),
        Row(Superuser, ReadOnly,     routes!(accounts::list)),
        Row(Superuser, Change,   routes!(accounts::create)),
        Row(Superuser, ReadOnly,     routes!(accounts::show)),
        Row(SuperuserSession, Change, routes!(accounts::change)),
        Row(SuperuserSession, Change, routes!(accounts::set_password)),
        Row(Session,   ReadOnly,     routes!(keys::list)),
        Row(Session,   Change,   routes!(keys::create)),
        Row(Session,   Change,   routes!(keys::revoke)),


        Row(Search,    Searches, routes!(search::search)),
        Row(Search,    Searches, routes!(search::search_simply)),
        Row(Search,    Searches, routes!(facets::facets_of_a_question)),

        Row(Search,    ReadOnly,     routes!(collections::list)),
        Row(Read,      ReadOnly,     routes!(collections::show)),
        Row(Admin,     Change,   routes!(collections::change)),
        Row(Owner,     Change,   routes!(collections::delete)),
        Row(Read,      ReadOnly,     routes!(collections::generations)),
        Row(Read,      ReadOnly,     routes!(collections::sources)),
        Row(Read,      ReadOnly,     routes!(facets::facets)),
        Row(Write,     Change,   routes!(collections::remove_source)),
        Record(Admin,  ReadOnly,     routes!(collections::audit)),
        Row(Read,      ReadOnly,     routes!(collections::limits)),
        Row(Superuser, Change,   routes!(collections::set_limits)),
        Row(Admin,     ReadOnly,     routes!(grants::list)),
        Row(Admin,     Change,   routes!(grants::give)),
        Row(Admin,     Change,   routes!(grants::take)),

        Row(Read,      ReadOnly,     routes!(documents::list)),
        Row(Read,      ReadOnly,     routes!(documents::counts)),
        Row(Read,      ReadOnly,     routes!(documents::show)),
        Row(Read,      ReadOnly,     routes!(documents::chunks)),
        Row(Read,      ReadOnly,     routes!(documents::text)),
        Row(Read,      ReadOnly,     routes!(documents::why)),
        Row(Write,     Change,   routes!(documents::delete)),
        Row(Write,     Change,   routes!(documents::undelete)),

        Row(Browse,    ReadOnly,     routes!(operations::list)),
        Row(Browse,    ReadOnly,     routes!(operations::events)),
        Row(Read,      ReadOnly,     routes!(operations::of_collection)),
        Row(Write,     Change,   routes!(operations::start)),
        Record(Read,   ReadOnly,     routes!(operations::show)),
        Row(Read,      ReadOnly,     routes!(operations::events_of_one)),
        Row(Write,     Change,   routes!(operations::cancel)),
    ]
}

/// All endpoints, for tests.
pub fn endpoints() -> Vec<Endpoint> {
    let parts = endpoint_table().into_iter().map(EndpointEntry::into_parts);
    parts.flat_map(|(admission, methods)| describe(admission, &methods)).collect()
}

fn describe(admission: Admission, (_, paths, _): &Methods) -> Vec<Endpoint> {
    let Admission { right, class, .. } = admission;
    let of_path = |(path, item): (&String, &utoipa::openapi::PathItem)| {
        let path = format!("{BASE_PATH}{path}");
        openapi::methods(item)
            .into_iter()
            .map(|method| Endpoint { right, class, method, path: path.clone() })
            .collect::<Vec<_>>()
    };
    paths.paths.iter().flat_map(of_path).collect()
}

/// The guarded endpoints, and their description.
pub(super) fn guarded_routes(app: &App) -> (Router, OpenApi) {
    let router = described_routes(|admission, methods| {
        let app = app.clone();
        methods.route_layer(from_fn(move |request, next: Next| {
            guard(app.clone(), admission, request, next)
        }))
    });
    router.with_state(app.clone()).split_for_parts()
}

/// The endpoints with their description, each wrapped by `guarded`.
fn described_routes(
    guarded: impl Fn(Admission, MethodRouter<App>) -> MethodRouter<App>,
) -> OpenApiRouter<App> {
    let mut router = OpenApiRouter::with_openapi(openapi::base_document());
    for (admission, (schemas, mut paths, methods)) in
        endpoint_table().into_iter().map(EndpointEntry::into_parts)
    {
        openapi::describe_right(&mut paths, admission.right);
        router = router.routes((schemas, paths, guarded(admission, methods)));
    }
    OpenApiRouter::with_openapi(openapi::base_document()).nest(BASE_PATH, router)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use serde_json::Value;

    use super::*;

    /// Name and type of a schema: `string`, `array<User>`, `read | write`.
    fn type_of(schema: &Value) -> String {
        let join = |all: &Value, with: &str| {
            all.as_array().into_iter().flatten().map(type_of).collect::<Vec<_>>().join(with)
        };
        if let Some(reference) = schema["$ref"].as_str() {
            return reference.rsplit('/').next().unwrap_or_default().to_owned();
        }
        for (key, with) in [("oneOf", " | "), ("allOf", " & ")] {
            if schema[key].is_array() {
                return join(&schema[key], with);
            }
        }
        if let Some(words) = schema["enum"].as_array() {
            return words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" | ");
        }
        let kind = &schema["type"];
        let name = match kind.as_array() {
            Some(all) => all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("?"),
            None => kind.as_str().unwrap_or("any").to_owned(),
        };
        if schema["items"].is_object() {
            return format!("{name}<{}>", type_of(&schema["items"]));
        }
        name
    }

    /// Endpoints with their bodies, and schemas with their properties, one per line.
    fn outline(description: &Value) -> String {
        let mut out = String::new();
        let bodies = |content: &Value| {
            let types = content.as_object().into_iter().flatten();
            types.map(|(_, body)| type_of(&body["schema"])).collect::<Vec<_>>().join(" or ")
        };
        for (path, item) in description["paths"].as_object().into_iter().flatten() {
            for (method, endpoint) in item.as_object().into_iter().flatten() {
                let taken = bodies(&endpoint["requestBody"]["content"]);
                writeln!(out, "{method} {path} {taken}").expect("memory is writable");
                for it in endpoint["parameters"].as_array().into_iter().flatten() {
                    let (name, kind) = (it["name"].as_str(), type_of(&it["schema"]));
                    writeln!(out, "  ?{}: {kind}", name.unwrap_or_default()).expect("as above");
                }
                for (status, answer) in endpoint["responses"].as_object().into_iter().flatten() {
                    let body = bodies(&answer["content"]);
                    let body = if body == "ProblemDetails" { "" } else { &body };
                    writeln!(out, "  {status} {body}").expect("as above");
                }
            }
        }
        for (name, schema) in description["components"]["schemas"].as_object().into_iter().flatten()
        {
            let properties = schema["properties"].as_object();
            let kind = if properties.is_some() { "object".to_owned() } else { type_of(schema) };
            writeln!(out, "{name} {kind}").expect("as above");
            let required = schema["required"].as_array();
            for (property, of) in properties.into_iter().flatten() {
                let is_required =
                    required.is_some_and(|all| all.iter().any(|it| it == property.as_str()));
                let mark = if is_required { "" } else { "?" };
                writeln!(out, "  {property}{mark}: {}", type_of(of)).expect("as above");
            }
        }
        out.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    /// Clients depend on the description: a change of it is a change of the API.
    #[test]
    fn the_description_of_the_api_changes_only_on_purpose() {
        let description = described_routes(|_, methods| methods).into_openapi();
        let description = serde_json::to_value(description).expect("a description is JSON");
        insta::assert_snapshot!(outline(&description));
    }
}
