//! The policy as evaluated: rules, constraints, typed right operands (ODRL Information Model 2.2, section 2).

use jiff::Timestamp;

/// The policy classes that data spaces use (ODRL 2.2, section 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Signed by both, names assigner and assignee.
    Agreement,
    /// What an assigner proposes.
    Offer,
    /// Rules without parties.
    Set,
}

/// A parsed policy. Built only by [`Policy::parse`], so its bounds hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// `@id`, empty for a definition that has none.
    pub id: String,
    /// Which class it is.
    pub kind: Kind,
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

    /// The first rule with a party or an asset of its own, which comparisons do not look at.
    pub(crate) fn scoped_rule(&self) -> Option<&Rule> {
        self.rules().find(|rule| rule.assignee.is_some() || rule.target.is_some())
    }
}

/// Which list of the policy a rule stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleKind {
    /// In `obligation`, or in a permission's `duty`.
    Duty,
    /// In `permission`.
    Permission,
    /// In `prohibition`.
    Prohibition,
}

/// The action of a rule that names none: every action.
pub const ANY_ACTION: &str = "";

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
    /// A party, or a collection of parties, of the rule's own; only [`Policy::parse_odrl`] reads it.
    pub assignee: Option<String>,
    /// An asset, or a collection of assets, of the rule's own; only [`Policy::parse_odrl`] reads it.
    pub target: Option<String>,
    /// All must hold.
    pub constraints: Vec<Constraint>,
    /// Duties a permission depends on.
    pub duties: Vec<Self>,
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

/// `leftOperand operator rightOperand`.
#[derive(Debug, Clone, PartialEq)]
pub struct Atomic {
    /// JSON pointer inside the policy.
    pub path: String,
    /// ODRL's own terms without prefix, others as written.
    pub left: String,
    /// The comparison.
    pub operator: Operator,
    /// One value, or several for the list operators; never empty.
    pub right: Vec<Value>,
}

/// A typed right operand; the type follows from the left operand.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A point in time.
    Instant(Timestamp),
    /// An integer or decimal.
    Number(f64),
    /// A name, IRI or code, compared by hierarchy where one is known.
    Term(String),
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
