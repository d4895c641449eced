//! `etcdup serve`.

use std::io::IsTerminal;

use crate::arguments::Serve;
use crate::command::context::Context;
use crate::exit;
use crate::view;
use crate::view::print::errln;

pub(crate) async fn run(context: &Context, arguments: &Serve) -> u8 {
    let options = etcdup_http_api::Options {
        directory: arguments.directory.clone(),
        listen: arguments.listen,
        host_names: arguments.host_name.clone(),
        watch_every: std::time::Duration::from_secs(arguments.watch_every),
        // A server has no one at its terminal: a host that needs a password is reported, not asked
        // about.
        settings: context.library_settings(None).unattended(),
    };
    let bound = |bound: etcdup_http_api::Bound| {
        let (address, code) = (bound.address, bound.code);
        errln!("listening on http://{address}; Ctrl-C stops");
        // Not into a journal, which others read; and not as an argument, which every user sees.
        if std::io::stderr().is_terminal() {
            errln!("a token for 12 hours, with a code that is valid once and for five minutes:");
            errln!("  echo '{{\"code\":\"{code}\"}}' | curl --json @- http://{address}/v1/session");
        } else {
            errln!("`etcdup token create` makes tokens");
        }
    };
    match etcdup_http_api::serve(options, context.cancel.clone(), bound).await {
        Ok(()) => exit::DONE,
        Err(error) => {
            view::error::plain(&etcdup_core::plain::chain(&error));
            exit::FAILED
        }
    }
}
