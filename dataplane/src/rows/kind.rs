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
    match (value(one), value(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
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
    let power = power.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    let short = all.trim_end_matches('0');
    let zeros = i64::try_from(all.len() - short.len()).ok()?;
    let short = short.trim_start_matches('0');
    if short.is_empty() {
        return Some((false, String::new(), 0));
    }
    Some((is_negative, short.to_owned(), power.checked_add(zeros)?))
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
    if is_leap(text) || text.contains('[') {
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
    (unit != Unit::Nanoseconds || !is_far(at)).then_some((at, unit))
}

/// Whether its second is the sixtieth, with colons or without.
fn is_leap(text: &str) -> bool {
    let time = text.split_once(['T', 't', ' ']).map_or("", |(_, time)| time);
    let digits = time.bytes().filter(|byte| *byte != b':').take_while(u8::is_ascii_digit);
    digits.skip(4).take(2).eq(*b"60")
}

/// Whether nanoseconds since 1970 may not fit 64 bits.
fn is_far(at: Timestamp) -> bool {
    !NANOSECONDS.contains(&at.to_zoned(jiff::tz::TimeZone::UTC).year())
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
        && serde_json::from_str::<Head<'_>>(json)
            .is_ok_and(|head| is_shape(&head.kind, head.coordinates.is_some(), head.geometries.is_some()))
}

/// Whether what has this type, coordinates or geometries is a geometry.
pub(crate) fn is_shape(kind: &str, has_coordinates: bool, has_geometries: bool) -> bool {
    GEOMETRIES.contains(&kind) && if kind == "GeometryCollection" { has_geometries } else { has_coordinates }
}

/// Whether the commas of a number may part its thousands, and a point be its decimal mark.
fn parts_thousands(text: &str) -> bool {
    let swapped = text.trim_ascii().chars().map(|one| match one {
        ',' => '.',
        '.' => ',',
        other => other,
    });
    with_comma(&swapped.collect::<String>()).is_some()
}

/// The decimal marks that are without doubt in a table.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Marks {
    comma: bool,
    point: bool,
}

impl Marks {
    pub(crate) fn of<'a>(columns: impl Iterator<Item = &'a Facts>) -> Self {
        columns.filter_map(Facts::mark).fold(Self::default(), |marks, mark| match mark {
            Mark::Comma => Self { comma: true, ..marks },
            Mark::Point => Self { point: true, ..marks },
        })
    }
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

    /// Whether the same cells are other numbers with another mark, or none.
    const fn is_other(&self, other: &Self) -> bool {
        !other.all || self.decimal != other.decimal
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
    /// Whether any of them is too far away for nanoseconds.
    has_far: bool,
    point: Numbers,
    /// With decimal commas; only of a table whose separator is another.
    comma: Option<Numbers>,
    /// Whether a decimal comma was seen.
    pub(crate) has_comma: bool,
    /// Whether a comma was seen that parts no thousands,
    only_comma: bool,
    /// and a point that parts none.
    only_point: bool,
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
            has_far: false,
            point: Numbers::default(),
            comma: allow_commas.then(Numbers::default),
            has_comma: false,
            only_comma: false,
            only_point: false,
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
        if self.point.all && !self.only_point && text.contains('.') {
            self.only_point = number(text, Mark::Comma).is_none();
        }
        if let Some(comma) = &mut self.comma {
            match number(text, Mark::Comma) {
                Some(json) => {
                    self.has_comma |= text.contains(',');
                    if !self.only_comma && text.contains(',') {
                        self.only_comma = !parts_thousands(text);
                    }
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
        self.has_far |= found.is_some_and(|(at, _)| is_far(at));
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

    /// Which decimal mark its numbers have without doubt: one that cannot part thousands.
    pub(crate) fn mark(&self) -> Option<Mark> {
        if self.comma.is_some() && self.only_comma {
            return Some(Mark::Comma);
        }
        (self.point.all && self.only_point).then_some(Mark::Point)
    }

    /// The type, and the decimal mark of its numbers; `marks` are those that are without doubt in some column of its table,
    /// `None` where no comma is one.
    pub(crate) fn kind(&self, marks: Option<Marks>) -> (Kind, Mark) {
        if self.filled == 0 {
            return (Kind::Text, Mark::Point);
        }
        if let (Some(comma), Some(marks)) = (&self.comma, marks) {
            // What may part thousands stays text where the marks beyond doubt of its table speak against it as a decimal mark.
            let is_doubtful = (self.has_comma && !self.only_comma && marks.point)
                || (!self.has_comma && marks.comma && comma.is_other(&self.point));
            if is_doubtful {
                return (Kind::Text, Mark::Point);
            }
            if self.has_comma {
                return match comma.kind() {
                    Some(kind) => (kind, Mark::Comma),
                    None => (Kind::Text, Mark::Point),
                };
            }
        }
        let kind = if self.booleans {
            Kind::Boolean
        } else if self.dates {
            Kind::Date
        } else if self.geometries {
            Kind::Geometry
        } else if let Some(unit) = self.instants {
            // What one type cannot hold is text.
            let is_held = unit != Unit::Nanoseconds || !self.has_far;
            if is_held { Kind::Instant(unit) } else { Kind::Text }
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
        facts.kind(allow_commas.then(|| Marks::of([&facts].into_iter())))
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
    fn what_may_part_thousands_is_read_as_the_rest_of_its_table() {
        let kinds = |columns: &[&[&str]]| -> Vec<(Kind, Mark)> {
            let facts = columns.iter().map(|cells| {
                let mut facts = Facts::new(true);
                cells.iter().for_each(|cell| facts.take(&Cell::Text((*cell).into()), true));
                facts
            });
            let facts: Vec<_> = facts.collect();
            facts.iter().map(|one| one.kind(Some(Marks::of(facts.iter())))).collect()
        };
        let (text, float) = ((Kind::Text, Mark::Point), (Kind::Float, Mark::Point));
        let comma = (Kind::Float, Mark::Comma);
        assert_eq!(kinds(&[&["1.234", "12.345"], &["3,5", "4,2"]]), [text, comma]);
        assert_eq!(kinds(&[&["1.234.567", "999"], &["3,5"]]), [text, comma]);
        assert_eq!(kinds(&[&["1,234"], &["3.5"]]), [text, float]);
        assert_eq!(kinds(&[&["1,234"], &["7"]]), [comma, (Kind::Integer, Mark::Point)]);
        assert_eq!(kinds(&[&["1.234"], &["7"]]), [float, (Kind::Integer, Mark::Point)]);
        assert_eq!(kinds(&[&["1.234"], &["3,5"], &["48.5"]]), [text, comma, float], "both marks");
        assert_eq!(kinds(&[&["2026-01-01"], &["3,5"], &["x"]]), [(Kind::Date, Mark::Point), comma, text]);
    }

    #[test]
    fn powers_beyond_all_bounds_are_no_value() {
        assert!(!is_kept("1.5e-9223372036854775808"));
        assert!(!is_kept("1500e9223372036854775807"));
        assert!(!is_same("1.5e-9223372036854775808", "2.5e-9223372036854775808"));
    }

    #[test]
    fn times_that_nanoseconds_cannot_hold_are_text() {
        let far = ["0001-01-01T00:00:00Z", "2026-01-01T00:00:00.1234567Z"];
        assert_eq!(point(&far), Kind::Text);
        assert_eq!(point(&[far[1], far[0]]), Kind::Text);
        assert_eq!(point(&[far[0], "2026-01-01T00:00:00.123456Z"]), Kind::Instant(Unit::Microseconds));
        assert_eq!(point(&["20161231T235960Z"]), Kind::Text, "a leap second without colons");
    }

    #[test]
    fn values_of_json_have_their_types() {
        let mut facts = Facts::new(false);
        facts.take(&Cell::Number("1".into()), false);
        facts.take(&Cell::Number("1E5".into()), false);
        assert_eq!(facts.kind(None).0, Kind::Float);
        facts.take(&Cell::Text("5".into()), false);
        assert_eq!(facts.kind(None).0, Kind::Text);
        let mut facts = Facts::new(false);
        facts.take(&Cell::Text("5".into()), false);
        assert_eq!(facts.kind(None).0, Kind::Text, "it is written as a text");
        let mut facts = Facts::new(false);
        facts.take(&Cell::Json(r#"{"type":"Point","coordinates":[1,2]}"#.into()), false);
        assert_eq!(facts.kind(None).0, Kind::Geometry);
        facts.take(&Cell::Json(r#"{"type":"Circle"}"#.into()), false);
        assert_eq!(facts.kind(None).0, Kind::Text);
    }
}
