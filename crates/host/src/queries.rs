//! Questions as the observe script reads them: one line each, closed by `end`.

use etcdup_core::observation::Query;
use etcdup_core::runner::Runner;

/// The questions as text.
#[must_use]
pub fn query_text(queries: &[Query]) -> String {
    let mut text: String = queries.iter().map(|query| line(query) + "\n").collect();
    text.push_str("end\n");
    text
}

fn line(query: &Query) -> String {
    match query {
        Query::Tool(tool) => format!("tool|{tool}"),
        Query::TimeService => "time|sync".to_owned(),
        Query::User(user) => format!("user|{user}"),
        Query::Image(image) => format!("image|{image}"),
        Query::Directory(path) => format!("dir|{path}"),
        Query::Binary(path) => format!("bin|{path}"),
        Query::Link(path) => format!("link|{path}"),
        Query::Text(path) => format!("text|{path}"),
        Query::File(path) => format!("file|{path}"),
        Query::Certificate(path) => format!("cert|{path}"),
        Query::Member { name, runner } => match runner {
            Runner::Unit(unit) => format!("member|{name}|unit|{unit}"),
            Runner::Pod { manifest, data } => format!("member|{name}|pod|{data}|{manifest}"),
            Runner::Process { pid_file, data } => format!("member|{name}|file|{pid_file}|{data}"),
        },
        Query::Data { path, logs } => {
            let logs: String = logs.iter().map(|log| format!("|{log}")).collect();
            format!("data|{path}{logs}")
        }
        Query::Disk { path, measure } => {
            format!("disk|{path}|{}", if *measure { "measure" } else { "-" })
        }
        Query::Port { port, member } => format!("port|{port}|{member}"),
        Query::Name(name) => format!("name|{name}"),
        Query::Reverse(address) => format!("reverse|{address}"),
        Query::EveryEtcd => "every|etcd".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_closed_so_that_a_cut_one_is_noticed() {
        let queries = [Query::Tool("tar"), Query::EveryEtcd];
        assert_eq!(query_text(&queries), "tool|tar\nevery|etcd\nend\n");
        assert_eq!(query_text(&[]), "end\n");
    }
}
