//! The machine held against the specification's table, exhaustively.

use serde_json::json;

use super::*;
use crate::progress::{Act as _, Pending};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// The arrows of the specification's state diagram, and termination "at any state" as its prose says.
const TABLE: &[(&str, Role, Act, &str)] = &[
    ("none", Role::Consumer, Act::Request, "REQUESTED"),
    ("none", Role::Provider, Act::Offer, "OFFERED"),
    ("REQUESTED", Role::Provider, Act::Offer, "OFFERED"),
    ("REQUESTED", Role::Provider, Act::Agree, "AGREED"),
    ("OFFERED", Role::Consumer, Act::Request, "REQUESTED"),
    ("OFFERED", Role::Consumer, Act::Accept, "ACCEPTED"),
    ("ACCEPTED", Role::Provider, Act::Agree, "AGREED"),
    ("AGREED", Role::Consumer, Act::Verify, "VERIFIED"),
    ("VERIFIED", Role::Provider, Act::Finalize, "FINALIZED"),
    ("REQUESTED", Role::Consumer, Act::Terminate, "TERMINATED"),
    ("REQUESTED", Role::Provider, Act::Terminate, "TERMINATED"),
    ("OFFERED", Role::Consumer, Act::Terminate, "TERMINATED"),
    ("OFFERED", Role::Provider, Act::Terminate, "TERMINATED"),
    ("ACCEPTED", Role::Consumer, Act::Terminate, "TERMINATED"),
    ("ACCEPTED", Role::Provider, Act::Terminate, "TERMINATED"),
    ("AGREED", Role::Consumer, Act::Terminate, "TERMINATED"),
    ("AGREED", Role::Provider, Act::Terminate, "TERMINATED"),
    ("VERIFIED", Role::Consumer, Act::Terminate, "TERMINATED"),
    ("VERIFIED", Role::Provider, Act::Terminate, "TERMINATED"),
];

fn states() -> impl Iterator<Item = Option<State>> {
    std::iter::once(None).chain(State::ALL.into_iter().map(Some))
}

fn name(state: Option<State>) -> String {
    state.map_or_else(|| "none".to_owned(), |state| state.to_string())
}

#[test]
fn the_transition_function_is_the_table_and_nothing_else() {
    for from in states() {
        for by in Role::ALL {
            for act in Act::ALL {
                let expected = TABLE
                    .iter()
                    .find(|row| row.0 == name(from) && row.1 == by && row.2 == act)
                    .map(|row| row.3);
                let got = act.transition(from, by).map(|state| state.to_string());
                assert_eq!(got.as_deref(), expected, "{act:?} by {by} from {}", name(from));
            }
        }
    }
}

fn offer() -> Offer {
    Offer::parse(
        json!({"@id": "urn:o", "@type": "Offer", "target": "urn:d", "permission": [{"action": "use"}]}),
    )
    .unwrap()
}

fn negotiation(role: Role, state: Option<State>) -> Negotiation {
    let parties = Parties {
        own: ParticipantId::new(format!("did:web:{role}")),
        own_address: "https://own".to_owned(),
        peer: ParticipantId::new(format!("did:web:{}", role.other())),
        peer_address: "https://peer".to_owned(),
        names: Names::default(),
        dataset: DatasetId::new("urn:d"),
    };
    let mut made = create(role, parties, offer(), Role::Consumer, NOW);
    made.consumer_pid = Some(ConsumerPid::new("urn:c"));
    made.provider_pid = Some(ProviderPid::new("urn:p"));
    made.progress.state = state;
    made
}

fn agreement() -> (Agreement, Parts) {
    let (provider, consumer) =
        (ParticipantId::new("did:web:provider"), ParticipantId::new("did:web:consumer"));
    offer()
        .agreement(
            &crate::AgreementId::new("urn:a"),
            &DatasetId::new("urn:d"),
            (&provider, &consumer),
            NOW,
            serde_json::Map::new(),
            2,
        )
        .unwrap()
}

fn message(act: Act) -> Message {
    let (provider_pid, consumer_pid) = (ProviderPid::new("urn:p"), ConsumerPid::new("urn:c"));
    match act {
        Act::Accept => Message::Event(ContractNegotiationEventMessage {
            provider_pid,
            consumer_pid,
            event_type: EventType::Accepted,
            signature_versions: SignatureVersions::default(),
        }),
        Act::Finalize => Message::Event(ContractNegotiationEventMessage {
            provider_pid,
            consumer_pid,
            event_type: EventType::Finalized,
            signature_versions: SignatureVersions::default(),
        }),
        Act::Agree => Message::Agreement(ContractAgreementMessage {
            provider_pid,
            consumer_pid,
            agreement: agreement().0,
            parts: agreement().1,
            signature: None,
        }),
        Act::Offer => Message::Offer(ContractOfferMessage {
            provider_pid,
            consumer_pid: Some(consumer_pid),
            offer: offer(),
            callback_address: None,
        }),
        Act::Request => Message::Request(ContractRequestMessage {
            consumer_pid,
            provider_pid: Some(provider_pid),
            offer: offer(),
            callback_address: None,
            signature_versions: SignatureVersions::default(),
        }),
        Act::Terminate => Message::Termination(ContractNegotiationTerminationMessage {
            provider_pid,
            consumer_pid,
            code: None,
            reason: vec![json!("enough")],
        }),
        Act::Verify => Message::Verification(ContractAgreementVerificationMessage {
            provider_pid,
            consumer_pid,
            signature: None,
        }),
    }
}

fn decision(act: Act) -> Decision {
    match act {
        Act::Accept => Decision::Accept,
        Act::Agree => Decision::Agree { agreement: agreement().0, parts: agreement().1, signature: None },
        Act::Finalize => Decision::Finalize,
        Act::Offer => Decision::Offer(offer()),
        Act::Request => Decision::Request(offer()),
        Act::Terminate => Decision::Terminate("enough".to_owned()),
        Act::Verify => Decision::Verify { signature: None },
    }
}

fn receive(act: Act, id: &str) -> Input {
    Input::Received(Received { id: Some(MessageId::new(id)), message: message(act) })
}

#[test]
fn every_message_in_every_state_moves_as_the_table_says_or_is_refused_and_changes_nothing() {
    for role in Role::ALL {
        for state in State::ALL {
            for act in Act::ALL {
                let before = negotiation(role, Some(state));
                let expected = act.transition(Some(state), role.other());
                match (step(before, receive(act, "urn:m"), NOW), expected) {
                    (Ok(step), Some(next)) => assert_eq!(step.next.progress.state, Some(next)),
                    (Err(refusal), None) => {
                        assert_eq!(refusal.kind, RefusalKind::IllegalTransition);
                        assert!(refusal.reason.contains(&state.to_string()), "{refusal}");
                    }
                    (got, _) => panic!("{role} {state} {act:?}: expected {expected:?}, got {got:?}"),
                }
            }
        }
    }
}

#[test]
fn every_decision_in_every_state_sends_one_message_or_is_refused() {
    for role in Role::ALL {
        for state in State::ALL {
            for act in Act::ALL {
                let input = Input::Decided { decision: decision(act), message: MessageId::new("urn:m") };
                let expected = act.transition(Some(state), role);
                match (step(negotiation(role, Some(state)), input, NOW), expected) {
                    (Ok(made), Some(next)) => {
                        assert_eq!(made.next.progress.state, Some(state), "entered on the 2xx only");
                        let sent =
                            made.effects.iter().filter(|effect| matches!(effect, Effect::Send(_))).count();
                        assert_eq!(sent, 1);
                        let reply = Input::Acknowledged { message: MessageId::new("urn:m"), reply: None };
                        let acked = step(made.next, reply, NOW).unwrap();
                        assert_eq!(acked.next.progress.state, Some(next));
                    }
                    (Err(refusal), None) => assert_eq!(refusal.kind, RefusalKind::IllegalTransition),
                    (got, _) => panic!("{role} {state} {act:?}: expected {expected:?}, got {got:?}"),
                }
            }
        }
    }
}

#[test]
fn a_repeated_message_is_answered_as_then_and_changes_nothing() {
    let first =
        step(negotiation(Role::Provider, Some(State::Offered)), receive(Act::Accept, "urn:m"), NOW).unwrap();
    let again = step(first.next.clone(), receive(Act::Accept, "urn:m"), NOW).unwrap();
    assert!(again.repeat && again.effects.is_empty());
    assert_eq!(again.next, first.next);
    assert!(
        step(first.next, receive(Act::Accept, "urn:other"), NOW).is_err(),
        "another acceptance is no repeat"
    );
}

#[test]
fn a_message_that_proves_arrival_counts_as_acknowledgement() {
    let mut provider = negotiation(Role::Provider, Some(State::Requested));
    provider.progress.pending = Some(Pending { message: MessageId::new("urn:agree"), act: Act::Agree });
    provider.agreement = Some(agreement().0);
    let made = step(provider, receive(Act::Verify, "urn:m"), NOW).unwrap();
    assert_eq!(made.next.progress.state, Some(State::Verified));
    assert_eq!(made.effects, [Effect::Withdraw(MessageId::new("urn:agree"))]);
}

#[test]
fn pids_terms_and_parties_must_fit() {
    let mut other = message(Act::Agree);
    let Message::Agreement(agreed) = &mut other else { panic!() };
    agreed.consumer_pid = ConsumerPid::new("urn:other");
    let refused = |message| {
        let input = Input::Received(Received { id: None, message });
        step(negotiation(Role::Consumer, Some(State::Requested)), input, NOW).unwrap_err()
    };
    assert_eq!(
        refused(other).reason,
        "/consumerPid: this negotiation has `urn:c`, the message says `urn:other`"
    );
    for (key, value, path) in [
        ("target", json!("urn:other"), "/agreement/target"),
        ("assigner", json!("did:web:mallory"), "/agreement/assigner"),
        ("assignee", json!("did:web:mallory"), "/agreement/assignee"),
        ("permission", json!([{"action": "use"}, {"action": "sell"}]), "/agreement: its rules"),
        ("prohibition", json!([{"action": "read"}]), "/agreement: its rules"),
    ] {
        let mut json = agreement().0.json().clone();
        json[key] = value;
        let mut forged = message(Act::Agree);
        let Message::Agreement(agreed) = &mut forged else { panic!() };
        agreed.agreement = Agreement::parse(json).unwrap();
        let refusal = refused(forged);
        assert_eq!(refusal.kind, RefusalKind::Disagreement);
        assert!(refusal.reason.starts_with(path), "{refusal}");
    }
}

#[test]
fn ending_before_the_peer_answered_waits_for_its_pid() {
    let parties = Parties {
        own: ParticipantId::new("did:web:consumer"),
        own_address: "https://own".to_owned(),
        peer: ParticipantId::new("did:web:provider"),
        peer_address: "https://peer".to_owned(),
        names: Names::default(),
        dataset: DatasetId::new("urn:d"),
    };
    let begun = begin(Role::Consumer, "urn:c".to_owned(), parties, offer(), MessageId::new("urn:m"), NOW);
    let end = Input::Decided { decision: decision(Act::Terminate), message: MessageId::new("urn:t") };
    let ended = step(begun.next, end, NOW).unwrap();
    assert!(ended.effects.is_empty());
    let reply = ContractNegotiation {
        provider_pid: ProviderPid::new("urn:p"),
        consumer_pid: ConsumerPid::new("urn:c"),
        state: State::Requested,
    };
    let acked =
        step(ended.next, Input::Acknowledged { message: MessageId::new("urn:m"), reply: Some(reply) }, NOW)
            .unwrap();
    let Some(Effect::Send(sent)) = acked.effects.last() else { panic!("a termination is sent") };
    assert_eq!(sent.path, "negotiations/urn:p/termination");
}

#[test]
fn messages_from_one_peer_are_bounded() {
    let mut provider = negotiation(Role::Provider, Some(State::Offered));
    provider.progress.seen =
        (0..progress::MAX_MESSAGES).map(|n| MessageId::new(format!("urn:{n}"))).collect();
    let refusal = step(provider.clone(), receive(Act::Request, "urn:m"), NOW).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::TooMuch);
    assert!(step(provider, receive(Act::Terminate, "urn:m"), NOW).is_ok(), "ending is always possible");
}

#[test]
fn the_signature_is_of_the_newest_version_that_the_consumer_has_shown() {
    let shown = |json: serde_json::Value| serde_json::from_value::<SignatureVersions>(json).unwrap();
    // Release 0.1.0 shows nothing; a later release may know more than this one, or no longer what this one knows.
    for (versions, version) in [
        (json!([1, 2]), 2),
        (json!([1, 2, 3]), 2),
        (json!([1]), 1),
        (json!([7]), 1),
        (json!(2), 2),
        (json!("2"), 1),
        (json!({"x": 1}), 1),
        (json!([]), 1),
    ] {
        let Message::Request(mut request) = message(Act::Request) else { panic!() };
        request.signature_versions = shown(versions.clone());
        let input = Input::Received(Received { id: None, message: Message::Request(request) });
        let mut negotiation =
            step(negotiation(Role::Provider, Some(State::Offered)), input, NOW).unwrap().next;
        assert_eq!(negotiation.signature_version, version, "{versions}");
        // A later message that says nothing takes nothing back.
        assert!(serde_json::to_value(SignatureVersions::default()).unwrap() == json!([]));
        negotiation.heed(&SignatureVersions::default());
        assert_eq!(negotiation.signature_version, version);
    }
    // A negotiation that release 0.1.0 kept names no version.
    let mut kept = serde_json::to_value(negotiation(Role::Provider, Some(State::Offered))).unwrap();
    kept.as_object_mut().unwrap().remove("signature_version").unwrap();
    assert_eq!(serde_json::from_value::<Negotiation>(kept).unwrap().signature_version, 1);
}
