//! The policy as evaluated: rules, constraints, typed right operands (ODRL Information Model 2.2, section 2).

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::calendar::{DailyTime, Day};
use crate::decimal::Decimal;
use crate::hierarchy::Hierarchy;
use crate::operand::Operand;

/// The policy classes (ODRL 2.2, section 2.1, and the Vocabulary's further ones).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Signed by both, names assigner and assignee.
    Agreement,
    /// What somebody says of itself. Explained, neither offered nor decided.
    Assertion,
    /// What an assigner proposes.
    Offer,
    /// What a person wants for data about it. Explained, neither offered nor decided.
    Privacy,
    /// What somebody asks for. Explained, neither offered nor decided.
    Request,
    /// Rules without parties.
    Set,
    /// Rules for whoever holds the ticket. Explained, neither offered nor decided.
    Ticket,
}

impl Kind {
    /// Every class.
    pub const ALL: [Self; 7] = [
        Self::Agreement,
        Self::Assertion,
        Self::Offer,
        Self::Privacy,
        Self::Request,
        Self::Set,
        Self::Ticket,
    ];

    /// The term as ODRL writes it.
    #[must_use]
    pub const fn term(self) -> &'static str {
        match self {
            Self::Agreement => "Agreement",
            Self::Assertion => "Assertion",
            Self::Offer => "Offer",
            Self::Privacy => "Privacy",
            Self::Request => "Request",
            Self::Set => "Set",
            Self::Ticket => "Ticket",
        }
    }

    /// Whether this node offers such policies and decides under them.
    #[must_use]
    pub const fn is_decided(self) -> bool {
        matches!(self, Self::Agreement | Self::Offer | Self::Set)
    }
}

/// What holds where a permission and a prohibition both speak of a request (ODRL 2.2, section 2.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Conflict {
    /// The policy is void for that request: nothing is permitted. What ODRL takes where nothing is said.
    #[default]
    Invalid,
    /// The permission holds.
    Perm,
    /// The prohibition holds.
    Prohibit,
}

/// A parsed policy. Built only by [`Policy::parse`] and its kin, so its bounds hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// `@id`, empty for a definition that has none.
    pub id: String,
    /// Which class it is.
    pub kind: Kind,
    /// Which rule holds where two clash.
    pub conflict: Conflict,
    /// `profile`: the profiles whose terms it uses; each is one that this engine knows.
    pub profiles: BTreeSet<String>,
    /// The asset all rules are about.
    pub target: Option<String>,
    /// Who grants.
    pub assigner: Option<String>,
    /// Who is granted.
    pub assignee: Option<String>,
    /// What is allowed.
    pub permissions: Vec<Rule>,
    /// What is forbidden.
    pub prohibitions: Vec<Rule>,
    /// What must be done.
    pub obligations: Vec<Rule>,
}

impl Policy {
    /// Every rule that stands directly in the policy: permissions, prohibitions, obligations.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.permissions.iter().chain(&self.prohibitions).chain(&self.obligations)
    }

    /// Whether a permission or prohibition depends on the left operand `left`.
    #[must_use]
    pub fn mentions(&self, left: &str) -> bool {
        let conditions = self.permissions.iter().chain(&self.prohibitions).flat_map(Rule::conditions);
        conditions.flat_map(Constraint::atoms).any(|atom| atom.left == left)
    }

    /// The types of the credentials that permissions and prohibitions ask of the party, those that operands of data
    /// spaces stand for included; an empty name stands for any type.
    #[must_use]
    pub fn credential_kinds(&self, known: &Hierarchy) -> BTreeSet<String> {
        let conditions = self.permissions.iter().chain(&self.prohibitions).flat_map(Rule::conditions);
        let mut kinds = BTreeSet::new();
        for atom in conditions.flat_map(Constraint::atoms) {
            let meaning = known.meaning(atom);
            let meant = meaning.as_ref().map_or_else(|| vec![atom], Constraint::atoms);
            let named = meant.into_iter().filter_map(|atom| crate::operand::credential_kind(&atom.left));
            kinds.extend(named.map(str::to_owned));
        }
        kinds
    }

    /// Every duty, wherever it stands: obligations, duties of permissions, their consequences, remedies.
    #[must_use]
    pub fn duties(&self) -> Vec<&Rule> {
        fn visit<'a>(duty: &'a Rule, found: &mut Vec<&'a Rule>) {
            found.push(duty);
            duty.consequences.iter().for_each(|one| visit(one, found));
        }
        let mut found = Vec::new();
        let own = self.permissions.iter().flat_map(|one| &one.duties);
        let remedies = self.prohibitions.iter().flat_map(|one| &one.remedies);
        own.chain(remedies).chain(&self.obligations).for_each(|duty| visit(duty, &mut found));
        found
    }
}

/// Which list of the policy a rule stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleKind {
    /// In `obligation`, or in a permission's `duty`, a duty's `consequence` or a prohibition's `remedy`.
    Duty,
    /// In `permission`.
    Permission,
    /// In `prohibition`.
    Prohibition,
}

/// The action of a rule that names none, which ODRL 2.2 does not allow (section 2.6): such a prohibition forbids
/// everything, such a permission permits nothing.
pub const ANY_ACTION: &str = "";
/// What begins the left operand of a constraint that stands for something which was not understood in an agreement that
/// was made before this engine refused it: it is never known to hold.
pub const NOT_UNDERSTOOD: &str = "not understood: ";

/// One rule (ODRL 2.2, section 2.6).
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Permission, prohibition or duty.
    pub kind: RuleKind,
    /// JSON pointer inside the policy, for example `/permission/0`.
    pub path: String,
    /// The action, ODRL's own terms without prefix (`use`, `distribute`), others as IRI; [`ANY_ACTION`] where
    /// [`Policy::parse_odrl`] met a rule without one.
    pub action: String,
    /// How the action is done (ODRL 2.2, section 2.5.3).
    pub refinements: Vec<Constraint>,
    /// Who grants, where the rule says so itself.
    pub assigner: Option<Scope>,
    /// A party, or a collection of parties, of the rule's own.
    pub assignee: Option<Scope>,
    /// Parties with another function, by ODRL's name for it (`informedParty`, `compensatedParty`).
    pub functions: Vec<(String, Scope)>,
    /// An asset, or a collection of assets, of the rule's own.
    pub target: Option<Scope>,
    /// All must hold.
    pub constraints: Vec<Constraint>,
    /// Duties a permission depends on.
    pub duties: Vec<Self>,
    /// What must be done besides where this duty was not met in time.
    pub consequences: Vec<Self>,
    /// What makes good an infringement of this prohibition.
    pub remedies: Vec<Self>,
}

impl Rule {
    /// Everything that must hold for the rule to apply: its constraints, and the refinements of its action, party and
    /// asset.
    pub fn conditions(&self) -> impl Iterator<Item = &Constraint> + Clone {
        let scopes =
            [&self.assignee, &self.target].into_iter().flatten().flat_map(|scope| &scope.refinements);
        self.constraints.iter().chain(&self.refinements).chain(scopes)
    }
}

/// Parties or assets that a rule is about: one by name, or the members of a collection that fit its refinements (ODRL
/// 2.2, sections 2.2.1 and 2.3.1).
#[derive(Debug, Clone, PartialEq)]
pub struct Scope {
    /// The party, asset or collection; `None` where only the refinements tell.
    pub id: Option<String>,
    /// What its members are like.
    pub refinements: Vec<Constraint>,
}

/// A constraint, atomic or logical (ODRL 2.2, sections 2.5.1 and 2.5.2).
#[derive(Debug, Clone, PartialEq)]
pub enum Constraint {
    /// Compares one left operand.
    Atomic(Atomic),
    /// Combines constraints.
    Logical {
        /// How the parts are combined.
        logical: Logical,
        /// At least one.
        parts: Vec<Self>,
    },
}

impl Constraint {
    /// Every comparison in it.
    #[must_use]
    pub fn atoms(&self) -> Vec<&Atomic> {
        match self {
            Self::Atomic(atomic) => vec![atomic],
            Self::Logical { parts, .. } => parts.iter().flat_map(Self::atoms).collect(),
        }
    }
}

/// How a logical constraint combines its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logical {
    /// All hold.
    And,
    /// All hold, in the order given; without a record of order they must all hold now.
    AndSequence,
    /// At least one holds.
    Or,
    /// Exactly one holds.
    Xone,
}

/// What a comparison is about: the left operand `fileFormat` in a rule's constraint is that of the use, in an asset's
/// refinement that of the asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// How the action is done.
    Action,
    /// The asset.
    Asset,
    /// What a duty demands: periods run from the agreement.
    Duty,
    /// The party who asks.
    Party,
    /// The use as a whole.
    Use,
}

/// `leftOperand operator rightOperand`.
#[derive(Debug, Clone, PartialEq)]
pub struct Atomic {
    /// JSON pointer inside the policy.
    pub path: String,
    /// What it is about.
    pub about: About,
    /// ODRL's own terms without prefix, others as written.
    pub left: String,
    /// What this engine knows of the left operand.
    pub operand: Option<&'static Operand>,
    /// `unit`: what the numbers are counted in.
    pub unit: Option<String>,
    /// `status`: what there was before the policy; it is added to the fact (ODRL 2.2, section 2.5.1).
    pub status: Option<Decimal>,
    /// Whether a date or time on the right stood without zone and was taken for UTC.
    pub assumed_utc: bool,
    /// The comparison.
    pub operator: Operator,
    /// One value, or several for the list operators; never empty.
    pub right: Vec<Value>,
}

/// A typed right operand; the type follows from the left operand, else from the literal.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// West, south, east, north in degrees (WGS 84): a rectangle, or a point where the ends are equal; over the antimeridian
    /// where the west is greater than the east.
    Area([f64; 4]),
    /// xsd:date: a whole day in its zone.
    Day(Day),
    /// xsd:duration, as whole months and nanoseconds; both of one sign.
    Duration {
        /// Years and months.
        months: i64,
        /// Days, hours, minutes, seconds.
        nanoseconds: i128,
    },
    /// A point in time.
    Instant(Timestamp),
    /// An integer or decimal, exactly.
    Number(Decimal),
    /// A name, IRI or code, compared by hierarchy where one is known.
    Term(String),
    /// xsd:time: a time of every day, in its zone.
    TimeOfDay(DailyTime),
}

/// The operators of ODRL 2.2 that the Dataspace Protocol's schema lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// Equal.
    Eq,
    /// Greater.
    Gt,
    /// Greater or equal.
    Gteq,
    /// The fact contains the right operand.
    HasPart,
    /// The fact is an instance of, or below, the right operand.
    IsA,
    /// The facts include each right operand.
    IsAllOf,
    /// Each fact is one of the right operands.
    IsAnyOf,
    /// No fact is one of the right operands.
    IsNoneOf,
    /// The fact is the right operand or lies within it.
    IsPartOf,
    /// Less.
    Lt,
    /// Less or equal.
    Lteq,
    /// Not equal.
    Neq,
}

impl Operator {
    /// Every operator, in the order of the schema's list.
    pub const ALL: [Self; 12] = [
        Self::Eq,
        Self::Gt,
        Self::Gteq,
        Self::Lteq,
        Self::HasPart,
        Self::IsA,
        Self::IsAllOf,
        Self::IsAnyOf,
        Self::IsNoneOf,
        Self::IsPartOf,
        Self::Lt,
        Self::Neq,
    ];

    /// The term as ODRL writes it.
    #[must_use]
    pub const fn term(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Gt => "gt",
            Self::Gteq => "gteq",
            Self::HasPart => "hasPart",
            Self::IsA => "isA",
            Self::IsAllOf => "isAllOf",
            Self::IsAnyOf => "isAnyOf",
            Self::IsNoneOf => "isNoneOf",
            Self::IsPartOf => "isPartOf",
            Self::Lt => "lt",
            Self::Lteq => "lteq",
            Self::Neq => "neq",
        }
    }

    /// Whether the operator compares order, which only instants and numbers have.
    #[must_use]
    pub const fn is_ordering(self) -> bool {
        matches!(self, Self::Gt | Self::Gteq | Self::Lt | Self::Lteq)
    }
}
