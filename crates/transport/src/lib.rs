//! Runs constant scripts on hosts and dials addresses as hosts see them, here or by SSH.
//!
//! A script is a constant of the program; all it is told comes on its standard input, so nothing is
//! ever quoted.
//!
//! ```
//! use etcdup_transport::{Local, Script, Transport};
//!
//! static GREET: Script = Script::new("greet", "read -r name; echo \"hello $name\"");
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let here = Local::new("sh");
//! let output = here.run(&GREET, Box::new(&b"world\n"[..])).await?;
//! assert_eq!(output.text(), "hello world\n");
//! # Ok::<(), etcdup_transport::TransportError>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod fault;
mod local;
mod meter;
mod script;
mod ssh;
mod transport;

pub use error::{DialError, HostKeyError, SshError, TransportError};
pub use fault::{Fault, FaultyTransport};
pub use local::Local;
pub use meter::Metered;
pub use script::Script;
pub use ssh::{Credential, Prompt, Ssh, SshHop, SshOptions, SudoUse, UnknownHosts};
pub use transport::{BoxIo, Input, Io, Output, Transport, Watch};
