//! Groups about persons, told so that two answers cannot be told apart by one person.
//!
//! Of what was told of a group is kept who was in it, and with which values, as keyed hashes. Until the window in which
//! it was told is over, the same is told again. After that something new is told only where it differs by enough persons from
//! whatever was told of the group before, under whichever question. What differs by fewer is withheld: the last answer is
//! repeated as long as everybody in it is still among the rows that may be handed on, and left out otherwise.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

/// What is to be told of groups, once it is known what may be.
pub type Releasing = Pin<Box<dyn Future<Output = Result<Vec<Option<Vec<Json>>>, String>> + Send>>;

/// Whoever keeps what was told of groups about persons, over a restart.
pub trait Releases: Send + Sync + fmt::Debug {
    /// Makes hashes of this recipient's groups; always the same.
    fn salt(&self) -> [u8; 32];

    /// Most persons in all groups of one answer, each counted once for each group.
    fn most_members(&self) -> usize;

    /// What may be told of each group, in their order; `None` where nothing may. It is kept before it is told.
    fn release(&self, groups: Vec<Group>) -> Releasing;
}

/// A group as the data has it now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Group {
    /// What was asked: a hash of the path and the parameters.
    pub asked: String,
    /// When its interval begins, so that names are in the order of time, and its values of the columns that it is by.
    pub name: (i64, Vec<String>),
    /// Fewest persons on whom something that is told may rest.
    pub minimum: u64,
    /// What is told, and on whom it rests: the group itself first, then one part for each column.
    pub parts: Vec<Part>,
    /// By column of the row, from the first that is told: its part.
    pub part_of: Vec<usize>,
}

/// Persons, and what is told of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Hashes of the persons, in order, each with one of the values that it brings.
    #[serde(with = "packed")]
    pub members: Vec<(u64, u64)>,
    /// What is told; one for each column of the row that is of this part.
    pub told: Vec<Json>,
}

/// An answer that was given.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answer {
    /// What was asked.
    pub asked: String,
    /// In which window.
    pub window: i64,
    /// Whether it is the last one to its question.
    pub is_last: bool,
    /// What was told, with those on whom it rests; `None` where nothing was.
    pub parts: Vec<Option<Part>>,
}

/// Everything that was told of a group.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Released {
    /// The oldest first.
    pub answers: Vec<Answer>,
}

impl Part {
    /// How many persons would have to be other ones, or bring other values, to make one out of the other.
    fn differs(&self, other: &Self) -> u64 {
        let known: HashMap<u64, u64> = other.members.iter().copied().collect();
        let here = self.members.iter().filter(|(person, value)| known.get(person) != Some(value)).count();
        let there = other.members.iter().filter(|(person, _)| !self.has(*person)).count();
        u64::try_from(here + there).unwrap_or(u64::MAX)
    }

    fn has(&self, person: u64) -> bool {
        self.members.binary_search_by_key(&person, |(known, _)| *known).is_ok()
    }

    /// Whether everybody in it is in the other.
    fn lies_within(&self, other: &Self) -> bool {
        self.members.iter().all(|(person, _)| other.has(*person))
    }

    fn rests_on(&self) -> u64 {
        u64::try_from(self.members.len()).unwrap_or(u64::MAX)
    }
}

impl Released {
    /// What is told of a group in a window; it is entered where it is new, and whether it was. At most `most` answers are
    /// kept, of one question or of several; beyond them nothing new is told under another question.
    #[must_use]
    pub fn tell(&mut self, group: &Group, window: i64, most: usize) -> (Option<Vec<Json>>, bool) {
        let last = self.answers.iter().position(|one| one.asked == group.asked && one.is_last);
        let own = last.and_then(|at| self.answers.get(at));
        // Another question may take the place of none that is kept.
        let has_room = own.is_some() || self.answers.len() < most;
        let empty = Vec::new();
        let before = own.map_or(&empty, |own| &own.parts);
        let mut is_new = false;
        let mut parts = Vec::new();
        let mut told = Vec::new();
        for (at, now) in group.parts.iter().enumerate() {
            let kept = before.get(at).and_then(Option::as_ref);
            let known = || self.answers.iter().filter_map(|one| one.parts.get(at)?.as_ref());
            let differs_enough =
                || known().all(|one| matches!(one.differs(now), 0) || one.differs(now) >= group.minimum);
            let in_window = kept.is_some() && own.is_some_and(|own| own.window == window);
            let is_same = kept.is_some_and(|kept| kept.differs(now) == 0);
            let may_be_new =
                has_room && !in_window && !is_same && now.rests_on() >= group.minimum && differs_enough();
            if may_be_new {
                is_new = true;
                told.push(Some(now.told.clone()));
                parts.push(Some(now.clone()));
            } else {
                told.push(kept.filter(|kept| kept.lies_within(now)).map(|kept| kept.told.clone()));
                parts.push(kept.cloned());
            }
        }
        // What a group is, is told with its size.
        let is_told = told.first().is_some_and(Option::is_some);
        if is_new && is_told {
            self.enter(Answer { asked: group.asked.clone(), window, is_last: true, parts }, last, most);
        }
        (is_told.then(|| row(group, told)), is_new && is_told)
    }

    fn enter(&mut self, answer: Answer, last: Option<usize>, most: usize) {
        if let Some(last) = last.and_then(|at| self.answers.get_mut(at)) {
            last.is_last = false;
        }
        if self.answers.len() >= most {
            // The oldest that is no last one; there is one, since another question found no room.
            if let Some(at) = self.answers.iter().position(|one| !one.is_last) {
                self.answers.remove(at);
            }
        }
        self.answers.push(answer);
    }
}

/// The columns of a row that are told, in their order.
fn row(group: &Group, told: Vec<Option<Vec<Json>>>) -> Vec<Json> {
    let mut told: Vec<_> = told.into_iter().map(|told| told.unwrap_or_default().into_iter()).collect();
    let next = |part: &usize| told.get_mut(*part).and_then(Iterator::next).unwrap_or_default();
    group.part_of.iter().map(next).collect()
}

/// Members as base64, 16 bytes each.
mod packed {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(members: &[(u64, u64)], to: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = members
            .iter()
            .flat_map(|(person, value)| [person.to_be_bytes(), value.to_be_bytes()])
            .flatten()
            .collect();
        to.serialize_str(&STANDARD_NO_PAD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(u64, u64)>, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = STANDARD_NO_PAD.decode(text).map_err(D::Error::custom)?;
        let (words, rest) = bytes.as_chunks::<8>();
        let words: Vec<_> = words.iter().map(|word| u64::from_be_bytes(*word)).collect();
        let (pairs, odd) = words.as_chunks::<2>();
        if !rest.is_empty() || !odd.is_empty() {
            return Err(D::Error::custom("it is cut off"));
        }
        Ok(pairs.iter().map(|[person, value]| (*person, *value)).collect())
    }
}

/// Makes hashes of persons and of what they bring.
#[derive(Debug, Clone)]
pub(crate) struct Hashes(Sha256);

impl Hashes {
    pub(crate) fn new(salt: [u8; 32]) -> Self {
        Self(Sha256::new_with_prefix(salt))
    }

    pub(crate) fn of(&self, text: &[u8]) -> u64 {
        let digest = self.0.clone().chain_update(text).finalize();
        let first = digest.first_chunk::<8>().copied().unwrap_or_default();
        u64::from_be_bytes(first)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// As configured where nothing is said.
    const MOST: usize = 16;

    /// A group of persons with their pay, of which the sum is told; without one, a person has none.
    fn group(asked: &str, minimum: u64, persons: &BTreeMap<u64, Option<u64>>) -> Group {
        let paid: Vec<_> = persons.iter().filter_map(|(person, pay)| Some((*person, (*pay)?))).collect();
        let sum: u64 = paid.iter().map(|(_, pay)| pay).sum();
        let all = persons.keys().map(|person| (*person, 1)).collect();
        Group {
            asked: asked.to_owned(),
            name: (0, Vec::new()),
            minimum,
            parts: vec![
                Part { members: all, told: vec![json!(persons.len())] },
                Part { members: paid, told: vec![json!(sum)] },
            ],
            part_of: vec![1, 0],
        }
    }

    fn persons(pays: &[(u64, u64)]) -> BTreeMap<u64, Option<u64>> {
        pays.iter().map(|(person, pay)| (*person, Some(*pay))).collect()
    }

    #[test]
    fn a_group_is_told_again_only_where_enough_persons_differ() {
        let mut released = Released::default();
        let first = persons(&[(1, 10), (2, 20), (3, 30)]);
        let mut ask =
            |window, who: &BTreeMap<u64, Option<u64>>| released.tell(&group("", 3, who), window, MOST).0;
        let told = Some(vec![json!(60), json!(3)]);
        assert_eq!(ask(0, &first), told);
        let one_more = persons(&[(1, 10), (2, 20), (3, 30), (4, 400)]);
        assert_eq!(ask(0, &one_more), told, "in the same window the same is told");
        assert_eq!(ask(1, &one_more), told, "in the next as well: one person differs");
        let one_less = persons(&[(1, 10), (2, 20)]);
        assert_eq!(ask(1, &one_less), None, "nothing that somebody withdrew is told again");
        let another = persons(&[(1, 10), (2, 20), (5, 500)]);
        assert_eq!(ask(1, &another), None);
        let raised = persons(&[(1, 10), (2, 20), (3, 31)]);
        assert_eq!(ask(2, &raised), told, "what one person brings differs");
        let many = persons(&[(1, 10), (2, 20), (3, 30), (4, 1), (5, 1), (6, 1)]);
        assert_eq!(ask(2, &many), Some(vec![json!(63), json!(6)]));
        assert_eq!(ask(3, &one_more), None, "it would differ by one from the first answer");
    }

    #[test]
    fn what_was_told_is_read_back() {
        let mut released = Released::default();
        let who = persons(&[(1, 10), (u64::MAX, 20), (3, 30)]);
        let told = released.tell(&group("", 3, &who), 0, MOST).0;
        let kept = serde_json::to_string(&released).unwrap();
        let mut again: Released = serde_json::from_str(&kept).unwrap();
        let more = persons(&[(1, 10), (u64::MAX, 20), (3, 30), (4, 1)]);
        assert_eq!(again.tell(&group("", 3, &more), 5, MOST).0, told);
        assert!(serde_json::from_str::<Released>(&kept.replacen("AAAAAAAA", "AAAAA", 1)).is_err(), "torn");
    }

    #[test]
    fn another_question_does_not_tell_the_difference() {
        let mut released = Released::default();
        let all = persons(&[(1, 10), (2, 20), (3, 30), (4, 40)]);
        let but_one = persons(&[(1, 10), (2, 20), (3, 30)]);
        assert!(released.tell(&group("?all", 3, &all), 0, MOST).0.is_some());
        assert_eq!(released.tell(&group("?but-one", 3, &but_one), 0, MOST).0, None);
        assert_eq!(released.tell(&group("?but-one", 3, &but_one), 9, MOST).0, None);
        for other in 0..100 {
            let _ = released.tell(
                &group(&format!("?{other}"), 1, &persons(&[(other * 10, 1), (other, 2)])),
                0,
                MOST,
            );
        }
        assert!(released.answers.len() <= MOST);
        assert!(released.tell(&group("?all", 3, &all), 0, MOST).0.is_some(), "what was told stays known");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// However persons come, go and change between questions: whatever is told rests on enough of them, and two answers
        /// that differ do so by enough.
        #[test]
        fn no_two_answers_tell_one_person(
            rounds in prop::collection::vec(
                (0..3_i64, 0..3_u8, prop::collection::btree_map(0..9_u64, prop::option::of(1..3_u64), 0..9)), 1..12),
            minimum in 2..4_u64,
        ) {
            let mut released = Released::default();
            let mut answers: Vec<(Vec<Json>, Vec<Option<Part>>)> = Vec::new();
            let mut window = 0;
            for (step, question, who) in rounds {
                window += step;
                let now = group(&question.to_string(), minimum, &who);
                let (told, _) = released.tell(&now, window, MOST);
                let Some(told) = told else { continue };
                let answer = released.answers.iter().find(|one| one.is_last && one.asked == now.asked).unwrap();
                for (column, part) in now.part_of.iter().enumerate() {
                    let Some(part) = &answer.parts[*part] else {
                        prop_assert_eq!(&told[column], &Json::Null);
                        continue;
                    };
                    prop_assert!(part.rests_on() >= minimum);
                    let is_told = told[column] != Json::Null;
                    prop_assert!(!is_told || part.told == [told[column].clone()]);
                    prop_assert!(!is_told || part.members.iter().all(|(one, _)| who.contains_key(one)));
                }
                answers.push((told, answer.parts.clone()));
            }
            for (told, parts) in &answers {
                for (other, others) in &answers {
                    for (column, part) in [1, 0].into_iter().enumerate() {
                        if let (Some(one), Some(two)) = (&parts[part], &others[part])
                            && told[column] != Json::Null && other[column] != Json::Null && one != two
                        {
                            let differs = one.differs(two);
                            prop_assert!(differs >= minimum, "{} {:?} {:?}", differs, told, other);
                        }
                    }
                }
            }
        }
    }
}
