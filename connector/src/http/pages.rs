//! Pages about persons' data, rendered here: tables that the data officer and the citizens' operators both see, each as far as
//! it is theirs. No page names a person.

use axum::response::{Html, Response};
use http::{HeaderName, HeaderValue, header};
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};

use crate::clock;
use crate::engine::Share;
use crate::tables::{ConsentRecord, RequestRecord};

/// How pages look.
pub(super) const STYLE: &str = include_str!("../../../dashboard/style.css");
/// Rows of a table that are shown; the newest.
const SHOWN: usize = 500;

/// Windows that others opened see nothing of a page.
const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
/// Who may take something into a page of theirs.
const RESOURCE: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Nothing from elsewhere, nothing to elsewhere. It lies over whole faces, so that redirects and refusals have it too.
pub(super) async fn secure(mut response: Response) -> Response {
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                  form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(OPENER, HeaderValue::from_static("same-origin"));
    headers.insert(RESOURCE, HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Bytes that somebody else made, and whatever is said in their place: for a browser they are a file, never a page of this
/// node; one that shows them all the same runs nothing in them, and in an origin of their own.
pub(super) async fn handed_on(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let policy = "sandbox; default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(OPENER, HeaderValue::from_static("same-origin"));
    response
}

/// The same for what only programs with a key read: no page of another origin takes it in.
pub(super) async fn handed_on_here(response: Response) -> Response {
    let mut response = handed_on(response).await;
    response.headers_mut().insert(RESOURCE, HeaderValue::from_static("same-origin"));
    response
}

/// A page with a style sheet at `style`, and what else stands in its `head`.
pub(super) fn frame(title: &str, style: &str, head: &Markup, body: &Markup) -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                link rel="stylesheet" href=(style);
                (head)
            }
            body { (body) }
        }
    };
    Html(page.into_string())
}

fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M").to_string()
}

/// A table with a title; says so where it is empty.
pub(super) fn table(title: &str, header: &[&str], rows: &[Vec<Markup>]) -> Markup {
    html! {
        section {
            h2 { (title) " (" (rows.len()) ")" }
            @if rows.is_empty() {
                p { "nothing" }
            } @else {
                table {
                    thead { tr { @for name in header { th { (name) } } } }
                    tbody { @for row in rows.iter().rev().take(SHOWN) { tr { @for cell in row { td { (cell) } } } } }
                }
                @if rows.len() > SHOWN { p { "the newest " (SHOWN) } }
            }
        }
    }
}

/// A page about persons: its title stands over it.
pub(super) fn about_persons(title: &str, style: &str, body: &Markup) -> Html<String> {
    frame(title, style, &html! {}, &html! { h1 { (title) } (body) })
}

/// A cell.
pub(super) fn cell(text: impl AsRef<str>) -> Markup {
    html! { (text.as_ref()) }
}

/// Consents and withdrawals, by the names that the ledger has for persons.
pub(super) fn consents(all: &[ConsentRecord]) -> Markup {
    let now = clock::now();
    let row = |record: &ConsentRecord| {
        let consent = &record.consent;
        let attributes = if consent.extent.attributes.is_empty() {
            "all".to_owned()
        } else {
            consent.extent.attributes.join(", ")
        };
        let ended = consent.withdrawn.as_ref().map(|ended| day(ended.at)).or_else(|| consent.until.map(day));
        vec![
            cell(&record.person),
            cell(consent.state(now)),
            cell(consent.extent.purposes.join(", ")),
            cell(consent.extent.recipients.join(", ")),
            cell(attributes),
            cell(day(consent.given_at)),
            cell(ended.unwrap_or_default()),
        ]
    };
    let header = ["person", "state", "for", "to", "attributes", "given", "ends or ended"];
    table("Consents and withdrawals", &header, &all.iter().map(row).collect::<Vec<_>>())
}

/// What is shared with whom.
pub(super) fn shares(all: &[Share]) -> Markup {
    let row = |share: &Share| {
        vec![
            cell(&share.recipient),
            cell(&share.dataset),
            cell(share.purposes.join(", ")),
            cell(share.rows.to_string()),
            cell(share.left_out.to_string()),
            cell(share.last.map(day).unwrap_or_default()),
            cell(if share.in_force { "in force" } else { "ended" }),
        ]
    };
    let header = ["with", "dataset", "for", "rows", "left out", "last", "agreement"];
    table("What is shared with whom", &header, &all.iter().map(row).collect::<Vec<_>>())
}

/// Requests of persons, with their deadlines.
pub(super) fn requests(all: &[RequestRecord]) -> Markup {
    let now = clock::now();
    let row = |request: &RequestRecord| {
        let state = match &request.answer {
            Some(answer) if answer.done => cell("done"),
            Some(_) => cell("refused"),
            None if request.due < now => html! { strong.problem { "late" } },
            None => cell("open"),
        };
        vec![
            cell(&request.id),
            cell(request.kind.name()),
            cell(day(request.received_at)),
            cell(day(request.due)),
            state,
            cell(&request.operator),
        ]
    };
    let header = ["request", "for", "received", "due", "state", "through"];
    table("Requests and deadlines", &header, &all.iter().map(row).collect::<Vec<_>>())
}
