//! What a column holds: one type for all of its cells, found by looking at every one of them. No digit is lost on the way:
//! what no type keeps is text.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::Date;

use super::cell::Cell;

/// Most digits of a decimal number in Arrow and Parquet (`Decimal128`).
const MAX_DIGITS: usize = 38;
/// Up to which whole number floating point keeps every one.
const FLOAT_KEEPS: u64 = 1 << f64::MANTISSA_DIGITS;
/// Nanoseconds since 1970 fit 64 bits between these years.
const NANOSECONDS: std::ops::RangeInclusive<i16> = 1678..=2261;

/// How fine times are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unit {
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean,
    /// A day.
    Date,
    /// A number whose digits floating point does not keep.
    Decimal {
        precision: u8,
        scale: i8,
    },
    Float,
    Geometry,
    /// A point in time: it has a zone.
    Instant(Unit),
    Integer,
    Text,
}

impl Kind {
    /// Its name for people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Decimal { .. } => "decimal",
            Self::Float => "number",
            Self::Geometry => "geometry",
            Self::Instant(_) => "time",
            Self::Integer => "integer",
            Self::Text => "text",
        }
    }
}

/// What stands before the decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Comma,
    Point,
}

/// A number of a table with the decimal mark `mark`, as JSON writes it. No number is what would lose something as one: a
/// zero in front (`007`), an exponent that a code may have too (`1E5`); `1.5E-05` and `1e-7` are numbers.
pub(crate) fn number(text: &str, mark: Mark) -> Option<Cow<'_, str>> {
    match mark {
        Mark::Point => pointed(text.trim_ascii()).map(Cow::Borrowed),
        Mark::Comma => with_comma(text.trim_ascii()),
    }
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Digits before the decimal mark: no zero in front of others.
fn is_whole(text: &str) -> bool {
    digits(text) && (text.len() == 1 || !text.starts_with('0'))
}

fn pointed(text: &str) -> Option<&str> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        None => (unsigned, None),
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        None => (mantissa, None),
        Some((whole, fraction)) => (whole, Some(fraction)),
    };
    if !is_whole(whole) || !fraction.is_none_or(digits) {
        return None;
    }
    if let Some(exponent) = exponent {
        let is_small = exponent.starts_with('-');
        let power = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        if !digits(power) || power.len() > 4 || !(is_small || fraction.is_some()) {
            return None;
        }
    }
    Some(text)
}

fn with_comma(text: &str) -> Option<Cow<'_, str>> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match unsigned.split_once(',') {
        None => (unsigned, None),
        Some((whole, fraction)) => (whole, Some(fraction)),
    };
    let mut groups = whole.split('.');
    let first = groups.next()?;
    if !is_whole(first) || !fraction.is_none_or(digits) {
        return None;
    }
    let mut count = 0;
    for group in groups {
        count += 1;
        if !digits(group) || group.len() != 3 || first.len() > 3 || first == "0" {
            return None;
        }
    }
    if count == 0 && fraction.is_none() {
        return Some(Cow::Borrowed(text));
    }
    Some(Cow::Owned(text.replace('.', "").replace(',', ".")))
}

/// The digits of a number as JSON writes it without an exponent: all of them, and how many come after the point. Zeros that
/// say nothing are not among them, unless they are written after the point.
fn shape(json: &str) -> Option<(usize, usize)> {
    let unsigned = json.strip_prefix('-').unwrap_or(json);
    if unsigned.contains(['e', 'E']) {
        return None;
    }
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    Some((whole.trim_start_matches('0').len() + fraction.len(), fraction.len()))
}

/// Whether two numbers, as JSON writes them, are the same one.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    value(one) == value(other)
}

/// The value of a number: its sign, its digits without zeros at the ends, and the power of ten of the last one.
fn value(json: &str) -> Option<(bool, String, i64)> {
    let (is_negative, unsigned) = match json.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, json),
    };
    let (mantissa, power) = match unsigned.split_once(['e', 'E']) {
        None => (unsigned, 0),
        Some((mantissa, power)) => (mantissa, power.parse::<i64>().ok()?),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut all = String::with_capacity(mantissa.len());
    all.push_str(whole);
    all.push_str(fraction);
    let power = power - i64::try_from(fraction.len()).ok()?;
    let short = all.trim_end_matches('0');
    let zeros = i64::try_from(all.len() - short.len()).ok()?;
    let short = short.trim_start_matches('0');
    if short.is_empty() {
        return Some((false, String::new(), 0));
    }
    Some((is_negative, short.to_owned(), power + zeros))
}

/// Whether floating point keeps a number: what it writes for it is the same number.
fn is_kept(json: &str) -> bool {
    let Ok(float) = json.parse::<f64>() else { return false };
    if !float.is_finite() {
        return false;
    }
    // Fifteen digits are always kept, within the range of its exponents.
    if json.len() <= 15 && !json.contains(['e', 'E']) {
        return true;
    }
    is_same(&format!("{float:e}"), json)
}

/// A point in time, with its unit: only what has a zone is one.
pub(crate) fn instant(text: &str) -> Option<(Timestamp, Unit)> {
    if text.len() < 17 || !text.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let at: Timestamp = text.parse().ok()?;
    // A leap second would be another one, and a named zone would be lost.
    if text.contains(":60") || text.contains('[') {
        return None;
    }
    let fraction = text
        .split_once(['.', ','])
        .map_or(0, |(_, rest)| rest.bytes().take_while(u8::is_ascii_digit).count());
    let unit = match fraction {
        0..=3 => Unit::Milliseconds,
        4..=6 => Unit::Microseconds,
        7..=9 => Unit::Nanoseconds,
        _ => return None,
    };
    let year = at.to_zoned(jiff::tz::TimeZone::UTC).year();
    (unit != Unit::Nanoseconds || NANOSECONDS.contains(&year)).then_some((at, unit))
}

/// A day, written `2026-01-31`.
pub(crate) fn date(text: &str) -> Option<Date> {
    let bytes = text.as_bytes();
    (bytes.len() == 10 && bytes.get(4) == Some(&b'-') && bytes.get(7) == Some(&b'-')).then_some(())?;
    text.parse().ok()
}

/// A truth value of a table.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

const GEOMETRIES: [&str; 7] =
    ["Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon", "GeometryCollection"];

/// Whether a nested value is a geometry of GeoJSON (RFC 7946, section 3.1).
pub(crate) fn is_geometry(json: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Head<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
        coordinates: Option<serde::de::IgnoredAny>,
        geometries: Option<serde::de::IgnoredAny>,
    }
    json.starts_with('{')
        && serde_json::from_str::<Head<'_>>(json).is_ok_and(|head| {
            GEOMETRIES.contains(&&*head.kind)
                && match &*head.kind {
                    "GeometryCollection" => head.geometries.is_some(),
                    _ => head.coordinates.is_some(),
                }
        })
}

/// Numbers of a column with one decimal mark.
#[derive(Debug, Clone)]
struct Numbers {
    /// Whether all cells so far are numbers.
    all: bool,
    /// Whether all of them are whole and fit 64 bits.
    whole: bool,
    /// Whether floating point keeps all of them.
    kept: bool,
    /// Whether any has digits behind a decimal mark, or an exponent.
    decimal: bool,
    /// Whether any has an exponent.
    exponent: bool,
    /// Most digits before, and after the decimal mark.
    before: usize,
    after: usize,
}

impl Default for Numbers {
    fn default() -> Self {
        Self { all: true, whole: true, kept: true, decimal: false, exponent: false, before: 0, after: 0 }
    }
}

impl Numbers {
    fn take(&mut self, json: &str) {
        let is_decimal = json.contains(['.', 'e', 'E']);
        self.decimal |= is_decimal;
        let whole = if is_decimal { None } else { json.parse::<i64>().ok() };
        // `-0` is another number than 0, and only floating point has it.
        self.whole &= whole.is_some_and(|whole| whole != 0 || !json.starts_with('-'));
        self.kept &= match whole {
            Some(whole) => whole.unsigned_abs() <= FLOAT_KEEPS,
            None => is_kept(json),
        };
        match shape(json) {
            Some((digits, after)) => {
                self.before = self.before.max(digits.saturating_sub(after));
                self.after = self.after.max(after);
            }
            None => self.exponent = true,
        }
    }

    fn kind(&self) -> Option<Kind> {
        if !self.all {
            return None;
        }
        if self.whole {
            return Some(Kind::Integer);
        }
        // A whole number that is too long for its type is an identifier.
        if self.kept && self.decimal {
            return Some(Kind::Float);
        }
        let digits = self.before + self.after;
        if self.decimal && !self.exponent && digits <= MAX_DIGITS {
            let precision = u8::try_from(digits.max(1)).ok()?;
            return Some(Kind::Decimal { precision, scale: i8::try_from(self.after).ok()? });
        }
        None
    }
}

/// What the cells of a column are, as far as they were seen.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// Cells that are not empty.
    pub(crate) filled: u64,
    booleans: bool,
    dates: bool,
    geometries: bool,
    /// The finest unit, while all are points in time.
    instants: Option<Unit>,
    point: Numbers,
    /// With decimal commas; only of a table whose separator is another.
    comma: Option<Numbers>,
    /// Whether a decimal comma was seen.
    has_comma: bool,
    /// First and last day of what is a time.
    pub(crate) days: Option<(Date, Date)>,
    /// Whether all cells tell a day, in whatever way.
    pub(crate) tells_days: bool,
}

impl Facts {
    /// Of a column without cells; of a table, which may have decimal commas.
    pub(crate) fn new(allow_commas: bool) -> Self {
        Self {
            filled: 0,
            booleans: true,
            dates: true,
            geometries: true,
            instants: Some(Unit::Milliseconds),
            point: Numbers::default(),
            comma: allow_commas.then(Numbers::default),
            has_comma: false,
            days: None,
            tells_days: true,
        }
    }

    /// Looks at a cell. `is_table` says that texts may be anything.
    pub(crate) fn take(&mut self, cell: &Cell<'_>, is_table: bool) {
        match cell {
            Cell::Null => return,
            Cell::Text(text) if is_table && text.is_empty() => return,
            Cell::Text(text) => self.text(text, is_table),
            Cell::Bool(_) => {
                let booleans = self.booleans;
                self.nothing();
                self.booleans = booleans;
            }
            Cell::Number(json) => {
                let (all, mut point) = (self.point.all, std::mem::take(&mut self.point));
                self.nothing();
                point.all = all;
                if all {
                    point.take(json);
                }
                self.point = point;
            }
            Cell::Json(json) => {
                let geometries = self.geometries && is_geometry(json);
                self.nothing();
                self.geometries = geometries;
            }
        }
        self.filled += 1;
    }

    /// No type is left.
    fn nothing(&mut self) {
        (self.booleans, self.dates, self.geometries, self.tells_days) = (false, false, false, false);
        self.instants = None;
        self.point.all = false;
        self.comma = None;
    }

    fn text(&mut self, text: &str, is_table: bool) {
        self.geometries = false;
        self.booleans &= is_table && boolean(text).is_some();
        if self.point.all {
            match if is_table { number(text, Mark::Point) } else { None } {
                Some(json) => self.point.take(&json),
                None => self.point.all = false,
            }
        }
        if let Some(comma) = &mut self.comma {
            match number(text, Mark::Comma) {
                Some(json) => {
                    self.has_comma |= text.contains(',');
                    comma.take(&json);
                }
                None => self.comma = None,
            }
        }
        if !(self.dates || self.instants.is_some() || self.tells_days) {
            return;
        }
        self.dates = self.dates && date(text).is_some();
        let found = instant(text);
        self.instants = match (self.instants, &found) {
            (Some(unit), Some((_, other))) => Some(unit.max(*other)),
            _ => None,
        };
        if self.tells_days {
            match day(text) {
                Some(day) => {
                    let (first, last) = self.days.unwrap_or((day, day));
                    self.days = Some((first.min(day), last.max(day)));
                }
                None => self.tells_days = false,
            }
        }
    }

    /// The type, and the decimal mark of its numbers, which may be a comma or not.
    pub(crate) fn kind(&self, may_have_commas: bool) -> (Kind, Mark) {
        if self.filled == 0 {
            return (Kind::Text, Mark::Point);
        }
        if let Some(comma) = self.comma.as_ref().filter(|_| self.has_comma && may_have_commas) {
            return match comma.kind() {
                Some(kind) => (kind, Mark::Comma),
                None => (Kind::Text, Mark::Point),
            };
        }
        let kind = if self.booleans {
            Kind::Boolean
        } else if self.dates {
            Kind::Date
        } else if self.geometries {
            Kind::Geometry
        } else if let Some(unit) = self.instants {
            Kind::Instant(unit)
        } else {
            self.point.kind().unwrap_or(Kind::Text)
        };
        (kind, Mark::Point)
    }
}

/// The day of a text that is a time; years and other numbers are none.
fn day(text: &str) -> Option<Date> {
    let text = text.trim_ascii();
    if text.len() < 10 || !text.contains('-') || !text.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    text.parse::<Timestamp>()
        .map(|at| at.to_zoned(jiff::tz::TimeZone::UTC).date())
        .or_else(|_| text.parse::<jiff::civil::DateTime>().map(jiff::civil::DateTime::date))
        .ok()
}

/// A number as JSON writes it, as a whole number of `10^-scale`; `None` where it has more digits.
pub(crate) fn scaled(json: &str, scale: usize) -> Option<i128> {
    let (whole, fraction) = json.split_once('.').unwrap_or((json, ""));
    let missing = scale.checked_sub(fraction.len())?;
    format!("{whole}{fraction}{}", "0".repeat(missing)).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(cells: &[&str], allow_commas: bool) -> (Kind, Mark) {
        let mut facts = Facts::new(true);
        for cell in cells {
            facts.take(&Cell::Text((*cell).into()), true);
        }
        facts.kind(allow_commas)
    }

    fn point(cells: &[&str]) -> Kind {
        kind(cells, false).0
    }

    #[test]
    fn a_column_is_what_all_of_its_cells_are() {
        assert_eq!(point(&["1", "", "-20"]), Kind::Integer);
        assert_eq!(point(&["1", "1.5"]), Kind::Float);
        assert_eq!(point(&["1", "x"]), Kind::Text);
        assert_eq!(point(&["", ""]), Kind::Text);
        assert_eq!(point(&["true", "FALSE", ""]), Kind::Boolean);
        assert_eq!(point(&["2026-01-01", "2024-02-29"]), Kind::Date);
        assert_eq!(point(&["2026-01-01", "2026-02-30"]), Kind::Text);
        assert_eq!(
            point(&["2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00"]),
            Kind::Instant(Unit::Milliseconds)
        );
        assert_eq!(
            point(&["2026-01-01T00:00:00Z", "2026-01-01T01:00:00.1234567Z"]),
            Kind::Instant(Unit::Nanoseconds)
        );
        assert_eq!(point(&["2026-01-01T00:00:60Z"]), Kind::Text, "a leap second");
        assert_eq!(point(&["2026-01-01T00:00:00", "2026-01-01T00:00:00Z"]), Kind::Text, "one has no zone");
    }

    #[test]
    fn codes_and_long_numbers_stay_as_they_are_written() {
        for code in ["1E5", "0E0", "007", "+5", "1.", ".5", "1e400", "0x10", "12 345", "NaN", "inf", "1_000"]
        {
            assert_eq!(point(&[code]), Kind::Text, "{code}");
        }
        for number in ["1.5E-05", "1e-7", "0.10", "-0.0", "1.5e3"] {
            assert_eq!(point(&[number]), Kind::Float, "{number}");
        }
        assert_eq!(point(&["12345678901234567890123"]), Kind::Text);
        assert_eq!(point(&["9223372036854775807"]), Kind::Integer);
        assert_eq!(point(&["9007199254740993", "0.5"]), Kind::Decimal { precision: 17, scale: 1 });
        assert_eq!(point(&["0.1234567890123456789"]), Kind::Decimal { precision: 19, scale: 19 });
        assert_eq!(point(&["-0", "1"]), Kind::Text, "there is no whole -0");
        assert_eq!(point(&[&"1".repeat(40), "0.5"]), Kind::Text);
        assert_eq!(scaled("-1.25", 3), Some(-1250));
        assert_eq!(scaled("1.2345", 3), None);
    }

    #[test]
    fn decimal_commas_are_those_of_a_column() {
        assert_eq!(kind(&["1.234,56", "0,75", "12,00"], true), (Kind::Float, Mark::Comma));
        assert_eq!(kind(&["3,5", "", "-1,25"], true), (Kind::Float, Mark::Comma));
        assert_eq!(kind(&["12", "7"], true), (Kind::Integer, Mark::Point));
        assert_eq!(kind(&["1.5", "2.25"], true), (Kind::Float, Mark::Point));
        assert_eq!(kind(&["1.5", "2,25"], true), (Kind::Text, Mark::Point), "two marks");
        assert_eq!(kind(&["01.02.2024"], true), (Kind::Text, Mark::Point));
        assert_eq!(kind(&["1,5"], false), (Kind::Text, Mark::Point));
        assert_eq!(number("1.234,56", Mark::Comma).unwrap(), "1234.56");
        assert_eq!(number("-1.234.567", Mark::Comma).unwrap(), "-1234567");
        assert_eq!(number("12.34,5", Mark::Comma), None);
    }

    #[test]
    fn values_of_json_have_their_types() {
        let mut facts = Facts::new(false);
        facts.take(&Cell::Number("1".into()), false);
        facts.take(&Cell::Number("1E5".into()), false);
        assert_eq!(facts.kind(false).0, Kind::Float);
        facts.take(&Cell::Text("5".into()), false);
        assert_eq!(facts.kind(false).0, Kind::Text);
        let mut facts = Facts::new(false);
        facts.take(&Cell::Text("5".into()), false);
        assert_eq!(facts.kind(false).0, Kind::Text, "it is written as a text");
        let mut facts = Facts::new(false);
        facts.take(&Cell::Json(r#"{"type":"Point","coordinates":[1,2]}"#.into()), false);
        assert_eq!(facts.kind(false).0, Kind::Geometry);
        facts.take(&Cell::Json(r#"{"type":"Circle"}"#.into()), false);
        assert_eq!(facts.kind(false).0, Kind::Text);
    }
}
