//! All endpoints: the right that each requires, the class of its rate, and its handler, whose
//! attribute has the method and path. A handler that is not listed here is not served, and every
//! entry has a right.

use axum::Router;
use axum::middleware::{Next, from_fn};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use super::App;
use super::guard::{Admission, guard};
use super::openapi;
use super::rate::Class;
use super::rate::Class::{Change, Light, Login, Look, Search as Searches};
use super::right::Right::{
    self, Admin, Browse, Known, Open, Owner, Read, Search, Session, Superuser, SuperuserSession,
    Write,
};
use super::routes::{
    accounts, browser, collections, documents, facets, grants, keys, operations, search, sessions,
    system,
};

/// Path prefix of the API.
pub(super) const BASE: &str = "/api/v1";

/// An endpoint of the table.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The right that it requires.
    pub right: Right,
    /// The class of its rate.
    pub class: Class,
    /// `get`, `post`, …
    pub method: String,
    /// Path with the names of its parameters: `/api/v1/collections/{collection}`.
    pub path: String,
}

type Methods = UtoipaMethodRouter<App>;

enum Entry {
    /// An endpoint that requires the collection of its path to exist, if the path names one.
    Row(Right, Class, Methods),
    /// An endpoint for records that outlive their collection. After its deletion, its last owner
    /// and superusers have the right, limited by the scope of their key.
    Record(Right, Class, Methods),
}

impl Entry {
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
fn table() -> Vec<Entry> {
    use Entry::{Record, Row};
    vec![
        Row(Open,      Light,    routes!(system::live)),
        Row(Open,      Light,    routes!(system::ready)),
        Row(Superuser, Look,     routes!(system::metrics)),
        Row(Superuser, Look,     routes!(system::audit)),

        Row(Open,      Light,    routes!(browser::set_up_state)),
        Row(Open,      Login,    routes!(sessions::set_up)),
        Row(Open,      Login,    routes!(sessions::login)),
        Row(Open,      Look,     routes!(sessions::refresh)),
        Row(Open,      Look,     routes!(sessions::logout)),
        Row(Open,      Login,    routes!(browser::log_in)),
        Row(Open,      Look,     routes!(browser::token)),
        Row(Open,      Look,     routes!(browser::log_out)),

        Row(Known,     Look,     routes!(accounts::me)),
        Row(Session,   Change,   routes!(accounts::change_me)),
        Row(Session,   Login,    routes!(accounts::change_password)),
        Row(Superuser, Look,     routes!(accounts::list)),
        Row(Superuser, Change,   routes!(accounts::create)),
        Row(Superuser, Look,     routes!(accounts::show)),
        Row(SuperuserSession, Change, routes!(accounts::change)),
        Row(SuperuserSession, Change, routes!(accounts::set_password)),
        Row(Session,   Look,     routes!(keys::list)),
        Row(Session,   Change,   routes!(keys::create)),
        Row(Session,   Change,   routes!(keys::revoke)),


        Row(Search,    Searches, routes!(search::search)),
        Row(Search,    Searches, routes!(search::search_simply)),
        Row(Search,    Searches, routes!(facets::facets_of_a_question)),

        Row(Search,    Look,     routes!(collections::list)),
        Row(Read,      Look,     routes!(collections::show)),
        Row(Admin,     Change,   routes!(collections::change)),
        Row(Owner,     Change,   routes!(collections::delete)),
        Row(Read,      Look,     routes!(collections::generations)),
        Row(Read,      Look,     routes!(collections::sources)),
        Row(Read,      Look,     routes!(facets::facets)),
        Row(Write,     Change,   routes!(collections::remove_source)),
        Record(Admin,  Look,     routes!(collections::audit)),
        Row(Read,      Look,     routes!(collections::limits)),
        Row(Superuser, Change,   routes!(collections::set_limits)),
        Row(Admin,     Look,     routes!(grants::list)),
        Row(Admin,     Change,   routes!(grants::give)),
        Row(Admin,     Change,   routes!(grants::take)),

        Row(Read,      Look,     routes!(documents::list)),
        Row(Read,      Look,     routes!(documents::counts)),
        Row(Read,      Look,     routes!(documents::show)),
        Row(Read,      Look,     routes!(documents::chunks)),
        Row(Read,      Look,     routes!(documents::text)),
        Row(Read,      Look,     routes!(documents::why)),
        Row(Write,     Change,   routes!(documents::delete)),
        Row(Write,     Change,   routes!(documents::undelete)),

        Row(Browse,    Look,     routes!(operations::list)),
        Row(Browse,    Look,     routes!(operations::events)),
        Row(Read,      Look,     routes!(operations::of_collection)),
        Row(Write,     Change,   routes!(operations::start)),
        Record(Read,   Look,     routes!(operations::show)),
        Row(Read,      Look,     routes!(operations::events_of_one)),
        Row(Write,     Change,   routes!(operations::cancel)),
    ]
}

/// All endpoints, for tests.
pub fn endpoints() -> Vec<Endpoint> {
    let parts = table().into_iter().map(Entry::into_parts);
    parts.flat_map(|(admission, methods)| described(admission, &methods)).collect()
}

fn described(admission: Admission, (_, paths, _): &Methods) -> Vec<Endpoint> {
    let Admission { right, class, .. } = admission;
    let of_path = |(path, item): (&String, &utoipa::openapi::PathItem)| {
        let path = format!("{BASE}{path}");
        openapi::methods(item)
            .into_iter()
            .map(|method| Endpoint { right, class, method, path: path.clone() })
            .collect::<Vec<_>>()
    };
    paths.paths.iter().flat_map(of_path).collect()
}

/// The guarded endpoints, and their description.
pub(super) fn routed(app: &App) -> (Router, OpenApi) {
    let mut router = OpenApiRouter::with_openapi(openapi::head());
    for (admission, (schemas, mut paths, methods)) in table().into_iter().map(Entry::into_parts) {
        openapi::note_right(&mut paths, admission.right);
        let app = app.clone();
        let methods = methods.route_layer(from_fn(move |request, next: Next| {
            guard(app.clone(), admission, request, next)
        }));
        router = router.routes((schemas, paths, methods));
    }
    OpenApiRouter::with_openapi(openapi::head())
        .nest(BASE, router)
        .with_state(app.clone())
        .split_for_parts()
}
