//! The public catalogue: for portals in the forms they harvest, for people as pages. Nobody needs a token here, and nothing
//! is here that its owner did not list.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use catalog::feed::Syntax;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::problem::Problem;
use super::{Faces, OPEN_PATH};
use crate::engine::{EngineError, Listed};
use crate::ids::hex;

type Shared = State<Arc<Faces>>;

/// How long a harvester may keep a page without asking.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=60");

pub(super) fn routes() -> Router<Arc<Faces>> {
    Router::new()
        .route("/catalog", get(catalog))
        .route("/catalog.{extension}", get(catalog_file))
        .route("/datasets/{id}", get(dataset))
        .route("/sitemap.xml", get(sitemap))
}

/// The same under the paths and parameters of CKAN's catalogue endpoint, which harvesters know.
pub(super) fn as_ckan() -> Router<Arc<Faces>> {
    Router::new().route("/catalog.{extension}", get(catalog_file)).route("/dataset/{id}", get(dataset))
}

/// In which form an answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Html,
    Rdf(Syntax),
}

/// The form that `Accept` prefers (RFC 9110, section 12.5.1); Turtle where it does not say.
fn form(headers: &HeaderMap) -> Form {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
    let mut best = (0.0_f32, Form::Rdf(Syntax::Turtle));
    for range in accept.split(',').take(32) {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
        let form = match name {
            "text/html" | "application/xhtml+xml" => Some(Form::Html),
            "application/json" => Some(Form::Rdf(Syntax::JsonLd)),
            "application/xml" | "text/xml" => Some(Form::Rdf(Syntax::RdfXml)),
            "*/*" | "text/*" => Some(Form::Rdf(Syntax::Turtle)),
            name => Syntax::ALL.into_iter().find(|one| one.media_type() == name).map(Form::Rdf),
        };
        if let Some(form) = form
            && quality > best.0
        {
            best = (quality, form);
        }
    }
    best.1
}

fn of_extension(extension: &str) -> Option<Form> {
    if extension == "html" {
        return Some(Form::Html);
    }
    Syntax::ALL.into_iter().find(|one| one.extension() == extension).map(Form::Rdf)
}

#[derive(Debug, Deserialize)]
struct Page {
    #[serde(default = "first")]
    page: usize,
}

const fn first() -> usize {
    1
}

async fn catalog(State(faces): Shared, Query(page): Query<Page>, headers: HeaderMap) -> Response {
    answer_catalog(&faces, page.page, form(&headers), &headers)
}

async fn catalog_file(
    State(faces): Shared,
    Path(extension): Path<String>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Response {
    match of_extension(&extension) {
        Some(form) => answer_catalog(&faces, page.page, form, &headers),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn answer_catalog(faces: &Faces, page: usize, form: Form, headers: &HeaderMap) -> Response {
    let result = match form {
        Form::Rdf(syntax) => faces.engine.feed_page(page, syntax).map(|body| (body, syntax.media_type())),
        Form::Html => faces.engine.listed_page(page).map(|listed| {
            let made = index(&listed, page, faces.engine.feed_pages());
            (made.into_string().into_bytes(), "text/html; charset=utf-8")
        }),
    };
    finish(result, headers)
}

async fn dataset(State(faces): Shared, Path(id): Path<String>, headers: HeaderMap) -> Response {
    // An id may have dots of its own: only a known ending counts.
    let ending = id.rsplit_once('.').and_then(|(id, extension)| Some((id, of_extension(extension)?)));
    let (id, form) = ending.unwrap_or_else(|| (id.as_str(), form(&headers)));
    let result = match form {
        Form::Rdf(syntax) => faces.engine.feed_dataset(id, syntax).map(|body| (body, syntax.media_type())),
        Form::Html => faces.engine.listed(id).map(|listed| {
            let page = about(&listed, faces.engine.did());
            (page.into_string().into_bytes(), "text/html; charset=utf-8")
        }),
    };
    finish(result, &headers)
}

/// The pages for people, for search engines; without a number, the list of such lists (sitemaps.org).
async fn sitemap(State(faces): Shared, Query(wanted): Query<Sitemap>, headers: HeaderMap) -> Response {
    let here = faces.engine.open_address();
    let addresses: Vec<_> = match wanted.page {
        None => {
            (1..=faces.engine.feed_pages()).map(|page| format!("{here}/sitemap.xml?page={page}")).collect()
        }
        Some(page) => match faces.engine.listed_page(page) {
            Ok(listed) => listed.into_iter().map(|one| format!("{}.html", one.address)).collect(),
            Err(error) => return finish(Err(error), &headers),
        },
    };
    let (outer, inner) = if wanted.page.is_none() { ("sitemapindex", "sitemap") } else { ("urlset", "url") };
    let mut body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{outer} xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">\n"
    );
    for address in addresses {
        body.push_str(&format!("<{inner}><loc>{}</loc></{inner}>\n", html! { (address) }.into_string()));
    }
    body.push_str(&format!("</{outer}>\n"));
    finish(Ok((body.into_bytes(), "application/xml")), &headers)
}

#[derive(Debug, Deserialize)]
struct Sitemap {
    page: Option<usize>,
}

/// The answer with its validator, or that nothing has changed.
fn finish(result: Result<(Vec<u8>, &'static str), EngineError>, headers: &HeaderMap) -> Response {
    let (body, media_type) = match result {
        Ok(found) => found,
        Err(error) => return Problem::from(error).plain(),
    };
    let tag = format!("\"{}\"", hex(&Sha256::digest(&body)));
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let same =
        known.split(',').map(|one| one.trim().trim_start_matches("W/")).any(|one| one == tag || one == "*");
    let tag = HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"\""));
    let shared = [
        (header::ETAG, tag),
        (header::CACHE_CONTROL, KEPT),
        (header::VARY, HeaderValue::from_static("Accept")),
    ];
    if same {
        return (StatusCode::NOT_MODIFIED, shared).into_response();
    }
    (shared, [(header::CONTENT_TYPE, HeaderValue::from_static(media_type))], body).into_response()
}

fn page(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; meta name="viewport" content="width=device-width"; title { (title) } }
            body { (body) }
        }
    }
}

fn index(listed: &[Listed], number: usize, pages: usize) -> Markup {
    let link = |number: usize| format!("{OPEN_PATH}/catalog?page={number}");
    page(
        "Datasets",
        &html! {
            h1 { "Datasets" }
            ul { @for one in listed { li { a href=(format!("{}.html", one.address)) { (title(one)) } } } }
            p {
                @if number > 1 { a href=(link(number - 1)) rel="prev" { "previous" } " " }
                "page " (number) " of " (pages)
                @if number < pages { " " a href=(link(number + 1)) rel="next" { "next" } }
            }
        },
    )
}

fn title(listed: &Listed) -> &str {
    if listed.description.title.is_empty() { &listed.id } else { &listed.description.title }
}

fn about(listed: &Listed, did: &str) -> Markup {
    let described = &listed.description;
    let facts = [
        ("published by", &described.publisher),
        ("place", &described.place),
        ("from", &described.from),
        ("until", &described.until),
        ("licence", &described.license),
        ("media type", &described.media_type),
        ("contact", &described.contact),
    ];
    // For search engines; `<` must not end the element it stands in.
    let search = json!({
        "@context": "https://schema.org/", "@type": "Dataset", "@id": listed.address, "identifier": listed.id,
        "name": title(listed), "description": described.description, "keywords": described.keywords,
        "license": described.license, "isAccessibleForFree": listed.data.is_some(),
        "distribution": listed.data.as_ref().map(|data| json!({
            "@type": "DataDownload", "contentUrl": data, "encodingFormat": described.media_type,
        })),
    });
    let search = search.to_string().replace('<', "\\u003c");
    page(
        title(listed),
        &html! {
            script type="application/ld+json" { (PreEscaped(search)) }
            h1 { (title(listed)) }
            @if let Some(text) = &described.description { p { (text) } }
            dl { @for (name, value) in facts { @if let Some(value) = value { dt { (name) } dd { (value) } } } }
            @if !described.keywords.is_empty() { p { (described.keywords.join(", ")) } }
            h2 { "How to get it" }
            @if let Some(data) = &listed.data {
                p { "Everybody may read it: " a href=(data) { (data) } }
            } @else {
            p {
                "The data is shared under an agreement of the Dataspace Protocol 2025-1. The participant is "
                code { (did) } ", the dataset " code { (listed.id) } "."
            }
            pre { "concordat catalog " (did) "\nconcordat negotiate " (did) " " (listed.id) " --purpose PURPOSE" } }
            p { "For programs: " @for one in Syntax::ALL {
                a href=(format!("{}.{}", listed.address, one.extension())) { (one.media_type()) } " "
            } }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_form_is_taken() {
        let of = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            form(&headers)
        };
        assert_eq!(form(&HeaderMap::new()), Form::Rdf(Syntax::Turtle));
        assert_eq!(of("text/html,application/xhtml+xml,*/*;q=0.8"), Form::Html);
        assert_eq!(of("application/rdf+xml;q=0.5, application/ld+json"), Form::Rdf(Syntax::JsonLd));
        assert_eq!(of("application/rdf+xml"), Form::Rdf(Syntax::RdfXml));
        assert_eq!(of("image/png"), Form::Rdf(Syntax::Turtle));
    }
}
