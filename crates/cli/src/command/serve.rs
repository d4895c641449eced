//! `etcdup serve`.

use crate::arguments::Serve;
use crate::command::context::Context;
use crate::exit;
use crate::view;
use crate::view::print::errln;

pub(crate) async fn run(context: &Context, arguments: &Serve) -> u8 {
    let options = etcdup_http_api::Options {
        directory: arguments.directory.clone(),
        listen: arguments.listen,
        // A server has no one at its terminal: a host that needs a password is reported, not asked
        // about.
        settings: context.library_settings(None).unattended(),
    };
    let bound = |address: std::net::SocketAddr| {
        errln!("listening on http://{address}; Ctrl-C stops");
    };
    match etcdup_http_api::serve(options, context.cancel.clone(), bound).await {
        Ok(()) => exit::DONE,
        Err(error) => {
            view::error::plain(&error.to_string());
            exit::FAILED
        }
    }
}
