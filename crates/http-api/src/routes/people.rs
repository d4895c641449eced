//! Who may do what, and who did.

use etcdup_core::operation::OperationId;
use etcdup_core::plain::chain;
use http::{StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::blocking::blocking;
use crate::call::{Answer, Call};
use crate::problem::Problem;
use crate::token::{Role, Token, TokenError};

/// How long a browser stays signed in.
const SIGNED_IN: SignedDuration = SignedDuration::from_hours(12);

/// A code to sign in with.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignIn {
    /// The code.
    pub code: String,
}

/// A token that was made just now.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct NewToken {
    /// The token.
    #[serde(flatten)]
    pub token: Token,
    /// Its secret, shown only now.
    pub secret: String,
}

/// A token to make.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenRequest {
    /// Who will have it.
    #[schemars(regex(pattern = "^[A-Za-z0-9@._-]{1,60}$"))]
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// How many days it is valid for.
    #[serde(default = "a_month", deserialize_with = "whole")]
    #[schemars(range(min = 1, max = 400))]
    pub days: u16,
}

/// The tokens.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct TokenList {
    /// Each without its secret.
    pub tokens: Vec<Token>,
}

/// Whose token this is.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Me {
    /// The name.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// The token's id.
    pub token: String,
    /// When it ends.
    pub ends: Timestamp,
}

/// A whole number however it is written: to JSON 2.0 is one.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let number = f64::deserialize(deserializer)?;
    let inside = number.fract() == 0.0 && (0.0..=f64::from(u16::MAX)).contains(&number);
    if !inside {
        return Err(D::Error::custom("it is not a whole number of days"));
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is whole and within bounds"
    )]
    Ok(number as u16)
}

fn a_month() -> u16 {
    30
}

pub(crate) async fn sign_in(call: Call) -> Result<Answer, Problem> {
    let SignIn { code } = call.json()?;
    if !call.state.codes.take(&code) {
        let why = "the code is not valid: it is valid once, and for five minutes";
        return Err(call.state.failures.failed(call.from, why));
    }
    call.state.failures.succeeded(call.from);
    create(call, "browser".to_owned(), Role::Admin, SIGNED_IN).await
}

pub(crate) async fn me(call: Call) -> Result<Answer, Problem> {
    let who = call.principal()?;
    Answer::json(&Me {
        name: who.name.clone(),
        role: who.role,
        token: who.token.clone(),
        ends: who.ends,
    })
}

pub(crate) async fn tokens(call: Call) -> Result<Answer, Problem> {
    let tokens = call.state.tokens.clone();
    let listed = blocking(move || tokens.list()).await??;
    Answer::json(&TokenList { tokens: listed })
}

pub(crate) async fn create_token(call: Call) -> Result<Answer, Problem> {
    let TokenRequest { name, role, days } = call.json()?;
    let life = SignedDuration::from_hours(24 * i64::from(days));
    create(call, name, role, life).await
}

async fn create(
    call: Call,
    name: String,
    role: Role,
    life: SignedDuration,
) -> Result<Answer, Problem> {
    let tokens = call.state.tokens.clone();
    let (token, secret) = blocking(move || tokens.create(&name, role, life)).await??;
    let place = format!("/v1/tokens/{}", token.id);
    let made = Answer::with(StatusCode::CREATED, &NewToken { token, secret })?;
    Ok(made.header(header::LOCATION, &place))
}

pub(crate) async fn revoke_token(call: Call) -> Result<Answer, Problem> {
    let (tokens, id) = (call.state.tokens.clone(), call.part("id").to_owned());
    blocking(move || tokens.revoke(&id)).await??;
    Ok(Answer::empty())
}

pub(crate) async fn audit(call: Call) -> Result<Answer, Problem> {
    let most = usize::try_from(call.number("limit", 100, 200)?.max(1)).unwrap_or(200);
    let (state, before) = (call.state.clone(), call.query.get("cursor").cloned());
    let is_request = |before: &String| before.parse::<OperationId>().is_ok();
    if !before.iter().all(is_request) {
        return Err(Problem::bad_request("`cursor` is the ID of a request"));
    }
    let newest = blocking(move || state.audit.newest(most, before.as_deref())).await?;
    let newest = newest
        .map_err(|error| Problem::internal(format!("the audit trail cannot be read: {error}")))?;
    Answer::json(&newest)
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        match &error {
            TokenError::Name | TokenError::Life => Self::bad_request(chain(&error)),
            TokenError::Unknown(_) => Self::not_found(chain(&error)),
            TokenError::File { .. }
            | TokenError::Damaged { .. }
            | TokenError::Open(_)
            | TokenError::Store(_) => Self::internal(chain(&error)),
        }
    }
}
