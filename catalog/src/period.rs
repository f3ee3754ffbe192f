//! When a dataset's period begins and ends, in the ways in which portals write it: years, months, days, instants.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, date};
use jiff::tz::TimeZone;

/// A time as it is written; all but instants are longer than a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Time {
    /// xsd:gYear.
    Year(i16),
    /// xsd:gYearMonth.
    Month(i16, i8),
    /// xsd:date.
    Day(Date),
    /// xsd:dateTime without a zone.
    Local(DateTime),
    /// xsd:dateTime.
    Instant(Timestamp),
}

impl Time {
    /// Reads a year, a month, a day or an instant.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(at) = text.parse::<Timestamp>() {
            return Some(Self::Instant(at));
        }
        // Years, months and days may have a zone as well, which tells nothing that matters here.
        let bare = text.strip_suffix(['Z', 'z']).or_else(|| without_offset(text)).unwrap_or(text);
        let digits =
            |part: &str, count: usize| part.len() == count && part.bytes().all(|b| b.is_ascii_digit());
        let mut parts = bare.split('-');
        let (year, month, day) = (parts.next()?, parts.next(), parts.next());
        match (month, day, parts.next()) {
            (None, None, None) if digits(year, 4) => Some(Self::Year(year.parse().ok()?)),
            (Some(month), None, None) if digits(year, 4) && digits(month, 2) => {
                let (year, month) = (year.parse().ok()?, month.parse().ok()?);
                Date::new(year, month, 1).ok().map(|_| Self::Month(year, month))
            }
            (Some(month), Some(day), None) if digits(year, 4) && digits(month, 2) && digits(day, 2) => {
                bare.parse().ok().map(Self::Day)
            }
            _ if digits(year, 4) && text.contains(':') => text.parse().ok().map(Self::Local),
            _ => None,
        }
    }

    /// The first day of it, in UTC for an instant.
    pub(crate) fn first_day(self) -> Date {
        match self {
            Self::Year(year) => date(year, 1, 1),
            Self::Month(year, month) => date(year, month, 1),
            Self::Day(day) => day,
            Self::Local(at) => at.date(),
            Self::Instant(at) => at.to_zoned(TimeZone::UTC).date(),
        }
    }

    /// The last day of it.
    pub(crate) fn last_day(self) -> Date {
        match self {
            Self::Year(year) => date(year, 12, 31),
            Self::Month(..) => self.first_day().last_of_month(),
            _ => self.first_day(),
        }
    }
}

/// The text without an offset such as `+01:00` at its end.
fn without_offset(text: &str) -> Option<&str> {
    let (bare, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let is_digit = |at: usize| offset.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
    let fine = offset.starts_with(['+', '-']) && offset.get(3..4) == Some(":");
    (fine && [1, 2, 4, 5].into_iter().all(is_digit)).then_some(bare)
}

/// The beginning of a period in the words of every portal: a year or a month by its first day, a day or an instant as it is.
#[must_use]
pub fn start(text: &str) -> Option<String> {
    Some(written(Time::parse(text)?, text, Time::first_day))
}

/// The end of a period: a year or a month by its last day.
#[must_use]
pub fn end(text: &str) -> Option<String> {
    Some(written(Time::parse(text)?, text, Time::last_day))
}

fn written(time: Time, text: &str, day: fn(Time) -> Date) -> String {
    match time {
        Time::Year(_) | Time::Month(..) | Time::Day(_) => day(time).to_string(),
        Time::Local(at) => at.to_string(),
        Time::Instant(at) => {
            let text = text.trim();
            // An instant keeps the zone that it was written with, if XML Schema takes it as it is.
            let fine = text.get(10..11) == Some("T") && text.len() >= 20 && !text.contains(['[', ',', 'z']);
            if fine && (text.ends_with('Z') || without_offset(text).is_some()) {
                text.to_owned()
            } else {
                at.to_string()
            }
        }
    }
}

/// The first day of what a period begins with, as it sorts; `None` where that is no time.
pub(crate) fn first_day(text: &str) -> Option<String> {
    Time::parse(text).map(|time| time.first_day().to_string())
}

/// The last day of what a period ends with.
pub(crate) fn last_day(text: &str) -> Option<String> {
    Time::parse(text).map(|time| time.last_day().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_and_months_have_a_first_and_a_last_day() {
        for (text, first, last) in [
            ("2020", "2020-01-01", "2020-12-31"),
            ("2020Z", "2020-01-01", "2020-12-31"),
            ("2020+01:00", "2020-01-01", "2020-12-31"),
            ("2020-02", "2020-02-01", "2020-02-29"),
            ("2019-02", "2019-02-01", "2019-02-28"),
            ("2020-12-05:00", "2020-12-01", "2020-12-31"),
            (" 2020-03-04 ", "2020-03-04", "2020-03-04"),
            ("2020-03-04+01:00", "2020-03-04", "2020-03-04"),
        ] {
            assert_eq!((start(text).as_deref(), end(text).as_deref()), (Some(first), Some(last)), "{text}");
            assert_eq!(
                (first_day(text).as_deref(), last_day(text).as_deref()),
                (Some(first), Some(last)),
                "{text}"
            );
        }
        for (text, kept, day) in [
            ("2020-03-04T05:06:07Z", "2020-03-04T05:06:07Z", "2020-03-04"),
            ("2020-03-04T23:06:07-05:00", "2020-03-04T23:06:07-05:00", "2020-03-05"),
            ("2020-03-04 05:06:07Z", "2020-03-04T05:06:07Z", "2020-03-04"),
            ("2020-03-04T05:06:07", "2020-03-04T05:06:07", "2020-03-04"),
            ("2020-03-04T05:06", "2020-03-04T05:06:00", "2020-03-04"),
        ] {
            assert_eq!((start(text).as_deref(), end(text).as_deref()), (Some(kept), Some(kept)), "{text}");
            assert_eq!(first_day(text).as_deref(), Some(day), "{text}");
        }
        for wrong in [
            "",
            "soon",
            "20",
            "20200",
            "2020-13",
            "2020-1",
            "2020-02-30",
            "2020-02-03-04",
            "99-01-01",
            "2020-",
            "é2020+01:00",
        ] {
            assert_eq!(start(wrong), None, "{wrong}");
        }
    }
}
