//! Nothing that is hidden leaves, in whatever table, nested JSON or form; and no group is told that is too small.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dataplane::rows::{Counted, Form, Pipe, RowError, Shape, Surveyor, View, Viewer, pipe};
use dataplane::{Body, Obligations, OfPersons, Permitted, Persons, PseudonymKey};
use http_body_util::{BodyExt as _, Full};
use jiff::SignedDuration;
use policy_engine::{Summary, Transform};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value as Json, json};

/// What may not leave.
const SECRET: &str = "SECRET";

/// Who permits what: by subject the attributes that are left out.
#[derive(Debug, Default)]
struct Ledger(BTreeMap<String, Vec<&'static str>>);

impl Persons for Ledger {
    fn permits(&self, subject: &str) -> Option<Permitted> {
        let hidden = self.0.get(subject)?;
        let mut person = [0; 16];
        subject.bytes().zip(&mut person).for_each(|(byte, to)| *to = byte);
        Some(Permitted { person, hidden: hidden.iter().map(|name| Arc::from(*name)).collect() })
    }

    fn permitted_elsewhere(&self, subject: &str) -> Option<Permitted> {
        self.permits(subject)
    }

    fn handed_on(&self, _: &Permitted) {}
}

fn body(bytes: Vec<u8>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Everything that comes, and whether it ended well.
fn taken(mut body: Body) -> (Vec<u8>, Result<(), String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async move {
        let mut all = Vec::new();
        loop {
            match body.frame().await {
                None => return (all, Ok(())),
                Some(Err(error)) => return (all, Err(format!("{error} {error:?}"))),
                Some(Ok(frame)) => all.extend_from_slice(frame.data_ref().unwrap()),
            }
        }
    })
}

/// A view, and what it shows.
type Shown = (String, Vec<u8>);
/// Who, at which hour, pay and distance.
type Trip = (&'static str, u8, Option<u8>, Option<u8>);

/// What a consumer can get: as the provider gives it, and in each view that its gateway makes of it. The second is whether the
/// provider gave it to the end.
fn every_view(obligations: &Obligations, form: Form, data: &[u8]) -> (Vec<Shown>, Result<(), String>) {
    let stage = obligations.stage(form).unwrap();
    let laid = Pipe { from: Shape::plain(form), to: form, stage: Some(stage) };
    let (given, outcome) = taken(pipe(body(data.to_vec()), laid, Arc::new(Counted::default())));
    let mut all = vec![("as given".to_owned(), given.clone())];
    for view in View::ALL {
        for shape in [Shape::plain(form), Shape::plain(form).as_text()] {
            let mut shown = Vec::new();
            // What cannot be shown says why, which is looked at as well.
            if let Err(error) = show(shape, view, &given, &mut shown) {
                shown.extend_from_slice(error.0.as_bytes());
            }
            all.push((format!("{view:?}"), shown));
        }
    }
    (all, outcome)
}

fn show(shape: Shape, view: View, data: &[u8], out: &mut Vec<u8>) -> Result<(), RowError> {
    let mut surveyor = Surveyor::new(shape, None);
    surveyor.push(data)?;
    let survey = surveyor.finish()?;
    let mut viewer = Viewer::new(&survey, view, None)?;
    viewer.push(data, out, &mut |_| Ok(()))?;
    viewer.finish(out, &mut |_| Ok(())).map(|_| ())
}

fn has_secret(bytes: &[u8]) -> bool {
    bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes())
}

/// As the data plane compares names that may be the same.
fn folded(name: &str) -> String {
    let seen = name.chars().filter(|one| !one.is_whitespace() && *one != '\u{FEFF}' && *one != '\u{200B}');
    seen.collect::<String>().to_lowercase()
}

/// Whether a place that is called so is hidden.
fn is_hidden(path: &str, hidden: &[&str]) -> bool {
    hidden.iter().any(|name| {
        let (path, name) = (folded(path), folded(name));
        path == name || path.strip_prefix(&name).is_some_and(|rest| rest.starts_with('.'))
    })
}

const HIDDEN: [&str; 4] = ["name", "pay", "riders.name", "riders"];

/// Names that are hidden, by dropping or by a pseudonym.
fn terms() -> impl Strategy<Value = (Vec<&'static str>, Vec<Transform>)> {
    prop::collection::vec((select(HIDDEN.to_vec()), any::<bool>()), 1..4).prop_map(|all| {
        let of = |name: &str| vec![name.to_owned()];
        let transforms = all.iter().map(|(name, drops)| match drops {
            true => Transform::Drop(of(name)),
            false => Transform::Pseudonymise(of(name)),
        });
        (all.iter().map(|(name, _)| *name).collect(), transforms.collect())
    })
}

/// A cell as CSV has it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// JSON of which the leaves are still to be filled in.
fn nested() -> impl Strategy<Value = Json> {
    let names = || {
        select(vec![
            "name",
            "riders",
            "riders.name",
            "pay",
            "km",
            "Name",
            " pay",
            "na\u{200B}me",
            "value",
            "object",
            "a",
        ])
    };
    let leaf = prop_oneof![4 => Just(json!("text")), 1 => Just(json!(1.5)), 1 => Just(Json::Null)];
    let inner = leaf.prop_recursive(4, 24, 4, move |inner| {
        let object = prop::collection::vec((names(), inner.clone()), 0..4);
        let attribute = inner.clone().prop_map(|value| json!({"type": "Property", "value": value}));
        prop_oneof![
            3 => object.prop_map(|all| Json::Object(all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())),
            1 => prop::collection::vec(inner, 0..3).prop_map(Json::Array),
            1 => attribute,
        ]
    });
    prop::collection::vec((names(), inner), 1..5)
        .prop_map(|all| Json::Object(all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
}

/// Fills leaves in: secrets where `secret` says so of the path, which lists do not lengthen.
fn filled(value: &Json, path: &str, secret: &dyn Fn(&str) -> bool) -> Json {
    match value {
        Json::Object(map) => {
            let members = map.iter().map(|(key, value)| {
                if key == "type" && value == "Property" {
                    return (key.clone(), value.clone());
                }
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                (key.clone(), filled(value, &path, secret))
            });
            Json::Object(members.collect())
        }
        Json::Array(all) => all.iter().map(|one| filled(one, path, secret)).collect(),
        Json::String(_) if secret(path) => json!(SECRET),
        Json::Number(_) if secret(path) => json!(SECRET),
        other => other.clone(),
    }
}

/// Rows of JSON, in a form.
fn written(rows: &[Json], form: Form) -> Vec<u8> {
    let text = match form {
        Form::JsonLines => rows.iter().map(|row| format!("{row}\n")).collect(),
        Form::GeoJson => {
            let features: Vec<_> = rows
                .iter()
                .map(|row| json!({"type": "Feature", "properties": row, "geometry": {"type": "Point", "coordinates": [1, 2]}}))
                .collect();
            json!({"type": "FeatureCollection", "features": features}).to_string()
        }
        _ => json!(rows).to_string(),
    };
    text.into_bytes()
}

fn json_form() -> impl Strategy<Value = Form> {
    select(vec![Form::Json, Form::JsonLines, Form::GeoJson])
}

fn persons() -> impl Strategy<Value = BTreeMap<String, Vec<&'static str>>> {
    let hidden = prop::collection::vec(select(vec!["pay", "km"]), 0..3);
    prop::collection::btree_map(
        select(vec!["a", "b", "c", "d", "e", "007"]).prop_map(str::to_owned),
        hidden,
        0..6,
    )
}

fn about(ledger: BTreeMap<String, Vec<&'static str>>) -> OfPersons {
    let attributes = Arc::from([Arc::from("pay"), Arc::from("km")]);
    OfPersons { subject: Arc::from("who"), attributes, persons: Arc::new(Ledger(ledger)), releases: None }
}

/// A group as it was told: the interval, the number of rows, mean of pay, largest km.
type Told = (String, String, bool, bool);

fn told(view: View, bytes: &[u8]) -> Vec<Told> {
    let text = std::str::from_utf8(bytes).unwrap();
    if view == View::Csv {
        let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(lines.next().unwrap_or_default(), ["at", "pay.mean", "km.max", "rows"]);
        let of = |cells: Vec<String>| {
            (cells[0].clone(), cells[3].clone(), !cells[1].is_empty(), !cells[2].is_empty())
        };
        return lines.map(of).collect();
    }
    let of = |row: Json| {
        let said = |name: &str| row.get(name).is_some_and(|value| !value.is_null() && value != "");
        (row["at"].as_str().unwrap().to_owned(), row["rows"].to_string(), said("pay.mean"), said("km.max"))
    };
    text.lines().map(|line| of(serde_json::from_str(line).unwrap())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Columns that stand twice, have no name, or only look like another; rows that are too short or too long.
    #[test]
    fn nothing_hidden_leaves_a_table(
        header in prop::collection::vec(
            select(vec!["name", "pay", "riders.name", "km", "", "Name", " pay ", "na\u{200B}me", "\u{FEFF}name"]), 1..7),
        rows in prop::collection::vec(0..8_usize, 0..6),
        (hidden, transforms) in terms(),
        separator in select(vec![',', ';', '\t']),
        mark in any::<bool>(),
    ) {
        let line = |cells: Vec<String>| format!("{}\n", cells.join(&separator.to_string()));
        let mut table = if mark { "\u{FEFF}".to_owned() } else { String::new() };
        table.push_str(&line(header.iter().map(|name| quoted(name)).collect()));
        for width in rows {
            let cells = (0..width).map(|at| match header.get(at) {
                Some(name) if is_hidden(name, &hidden) => quoted(SECRET),
                Some(_) => "open".to_owned(),
                // A cell without a column may be anybody's.
                None => quoted(SECRET),
            });
            table.push_str(&line(cells.collect()));
        }
        let obligations = Obligations::new(transforms, PseudonymKey::new(vec![7; 32]));
        for (view, bytes) in every_view(&obligations, Form::Csv, table.as_bytes()).0 {
            prop_assert!(!has_secret(&bytes), "{view}: {table}");
        }
    }

    #[test]
    fn nothing_hidden_leaves_nested_json(rows in prop::collection::vec(nested(), 1..4), (hidden, transforms) in terms(), form in json_form()) {
        let rows: Vec<_> = rows.iter().map(|row| filled(row, "", &|path| is_hidden(path, &hidden))).collect();
        let data = written(&rows, form);
        let obligations = Obligations::new(transforms, PseudonymKey::new(vec![7; 32]));
        for (view, bytes) in every_view(&obligations, form, &data).0 {
            prop_assert!(!has_secret(&bytes), "{view}: {}", String::from_utf8_lossy(&data));
        }
    }

    #[test]
    fn nothing_leaves_beside_what_is_kept(rows in prop::collection::vec(nested(), 1..4), kept in prop::collection::vec(select(HIDDEN.to_vec()), 1..3), form in json_form()) {
        let under = |path: &str| {
            kept.iter().any(|name| path == *name || path.strip_prefix(*name).is_some_and(|rest| rest.starts_with('.')))
        };
        // The value of an attribute belongs to it.
        let plain = |path: &str| path.split('.').filter(|part| !["value", "object"].contains(part)).collect::<Vec<_>>().join(".");
        let is_kept = |path: &str| under(path) || under(&plain(path));
        let rows: Vec<_> = rows.iter().map(|row| filled(row, "", &|path| !is_kept(path))).collect();
        let data = written(&rows, form);
        // A feature without its place is none.
        let keep = Transform::Keep(kept.iter().chain(&["geometry"]).map(|name| (*name).to_owned()).collect());
        let obligations = Obligations::new(vec![keep], PseudonymKey::default());
        let (views, outcome) = every_view(&obligations, form, &data);
        // One column `value` may be a value without a name.
        let is_refused = outcome.as_ref().is_err_and(|why| why.contains("no objects with names"));
        prop_assert!(outcome.is_ok() || is_refused, "{outcome:?}");
        for (view, bytes) in views {
            prop_assert!(!has_secret(&bytes), "{view}: {}", String::from_utf8_lossy(&data));
        }
    }

    #[test]
    fn nothing_leaves_that_a_person_does_not_permit(
        rows in prop::collection::vec((select(vec!["a", "b", "c", "x", "7", "007"]), any::<bool>(), any::<bool>()), 0..12),
        ledger in persons(),
        form in select(vec![Form::Csv, Form::Json, Form::JsonLines, Form::GeoJson]),
        nests in any::<bool>(),
    ) {
        let cell = |who: &str, name: &str| match ledger.get(who) {
            Some(hidden) if !hidden.contains(&name) => "open",
            _ => SECRET,
        };
        let data = if form == Form::Csv {
            let lines = rows.iter().map(|(who, ..)| format!("{who},{},{}\n", cell(who, "pay"), cell(who, "km")));
            format!("who,pay,km\n{}", lines.collect::<String>()).into_bytes()
        } else {
            let rows: Vec<_> = rows.iter().map(|(who, pays, drives)| {
                let mut row = json!({"who": who});
                for (name, _) in [("pay", pays), ("km", drives)].into_iter().filter(|(_, has)| **has) {
                    row[name] = if nests { json!([{"type": "Property", "value": cell(who, name)}]) } else { json!(cell(who, name)) };
                }
                row
            }).collect();
            written(&rows, form)
        };
        let obligations = Obligations::default().with_persons(about(ledger.clone()));
        let (views, outcome) = every_view(&obligations, form, &data);
        prop_assert!(outcome.is_ok(), "{outcome:?}");
        for (view, bytes) in views {
            prop_assert!(!has_secret(&bytes), "{view}: {}", String::from_utf8_lossy(&data));
        }
    }

    /// Held against a count of the persons who permit the row, and the value.
    #[test]
    fn no_group_and_no_value_rests_on_too_few(
        rows in prop::collection::vec((select(vec!["a", "b", "c", "d", "e", "x"]), 0..2_u8, prop::option::of(0..9_u8), prop::option::of(0..9_u8)), 0..24),
        ledger in persons(),
        minimum in 1..4_u64,
        form in select(vec![Form::Csv, Form::JsonLines]),
        with_persons in any::<bool>(),
    ) {
        let number = |value: &Option<u8>| value.map(|value| value.to_string()).unwrap_or_default();
        let at = |hour: u8| format!("2026-01-01T0{hour}:00:00Z");
        let data = match form {
            Form::Csv => {
                let lines = rows.iter().map(|(who, hour, pay, km)| format!("{who},{},{},{}\n", at(*hour), number(pay), number(km)));
                format!("who,at,pay,km\n{}", lines.collect::<String>())
            }
            _ => rows.iter().map(|(who, hour, pay, km)| format!("{}\n", json!({"who": who, "at": at(*hour), "pay": pay, "km": km}))).collect(),
        };
        let obligations = Obligations::new(
            vec![
                Transform::Aggregate { time: "at".into(), interval: SignedDuration::from_hours(1) },
                Transform::Tell(Summary::Mean, vec!["pay".into()]),
                Transform::Tell(Summary::Max, vec!["km".into()]),
                Transform::MinimumGroup(minimum),
            ],
            PseudonymKey::default(),
        );
        let obligations = if with_persons { obligations.with_persons(about(ledger.clone())) } else { obligations };
        let enough = |hour: &str, of: &dyn Fn(&Trip) -> bool, name: &str| {
            let permitted = |who: &str| !with_persons || ledger.get(who).is_some_and(|hidden| !hidden.contains(&name));
            let found = rows.iter().enumerate().filter(|(_, row)| at(row.1) == hour && permitted(row.0) && of(row));
            let counted = if with_persons {
                found.map(|(_, row)| row.0.to_owned()).collect::<BTreeSet<_>>().len()
            } else {
                found.count()
            };
            u64::try_from(counted).unwrap() >= minimum
        };
        let (views, outcome) = every_view(&obligations, form, data.as_bytes());
        prop_assert!(outcome.is_ok(), "{outcome:?}");
        let hours: Vec<_> = [0, 1].map(at).into_iter().filter(|hour| enough(hour, &|_| true, "")).collect();
        for (view, bytes) in views.iter().filter(|(view, _)| view == "Csv" || view == "JsonLines") {
            let view = if view == "Csv" { View::Csv } else { View::JsonLines };
            if bytes.is_empty() {
                prop_assert!(hours.is_empty());
                continue;
            }
            let told = told(view, bytes);
            prop_assert_eq!(told.iter().map(|(hour, ..)| hour.clone()).collect::<Vec<_>>(), hours.clone(), "{}", &data);
            for (hour, _, pay, km) in told {
                prop_assert_eq!(pay, enough(&hour, &|row| row.2.is_some(), "pay"), "{}", &data);
                prop_assert_eq!(km, enough(&hour, &|row| row.3.is_some(), "km"), "{}", &data);
            }
        }
    }
}

#[test]
fn what_may_leave_does() {
    let obligations =
        Obligations::new(vec![Transform::Drop(vec!["riders.name".into()])], PseudonymKey::default());
    let data = br#"[{"riders":[{"name":"SECRET","km":5}],"station":"Dock"}]"#;
    let (views, outcome) = every_view(&obligations, Form::Json, data);
    assert_eq!(outcome, Ok(()));
    for (view, bytes) in views.iter().filter(|(view, _)| view != "GeoJson") {
        assert!(bytes.windows(4).any(|window| window == b"Dock"), "{view}");
    }
}
