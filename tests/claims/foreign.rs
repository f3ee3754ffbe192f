//! Others' software reads what nodes sign, and nodes read what it signs: two public libraries, one for each data model.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::membership::{authority, join};
use crate::support::{Node, Stranger, World, answer};
use crate::verifier;

/// Asks the libraries; `None` where `./test claims`, which brings them, does not run this.
fn libraries(input: &Value) -> Option<Value> {
    let Ok(folder) = std::env::var("CONCORDAT_CLAIMS") else {
        eprintln!("others' libraries are left out; `./test claims` runs them");
        return None;
    };
    let mut node = Command::new("node");
    let node = node.arg("foreign.mjs").current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = node.stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// The presentation that `holder` gives `verifier`, and the first credential in it.
async fn shown(holder: &Node, verifier: &Stranger) -> (String, String) {
    let wish = json!({"audience": verifier.did, "types": ["MembershipCredential"]});
    let token = holder.post("/v4/tokens", wish).await;
    let claims = trust::jose::peek(token["access_token"].as_str().unwrap()).unwrap().1;
    let access = serde_json::from_slice::<Value>(&claims).unwrap()["token"].clone();
    let query = json!({"@context": [super::CONTEXT], "type": "PresentationQueryMessage",
        "scope": ["org.eclipse.dspace.dcp.vc.type:MembershipCredential:read"]});
    let token = verifier.odd_token(&holder.did, |claims| claims["token"] = access);
    let url = format!("{}/dcp/holder/presentations/query", holder.address);
    let request = verifier.client.post(url).bearer_auth(token).json(&query);
    let (_, found) = answer(request.send().await.unwrap()).await;
    let presentation = found["presentation"][0].as_str().unwrap_or_else(|| panic!("{found}")).to_owned();
    let own = trust::DidDocument::parse(holder.json(&["identity"])["document"].clone(), &holder.did).unwrap();
    let now = connector::clock::now();
    let inside = trust::presentation::open(&json!(presentation), &own, &verifier.did, now).unwrap();
    (presentation, inside[0].clone())
}

#[tokio::test]
async fn others_read_what_nodes_issue_and_show() {
    let world = World::new();
    let authority = authority(&world);
    let mut member = world.local_node("member");
    join(&authority, &member);
    let verifier = Stranger::new(&world);
    let (presentation_v2, credential_v2) = shown(&member, &verifier).await;
    // Whoever takes the data model 1.1 alone gets that.
    let line = format!("[peers.\"{}\"]\nprofile = \"edc\"\n\n[limits]", verifier.did);
    member.configure("[limits]", &line);
    member.client = world.client();
    let verifier = Stranger { client: world.client(), ..verifier };
    let (presentation_v1, credential_v1) = shown(&member, &verifier).await;
    let documents: serde_json::Map<_, _> = [&authority, &member]
        .into_iter()
        .map(|node| (node.did.clone(), node.json(&["identity"])["document"].clone()))
        .collect();
    let read = json!({"verifier": verifier.did, "credentialV1": credential_v1, "presentationV1": presentation_v1,
        "credentialV2": credential_v2, "presentationV2": presentation_v2});
    let Some(found) = libraries(&json!({"documents": documents, "read": read})) else { return };
    let found = found["read"].clone();
    for model in ["credentialV1", "credentialV2"] {
        assert_eq!(found[model]["id"], member.did, "{found}");
        assert_eq!(found[model]["memberOf"], super::SPACE, "{found}");
    }
    assert_eq!(
        found["presentationV1"][0],
        json!(["VerifiableCredential", "MembershipCredential"]),
        "{found}"
    );
    assert_eq!(found["presentationV2"][0], "EnvelopedVerifiableCredential", "{found}");
}

#[tokio::test]
async fn nodes_read_what_others_issue_and_show() {
    let world = World::new();
    let (node, played) = verifier::setup_with(&world, trust::Algorithm::P256);
    let party = |did: &str, key: &trust::PrivateKey| json!({"did": did, "jwk": key.private_jwk()});
    let input = json!({"documents": {}, "write": {"issuer": party(&played.issuer, &played.issuer_key),
        "holder": party(&played.did, &played.key), "verifier": node.did, "claims": {"memberOf": super::SPACE}}});
    let Some(found) = libraries(&input) else { return };
    for model in ["presentationV1", "presentationV2"] {
        played.show_presentation(&found["written"][model]);
        assert_eq!(played.visit(&world, &node).await, 200, "{model}: {:?}", node.events());
        // And nobody else's: the same under another holder's address opens nothing.
        played.show_presentation(&json!([]));
        assert_eq!(played.visit(&world, &node).await, 404, "{model}");
    }
}
