//! The tool's own settings, in layers: defaults, `~/.config/etcdup/config.toml`, `ETCDUP_*`, command line.
//! The topology has none of this: it changes by its file and `--set` alone.

use std::path::PathBuf;

use figment::Figment;
use figment::providers::{Env, Serialized};
use serde::{Deserialize, Serialize};

use crate::arguments::{Color, Global, Output};

/// The password for sudo, for runs that nobody watches.
pub(crate) const SUDO_PASSWORD: &str = "ETCDUP_SUDO_PASSWORD";
/// The passphrase of the SSH key, for runs that nobody watches.
pub(crate) const SSH_PASSPHRASE: &str = "ETCDUP_SSH_PASSPHRASE";

/// The tool's settings. Each is also a variable, `ETCDUP_` and its name in capitals.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToolSettings {
    /// The topology file.
    pub(crate) file: PathBuf,
    /// How to print data.
    pub(crate) output: Output,
    /// When to use colours.
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

/// The settings that are in force.
pub(crate) fn load(global: &Global) -> Result<ToolSettings, String> {
    let home = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
    let mut figment = Figment::new().merge(Serialized::defaults(ToolSettings::default()));
    if let Some(path) = home
        .map(|home| home.join("etcdup/config.toml"))
        .filter(|path| path.exists())
    {
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let table: toml::Table =
            toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        figment = figment.merge(Serialized::defaults(table));
    }
    let names = ["file", "output", "color", "cache", "connect_timeout"];
    figment = figment.merge(Env::prefixed("ETCDUP_").only(&names));
    let mut settings: ToolSettings = figment
        .extract()
        .map_err(|error| format!("settings: {error}"))?;
    if let Some(file) = &global.file {
        settings.file.clone_from(file);
    }
    settings.output = global.output.unwrap_or(settings.output);
    settings.color = global.color.unwrap_or(settings.color);
    Ok(settings)
}
