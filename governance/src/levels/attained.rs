//! What was attained: computed from all measurements of both, in whole numbers.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::measured::{Measured, Side};
use super::{Disagreement, Level, Measure, OneSided, Per, ServiceLevels};

/// Reads of fewer bytes tell nothing about throughput.
const LEAST_BYTES: u64 = 64 * 1024;
/// Thousandths of a percent in the whole.
const WHOLE: u128 = 100_000;

/// What was attained in a period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attainment {
    /// Number of the period.
    pub period: u64,
    /// Its beginning.
    pub from: Timestamp,
    /// Its end.
    pub until: Timestamp,
    /// By level, in the order of the agreement.
    pub levels: Vec<LevelAttained>,
    /// Reads that counted.
    pub reads: u64,
    /// Reads left out because of maintenance.
    pub in_maintenance: u64,
    /// Reads that both recorded at times too far apart.
    pub skewed: u64,
    /// Reads that both recorded differently, and that count for neither.
    pub disagreed: u64,
    /// Reads that only one party saw, and that do not count: what speaks for that party, or what the terms ignore.
    pub one_sided: u64,
}

/// What was attained of a level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LevelAttained {
    /// Its name.
    pub id: String,
    /// Who owes it.
    pub owed_by: Side,
    /// In thousandths of a percent, or as a count; `None` where nothing was measured.
    pub attained: Option<u64>,
    /// What was promised, in the same unit.
    pub promised: u64,
    /// How many measurements it rests on.
    pub samples: u64,
    /// Whether it was kept; what was not measured was.
    pub met: bool,
    /// What is owed, in hundredths of the currency.
    pub cents: u64,
}

impl Attainment {
    /// SHA-256 of the canonical form, hex: the same at both parties.
    #[must_use]
    pub fn digest(&self) -> String {
        let canonical = serde_json_canonicalizer::to_vec(self).unwrap_or_default();
        Sha256::digest(canonical).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A read as it counts.
#[derive(Debug, Clone, Copy)]
struct Read {
    at: i64,
    ok: bool,
    first_byte: Option<u64>,
    took: u64,
    bytes: u64,
    rows: Option<u64>,
    age: Option<u64>,
    probe: bool,
}

impl Read {
    fn of(measured: &Measured) -> Option<Self> {
        match *measured {
            Measured::Read { at, ok, first_byte, took, bytes, rows, age, probe, .. } => {
                Some(Self { at, ok, first_byte, took, bytes, rows, age, probe })
            }
            _ => None,
        }
    }
}

/// What was attained of `terms` in the period `number` of an agreement made at `since`. Measurements may come in any order
/// and more than once; those of other periods are passed over.
#[must_use]
pub fn attain<'a>(
    terms: &ServiceLevels,
    since: Timestamp,
    number: u64,
    measured: impl IntoIterator<Item = &'a Measured>,
) -> Option<Attainment> {
    let (from, until) = terms.bounds(since, number)?;
    let mut attainment = Attainment {
        period: number,
        from,
        until,
        levels: Vec::new(),
        reads: 0,
        in_maintenance: 0,
        skewed: 0,
        disagreed: 0,
        one_sided: 0,
    };
    let all: BTreeSet<&Measured> = measured.into_iter().collect();
    let within = |at: i64| (from.as_millisecond()..until.as_millisecond()).contains(&at);
    let mut pairs: BTreeMap<&str, [Option<Read>; 2]> = BTreeMap::new();
    for one in &all {
        if let Measured::Read { id, by, .. } = one {
            let place = usize::from(*by == Side::Provider);
            // Recorded twice by one party: the first in the order of measurements counts.
            if let Some(slot) = pairs.entry(id).or_default().get_mut(place) {
                *slot = slot.or_else(|| Read::of(one));
            }
        }
    }
    let reads: Vec<Read> =
        pairs.into_values().filter_map(|pair| counted(terms, pair, &within, &mut attainment)).collect();
    attainment.reads = count(reads.len());
    let levels = terms.levels.iter().map(|level| level_attained(level, &reads, &all, &within, from));
    attainment.levels = levels.collect();
    Some(attainment)
}

/// How a read counts that one or both have recorded.
fn counted(
    terms: &ServiceLevels,
    pair: [Option<Read>; 2],
    within: &impl Fn(i64) -> bool,
    attainment: &mut Attainment,
) -> Option<Read> {
    // The provider's clock decides in which period it was, where the provider saw it.
    let [consumer, provider] = pair;
    let at = provider.or(consumer)?.at;
    if !within(at) {
        return None;
    }
    let instant = Timestamp::from_millisecond(at).ok()?;
    if terms.maintenance.iter().any(|window| window.from <= instant && instant < window.until) {
        attainment.in_maintenance += 1;
        return None;
    }
    match (consumer, provider) {
        (Some(consumer), Some(provider)) => {
            if consumer.at.abs_diff(provider.at) > terms.clock_skew.unsigned_abs().saturating_mul(1000) {
                attainment.skewed += 1;
                return None;
            }
            let ok = match (consumer.ok == provider.ok, terms.disagreement) {
                (true, _) | (false, Disagreement::Consumer) => consumer.ok,
                (false, Disagreement::Provider) => provider.ok,
                (false, Disagreement::Neither) => {
                    attainment.disagreed += 1;
                    return None;
                }
            };
            // What arrives is what the consumer has.
            Some(Read {
                at,
                ok,
                age: consumer.age.or(provider.age),
                rows: consumer.rows.or(provider.rows),
                ..consumer
            })
        }
        (Some(consumer), None) if !consumer.ok && terms.one_sided == OneSided::Ignored => {
            attainment.one_sided += 1;
            None
        }
        // That the provider alone says it gave something proves nothing; a failure that it admits counts.
        (None, Some(provider)) if provider.ok => {
            attainment.one_sided += 1;
            None
        }
        (Some(one), None) | (None, Some(one)) => Some(one),
        (None, None) => None,
    }
}

fn level_attained(
    level: &Level,
    reads: &[Read],
    all: &BTreeSet<&Measured>,
    within: &impl Fn(i64) -> bool,
    from: Timestamp,
) -> LevelAttained {
    let good = || reads.iter().filter(|read| read.ok && !read.probe);
    let limit = level.target;
    let share = |samples: u64, kept: u64| (samples, percent(kept, samples));
    let of = |values: Vec<u64>, fits: &dyn Fn(u64) -> bool| {
        let kept = values.iter().filter(|value| fits(**value)).count();
        share(count(values.len()), count(kept))
    };
    let at_most = |scale: f64| move |value: u64| whole(limit * scale) >= value;
    let at_least = |value: u64| value >= whole_up(limit);
    let (samples, attained) = match level.measure {
        Measure::Availability => {
            let mut intervals: BTreeMap<i64, bool> = BTreeMap::new();
            for read in reads {
                let interval =
                    (read.at - from.as_millisecond()).div_euclid(level.interval.saturating_mul(1000).max(1));
                *intervals.entry(interval).or_default() |= read.ok;
            }
            share(count(intervals.len()), count(intervals.values().filter(|up| **up).count()))
        }
        Measure::FirstByte => of(
            reads.iter().filter(|read| read.ok).filter_map(|read| read.first_byte).collect(),
            &at_most(1000.0),
        ),
        Measure::Freshness => {
            of(reads.iter().filter(|read| read.ok).filter_map(|read| read.age).collect(), &at_most(1.0))
        }
        Measure::Throughput => {
            let rate = |read: &Read| {
                (read.bytes >= LEAST_BYTES).then(|| read.bytes.saturating_mul(1000) / read.took.max(1))
            };
            of(good().filter_map(rate).collect(), &at_least)
        }
        Measure::Completeness => of(good().filter_map(|read| read.rows).collect(), &at_least),
        Measure::Requests => {
            let reads = count(good().count());
            (reads, Some(reads))
        }
        Measure::Deletion => {
            // One party may know of a confirmation of which the other does not know yet.
            let mut kept: BTreeMap<&str, bool> = BTreeMap::new();
            for one in all {
                if let Measured::Deletion { id, due, done } = one
                    && within(*due)
                {
                    *kept.entry(id).or_default() |= done.is_some_and(|done| done <= *due);
                }
            }
            share(count(kept.len()), count(kept.values().filter(|kept| **kept).count()))
        }
        Measure::Attribution => {
            let stated =
                all.iter().filter(|one| matches!(one, Measured::Attribution { at, .. } if within(*at)));
            let stated = count(stated.count());
            (stated, Some(stated))
        }
    };
    let promised = match level.measure {
        Measure::Requests => whole(limit),
        Measure::Attribution => whole_up(limit),
        Measure::Availability | Measure::Deletion => whole_up(limit * 1000.0),
        _ => whole_up(level.share * 1000.0),
    };
    let met = attained.is_none_or(|attained| match level.measure {
        Measure::Requests => attained <= promised,
        _ => attained >= promised,
    });
    let cents = if met { 0 } else { owed(level, attained.unwrap_or_default(), promised) };
    LevelAttained {
        id: level.id.clone(),
        owed_by: level.measure.owed_by(),
        attained,
        promised,
        samples,
        met,
        cents,
    }
}

fn owed(level: &Level, attained: u64, promised: u64) -> u64 {
    let Some(penalty) = &level.penalty else { return 0 };
    let times = match (penalty.per, level.measure) {
        (Per::Period, _) | (Per::Percent, Measure::Attribution) => 1,
        // Of what was promised, as much as it was exceeded.
        (Per::Percent, Measure::Requests) => {
            (u128::from(attained.saturating_sub(promised)) * 100).div_ceil(u128::from(promised.max(1)))
        }
        (Per::Percent, _) => u128::from(promised.saturating_sub(attained)).div_ceil(1000),
    };
    let cents = u64::try_from(u128::from(penalty.cents).saturating_mul(times)).unwrap_or(u64::MAX);
    penalty.most.map_or(cents, |most| cents.min(most))
}

/// In thousandths of a percent, rounded down; `None` of nothing.
fn percent(part: u64, whole: u64) -> Option<u64> {
    if whole == 0 {
        return None;
    }
    u64::try_from(u128::from(part) * WHOLE / u128::from(whole)).ok()
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bounded by the parser"
)]
fn whole(number: f64) -> u64 {
    // 0.57 * 1000 is a little less than 570 in binary.
    (number + 1e-6).floor() as u64
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bounded by the parser"
)]
fn whole_up(number: f64) -> u64 {
    // 99.9 * 1000 is a little more than 99900 in binary.
    (number - 1e-6).ceil().max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn terms() -> ServiceLevels {
        ServiceLevels::parse(json!({
            "period": "PT1H", "currency": "EUR", "clockSkew": 5,
            "maintenance": [{"from": "2027-01-15T08:50:00Z", "until": "2027-01-15T08:55:00Z"}],
            "levels": [
                {"id": "up", "measure": "availability", "target": 99.5, "interval": 300, "penalty": {"cents": 1000, "per": "percent", "most": 20000}},
                {"id": "fast", "measure": "firstByte", "target": 0.5, "share": 90, "penalty": {"cents": 500}},
                {"id": "fresh", "measure": "freshness", "target": 60},
                {"id": "whole", "measure": "completeness", "target": 10},
                {"id": "calls", "measure": "requests", "target": 100},
                {"id": "gone", "measure": "deletion", "target": 100},
                {"id": "named", "measure": "attribution", "target": 1},
            ],
        }))
        .unwrap()
    }

    fn since() -> Timestamp {
        "2027-01-15T08:00:00Z".parse().unwrap()
    }

    fn read(id: &str, by: Side, second: i64, ok: bool, first_byte: u64) -> Measured {
        Measured::Read {
            id: id.to_owned(),
            by,
            at: since().as_millisecond() + second * 1000,
            ok,
            first_byte: Some(first_byte),
            took: 100,
            bytes: 1000,
            rows: Some(10),
            age: None,
            probe: false,
        }
    }

    fn level<'a>(attained: &'a Attainment, id: &str) -> &'a LevelAttained {
        attained.levels.iter().find(|level| level.id == id).unwrap()
    }

    #[test]
    fn what_was_promised_is_held_against_what_was_measured() {
        use Side::{Consumer, Provider};
        let measured = [
            read("a", Consumer, 10, true, 100),
            read("a", Provider, 11, true, 1),
            read("b", Consumer, 310, false, 900),
            read("c", Consumer, 620, true, 700),
            read("c", Provider, 620, true, 700),
            // Two say different things; one is in maintenance; the clocks of one pair are too far apart; one is of another hour.
            read("d", Consumer, 700, true, 1),
            read("d", Provider, 700, false, 1),
            read("e", Consumer, 3060, false, 1),
            read("f", Consumer, 1000, true, 1),
            read("f", Provider, 1006, true, 1),
            read("g", Consumer, 3600, false, 1),
        ];
        let attained = attain(&terms(), since(), 0, &measured).unwrap();
        assert_eq!(
            (attained.reads, attained.disagreed, attained.in_maintenance, attained.skewed),
            (3, 1, 1, 1)
        );
        let up = level(&attained, "up");
        assert_eq!(
            (up.attained, up.promised, up.met),
            (Some(66_666), 99_500, false),
            "two of three intervals"
        );
        assert_eq!(up.cents, 20_000, "33 percents at 10.00, but 200.00 at most");
        let fast = level(&attained, "fast");
        assert_eq!((fast.attained, fast.samples, fast.cents), (Some(50_000), 2, 500));
        assert!(
            level(&attained, "fresh").met && level(&attained, "fresh").attained.is_none(),
            "nothing tells"
        );
        assert!(level(&attained, "whole").met && level(&attained, "calls").met);
        assert!(!level(&attained, "named").met, "nobody was named");
        let next = attain(&terms(), since(), 1, &measured).unwrap();
        assert_eq!((next.reads, level(&next, "up").attained), (1, Some(0)));
        let quiet = attain(&terms(), since(), 2, &measured).unwrap();
        assert!(level(&quiet, "up").met && level(&quiet, "up").cents == 0, "what was not measured was kept");
    }

    #[test]
    fn each_measure_of_reads_counts_those_that_tell_it() {
        let terms = ServiceLevels::parse(json!({"period": "PT1H", "currency": "EUR", "levels": [
            {"id": "rate", "measure": "throughput", "target": 1_000_000, "share": 50},
            {"id": "fresh", "measure": "freshness", "target": 60, "share": 75},
            {"id": "rows", "measure": "completeness", "target": 10},
            {"id": "calls", "measure": "requests", "target": 4, "penalty": {"cents": 10, "per": "percent"}},
        ]}));
        let one = |id: &str, size: u64, rows_told: Option<u64>, age_told: Option<u64>, probes: bool| {
            let mut read = read(id, Side::Consumer, 10, true, 5);
            if let Measured::Read { bytes, rows, age, probe, .. } = &mut read {
                (*bytes, *rows, *age, *probe) = (size, rows_told, age_told, probes);
            }
            read
        };
        // Each took 100 ms.
        let measured = [
            one("fast", 100_000, Some(10), Some(60), false),
            one("slow", 99_999, Some(9), Some(61), false),
            one("small", 65_535, None, Some(0), false),
            one("mute", 70_000, Some(11), None, false),
            one("last", 500_000, None, None, false),
            one("probe", 1, Some(0), Some(3), true),
        ];
        let attained = attain(&terms.unwrap(), since(), 0, &measured).unwrap();
        let told = |id: &str| {
            (level(&attained, id).samples, level(&attained, id).attained, level(&attained, id).met)
        };
        assert_eq!(told("rate"), (4, Some(50_000), true), "too small a read tells nothing");
        assert_eq!(told("fresh"), (4, Some(75_000), true), "a probe tells how old the data is");
        assert_eq!(told("rows"), (3, Some(66_666), false), "a probe has no rows");
        assert_eq!(told("calls"), (5, Some(5), false), "nor is it a read");
        assert_eq!(level(&attained, "calls").cents, 250, "25 percents more than promised");
    }

    #[test]
    fn what_only_one_saw_counts_as_agreed() {
        let seen = [read("a", Side::Consumer, 10, false, 0)];
        let counts = attain(&terms(), since(), 0, &seen).unwrap();
        assert!(!level(&counts, "up").met);
        let ignored = ServiceLevels { one_sided: OneSided::Ignored, ..terms() };
        let ignored = attain(&ignored, since(), 0, &seen).unwrap();
        assert_eq!((ignored.one_sided, level(&ignored, "up").met), (1, true));
        let both = [read("a", Side::Consumer, 10, false, 0), read("a", Side::Provider, 10, true, 0)];
        for (disagreement, met) in
            [(Disagreement::Consumer, false), (Disagreement::Provider, true), (Disagreement::Neither, true)]
        {
            let terms = ServiceLevels { disagreement, ..terms() };
            assert_eq!(level(&attain(&terms, since(), 0, &both).unwrap(), "up").met, met, "{disagreement:?}");
        }
    }

    #[test]
    fn reads_that_the_provider_alone_saw_make_nothing_better() {
        let failed = read("real", Side::Consumer, 10, false, 0);
        let seen = [failed, read("real", Side::Provider, 10, false, 0)];
        let invented: Vec<_> =
            (0..1200).map(|n| read(&format!("invented {n}"), Side::Provider, 3 * n, true, 1)).collect();
        for one_sided in [OneSided::Counts, OneSided::Ignored] {
            let terms = ServiceLevels { one_sided, maintenance: Vec::new(), ..terms() };
            let honest = attain(&terms, since(), 0, &seen).unwrap();
            let padded = attain(&terms, since(), 0, seen.iter().chain(&invented)).unwrap();
            assert_eq!(level(&honest, "up").attained, Some(0));
            assert_eq!(
                padded.levels, honest.levels,
                "neither is anything owed for requests that were never made"
            );
            assert_eq!((padded.reads, padded.one_sided), (1, 1200));
            let admitted = [read("admitted", Side::Provider, 20, false, 0)];
            assert!(!level(&attain(&terms, since(), 0, &admitted).unwrap(), "up").met, "its own failure");
        }
    }

    #[test]
    fn deletions_and_attributions_are_the_consumers() {
        let at = |second: i64| since().as_millisecond() + second * 1000;
        let measured = [
            Measured::Deletion { id: "1".to_owned(), due: at(100), done: Some(at(99)) },
            Measured::Deletion { id: "2".to_owned(), due: at(100), done: Some(at(101)) },
            Measured::Deletion { id: "3".to_owned(), due: at(4000), done: None },
            Measured::Attribution { id: "4".to_owned(), at: at(50) },
        ];
        let attained = attain(&terms(), since(), 0, &measured).unwrap();
        let gone = level(&attained, "gone");
        assert_eq!((gone.attained, gone.samples, gone.owed_by), (Some(50_000), 2, Side::Consumer));
        assert!(level(&attained, "named").met);
    }

    fn measurement() -> impl Strategy<Value = Measured> {
        let side = prop_oneof![Just(Side::Consumer), Just(Side::Provider)];
        (
            0..40_u8,
            side,
            -200..8000_i64,
            any::<bool>(),
            0..2000_u64,
            proptest::option::of(0..20_u64),
            any::<bool>(),
        )
            .prop_map(|(id, by, second, ok, first_byte, rows, probe)| Measured::Read {
                id: format!("r{id}"),
                by,
                at: since().as_millisecond() + second * 1000,
                ok,
                first_byte: Some(first_byte),
                took: first_byte + 5,
                bytes: first_byte * 1000,
                rows,
                age: rows.map(|rows| rows * 10),
                probe,
            })
    }

    proptest! {
        #[test]
        fn both_come_to_the_same_whatever_came_first(
            mut all in proptest::collection::vec(measurement(), 0..80),
            order in any::<u64>(),
            period in 0..3_u64,
        ) {
            let terms = terms();
            let ours = attain(&terms, since(), period, &all).unwrap();
            // The other received them in another order, and some of them twice.
            let length = all.len();
            for at in 0..length {
                let other = usize::try_from(order.rotate_left(u32::try_from(at % 64).unwrap()) % u64::try_from(length).unwrap()).unwrap();
                all.swap(at, other);
            }
            let twice: Vec<_> = all.iter().step_by(3).cloned().collect();
            all.extend(twice);
            let theirs = attain(&terms, since(), period, &all).unwrap();
            prop_assert_eq!(ours.digest(), theirs.digest());
            prop_assert_eq!(ours, theirs);
        }

        #[test]
        fn a_failure_more_is_never_better(all in proptest::collection::vec(measurement(), 0..40), second in 0..3600_i64) {
            let terms = ServiceLevels { maintenance: Vec::new(), ..terms() };
            let before = attain(&terms, since(), 0, &all).unwrap();
            let failure = read("another", Side::Provider, second, false, 0);
            let after = attain(&terms, since(), 0, all.iter().chain([&failure])).unwrap();
            let up = |attained: &Attainment| level(attained, "up").attained.unwrap_or(100_000);
            prop_assert!(up(&after) <= up(&before));
            prop_assert!(level(&after, "up").cents >= level(&before, "up").cents);
        }
    }
}
