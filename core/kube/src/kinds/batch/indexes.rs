//! Lists of indexes of jobs, such as `1,3-5`.

/// How many indexes a list has, all under `completions`, or what is wrong with it.
pub fn count(text: &str, completions: i64) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    let (mut total, mut previous) = (0, None);
    for interval in text.split(',') {
        let (first, last) = parse(interval, completions)?;
        if let Some(previous) = previous.filter(|previous| *previous >= first) {
            return Err(format!("non-increasing order, previous: {previous}, current: {first}"));
        }
        total += last - first + 1;
        previous = Some(last);
    }
    Ok(total)
}

/// The first index that is in both lists; malformed intervals are in none.
pub fn overlap(completed: &str, failed: &str, completions: i64) -> Option<i64> {
    let intervals = |text: &str| -> Vec<(i64, i64)> {
        text.split(',').filter_map(|interval| parse(interval, completions).ok()).collect()
    };
    let failed = intervals(failed);
    let mut found = None;
    for (first, last) in intervals(completed) {
        for (other_first, other_last) in &failed {
            if first <= *other_last && *other_first <= last {
                let at = first.max(*other_first);
                found = Some(found.map_or(at, |found: i64| found.min(at)));
            }
        }
    }
    found
}

fn parse(interval: &str, completions: i64) -> Result<(i64, i64), String> {
    let number = |text: &str| {
        let number: i64 = text.parse().map_err(|_| format!("cannot convert string to integer for index: {text:?}"))?;
        if number >= completions { Err(format!("too large index: {text:?}")) } else { Ok(number) }
    };
    match interval.split('-').collect::<Vec<_>>()[..] {
        [one] => number(one).map(|number| (number, number)),
        [first, last] => {
            let (first, last) = (number(first)?, number(last)?);
            if first >= last {
                return Err(format!("non-increasing order, previous: {first}, current: {last}"));
            }
            Ok((first, last))
        }
        _ => Err(format!(
            "the fragment {interval:?} violates the requirement that an index interval can have at most two parts \
             separated by '-'"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_counted() {
        let check = |text: &str, expected: Result<i64, &str>| {
            assert_eq!(count(text, 10), expected.map_err(String::from), "{text}");
        };
        check("", Ok(0));
        check("1,3-5,7", Ok(5));
        check("3,1", Err("non-increasing order, previous: 3, current: 1"));
        check("5-3", Err("non-increasing order, previous: 5, current: 3"));
        check("10", Err("too large index: \"10\""));
        check("a", Err("cannot convert string to integer for index: \"a\""));
        assert!(count("1-2-3", 10).is_err());
        assert_eq!((overlap("1-5", "4,7", 10), overlap("1-5", "7", 10)), (Some(4), None));
    }
}
