//! The commented topology file that `init` writes, and that `--target` stands for.

use std::fmt::Write;

/// A commented start for these hosts.
pub(crate) fn template(cluster: &str, etcd: &str, targets: &[String]) -> String {
    let mut text = format!(
        "# What an etcd cluster should be. `etcdup apply` makes it so.\n\
         # Every key there is: etcdup schema. What is in force: etcdup show.\n\
         format = 1\n\
         cluster = \"{cluster}\"\n\
         etcd = \"{etcd}\"\n\
         \n\
         # [binaries.release]             # upstream's release by default\n\
         # mirror = \"https://mirror.example.com/etcd\"\n\
         \n\
         # [security]                     # mutual TLS for clients and peers by default\n\
         # client = \"mutual\"              # mutual, tls, plain\n\
         # peer = \"mutual\"\n\
         \n\
         # [flags]                        # etcd's own flags, without dashes in front: etcdup flags\n\
         # quota-backend-bytes = 8589934592\n\
         \n\
         # [ssh]                          # defaults come from your SSH configuration\n\
         # sudo = \"auto\"                  # auto, never, password\n\
         # host-key = \"strict\"            # strict, accept-new\n"
    );
    for (index, target) in targets.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n[[member]]\nname = \"m{}\"\nhost = \"{target}\"\n",
            index + 1
        );
    }
    text
}
