//! Service levels of an agreement: what was promised, what was measured, what follows.
//!
//! Both parties measure and exchange their measurements; what was attained is computed from all of them together, in whole
//! numbers, so that it comes out the same at both whatever the order in which they came ([`attain`]).

mod attained;
mod measured;

use jiff::{SignedDuration, Timestamp};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value as Json;

pub use self::attained::{Attainment, LevelAttained, attain};
pub use self::measured::{Measured, Side};
use crate::error::{Malformed, text};

/// The property of an offer and an agreement that carries them.
pub const PROPERTY: &str = policy_engine::SERVICE_LEVELS;
/// Most levels.
const MAX_LEVELS: usize = 32;
/// Shortest and longest period, in seconds.
const PERIODS: std::ops::RangeInclusive<i64> = 1..=366 * 86_400;

/// What was promised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceLevels {
    /// How long each period is, counted from when the agreement was made; a whole number of seconds.
    #[serde(deserialize_with = "length")]
    pub period: SignedDuration,
    /// ISO 4217, where amounts are agreed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// What is promised.
    pub levels: Vec<Level>,
    /// Reads that both recorded at times farther apart than this count for neither, in seconds.
    #[serde(default = "skew")]
    pub clock_skew: i64,
    /// Whether a failure counts that only the consumer saw.
    #[serde(default)]
    pub one_sided: OneSided,
    /// Whose record counts where both recorded the same read differently.
    #[serde(default)]
    pub disagreement: Disagreement,
    /// When nothing is measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maintenance: Vec<Window>,
    /// What follows on the first, second, ... breach of a level; the last one on all that come after it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remedies: Vec<Remedy>,
    /// How long a breach may be cured before another one counts as the next; whole seconds.
    #[serde(default, deserialize_with = "some_length", skip_serializing_if = "Option::is_none")]
    pub cure: Option<SignedDuration>,
    /// After how long without a read the consumer's node probes: one request for the headers of the data.
    #[serde(default, deserialize_with = "some_length", skip_serializing_if = "Option::is_none")]
    pub probe: Option<SignedDuration>,
}

/// A duration as ISO 8601 writes it, days and weeks included, which jiff's own form of a fixed length has not.
fn length<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SignedDuration, D::Error> {
    policy_engine::length(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn some_length<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SignedDuration>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| policy_engine::length(&text).map_err(D::Error::custom)).transpose()
}

const fn skew() -> i64 {
    30
}

/// A level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Level {
    /// Its name in the agreement.
    pub id: String,
    /// What is measured.
    pub measure: Measure,
    /// What is promised, in the unit of the measure.
    pub target: f64,
    /// For which share of the reads, in percent, where the measure is one of reads.
    #[serde(default = "all")]
    pub share: f64,
    /// For availability: how long an interval is, in seconds.
    #[serde(default = "five_minutes")]
    pub interval: i64,
    /// What whoever owes it credits or pays where it is missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub penalty: Option<Penalty>,
}

const fn all() -> f64 {
    100.0
}

const fn five_minutes() -> i64 {
    300
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Measure {
    /// The provider's: percent of the intervals with reads in which at least one succeeded.
    Availability,
    /// The provider's: seconds to the first byte, for a share of the reads.
    FirstByte,
    /// The provider's: bytes a second, for a share of the reads of 64 KiB or more.
    Throughput,
    /// The provider's: age of the data in seconds, for a share of the reads that tell it.
    Freshness,
    /// The provider's: rows in a read, for a share of the reads whose rows were counted.
    Completeness,
    /// The consumer's: most reads in a period.
    Requests,
    /// The consumer's: percent of the deletions due in a period that were confirmed in time.
    Deletion,
    /// The consumer's: statements in a period that the provider is named where the data is used; at least so many.
    Attribution,
}

impl Measure {
    /// Who owes it.
    #[must_use]
    pub const fn owed_by(self) -> Side {
        match self {
            Self::Availability
            | Self::FirstByte
            | Self::Throughput
            | Self::Freshness
            | Self::Completeness => Side::Provider,
            Self::Requests | Self::Deletion | Self::Attribution => Side::Consumer,
        }
    }

    /// In words, with what is promised.
    #[must_use]
    pub fn words(self, target: f64, share: f64) -> String {
        match self {
            Self::Availability => format!("available in {target} % of the intervals"),
            Self::FirstByte => format!("first byte within {target} s for {share} % of the reads"),
            Self::Throughput => format!("at least {target} bytes a second for {share} % of the reads"),
            Self::Freshness => format!("data at most {target} s old for {share} % of the reads"),
            Self::Completeness => format!("at least {target} rows for {share} % of the reads"),
            Self::Requests => format!("at most {target} reads in a period"),
            Self::Deletion => format!("{target} % of the deletions confirmed in time"),
            Self::Attribution => format!("at least {target} statements of attribution in a period"),
        }
    }

    /// Whether more is better.
    #[must_use]
    pub const fn is_floor(self) -> bool {
        !matches!(self, Self::FirstByte | Self::Freshness | Self::Requests)
    }
}

/// What is credited or paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Penalty {
    /// The amount, in hundredths of the currency.
    pub cents: u64,
    /// For a missed period as a whole, or for each whole percent that is missing.
    #[serde(default)]
    pub per: Per,
    /// At most, in hundredths of the currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<u64>,
}

/// For what a penalty is owed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Per {
    /// A missed period.
    #[default]
    Period,
    /// Each percent that is missing, begun ones counted whole.
    Percent,
}

/// Whether a failure counts that only the consumer saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OneSided {
    /// It counts: the way to the provider is the provider's.
    #[default]
    Counts,
    /// It does not count.
    Ignored,
}

/// Whose record counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Disagreement {
    /// The consumer's.
    Consumer,
    /// Nobody's: the read does not count.
    #[default]
    Neither,
    /// The provider's.
    Provider,
}

/// A time in which nothing is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Window {
    /// From.
    pub from: Timestamp,
    /// Until, exclusive.
    pub until: Timestamp,
}

/// What follows on a breach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Remedy {
    /// It is stated, nothing more.
    Notice,
    /// The penalty is credited.
    Credit,
    /// Reads under the agreement are slowed down.
    Throttle,
    /// Transfers under the agreement are suspended.
    Suspend,
    /// The agreement is ended.
    Terminate,
}

impl Remedy {
    /// As in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Credit => "credit",
            Self::Throttle => "throttle",
            Self::Suspend => "suspend",
            Self::Terminate => "terminate",
        }
    }
}

impl ServiceLevels {
    /// What the terms promise; `None` where nothing is.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn of(terms: &Json) -> Result<Option<Self>, Malformed> {
        terms.get(PROPERTY).map(|json| Self::parse(json.clone())).transpose()
    }

    /// Reads the value of the property.
    ///
    /// # Errors
    /// Names the place and the reason.
    pub fn parse(json: Json) -> Result<Self, Malformed> {
        let read: Self = serde_json::from_value(json)
            .map_err(|error| Malformed::new(format!("/{PROPERTY}"), error.to_string()))?;
        let whole = |path: &str, length: SignedDuration, range: std::ops::RangeInclusive<i64>| {
            if length.subsec_nanos() != 0 || !range.contains(&length.as_secs()) {
                let reason = format!("must be {} to {} whole seconds", range.start(), range.end());
                return Err(Malformed::new(path, reason));
            }
            Ok(())
        };
        whole("/period", read.period, PERIODS)?;
        for (path, length) in [("/cure", read.cure), ("/probe", read.probe)] {
            length.map_or(Ok(()), |length| whole(path, length, 1..=366 * 86_400))?;
        }
        if read.levels.is_empty() || read.levels.len() > MAX_LEVELS {
            return Err(Malformed::new("/levels", format!("must have 1 to {MAX_LEVELS} entries")));
        }
        if read.maintenance.len() > 1000 || read.maintenance.iter().any(|one| one.until <= one.from) {
            return Err(Malformed::new(
                "/maintenance",
                "has more than 1000 windows, or one that ends before it begins",
            ));
        }
        if read.remedies.len() > 16 || !(0..=3600).contains(&read.clock_skew) {
            return Err(Malformed::new("/remedies", "more than 16 remedies, or a clockSkew beyond an hour"));
        }
        let mut ids = std::collections::BTreeSet::new();
        for (at, level) in read.levels.iter().enumerate() {
            let path = format!("/levels/{at}");
            text(&format!("{path}/id"), &level.id, 100)?;
            if !ids.insert(&level.id) {
                return Err(Malformed::new(format!("{path}/id"), "stands twice"));
            }
            if !level.target.is_finite() || !(0.0..=1e15).contains(&level.target) {
                return Err(Malformed::new(format!("{path}/target"), "must be a number from 0 to 1e15"));
            }
            let percent = matches!(level.measure, Measure::Availability | Measure::Deletion);
            if !(0.0..=100.0).contains(&level.share) || percent && level.target > 100.0 {
                return Err(Malformed::new(path, "percents are from 0 to 100"));
            }
            if !(1..=86_400).contains(&level.interval) {
                return Err(Malformed::new(format!("{path}/interval"), "must be 1 to 86400 seconds"));
            }
            if level.penalty.is_some() && read.currency.is_none() {
                return Err(Malformed::new("/currency", "is needed where amounts are agreed"));
            }
        }
        if let Some(currency) = &read.currency
            && (currency.len() != 3 || !currency.bytes().all(|one| one.is_ascii_uppercase()))
        {
            return Err(Malformed::new("/currency", "must be three capital letters (ISO 4217)"));
        }
        Ok(read)
    }

    /// Each level in words.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let one = |level: &Level| {
            let penalty = level.penalty.as_ref().map_or_else(String::new, |penalty| {
                let per = match penalty.per {
                    Per::Period => "a missed period",
                    Per::Percent => "each percent that is missing",
                };
                format!("; {} for {per}", self.amount(penalty.cents))
            });
            let who = match level.measure.owed_by() {
                Side::Consumer => "consumer",
                Side::Provider => "provider",
            };
            format!("{who}, `{}`: {}{penalty}", level.id, level.measure.words(level.target, level.share))
        };
        self.levels.iter().map(one).collect()
    }

    /// An amount in words.
    #[must_use]
    pub fn amount(&self, cents: u64) -> String {
        format!("{}.{:02} {}", cents / 100, cents % 100, self.currency.as_deref().unwrap_or_default())
    }

    /// The period in which `at` lies, counted from `since`: its number, beginning and end.
    #[must_use]
    pub fn period_of(&self, since: Timestamp, at: Timestamp) -> Option<(u64, Timestamp, Timestamp)> {
        let number = at.as_second().checked_sub(since.as_second())?.div_euclid(self.period.as_secs());
        let number = u64::try_from(number).ok()?;
        let (begin, end) = self.bounds(since, number)?;
        Some((number, begin, end))
    }

    /// Beginning and end of a period.
    #[must_use]
    pub fn bounds(&self, since: Timestamp, number: u64) -> Option<(Timestamp, Timestamp)> {
        let start = Timestamp::from_second(since.as_second()).ok()?;
        let length = i64::try_from(number).ok()?.checked_mul(self.period.as_secs())?;
        let begin = start.checked_add(SignedDuration::from_secs(length)).ok()?;
        Some((begin, begin.checked_add(self.period).ok()?))
    }

    /// At which step of the ladder of remedies (from 1 on) the last of the breaches of a level is, by the ends of their periods,
    /// the oldest first: a breach within the time that another leaves to cure it is the same step.
    #[must_use]
    pub fn step(&self, ends: impl IntoIterator<Item = Timestamp>) -> usize {
        let mut step = 0;
        let mut cured_until: Option<Timestamp> = None;
        for end in ends {
            if cured_until.is_none_or(|cured| end > cured) {
                step += 1;
                cured_until = self.cure.and_then(|cure| end.checked_add(cure).ok());
            }
        }
        step
    }

    /// What follows on the `count`-th breach of a level (from 1 on).
    #[must_use]
    pub fn remedy(&self, count: usize) -> Remedy {
        let at = count.saturating_sub(1).min(self.remedies.len().saturating_sub(1));
        self.remedies.get(at).copied().unwrap_or(Remedy::Notice)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lengths_are_written_as_iso_8601_has_them() {
        let read = |period: &str, cure: &str| {
            ServiceLevels::parse(json!({"period": period, "cure": cure, "probe": "PT5M",
                "levels": [{"id": "a", "measure": "availability", "target": 99.0}]}))
        };
        let hours = SignedDuration::from_hours;
        let days = read("P1D", "P7D").unwrap();
        assert_eq!((days.period, days.cure), (hours(24), Some(hours(7 * 24))));
        assert_eq!(read("PT24H", "P1W").unwrap(), days, "a week is seven days, a day 24 hours");
        assert_eq!(ServiceLevels::parse(json!(days)).unwrap(), days, "what is written is read");
        assert!(read("P1M", "P7D").unwrap_err().reason.contains("no fixed length"));
        assert!(read("a day", "P7D").unwrap_err().reason.contains("P7D or PT12H"));
        assert_eq!(read("P1D", "-P1D").unwrap_err().path, "/cure");
    }

    #[test]
    fn a_breach_within_the_time_to_cure_another_is_no_further_step() {
        let of = |cure: Option<&str>| {
            let mut terms = json!({"period": "PT10S", "remedies": ["notice", "credit", "suspend"],
                "levels": [{"id": "a", "measure": "availability", "target": 99.0}]});
            if let (Some(cure), Some(terms)) = (cure, terms.as_object_mut()) {
                terms.insert("cure".to_owned(), json!(cure));
            }
            ServiceLevels::parse(terms).unwrap()
        };
        let ends = |seconds: &[i64]| -> Vec<_> {
            seconds.iter().map(|second| Timestamp::from_second(*second).unwrap()).collect()
        };
        let none = of(None);
        let steps: Vec<_> = [&[10][..], &[10, 20], &[10, 20, 30]].map(|all| none.step(ends(all))).into();
        assert_eq!(steps, [1, 2, 3], "without a time to cure, each is a step");
        let cured = of(Some("PT20S"));
        let steps: Vec<_> =
            [&[10][..], &[10, 20], &[10, 20, 30], &[10, 20, 30, 40]].map(|all| cured.step(ends(all))).into();
        assert_eq!(steps, [1, 1, 1, 2], "counted from the breach that began the step");
        assert_eq!(cured.step(ends(&[10, 40, 50, 70])), 3);
        assert_eq!(
            [1, 2, 3, 4].map(|step| none.remedy(step).name()),
            ["notice", "credit", "suspend", "suspend"]
        );
    }
}
