//! Constraints as alternatives (disjunctive normal form): in each, the operands are independent of one another.

use crate::model::{Atomic, Constraint, Logical};

/// Most alternatives that are looked at; beyond them nothing is decided.
pub(crate) const MAX_ALTERNATIVES: usize = 4096;
/// Most literals in all alternatives together: what a peer writes must not take much memory.
const MAX_LITERALS: usize = 65_536;

/// What is wanted of a constraint. One of which nothing is known is neither true nor false.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    False,
    NotFalse,
    NotTrue,
    True,
}

/// An atomic constraint, wanted true or false.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Literal<'a> {
    pub atomic: &'a Atomic,
    pub wanted: bool,
    /// Whether it will also do that it is not known.
    pub or_unknown: bool,
}

/// All of these.
pub(crate) type Alternative<'a> = Vec<Literal<'a>>;

/// The alternatives in which both lists hold and no prohibition does; `None` where there are too many.
pub(crate) fn meet<'a>(
    a: &'a [Constraint],
    b: &'a [Constraint],
    forbidden: impl Iterator<Item = &'a [Constraint]>,
) -> Option<Vec<Alternative<'a>>> {
    let mut found = product(&all(a)?, &all(b)?)?;
    for rule in forbidden {
        found = product(&found, &negated_all(rule)?)?;
    }
    Some(found)
}

/// The alternatives in which all hold.
pub(crate) fn all(constraints: &[Constraint]) -> Option<Vec<Alternative<'_>>> {
    every(constraints, Wanted::True)
}

/// The alternatives in which one does not hold, for certain.
pub(crate) fn negated_all(constraints: &[Constraint]) -> Option<Vec<Alternative<'_>>> {
    some(constraints, Wanted::False)
}

/// The alternatives in which each constraint is as wanted.
pub(crate) fn every(constraints: &[Constraint], wanted: Wanted) -> Option<Vec<Alternative<'_>>> {
    constraints.iter().try_fold(vec![Vec::new()], |so_far, one| product(&so_far, &alternatives(one, wanted)?))
}

/// The alternatives in which one of the constraints is as wanted.
pub(crate) fn some(constraints: &[Constraint], wanted: Wanted) -> Option<Vec<Alternative<'_>>> {
    let mut found = Vec::new();
    for one in constraints {
        found.extend(alternatives(one, wanted)?);
        if found.len() > MAX_ALTERNATIVES {
            return None;
        }
    }
    Some(found)
}

/// The ways in which constraints hold, through every `or` and `xone`: in each of them the comparisons that hold then.
/// `None` where there are too many to look at.
#[must_use]
pub fn ways(constraints: &[Constraint]) -> Option<Vec<Vec<&Atomic>>> {
    let mut found = Vec::new();
    for way in all(constraints)? {
        found.push(way.into_iter().filter(|literal| literal.wanted).map(|literal| literal.atomic).collect());
    }
    Some(found)
}

fn alternatives(constraint: &Constraint, wanted: Wanted) -> Option<Vec<Alternative<'_>>> {
    let (logical, parts) = match constraint {
        Constraint::Atomic(atomic) => {
            let literal = Literal {
                atomic,
                wanted: matches!(wanted, Wanted::NotFalse | Wanted::True),
                or_unknown: matches!(wanted, Wanted::NotFalse | Wanted::NotTrue),
            };
            return Some(vec![vec![literal]]);
        }
        Constraint::Logical { logical, parts } => (*logical, parts.as_slice()),
    };
    match (logical, wanted) {
        (Logical::And | Logical::AndSequence, Wanted::True | Wanted::NotFalse)
        | (Logical::Or, Wanted::False | Wanted::NotTrue) => every(parts, wanted),
        (Logical::And | Logical::AndSequence, Wanted::False | Wanted::NotTrue)
        | (Logical::Or, Wanted::True | Wanted::NotFalse) => some(parts, wanted),
        // Exactly one is true, and of the others that is known.
        (Logical::Xone, Wanted::True) => but_one(parts, Wanted::True, Wanted::False),
        (Logical::Xone, Wanted::NotFalse) => but_one(parts, Wanted::NotFalse, Wanted::NotTrue),
        (Logical::Xone, Wanted::False) => pairs(parts, every(parts, Wanted::False)?, Wanted::True),
        (Logical::Xone, Wanted::NotTrue) => pairs(parts, every(parts, Wanted::NotTrue)?, Wanted::NotFalse),
    }
}

/// One part is as `own`, the others as `others`.
fn but_one(parts: &[Constraint], own: Wanted, others: Wanted) -> Option<Vec<Alternative<'_>>> {
    let mut found = Vec::new();
    for holds in 0..parts.len() {
        let each = parts.iter().enumerate().try_fold(vec![Vec::new()], |so_far, (place, part)| {
            product(&so_far, &alternatives(part, if holds == place { own } else { others })?)
        });
        found.extend(each?);
        if found.len() > MAX_ALTERNATIVES {
            return None;
        }
    }
    Some(found)
}

/// What was found, and besides: one part is true and another one as `second`.
fn pairs<'a>(
    parts: &'a [Constraint],
    mut found: Vec<Alternative<'a>>,
    second: Wanted,
) -> Option<Vec<Alternative<'a>>> {
    for (place, first) in parts.iter().enumerate() {
        for (other, part) in parts.iter().enumerate() {
            // Where both are to be true, each pair counts once.
            if place == other || second == Wanted::True && other < place {
                continue;
            }
            found.extend(product(&alternatives(first, Wanted::True)?, &alternatives(part, second)?)?);
            if found.len() > MAX_ALTERNATIVES {
                return None;
            }
        }
    }
    Some(found)
}

pub(crate) fn product<'a>(a: &[Alternative<'a>], b: &[Alternative<'a>]) -> Option<Vec<Alternative<'a>>> {
    let size = |all: &[Alternative<'a>]| all.iter().map(Vec::len).sum::<usize>();
    let literals = size(a).checked_mul(b.len())?.checked_add(size(b).checked_mul(a.len())?)?;
    if a.len().checked_mul(b.len())? > MAX_ALTERNATIVES || literals > MAX_LITERALS {
        return None;
    }
    Some(
        a.iter()
            .flat_map(|one| b.iter().map(move |other| [one.as_slice(), other.as_slice()].concat()))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Policy;

    /// The alternatives of `ors` choices of two beside `plain` comparisons, if they are within the bounds.
    fn alternatives_of(ors: usize, plain: usize) -> Option<usize> {
        let leaf = json!({"leftOperand": "percentage", "operator": "lt", "rightOperand": "5"});
        let choice = json!({"or": [leaf, leaf]});
        let constraints = [vec![choice; ors], vec![leaf; plain]].concat();
        let policy =
            Policy::parse(&json!({"permission": [{"action": "use", "constraint": constraints}]})).unwrap();
        all(&policy.permissions.first().unwrap().constraints).map(|found| found.len())
    }

    #[test]
    fn neither_many_alternatives_nor_long_ones_take_the_memory() {
        assert_eq!(alternatives_of(12, 0), Some(4096));
        assert_eq!(alternatives_of(13, 0), None, "too many");
        assert_eq!(alternatives_of(12, 100), None, "too many literals in them");
        assert_eq!(alternatives_of(0, 1000), Some(1));
    }
}
