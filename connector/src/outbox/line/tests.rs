use protocol::{MessageId, Outgoing};

use super::*;
use crate::tables::ProcessKind;

const GIVE_UP: Duration = Duration::from_secs(600);

fn entry(pid: &str, id: &str) -> Arc<OutboxEntry> {
    Arc::new(OutboxEntry {
        kind: ProcessKind::Negotiation,
        pid: pid.to_owned(),
        peer: "did:web:peer.example".to_owned(),
        address: "https://peer.example".to_owned(),
        message: Outgoing { id: MessageId::new(id), path: String::new(), body: serde_json::Value::Null },
        since: Timestamp::UNIX_EPOCH,
    })
}

/// A line with the messages `(pid, id)`, and its beginning.
fn line(messages: &[(&str, &str)]) -> (Line, Instant) {
    let (mut line, now) = (Line::default(), Instant::now());
    for (number, (pid, id)) in (1..).zip(messages) {
        line.add((Timestamp::UNIX_EPOCH, number), entry(pid, id), now);
    }
    (line, now)
}

fn ids(next: &Next) -> Vec<String> {
    next.trips.iter().map(|trip| trip.entry.message.id.to_string()).collect()
}

fn fails(line: &mut Line, next: &Next, now: Instant, trouble: Trouble) {
    for trip in &next.trips {
        let since = trip.tried_since.unwrap_or(now);
        line.again(trip.turn, since, now, (trouble, "why".to_owned()), 0.5);
    }
}

#[test]
fn messages_begin_in_their_order_and_of_one_process_one_at_a_time() {
    let (mut line, now) = line(&[("a", "a1"), ("a", "a2"), ("b", "b1"), ("c", "c1"), ("c", "c2")]);
    let first = line.next(now, 2, GIVE_UP);
    assert_eq!(ids(&first), ["a1", "b1"], "so many at once, the oldest first");
    line.over(first.trips[1].turn, true);
    assert_eq!(ids(&line.next(now, 1, GIVE_UP)), ["c1"], "a2 waits for a1");
    fails(&mut line, &Next { trips: vec![], ..first }, now, Trouble::Message);
    line.over((Timestamp::UNIX_EPOCH, 1), true);
    assert_eq!(ids(&line.next(now, 8, GIVE_UP)), ["a2"]);
}

#[test]
fn trouble_with_one_message_holds_up_its_process_alone() {
    let (mut line, now) = line(&[("a", "a1"), ("a", "a2"), ("b", "b1")]);
    let first = line.next(now, 1, GIVE_UP);
    fails(&mut line, &first, now, Trouble::Message);
    let next = line.next(now, 8, GIVE_UP);
    assert_eq!(ids(&next), ["b1"]);
    let again = next.look_again.unwrap();
    assert_eq!(again, now + FIRST_PAUSE);
    let next = line.next(again, 8, GIVE_UP);
    assert_eq!(ids(&next), ["a1"]);
    assert!(next.trips[0].may_be_taken && next.trips[0].tried_since == Some(now));
}

#[test]
fn while_an_origin_is_away_the_oldest_message_finds_out_whether_it_is_back() {
    let (mut line, now) = line(&[("a", "a1"), ("b", "b1"), ("c", "c1"), ("d", "d1")]);
    let first = line.next(now, 3, GIVE_UP);
    assert_eq!(ids(&first), ["a1", "b1", "c1"]);
    fails(&mut line, &first, now, Trouble::Away);
    let waits = line.next(now, 8, GIVE_UP);
    assert!(waits.trips.is_empty());
    let at = waits.look_again.unwrap();
    assert_eq!(at, now + FIRST_PAUSE, "failures of one moment are one");
    let probe = line.next(at, 8, GIVE_UP);
    assert_eq!(ids(&probe), ["a1"]);
    assert!(line.next(at, 8, GIVE_UP).trips.is_empty(), "one at a time");
    fails(&mut line, &probe, at, Trouble::Away);
    let later = line.next(at, 8, GIVE_UP).look_again.unwrap();
    assert_eq!(later, at + FIRST_PAUSE * 2);
    let probe = line.next(later, 8, GIVE_UP);
    assert_eq!(ids(&probe), ["a1"]);
    line.over(probe.trips[0].turn, true);
    let later = later + LONGEST_PAUSE;
    assert_eq!(ids(&line.next(later, 8, GIVE_UP)), ["b1", "c1", "d1"], "it is back: the others, in order");
}

#[test]
fn what_gets_no_answer_is_passed_over_by_the_next() {
    let (mut line, now) = line(&[("a", "a1"), ("b", "b1")]);
    let first = line.next(now, 1, GIVE_UP);
    fails(&mut line, &first, now, Trouble::Silent);
    let at = line.next(now, 8, GIVE_UP).look_again.unwrap();
    let probe = line.next(at, 8, GIVE_UP);
    assert_eq!(ids(&probe), ["b1"]);
    fails(&mut line, &probe, at, Trouble::Silent);
    let at = line.next(at, 8, GIVE_UP).look_again.unwrap();
    assert_eq!(ids(&line.next(at, 8, GIVE_UP)), ["a1"], "round and round");
}

#[test]
fn time_counts_for_all_that_wait_while_an_origin_is_away() {
    let (mut line, now) = line(&[("a", "a1"), ("b", "b1")]);
    let first = line.next(now, 1, GIVE_UP);
    fails(&mut line, &first, now, Trouble::Away);
    let joined = now + Duration::from_secs(300);
    line.add((Timestamp::UNIX_EPOCH, 3), entry("c", "c1"), joined);
    let next = line.next(now + GIVE_UP, 8, GIVE_UP);
    let given_up: Vec<_> = next.given_up.iter().map(|(_, entry, _)| entry.message.id.to_string()).collect();
    assert_eq!(given_up, ["a1", "b1"]);
    for (turn, ..) in next.given_up {
        line.over(turn, false);
    }
    let next = line.next(now + GIVE_UP, 8, GIVE_UP);
    assert_eq!(ids(&next), ["c1"], "it finds out now");
    assert!(next.given_up.is_empty());
    assert_eq!(line.queue.len(), 1);
}

#[test]
fn what_could_not_be_written_is_tried_again_after_the_longest_pause() {
    let (mut line, now) = line(&[("a", "a1")]);
    let first = line.next(now, 1, GIVE_UP);
    fails(&mut line, &first, now, Trouble::Unwritten);
    assert_eq!(line.next(now, 1, GIVE_UP).look_again, Some(now + LONGEST_PAUSE));
    line.remove((Timestamp::UNIX_EPOCH, 1));
    assert!(line.is_empty());
}
