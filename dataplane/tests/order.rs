//! Terms about the data that are said to lie within others leave no more: whatever leaves under the narrower follows from
//! what leaves under the wider, in random tables. `CONCORDAT_ORDER_CASES` says how many are tried (20,000 without it).
#![expect(clippy::unwrap_used, reason = "tests")]

use std::cell::Cell;
use std::sync::Arc;

use dataplane::rows::{Counted, Form, Pipe, Shape, pipe};
use dataplane::{Body, Obligations, PseudonymKey};
use http_body_util::{BodyExt as _, Full};
use policy_engine::{Containment, DATA_PREFIX, Hierarchy, Policy, transforms_of_each, within};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value as Json, json};

/// Rows of an hour, a place, and two numbers.
type Table = Vec<[u8; 4]>;
const COLUMNS: [&str; 4] = ["t", "place", "x", "y"];

fn csv(table: &Table) -> String {
    let rows =
        table.iter().map(|[t, place, x, y]| format!("2026-01-01T{:02}:30:00Z,p{place},{x},{y}\n", t % 4));
    format!("{}\n{}", COLUMNS.join(","), rows.collect::<String>())
}

fn c(left: &str, operator: &str, right: Json) -> Json {
    json!({"leftOperand": format!("{DATA_PREFIX}{left}"), "operator": operator, "rightOperand": right})
}

/// One thing done to the data.
fn refinement() -> impl Strategy<Value = Json> {
    let number = || select(vec!["x", "y"]);
    let column = || select(COLUMNS.to_vec());
    let typed = |n: u8| json!({"@value": n, "@type": "xsd:integer"});
    prop_oneof![
        prop::collection::vec(column(), 1..4).prop_map(|names| c("keep", "isAllOf", json!(names))),
        column().prop_map(|name| c("drop", "eq", json!(name))),
        (number(), select(vec![2, 3, 5, 6, 9, 10, 15])).prop_map(move |(name, step)| c(
            &format!("round:{name}"),
            "eq",
            typed(step)
        )),
        select(vec!["PT1H", "PT2H", "PT3H"]).prop_map(|step| c("round:t", "eq", json!(step))),
        (1..3_u8).prop_map(|length| c("shorten:place", "eq", json!(length.to_string()))),
        select(vec!["place", "x"]).prop_map(|name| c("pseudonymise", "eq", json!(name))),
        (number(), select(vec!["lt", "gteq", "eq", "neq"]), 0..20_u8).prop_map(move |(name, operator, n)| c(
            &format!("where:{name}"),
            operator,
            typed(n)
        )),
        (0..3_u8).prop_map(|place| c("where:place", "eq", json!(format!("p{place}")))),
    ]
}

/// Rows brought together.
fn groups() -> impl Strategy<Value = Vec<Json>> {
    let told = (select(vec!["mean", "sum", "min", "max"]), select(vec!["x", "y"]))
        .prop_map(|(summary, name)| c(summary, "eq", json!(name)));
    let by = select(vec!["place", "y"]).prop_map(|name| c("group", "eq", json!(name)));
    let interval = select(vec!["PT1H", "PT2H", "PT24H"]).prop_map(|long| c("aggregate:t", "eq", json!(long)));
    let least = (1..4_u8).prop_map(|rows| c("minimum-group", "eq", json!(rows.to_string())));
    (interval, least, prop::collection::vec(told, 0..3), prop::option::of(by))
        .prop_map(|(interval, least, told, by)| [interval, least].into_iter().chain(told).chain(by).collect())
}

fn terms() -> impl Strategy<Value = Vec<Json>> {
    (prop::collection::vec(refinement(), 0..3), prop::option::weighted(0.4, groups()))
        .prop_map(|(all, groups)| all.into_iter().chain(groups.into_iter().flatten()).collect())
}

fn policy(refinements: &[Json]) -> Policy {
    Policy::parse_odrl(&json!({"permission": [{"action": "use", "refinement": refinements}]})).unwrap()
}

/// What leaves of a table under the terms; `None` where it cannot be carried out.
fn left(policy: &Policy, table: &Table) -> Option<Vec<String>> {
    let transforms = transforms_of_each(policy).remove(0);
    let stage = Obligations::new(transforms, PseudonymKey::new(vec![7; 32])).stage(Form::Csv).ok()?;
    let laid = Pipe { from: Shape::plain(Form::Csv), to: Form::Csv, stage: Some(stage) };
    let body: Body = Full::new(csv(table).into()).map_err(|never| match never {}).boxed_unsync();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let bytes = runtime.block_on(async move {
        pipe(body, laid, Arc::new(Counted::default()))
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes)
            .ok()
    })?;
    Some(String::from_utf8(bytes.to_vec()).unwrap().lines().map(str::to_owned).collect())
}

#[test]
fn what_leaves_under_the_narrower_follows_from_what_leaves_under_the_wider() {
    let cases = std::env::var("CONCORDAT_ORDER_CASES").map_or(20_000, |text| text.parse().unwrap());
    let (said, held) = (Cell::new(0_u64), Cell::new(0_u64));
    let config =
        Config { cases, failure_persistence: None, max_global_rejects: 1_000_000, ..Config::default() };
    let row = || prop::array::uniform4(0..20_u8);
    let changed = prop::collection::vec((any::<prop::sample::Index>(), 0..4_usize, 0..20_u8), 1..3);
    let tables = (prop::collection::vec(row(), 1..7), changed).prop_map(|(table, changes)| {
        let table: Table = table.into_iter().map(|[t, place, x, y]| [t % 4, place % 3, x, y]).collect();
        let mut other = table.clone();
        for (at, column, value) in changes {
            let row = at.index(other.len());
            other[row][column] = match column {
                0 => value % 4,
                1 => value % 3,
                _ => value,
            };
        }
        (table, other)
    });
    let known = Hierarchy::default();
    // The narrower is what the wider is and more, or something of its own.
    let narrower = (terms(), prop::collection::vec(refinement(), 0..2), any::<bool>());
    let result = TestRunner::new(config).run(
        &(terms(), narrower, tables),
        |(wide, (own, more, anew), (one, other))| {
            let narrow: Vec<Json> = if anew { own } else { wide.iter().cloned().chain(more).collect() };
            let (a, b) = (policy(&narrow), policy(&wide));
            if within(&a, &b, &known) != Containment::Within {
                return Ok(());
            }
            said.set(said.get() + 1);
            let (Some(wide_one), Some(wide_other)) = (left(&b, &one), left(&b, &other)) else {
                return Ok(());
            };
            if wide_one != wide_other {
                return Ok(());
            }
            let (narrow_one, narrow_other) = (left(&a, &one), left(&a, &other));
            prop_assert_eq!(narrow_one, narrow_other, "{:?}\n{:?}", one, other);
            held.set(held.get() + 1);
            Ok(())
        },
    );
    if let Err(failure) = result {
        panic!("{failure}");
    }
    assert!(said.get() > u64::from(cases) / 50, "too few were said to be within: {}", said.get());
    assert!(held.get() > u64::from(cases) / 500, "too few tables looked the same: {}", held.get());
}
