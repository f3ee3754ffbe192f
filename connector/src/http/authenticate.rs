//! From a request's token to a participant, before anything of the body is read.

use http::{HeaderMap, header};
use protocol::{Refusal, RefusalKind};
use subtle::ConstantTimeEq as _;
use trust::token::{Caller, Claimed};

use super::Faces;
use super::problem::Problem;
use crate::clock;
use crate::config::FixedParticipant;
use crate::engine::{Engine, TokenUse};
use crate::peer_rules::UNDECLARED_KEYS;

/// How callers show who they are.
#[derive(Debug)]
pub enum Authentication {
    /// By self-issued ID tokens.
    Dcp,
    /// By fixed headers, in a closed test network.
    Fixed(Vec<FixedParticipant>),
}

/// Who calls.
#[derive(Debug)]
pub(super) struct Visitor {
    /// The participant.
    pub did: String,
    /// What it gave along so that it can be asked for credentials.
    pub access: Option<String>,
    /// The token itself; `None` for a fixed header.
    pub token: Option<String>,
}

/// The participant behind the `Authorization` header (DCP 1.0.1, self-issued ID tokens), for paths that are open to
/// participants without credentials too.
pub(super) async fn authenticate(faces: &Faces, headers: &HeaderMap) -> Result<Visitor, Problem> {
    let (visitor, caller) = identify(faces, headers).await?;
    use_up(&faces.engine, caller.as_ref()).await?;
    Ok(visitor)
}

/// As [`authenticate`], for paths where what a participant has shown counts. Where something is required of everybody, it is
/// looked at before anything is written down: who shows nothing leaves nothing.
pub(super) async fn admit(faces: &Faces, headers: &HeaderMap) -> Result<Visitor, Problem> {
    let engine = &faces.engine;
    let (visitor, caller) = identify(faces, headers).await?;
    let demands = engine.demands_credentials();
    if demands {
        // A token that was used makes this node ask nobody.
        if let Some(caller) = caller.as_ref().filter(|caller| engine.was_used(caller)) {
            return Err(used_before(caller));
        }
        engine.learn(&visitor.did, visitor.access.as_deref()).await.map_err(Problem::unauthenticated)?;
    }
    let noted = use_up(engine, caller.as_ref()).await;
    if demands {
        return noted.map(|()| visitor);
    }
    if let Err(problem) = noted {
        // Among strangers there is no room; one that has something to show is none.
        if !problem.is_busy() || engine.is_known(&visitor.did) {
            return Err(problem);
        }
        engine.learn(&visitor.did, visitor.access.as_deref()).await.map_err(Problem::unauthenticated)?;
        if !engine.is_known(&visitor.did) {
            return Err(problem);
        }
        use_up(engine, caller.as_ref()).await?;
        return Ok(visitor);
    }
    engine.learn(&visitor.did, visitor.access.as_deref()).await.map_err(Problem::unauthenticated)?;
    Ok(visitor)
}

async fn use_up(engine: &Engine, caller: Option<&Caller>) -> Result<(), Problem> {
    let Some(caller) = caller else { return Ok(()) };
    match engine.first_use(caller).await? {
        TokenUse::First => Ok(()),
        TokenUse::Again => Err(used_before(caller)),
        TokenUse::TooMany(seconds) => {
            let reason = format!(
                "this node remembers as many used tokens as it does of participants like you; send fewer requests, and \
                 try again in {seconds} s"
            );
            Err(Refusal::new(RefusalKind::Busy, reason).into())
        }
    }
}

fn used_before(caller: &Caller) -> Problem {
    Problem::unauthenticated(format!("the token `{}` of {} was used before", caller.jti(), caller.did()))
}

/// Who calls, by a token whose use is not noted yet; no token for a fixed header.
async fn identify(faces: &Faces, headers: &HeaderMap) -> Result<(Visitor, Option<Caller>), Problem> {
    let engine = &faces.engine;
    let refuse = |reason: String| Problem::unauthenticated(reason);
    let header = headers
        .get(header::AUTHORIZATION)
        .ok_or_else(|| refuse("it has no Authorization header".to_owned()))?;
    if let Authentication::Fixed(participants) = &faces.authentication {
        let same =
            |one: &&FixedParticipant| bool::from(one.authorization.as_bytes().ct_eq(header.as_bytes()));
        let known = participants.iter().find(same);
        let known = known
            .ok_or_else(|| refuse("its Authorization header is none of the configured ones".to_owned()))?;
        return Ok((Visitor { did: known.id.clone(), access: None, token: None }, None));
    }
    let text = header.to_str().map_err(|_| refuse("its Authorization header is not text".to_owned()))?;
    // The scheme is case-insensitive; some peers send the token bare.
    let token = match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        Some(_) => return Err(refuse("its Authorization header is not a bearer token".to_owned())),
        None => text,
    };
    let claimed = Claimed::read(token).map_err(|error| refuse(error.to_string()))?;
    let caller = verify(engine, &claimed).await.map_err(refuse)?;
    let visitor = Visitor {
        did: caller.did().to_owned(),
        access: caller.access().map(str::to_owned),
        token: Some(token.to_owned()),
    };
    Ok((visitor, Some(caller)))
}

async fn verify(engine: &Engine, claimed: &Claimed) -> Result<Caller, String> {
    let (did, own) = (claimed.did(), engine.did());
    let document = engine.resolver().document(did).await?;
    let longest = engine.token_seconds();
    let said = |error: trust::TrustError| match error {
        trust::TrustError::UndeclaredKeys(_) => {
            format!("{error}{}", engine.rules().line_for(did, UNDECLARED_KEYS))
        }
        _ => error.to_string(),
    };
    match claimed.verify(&document, own, clock::now(), longest) {
        Ok(caller) => Ok(caller),
        Err(first) => {
            // The key may have been rotated since the document was fetched.
            let fresh = engine.resolver().refreshed(did).await?;
            if fresh == document {
                return Err(said(first));
            }
            claimed.verify(&fresh, own, clock::now(), longest).map_err(said)
        }
    }
}
