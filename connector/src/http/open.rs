//! The public catalogue: for portals in the forms they harvest, for people as pages. Nobody needs a token here, and nothing
//! is here that its owner did not list.

mod ckan;

use std::sync::Arc;

use axum::Router;
use axum::extract::{OriginalUri, Path, Query, State};
use axum::middleware::map_response;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use catalog::feed::Syntax;
use catalog::{Description, Labelled, Text, extent};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use protocol::{Refusal, RefusalKind};
use serde::Deserialize;
use serde_json::json;

use super::pages::secure;
use super::problem::Problem;
use super::{Faces, OPEN_PATH, validators};
use crate::engine::{EngineError, Index, Listed, Wanted};

type Shared = State<Arc<Faces>>;

/// How long a harvester may keep a page without asking.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=60");

pub(super) fn routes() -> Router<Arc<Faces>> {
    Router::new()
        .route("/catalog", get(catalog))
        .route("/catalog.{extension}", get(catalog_file))
        .route("/datasets/{id}", get(dataset))
        .route("/sitemap.xml", get(sitemap))
        .layer(map_response(for_every_page))
        .layer(map_response(secure))
}

/// The same under the paths and parameters of CKAN's catalogue endpoint, which harvesters know.
pub(super) fn as_ckan() -> Router<Arc<Faces>> {
    Router::new()
        .route("/catalog.{extension}", get(catalog_file))
        .route("/dataset/{id}", get(dataset))
        .layer(map_response(for_every_page))
        .layer(map_response(secure))
}

/// What search engines ask first.
pub(super) fn for_robots() -> Router<Arc<Faces>> {
    Router::new().route("/robots.txt", get(robots))
}

/// The public catalogue is all that is for them.
async fn robots(State(faces): Shared) -> Response {
    let map = format!("{}/sitemap.xml", faces.engine.open_address());
    let text = format!("User-agent: *\nAllow: {OPEN_PATH}/\nDisallow: /\n\nSitemap: {map}\n");
    (
        [
            (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
            (header::CACHE_CONTROL, "public, max-age=3600"),
        ],
        text,
    )
        .into_response()
}

/// Pages of others may read what everybody may: no cookie and no key counts here.
async fn for_every_page(mut response: Response) -> Response {
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
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
    match extension {
        "html" => return Some(Form::Html),
        // As CKAN calls them; Turtle is a part of N3.
        "xml" => return Some(Form::Rdf(Syntax::RdfXml)),
        "n3" => return Some(Form::Rdf(Syntax::Turtle)),
        _ => {}
    }
    Syntax::ALL.into_iter().find(|one| one.extension() == extension).map(Form::Rdf)
}

async fn catalog(
    State(faces): Shared,
    Query(asked): Query<ckan::Parameters>,
    uri: OriginalUri,
    headers: HeaderMap,
) -> Response {
    answer_catalog(&faces, &asked, form(&headers), uri.path(), &headers)
}

async fn catalog_file(
    State(faces): Shared,
    Path(extension): Path<String>,
    Query(asked): Query<ckan::Parameters>,
    uri: OriginalUri,
    headers: HeaderMap,
) -> Response {
    match of_extension(&extension) {
        Some(form) => answer_catalog(&faces, &asked, form, uri.path(), &headers),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn answer_catalog(
    faces: &Faces,
    parameters: &ckan::Parameters,
    form: Form,
    path: &str,
    headers: &HeaderMap,
) -> Response {
    let engine = &faces.engine;
    // Links lead on in the same form and below the same path.
    let asked = format!("{}{path}", engine.public_address());
    finish(headers, engine.catalog_changed(), || {
        let wanted = parameters.read().map_err(|reason| Refusal::new(RefusalKind::Malformed, reason))?;
        match form {
            Form::Rdf(syntax) => Ok((engine.feed_page(&wanted, &asked, syntax)?, syntax.media_type())),
            Form::Html => {
                let made = index(&engine.listed_page(&wanted)?, &wanted.kept);
                Ok((made.into_string().into_bytes(), "text/html; charset=utf-8"))
            }
        }
    })
}

async fn dataset(State(faces): Shared, Path(id): Path<String>, headers: HeaderMap) -> Response {
    // An id may have dots of its own: only a known ending counts.
    let ending = id.rsplit_once('.').and_then(|(id, extension)| Some((id, of_extension(extension)?)));
    let (id, form) = ending.unwrap_or_else(|| (id.as_str(), form(&headers)));
    let engine = &faces.engine;
    finish(&headers, engine.listed_changed(id), || match form {
        Form::Rdf(syntax) => Ok((engine.feed_dataset(id, syntax)?, syntax.media_type())),
        Form::Html => {
            let page = about(&engine.listed(id)?, engine.did());
            Ok((page.into_string().into_bytes(), "text/html; charset=utf-8"))
        }
    })
}

/// The pages for people, for search engines; without a number, the list of such lists (sitemaps.org).
async fn sitemap(State(faces): Shared, Query(wanted): Query<Sitemap>, headers: HeaderMap) -> Response {
    let engine = &faces.engine;
    finish(&headers, engine.catalog_changed(), || {
        let here = engine.open_address();
        let addresses: Vec<_> = match wanted.page {
            None => {
                (1..=engine.feed_pages()?).map(|page| format!("{here}/sitemap.xml?page={page}")).collect()
            }
            Some(number) => {
                let index = engine.listed_page(&Wanted { number, ..Wanted::default() })?;
                index.listed.into_iter().map(|one| format!("{}.html", one.address)).collect()
            }
        };
        Ok((site_map(wanted.page.is_none(), &addresses).into_bytes(), "application/xml"))
    })
}

fn site_map(of_maps: bool, addresses: &[String]) -> String {
    let (outer, inner) = if of_maps { ("sitemapindex", "sitemap") } else { ("urlset", "url") };
    let mut body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{outer} xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">\n"
    );
    for address in addresses {
        body.push_str(&format!("<{inner}><loc>{}</loc></{inner}>\n", html! { (address) }.into_string()));
    }
    body.push_str(&format!("</{outer}>\n"));
    body
}

#[derive(Debug, Deserialize)]
struct Sitemap {
    page: Option<usize>,
}

/// The answer with its validators, or that nothing has changed.
fn finish(
    headers: &HeaderMap,
    changed: Result<Option<Timestamp>, EngineError>,
    make: impl FnOnce() -> Result<(Vec<u8>, &'static str), EngineError>,
) -> Response {
    let made = changed.and_then(|changed| Ok((changed, make()?)));
    let (changed, (body, media_type)) = match made {
        Ok(made) => made,
        Err(error) => {
            let mut answer = Problem::from(error).plain();
            if answer.status() == StatusCode::SERVICE_UNAVAILABLE {
                answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("600"));
            }
            return answer;
        }
    };
    let mut answer = validators::answer(headers, changed, media_type, body);
    answer.headers_mut().insert(header::CACHE_CONTROL, KEPT);
    answer.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    answer
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

fn index(Index { listed, number, last }: &Index, kept: &str) -> Markup {
    let link = |number: usize| format!("{OPEN_PATH}/catalog?{kept}page={number}");
    page(
        "Datasets",
        &html! {
            h1 { "Datasets" }
            ul { @for one in listed { li { a href=(format!("{}.html", one.address)) { (title(one)) } } } }
            p {
                @if *number > 1 { a href=(link(number - 1)) rel="prev" { "previous" } " " }
                "page " (number) " of " (last)
                @if number < last { " " a href=(link(number + 1)) rel="next" { "next" } }
            }
        },
    )
}

fn title(listed: &Listed) -> &str {
    listed.description.title.plain().unwrap_or(&listed.id)
}

fn about(listed: &Listed, did: &str) -> Markup {
    let described = &listed.description;
    let listing = |values: &[String]| (!values.is_empty()).then(|| values.join(", "));
    let facts = [
        ("published by", plain(&described.publisher)),
        ("place", plain(&described.place)),
        ("extent", described.bbox.map(extent::words)),
        ("from", described.from.clone()),
        ("until", described.until.clone()),
        ("updated", described.frequency.clone()),
        ("licence", described.form.license.clone()),
        ("rights", plain(&described.form.rights)),
        ("form", described.form.label().map(str::to_owned)),
        ("media type", described.form.media_type.clone()),
        ("bytes", described.form.byte_size.map(|size| size.to_string())),
        ("columns", listing(&described.form.columns)),
        ("follows", listing(&described.conforms_to)),
        ("origin", plain(&described.provenance)),
        ("quality", plain(&described.quality)),
        ("law", listing(&described.legislation)),
        ("series", listing(&described.series)),
        ("version", described.version.clone()),
        ("new in it", described.version_notes.plain().map(str::to_owned)),
        ("documentation", described.documentation.clone()),
        ("contact", described.contact.clone()),
    ];
    let keywords: Vec<&str> = described.keywords.iter().flat_map(Text::all).collect();
    // For search engines; `<` must not end the element it stands in.
    let mut search = json!({
        "@context": "https://schema.org/", "@type": "Dataset", "@id": listed.address, "identifier": listed.id,
        "url": format!("{}.html", listed.address), "dateModified": listed.modified,
        "publisher": described.publisher.as_ref().map(|one| {
            json!({"@type": "Organization", "@id": one.iri, "name": one.plain()})
        }),
        "name": title(listed), "description": described.description.plain(), "keywords": keywords,
        "license": described.form.license, "version": described.version, "temporalCoverage": period(described),
        "spatialCoverage": coverage(described), "isAccessibleForFree": listed.data.is_some(),
        "distribution": listed.data.as_ref().map(|data| json!({
            "@type": "DataDownload", "contentUrl": data, "encodingFormat": described.form.media_type, "contentSize": described.form.byte_size,
        })),
    });
    without_nothing(&mut search);
    let search = search.to_string().replace('<', "\\u003c");
    page(
        title(listed),
        &html! {
            script type="application/ld+json" { (PreEscaped(search)) }
            h1 { (title(listed)) }
            @for text in described.description.all() { p { (text) } }
            dl { @for (name, value) in &facts { @if let Some(value) = value { dt { (name) } dd { (value) } } } }
            @if !keywords.is_empty() { p { (keywords.join(", ")) } }
            @if !listed.is_series { (how(listed, did)) }
            p { "For programs: " @for one in Syntax::ALL {
                a href=(format!("{}.{}", listed.address, one.extension())) { (one.media_type()) } " "
            } }
        },
    )
}

/// Leaves out what is not said.
fn without_nothing(value: &mut serde_json::Value) {
    if let Some(map) = value.as_object_mut() {
        map.retain(|_, value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()));
        map.values_mut().for_each(without_nothing);
    }
}

/// How somebody gets the data.
fn how(listed: &Listed, did: &str) -> Markup {
    html! {
        h2 { "How to get it" }
        @if let Some(data) = &listed.data {
            p { "Everybody may read it: " a href=(data) { (data) } }
            @for one in &listed.description.distributions {
                @let data = format!("{data}?distribution={}", trust::did::segment(&one.name));
                p { "or, as " (one.name) ": " a href=(data) { (data) } }
            }
        } @else {
            p {
                "The data is shared under an agreement of the Dataspace Protocol 2025-1. The participant is "
                code { (did) } ", the dataset " code { (listed.id) } "."
            }
            pre { "concordat catalog " (did) "\nconcordat negotiate " (did) " " (listed.id) " --purpose PURPOSE" }
        }
    }
}

fn plain(one: &Option<Labelled>) -> Option<String> {
    one.as_ref().and_then(Labelled::plain).map(str::to_owned)
}

/// As schema.org writes places: a box from its south-west to its north-east.
fn coverage(described: &Description) -> Option<serde_json::Value> {
    let place = plain(&described.place);
    match described.bbox {
        None => place.map(|place| json!(place)),
        Some([west, south, east, north]) => {
            let shape = json!({"@type": "GeoShape", "box": format!("{south} {west} {north} {east}")});
            Some(json!({"@type": "Place", "name": place, "geo": shape}))
        }
    }
}

/// As schema.org writes periods.
fn period(described: &Description) -> Option<String> {
    let end = |at: &Option<String>| at.clone().unwrap_or_else(|| "..".to_owned());
    let known = described.from.is_some() || described.until.is_some();
    known.then(|| format!("{}/{}", end(&described.from), end(&described.until)))
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
