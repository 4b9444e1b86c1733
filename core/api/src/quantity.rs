//! Quantities such as `100m`, `1.5Gi`, `1e3`: exact decimal numbers with the suffix family that they were written in
//! (apimachinery `pkg/api/resource`).
//!
//! A value is `digits * 10^exponent` with any number of digits, so that nothing overflows; precision ends at 10^-9, where
//! values are rounded away from zero. The canonical form has no fraction and the largest suffix that needs none.

use std::{cmp::Ordering, fmt};

const TEXT_BYTES_MAX: usize = 1024;
const FORMAT_WRONG: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
/// The finest precision kept.
const NANO: i32 = -9;
/// Exponents beyond this are refused: no number of anything has a thousand digits.
const EXPONENT_MAX: i32 = 1000;

/// Why a text is not a quantity: the sentence of the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct QuantityError(pub &'static str);

/// The family of suffixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `Ki`, `Mi`, `Gi`, ...: powers of 1024.
    BinarySi,
    /// `m`, none, `k`, `M`, ...: powers of 1000.
    DecimalSi,
    /// `e3`, `E-6`.
    DecimalExponent,
}

/// A quantity. Compared by value: `1000m` equals `1`.
#[derive(Debug, Clone)]
pub struct Quantity {
    amount: Amount,
    format: Format,
    /// The text as written, where the reference keeps it: it is canonical but for signs and zeros in front.
    text: Option<String>,
}

/// `digits * 10^exponent`; the digits neither start nor end with a zero, and are empty for zero.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Amount {
    negative: bool,
    digits: Vec<u8>,
    exponent: i32,
}

impl Quantity {
    /// Reads a quantity.
    pub fn parse(text: &str) -> Result<Quantity, QuantityError> {
        if text.is_empty() || text.len() > TEXT_BYTES_MAX {
            return Err(QuantityError(FORMAT_WRONG));
        }
        let parts = split(text)?;
        let (multiplier, format) = suffix(parts.suffix)?;
        let short = matches!(multiplier, Multiplier::Decimal(NANO..) | Multiplier::Binary(..=40));
        if !parts.has_digits && !short {
            return Err(QuantityError("unable to parse numeric part of quantity"));
        }
        let mut amount = Amount::of_decimal(parts.negative, parts.whole, parts.fraction);
        match multiplier {
            Multiplier::Decimal(exponent) => amount.exponent += exponent,
            Multiplier::Binary(bits) => amount = amount.shifted_left(bits),
        }
        let amount = amount.normalised().rounded_up(NANO);
        let text = keeps_text(&parts, multiplier).then(|| text.to_string());
        let below_one = format == Format::BinarySi && !amount.is_zero() && amount.top() <= 0;
        Ok(Quantity { amount, format: if below_one { Format::DecimalSi } else { format }, text })
    }

    /// A whole number.
    pub fn from_integer(number: i64, format: Format) -> Quantity {
        let amount = Amount::of_integer(i128::from(number), 0);
        Quantity { amount, format, text: None }
    }

    /// A number of thousandths.
    pub fn from_milli(number: i64, format: Format) -> Quantity {
        let amount = Amount::of_integer(i128::from(number), -3);
        Quantity { amount, format, text: None }
    }

    /// The suffix family.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether it is zero.
    pub fn is_zero(&self) -> bool {
        self.amount.is_zero()
    }

    /// -1, 0 or 1.
    pub fn sign(&self) -> i32 {
        match (self.is_zero(), self.amount.negative) {
            (true, _) => 0,
            (_, true) => -1,
            _ => 1,
        }
    }

    /// The value rounded away from zero to a whole number; what does not fit becomes the nearest that does.
    pub fn value(&self) -> i64 {
        self.amount.scaled(0)
    }

    /// The value in thousandths, rounded away from zero; what does not fit becomes the nearest that does.
    pub fn milli_value(&self) -> i64 {
        self.amount.scaled(-3)
    }

    /// The sum, in the suffix family of the first unless that is zero. Beyond 10^29 it becomes the nearest number.
    #[must_use]
    pub fn plus(&self, other: &Quantity) -> Quantity {
        self.combined(other, i128::saturating_add)
    }

    /// The difference, in the suffix family of the first unless that is zero.
    #[must_use]
    pub fn minus(&self, other: &Quantity) -> Quantity {
        self.combined(other, i128::saturating_sub)
    }

    fn combined(&self, other: &Quantity, combine: fn(i128, i128) -> i128) -> Quantity {
        let nanos = combine(self.amount.scaled_wide(NANO), other.amount.scaled_wide(NANO));
        let format = if self.is_zero() { other.format } else { self.format };
        Quantity { amount: Amount::of_integer(nanos, NANO), format, text: None }
    }

    /// The canonical form: `1.5Gi` is `1536Mi`, `1000m` is `1`.
    pub fn canonical(&self) -> String {
        if self.is_zero() {
            return "0".into();
        }
        let amount = &self.amount;
        if self.format == Format::BinarySi
            && amount.exponent >= 0
            && amount.compare_magnitude(&Amount::of_integer(1024, 0)).is_ge()
        {
            let mut number = amount.scaled_wide(0);
            let mut power = 0;
            while number % 1024 == 0 && power < 6 {
                number /= 1024;
                power += 1;
            }
            return format!("{number}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][power]);
        }
        let mut thousands = amount.exponent.div_euclid(3) * 3;
        if self.format != Format::DecimalExponent {
            thousands = thousands.clamp(NANO, 18);
        }
        let zeros = usize::try_from(amount.exponent - thousands).unwrap_or_default();
        let mut text = String::new();
        if amount.negative {
            text.push('-');
        }
        text.extend(amount.digits.iter().map(|digit| char::from(b'0' + digit)));
        text.extend(std::iter::repeat_n('0', zeros));
        match (self.format, thousands) {
            (_, 0) => {}
            (Format::DecimalExponent, exponent) => text.push_str(&format!("e{exponent}")),
            (_, exponent) => text.push_str(decimal_suffix(exponent)),
        }
        text
    }
}

/// The text as written where the reference keeps it, else the canonical form.
impl fmt::Display for Quantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => formatter.write_str(text),
            None => formatter.write_str(&self.canonical()),
        }
    }
}

impl std::str::FromStr for Quantity {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Quantity, QuantityError> {
        Quantity::parse(text)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Quantity) -> bool {
        self.amount == other.amount
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Quantity) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Quantity) -> Ordering {
        match (self.sign(), other.sign()) {
            (-1, -1) => other.amount.compare_magnitude(&self.amount),
            (1, 1) => self.amount.compare_magnitude(&other.amount),
            (left, right) => left.cmp(&right),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Multiplier {
    /// 10 to this power.
    Decimal(i32),
    /// 2 to this power.
    Binary(u32),
}

struct Parts<'a> {
    negative: bool,
    /// Without zeros in front.
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
    /// Without a digit the number is zero, or refused where the reference reads it the long way.
    has_digits: bool,
}

fn split(text: &str) -> Result<Parts<'_>, QuantityError> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let number_end = unsigned.find(|c: char| !c.is_ascii_digit()).unwrap_or(unsigned.len());
    let (whole, mut rest) = unsigned.split_at(number_end);
    let mut fraction = "";
    if let Some(after) = rest.strip_prefix('.') {
        let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        (fraction, rest) = after.split_at(end);
    }
    let letters_end = rest.find(|c: char| !"eEinumkKMGTP".contains(c)).unwrap_or(rest.len());
    let exponent = rest[letters_end..].strip_prefix(['-', '+']).unwrap_or(&rest[letters_end..]);
    if !exponent.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(QuantityError(FORMAT_WRONG));
    }
    let has_digits = !(whole.is_empty() && fraction.is_empty());
    let whole = whole.trim_start_matches('0');
    Ok(Parts { negative: text.starts_with('-'), whole, fraction, suffix: rest, has_digits })
}

fn suffix(text: &str) -> Result<(Multiplier, Format), QuantityError> {
    let decimal = |exponent| Ok((Multiplier::Decimal(exponent), Format::DecimalSi));
    let binary = |bits| Ok((Multiplier::Binary(bits), Format::BinarySi));
    match text {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ => {
            let exponent = text.strip_prefix(['e', 'E']).and_then(|exponent| exponent.parse::<i32>().ok());
            match exponent {
                Some(exponent) if (-EXPONENT_MAX..=EXPONENT_MAX).contains(&exponent) => {
                    Ok((Multiplier::Decimal(exponent), Format::DecimalExponent))
                }
                _ => Err(QuantityError("unable to parse quantity's suffix")),
            }
        }
    }
}

fn decimal_suffix(exponent: i32) -> &'static str {
    match exponent {
        -9 => "n",
        -6 => "u",
        -3 => "m",
        3 => "k",
        6 => "M",
        9 => "G",
        12 => "T",
        15 => "P",
        18 => "E",
        _ => "",
    }
}

/// Whether the reference answers with the text as written: short numbers that are canonical already.
fn keeps_text(parts: &Parts<'_>, multiplier: Multiplier) -> bool {
    let whole = if parts.whole.is_empty() { "0" } else { parts.whole };
    let digits = whole.len() + parts.fraction.len();
    let shifted = || format!("{whole}{}", parts.fraction);
    match multiplier {
        Multiplier::Decimal(exponent) => {
            let scale = exponent - parts.fraction.len() as i32;
            let shifted = shifted();
            digits <= 18 && scale >= NANO && scale % 3 == 0 && !shifted.ends_with("000") && !shifted.starts_with('0')
        }
        Multiplier::Binary(bits) => {
            let room = 14usize.saturating_sub((bits * 3 / 10) as usize);
            let odd = whole.parse::<u64>().is_ok_and(|number| number & 7 != 0);
            parts.fraction.is_empty() && whole.len() <= room && odd
        }
    }
}

impl Amount {
    fn of_decimal(negative: bool, whole: &str, fraction: &str) -> Amount {
        let digits = whole.bytes().chain(fraction.bytes()).map(|byte| byte - b'0').collect();
        Amount { negative, digits, exponent: -(fraction.len() as i32) }
    }

    fn of_integer(number: i128, exponent: i32) -> Amount {
        let digits = number.unsigned_abs().to_string().bytes().map(|byte| byte - b'0').collect();
        Amount { negative: number < 0, digits, exponent }.normalised()
    }

    fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    /// The power of ten above the first digit: 1 for 1 to 9, 0 for 0.1 to 0.9.
    fn top(&self) -> i32 {
        self.exponent + self.digits.len() as i32
    }

    fn normalised(mut self) -> Amount {
        let zeros = self.digits.iter().take_while(|digit| **digit == 0).count();
        self.digits.drain(..zeros);
        while self.digits.last() == Some(&0) {
            self.digits.pop();
            self.exponent += 1;
        }
        if self.digits.is_empty() {
            return Amount { negative: false, digits: Vec::new(), exponent: 0 };
        }
        self
    }

    /// Times 2 to the power, at most the largest i64: what the reference allows of binary quantities.
    fn shifted_left(mut self, bits: u32) -> Amount {
        for _ in 0..bits {
            let mut carry = 0;
            for digit in self.digits.iter_mut().rev() {
                let doubled = *digit * 2 + carry;
                (*digit, carry) = (doubled % 10, doubled / 10);
            }
            if carry > 0 {
                self.digits.insert(0, carry);
            }
        }
        let most = Amount::of_integer(i128::from(i64::MAX), 0);
        let amount = self.normalised();
        if amount.compare_magnitude(&most).is_gt() { Amount { negative: amount.negative, ..most } } else { amount }
    }

    /// Without what is finer than 10 to the power; away from zero.
    fn rounded_up(mut self, power: i32) -> Amount {
        if self.is_zero() || self.exponent >= power {
            return self;
        }
        let cut = usize::try_from(power - self.exponent).unwrap_or_default();
        let kept = self.digits.len().saturating_sub(cut);
        self.digits.truncate(kept);
        self.exponent = power;
        // Something was cut, as the last digit is not zero: add one.
        let mut carry = true;
        for digit in self.digits.iter_mut().rev() {
            if *digit < 9 {
                *digit += 1;
                carry = false;
                break;
            }
            *digit = 0;
        }
        if carry {
            self.digits.insert(0, 1);
        }
        self.normalised()
    }

    fn compare_magnitude(&self, other: &Amount) -> Ordering {
        let by_size = match (self.is_zero(), other.is_zero()) {
            (false, false) => self.top().cmp(&other.top()),
            (left, right) => right.cmp(&left),
        };
        // Neither ends with a zero, so that a longer one with the same start is larger.
        by_size.then_with(|| self.digits.cmp(&other.digits))
    }

    /// In units of 10 to the power, away from zero, at most what fits.
    fn scaled(&self, power: i32) -> i64 {
        let limit = if self.negative { i64::MIN } else { i64::MAX };
        i64::try_from(self.scaled_wide(power)).unwrap_or(limit)
    }

    fn scaled_wide(&self, power: i32) -> i128 {
        let amount = self.clone().rounded_up(power);
        let limit = if self.negative { i128::MIN } else { i128::MAX };
        if amount.top() - power > 38 {
            return limit;
        }
        let zeros = usize::try_from(amount.exponent - power).unwrap_or_default();
        let digits = amount.digits.iter().copied().chain(std::iter::repeat_n(0, zeros));
        let sum = digits.fold(0i128, |sum, digit| sum.saturating_mul(10).saturating_add(i128::from(digit)));
        if self.negative { -sum } else { sum }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prints_as_the_reference() {
        let check = |text: &str, printed: &str, canonical: &str| {
            let quantity = Quantity::parse(text).unwrap();
            assert_eq!((quantity.to_string().as_str(), quantity.canonical().as_str()), (printed, canonical), "{text}");
        };
        check("0", "0", "0");
        check("00", "0", "0");
        check("0Ki", "0", "0");
        check("-0", "0", "0");
        check("1", "1", "1");
        check("+5", "+5", "5");
        check("05", "05", "5");
        check("-5", "-5", "-5");
        check("100m", "100m", "100m");
        check("1000m", "1", "1");
        check("1.5", "1500m", "1500m");
        check("0.5", "500m", "500m");
        check("1.0", "1", "1");
        check("2500m", "2500m", "2500m");
        check("10000", "10k", "10k");
        check("1000k", "1M", "1M");
        check("1e3", "1e3", "1e3");
        check("1E3", "1E3", "1e3");
        check("12e5", "1200e3", "1200e3");
        check("1e-3", "1e-3", "1e-3");
        check("1Gi", "1Gi", "1Gi");
        check("1024Mi", "1Gi", "1Gi");
        check("1500Ki", "1500Ki", "1500Ki");
        check("512Mi", "512Mi", "512Mi");
        check("0.5Gi", "512Mi", "512Mi");
        check("1.5Gi", "1536Mi", "1536Mi");
        check("0.5Ki", "512", "512");
        check("0.0001Ki", "102400u", "102400u");
        check("1.0001Ki", "1024102400u", "1024102400u");
        check("1n", "1n", "1n");
        check("0.1n", "1n", "1n");
        check("1.1n", "2n", "2n");
        check("-1.1n", "-2n", "-2n");
        check("9999999999999999999Ei", "9223372036854775807", "9223372036854775807");
        check("123456789012345678901234567890", "123456789012345678901234567890", "123456789012345678901234567890");
        check("1000E", "1000E", "1000E");
        check("5Ei", "5Ei", "5Ei");
    }

    #[test]
    fn refusals() {
        let check =
            |text: &str, expect: &str| assert_eq!(Quantity::parse(text).unwrap_err().to_string(), expect, "{text}");
        for text in ["", "1.5.3", "a", "1 ", "1m5x", "1Gé", "１"] {
            check(text, FORMAT_WRONG);
        }
        for text in ["--1", "1KiKi", "1e", "1i", "1m5", "1e99999999999"] {
            check(text, "unable to parse quantity's suffix");
        }
        check("Ei", "unable to parse numeric part of quantity");
        assert!(Quantity::parse("Ki").unwrap().is_zero());
        check(&"1".repeat(2000), FORMAT_WRONG);
    }

    #[test]
    fn values() {
        let check = |text: &str, value: i64, milli: i64| {
            let quantity = Quantity::parse(text).unwrap();
            assert_eq!((quantity.value(), quantity.milli_value()), (value, milli), "{text}");
        };
        check("1500m", 2, 1500);
        check("-1500m", -2, -1500);
        check("1Ki", 1024, 1_024_000);
        check("1n", 1, 1);
        check("1e30", i64::MAX, i64::MAX);
        check("-1e1000", i64::MIN, i64::MIN);
        let parse = |text: &str| Quantity::parse(text).unwrap();
        assert_eq!(parse("1Gi").plus(&parse("512Mi")).to_string(), "1536Mi");
        assert_eq!(parse("0").plus(&parse("512Mi")).to_string(), "512Mi");
        assert_eq!(parse("1").minus(&parse("1500m")).to_string(), "-500m");
        assert_eq!(Quantity::from_integer(10_000, Format::DecimalSi).to_string(), "10k");
        assert_eq!(Quantity::from_milli(1500, Format::BinarySi).to_string(), "1500m");
    }

    #[test]
    fn order() {
        let ascending = ["-1e1000", "-1Ki", "-1", "-1n", "0", "1n", "999u", "1m", "1", "1001m", "1k", "1Ki", "1e1000"];
        for pair in ascending.windows(2) {
            let [low, high] = [pair[0], pair[1]].map(|text| Quantity::parse(text).unwrap());
            assert_eq!(low.cmp(&high), Ordering::Less, "{pair:?}");
        }
        assert_eq!(Quantity::parse("1000m"), Quantity::parse("1"));
        assert_eq!(Quantity::parse("1Ki"), Quantity::parse("1024"));
    }

    proptest! {
        #[test]
        fn canonical_forms_are_fixed_points(number in -1_000_000_000_000i64..1_000_000_000_000, fraction in "(\\.[0-9]{0,8})?",
            suffix in "(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|e[0-9]|E-[0-9])?") {
            let quantity = Quantity::parse(&format!("{number}{fraction}{suffix}")).unwrap();
            for form in [quantity.to_string(), quantity.canonical()] {
                let again = Quantity::parse(&form).unwrap();
                prop_assert_eq!(&again, &quantity);
                prop_assert_eq!(again.canonical(), quantity.canonical());
            }
        }

        #[test]
        fn order_is_that_of_numbers(left in any::<i32>(), right in any::<i32>(), scale in 0usize..6) {
            let suffix = ["", "m", "k", "Ki", "Mi", "e3"][scale];
            let [a, b] = [left, right].map(|number| Quantity::parse(&format!("{number}{suffix}")).unwrap());
            prop_assert_eq!(a.cmp(&b), left.cmp(&right));
            prop_assert_eq!(a.minus(&b).plus(&b), a);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}|[-+.0-9eEinumkKMGTP]{0,60}") {
            if let Ok(quantity) = Quantity::parse(&text) {
                prop_assert_eq!(&Quantity::parse(&quantity.to_string()).unwrap(), &quantity);
            }
        }
    }
}
