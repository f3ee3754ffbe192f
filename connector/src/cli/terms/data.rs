//! What terms demand of the data itself, as options.

use clap::Args;
use policy_engine::DATA_PREFIX;
use serde_json::{Value, json};

/// What the node does to the data on the way; the guide tells what each means.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(in crate::cli) struct OnTheWay {
    /// Terms: only these columns or attributes are handed on.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub keep: Vec<String>,
    /// Terms: these columns or attributes are left out.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub leave_out: Vec<String>,
    /// Terms: only rows that fit are handed on, such as `no2 >= 10` or `at >= 2026-01-01T00:00:00Z`; may be repeated.
    #[arg(long = "rows", value_name = "COLUMN OP VALUE", value_parser = comparison)]
    pub rows: Vec<Comparison>,
    /// Terms: only rows in a rectangle are handed on: `WEST,SOUTH,EAST,NORTH`, with `LATITUDE:LONGITUDE=` before it where two
    /// columns say where a row is.
    #[arg(long, value_name = "RECTANGLE", value_parser = rectangle)]
    pub rows_within: Option<Rectangle>,
    /// Terms: numbers are rounded to multiples (`no2=5`), times cut to intervals (`at=PT1H`); may be repeated.
    #[arg(long, value_name = "COLUMN=STEP", value_parser = pair)]
    pub round: Vec<(String, String)>,
    /// Terms: only so many characters are left (`postcode=3`); may be repeated.
    #[arg(long, value_name = "COLUMN=COUNT", value_parser = pair)]
    pub shorten: Vec<(String, String)>,
    /// Terms: a hash with a key of the agreement takes the place of these values.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub pseudonymise: Vec<String>,
    /// Terms: rows are brought together by interval of a column with times (`at=PT1H`).
    #[arg(long, value_name = "COLUMN=PERIOD", value_parser = pair)]
    pub aggregate: Option<(String, String)>,
    /// Terms: and by these columns.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', requires = "aggregate")]
    pub group_by: Vec<String>,
    /// Terms: what is told of the groups beside their size, such as `mean:no2`; may be repeated.
    #[arg(long, value_name = "mean|sum|min|max:COLUMN", value_parser = summary, requires = "aggregate")]
    pub tell: Vec<(String, String)>,
    /// Terms: groups of fewer rows are left out; 5 where nothing is said.
    #[arg(long, value_name = "ROWS", requires = "aggregate")]
    pub minimum_group: Option<u64>,
}

/// A comparison of a column with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Comparison {
    column: String,
    operator: &'static str,
    value: String,
}

/// West, south, east, north, and the columns that say where a row is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Rectangle {
    columns: Option<String>,
    sides: [String; 4],
}

fn comparison(text: &str) -> Result<Comparison, String> {
    let operators = [(">=", "gteq"), ("<=", "lteq"), ("!=", "neq"), (">", "gt"), ("<", "lt"), ("=", "eq")];
    for (sign, operator) in operators {
        if let Some((column, value)) = text.split_once(sign) {
            let (column, value) = (column.trim().to_owned(), value.trim().to_owned());
            if !column.is_empty() && !value.is_empty() {
                return Ok(Comparison { column, operator, value });
            }
        }
    }
    Err(format!("`{text}` is not a column, one of >= <= != > < =, and a value"))
}

fn rectangle(text: &str) -> Result<Rectangle, String> {
    let (columns, sides) = match text.split_once('=') {
        Some((columns, sides)) => (Some(columns.to_owned()), sides),
        None => (None, text),
    };
    let wrong = || format!("`{text}` is not `[LATITUDE:LONGITUDE=]WEST,SOUTH,EAST,NORTH`");
    let numbers: Vec<_> = sides.split(',').map(|side| side.trim().to_owned()).collect();
    if numbers.iter().any(|side| side.parse::<f64>().is_err())
        || columns.as_ref().is_some_and(|columns| columns.split_once(':').is_none())
    {
        return Err(wrong());
    }
    Ok(Rectangle { columns, sides: numbers.try_into().map_err(|_| wrong())? })
}

fn pair(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty());
    let (name, value) =
        parts.ok_or_else(|| format!("`{text}` is not a column and a value such as `no2=5`"))?;
    Ok((name.to_owned(), value.to_owned()))
}

fn summary(text: &str) -> Result<(String, String), String> {
    let parts = text
        .split_once(':')
        .filter(|(word, column)| ["mean", "sum", "min", "max"].contains(word) && !column.is_empty());
    let (word, column) = parts.ok_or_else(|| format!("`{text}` is not such as `mean:no2`"))?;
    Ok((word.to_owned(), column.to_owned()))
}

impl OnTheWay {
    /// The refinements that say so.
    pub(super) fn refinements(&self) -> Vec<Value> {
        let demand = |left: String, operator: &str, right: Value| json!({"leftOperand": format!("{DATA_PREFIX}{left}"), "operator": operator, "rightOperand": right});
        let mut all = Vec::new();
        for (what, names) in [
            ("keep", &self.keep),
            ("drop", &self.leave_out),
            ("pseudonymise", &self.pseudonymise),
            ("group", &self.group_by),
        ] {
            if !names.is_empty() {
                all.push(demand(what.to_owned(), "eq", json!(names.join(","))));
            }
        }
        for Comparison { column, operator, value } in &self.rows {
            let is_instant = value.len() >= 10 && value.parse::<jiff::Timestamp>().is_ok();
            let typed = if is_instant {
                json!({"@value": value, "@type": "xsd:dateTime"})
            } else if value.parse::<f64>().is_ok() {
                json!({"@value": value, "@type": "xsd:decimal"})
            } else {
                json!(value)
            };
            all.push(demand(format!("where:{column}"), operator, typed));
        }
        if let Some(Rectangle { columns, sides: [west, south, east, north] }) = &self.rows_within {
            let area = json!({
                "@value": format!("ENVELOPE({west}, {east}, {north}, {south})"), "@type": "geo:wktLiteral",
            });
            let left =
                columns.as_ref().map_or_else(|| "place".to_owned(), |columns| format!("place:{columns}"));
            all.push(demand(left, "isPartOf", area));
        }
        for (what, pairs) in [("round", &self.round), ("shorten", &self.shorten)] {
            all.extend(
                pairs.iter().map(|(column, value)| demand(format!("{what}:{column}"), "eq", json!(value))),
            );
        }
        if let Some((column, period)) = &self.aggregate {
            all.push(demand(format!("aggregate:{column}"), "eq", json!(period)));
        }
        all.extend(self.tell.iter().map(|(word, column)| demand(word.clone(), "eq", json!(column))));
        if let Some(rows) = self.minimum_group {
            all.push(demand("minimum-group".to_owned(), "gteq", json!(rows.to_string())));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use policy_engine::{Policy, explain};

    use super::super::TermsOfUse;
    use super::*;

    #[test]
    fn options_become_refinements_that_are_told_in_words() {
        let on_the_way = OnTheWay {
            keep: vec!["at".to_owned(), "no2".to_owned()],
            rows: vec![comparison("at >= 2026-01-01T00:00:00Z").unwrap(), comparison("no2<100").unwrap()],
            rows_within: Some(rectangle("lat:lon=2.5,49.5,6.4,51.5").unwrap()),
            round: vec![pair("no2=5").unwrap()],
            aggregate: Some(pair("at=PT1H").unwrap()),
            tell: vec![summary("mean:no2").unwrap()],
            minimum_group: Some(7),
            ..OnTheWay::default()
        };
        let policy = Policy::parse(&TermsOfUse { on_the_way, ..TermsOfUse::default() }.policy()).unwrap();
        let words = explain::policy(&policy).join(" ");
        for told in [
            "only `at`, `no2` are handed on",
            "whose `no2` is below 100",
            "49.5°–51.5° N",
            "multiples of 5",
            "the mean of `no2`",
            "fewer than 7 rows",
        ] {
            assert!(words.contains(told), "{told}: {words}");
        }
        assert!(comparison("no2").is_err() && rectangle("1,2,3").is_err() && summary("median:x").is_err());
    }
}
