//! `etcdup token`.

use std::path::Path;

use etcdup_core::plain::chain;
use etcdup_http_api::{TokenError, Tokens};
use jiff::SignedDuration;
use serde_json::json;

use crate::arguments::Token;
use crate::command::context::Context;
use crate::exit;
use crate::view;
use crate::view::outln;
use crate::view::print::errln;

pub(crate) fn run(context: &Context, arguments: &Token) -> u8 {
    match carry_out(context, arguments) {
        Ok(()) => exit::DONE,
        Err(error) => {
            view::error::plain(&chain(&error));
            match error {
                TokenError::Name | TokenError::Life | TokenError::Unknown(_) => exit::USAGE,
                TokenError::File { .. }
                | TokenError::Damaged { .. }
                | TokenError::Open(_)
                | TokenError::Store(_) => exit::FAILED,
            }
        }
    }
}

fn carry_out(context: &Context, arguments: &Token) -> Result<(), TokenError> {
    match arguments {
        Token::Create {
            name,
            role,
            days,
            directory,
        } => {
            let life = SignedDuration::from_hours(24 * i64::from(*days));
            let (token, secret) = tokens(directory)?.create(name, *role, life)?;
            noted(context, directory, "POST", &token.id);
            if context.json() {
                let document = json!({ "token": token, "secret": secret });
                view::json::print("token", &document);
            } else {
                // Alone on standard output, so that a script can take it from there.
                outln!("{secret}");
                let ends = token.ends.strftime("%Y-%m-%d");
                errln!(
                    "token {} of {name}: {role}, until {ends}; it is shown only now",
                    token.id
                );
            }
            Ok(())
        }
        Token::List { directory } => {
            let listed = tokens(directory)?.list()?;
            if context.json() {
                view::json::print("tokens", &json!({ "tokens": listed }));
            } else {
                let row = |token: &etcdup_http_api::Token| {
                    vec![
                        token.id.clone(),
                        token.name.clone(),
                        token.role.to_string(),
                        token.ends.strftime("%Y-%m-%d %H:%M UTC").to_string(),
                    ]
                };
                view::table::print(&["id", "name", "role", "ends"], listed.iter().map(row));
            }
            Ok(())
        }
        Token::Revoke { id, directory } => {
            tokens(directory)?.revoke(id)?;
            noted(context, directory, "DELETE", id);
            errln!("token {id} has ended");
            Ok(())
        }
    }
}

/// Into the audit trail of the directory.
fn noted(context: &Context, directory: &Path, method: &str, token: &str) {
    let who = context.library_settings(None).operator;
    if let Err(error) = etcdup_http_api::note(directory, who.as_str(), method, token) {
        errln!("the audit trail cannot be written: {}", chain(&error));
    }
}

/// A misspelt directory must not get tokens that no server reads.
fn tokens(directory: &Path) -> Result<Tokens, TokenError> {
    if directory.is_dir() {
        return Ok(Tokens::beside(directory));
    }
    Err(TokenError::File {
        path: directory.to_owned(),
        source: std::io::Error::new(std::io::ErrorKind::NotADirectory, "it is not a directory"),
    })
}
