//! kill -9 at random moments of either node, during negotiations and transfers: every process converges to the same
//! state on both sides, nothing acknowledged is lost, no agreement is signed twice differently.
//!
//! `CONCORDAT_FAULT_ROUNDS` sets the number of rounds (`./test faults` sets 200), `CONCORDAT_FAULT_SEED` repeats a run.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Chance, PURPOSE, World, number, settled};

const DATASET: &str = "urn:test:rows";
/// Negotiations asked for in each round.
const ASKED: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_both_sides_converge() {
    let rounds = number("CONCORDAT_FAULT_ROUNDS").unwrap_or(6);
    let seed = Chance::seed("CONCORDAT_FAULT_SEED");
    eprintln!("{rounds} rounds, CONCORDAT_FAULT_SEED={seed}");
    let mut chance = Chance(seed);
    let world = World::new();
    let (mut provider, mut consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.publish(DATASET, b"a,b\n1,2\n", &[]);
    let dataset = consumer.json(&["catalog", &provider.did])["dataset"][0].clone();
    let mut offer = dataset["hasPolicy"][0].clone();
    offer["assigner"] = json!(provider.did);
    offer["target"] = json!(DATASET);
    offer["permission"][0]["constraint"]
        .as_array_mut()
        .unwrap()
        .push(json!({"leftOperand": "purpose", "operator": "eq", "rightOperand": PURPOSE}));
    let address = format!("{}/dsp/2025-1", provider.address);
    let ask = json!({"policy": offer, "counterPartyAddress": address});

    let mut acknowledged = Vec::new();
    let mut transfers = Vec::new();
    let mut agreements: Vec<String> = Vec::new();
    let started = Instant::now();
    for round in 0..rounds {
        // What is asked for runs while the kill comes.
        let mut asking = tokio::task::JoinSet::new();
        for place in 0..ASKED {
            let (client, key, management) =
                (consumer.client.clone(), consumer.key.clone(), consumer.management.clone());
            let old = agreements
                .get(usize::try_from(chance.below(agreements.len().max(1) as u64)).unwrap())
                .cloned();
            let (path, body) = match old {
                Some(agreement) if place % 2 == 1 => {
                    ("transferprocesses", json!({"contractId": agreement, "transferType": "HttpData-PULL"}))
                }
                _ => ("contractnegotiations", ask.clone()),
            };
            asking.spawn(async move {
                let url = format!("{management}/v4/{path}");
                let answer = client.post(url).header("x-api-key", key).json(&body).send().await.ok()?;
                let answer = answer.error_for_status().ok()?;
                let answer: Value = answer.json().await.ok()?;
                Some((path, answer["@id"].as_str()?.to_owned()))
            });
        }
        tokio::time::sleep_until((Instant::now() + Duration::from_micros(chance.below(60_000))).into()).await;
        let victim = if chance.below(2) == 0 { &mut provider } else { &mut consumer };
        victim.kill();
        victim.start();
        while let Some(answer) = asking.join_next().await {
            match answer.unwrap() {
                Some(("contractnegotiations", id)) => acknowledged.push(id),
                Some((_, id)) => transfers.push(id),
                None => {}
            }
        }
        // Everything acknowledged so far in this round comes to its end.
        for id in acknowledged.iter().rev().take(ASKED) {
            let path = format!("/v4/contractnegotiations/{}", trust::did::segment(id));
            let ours = consumer.until(&path, |one| one["state"] == "FINALIZED").await;
            agreements.push(ours["contractAgreementId"].as_str().unwrap().to_owned());
        }
        for id in transfers.iter().rev().take(ASKED) {
            let path = format!("/v4/transferprocesses/{}", trust::did::segment(id));
            consumer.until(&path, |one| one["state"] == "STARTED").await;
        }
        agreements.sort();
        agreements.dedup();
        if round % 20 == 19 {
            eprintln!(
                "round {}: {} agreements, {} transfers, {:.0?}",
                round + 1,
                agreements.len(),
                transfers.len(),
                started.elapsed()
            );
        }
    }
    // Also what was never acknowledged must agree on both sides.
    for kind in ["contractnegotiations", "transferprocesses"] {
        let ours = settled(&consumer, kind).await;
        for (pid, (correlation, state)) in &ours {
            let path = format!("/v4/{kind}/{}", trust::did::segment(correlation));
            let theirs = provider
                .until(&path, |one| one["state"] == *state && one.get("urn:concordat:pending").is_none())
                .await;
            assert_eq!(theirs["correlationId"], *pid);
            assert_eq!(
                theirs["contractAgreementId"],
                consumer.get(&format!("/v4/{kind}/{}", trust::did::segment(pid))).await["contractAgreementId"]
            );
        }
        assert_eq!(settled(&provider, kind).await.len(), ours.len(), "{kind}: as many on both sides");
    }
    for id in acknowledged {
        let path = format!("/v4/contractnegotiations/{}", trust::did::segment(&id));
        assert_eq!(consumer.get(&path).await["state"], "FINALIZED");
    }
    for id in &agreements {
        let path = format!("/v4/contractagreements/{}/dossier", trust::did::segment(id));
        let (ours, theirs) = (consumer.get(&path).await, provider.get(&path).await);
        for part in ["agreement", "providerSignature", "consumerSignature", "didDocuments"] {
            assert_eq!(ours[part], theirs[part], "one agreement, signed once, the same on both sides");
        }
    }
    for node in [&mut provider, &mut consumer] {
        assert!(!node.log().contains("panicked"), "{}", node.log());
        node.stop();
        node.text(&["store", "verify"]);
    }
}
