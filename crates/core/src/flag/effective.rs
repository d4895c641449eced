//! Flags read back: from a running process, a systemd unit, a static pod's manifest, or etcd's own
//! configuration file.

use serde_json::Value;

use super::value::print_duration;
use super::{FlagSet, Kind, flag_of_env, lookup};

/// Something in a source that is no flag of etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownFlag(pub String);

/// The flags that a source gives, and what it holds beside them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadBack {
    /// What was understood.
    pub flags: FlagSet,
    /// Arguments and `ETCD_*` variables that etcd does not know. An unknown variable is only a
    /// warning to etcd (issues 11298 and 14640), so a misspelt one is silently off.
    pub unknown_flags: Vec<UnknownFlag>,
    /// Flags given both as argument and as environment, which etcd refuses to start with.
    pub twice: Vec<String>,
}

/// Where flags are read from.
pub struct FlagSource;

impl FlagSource {
    /// From arguments, the program's name left out: `--a=b`, `-a=b`, `--a b`, `--switch`.
    pub fn arguments<S: AsRef<str>>(arguments: &[S]) -> ReadBack {
        let mut read = ReadBack::default();
        let mut rest = arguments.iter().map(AsRef::as_ref).peekable();
        while let Some(argument) = rest.next() {
            let Some(bare) = argument
                .strip_prefix("--")
                .or_else(|| argument.strip_prefix('-'))
            else {
                read.unknown_flags.push(UnknownFlag(argument.to_owned()));
                continue;
            };
            let (name, given) = bare
                .split_once('=')
                .map_or((bare, None), |(name, value)| (name, Some(value)));
            let Some(row) = lookup(name) else {
                read.unknown_flags.push(UnknownFlag(argument.to_owned()));
                continue;
            };
            match (given, row.kind) {
                (Some(value), _) => read.flags.set(name, value),
                (None, Kind::Bool) => read.flags.set(name, "true"),
                (None, _) => match rest.next() {
                    Some(value) => read.flags.set(name, value),
                    None => read.unknown_flags.push(UnknownFlag(argument.to_owned())),
                },
            }
        }
        read
    }

    /// From environment variables; those that do not start with `ETCD_` are ignored.
    pub fn environment(variables: impl IntoIterator<Item = (String, String)>) -> ReadBack {
        let mut read = ReadBack::default();
        for (name, value) in variables {
            if !name.starts_with("ETCD_") || name == "ETCD_UNSUPPORTED_ARCH" {
                continue;
            }
            match flag_of_env(&name).and_then(|flag| lookup(&flag)) {
                Some(row) => read.flags.set(row.name, value),
                None => read.unknown_flags.push(UnknownFlag(name)),
            }
        }
        read
    }

    /// From a process: its arguments (the program first) and its environment.
    pub fn process(command: &[String], environment: Vec<(String, String)>) -> ReadBack {
        let arguments = Self::arguments(command.get(1..).unwrap_or_default());
        merge(arguments, Self::environment(environment))
    }

    /// From a systemd unit's text: `ExecStart=` and `Environment=`. Environment files are not
    /// followed.
    pub fn unit(text: &str) -> ReadBack {
        let joined = text.replace("\\\n", " ");
        let mut command = Vec::new();
        let mut environment = Vec::new();
        for line in joined.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("ExecStart=") {
                command = systemd_words(rest.trim_start_matches(['@', '-', ':', '+', '!']));
            } else if let Some(rest) = line.strip_prefix("Environment=") {
                let words = systemd_words(rest);
                environment.extend(
                    words
                        .iter()
                        .filter_map(|word| word.split_once('='))
                        .map(owned),
                );
            }
        }
        Self::process(&command, environment)
    }

    /// From a static pod's manifest: the first container's command, arguments and environment.
    ///
    /// # Errors
    /// When the text is not YAML.
    pub fn manifest(text: &str) -> Result<ReadBack, serde_saphyr::Error> {
        let manifest: Value = serde_saphyr::from_str(text)?;
        let container = &manifest["spec"]["containers"][0];
        let words = |key: &str| {
            let list = container[key].as_array().cloned().unwrap_or_default();
            list.iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let mut command = words("command");
        if command.is_empty() {
            command.push("etcd".to_owned());
        }
        command.extend(words("args"));
        let environment = container["env"].as_array().cloned().unwrap_or_default();
        let environment = environment.iter().filter_map(|entry| {
            Some((
                entry["name"].as_str()?.to_owned(),
                entry["value"].as_str()?.to_owned(),
            ))
        });
        Ok(Self::process(&command, environment.collect()))
    }

    /// From etcd's own YAML configuration file (`--config-file`). Durations in it are whole
    /// nanoseconds.
    ///
    /// # Errors
    /// When the text is not YAML.
    pub fn config_file(text: &str) -> Result<ReadBack, serde_saphyr::Error> {
        let config: Value = serde_saphyr::from_str(text)?;
        let mut read = ReadBack::default();
        for (key, value) in config.as_object().into_iter().flatten() {
            match (key.as_str(), value) {
                ("client-transport-security", Value::Object(inner)) => {
                    inner
                        .iter()
                        .for_each(|(key, value)| read_setting(&mut read, key, value));
                }
                ("peer-transport-security", Value::Object(inner)) => {
                    inner.iter().for_each(|(key, value)| {
                        read_setting(&mut read, &format!("peer-{key}"), value);
                    });
                }
                _ => read_setting(&mut read, key, value),
            }
        }
        Ok(read)
    }
}

fn read_setting(read: &mut ReadBack, key: &str, value: &Value) {
    let Some(row) = lookup(key) else {
        read.unknown_flags.push(UnknownFlag(key.to_owned()));
        return;
    };
    let text = match value {
        Value::Number(number) if row.kind == Kind::Duration => {
            print_duration(number.as_i64().map_or(0, i128::from))
        }
        Value::String(text) => text.clone(),
        Value::Array(list) => list
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(","),
        Value::Null => return,
        other => other.to_string(),
    };
    read.flags.set(key, text);
}

fn merge(arguments: ReadBack, environment: ReadBack) -> ReadBack {
    let mut read = arguments;
    for (name, value) in environment.flags.iter() {
        if read.flags.get(name).is_some() {
            read.twice.push(name.to_owned());
        }
        read.flags.set(name, value);
    }
    read.unknown_flags.extend(environment.unknown_flags);
    read
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// Splits a line into words as systemd does: blanks part words, quotes hold them together, `%%` and
/// `$$` are `%` and `$`.
fn systemd_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut started = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', _) => word.extend(chars.next()),
            ('%' | '$', _) if chars.peek() == Some(&c) => word.extend(chars.next()),
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.push(c),
            ('"' | '\'', None) => {
                quote = Some(c);
                started = true;
            }
            (c, None) if c.is_whitespace() => {
                if started || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                started = false;
            }
            (c, None) => word.push(c),
        }
    }
    if started || !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_in_every_form_etcd_takes() {
        let read = FlagSource::arguments(&[
            "--name",
            "m1",
            "-data-dir=/d",
            "--client-cert-auth",
            "--wrong=1",
            "x",
        ]);
        assert_eq!(read.flags.get("name"), Some("m1"));
        assert_eq!(read.flags.get("data-dir"), Some("/d"));
        assert_eq!(read.flags.get("client-cert-auth"), Some("true"));
        assert_eq!(
            read.unknown_flags,
            [UnknownFlag("--wrong=1".into()), UnknownFlag("x".into())]
        );
    }

    #[test]
    fn a_flag_given_twice_is_named() {
        let unit = "[Service]\nEnvironment=\"ETCD_NAME=m1\" ETCD_TYPO=1\nExecStart=/usr/bin/etcd \\\n  --name m2\n";
        let read = FlagSource::unit(unit);
        assert_eq!(read.twice, ["name"]);
        assert_eq!(read.unknown_flags, [UnknownFlag("ETCD_TYPO".into())]);
    }

    #[test]
    fn a_manifest_of_kubeadms_shape_is_read() {
        let manifest = "apiVersion: v1
kind: Pod
spec:
  containers:
  - command:
    - etcd
    - --name=cp1
    - --client-cert-auth=true
    env:
    - name: ETCD_SNAPSHOT_COUNT
      value: \"10000\"
";
        let read = FlagSource::manifest(manifest).unwrap();
        assert_eq!(read.flags.get("name"), Some("cp1"));
        assert_eq!(read.flags.get("snapshot-count"), Some("10000"));
    }

    #[test]
    fn etcds_own_file_nests_its_tls_settings_and_counts_nanoseconds() {
        let file = "name: m1\ngrpc-keepalive-timeout: 20000000000\npeer-transport-security:\n  cert-file: /p.crt\n  client-cert-auth: true\n";
        let read = FlagSource::config_file(file).unwrap();
        assert_eq!(read.flags.get("peer-cert-file"), Some("/p.crt"));
        assert_eq!(read.flags.get("peer-client-cert-auth"), Some("true"));
        assert_eq!(read.flags.get("grpc-keepalive-timeout"), Some("20s"));
    }
}
