//! The self-assessment as a page and as a table for tenders.

use governance::mims::Met;
use maud::{DOCTYPE, Markup, html};
use serde_json::Value;

use super::super::output::{short_time, text};
use super::{LEGEND, answer, counts, mechanisms, met, rows, who};
use crate::shown;

/// Prints on paper as it is: a browser makes the PDF. On a narrow screen each row is a card. On paper the whole hashes stand
/// below their rows, where a browser can show what is folded.
const STYLE: &str = "*{box-sizing:border-box}body{font:15px/1.45 system-ui,sans-serif;margin:0 auto;padding:1.5em;max-width:90em;color:#222}\
h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}table{border-collapse:collapse;width:100%}\
th,td{border:1px solid #bbb;padding:.35em .5em;text-align:left;vertical-align:top;overflow-wrap:break-word}td.evidence{overflow-wrap:anywhere}\
td.met{font-weight:600}.meets{background:#dff2df}.equivalent{background:#e8f0d8}.able,.attested{background:#fdf3d0}.not{background:#f8dcdc}\
.unknown{background:#eee}dl{margin:0}dt{color:#555}dd{margin:0 0 .2em 1em}ul{margin:0;padding-left:1.1em}\
p{margin:.4em 0}code{font-size:.85em}.legend{margin-bottom:1.5em;font-size:.9em}.legend dt{color:#222;font-weight:600}\
@media screen and (max-width:50em){body{padding:.7em}thead{display:none}table,tbody,tr,td{display:block;width:100%}\
tr{margin-bottom:1em;border:1px solid #888}td{border:0;border-bottom:1px solid #ddd}td:empty{display:none}\
td::before{content:attr(data-label);display:block;font-weight:400;font-size:.8em;color:#666}}\
@media print{body{padding:0;max-width:none;font-size:9pt}tr{break-inside:avoid}h2{break-after:avoid}thead{display:table-header-group}\
details>summary{list-style:none}details::details-content{content-visibility:visible;block-size:auto}\
@page{size:A4 landscape;margin:12mm}}";

/// How a value looks.
const fn class(met: Met) -> &'static str {
    match met {
        Met::Meets => "met meets",
        Met::Equivalent => "met equivalent",
        Met::Able => "met able",
        Met::Attested => "met attested",
        Met::Not => "met not",
        Met::NotAssessed | Met::Unreachable => "met unknown",
    }
}

/// What a check found, as people read it: no form of machines.
fn evidence(found: &Value) -> Markup {
    html! {
        @match found {
            Value::Null => { "none" }
            Value::Bool(yes) => { @if *yes { "yes" } @else { "no" } }
            Value::Number(number) => { (number) }
            Value::String(said) => { (said) }
            Value::Array(all) if all.is_empty() => { "none" }
            Value::Array(all) => { ul { @for one in all { li { (evidence(one)) } } } }
            Value::Object(all) => { dl { @for (name, one) in all.iter().filter(|(_, one)| !one.is_null()) { dt { (name) } dd { (evidence(one)) } } } }
        }
    }
}

/// When a report or an attestation was made, to the second.
fn at(made: &Value) -> String {
    let at = text(made, "at");
    at.parse().map(short_time).unwrap_or(at)
}

fn attested(row: &Value) -> Markup {
    html! {
        @if let Some(attested) = row.get("attested").filter(|one| !one.is_null()) {
            p {
                (who(attested)) ", " (at(attested)) ": " (text(attested, "statement"))
                @if !text(attested, "problem").is_empty() { " (" (text(attested, "problem")) ")" }
            }
        }
    }
}

fn requirement(row: &Value) -> Markup {
    html! {
        tr {
            td data-label="id" { (text(row, "id")) }
            td data-label="how strongly" { (text(row, "keyword")) }
            td data-label="requirement" { (text(row, "requirement")) }
            td data-label="mechanism here" { (text(row, "mechanism")) }
            td class=(class(met(row))) data-label="met" { (answer(row)) }
            td data-label="level" { (text(row, "level")) }
            td.evidence data-label="evidence" {
                @if !text(row, "exercised").is_empty() { p { "Seen in " (text(row, "exercised")) ":" } }
                (evidence(row.get("evidence").unwrap_or(&Value::Null)))
                (attested(row))
                details { summary { "SHA-256 of the evidence" } code { (text(row, "sha256")) } }
            }
            td data-label="how to close it" { (text(row, "gap")) }
        }
    }
}

/// The report as one page without anything from elsewhere.
pub(super) fn html(found: &Value) -> String {
    let all = rows(found);
    let parts = mechanisms(found);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "MIM self-assessment of " (text(found, "organisation")) }
                style { (maud::PreEscaped(STYLE)) }
            }
            body {
                h1 { "MIM self-assessment: " (text(found, "organisation")) }
                p { (text(found, "node")) ", " (at(found)) ", " (text(found, "product")) }
                p { (text(found, "note")) "." }
                dl.legend { @for (value, says) in LEGEND { dt { (value) } dd { (says) } } }
                table {
                    thead { tr { th { "mechanism" } th { "edition" } th { "level" } th { "requirements" } } }
                    tbody {
                        @for part in &parts {
                            tr {
                                td data-label="mechanism" { (text(part, "mim")) }
                                td data-label="edition" { (text(part, "edition")) }
                                td data-label="level" { (text(part, "level")) }
                                td data-label="requirements" { (counts(part)) }
                            }
                        }
                    }
                }
                @for part in &parts {
                    h2 { (text(part, "mim")) ", " (text(part, "edition")) ": " (text(part, "level")) }
                    table {
                        thead { tr { th { "id" } th { "how strongly" } th { "requirement" } th { "mechanism here" } th { "met" } th { "level" } th { "evidence" } th { "how to close it" } } }
                        tbody {
                            @for row in all.iter().filter(|row| ["edition", "mim"].iter().all(|name| text(row, name) == text(part, name))) {
                                (requirement(row))
                            }
                        }
                    }
                }
            }
        }
    };
    page.into_string()
}

/// One row for each requirement, as procurement tables ask. Only what was seen to work is a yes.
pub(super) fn tender(found: &Value) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "edition",
        "mechanism",
        "id",
        "keyword",
        "requirement",
        "answer",
        "level",
        "how it is met",
        "seen in",
        "evidence (sha-256)",
        "remarks",
    ])?;
    for row in rows(found) {
        let answer = match met(&row) {
            Met::Meets => "yes".to_owned(),
            Met::Equivalent => "yes, in an equivalent way".to_owned(),
            Met::Not => "no".to_owned(),
            Met::Able | Met::Attested | Met::NotAssessed | Met::Unreachable => answer(&row),
        };
        let attested = row.get("attested").filter(|one| !one.is_null());
        let attested = attested.map(|one| {
            let problem = text(one, "problem");
            let problem = if problem.is_empty() { problem } else { format!(" ({problem})") };
            format!("{}: {}{problem}", who(one), text(one, "statement"))
        });
        let remarks = [attested.unwrap_or_default(), text(&row, "gap")];
        let remarks = remarks.iter().filter(|one| !one.is_empty()).cloned().collect::<Vec<_>>().join("; ");
        let cells = [
            text(&row, "edition"),
            text(&row, "mim"),
            text(&row, "id"),
            text(&row, "keyword"),
            text(&row, "requirement"),
            answer,
            text(&row, "level"),
            text(&row, "mechanism"),
            text(&row, "exercised"),
            text(&row, "sha256"),
            remarks,
        ];
        writer.write_record(cells.iter().map(|text| shown::cell(text).into_owned()))?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}
