//! The page of what this node uses: for each dataset its rows, a chart and a map, who provides it and under which
//! agreement. Rendered here; a small script puts live data in its place.

mod charts;

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Path, RawQuery, Request as AxumRequest, State};
use axum::middleware::{self, Next};
use axum::response::sse::{Event as Sent, Sse};
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use axum::routing::get;
use axum::{Form as Posted, Router};
use dataplane::Metered;
use dataplane::live::Event;
use dataplane::rows::{Form, Row, View, read_all};
use futures_util::{Stream, StreamExt as _, stream};
use http::{Method, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use maud::{Markup, PreEscaped, html};
use serde::Deserialize;
use tokio::time::Instant;

use self::charts::Series;
use super::{Refused, Request, mean_latency, views};
use crate::clock;
use crate::engine::InUse;
use crate::http::held;
use crate::http::management::{Management, Scope};
use crate::http::pages::{self, STYLE};
use crate::http::sessions::hand_over;
use crate::reading::{self, Unread, Wanted};
use crate::tasks::Held;

/// Rows that a chart is drawn of.
const ROWS: u64 = 20_000;
/// Rows that are shown.
const SHOWN: usize = 8;
/// Largest preview, in bytes.
const MAX_PREVIEW: usize = 32 * 1024 * 1024;
/// For how long a preview is shown again before the data is read anew.
const FRESH: Duration = Duration::from_secs(60);
/// Events that a live chart shows.
const WINDOW: usize = 300;
/// How often at most a live chart is drawn.
const REDRAW: Duration = Duration::from_millis(500);
/// The session's cookie.
const COOKIE: &str = "concordat-session";

const ICON: &str = include_str!("../../../../dashboard/icon.svg");
const SCRIPT: &str = include_str!("../../../../dashboard/script.js");

type Shared = State<Arc<Management>>;

/// What was read of each dataset for the page, and when.
#[derive(Debug, Default)]
pub(crate) struct Previews(Mutex<HashMap<String, (Instant, Arc<Preview>)>>);

/// Rows of a dataset, as the page shows them.
#[derive(Debug, Clone, Default)]
struct Preview {
    rows: Vec<Row>,
    live: bool,
    applied: Option<String>,
    problem: Option<String>,
}

pub(super) fn routes(management: &Arc<Management>) -> Router<Arc<Management>> {
    let inside = Router::new()
        .route("/dashboard", get(page))
        .route("/dashboard/{name}/live", get(live))
        .layer(middleware::from_fn_with_state(Arc::clone(management), admit));
    let outside = Router::new()
        .route("/dashboard/login", get(login).post(enter))
        .route("/dashboard/icon.svg", get(async || asset("image/svg+xml", ICON)))
        .route("/dashboard/script.js", get(async || asset("text/javascript", SCRIPT)))
        .route("/dashboard/style.css", get(async || asset("text/css", STYLE)));
    inside.merge(outside).layer(middleware::map_response(pages::secure))
}

fn asset(media_type: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, "max-age=3600")], text).into_response()
}

/// Only who showed a key comes in, as long as it is one. A key in the address is taken out of it at once; it opens the page
/// only where keys may stand in addresses.
async fn admit(State(management): Shared, request: AxumRequest, next: Next) -> Response {
    let known = management.seated(&management.sessions, COOKIE, request.headers(), Scope::Consume);
    let mut pairs = url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes());
    if let Some((_, key)) = pairs.find(|(name, _)| name == "key") {
        return match management.gateway.key_in_address {
            true => begin(&management, &key),
            false => Redirect::to("/dashboard/login").into_response(),
        };
    }
    if let Some(holder) = known {
        let response = next.run(request).await;
        return held::answer(&management.faces.engine, &holder, response);
    }
    if request.method() == Method::GET && request.uri().path() == "/dashboard" {
        return Redirect::to("/dashboard/login").into_response();
    }
    StatusCode::UNAUTHORIZED.into_response()
}

fn begin(management: &Management, key: &str) -> Response {
    let Some(holder) = management.holder_of(key, Scope::Consume) else {
        return (StatusCode::UNAUTHORIZED, login_page(Some("this is no key of this node"))).into_response();
    };
    let Ok(token) = management.sessions.begin(holder) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut response = Redirect::to("/dashboard").into_response();
    hand_over(&mut response, COOKIE, &token, "/dashboard");
    response
}

#[derive(Deserialize)]
struct Key {
    key: String,
}

async fn login() -> Response {
    login_page(None).into_response()
}

async fn enter(State(management): Shared, Posted(posted): Posted<Key>) -> Response {
    begin(&management, posted.key.trim())
}

fn frame(title: &str, body: &Markup) -> Html<String> {
    let head = html! { link rel="icon" type="image/svg+xml" href="/dashboard/icon.svg"; };
    let whole = html! { (body) script src="/dashboard/script.js" {} };
    pages::frame(title, "/dashboard/style.css", &head, &whole)
}

fn login_page(problem: Option<&str>) -> Html<String> {
    frame(
        "Shared data",
        &html! {
            h1 { "Shared data" }
            form method="post" action="/dashboard/login" {
                label { "A key of this node " input type="password" name="key" autocomplete="current-password" required; }
                " " button type="submit" { "Show" }
            }
            @if let Some(problem) = problem { p.problem { (problem) } }
            p { "A key that may only read comes from " code { "concordat keys create NAME --scope consume" } "." }
        },
    )
}

async fn page(State(management): Shared, RawQuery(query): RawQuery) -> Response {
    let engine = &management.faces.engine;
    let all = match engine.all_in_use() {
        Ok(all) => all,
        Err(error) => {
            tracing::error!(%error, "the page cannot be made");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let wanted = query.as_deref().and_then(|query| query.strip_prefix("read=")).unwrap_or_default();
    // Each dataset is waited for at the same time as the others.
    let previews = all.iter().map(|one| preview(&management, one, wanted == one.used.name));
    let previews = futures_util::future::join_all(previews).await;
    let together = together(all.iter().zip(&previews));
    let body = html! {
        h1 { "Shared data at " (engine.name()) }
        @if all.is_empty() {
            p { "Nothing is used yet: " code { "concordat use PROVIDER DATASET --as NAME" } }
        }
        @if let Some((what, chart, map)) = together {
            section id="together" {
                h2 { "All together: " (what) }
                (figures(chart, map))
            }
        }
        @for (one, preview) in all.iter().zip(&previews) { (card(one, preview.as_deref())) }
    };
    frame(&format!("Shared data at {}", engine.name()), &body).into_response()
}

fn figures(chart: Option<String>, map: Option<String>) -> Markup {
    html! {
        div.figures {
            @if let Some(chart) = chart { figure.chart { (PreEscaped(chart)) } }
            @if let Some(map) = map { figure.map { (PreEscaped(map)) } }
        }
    }
}

/// Datasets that measure the same, on one chart and one map.
fn together<'a>(
    all: impl Iterator<Item = (&'a InUse, &'a Option<Arc<Preview>>)>,
) -> Option<(String, Option<String>, Option<String>)> {
    let mut by_what: HashMap<String, (Series, Vec<charts::Place>, usize)> = HashMap::new();
    for (one, preview) in all {
        let Some(preview) = preview else { continue };
        let Some(series) = charts::series(&preview.rows) else { continue };
        let (joint, places, count) = by_what.entry(series.what.clone()).or_default();
        joint.what = series.what;
        let single = series.lines.len() == 1;
        for (name, line) in series.lines {
            let name = if single { one.used.name.clone() } else { format!("{} {name}", one.used.name) };
            joint.lines.insert(name, line);
        }
        places.extend(charts::places(&preview.rows));
        *count += 1;
    }
    let (joint, places, _) =
        by_what.into_values().filter(|(_, _, count)| *count > 1).max_by_key(|(_, _, count)| *count)?;
    let (chart, map) = (charts::lines(&joint), charts::map(&places));
    Some((joint.what, chart, map))
}

fn card(one: &InUse, preview: Option<&Preview>) -> Markup {
    let used = &one.used;
    let usage = &one.usage;
    let state = match (&one.agreement, preview) {
        (None, _) => "no agreement is in force",
        (_, Some(Preview { live: true, .. })) => "connecting",
        _ => "in force",
    };
    html! {
        section id=(used.name) {
            h2 { (used.name) " " span.state { (state) } }
            dl {
                dt { "dataset" } dd { (used.dataset) }
                dt { "provider" } dd { (used.provider) }
                dt { "agreement" } dd { (used.agreement) }
                @if let Some(until) = one.until() { dt { "until" } dd { (until) } }
                dt { "read so far" }
                dd {
                    (usage.requests) " times, " (crate::cli::human_bytes(usage.bytes))
                    @if let Some(latency) = mean_latency(usage) { ", first byte after " (format!("{:.1} ms", latency * 1000.0)) }
                }
                dt { "address" } dd { code { "/d/" (used.name) } }
                @if let Some(applied) = preview.and_then(|preview| preview.applied.as_ref()) {
                    dt { "done to the data" } dd { (applied) }
                }
            }
            @match preview {
                None => {
                    p { "Each read counts under this agreement. "
                        a href={ "/dashboard?read=" (used.name) "#" (used.name) } { "Read it now" } }
                }
                Some(Preview { problem: Some(problem), .. }) => p.problem { (problem) },
                Some(Preview { live: true, .. }) => div data-live={ "/dashboard/" (used.name) "/live" } {},
                Some(preview) => (content(&preview.rows)),
            }
        }
    }
}

/// Chart, map and the newest rows.
fn content(rows: &[Row]) -> Markup {
    let chart = charts::series(rows).and_then(|series| charts::lines(&series));
    let map = charts::map(&charts::places(rows));
    html! { (figures(chart, map)) (rows_table(rows)) }
}

fn rows_table(rows: &[Row]) -> Markup {
    let shown: Vec<Row> = rows.iter().take(SHOWN).map(|row| row.clone().flat()).collect();
    let columns: Vec<_> =
        shown.first().map(|row| row.0.iter().map(|(name, _)| name.clone()).collect()).unwrap_or_default();
    html! {
        div.scroll {
            table {
                caption { (shown.len()) " of " (rows.len()) " rows" }
                thead { tr { @for name in &columns { th { (name) } } } }
                tbody {
                    @for row in &shown {
                        tr { @for name in &columns { td { (cell(row.get(name))) } } }
                    }
                }
            }
        }
    }
}

fn cell(value: Option<&serde_json::Value>) -> String {
    let text = match value {
        None | Some(serde_json::Value::Null) => String::new(),
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    text.chars().take(80).collect()
}

/// What the page shows of a dataset; `None` where each read counts and nobody asked for one.
async fn preview(management: &Arc<Management>, one: &InUse, now: bool) -> Option<Arc<Preview>> {
    let name = &one.used.name;
    let kept = |previews: &Previews| {
        let previews = previews.0.lock().unwrap_or_else(PoisonError::into_inner);
        previews.get(name).filter(|(at, _)| at.elapsed() < FRESH).map(|(_, preview)| Arc::clone(preview))
    };
    if let Some(preview) = kept(&management.previews) {
        // What is kept is shown only while its transfer runs.
        return match management.faces.engine.transfer_for_use(name).await {
            Ok(_) => Some(preview),
            Err(error) => Some(Arc::new(Preview { problem: Some(error.to_string()), ..Preview::default() })),
        };
    }
    let counted = one.agreement.as_ref().is_some_and(|agreement| {
        let policy = agreement.agreement.policy();
        policy.mentions("count") || policy.mentions("timeInterval")
    });
    if counted && !now {
        return None;
    }
    let preview = Arc::new(
        read(management, one)
            .await
            .unwrap_or_else(|problem| Preview { problem: Some(problem), ..Preview::default() }),
    );
    let mut previews = management.previews.0.lock().unwrap_or_else(PoisonError::into_inner);
    previews.retain(|_, (at, _)| at.elapsed() < FRESH);
    // What failed is tried again at once.
    if preview.problem.is_none() {
        previews.insert(name.clone(), (Instant::now(), Arc::clone(&preview)));
    }
    drop(previews);
    Some(preview)
}

async fn read(management: &Arc<Management>, one: &InUse) -> Result<Preview, String> {
    let request = Request {
        name: one.used.name.clone(),
        path: String::new(),
        view: None,
        as_text: false,
        is_filled: true,
        limit: Some(ROWS),
        wanted: Wanted::default(),
    };
    let response = match views::read(management, request, View::JsonLines).await {
        Ok(response) => response,
        Err(refused) => {
            return match &*refused {
                Refused::Unread(Unread::Refused { status: StatusCode::NOT_ACCEPTABLE, .. }) => {
                    Ok(Preview { live: true, ..Preview::default() })
                }
                other => Err(other.to_string()),
            };
        }
    };
    let applied =
        response.headers.get(dataplane::APPLIED).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = Limited::new(response.body, MAX_PREVIEW).collect().await.map_err(|error| error.to_string())?;
    let rows = read_all(Form::JsonLines, &body.to_bytes(), usize::MAX).map_err(|error| error.to_string())?;
    Ok(Preview { rows, applied, ..Preview::default() })
}

async fn live(State(management): Shared, Path(name): Path<String>) -> Response {
    let engine = &management.faces.engine;
    let followed = match engine.transfer_for_use(&name).await {
        Ok((used, transfer)) => {
            let query = used.distribution.map(|one| ("distribution".to_owned(), one)).into_iter().collect();
            reading::follow(engine, &transfer, query, None).await
        }
        Err(error) => Err(error.into()),
    };
    match followed {
        Ok((_, events)) => {
            let seen = Seen {
                management: Arc::clone(&management),
                name,
                at: clock::now(),
                metered: Metered::default(),
                held: management.faces.engine.tasks().hold(),
            };
            let alive = axum::response::sse::KeepAlive::default();
            Sse::new(rendered(counted(events, seen))).keep_alive(alive).into_response()
        }
        Err(error) => {
            let gone = Sent::default().event("gone").data(error.to_string());
            Sse::new(stream::iter([Ok::<_, Infallible>(gone)])).into_response()
        }
    }
}

/// Counts what the page followed, once it follows no more.
struct Seen {
    management: Arc<Management>,
    name: String,
    at: jiff::Timestamp,
    metered: Metered,
    held: Held,
}

impl Drop for Seen {
    fn drop(&mut self) {
        let (management, name, at) = (Arc::clone(&self.management), std::mem::take(&mut self.name), self.at);
        let metered = std::mem::take(&mut self.metered);
        self.held.carry_through(async move { management.faces.engine.count_use(&name, at, metered).await });
    }
}

fn counted(events: dataplane::live::Events, mut seen: Seen) -> dataplane::live::Events {
    Box::pin(events.inspect(move |event| {
        // The whole of it moves in here: it counts when this ends.
        let seen = &mut seen;
        if let Ok(Event::Data { payload, .. }) = event {
            seen.metered.rows += 1;
            seen.metered.bytes += u64::try_from(payload.len()).unwrap_or_default();
        }
    }))
}

/// Draws what came lately, as it comes, and not more often than eyes see.
fn rendered(events: dataplane::live::Events) -> impl Stream<Item = Result<Sent, Infallible>> + Send {
    let state = Some((events, VecDeque::<Row>::new(), Instant::now()));
    stream::unfold(state, |state| async move {
        let (mut events, mut rows, mut due) = state?;
        let mut fresh = false;
        loop {
            let next = if fresh {
                match tokio::time::timeout_at(due, events.next()).await {
                    Ok(next) => next,
                    Err(_) => {
                        due = Instant::now() + REDRAW;
                        let newest_last: Vec<Row> = rows.iter().cloned().collect();
                        let text = drawn(&newest_last).into_string().replace(['\n', '\r'], " ");
                        return Some((Ok(Sent::default().data(text)), Some((events, rows, due))));
                    }
                }
            } else {
                events.next().await
            };
            match next {
                None => return Some((Ok(Sent::default().event("gone").data("over")), None)),
                Some(Err(error)) => {
                    return Some((
                        Ok(Sent::default().event("gone").data(error.to_string().replace(['\n', '\r'], " "))),
                        None,
                    ));
                }
                Some(Ok(Event::Lost { .. })) => {}
                Some(Ok(Event::Data { payload, .. })) => {
                    if let Ok(found) = read_all(Form::JsonLines, &payload, WINDOW) {
                        rows.extend(found);
                        while rows.len() > WINDOW {
                            rows.pop_front();
                        }
                        fresh = true;
                    }
                }
            }
        }
    })
}

/// Chart and map of what came, and the newest rows first.
fn drawn(rows: &[Row]) -> Markup {
    let chart = charts::series(rows).and_then(|series| charts::lines(&series));
    let map = charts::map(&charts::places(rows));
    let newest: Vec<Row> = rows.iter().rev().cloned().collect();
    html! { (figures(chart, map)) (rows_table(&newest)) }
}
