//! Samples of all kinds in protobuf: decoding gives their JSON, encoding that gives their bytes. Mutated samples and
//! damaged messages: as the reference's own code (`tools/facts/oracle`).

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};
use triune_schema::{TypeRef, protobuf::Envelope};

use super::{
    difference, facts, json_files, module_folder,
    oracle::{Dice, ask, cases, mutated},
    samples::kind_of,
};

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

#[test]
fn mutants_encode_alike() {
    let facts = facts();
    let cases = cases(&facts, |dice, sample| (mutated(dice, sample, 20, false), Some(("encode", json!(true)))), 8);
    let (mut alike, mut different) = (0, Vec::new());
    for (case, theirs) in cases.iter().zip(ask(&cases)) {
        if theirs["error"].is_string() {
            continue;
        }
        let mut normal = case.object.clone();
        case.declared.normalise(&mut normal);
        let ours = json!({"protobuf": BASE64.encode(case.declared.encode_protobuf(&normal))});
        match difference("", &theirs, &ours) {
            Some(difference) => different.push(format!("{}{difference}", case.name)),
            None => alike += 1,
        }
    }
    println!("{alike} mutants encode alike");
    assert_eq!(different, Vec::<String>::new());
    assert!(alike > cases.len() / 2);
}

#[test]
fn damaged_messages_decode_alike() {
    let facts = facts();
    let change = |dice: &mut Dice, sample: &Value| {
        let gvk = sample["apiVersion"].as_str().and_then(triune_api::names::GroupVersion::parse);
        let kind = sample["kind"].as_str().unwrap_or_default();
        let declared = gvk.and_then(|group_version| facts.type_of(&group_version.with_kind(kind)));
        let message = declared.map(|declared| damaged(dice, &declared, sample)).unwrap_or_default();
        (json!({}), Some(("protobuf", json!(BASE64.encode(message)))))
    };
    let cases = cases(&facts, change, 16);
    let (mut refused, mut other_words, mut different) = (0, 0, Vec::new());
    for (case, mut theirs) in cases.iter().zip(ask(&cases)) {
        // The zero time behind a pointer is null there, and what null is here: absent.
        case.declared.normalise(&mut theirs["object"]);
        let message = BASE64.decode(case.more.as_ref().unwrap().1.as_str().unwrap()).unwrap();
        let ours = decode(&case.declared, &message);
        refused += usize::from(theirs["error"].is_string());
        if theirs["error"].is_string() && ours["error"].is_string() {
            other_words += usize::from(ours["error"] != theirs["error"]);
        } else if let Some(difference) = difference("", &theirs, &ours) {
            different.push(format!("{}{difference} of {message:?}", case.name));
        }
    }
    println!(
        "{} messages decode alike, {refused} are refused, {other_words} of them in other words",
        cases.len() - different.len()
    );
    assert_eq!(different, Vec::<String>::new());
    assert!(refused > 100 && refused < cases.len() * 2 / 3 && other_words < refused / 50);
}

/// The message of a mutated sample, mostly with a byte changed, doubled or lost, or cut short.
fn damaged(dice: &mut Dice, declared: &TypeRef, sample: &Value) -> Vec<u8> {
    let mut message = declared.encode_protobuf(&mutated(dice, sample, 20, false));
    if message.is_empty() {
        return message;
    }
    let at = dice.below(message.len());
    match dice.below(6) {
        0 | 1 => message[at] = dice.below(256) as u8,
        2 => drop(message.remove(at)),
        3 => message.truncate(at),
        4 => message.extend_from_within(..),
        _ => {}
    }
    message
}

fn decode(declared: &TypeRef, message: &[u8]) -> Value {
    let mut tree = match declared.decode_protobuf(message) {
        Ok(tree) => tree,
        Err(error) => return json!({"error": error.to_string()}),
    };
    if let Err(error) = declared.check_types(&tree) {
        return json!({ "error": error });
    }
    declared.normalise(&mut tree);
    json!({ "object": tree })
}
