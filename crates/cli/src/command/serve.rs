//! `etcdup serve`.

use std::io::IsTerminal;

use etcdup_core::plain::chain;
use etcdup_http_api::{HAS_DASHBOARD, ServeError, TlsFiles};

use crate::arguments::Serve;
use crate::command::context::Context;
use crate::exit;
use crate::view;
use crate::view::print::errln;

pub(crate) async fn run(context: &Context, arguments: &Serve) -> u8 {
    let pair = arguments.tls_cert.clone().zip(arguments.tls_key.clone());
    let tls = pair.map(|(cert, key)| TlsFiles {
        cert,
        key,
        client_ca: arguments.client_ca.clone(),
    });
    let scheme = if tls.is_some() { "https" } else { "http" };
    let options = etcdup_http_api::Options {
        directory: arguments.directory.clone(),
        listen: arguments.listen,
        tls,
        host_names: arguments.host_name.clone(),
        origins: arguments.allow_origin.clone(),
        watch_every: std::time::Duration::from_secs(arguments.watch_every),
        // A server has no one at its terminal: a host that needs a password is reported, not asked
        // about.
        settings: context.library_settings(None).unattended(),
    };
    let named = arguments.host_name.first().cloned();
    let bound = |bound: etcdup_http_api::Bound| {
        let code = bound.code;
        // An address that stands for all is one that no browser can ask.
        let address = match named.filter(|_| bound.address.ip().is_unspecified()) {
            Some(name) => format!("{name}:{}", bound.address.port()),
            None => bound.address.to_string(),
        };
        errln!("listening on {scheme}://{address}; Ctrl-C stops");
        // Not into a journal, which others read; and not as an argument, which every user sees.
        if !std::io::stderr().is_terminal() {
            errln!("`etcdup token create` makes tokens");
        } else if HAS_DASHBOARD {
            errln!("sign in, once and within five minutes: {scheme}://{address}/#code={code}");
        } else {
            errln!("a token for 12 hours, with a code that is valid once and for five minutes:");
            errln!(
                "  echo '{{\"code\":\"{code}\"}}' | curl --json @- {scheme}://{address}/v1/session"
            );
        }
    };
    match etcdup_http_api::serve(options, context.cancel.clone(), bound).await {
        Ok(()) => exit::DONE,
        Err(error) => {
            view::error::plain(&chain(&error));
            match error {
                ServeError::Plain(_) | ServeError::Nameless(_) => exit::USAGE,
                ServeError::Tls(_)
                | ServeError::Directory(_)
                | ServeError::Listen(..)
                | ServeError::Code(_) => exit::FAILED,
            }
        }
    }
}
