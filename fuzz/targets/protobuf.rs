//! Messages of any kind: what is read, and is of its type, is written and read the same; so is the envelope.
#![no_main]

use libfuzzer_sys::fuzz_target;
use triune_api::decode::DEPTH_MAX;
use triune_fuzz::{depth, first, kind, objects::normal};
use triune_schema::protobuf::Envelope;

fuzz_target!(|data: &[u8]| {
    let (byte, message) = first(data);
    let (_, declared) = kind(byte);
    if let Ok(envelope) = Envelope::open(message) {
        let sealed = envelope.seal();
        assert_eq!(Envelope::open(&sealed).as_ref(), Ok(&envelope));
    }
    let outcome = declared.decode_protobuf(message);
    assert_eq!(declared.decode_protobuf(message), outcome, "not deterministic");
    let Ok(tree) = outcome else { return };
    assert!(depth(&tree) <= DEPTH_MAX);
    if declared.check_types(&tree).is_err() {
        return;
    }
    let tree = normal(&declared, tree);
    assert_eq!(declared.check_types(&tree), Ok(()), "normal form is of its type");
    assert_eq!(normal(&declared, tree.clone()), tree, "normal form is normal");
    let encoded = declared.encode_protobuf(&tree);
    let again = declared.decode_protobuf(&encoded).expect("its own message");
    let again = normal(&declared, again);
    assert_eq!(again, tree);
    assert_eq!(declared.encode_protobuf(&again), encoded);
});
