//! The tool's own settings, in layers: defaults, `~/.config/etcdup/config.toml`, `ETCDUP_*`,
//! command line. The topology has none of this: it changes by its file and `--set` alone.

use std::path::PathBuf;

use figment::error::Kind;
use figment::providers::{Env, Serialized};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use serde::{Deserialize, Serialize};

use crate::arguments::{Color, Global, Output};

/// The password for sudo, for runs that nobody watches.
pub(crate) const SUDO_PASSWORD: &str = "ETCDUP_SUDO_PASSWORD";
/// The passphrase of the SSH key, for runs that nobody watches.
pub(crate) const SSH_PASSPHRASE: &str = "ETCDUP_SSH_PASSPHRASE";

/// The tool's settings. Each is also a variable, `ETCDUP_` and its name in capitals.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ToolSettings {
    /// The topology file.
    pub(crate) file: PathBuf,
    /// How to print data.
    pub(crate) output: Output,
    /// When to use colors.
    pub(crate) color: Color,
    /// Where downloaded releases are kept.
    pub(crate) cache: Option<PathBuf>,
    /// How long connecting to a host may take, in seconds.
    pub(crate) connect_timeout: u64,
}

impl Default for ToolSettings {
    fn default() -> Self {
        Self {
            file: PathBuf::from("etcdup.toml"),
            output: Output::Text,
            color: Color::Auto,
            cache: None,
            connect_timeout: 10,
        }
    }
}

/// The settings that are in force, and for each where it came from.
pub(crate) struct Loaded {
    /// The settings.
    pub(crate) settings: ToolSettings,
    /// Name, value, origin.
    pub(crate) origins: Vec<(String, String, String)>,
}

/// One layer, under the name that `etcdup show` prints.
struct Layer<P> {
    name: String,
    values: P,
}

impl<P: Provider> Provider for Layer<P> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        self.values.data()
    }
}

fn layer<P: Provider>(name: impl Into<String>, values: P) -> Layer<P> {
    Layer {
        name: name.into(),
        values,
    }
}

/// Reads every layer; a later one wins.
pub(crate) fn load(global: &Global) -> Result<Loaded, String> {
    let mut figment = Figment::new().merge(layer(
        "default",
        Serialized::defaults(ToolSettings::default()),
    ));
    if let Some(path) = configuration().filter(|path| path.exists()) {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
        let table: toml::Table =
            toml::from_str(&text).map_err(|error| format!("{name}: {error}"))?;
        figment = figment.merge(layer(name, Serialized::defaults(table)));
    }
    let names = ["file", "output", "color", "cache", "connect-timeout"];
    for name in names {
        let variable = format!("ETCDUP_{}", name.to_uppercase().replace('-', "_"));
        let read = Env::prefixed("ETCDUP_").map(|key| key.as_str().replace('_', "-").into());
        figment = figment.merge(layer(variable, read.only(&[name])));
    }
    figment = figment
        .merge(argument("file", global.file.as_ref()))
        .merge(argument("output", global.output.as_ref()))
        .merge(argument("color", global.color.as_ref()));
    let settings: ToolSettings = figment.extract().map_err(|error| explain(&error))?;
    let values = serde_json::to_value(&settings).unwrap_or_default();
    let origin = |name: &str| {
        figment
            .find_metadata(name)
            .map_or_else(|| "default".to_owned(), |found| found.name.to_string())
    };
    let origins = names
        .iter()
        .map(|name| ((*name).to_owned(), values[*name].to_string(), origin(name)))
        .collect();
    Ok(Loaded { settings, origins })
}

/// A setting that cannot be used: where it is from, its name, and what it may be.
fn explain(error: &figment::Error) -> String {
    let origin = error.metadata.as_ref();
    let origin = origin.map_or("settings", |origin| origin.name.as_ref());
    let name = error.path.last().map_or("", String::as_str);
    match &error.kind {
        Kind::UnknownVariant(found, known) => {
            format!(
                "{origin}: {name} is `{found}`, and may be {}",
                known.join(", ")
            )
        }
        Kind::UnknownField(found, known) => format!(
            "{origin}: there is no setting `{found}`; settings are {}",
            known.join(", ")
        ),
        // figment puts backquotes around a list that has its own.
        other => format!("{origin}: {name}: {}", other.to_string().replace("``", "`")),
    }
}

fn configuration() -> Option<PathBuf> {
    std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")))
        .map(|home| home.join("etcdup/config.toml"))
}

fn argument<T: Serialize>(name: &str, value: Option<&T>) -> Layer<Serialized<Dict>> {
    let value = value.and_then(|value| Value::serialize(value).ok());
    let values = value.map(|value| (name.to_owned(), value)).into_iter();
    layer(format!("--{name}"), Serialized::defaults(values.collect()))
}
