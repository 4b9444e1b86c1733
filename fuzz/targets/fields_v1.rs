//! `fieldsV1`: what is read is written and read the same, with as many paths.
#![no_main]

use libfuzzer_sys::fuzz_target;
use triune_api::decode;
use triune_schema::apply::Set;

fuzz_target!(|data: &[u8]| {
    let Ok(fields) = decode::json(data) else { return };
    let Ok(set) = Set::parse(&fields) else { return };
    let written = set.to_value();
    let again = Set::parse(&written).expect("what was written is fieldsV1");
    assert_eq!(again.to_value(), written);
    assert_eq!(again.len(), set.len());
    let mut paths = 0;
    set.for_each(&mut |path| {
        let path: Vec<_> = path.iter().map(|step| (*step).clone()).collect();
        assert!(again.has(&path));
        paths += 1;
    });
    assert_eq!(paths, set.len());
    assert!(set.clone().difference(&again).is_empty());
    assert_eq!(set.intersection(&again).to_value(), written);
    assert_eq!(set.clone().union(again.clone()).to_value(), written);
});
