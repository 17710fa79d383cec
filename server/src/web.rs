//! The web UI: the files of `server/web/`, embedded in the binary, and their URLs.
//!
//! It does not use the API itself; the page in the browser calls it like any other client. Each
//! view has a URL of its own, and all of these return the same document, whose script renders the
//! view.
//!
//! The URLs of all files except the document contain a version, a digest of all files, so browsers
//! may cache them without limit. The document names the version and is revalidated on each visit.
//! So a page never mixes two versions, and a visit costs one short response.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
    IF_NONE_MATCH,
};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest as _, Sha256};

use crate::problem::{Problem, ProblemCode};

/// The document of all views.
const INDEX_HTML: &str = include_str!("../web/index.html");

macro_rules! files {
    ($($name:literal)*) => { &[$(($name, include_str!(concat!("../web/", $name)))),*] };
}

/// Files that the document loads, by name.
static ASSETS: &[(&str, &str)] = files![
    "answer.js" "api.js" "app.js" "audit.js" "chart.js" "collection.js" "collections.js" "document.js" "documents.js" "dom.js" "facets.js"
    "flow.js" "format.js" "hits.js" "icon.svg" "keys.js" "limits.js" "login.js" "nodes.js" "operation.js" "operations.js"
    "passage.js" "password.js" "preview.js" "query.js" "search.js" "server.js" "settings.js" "story.js" "style.css" "theme.js" "throughput.js" "users.js"
];

/// URLs of views; `web/app.js` maps them to their renderers.
const VIEWS: [&str; 12] = [
    "/",
    "/collections",
    "/collections/{collection}",
    "/collections/{collection}/documents/{document}",
    "/operations",
    "/operations/{operation}",
    "/throughput",
    "/keys",
    "/users",
    "/audit",
    "/login",
    "/setup",
];

/// Everything is loaded from this server, inline scripts do not run, and other pages cannot embed
/// it in a frame.
const PAGE_CSP: &str = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// State shared by all requests.
struct WebUi {
    /// Digest of all files.
    version: String,
    /// The document, with the version in the URLs of the files.
    document: Bytes,
    /// The version as an entity tag.
    etag: HeaderValue,
}

/// The routes of the web UI. As the fallback of the server it responds with 404 to unknown paths:
/// browsers get the page, programs a problem.
pub fn router() -> Router {
    let page = Arc::new(WebUi::new());
    let views = VIEWS.iter().fold(Router::new(), |router, view| router.route(view, get(document)));
    views.route("/assets/{version}/{file}", get(file)).fallback(fallback).with_state(page)
}

impl WebUi {
    fn new() -> Self {
        let mut digest = Sha256::new_with_prefix(INDEX_HTML);
        ASSETS.iter().for_each(|(name, text)| digest.update(format!("\0{name}\0{text}")));
        let version: String =
            digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let document = INDEX_HTML.replace("\"/assets/", &format!("\"/assets/{version}/"));
        let tag = format!("\"{version}\"").parse().expect("hexadecimal digits");
        Self { document: document.into(), etag: tag, version }
    }

    /// Returns true if the client has the current version.
    fn is_cached(&self, headers: &HeaderMap) -> bool {
        let known =
            headers.get(IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).unwrap_or_default();
        // A reverse proxy may mark the tag as weak when it compresses the response.
        known
            .split(',')
            .any(|tag| tag.trim().trim_start_matches("W/").as_bytes() == self.etag.as_bytes())
    }
}

async fn document(State(page): State<Arc<WebUi>>, headers: HeaderMap) -> Response {
    let common = [
        (ETAG, page.etag.clone()),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_CSP)),
        (OPENER_POLICY, HeaderValue::from_static("same-origin")),
    ];
    if page.is_cached(&headers) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    (common, [(CONTENT_TYPE, "text/html; charset=utf-8")], page.document.clone()).into_response()
}

/// The response to an unknown path.
async fn fallback(
    State(page): State<Arc<WebUi>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let is_of_programs = ["/api/", "/assets/"].iter().any(|it| uri.path().starts_with(it));
    let is_read = matches!(method, Method::GET | Method::HEAD);
    if is_of_programs || !is_read || !wants_html(&headers) {
        return Problem::from_code(ProblemCode::NotFound).into_response();
    }
    // Never 304, because the status is part of the response.
    let common = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_CSP)),
        (OPENER_POLICY, HeaderValue::from_static("same-origin")),
    ];
    (StatusCode::NOT_FOUND, common, page.document.clone()).into_response()
}

/// Returns true if `Accept` names HTML, as in navigations of browsers.
fn wants_html(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|it| it.to_str().ok());
    let mut kinds = accepted.flat_map(|it| it.split(',')).map(|it| it.split(';').next());
    kinds.any(|kind| kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/html")))
}

async fn file(
    State(page): State<Arc<WebUi>>,
    Path((version, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let Some((_, text)) = ASSETS.iter().find(|(known, _)| *known == name) else {
        return Problem::from_code(ProblemCode::NotFound).into_response();
    };
    // A page opened before an upgrade of the server loads the new files without caching them.
    let is_current = version == page.version;
    let caching = if is_current { "public, max-age=31536000, immutable" } else { "no-cache" };
    let common = [(ETAG, page.etag.clone()), (CACHE_CONTROL, HeaderValue::from_static(caching))];
    if page.is_cached(&headers) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    (common, [(CONTENT_TYPE, media_type(&name))], *text).into_response()
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::*;

    async fn asked(path: &str, tag: Option<&str>) -> (StatusCode, HeaderMap, String) {
        let request = Request::get(path).header(IF_NONE_MATCH, tag.unwrap_or("\"other\""));
        let answer = router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn every_view_is_the_document_and_files_may_be_kept() {
        let id = "8d0b5c1e-0000-0000-0000-000000000000";
        for view in
            ["/", "/collections", "/throughput", &format!("/collections/{id}/documents/a%2Fb.html")]
        {
            let (status, headers, body) = asked(view, None).await;
            assert_eq!(
                (status, &headers[CACHE_CONTROL]),
                (StatusCode::OK, &HeaderValue::from_static("no-cache"))
            );
            assert!(!headers[CONTENT_SECURITY_POLICY].to_str().unwrap().contains("unsafe"));
            assert!(body.starts_with("<!doctype html>"), "{view}: {body}");
        }
        let (_, headers, document) = asked("/", None).await;
        let tag = headers[ETAG].to_str().unwrap();
        assert_eq!(asked("/keys", Some(tag)).await.0, StatusCode::NOT_MODIFIED);
        let from = document.find("/assets/").unwrap();
        let style = document[from..].split('"').find(|it| it.ends_with("style.css")).unwrap();
        let (status, headers, _) = asked(style, None).await;
        assert_eq!(
            (status, &headers[CONTENT_TYPE]),
            (StatusCode::OK, &"text/css; charset=utf-8".parse().unwrap())
        );
        assert!(headers[CACHE_CONTROL].to_str().unwrap().contains("immutable"));
        let (status, headers, _) = asked("/assets/of-yesterday/app.js", None).await;
        assert_eq!(
            (status, &headers[CACHE_CONTROL]),
            (StatusCode::OK, &HeaderValue::from_static("no-cache"))
        );
        for none in ["/assets/x/nothing.js", "/assets/x/..%2f..%2fCargo.toml", "/nowhere"] {
            assert_eq!(asked(none, None).await.0, StatusCode::NOT_FOUND, "{none}");
        }
    }

    #[tokio::test]
    async fn browsers_are_shown_the_page_where_there_is_nothing_and_programs_get_a_problem() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (method, path, accept, is_page) in [
            ("GET", "/nowhere", browser, true),
            ("HEAD", "/collections/x/y/z", browser, true),
            ("GET", "/nowhere", "*/*", false),
            ("GET", "/nowhere", "application/json", false),
            ("POST", "/nowhere", browser, false),
            ("GET", "/api/v1/nowhere", browser, false),
            ("GET", "/assets/nowhere", browser, false),
        ] {
            let request = Request::builder().method(method).uri(path).header(ACCEPT, accept);
            let answer = router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{method} {path}");
            let kind = answer.headers().get(CONTENT_TYPE).map(|it| it.to_str().unwrap());
            assert_eq!(
                kind.is_some_and(|it| it.starts_with("text/html")),
                is_page,
                "{method} {path}"
            );
            let is_problem = answer.extensions().get::<Problem>().is_some();
            assert_eq!(is_problem, !is_page, "{method} {path}");
        }
    }

    /// The files in the folder, in the table, and referenced by the files are the same.
    #[test]
    fn no_file_is_missing_and_none_is_left_over() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
        let names = std::fs::read_dir(folder)
            .unwrap()
            .map(|it| it.unwrap().file_name().into_string().unwrap());
        let there: BTreeSet<String> = names.filter(|name| name != "index.html").collect();
        let table: BTreeSet<String> = ASSETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(table, there);
        let mut named = BTreeSet::new();
        for text in ASSETS.iter().map(|(_, text)| *text).chain([INDEX_HTML]) {
            for part in text.split('"') {
                let name = part.strip_prefix("./").or_else(|| part.strip_prefix("/assets/"));
                named.extend(name.map(str::to_owned));
            }
        }
        assert_eq!(named, there);
    }

    /// Classes that scripts derive from the status of a generation or collection in the API.
    const SAID: [&str; 2] = ["building", "error"];

    #[test]
    fn every_class_has_a_style_and_every_style_somebody_who_wears_it() {
        let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
        let (_, style) = ASSETS.iter().find(|(name, _)| *name == "style.css").unwrap();
        let scripts = || ASSETS.iter().filter(|(name, _)| *name != "style.css");
        let mut styled = BTreeSet::new();
        for rule in style.split('}') {
            // Comments are on lines of their own, and the innermost of nested rules has no other
            // brace.
            let rule = rule.rsplit("*/").next().unwrap();
            let selectors = rule.rsplit_once('{').map_or("", |(selectors, _)| selectors);
            for part in selectors.split('.').skip(1) {
                styled.insert(part.split(|it| !is_of_name(it)).next().unwrap());
            }
        }
        let texts = || scripts().map(|(_, text)| *text).chain([INDEX_HTML]);
        let words: BTreeSet<&str> =
            texts().flat_map(|text| text.split(|it| !is_of_name(it))).collect();
        let unworn: Vec<_> =
            styled.iter().filter(|it| !words.contains(*it) && !SAID.contains(it)).collect();
        assert!(unworn.is_empty(), "unused classes: {unworn:?}");
        for text in texts() {
            for worn in ["class: \"", "class=\""].iter().flat_map(|it| text.split(it).skip(1)) {
                let worn = worn.split('"').next().unwrap();
                for class in worn.split_whitespace() {
                    assert!(styled.contains(class), "`{class}` of `{worn}` has no style");
                }
            }
        }
    }

    /// The document contains nothing that the policy forbids, and no script creates elements from
    /// text.
    #[test]
    fn no_script_stands_in_the_document_and_no_markup_is_made_of_text() {
        assert!(
            INDEX_HTML
                .split("<script")
                .skip(1)
                .all(|it| it.contains("src=\"") && it.contains("></script>"))
        );
        for forbidden in ["style=\"", "onclick=\"", "onload=\"", "<style", "http://", "https://"] {
            assert!(!INDEX_HTML.contains(forbidden), "the document has {forbidden}");
        }
        for (name, text) in ASSETS {
            for forbidden in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
            ] {
                assert!(!text.contains(forbidden), "{name} uses {forbidden}");
            }
        }
    }
}
