//! Typed right operands from JSON, and back.

use jiff::{SignedDuration, Span, Timestamp};
use serde_json::{Value as Json, json};

use crate::area::{Area, System, is_area};
use crate::calendar;
use crate::decimal::Decimal;
use crate::error::PolicyError;
use crate::model::Value;
use crate::operand::OperandKind;

/// Longest string anywhere in a policy, in bytes.
pub(crate) const MAX_TEXT: usize = 4096;
/// Before a language tag, so that tags and other terms are told apart.
pub(crate) const LANGUAGE: &str = "https://tools.ietf.org/html/bcp47#";

const XSD: &str = "http://www.w3.org/2001/XMLSchema#";
const WKT: &str = "http://www.opengis.net/ont/geosparql#wktLiteral";

/// What a literal or a reference may have.
const OF_LITERAL: [&str; 5] = ["@id", "@language", "@type", "@value", "uid"];
/// Longest duration in a policy, in years: longer ones are nobody's terms, and calendars end.
const MAX_YEARS: i64 = 10_000;

/// What a literal's datatype says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Datatype {
    Date,
    Duration,
    Number,
    Time,
    Wkt,
}

fn datatype(json: &Json) -> Option<Datatype> {
    let name = json.get("@type")?.as_str()?;
    if [WKT, "geo:wktLiteral", "geosparql:wktLiteral"].contains(&name) {
        return Some(Datatype::Wkt);
    }
    match name.strip_prefix("xsd:").or_else(|| name.strip_prefix(XSD))? {
        "date" | "dateTime" | "dateTimeStamp" => Some(Datatype::Date),
        "dayTimeDuration" | "duration" | "yearMonthDuration" => Some(Datatype::Duration),
        "decimal" | "double" | "float" | "int" | "integer" | "long" | "negativeInteger"
        | "nonNegativeInteger" | "nonPositiveInteger" | "positiveInteger" | "short" | "unsignedInt"
        | "unsignedLong" => Some(Datatype::Number),
        "time" => Some(Datatype::Time),
        _ => None,
    }
}

/// A value as read.
pub(crate) struct Literal {
    pub value: Value,
    /// A date or time without zone, which is taken for UTC.
    pub assumed_utc: bool,
}

/// Reads one value; `kind` is what the left operand wants, `None` for one this engine does not know. `plain` says whether
/// numbers and booleans of JSON may stand without `@value`, as ODRL allows and the Dataspace Protocol does not.
pub(crate) fn read(
    json: &Json,
    kind: Option<OperandKind>,
    plain: bool,
    path: &str,
) -> Result<Literal, PolicyError> {
    let wrong = |reason: String| PolicyError::new(path, reason);
    let text = match json {
        Json::String(text) => text.clone(),
        Json::Number(number) if plain => number.to_string(),
        Json::Bool(flag) if plain => flag.to_string(),
        Json::Object(map) if map.keys().any(|key| !OF_LITERAL.contains(&key.as_str())) => {
            return Err(wrong(
                "an object here is a value (`@value`, `@type`) or a name (`@id`), and nothing else"
                    .to_owned(),
            ));
        }
        Json::Object(map) => match map.get("@value").or_else(|| map.get("@id")).or_else(|| map.get("uid")) {
            Some(Json::String(text)) => text.clone(),
            Some(Json::Number(number)) => number.to_string(),
            Some(Json::Bool(flag)) => flag.to_string(),
            _ => return Err(wrong("an object here needs `@value` or `@id`".to_owned())),
        },
        _ => {
            return Err(wrong(
                "must be a string, an object or an array of these (contract-schema.json)".to_owned(),
            ));
        }
    };
    if text.len() > MAX_TEXT {
        return Err(wrong(format!("longer than {MAX_TEXT} bytes")));
    }
    // A number of JSON is one without saying so.
    let is_number =
        json.is_number() || json.get("@type").is_none() && json.get("@value").is_some_and(Json::is_number);
    let said = if is_number { Some(Datatype::Number) } else { datatype(json) };
    let any = matches!(kind, None | Some(OperandKind::Any));
    let zoned = |found: Option<(Value, bool)>, wanted: &str| match found {
        Some((value, zoned)) => Ok(Literal { value, assumed_utc: !zoned }),
        None => {
            let why = calendar::no_such_day(&text).map(|why| format!(": {why}")).unwrap_or_default();
            Err(wrong(format!("`{text}` is not an {wanted}{why}")))
        }
    };
    let value = match (kind, said) {
        (Some(OperandKind::Instant), Some(Datatype::Time))
        | (None | Some(OperandKind::Any), Some(Datatype::Time)) => {
            let found = calendar::daily(&text).map(|(time, zoned)| (Value::TimeOfDay(time), zoned));
            return zoned(found, "xsd:time such as 08:00:00Z");
        }
        (Some(OperandKind::Instant), _) | (None | Some(OperandKind::Any), Some(Datatype::Date)) => {
            let day = calendar::day(&text).map(|(day, zoned)| (Value::Day(day), zoned));
            let found =
                day.or_else(|| calendar::instant(&text).map(|(at, zoned)| (Value::Instant(at), zoned)));
            return zoned(found, "xsd:dateTime such as 2027-01-01T00:00:00Z");
        }
        (Some(OperandKind::Duration), _) => duration(&text),
        (_, Some(Datatype::Duration)) if any => duration(&text),
        (Some(OperandKind::Number), _) => Decimal::parse(&text).map(Value::Number),
        (_, Some(Datatype::Number)) if any => Decimal::parse(&text).map(Value::Number),
        (Some(OperandKind::Any | OperandKind::Place) | None, Some(Datatype::Wkt)) => {
            area(&text).map(Value::Area)
        }
        (Some(OperandKind::Language), _) => Some(Value::Term(language(&text))),
        _ => Some(Value::Term(text.clone())),
    };
    let wanted = match (kind, said) {
        (Some(OperandKind::Duration), _) | (_, Some(Datatype::Duration)) => {
            "an xsd:duration such as P30D or PT12H"
        }
        (_, Some(Datatype::Wkt)) => {
            "a point, an envelope or an upright rectangle in degrees such as ENVELOPE(2.5, 6.4, 51.5, 49.5)"
        }
        _ => "a number",
    };
    let value = value.ok_or_else(|| wrong(format!("`{text}` is not {wanted}")))?;
    Ok(Literal { value, assumed_utc: false })
}

/// A value as JSON-LD, so that [`read`] gives it back.
pub(crate) fn write(value: &Value) -> Json {
    match value {
        Value::Area([west, south, east, north]) => {
            json!({"@value": format!("ENVELOPE({west}, {east}, {north}, {south})"), "@type": WKT})
        }
        Value::Day(day) => json!({"@value": day.iso(), "@type": "xsd:date"}),
        Value::Duration { .. } => json!({"@value": iso(value), "@type": "xsd:duration"}),
        Value::Instant(instant) => json!({"@value": instant.to_string(), "@type": "xsd:dateTime"}),
        Value::Number(number) => json!({"@value": number.to_string(), "@type": "xsd:decimal"}),
        Value::Term(term) => json!(term),
        Value::TimeOfDay(time) => json!({"@value": time.iso(), "@type": "xsd:time"}),
    }
}

/// Reads an xsd:dateTime; without zone it is UTC. A date is its first instant.
#[must_use]
pub fn instant(text: &str) -> Option<Timestamp> {
    let day = || calendar::day(text).map(|(day, _)| day.start());
    calendar::instant(text).map(|(at, _)| at).or_else(day)
}

fn duration(text: &str) -> Option<Value> {
    let span: Span = text.trim_start_matches('-').starts_with('P').then(|| text.parse().ok()).flatten()?;
    let months = i64::from(span.get_years()) * 12 + i64::from(span.get_months());
    let days = i128::from(span.get_weeks()) * 7 + i128::from(span.get_days());
    let seconds = (days * 24 + i128::from(span.get_hours())) * 3600
        + i128::from(span.get_minutes()) * 60
        + i128::from(span.get_seconds());
    let small = i128::from(span.get_milliseconds()) * 1_000_000
        + i128::from(span.get_microseconds()) * 1_000
        + i128::from(span.get_nanoseconds());
    let nanoseconds = seconds * 1_000_000_000 + small;
    let year = 366 * 86_400 * 1_000_000_000;
    let bounded = months.abs() <= MAX_YEARS * 12 && nanoseconds.abs() <= i128::from(MAX_YEARS) * year;
    bounded.then_some(Value::Duration { months, nanoseconds })
}

/// Reads a length of time as ISO 8601 and XML Schema write it: weeks, days (of 24 hours), hours, minutes and seconds, such as
/// `P7D`, `P2W` or `PT12H`.
///
/// # Errors
/// It is none, or has years or months, which have no fixed length; says what would do.
pub fn length(text: &str) -> Result<SignedDuration, String> {
    match duration(text) {
        Some(Value::Duration { months: 0, nanoseconds }) => i64::try_from(nanoseconds)
            .map(SignedDuration::from_nanos)
            .map_err(|_| format!("`{text}` is longer than 292 years")),
        Some(_) => Err(format!(
            "`{text}` has years or months, which have no fixed length; say it in days, such as P30D"
        )),
        None => Err(format!("`{text}` is not a duration such as P7D or PT12H (ISO 8601)")),
    }
}

/// A duration as xsd:duration.
pub(crate) fn iso(value: &Value) -> String {
    let Value::Duration { months, nanoseconds } = value else { return String::new() };
    let (sign, months, nanoseconds) = if *months < 0 || *nanoseconds < 0 {
        ("-", -months, -nanoseconds)
    } else {
        ("", *months, *nanoseconds)
    };
    let (seconds, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
    let mut text = format!("{sign}P");
    for (amount, letter) in [(i128::from(months), 'M'), (seconds / 86_400, 'D')] {
        if amount != 0 {
            text.push_str(&format!("{amount}{letter}"));
        }
    }
    let parts = [(seconds % 86_400 / 3_600, 'H'), (seconds % 3_600 / 60, 'M')];
    let mut time = String::new();
    for (amount, letter) in parts {
        if amount != 0 {
            time.push_str(&format!("{amount}{letter}"));
        }
    }
    match (seconds % 60, rest) {
        (0, 0) => {}
        (seconds, 0) => time.push_str(&format!("{seconds}S")),
        (seconds, rest) => time.push_str(format!("{seconds}.{rest:09}").trim_end_matches('0')),
    }
    if rest != 0 {
        time.push('S');
    }
    if !time.is_empty() {
        text.push('T');
        text.push_str(&time);
    }
    if text.ends_with('P') {
        text.push_str("T0S");
    }
    text
}

/// A language tag, in lower case under one namespace, however it was written.
fn language(text: &str) -> String {
    let tag = text
        .rsplit_once('#')
        .map_or(text, |(_, tag)| tag)
        .trim_start_matches("http://publications.europa.eu/resource/authority/language/");
    format!("{LANGUAGE}{}", tag.to_ascii_lowercase())
}

/// Reads `POINT(x y)`, `ENVELOPE(west, east, north, south)`, or a `POLYGON` of five points that is an upright rectangle;
/// in degrees, in the order of the reference system that may stand before it.
fn area(text: &str) -> Option<Area> {
    let (system, text) = System::split(text);
    let swapped = match system {
        System::LongitudeFirst => false,
        System::LatitudeFirst => true,
        System::Other(_) => return None,
    };
    let upper = text.to_ascii_uppercase();
    let numbers = |text: &str| -> Option<Vec<f64>> {
        text.split([',', ' ', '(', ')'])
            .filter(|part| !part.is_empty())
            .map(|part| part.parse::<f64>().ok().filter(|number| number.is_finite()))
            .collect()
    };
    let area = if let Some(rest) = upper.strip_prefix("POINT") {
        let [x, y] = numbers(rest)?.try_into().ok()?;
        let [x, y] = if swapped { [y, x] } else { [x, y] };
        [x, y, x, y]
    } else if let Some(rest) = upper.strip_prefix("ENVELOPE") {
        // Its sides have names, whatever the order of the system is.
        let [west, east, north, south]: [f64; 4] = numbers(rest)?.try_into().ok()?;
        [west, south, east, north]
    } else {
        let all: [f64; 10] = numbers(upper.strip_prefix("POLYGON")?)?.try_into().ok()?;
        let [west, south, east, north] = rectangle(&all)?;
        if swapped { [south, west, north, east] } else { [west, south, east, north] }
    };
    is_area(area).then_some(area)
}

/// The bounds of a closed ring of four corners, each side of which is level or upright.
fn rectangle(ring: &[f64; 10]) -> Option<[f64; 4]> {
    let [x0, y0, x1, y1, x2, y2, x3, y3, x4, y4] = *ring;
    let closed = x0 == x4 && y0 == y4;
    let level_first = y0 == y1 && x1 == x2 && y2 == y3 && x3 == x0;
    let upright_first = x0 == x1 && y1 == y2 && x2 == x3 && y3 == y0;
    (closed && (level_first || upright_first)).then(|| [x0.min(x2), y0.min(y2), x0.max(x2), y0.max(y2)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_value(json: &Json, kind: Option<OperandKind>) -> Value {
        read(json, kind, true, "/x").map(|literal| literal.value).unwrap()
    }

    #[test]
    fn literals_are_read_and_written_back() {
        let cases = [
            (json!("2027-01-01"), Some(OperandKind::Instant)),
            (json!({"@value": "2027-01-01T12:00:00+02:00", "@type": "xsd:dateTime"}), None),
            (json!({"@value": "08:30:00+02:00", "@type": "xsd:time"}), Some(OperandKind::Instant)),
            (json!("P1Y2M3DT4H5M6.5S"), Some(OperandKind::Duration)),
            (json!({"@value": "-P3D", "@type": "xsd:duration"}), None),
            (json!({"@value": 7.25, "@type": "xsd:decimal"}), None),
            (json!("de-AT"), Some(OperandKind::Language)),
            (
                json!({"@value": "POLYGON((2 49, 7 49, 7 52, 2 52, 2 49))", "@type": "geo:wktLiteral"}),
                Some(OperandKind::Place),
            ),
            (json!({"@id": "urn:x"}), Some(OperandKind::Term)),
        ];
        for (json, kind) in cases {
            let value = read_value(&json, kind);
            assert_eq!(read_value(&write(&value), kind), value, "{json}");
        }
        let value = read_value(&json!("P1Y2M3DT4H5M6.5S"), Some(OperandKind::Duration));
        assert_eq!(iso(&value), "P14M3DT4H5M6.5S");
        let value = read_value(&json!({"@value": "08:30:00+02:00", "@type": "xsd:time"}), None);
        assert_eq!(write(&value), json!({"@value": "08:30:00+02:00", "@type": "xsd:time"}));
    }

    #[test]
    fn rectangles_lie_over_the_antimeridian_and_have_the_order_of_their_system() {
        let read = |text: &str| {
            let json = json!({"@value": text, "@type": "geo:wktLiteral"});
            read_value(&json, Some(OperandKind::Place))
        };
        let fiji = read("ENVELOPE(177, -178, -16, -20)");
        assert_eq!(fiji, Value::Area([177.0, -20.0, -178.0, -16.0]));
        assert_eq!(read_value(&write(&fiji), Some(OperandKind::Place)), fiji);
        let epsg = "<http://www.opengis.net/def/crs/EPSG/0/4326>";
        assert_eq!(read(&format!("{epsg} POINT(51 4)")), Value::Area([4.0, 51.0, 4.0, 51.0]));
        let whole = format!("{epsg} POLYGON((50 3,51 3,51 4,50 4,50 3))");
        assert_eq!(read(&whole), Value::Area([3.0, 50.0, 4.0, 51.0]));
    }

    #[test]
    fn what_is_not_of_its_type_is_refused() {
        let refused = |json: Json, kind| read(&json, Some(kind), false, "/x").err().unwrap().to_string();
        assert!(refused(json!("soon"), OperandKind::Duration).contains("xsd:duration"));
        assert!(refused(json!("5 days"), OperandKind::Duration).contains("xsd:duration"));
        assert!(
            refused(json!("P19998Y11M"), OperandKind::Duration).contains("xsd:duration"),
            "beyond any calendar"
        );
        assert!(refused(json!(5), OperandKind::Number).contains("contract-schema.json"));
        assert!(refused(json!("inf"), OperandKind::Number).contains("not a number"));
        let slanted = json!({"@value": "POLYGON((0 0, 2 1, 2 3, 0 2, 0 0))", "@type": "geo:wktLiteral"});
        assert!(refused(slanted, OperandKind::Place).contains("upright rectangle"));
        let lambert = json!({"@value": "<http://www.opengis.net/def/crs/EPSG/0/3035> POINT(1 1)", "@type": "geo:wktLiteral"});
        assert!(refused(lambert, OperandKind::Place).contains("upright rectangle"));
    }
}
