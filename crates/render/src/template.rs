//! Templates: the built-in ones, and the user's own in place of the unit's, read back before it is used.

use etcdup_core::flag::{FlagSet, FlagSource};
use etcdup_core::name::NameError;
use serde::Serialize;

pub(crate) const UNIT: &str = "etcd.service";
pub(crate) const START: &str = "start.sh";

/// Why a file cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The template is not one, or asks for something that is not there.
    #[error("the template of {template} cannot be filled in: {message}")]
    Template {
        /// Which template.
        template: &'static str,
        /// What is wrong, with a caret.
        message: String,
    },
    /// The user's template leaves out or changes flags.
    #[error("the unit template gives member {member} other flags than the topology: {difference}")]
    FlagsLost {
        /// The member.
        member: String,
        /// The first differences.
        difference: String,
    },
    /// A path cannot be made.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// Renders artifacts. Made once a run.
pub struct Renderer {
    tera: tera::Tera,
    custom_unit: bool,
}

impl Renderer {
    /// With the built-in templates, or this text in place of the unit's. The text is a tera template that may use
    /// `name`, `cluster`, `user`, `data`, `exec` (the whole command), `flags` (a list of `--flag=value`) and `unset`.
    ///
    /// # Errors
    /// When the text is no template.
    pub fn new(unit_template: Option<&str>) -> Result<Self, RenderError> {
        let mut tera = tera::Tera::new();
        let unit = unit_template.unwrap_or(include_str!("templates/etcd.service"));
        tera.add_raw_templates([(UNIT, unit), (START, include_str!("templates/start.sh"))])
            .map_err(|error| RenderError::Template {
                template: UNIT,
                message: error.to_string(),
            })?;
        Ok(Self {
            tera,
            custom_unit: unit_template.is_some(),
        })
    }

    pub(crate) fn fill(
        &self,
        template: &'static str,
        view: &impl Serialize,
    ) -> Result<String, RenderError> {
        let refuse = |error: tera::Error| RenderError::Template {
            template,
            message: error.to_string(),
        };
        let context = tera::Context::from_serialize(view).map_err(refuse)?;
        self.tera.render(template, &context).map_err(refuse)
    }

    /// A user's template must still hold the topology's flags, no more and no less.
    pub(crate) fn check(
        &self,
        member: &str,
        unit: &str,
        wanted: &FlagSet,
    ) -> Result<(), RenderError> {
        if !self.custom_unit {
            return Ok(());
        }
        let read = FlagSource::unit(unit);
        let mut differences: Vec<String> = Vec::new();
        for (name, value) in wanted
            .iter()
            .filter(|(name, value)| read.flags.get(name) != Some(value))
        {
            differences.push(match read.flags.get(name) {
                Some(found) => format!("--{name} is {found}, wanted {value}"),
                None => format!("--{name}={value} is missing"),
            });
        }
        for (name, value) in read
            .flags
            .iter()
            .filter(|(name, _)| wanted.get(name).is_none())
        {
            differences.push(format!("--{name}={value} is not in the topology"));
        }
        differences.extend(
            read.strays
                .iter()
                .map(|stray| format!("`{}` is no flag of etcd", stray.0)),
        );
        differences.extend(
            read.twice
                .iter()
                .map(|name| format!("{name} is given as argument and as variable")),
        );
        if differences.is_empty() {
            return Ok(());
        }
        differences.truncate(3);
        Err(RenderError::FlagsLost {
            member: member.to_owned(),
            difference: differences.join("; "),
        })
    }
}
