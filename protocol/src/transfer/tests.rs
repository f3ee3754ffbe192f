//! The machine held against the specification's table, exhaustively.

use serde_json::json;

use super::*;
use crate::progress::Act as _;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

const TABLE: &[(&str, Role, Act, &str)] = &[
    ("none", Role::Consumer, Act::Request, "REQUESTED"),
    ("REQUESTED", Role::Provider, Act::Start, "STARTED"),
    ("SUSPENDED", Role::Provider, Act::Start, "STARTED"),
    ("SUSPENDED", Role::Consumer, Act::Start, "STARTED"),
    ("STARTED", Role::Consumer, Act::Suspend, "SUSPENDED"),
    ("STARTED", Role::Provider, Act::Suspend, "SUSPENDED"),
    ("STARTED", Role::Consumer, Act::Complete, "COMPLETED"),
    ("STARTED", Role::Provider, Act::Complete, "COMPLETED"),
    ("REQUESTED", Role::Consumer, Act::Terminate, "TERMINATED"),
    ("REQUESTED", Role::Provider, Act::Terminate, "TERMINATED"),
    ("STARTED", Role::Consumer, Act::Terminate, "TERMINATED"),
    ("STARTED", Role::Provider, Act::Terminate, "TERMINATED"),
    ("SUSPENDED", Role::Consumer, Act::Terminate, "TERMINATED"),
    ("SUSPENDED", Role::Provider, Act::Terminate, "TERMINATED"),
];

#[test]
fn the_transition_function_is_the_table_and_nothing_else() {
    for from in std::iter::once(None).chain(State::ALL.into_iter().map(Some)) {
        let name = from.map_or_else(|| "none".to_owned(), |state| state.to_string());
        for by in Role::ALL {
            for act in Act::ALL {
                let expected =
                    TABLE.iter().find(|row| row.0 == name && row.1 == by && row.2 == act).map(|row| row.3);
                let got = act.transition(from, by).map(|state| state.to_string());
                assert_eq!(got.as_deref(), expected, "{act:?} by {by} from {name}");
            }
        }
    }
}

fn transfer(role: Role, state: Option<State>) -> Transfer {
    let parties = Parties {
        own: ParticipantId::new(format!("did:web:{role}")),
        own_address: "https://own".to_owned(),
        peer: ParticipantId::new(format!("did:web:{}", role.other())),
        peer_address: "https://peer".to_owned(),
        agreement: AgreementId::new("urn:a"),
        dataset: DatasetId::new("urn:d"),
        format: "HttpData-PULL".to_owned(),
    };
    let mut made = create(role, ConsumerPid::new("urn:c"), parties, NOW);
    made.provider_pid = Some(ProviderPid::new("urn:p"));
    made.progress.state = state;
    made
}

fn receive(act: Act, id: &str) -> Option<Input> {
    let (provider_pid, consumer_pid) = (ProviderPid::new("urn:p"), ConsumerPid::new("urn:c"));
    let reason = vec![json!("enough")];
    let message = match act {
        Act::Complete => Message::Completion(TransferCompletionMessage { provider_pid, consumer_pid }),
        Act::Start => Message::Start(TransferStartMessage { provider_pid, consumer_pid, data_address: None }),
        Act::Suspend => {
            Message::Suspension(TransferSuspensionMessage { provider_pid, consumer_pid, code: None, reason })
        }
        Act::Terminate => Message::Termination(TransferTerminationMessage {
            provider_pid,
            consumer_pid,
            code: None,
            reason,
        }),
        Act::Request => return None,
    };
    Some(Input::Received(Received { id: Some(MessageId::new(id)), message }))
}

fn decide(act: Act, id: &str) -> Option<Input> {
    let decision = match act {
        Act::Complete => Decision::Complete,
        Act::Start => Decision::Start(None),
        Act::Suspend => Decision::Suspend("enough".to_owned()),
        Act::Terminate => Decision::Terminate("enough".to_owned()),
        Act::Request => return None,
    };
    Some(Input::Decided { decision, message: MessageId::new(id) })
}

#[test]
fn every_message_and_decision_in_every_state_moves_as_the_table_says_or_is_refused() {
    for role in Role::ALL {
        for state in State::ALL {
            for act in Act::ALL {
                let before = transfer(role, Some(state));
                if let Some(input) = receive(act, "urn:m") {
                    let expected = act.transition(Some(state), role.other());
                    let got = step(before.clone(), input, NOW).map(|step| step.next.progress.state);
                    assert_eq!(
                        got.as_ref().ok().copied().flatten(),
                        expected,
                        "{role} receives {act:?} in {state}"
                    );
                }
                if let Some(input) = decide(act, "urn:m") {
                    let expected = act.transition(Some(state), role);
                    let got = step(before, input, NOW);
                    assert_eq!(got.is_ok(), expected.is_some(), "{role} decides {act:?} in {state}");
                    let Ok(made) = got else { continue };
                    let reply = Input::Acknowledged { message: MessageId::new("urn:m"), reply: None };
                    assert_eq!(step(made.next, reply, NOW).unwrap().next.progress.state, expected);
                }
            }
        }
    }
}

#[test]
fn either_side_may_resume() {
    let provider = transfer(Role::Provider, Some(State::Started));
    let by_consumer = step(provider, receive(Act::Suspend, "urn:1").unwrap(), NOW).unwrap().next;
    assert!(step(by_consumer.clone(), decide(Act::Start, "urn:2").unwrap(), NOW).is_ok());
    let resumed = step(by_consumer, receive(Act::Start, "urn:3").unwrap(), NOW).unwrap().next;
    assert_eq!(resumed.progress.state, Some(State::Started));

    let suspended = step(resumed, decide(Act::Suspend, "urn:4").unwrap(), NOW).unwrap().next;
    let reply = Input::Acknowledged { message: MessageId::new("urn:4"), reply: None };
    let suspended = step(suspended, reply, NOW).unwrap().next;
    let resumed = step(suspended, receive(Act::Start, "urn:5").unwrap(), NOW).unwrap().next;
    assert_eq!(resumed.progress.state, Some(State::Started));
}

/// The consumer resumes, and only a start can say where the data is now (as EDC does it).
#[test]
fn a_resumption_by_the_consumer_may_be_answered_with_a_start_once() {
    let consumer = transfer(Role::Consumer, Some(State::Started));
    assert!(
        step(consumer.clone(), receive(Act::Start, "urn:0").unwrap(), NOW).is_err(),
        "it was not resumed"
    );
    let suspended = step(consumer, receive(Act::Suspend, "urn:1").unwrap(), NOW).unwrap().next;
    let resuming = step(suspended, decide(Act::Start, "urn:2").unwrap(), NOW).unwrap().next;
    let reply = Input::Acknowledged { message: MessageId::new("urn:2"), reply: None };
    let resumed = step(resuming, reply, NOW).unwrap().next;
    let generation = resumed.generation;
    let answered = step(resumed, receive(Act::Start, "urn:3").unwrap(), NOW).unwrap();
    assert_eq!(
        (answered.next.generation, answered.next.progress.state),
        (generation + 1, Some(State::Started))
    );
    assert!(answered.effects.contains(&Effect::OpenStream));
    assert!(step(answered.next.clone(), receive(Act::Start, "urn:3").unwrap(), NOW).unwrap().repeat);
    assert!(step(answered.next, receive(Act::Start, "urn:4").unwrap(), NOW).is_err(), "once");
}

#[test]
fn the_gate_is_open_only_while_started_and_nothing_stops_it() {
    let provider = transfer(Role::Provider, Some(State::Requested));
    assert!(!provider.is_open());
    let starting = step(provider, decide(Act::Start, "urn:1").unwrap(), NOW).unwrap();
    assert!(starting.next.is_open(), "the consumer may pull before its 2xx reaches us");
    assert!(starting.effects.contains(&Effect::OpenStream));
    let reply = Input::Acknowledged { message: MessageId::new("urn:1"), reply: None };
    let started = step(starting.next, reply, NOW).unwrap().next;
    assert!(started.is_open());
    let stopping = step(started, decide(Act::Terminate, "urn:2").unwrap(), NOW).unwrap();
    assert!(!stopping.next.is_open(), "closed before the peer knows");
    assert!(stopping.effects.contains(&Effect::CutStream("ended: enough".to_owned())));
}
