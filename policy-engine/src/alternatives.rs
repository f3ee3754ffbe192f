//! Constraints as alternatives (disjunctive normal form): in each, the operands are independent of one another.

use crate::model::{Atomic, Constraint, Logical};

/// Most alternatives that are looked at; beyond them nothing is decided.
pub(crate) const MAX_ALTERNATIVES: usize = 4096;
/// Most literals in all alternatives together: what a peer writes must not take much memory.
const MAX_LITERALS: usize = 65_536;

/// An atomic constraint, wanted true or false.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Literal<'a> {
    pub atomic: &'a Atomic,
    pub wanted: bool,
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

pub(crate) fn all(constraints: &[Constraint]) -> Option<Vec<Alternative<'_>>> {
    constraints.iter().try_fold(vec![Vec::new()], |so_far, one| product(&so_far, &alternatives(one, true)?))
}

pub(crate) fn negated_all(constraints: &[Constraint]) -> Option<Vec<Alternative<'_>>> {
    let mut found = Vec::new();
    for one in constraints {
        found.extend(alternatives(one, false)?);
    }
    (found.len() <= MAX_ALTERNATIVES).then_some(found)
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

fn alternatives(constraint: &Constraint, wanted: bool) -> Option<Vec<Alternative<'_>>> {
    let (logical, parts) = match constraint {
        Constraint::Atomic(atomic) => return Some(vec![vec![Literal { atomic, wanted }]]),
        Constraint::Logical { logical, parts } => (*logical, parts.as_slice()),
    };
    match (logical, wanted) {
        (Logical::And | Logical::AndSequence, true) => all(parts),
        (Logical::And | Logical::AndSequence, false) => negated_all(parts),
        (Logical::Or, true) => union(parts, true),
        (Logical::Or, false) => conjunction(parts, None),
        (Logical::Xone, true) => {
            let mut found = Vec::new();
            for holds in 0..parts.len() {
                found.extend(conjunction(parts, Some(holds))?);
            }
            (found.len() <= MAX_ALTERNATIVES).then_some(found)
        }
        (Logical::Xone, false) => {
            // None holds, or two do.
            let mut found = conjunction(parts, None)?;
            for (place, first) in parts.iter().enumerate() {
                for second in parts.iter().skip(place + 1) {
                    found.extend(product(&alternatives(first, true)?, &alternatives(second, true)?)?);
                }
            }
            (found.len() <= MAX_ALTERNATIVES).then_some(found)
        }
    }
}

fn union(parts: &[Constraint], wanted: bool) -> Option<Vec<Alternative<'_>>> {
    let mut found = Vec::new();
    for part in parts {
        found.extend(alternatives(part, wanted)?);
    }
    (found.len() <= MAX_ALTERNATIVES).then_some(found)
}

/// All parts false, but for the one in place `holds`.
fn conjunction(parts: &[Constraint], holds: Option<usize>) -> Option<Vec<Alternative<'_>>> {
    parts.iter().enumerate().try_fold(vec![Vec::new()], |so_far, (place, part)| {
        product(&so_far, &alternatives(part, holds == Some(place))?)
    })
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
