//! The self-assessment as a page and as a table for tenders.

use maud::{DOCTYPE, html};
use serde_json::Value;

use super::super::output::text;
use super::{met, rows};
use crate::shown;

/// Prints on paper as it is: a browser makes the PDF.
const STYLE: &str = "body{font:14px/1.4 sans-serif;margin:2em;color:#222}h1{font-size:1.5em}h2{font-size:1.1em;margin-top:2em}\
table{border-collapse:collapse;width:100%}th,td{border:1px solid #bbb;padding:.3em .5em;text-align:left;vertical-align:top}\
td.M{background:#dff2df}td.E{background:#e8f0d8}td.N{background:#f8dcdc}code{font-size:.8em;word-break:break-all;white-space:pre-wrap}\
@media print{body{margin:0;font-size:9pt}tr{break-inside:avoid}h2{break-after:avoid}@page{size:A4 landscape;margin:12mm}}";

/// The report as one page without anything from elsewhere.
pub(super) fn html(found: &Value) -> String {
    let all = rows(found);
    let mut parts: Vec<(String, String)> =
        all.iter().map(|row| (text(row, "edition"), text(row, "mim"))).collect();
    parts.dedup();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { "MIM self-assessment of " (text(found, "organisation")) }
                style { (maud::PreEscaped(STYLE)) }
            }
            body {
                h1 { "MIM self-assessment: " (text(found, "organisation")) }
                p { (text(found, "node")) ", " (text(found, "at")) ", " (text(found, "product")) }
                p { "M meets, E equivalent, N does not meet, - not assessed. " (text(found, "note")) "." }
                @for (edition, mim) in &parts {
                    h2 { (mim) ", " (edition) }
                    table {
                        thead { tr { th { "id" } th { "keyword" } th { "requirement" } th { "mechanism here" } th { "" } th { "evidence" } th { "how to close it" } } }
                        tbody {
                            @for row in all.iter().filter(|row| text(row, "edition") == *edition && text(row, "mim") == *mim) {
                                tr {
                                    td { (text(row, "id")) }
                                    td { (text(row, "keyword")) }
                                    td { (text(row, "requirement")) }
                                    td { (text(row, "mechanism")) }
                                    td class=(met(row)) { (met(row)) }
                                    td {
                                        code { (text(row, "evidence")) }
                                        br;
                                        small { "sha-256 " (text(row, "sha256").get(..16).unwrap_or_default()) "…" }
                                        @if let Some(attested) = row.get("attested").filter(|one| !one.is_null()) {
                                            p { (text(attested, "role")) ", " (text(attested, "at")) ": " (text(attested, "statement")) }
                                        }
                                    }
                                    td { (text(row, "gap")) }
                                }
                            }
                        }
                    }
                }
            }
        }
    };
    page.into_string()
}

/// One row for each requirement, as procurement tables ask.
pub(super) fn tender(found: &Value) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "edition",
        "mechanism",
        "id",
        "keyword",
        "requirement",
        "answer",
        "how it is met",
        "evidence (sha-256)",
        "remarks",
    ])?;
    for row in rows(found) {
        let answer = match met(&row).as_str() {
            "M" => "yes",
            "E" => "yes, in an equivalent way",
            "N" => "no",
            _ => "not assessed",
        };
        let attested = row.get("attested").filter(|one| !one.is_null());
        let attested =
            attested.map(|one| format!("attested by {}: {}", text(one, "role"), text(one, "statement")));
        let remarks = [attested.unwrap_or_default(), text(&row, "gap")];
        let remarks = remarks.iter().filter(|one| !one.is_empty()).cloned().collect::<Vec<_>>().join("; ");
        let cells = [
            text(&row, "edition"),
            text(&row, "mim"),
            text(&row, "id"),
            text(&row, "keyword"),
            text(&row, "requirement"),
            answer.to_owned(),
            text(&row, "mechanism"),
            text(&row, "sha256"),
            remarks,
        ];
        writer.write_record(cells.iter().map(|text| shown::cell(text).into_owned()))?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}
