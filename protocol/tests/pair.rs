//! Two machines, one wire that loses, repeats and reorders, people who decide at random: both sides converge.

#![expect(clippy::unwrap_used, clippy::unreachable, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;
use protocol::negotiation::{self, Act, Negotiation};
use protocol::progress::Act as _;
use protocol::transfer::{self, Transfer};
use protocol::wire::{self, Agreement, Offer};
use protocol::*;
use serde_json::{Value as Json, json};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// What happens next; numbers choose among what is possible.
#[derive(Debug, Clone)]
enum Op {
    /// A side decides.
    Decide(bool, u8),
    /// A message in flight arrives and is answered; its sender learns the answer.
    Deliver(u8),
    /// A message arrives, but its answer is lost: the sender will send it again. (A lost message is one that is not
    /// delivered yet: the outbox keeps it.)
    DeliverSilently(u8),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        3 => (any::<bool>(), any::<u8>()).prop_map(|(side, which)| Op::Decide(side, which)),
        4 => any::<u8>().prop_map(Op::Deliver),
        2 => any::<u8>().prop_map(Op::DeliverSilently),
    ];
    prop::collection::vec(op, 1..60)
}

fn did(role: Role) -> ParticipantId {
    ParticipantId::new(format!("did:web:{role}"))
}

fn offer(terms: u8) -> Offer {
    Offer::parse(json!({"@id": format!("urn:o{terms}"), "@type": "Offer", "target": "urn:d", "permission": [{"action": "use",
        "constraint": [{"leftOperand": "count", "operator": "lteq", "rightOperand": terms.to_string()}]}]}))
    .unwrap()
}

/// Ids that are never used twice.
#[derive(Default)]
struct Ids(u32);

impl Ids {
    fn next(&mut self) -> MessageId {
        self.0 += 1;
        MessageId::new(format!("urn:m{}", self.0))
    }
}

/// Messages on their way, with who sent them; the outbox of both sides.
type Wire = BTreeMap<u32, (Role, Outgoing)>;

fn follow(wire: &mut Wire, by: Role, effects: Vec<Effect>) {
    for effect in effects {
        match effect {
            Effect::Send(outgoing) => {
                let place = wire.keys().next_back().map_or(0, |last| last + 1);
                wire.insert(place, (by, outgoing));
            }
            Effect::Withdraw(id) => wire.retain(|_, (_, outgoing)| outgoing.id != id),
            Effect::Conclude | Effect::OpenStream | Effect::CutStream(_) => {}
        }
    }
}

struct Sides<T> {
    consumer: T,
    provider: Option<T>,
    ids: Ids,
    wire: Wire,
}

impl<T> Sides<T> {
    fn get(&mut self, role: Role) -> Option<&mut T> {
        match role {
            Role::Consumer => Some(&mut self.consumer),
            Role::Provider => self.provider.as_mut(),
        }
    }

    fn pick(&self, which: u8) -> Option<u32> {
        let count = self.wire.len();
        (count > 0).then(|| *self.wire.keys().nth(usize::from(which) % count).unwrap())
    }
}

fn negotiation_parties(role: Role) -> negotiation::Parties {
    negotiation::Parties {
        own: did(role),
        own_address: format!("https://{role}"),
        peer: did(role.other()),
        peer_address: format!("https://{}", role.other()),
        names: Names::default(),
        dataset: DatasetId::new("urn:d"),
    }
}

fn decide_negotiation(sides: &mut Sides<Negotiation>, role: Role, which: u8) {
    let id = sides.ids.next();
    let agreement_id = AgreementId::new(format!("urn:a{}", sides.ids.0));
    let Some(process) = sides.get(role) else { return };
    let agreement = process.offer.agreement(
        &agreement_id,
        &process.dataset,
        (process.assigner(), process.assignee()),
        NOW,
        serde_json::Map::new(),
        2,
    );
    let decision = match which % 8 {
        0 => negotiation::Decision::Accept,
        1 | 2 => {
            let (agreement, parts) = agreement.unwrap();
            negotiation::Decision::Agree { agreement, parts, signature: None }
        }
        3 | 4 => negotiation::Decision::Finalize,
        5 => negotiation::Decision::Verify { signature: None },
        6 => match role {
            Role::Consumer => negotiation::Decision::Request(offer(which)),
            Role::Provider => negotiation::Decision::Offer(offer(which)),
        },
        _ => negotiation::Decision::Terminate("enough".to_owned()),
    };
    let before = process.clone();
    let input = negotiation::Input::Decided { decision, message: id };
    match negotiation::step(before, input, NOW) {
        Ok(step) => {
            *sides.get(role).unwrap() = step.next;
            follow(&mut sides.wire, role, step.effects);
        }
        Err(refusal) => assert_eq!(refusal.kind, RefusalKind::IllegalTransition, "{refusal}"),
    }
}

fn read<T: wire::DspMessage>(body: &Json) -> wire::Received<T> {
    wire::from_json(body.clone()).unwrap()
}

fn negotiation_message(body: &Json) -> wire::Received<negotiation::Message> {
    use negotiation::Message;
    fn wrap<T, M>(received: wire::Received<T>, make: impl FnOnce(T) -> M) -> wire::Received<M> {
        wire::Received { id: received.id, message: make(received.message) }
    }
    match body["@type"].as_str().unwrap() {
        "ContractRequestMessage" => wrap(read(body), Message::Request),
        "ContractOfferMessage" => wrap(read(body), Message::Offer),
        "ContractAgreementMessage" => wrap(read(body), Message::Agreement),
        "ContractAgreementVerificationMessage" => wrap(read(body), Message::Verification),
        "ContractNegotiationEventMessage" => wrap(read(body), Message::Event),
        "ContractNegotiationTerminationMessage" => wrap(read(body), Message::Termination),
        other => unreachable!("{other}"),
    }
}

/// The receiver handles one message; `answered` tells whether the sender learns of it.
fn deliver_negotiation(sides: &mut Sides<Negotiation>, which: u8, answered: bool) {
    let Some(place) = sides.pick(which) else { return };
    let (sender, outgoing) = sides.wire[&place].clone();
    let receiver = sender.other();
    let first = outgoing.path == "negotiations/request";
    let taken = if first {
        if sides.provider.is_none() {
            let received = read::<wire::ContractRequestMessage>(&outgoing.body);
            let parties = negotiation_parties(Role::Provider);
            sides.provider =
                Some(negotiation::requested(ProviderPid::new("urn:p"), parties, &received, NOW).unwrap());
        }
        Ok(())
    } else {
        let Some(process) = sides.get(receiver).cloned() else { return };
        let input = negotiation::Input::Received(negotiation_message(&outgoing.body));
        match negotiation::step(process, input, NOW) {
            Ok(step) => {
                *sides.get(receiver).unwrap() = step.next;
                follow(&mut sides.wire, receiver, step.effects);
                Ok(())
            }
            Err(refusal) => Err(refusal),
        }
    };
    if !answered || !sides.wire.contains_key(&place) {
        return;
    }
    sides.wire.remove(&place);
    let reply = sides.get(receiver).and_then(|process| process.acknowledgement());
    let input = match taken {
        Ok(()) => negotiation::Input::Acknowledged { message: outgoing.id, reply: reply.filter(|_| first) },
        Err(refusal) => negotiation::Input::Failed {
            failed: outgoing.id,
            failure: Failure { reason: refusal.reason, refused: true },
            message: sides.ids.next(),
        },
    };
    let process = sides.get(sender).unwrap().clone();
    let step = negotiation::step(process, input, NOW).unwrap();
    *sides.get(sender).unwrap() = step.next;
    follow(&mut sides.wire, sender, step.effects);
}

fn transfer_parties(role: Role) -> transfer::Parties {
    transfer::Parties {
        own: did(role),
        own_address: format!("https://{role}"),
        peer: did(role.other()),
        peer_address: format!("https://{}", role.other()),
        agreement: AgreementId::new("urn:a"),
        dataset: DatasetId::new("urn:d"),
        format: "HttpData-PULL".to_owned(),
    }
}

fn decide_transfer(sides: &mut Sides<Transfer>, role: Role, which: u8) {
    let id = sides.ids.next();
    let Some(process) = sides.get(role) else { return };
    let decision = match which % 7 {
        0 => transfer::Decision::Complete,
        1..=3 => transfer::Decision::Start(None),
        4 | 5 => transfer::Decision::Suspend("pause".to_owned()),
        _ => transfer::Decision::Terminate("enough".to_owned()),
    };
    let before = process.clone();
    match transfer::step(before, transfer::Input::Decided { decision, message: id }, NOW) {
        Ok(step) => {
            *sides.get(role).unwrap() = step.next;
            follow(&mut sides.wire, role, step.effects);
        }
        Err(refusal) => assert_eq!(refusal.kind, RefusalKind::IllegalTransition, "{refusal}"),
    }
}

fn deliver_transfer(sides: &mut Sides<Transfer>, which: u8, answered: bool) {
    use transfer::Message;
    let Some(place) = sides.pick(which) else { return };
    let (sender, outgoing) = sides.wire[&place].clone();
    let receiver = sender.other();
    let first = outgoing.path == "transfers/request";
    let taken = if first {
        if sides.provider.is_none() {
            let received = read::<wire::TransferRequestMessage>(&outgoing.body);
            let parties = transfer_parties(Role::Provider);
            sides.provider = Some(transfer::requested(ProviderPid::new("urn:p"), parties, &received, NOW));
        }
        Ok(())
    } else {
        let Some(process) = sides.get(receiver).cloned() else { return };
        let id = Some(outgoing.id.clone());
        let body = &outgoing.body;
        let message = match body["@type"].as_str().unwrap() {
            "TransferStartMessage" => Message::Start(read(body).message),
            "TransferSuspensionMessage" => Message::Suspension(read(body).message),
            "TransferCompletionMessage" => Message::Completion(read(body).message),
            "TransferTerminationMessage" => Message::Termination(read(body).message),
            other => unreachable!("{other}"),
        };
        match transfer::step(process, transfer::Input::Received(wire::Received { id, message }), NOW) {
            Ok(step) => {
                *sides.get(receiver).unwrap() = step.next;
                follow(&mut sides.wire, receiver, step.effects);
                Ok(())
            }
            Err(refusal) => Err(refusal),
        }
    };
    if !answered || !sides.wire.contains_key(&place) {
        return;
    }
    sides.wire.remove(&place);
    let reply = sides.get(receiver).and_then(|process| process.acknowledgement());
    let input = match taken {
        Ok(()) => transfer::Input::Acknowledged { message: outgoing.id, reply: reply.filter(|_| first) },
        Err(refusal) => transfer::Input::Failed {
            failed: outgoing.id,
            failure: Failure { reason: refusal.reason, refused: true },
            message: sides.ids.next(),
        },
    };
    let process = sides.get(sender).unwrap().clone();
    let step = transfer::step(process, input, NOW).unwrap();
    *sides.get(sender).unwrap() = step.next;
    follow(&mut sides.wire, sender, step.effects);
}

fn play<T>(
    mut sides: Sides<T>,
    ops: Vec<Op>,
    decide: impl Fn(&mut Sides<T>, Role, u8),
    deliver: impl Fn(&mut Sides<T>, u8, bool),
) -> Sides<T> {
    for op in ops {
        match op {
            Op::Decide(true, which) => decide(&mut sides, Role::Consumer, which),
            Op::Decide(false, which) => decide(&mut sides, Role::Provider, which),
            Op::Deliver(which) => deliver(&mut sides, which, true),
            Op::DeliverSilently(which) => deliver(&mut sides, which, false),
        }
    }
    // Nobody decides any more; the wire works. What is in flight comes to its end.
    for _ in 0..200 {
        if sides.wire.is_empty() {
            break;
        }
        deliver(&mut sides, 0, true);
    }
    assert!(sides.wire.is_empty(), "messages go on for ever");
    sides
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

    #[test]
    fn negotiations_converge(ops in ops()) {
        let mut ids = Ids::default();
        let begun = negotiation::begin(Role::Consumer, "urn:c".to_owned(), negotiation_parties(Role::Consumer), offer(1), ids.next(), NOW);
        let mut wire = Wire::new();
        follow(&mut wire, Role::Consumer, begun.effects);
        let sides = Sides { consumer: begun.next, provider: None, ids, wire };
        let sides = play(sides, ops, decide_negotiation, deliver_negotiation);
        let (consumer, provider) = (sides.consumer, sides.provider.unwrap());
        prop_assert_eq!(consumer.progress.state, provider.progress.state, "{:#?}\n{:#?}", consumer.progress, provider.progress);
        prop_assert!(consumer.progress.pending.is_none() && provider.progress.pending.is_none());
        if consumer.progress.state == Some(negotiation::State::Finalized) {
            let json = |one: &Negotiation| one.agreement.as_ref().map(Agreement::json).cloned();
            prop_assert_eq!(json(&consumer), json(&provider), "one agreement");
        }
    }

    #[test]
    fn transfers_converge(ops in ops()) {
        let mut ids = Ids::default();
        let begun = transfer::begin(ConsumerPid::new("urn:c"), transfer_parties(Role::Consumer), None, ids.next(), NOW);
        let mut wire = Wire::new();
        follow(&mut wire, Role::Consumer, begun.effects);
        let sides = Sides { consumer: begun.next, provider: None, ids, wire };
        let sides = play(sides, ops, decide_transfer, deliver_transfer);
        let (consumer, provider) = (sides.consumer, sides.provider.unwrap());
        prop_assert_eq!(consumer.progress.state, provider.progress.state, "{:#?}\n{:#?}", consumer.progress, provider.progress);
    }
}

/// Every act is somewhere legal, so that the tests above exercise all.
#[test]
fn every_act_is_legal_somewhere() {
    for act in Act::ALL {
        let states = std::iter::once(None).chain(negotiation::State::ALL.into_iter().map(Some));
        assert!(
            states
                .into_iter()
                .any(|state| Role::ALL.into_iter().any(|by| act.transition(state, by).is_some()))
        );
    }
}
