//! Decimal numbers of any length, compared digit by digit: binary floating point takes 9007199254740993 for its neighbour.

use std::cmp::Ordering;
use std::fmt;

/// Farthest place of a digit from the decimal point.
const FARTHEST: i32 = 4096;
/// Digits that fit into 128 bits.
const SHORT: usize = 38;

/// A decimal number; none is infinite, and each is written in one way only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Decimal(Digits);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Digits {
    /// `units` times ten to the power of `scale`; the last digit is not zero, and zero has the scale 0.
    Short { units: i128, scale: i32 },
    /// More digits than 38; the first and the last are not zero.
    Long { negative: bool, digits: Box<[u8]>, scale: i32 },
}

impl Decimal {
    /// Zero.
    pub const ZERO: Self = Self(Digits::Short { units: 0, scale: 0 });
    /// One.
    pub const ONE: Self = Self(Digits::Short { units: 1, scale: 0 });

    /// Reads a number as XML Schema and JSON write it: `-12.50`, `.5`, `1e3`. `None` for what is none, or has a digit
    /// farther than 4096 places from its point.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (plain, exponent) = match text.split_once(['e', 'E']) {
            None => (text, 0),
            Some((plain, exponent)) => {
                let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
                let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
                (plain, is_number.then(|| exponent.parse::<i32>().ok()).flatten()?)
            }
        };
        let (whole, fraction) = plain.split_once('.').unwrap_or((plain, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let all = || whole.bytes().chain(fraction.bytes());
        if !all().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let zeros = all().rev().take_while(|byte| *byte == b'0').count();
        let written = whole.len() + fraction.len();
        let leading = all().take_while(|byte| *byte == b'0').count();
        if leading == written {
            return Some(Self::ZERO);
        }
        let length = written - leading - zeros;
        let scale = exponent
            .checked_sub(i32::try_from(fraction.len()).ok()?)?
            .checked_add(i32::try_from(zeros).ok()?)?;
        let first = scale.checked_add(i32::try_from(length).ok()?)?;
        if scale < -FARTHEST || first > FARTHEST {
            return None;
        }
        let digits = all().skip(leading).take(length);
        if length <= SHORT {
            let units = digits.fold(0_i128, |units, byte| units * 10 + i128::from(byte - b'0'));
            let units = if negative { -units } else { units };
            return Some(Self(Digits::Short { units, scale }));
        }
        Some(Self(Digits::Long { negative, digits: digits.collect(), scale }))
    }

    /// A whole number.
    #[must_use]
    pub const fn whole(number: i64) -> Self {
        // Without `From`, since it must be constant; widening loses nothing.
        #[expect(clippy::as_conversions, reason = "widened")]
        let units = number as i128;
        Self::short(units, 0)
    }

    /// The shortest number that a reader of `number` takes for it; `None` where it is infinite or none.
    #[must_use]
    pub fn of(number: f64) -> Option<Self> {
        number.is_finite().then(|| Self::parse(&number.to_string())).flatten()
    }

    /// As binary floating point, near it.
    #[must_use]
    pub fn near(&self) -> f64 {
        self.to_string().parse().unwrap_or(f64::NAN)
    }

    /// Whether it is below zero.
    #[must_use]
    pub const fn is_negative(&self) -> bool {
        match &self.0 {
            Digits::Short { units, .. } => *units < 0,
            Digits::Long { negative, .. } => *negative,
        }
    }

    /// As a count, where it is a whole number from 0 to 2^64 - 1.
    #[must_use]
    pub fn count(&self) -> Option<u64> {
        let Digits::Short { units, scale } = self.0 else { return None };
        let power = 10_i128.checked_pow(u32::try_from(scale).ok()?)?;
        u64::try_from(units.checked_mul(power)?).ok()
    }

    /// `units` times ten to the power of `scale`.
    const fn short(mut units: i128, mut scale: i32) -> Self {
        if units == 0 {
            return Self::ZERO;
        }
        while units % 10 == 0 {
            units /= 10;
            scale += 1;
        }
        Self(Digits::Short { units, scale })
    }

    /// The sum, where it is not too long to be computed.
    pub(crate) fn plus(&self, other: &Self) -> Option<Self> {
        let (Digits::Short { units: a, scale: of_a }, Digits::Short { units: b, scale: of_b }) =
            (&self.0, &other.0)
        else {
            return None;
        };
        let scale = (*of_a).min(*of_b);
        let aligned = |units: i128, of: i32| {
            units.checked_mul(10_i128.checked_pow(u32::try_from(of.checked_sub(scale)?).ok()?)?)
        };
        Self::fitting(aligned(*a, *of_a)?.checked_add(aligned(*b, *of_b)?)?, scale)
    }

    /// The difference, where it is not too long to be computed.
    pub(crate) fn minus(&self, other: &Self) -> Option<Self> {
        let Digits::Short { units, scale } = other.0 else { return None };
        self.plus(&Self(Digits::Short { units: units.checked_neg()?, scale }))
    }

    /// Whether it is `other` taken an odd whole number of times; `false` also where they are too long to be computed with.
    pub(crate) fn is_odd_multiple_of(&self, other: &Self) -> bool {
        let (Digits::Short { units: a, scale: of_a }, Digits::Short { units: b, scale: of_b }) =
            (&self.0, &other.0)
        else {
            return false;
        };
        let scale = (*of_a).min(*of_b);
        let aligned = |units: i128, of: i32| {
            units.checked_mul(10_i128.checked_pow(u32::try_from(of.checked_sub(scale)?).ok()?)?)
        };
        let Some((a, b)) = aligned(*a, *of_a).zip(aligned(*b, *of_b)) else { return false };
        a.checked_rem(b) == Some(0) && a.checked_div(b).is_some_and(|times| times % 2 != 0)
    }

    /// Half of it, where that is not too long to be computed.
    pub(crate) fn half(&self) -> Option<Self> {
        let Digits::Short { units, scale } = self.0 else { return None };
        Self::fitting(units.checked_mul(5)?, scale.checked_sub(1)?)
    }

    /// The largest whole number that is not above it, where that is not too long to be computed.
    pub(crate) fn floor(&self) -> Option<Self> {
        let Digits::Short { units, scale } = self.0 else { return None };
        if scale >= 0 {
            return Some(self.clone());
        }
        let power = 10_i128.checked_pow(scale.unsigned_abs());
        let floor = power.map_or(if units < 0 { -1 } else { 0 }, |power| units.div_euclid(power));
        Self::fitting(floor, 0)
    }

    /// As [`Decimal::short`], within its digits.
    fn fitting(units: i128, scale: i32) -> Option<Self> {
        let fits = units == 0 || units.unsigned_abs().ilog10() < 38;
        fits.then(|| Self::short(units, scale))
    }

    /// The place of the first digit, counted from the decimal point; zero has none.
    fn magnitude(&self) -> i64 {
        match &self.0 {
            Digits::Short { units: 0, .. } => i64::MIN,
            Digits::Short { units, scale } => {
                i64::from(*scale) + i64::from(units.unsigned_abs().ilog10()) + 1
            }
            Digits::Long { digits, scale, .. } => {
                i64::from(*scale) + i64::try_from(digits.len()).unwrap_or(i64::MAX)
            }
        }
    }

    /// The digits, written into `room` where they are kept as a number.
    fn written<'a>(&'a self, room: &'a mut [u8; SHORT + 1]) -> &'a [u8] {
        match &self.0 {
            Digits::Long { digits, .. } => digits,
            Digits::Short { units, .. } => {
                let mut rest = units.unsigned_abs();
                let mut used = 0;
                for place in room.iter_mut().rev() {
                    if rest == 0 {
                        break;
                    }
                    *place = b'0' + u8::try_from(rest % 10).unwrap_or_default();
                    rest /= 10;
                    used += 1;
                }
                room.get(room.len() - used..).unwrap_or_default()
            }
        }
    }
}

/// How numbers of 64 bits stand whose scales are not far apart.
fn aligned(a: i64, of_a: i32, b: i64, of_b: i32) -> Option<Ordering> {
    let apart = of_a.checked_sub(of_b)?;
    let power = i128::from(10_i64.checked_pow(apart.unsigned_abs())?);
    let (a, b) = (i128::from(a), i128::from(b));
    Some(if apart >= 0 { (a * power).cmp(&b) } else { a.cmp(&(b * power)) })
}

impl From<u64> for Decimal {
    fn from(mut number: u64) -> Self {
        // With 64 bits, since counts are made for every decision.
        let mut scale = 0;
        while number != 0 && number.is_multiple_of(10) {
            number /= 10;
            scale += 1;
        }
        Self(Digits::Short { units: i128::from(number), scale })
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        if let (Digits::Short { units: a, scale: of_a }, Digits::Short { units: b, scale: of_b }) =
            (&self.0, &other.0)
            && let (Ok(small_a), Ok(small_b)) = (i64::try_from(*a), i64::try_from(*b))
            && let Some(order) = aligned(small_a, *of_a, small_b, *of_b)
        {
            return order;
        }
        let negative = self.is_negative();
        if negative != other.is_negative() {
            return if negative { Ordering::Less } else { Ordering::Greater };
        }
        let by_size = self.magnitude().cmp(&other.magnitude()).then_with(|| {
            // The first digits stand in the same place, so that the numbers stand as their digits do.
            let (mut here, mut there) = ([0; SHORT + 1], [0; SHORT + 1]);
            self.written(&mut here).cmp(other.written(&mut there))
        });
        if negative { by_size.reverse() } else { by_size }
    }
}

impl fmt::Display for Decimal {
    /// Without an exponent, however large it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = match &self.0 {
            Digits::Short { units: 0, .. } => return f.write_str("0"),
            Digits::Short { scale, .. } | Digits::Long { scale, .. } => *scale,
        };
        if self.is_negative() {
            f.write_str("-")?;
        }
        let mut room = [0; SHORT + 1];
        let digits = std::str::from_utf8(self.written(&mut room)).map_err(|_| fmt::Error)?;
        let zeros = |f: &mut fmt::Formatter<'_>, count: usize| (0..count).try_for_each(|_| f.write_str("0"));
        if scale >= 0 {
            f.write_str(digits)?;
            return zeros(f, usize::try_from(scale).unwrap_or_default());
        }
        let after = usize::try_from(scale.unsigned_abs()).unwrap_or_default();
        match digits.len().checked_sub(after) {
            Some(before @ 1..) => {
                let (whole, fraction) = digits.split_at(before);
                write!(f, "{whole}.{fraction}")
            }
            _ => {
                f.write_str("0.")?;
                zeros(f, after - digits.len())?;
                f.write_str(digits)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Decimal {
        Decimal::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn numbers_are_compared_digit_by_digit() {
        assert_ne!(number("9007199254740993"), number("9007199254740992"));
        assert!(number("9007199254740993") > number("9007199254740992"));
        let long = "123456789012345678901234567890123456789012345";
        assert!(number(&format!("{long}.1")) > number(long));
        assert!(number(&format!("-{long}.1")) < number(&format!("-{long}")));
        assert!(number(long) > number("9") && number("-9") > number(&format!("-{long}")));
        for (one, same) in
            [("1e3", "1000"), ("1.50", "1.5"), ("+.5", "0.5"), ("-0", "0"), ("5.", "5"), ("0.1e1", "1")]
        {
            assert_eq!(number(one), number(same), "{one}");
        }
        assert!(number("0.1") < number("0.10000000000000000000000000000000000000000000001"));
        assert!(number("1e-4000") > Decimal::ZERO);
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in [
            "", "-", ".", "e5", "1e", "1e+", "inf", "NaN", "1,5", "0x10", " 1", "1 ", "1e99999", "--1",
            "1e5000",
        ] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn it_is_written_as_floating_point_was() {
        for value in [0.1, 5.0, 1e21, -2.5, 1e-7, 123.456, 0.0, f64::MAX] {
            assert_eq!(Decimal::of(value).map(|one| one.to_string()), Some(value.to_string()));
        }
        assert_eq!(number("1e3").count(), Some(1000));
        assert_eq!(number("1.5").count(), None);
        assert_eq!(number("-1").count(), None);
        assert_eq!(number("-1.5").floor(), Some(Decimal::whole(-2)));
        assert_eq!(number("1e-50").floor(), Some(Decimal::ZERO));
        assert_eq!(number("3").half().map(|one| one.to_string()).as_deref(), Some("1.5"));
        assert_eq!(number("0.3").plus(&Decimal::ONE), Some(number("1.3")));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Against whole numbers, moved by the same number of places.
        #[test]
        fn order_is_that_of_numbers(a in any::<i64>(), b in any::<i64>(), places in 0..60_usize, more in 0..40_usize) {
            let text = |number: i64| format!("{number}e-{places}");
            prop_assert_eq!(number(&text(a)).cmp(&number(&text(b))), a.cmp(&b));
            let longer = |number: i64| format!("{number}{}", "0".repeat(more));
            prop_assert_eq!(number(&longer(a)).cmp(&number(&longer(b))), a.cmp(&b));
            let written = number(&text(a)).to_string();
            prop_assert_eq!(number(&written), number(&text(a)));
        }
    }
}
