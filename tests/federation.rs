//! Beyond one's own catalog: members find each other and each other's data, and ask for what nobody offers.

use serde_json::{Value, json};

use crate::support::{Node, Stranger, World, answer};

const SPACE: &str = "https://space.example";

/// An authority, and a member with each of the names.
fn space<const N: usize>(world: &World, names: [&str; N]) -> (Node, [Node; N]) {
    let mut authority = world.local_node("authority");
    authority.text(&["authority", "init", "--space", SPACE]);
    authority.stop();
    authority.start();
    let members = names.map(|name| {
        let member = world.local_node(name);
        authority.text(&["authority", "invite", &member.did, "--claim", &format!("role={name}-agency")]);
        member.text(&["credentials", "request", &authority.did, "--trust"]);
        member
    });
    (authority, members)
}

fn hits(found: &Value) -> Vec<&str> {
    found["hits"].as_array().unwrap().iter().map(|hit| hit["dataset"]["@id"].as_str().unwrap()).collect()
}

fn participant<'a>(all: &'a Value, node: &Node) -> &'a Value {
    let mut all = all.as_array().unwrap().iter();
    all.find(|one| one["did"] == node.did.as_str()).unwrap_or(&Value::Null)
}

/// Waits until `node` knows as much of the catalog of `of`.
async fn until_read(node: &Node, of: &Node, datasets: u64) -> Value {
    let all = node.until("/v4/peers", |all| participant(all, of)["datasets"] == datasets).await;
    participant(&all, of).clone()
}

#[tokio::test]
async fn members_know_of_each_other_and_search_each_others_catalogs() {
    let world = World::new();
    let (authority, [mut noise, mut air]) = space(&world, ["noise", "air"]);
    let outsider = world.local_node("outsider");
    noise.publish("urn:noise:hourly", b"a\n", &["--only-for-members-of", SPACE, "--keyword", "sound"]);
    noise.publish("urn:noise:hidden", b"a\n", &["--only-for", "did:web:nobody.example"]);
    air.text(&["peers", "--refresh"]);

    // Who is there, in which role, what they offer.
    let known = until_read(&air, &noise, 1).await;
    assert_eq!((&known["roles"], &known["name"]), (&json!(["noise-agency"]), &json!("noise")));
    assert_eq!((&known["memberOf"][0]["space"], &known["reachable"]), (&json!(SPACE), &json!(true)));
    let table = air.text(&["peers"]);
    assert!(table.contains("noise-agency") && table.contains(SPACE), "{table}");
    // The list of members is for members.
    let stranger = Stranger::new(&world);
    let list = format!("{}/dcp/issuer/members", authority.address);
    assert_eq!(stranger.client.get(&list).send().await.unwrap().status(), 401);
    let asked = outsider.post("/v4/tokens", json!({"audience": authority.did})).await;
    let refused =
        stranger.client.get(&list).bearer_auth(asked["access_token"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(refused.status(), 404, "an outsider does not learn who the members are");

    // Search: what is offered to this node, and nothing else.
    let found = air.json(&["search", "test", "rows"]);
    assert_eq!(hits(&found), ["urn:noise:hourly"]);
    let hit = &found["hits"][0];
    assert_eq!((&hit["participant"], &hit["source"]), (&json!(noise.did), &json!(noise.did)));
    assert!(hit["ageSeconds"].as_u64().is_some_and(|age| age < 60), "{hit}");
    assert_eq!(hits(&air.json(&["search", "--keyword", "Sound"])), ["urn:noise:hourly"]);
    assert!(hits(&air.json(&["search", "--keyword", "smell"])).is_empty());
    assert!(air.text(&["search", "test", "--facets"]).contains("keyword: sound (1)"));
    assert_eq!(air.run(&["search", &"x".repeat(501)]).status.code(), Some(3));

    // What changes is told: nobody asks, and it is found all the same.
    noise.publish("urn:noise:daily", b"a\n", &["--description", "Quarterly revisions"]);
    let known = until_read(&air, &noise, 2).await;
    assert_eq!(hits(&air.json(&["search", "quarterly"])), ["urn:noise:daily"]);
    // What is as it was is not read again.
    air.text(&["peers", "--refresh"]);
    let again = until_read(&air, &noise, 2).await;
    assert_eq!(again["changedAt"], known["changedAt"]);
    assert_ne!(again["lastSeen"], known["lastSeen"]);
    noise.text(&["unpublish", "urn:noise:hourly"]);
    until_read(&air, &noise, 1).await;
    assert_eq!(hits(&air.json(&["search", "test"])), ["urn:noise:daily"]);

    // What is known outlives kill -9, and a peer that is gone is named while what it offered is shown with its age.
    air.kill();
    noise.kill();
    air.start();
    air.text(&["peers", "--refresh"]);
    let gone = air.until("/v4/peers", |all| participant(all, &noise)["reachable"] == json!(false)).await;
    assert_eq!(participant(&gone, &noise)["datasets"], 1);
    let found = air.json(&["search", "test"]);
    assert_eq!(
        (hits(&found), found["failing"].as_array().unwrap().len()),
        (vec!["urn:noise:daily"], 1),
        "{found}"
    );
    assert!(air.text(&["search", "test"]).contains("cannot be read now"));
    // A damaged index is made anew from those who are there.
    noise.start();
    air.stop();
    std::fs::write(air.dir.join("search/meta.json"), "{").unwrap();
    air.start();
    air.text(&["peers", "--refresh"]);
    assert_eq!(hits(&air.json(&["search", "test"])), ["urn:noise:daily"]);

    // Who is a member no more stands in the directory as nobody's member.
    let issued = authority.json(&["authority", "issued"]);
    for one in issued.as_array().unwrap().iter().filter(|one| one["holder"] == noise.did.as_str()) {
        authority.text(&["authority", "revoke", one["id"].as_str().unwrap(), "--reason", "left"]);
    }
    air.text(&["peers", "--refresh"]);
    let left = air.until("/v4/peers", |all| participant(all, &noise)["memberOf"] == json!([])).await;
    assert_eq!(
        (&participant(&left, &noise)["roles"], &participant(&left, &noise)["datasets"]),
        (&json!([]), &json!(null))
    );
    assert!(hits(&air.json(&["search", "test"])).is_empty(), "and what it offered is not found any more");
}

/// One that takes a connection and never answers holds up neither the others nor whoever searches.
#[tokio::test]
async fn a_peer_that_hangs_holds_up_nobody() {
    let world = World::new();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hanging = format!("did:web:localhost%3A{}", silent.local_addr().unwrap().port());
    let (provider, mut reader) = (world.local_node("provider"), world.local_node("reader"));
    provider.publish("urn:test:rows", b"a\n", &[]);
    reader.configure("peers = []", &format!("peers = [\"{hanging}\", \"{}\"]", provider.did));
    let all = reader.until("/v4/peers", |all| participant(all, &provider)["datasets"] == 1).await;
    assert_eq!(hits(&reader.json(&["search", "rows"])), ["urn:test:rows"]);
    // The one that hangs was still waited for, and was given up on only later.
    let hangs = |all: &Value| all.as_array()?.iter().find(|one| one["did"] == hanging.as_str()).cloned();
    let given_up = |all: &Value| hangs(all).is_some_and(|one| one["failure"].is_string());
    assert!(!given_up(&all), "{all}");
    reader.until("/v4/peers", given_up).await;
    // Nobody is read whom the configuration and the members do not name.
    let refused = reader.ask("POST", "/v4/peers/refresh", Some(json!({"participant": "did:web:x.example"})));
    assert_eq!(refused.await.unwrap().0, 404);
    drop(silent);
}

#[tokio::test]
async fn own_datasets_are_found_as_well() {
    let world = World::new();
    let mut node = world.local_node("city");
    node.publish("urn:own:1", b"a\n", &["--keyword", "trees"]);
    node.stop();
    node.start();
    node.publish("urn:own:2", b"a\n", &["--keyword", "trees"]);
    // Both the one that was there at the start and the one that came a moment ago.
    let found = node.json(&["search", "trees"]);
    let mut ids = hits(&found);
    ids.sort_unstable();
    assert_eq!(ids, ["urn:own:1", "urn:own:2"]);
    assert_eq!(found["hits"][0]["participant"], node.did);
}

#[tokio::test]
async fn data_that_nobody_offers_is_asked_for_and_answered() {
    let world = World::new();
    let (_authority, [wants, has]) = space(&world, ["research", "noise"]);
    let outsider = world.local_node("outsider");
    let wanted = wants.json(&[
        "requests",
        "publish",
        "hourly noise levels, district 3",
        "--id",
        "urn:request:noise",
        "--purpose",
        "https://w3id.org/dpv#AcademicResearch",
        "--only-for-members-of",
        SPACE,
    ]);
    assert_eq!(wanted["request"]["@id"], "urn:request:noise");
    let twice = wants.run(&["requests", "publish", "again", "--id", "urn:request:noise"]);
    assert_eq!(twice.status.code(), Some(3), "an id is used once");
    for (wrong, would_do) in [
        (["--purpose", "research"], "purpose: `research` is not an IRI; give one such as `https://"),
        (["--conforms-to", "NoiseLevel"], "conformsTo: `NoiseLevel` is not an IRI"),
        (["--frequency", "daily"], "frequency: `daily` is not an IRI"),
        (["--only-for", "roads"], "`roads` is not a DID; give one such as `did:web:"),
        (["--only-for-members-of", "space"], "`space` is not an IRI"),
    ] {
        let refused = wants.run(&[&["requests", "publish", "noise"][..], &wrong].concat());
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(would_do), "{wrong:?}: {said}");
    }
    wants.json(&[
        "requests",
        "publish",
        "for nobody",
        "--id",
        "urn:request:hidden",
        "--only-for",
        "did:web:nobody.example",
    ]);
    has.text(&["peers", "--refresh"]);
    let seen = has.json(&["requests"]);
    let ids: Vec<_> = seen.as_array().unwrap().iter().map(|one| one["request"]["@id"].clone()).collect();
    assert_eq!(ids, ["urn:request:noise"], "and not the hidden one");
    assert!(has.text(&["requests"]).contains("hourly noise levels, district 3"));
    // A peer that knows of no requests reads a catalog as ever: it is still one by the schema.
    let catalog = has.json(&["catalog", &wants.did]);
    assert_eq!((&catalog["@type"], &catalog["participantId"]), (&json!("Catalog"), &json!(wants.did)));

    // No from one who may see it, and from nobody else.
    has.text(&["requests", "refuse", &wants.did, "urn:request:noise", "--reason", "not measured"]);
    let refusal = |id: &str| {
        format!("{}/dsp/2025-1/catalog/data-requests/{}/refusal", wants.address, trust::did::segment(id))
    };
    let stranger = Stranger::new(&world);
    for (id, reason, expected) in [("urn:request:noise", "x", 404), ("urn:request:none", "x", 404)] {
        let token = outsider.post("/v4/tokens", json!({"audience": wants.did})).await;
        let request = stranger.client.post(refusal(id)).bearer_auth(token["access_token"].as_str().unwrap());
        let status = answer(request.json(&json!({"reason": reason})).send().await.unwrap()).await.0;
        assert_eq!(status, expected, "{id}");
    }
    // Yes: an offer, and the negotiation that follows from it.
    has.publish("urn:noise:district3", b"a\n", &[]);
    let absent = has.run(&["requests", "offer", &wants.did, "urn:request:none", "urn:noise:district3"]);
    assert_eq!(absent.status.code(), Some(3), "nobody asked for that");
    let offered = has.json(&["requests", "offer", &wants.did, "urn:request:noise", "urn:noise:district3"]);
    let theirs =
        format!("/v4/contractnegotiations/{}", trust::did::segment(offered["negotiation"].as_str().unwrap()));
    let list = wants
        .until("/v4/datarequests", |all| {
            all[0]["answers"].as_array().is_some_and(|answers| answers.len() == 2)
        })
        .await;
    let (no, yes) = (&list[0]["answers"][0], &list[0]["answers"][1]);
    assert_eq!(
        (&no["answer"], &no["reason"], &no["by"]),
        (&json!("refused"), &json!("not measured"), &json!(has.did))
    );
    assert_eq!(
        (&yes["answer"], &yes["dataset"], &yes["state"]),
        (&json!("offered"), &json!("urn:noise:district3"), &json!("OFFERED"))
    );
    let ours = yes["negotiation"].as_str().unwrap();
    let shown = wants.get(&format!("/v4/contractnegotiations/{}", trust::did::segment(ours))).await;
    assert_eq!(shown["urn:concordat:dataRequest"], "urn:request:noise");
    wants.text(&["negotiations", "approve", ours]);
    let done = has.until(&theirs, |one| one["state"] == "FINALIZED").await;
    assert_eq!(done["urn:concordat:dataRequest"], "urn:request:noise");
    wants.until_text(&["requests"], "FINALIZED").await;
    wants.text(&["requests", "withdraw", "urn:request:noise"]);
    assert_eq!(wants.run(&["requests", "withdraw", "urn:request:noise"]).status.code(), Some(3));
    has.until("/v4/datarequests", |all| all == &json!([])).await;
}

/// A broker shows what others offer to those whom their access policies admit, and to nobody else.
#[tokio::test]
async fn a_broker_keeps_to_the_access_rules_of_those_whose_catalogs_it_shows() {
    let world = World::new();
    let (_authority, [mut provider, mut broker, member]) = space(&world, ["noise", "broker", "reader"]);
    let mut outsider = world.local_node("outsider");
    provider.publish("urn:noise:members", b"a\n", &["--only-for-members-of", SPACE]);
    provider.publish("urn:noise:outsider", b"a\n", &["--only-for", &outsider.did]);
    provider.publish("urn:noise:listed", b"a\n", &["--listed"]);
    provider.publish("urn:noise:everybody", b"a\n", &[]);
    broker.configure("broker = false", "broker = true");
    broker.publish("urn:broker:own", b"a\n", &[]);
    let seen = |asker: &Node| {
        let found = asker.json(&["catalog", &broker.did]);
        let own: Vec<_> = found["dataset"].as_array().unwrap().iter().map(|one| one["@id"].clone()).collect();
        assert_eq!(own, ["urn:broker:own"]);
        assert!(
            !found.to_string().contains("urn:concordat:access"),
            "how others decide is not told on: {found}"
        );
        let within = found["catalog"].as_array().cloned().unwrap_or_default();
        let of_provider: Vec<_> =
            within.iter().filter(|one| one["participantId"] == provider.did.as_str()).collect();
        let ids = of_provider.iter().flat_map(|one| one["dataset"].as_array().unwrap());
        ids.map(|one| one["@id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // Before the provider names its broker, that shows only what the provider shows to everybody anyhow.
    broker.text(&["peers", "--refresh"]);
    for asker in [&member, &outsider] {
        assert_eq!(seen(asker), ["urn:noise:listed"], "{}", asker.did);
    }
    provider.configure("brokers = []", &format!("brokers = [\"{}\"]", broker.did));
    broker.text(&["peers", "--refresh"]);
    let at = broker.did.clone();
    let seen = |asker: &Node| {
        let found = asker.json(&["catalog", &at]);
        assert!(!found.to_string().contains("urn:concordat:access"), "{found}");
        let within = found["catalog"].as_array().unwrap();
        let ids = within.iter().flat_map(|one| one["dataset"].as_array().unwrap());
        let mut ids: Vec<_> = ids.map(|one| one["@id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        (ids, within[0]["service"][0]["endpointURL"].clone())
    };
    let endpoint = json!(format!("{}/dsp/2025-1", provider.address));
    let of_member =
        ["urn:noise:everybody", "urn:noise:listed", "urn:noise:members"].map(str::to_owned).to_vec();
    assert_eq!(seen(&member), (of_member, endpoint.clone()));
    let of_outsider =
        ["urn:noise:everybody", "urn:noise:listed", "urn:noise:outsider"].map(str::to_owned).to_vec();
    assert_eq!(seen(&outsider), (of_outsider, endpoint));
    // The broker knows after a restart what those who ask must show, although nothing has changed at the provider.
    broker.stop();
    broker.start();
    assert_eq!(seen(&member).0.len(), 3);
    let filtered = member.json(&["catalog", &broker.did, "--text", "nothing like it"]);
    assert!(filtered.get("catalog").is_none() && filtered.get("dataset").is_none(), "{filtered}");
    assert!(member.text(&["catalog", &broker.did]).contains(&format!("offered by {} noise", provider.did)));
    // One who reads the broker alone finds the provider's datasets through it, and negotiates with the provider.
    outsider.configure("peers = []", &format!("peers = [\"{}\"]", broker.did));
    outsider.text(&["peers", "--refresh"]);
    let found = outsider.json(&["search", "--participant", &provider.did]);
    assert_eq!(found["total"], 3, "{found}");
    assert_eq!(found["hits"][0]["source"], broker.did);
    let agreed = outsider.json(&["negotiate", &provider.did, "urn:noise:outsider"]);
    assert_eq!(agreed["state"], "FINALIZED");
    // What is withdrawn there is gone here.
    provider.text(&["unpublish", "urn:noise:everybody"]);
    broker.text(&["peers", "--refresh"]);
    assert_eq!(seen(&member).0.len(), 2);
}

/// Pages of others' datasets lead on and back (DSP 2025-1, catalog over HTTPS), and each of them can be asked for alone: the answer
/// names the endpoint of who offers it.
#[tokio::test]
async fn a_broker_pages_both_ways_and_answers_for_single_datasets_of_others() {
    const OTHERS: usize = 230;
    let world = World::new();
    let (_authority, [mut provider, mut broker, _]) = space(&world, ["many", "broker", "reader"]);
    let everybody = json!({"@type": "Set", "permission": [{"action": "use"}]});
    provider.post("/v4/policydefinitions", json!({"@id": "open", "policy": everybody})).await;
    let many: Vec<_> = (0..OTHERS).map(|number| format!("urn:many:{number:05}")).collect();
    for id in &many {
        provider.post("/v4/assets", json!({"@id": id, "properties": {}})).await;
    }
    let all = json!({"@id": "all", "accessPolicyId": "open", "contractPolicyId": "open",
        "assetsSelector": [{"@type": "Criterion", "operandLeft": "id", "operator": "in", "operandRight": many}]});
    provider.post("/v4/contractdefinitions", all).await;
    let nobody = world.local_node("nobody");
    provider.publish("urn:many:hidden", b"a\n", &["--only-for", &nobody.did]);
    broker.configure("broker = false", "broker = true");
    provider.configure("brokers = []", &format!("brokers = [\"{}\"]", broker.did));
    broker.publish("urn:broker:own", b"a\n", &[]);
    broker.text(&["peers", "--refresh"]);

    let stranger = Stranger::new(&world);
    let page = async |url: &str| {
        let request = stranger.client.post(url).bearer_auth(stranger.token(&broker.did));
        let body = json!({"@context": [crate::support::CONTEXT], "@type": "CatalogRequestMessage"});
        let answer = request.json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{url}");
        let links: Vec<String> =
            answer.headers().get_all("link").iter().map(|one| one.to_str().unwrap().to_owned()).collect();
        let find = |relation: &str| {
            let found = links.iter().find(|link| link.ends_with(&format!("rel=\"{relation}\"")))?;
            Some(found.split(['<', '>']).nth(1).unwrap().to_owned())
        };
        let body: Value = answer.json().await.unwrap();
        let within = body["catalog"].as_array().cloned().unwrap_or_default();
        let sets = |one: &Value| one["dataset"].as_array().cloned().unwrap_or_default();
        let mut ids: Vec<_> = sets(&body);
        ids.extend(within.iter().flat_map(sets));
        let ids: Vec<_> = ids.iter().map(|one| one["@id"].as_str().unwrap().to_owned()).collect();
        (ids, find("previous"), find("next"))
    };
    // A link tells nothing of what is hidden from who follows it, and cannot be made up.
    let opened = |url: &str| {
        use base64::Engine as _;
        let token = url.rsplit('=').next().unwrap();
        let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token).unwrap();
        String::from_utf8(text).unwrap()
    };
    let mut url = Some(format!("{}/dsp/2025-1/catalog/request", broker.address));
    let (mut forward, mut last) = (Vec::new(), None);
    while let Some(at) = url.take() {
        let (ids, previous, next) = page(&at).await;
        forward.push(ids);
        for link in [&previous, &next].into_iter().flatten() {
            assert!(
                !opened(link).contains("urn:many:") && !opened(link).contains("urn%3Amany"),
                "{}",
                opened(link)
            );
        }
        (last, url) = (previous, next);
    }
    let sizes: Vec<_> = forward.iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 100, 100, 30]);
    assert_eq!(forward[3].last(), many.last());
    let mut backward = vec![forward[3].clone()];
    let mut onward = Vec::new();
    while let Some(at) = last.take() {
        let (ids, previous, next) = page(&at).await;
        backward.push(ids);
        onward.push(next);
        last = previous;
    }
    backward.reverse();
    assert_eq!(backward, forward, "the way back shows the same pages");
    let (again, ..) = page(onward[0].as_ref().unwrap()).await;
    assert_eq!(again, forward[3], "and leads on again");

    let forged = {
        use base64::Engine as _;
        let text = "<\u{1}remote/did%3Aweb%3Aa/urn%3Amany%3Ahidden\n[]";
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
    };
    let path = format!("/catalog/request?continuationToken={forged}");
    let (status, refused) = stranger.send(&broker, "GET", &path, &Value::Null).await;
    assert_eq!((status, &refused["@type"]), (400, &json!("CatalogError")), "{refused}");

    let single = async |id: &str| {
        let path = format!("/catalog/datasets/{}", trust::did::segment(id));
        stranger.send(&broker, "GET", &path, &Value::Null).await
    };
    let (status, found) = single("urn:many:00007").await;
    assert_eq!((status, &found["@id"]), (200, &json!("urn:many:00007")), "{found}");
    let service = &found["distribution"][0]["accessService"];
    assert_eq!(service["endpointURL"], format!("{}/dsp/2025-1", provider.address), "{found}");
    assert!(!found.to_string().contains("urn:concordat:access"), "{found}");
    for id in ["urn:many:hidden", "urn:many:none"] {
        let (status, refused) = single(id).await;
        assert_eq!((status, &refused["@type"]), (404, &json!("CatalogError")), "{refused}");
    }
}
