//! Dates and times as XML Schema 1.1 part 2 writes them (sections 3.3.7 to 3.3.9), with the zone they were written in.
//!
//! What has no zone is read as UTC. A date is the whole day in its zone, so that what is at most a date holds until that
//! day has ended. A time of day is compared with the time of day in its own zone: a day has no midnight in between.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp, ToSpan as _};

/// xsd:date: a day in a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day {
    date: Date,
    offset: Offset,
}

/// xsd:time: a time of every day in a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DailyTime {
    pub(crate) time: Time,
    pub(crate) offset: Offset,
}

/// Something read, and whether its zone was written.
pub(crate) type Zoned<T> = (T, bool);

impl Day {
    /// Its first instant.
    #[must_use]
    pub fn start(&self) -> Timestamp {
        self.offset.to_timestamp(self.date.at(0, 0, 0, 0)).unwrap_or(Timestamp::MIN)
    }

    /// The first instant of the next day.
    #[must_use]
    pub fn end(&self) -> Timestamp {
        let next = self.date.checked_add(1.day()).ok();
        next.and_then(|next| self.offset.to_timestamp(next.at(0, 0, 0, 0)).ok()).unwrap_or(Timestamp::MAX)
    }

    /// As xsd:date.
    #[must_use]
    pub fn iso(&self) -> String {
        format!("{}{}", self.date, zone(self.offset))
    }
}

impl DailyTime {
    /// Midnight in UTC.
    pub(crate) const MIDNIGHT: Self = Self { time: Time::midnight(), offset: Offset::UTC };

    /// What time it is in its zone at an instant.
    #[must_use]
    pub fn at(&self, instant: Timestamp) -> Self {
        Self { time: self.offset.to_datetime(instant).time(), offset: self.offset }
    }

    /// The midnight of its zone.
    pub(crate) const fn midnight(&self) -> Self {
        Self { time: Time::midnight(), offset: self.offset }
    }

    /// When it is this time next, or was within this nanosecond.
    pub(crate) fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let before = now.checked_sub(SignedDuration::from_nanos(1)).ok()?;
        let today = self.offset.to_datetime(now).date();
        let on = |date: Date| self.offset.to_timestamp(date.to_datetime(self.time)).ok();
        on(today).filter(|at| *at > before).or_else(|| on(today.checked_add(1.day()).ok()?))
    }

    /// As xsd:time.
    #[must_use]
    pub fn iso(&self) -> String {
        format!("{}{}", self.time, zone(self.offset))
    }
}

fn zone(offset: Offset) -> String {
    if offset == Offset::UTC {
        return "Z".to_owned();
    }
    let minutes = offset.seconds() / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

/// Reads an xsd:dateTime; seconds may be missing. What lies beyond the year 9999 is the last instant that this node
/// knows, what lies before -9999 the first.
pub(crate) fn instant(text: &str) -> Option<Zoned<Timestamp>> {
    let (date, rest) = text.trim().split_once('T')?;
    let (time, offset) = split_zone(rest)?;
    let (time, next_day) = clock(time)?;
    let date = match date_of(date)? {
        Calendar::Known(date) => date,
        Calendar::Beyond => return Some((Timestamp::MAX, offset.is_some())),
        Calendar::Before => return Some((Timestamp::MIN, offset.is_some())),
    };
    let date = if next_day { date.checked_add(1.day()).ok() } else { Some(date) };
    let at = date
        .and_then(|date| offset.unwrap_or(Offset::UTC).to_timestamp(DateTime::from_parts(date, time)).ok());
    // Only the very ends of the calendar are not instants.
    let end = if text.starts_with('-') { Timestamp::MIN } else { Timestamp::MAX };
    Some((at.unwrap_or(end), offset.is_some()))
}

/// Reads an xsd:date.
pub(crate) fn day(text: &str) -> Option<Zoned<Day>> {
    let text = text.trim();
    // The zone of a date begins after its day, which a sign in front is not.
    let digits = text.strip_prefix('-').unwrap_or(text);
    let split =
        digits.char_indices().filter(|(_, letter)| *letter == '-').nth(1)?.0 + 3 + text.len() - digits.len();
    let (date, rest) = (text.get(..split)?, text.get(split..)?);
    let (empty, offset) = split_zone(rest)?;
    let date = match date_of(date)? {
        Calendar::Known(date) => date,
        Calendar::Beyond => Date::MAX,
        Calendar::Before => Date::MIN,
    };
    empty.is_empty().then(|| (Day { date, offset: offset.unwrap_or(Offset::UTC) }, offset.is_some()))
}

/// Reads an xsd:time.
pub(crate) fn daily(text: &str) -> Option<Zoned<DailyTime>> {
    let (time, offset) = split_zone(text.trim())?;
    let (time, _) = clock(time)?;
    Some((DailyTime { time, offset: offset.unwrap_or(Offset::UTC) }, offset.is_some()))
}

/// Takes a zone (`Z`, `+02:00`) from the end; `None` where what stands there is none.
fn split_zone(text: &str) -> Option<(&str, Option<Offset>)> {
    if let Some(rest) = text.strip_suffix(['Z', 'z']) {
        return Some((rest, Some(Offset::UTC)));
    }
    let Some(at) = text.find(['+', '-']) else { return Some((text, None)) };
    let (rest, written) = text.split_at_checked(at)?;
    let (hours, minutes) = written.get(1..)?.split_once(':')?;
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    let seconds = (hours * 60 + minutes) * 60;
    if minutes > 59 || seconds > 14 * 3600 {
        return None;
    }
    let offset = Offset::from_seconds(if written.starts_with('-') { -seconds } else { seconds }).ok()?;
    Some((rest, Some(offset)))
}

fn two(text: &str) -> Option<i32> {
    (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// A time of day; the flag says that it is the midnight that ends the day.
fn clock(text: &str) -> Option<(Time, bool)> {
    let (hour, rest) = text.split_once(':')?;
    let (minute, seconds) = rest.split_once(':').unwrap_or((rest, "00"));
    let (second, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let (hour, minute, second) = (two(hour)?, two(minute)?, two(second)?);
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    // Finer than a nanosecond is not told apart.
    let fraction = fraction.get(..9).unwrap_or(fraction);
    let nanosecond: i32 = format!("{fraction:0<9}").parse().ok()?;
    if hour == 24 {
        return (minute == 0 && second == 0 && nanosecond == 0).then_some((Time::midnight(), true));
    }
    let small = |number: i32| i8::try_from(number).ok();
    Time::new(small(hour)?, small(minute)?, small(second)?, nanosecond).ok().map(|time| (time, false))
}

/// Why a text that begins like a date names no day: its month has fewer days, or there is no such month. `None` where the
/// day exists, and where the text does not begin with a year, a month and a day.
#[must_use]
pub fn no_such_day(text: &str) -> Option<String> {
    let mut parts = text.trim().get(..10)?.split('-');
    let (year, month, day) = (parts.next()?, two(parts.next()?)?, two(parts.next()?)?);
    let year: i16 = year.parse().ok()?;
    let Some(first) = i8::try_from(month).ok().and_then(|month| Date::new(year, month, 1).ok()) else {
        return Some(format!("there is no month {month:02}"));
    };
    let days = i32::from(first.days_in_month());
    (!(1..=days).contains(&day)).then(|| format!("{} has {days} days", first.strftime("%B %Y")))
}

/// A date, or where it lies if it is outside the calendar.
enum Calendar {
    Before,
    Beyond,
    Known(Date),
}

fn date_of(text: &str) -> Option<Calendar> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, two(parts.next()?)?, two(parts.next()?)?);
    let is_year = year.len() >= 4 && year.len() <= 64 && year.bytes().all(|byte| byte.is_ascii_digit());
    if parts.next().is_some() || !is_year || year.len() > 4 && year.starts_with('0') {
        return None;
    }
    let (month, day) = (i8::try_from(month).ok()?, i8::try_from(day).ok()?);
    let year: i32 = if year.len() > 4 { 10_000 } else { year.parse().ok()? };
    if year > 9_999 {
        // The day must be one of some year all the same.
        Date::new(2000, month, day).ok()?;
        return Some(if negative { Calendar::Before } else { Calendar::Beyond });
    }
    let year = i16::try_from(year).ok()?;
    Date::new(if negative { -year } else { year }, month, day).ok().map(Calendar::Known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_day_that_does_not_exist_is_told_with_the_length_of_its_month() {
        let wrong = |text: &str| no_such_day(text).unwrap_or_default();
        assert_eq!(wrong("2030-02-31"), "February 2030 has 28 days");
        assert_eq!(wrong("2028-02-30T00:00:00Z"), "February 2028 has 29 days");
        assert_eq!(wrong("2030-04-00"), "April 2030 has 30 days");
        assert_eq!(wrong("2030-13-01"), "there is no month 13");
        assert_eq!(
            [wrong("2030-02-28"), wrong("soon"), wrong("2030-02"), wrong("äöü-äöü-äöü")],
            ["", "", "", ""]
        );
    }

    #[test]
    fn instants_as_xml_schema_writes_them() {
        for (text, instant_of) in [
            ("2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("2027-01-01T00:00:00.25+02:00", "2026-12-31T22:00:00.25Z"),
            ("2027-07-01T24:00:00Z", "2027-07-02T00:00:00Z"),
            ("2023-12-31T06:00Z", "2023-12-31T06:00:00Z"),
            ("2027-01-01T00:00:00", "2027-01-01T00:00:00Z"),
            ("-0001-01-01T00:00:00Z", "-000001-01-01T00:00:00Z"),
        ] {
            assert_eq!(instant(text).unwrap().0, at(instant_of), "{text}");
        }
        assert!(!instant("2027-01-01T00:00:00").unwrap().1 && instant("2027-01-01T00:00:00Z").unwrap().1);
        for far in ["9999-12-31T23:59:59Z", "12026-01-01T00:00:00Z"] {
            assert_eq!(instant(far).unwrap().0, Timestamp::MAX, "{far}");
        }
        assert_eq!(instant("-12026-01-01T00:00:00Z").unwrap().0, Timestamp::MIN);
        for wrong in [
            "2027-01-01T00:00:00[Europe/Brussels]",
            "2027-01-01T00:00:00+02:00[Europe/Brussels]",
            "2027-01-01 00:00:00Z",
            "2027-02-30T00:00:00Z",
            "2027-01-01T24:00:01Z",
            "2027-01-01T00:00:60Z",
            "2027-01-01T00:00:00+15:00",
            "27-01-01T00:00:00Z",
            "2027-01-01T00:00:00.Z",
            "012027-01-01T00:00:00Z",
            "2027-01-01",
        ] {
            assert!(instant(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_day_lasts_until_the_next_in_its_zone() {
        let (utc, zoned) = day("2026-12-31").unwrap();
        assert!(!zoned);
        assert_eq!((utc.start(), utc.end()), (at("2026-12-31T00:00:00Z"), at("2027-01-01T00:00:00Z")));
        let (east, zoned) = day("2026-12-31+02:00").unwrap();
        assert!(zoned);
        assert_eq!((east.start(), east.end()), (at("2026-12-30T22:00:00Z"), at("2026-12-31T22:00:00Z")));
        assert_eq!((day("2026-12-31Z").unwrap().0, east.iso().as_str()), (utc, "2026-12-31+02:00"));
        assert_eq!(day("9999-12-31").unwrap().0.end(), Timestamp::MAX);
        assert_eq!(day("-0044-03-15-05:00").unwrap().0.iso(), "-000044-03-15-05:00");
        for wrong in ["2026-12-31T00:00:00Z", "2026-12-32", "2026-12", "2026-12-31+2", "soon", "2026-12-31x"]
        {
            assert!(day(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_time_of_day_is_one_of_its_zone() {
        let noon = at("2026-07-01T02:00:00Z");
        let (eight, _) = daily("08:00:00+10:00").unwrap();
        assert_eq!(eight.at(noon).iso(), "12:00:00+10:00");
        assert_eq!(eight.next(noon), Some(at("2026-07-01T22:00:00Z")));
        assert_eq!(daily("24:00:00Z").unwrap().0.iso(), "00:00:00Z");
        assert!(daily("08:00:00[Europe/Berlin]").is_none() && daily("8:00").is_none());
    }
}
