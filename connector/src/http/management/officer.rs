//! The data officer's page: consents and withdrawals, what is shared with whom, requests and deadlines, deletions, accesses.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Form, State};
use axum::middleware::map_response;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode, header};
use maud::html;
use serde::Deserialize;
use serde_json::Value;

use super::{Management, Scope, Shared};
use crate::engine::EngineError;
use crate::http::pages::{STYLE, about_persons, cell, consents, requests, secure, shares, table};
use crate::http::sessions::hand_over;

/// The session's cookie.
const COOKIE: &str = "concordat-officer";
/// Most lines of a table of the page; the command line shows all.
const SHOWN: usize = 500;
const STYLE_AT: &str = "/officer/style.css";

pub(super) fn routes() -> Router<Arc<Management>> {
    Router::new()
        .route("/officer", get(page))
        .route("/officer/login", get(login).post(enter))
        .route(STYLE_AT, get(async || ([(header::CONTENT_TYPE, "text/css")], STYLE)))
        .layer(map_response(secure))
}

#[derive(Deserialize)]
struct Key {
    key: String,
}

fn login_page(problem: Option<&str>) -> Response {
    let body = html! {
        form method="post" action="/officer/login" {
            label { "An admin key of this node " input type="password" name="key" autocomplete="current-password" required; }
            " " button type="submit" { "Show" }
        }
        @if let Some(problem) = problem { p.problem { (problem) } }
    };
    about_persons("Data about persons", STYLE_AT, &body).into_response()
}

async fn login() -> Response {
    login_page(None)
}

async fn enter(State(management): Shared, Form(posted): Form<Key>) -> Response {
    let Some(holder) = management.holder_of(posted.key.trim(), Scope::Admin) else {
        return (StatusCode::UNAUTHORIZED, login_page(Some("this is no admin key of this node")))
            .into_response();
    };
    let Ok(token) = management.officers.begin(holder) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut response = Redirect::to("/officer").into_response();
    hand_over(&mut response, COOKIE, &token, "/officer");
    response
}

async fn page(State(management): Shared, headers: HeaderMap) -> Response {
    if management.seated(&management.officers, COOKIE, &headers, Scope::Admin).is_none() {
        return Redirect::to("/officer/login").into_response();
    }
    match body(&management) {
        Ok(body) => {
            let title = format!("Data about persons at {}", management.faces.engine.name());
            about_persons(&title, STYLE_AT, &body).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "the data officer's page cannot be made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn body(management: &Management) -> Result<maud::Markup, EngineError> {
    let engine = &management.faces.engine;
    let text = |one: &Value, name: &str| one.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let deletions: Vec<_> = engine
        .deletions(None, None, SHOWN)?
        .items
        .iter()
        .map(|one| {
            let who = if one.get("ours") == Some(&Value::Bool(true)) { "this node" } else { "the consumer" };
            vec![
                cell(text(one, "notice")),
                cell(who),
                cell(text(one, "due")),
                cell(text(one, "confirmed")),
                cell(text(one, "agreement")),
            ]
        })
        .collect();
    let accesses: Vec<_> = engine
        .accesses(None, None, None, SHOWN)?
        .items
        .iter()
        .map(|one| {
            let outcome = one.outcome.as_ref().map(|outcome| outcome.response.clone()).unwrap_or_default();
            vec![
                cell(one.at.to_string()),
                cell(&one.operator),
                cell(&one.service),
                cell(&one.agreement),
                cell(outcome),
            ]
        })
        .collect();
    Ok(html! {
        (requests(&engine.subject_requests()?))
        (shares(&engine.shares()?))
        (consents(&engine.consents(None)?))
        (table("Deletions", &["notice", "who deletes", "due", "confirmed", "agreement"], &deletions))
        (table("Accesses through operators", &["at", "operator", "service", "agreement", "outcome"], &accesses))
    })
}
