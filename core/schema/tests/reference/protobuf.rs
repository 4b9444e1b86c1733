//! Samples of all kinds in protobuf: decoding gives their JSON, encoding that gives their bytes.

use triune_schema::protobuf::Envelope;

use super::{difference, facts, json_files, module_folder, samples::kind_of};

#[test]
fn samples_in_protobuf() {
    let facts = facts();
    let folder = module_folder("k8s.io/api@v0.37.2").join("testdata/HEAD");
    let (mut decoded, mut encoded, mut failures) = (0, 0, Vec::new());
    for (name, sample) in json_files(folder.clone()) {
        let Ok(bytes) = std::fs::read(folder.join(format!("{name}.pb"))) else { continue };
        let Some(declared) = facts.type_of(&kind_of(&name)) else { continue };
        let envelope = Envelope::open(&bytes).unwrap();
        let text = |field: &str| sample[field].as_str().unwrap_or_default();
        assert_eq!((text("apiVersion"), text("kind")), (&*envelope.api_version, &*envelope.kind), "{name}");
        match declared.decode_protobuf(envelope.message) {
            Err(error) => failures.push(format!("{name}: {error}")),
            Ok(mut tree) => {
                tree["apiVersion"] = envelope.api_version.clone().into();
                tree["kind"] = envelope.kind.clone().into();
                assert_eq!(declared.check_types(&tree), Ok(()), "{name}");
                declared.normalise(&mut tree);
                match difference("", &sample, &tree) {
                    Some(difference) => failures.push(format!("{name}: {difference}")),
                    None => decoded += 1,
                }
            }
        }
        let message = declared.encode_protobuf(&sample);
        match (Envelope { message: &message, ..envelope }).seal() == bytes {
            true => encoded += 1,
            false => failures.push(format!("{name}: other bytes")),
        }
    }
    println!("{decoded} samples decoded to their JSON, {encoded} encoded to their bytes");
    assert_eq!(failures, Vec::<String>::new());
    assert!(decoded >= 190 && encoded >= 190);
}
