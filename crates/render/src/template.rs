//! Templates: the built-in ones, and the user's own in place of the unit's, read back before it is
//! used.

use std::borrow::Cow;
use std::sync::LazyLock;

use etcdup_core::flag::{AppliesAt, FlagSet, FlagSource, lookup};
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

/// A unit template of the user's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitTemplate {
    /// Its text.
    pub text: String,
    /// How it is filled in.
    pub form: Form,
}

/// How a template is filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// By tera: `{{ exec }}`.
    Tera,
    /// As `envsubst` does: `${ETCD_NAME}`.
    Envsubst,
}

impl UnitTemplate {
    /// What a unit of this kind could do better, each with its reason.
    #[must_use]
    pub fn weaknesses(&self) -> Vec<&'static str> {
        let lines: Vec<&str> = self.text.lines().map(str::trim).collect();
        let sets = |key: &str| lines.iter().any(|line| line.starts_with(key));
        let says_new = lines
            .iter()
            .any(|line| line.contains("initial-cluster-state") && line.contains("new"));
        [
            (
                !sets("User="),
                "it names no user, so etcd runs as root: User=etcd is enough for it",
            ),
            (
                says_new,
                "it says initial-cluster-state=new permanently: a lone member that loses its disk would boot a fresh, empty \
                 cluster (kubespray issue 13261); use ${ETCD_INITIAL_CLUSTER_STATE} or {{ exec }}",
            ),
            (
                sets("Restart=on-failure") || !sets("Restart="),
                "an etcd that ends by itself stays down: Restart=always",
            ),
            (
                !sets("LimitNOFILE="),
                "connections are limited to 1024 open files: LimitNOFILE=65536",
            ),
        ]
        .into_iter()
        .filter_map(|(weak, why)| weak.then_some(why))
        .collect()
    }

    /// A template by its file's name: `*.tpl` is for envsubst, anything else for tera.
    pub fn from_file(file_name: &str, text: impl Into<String>) -> Self {
        let form = if file_name.ends_with(".tpl") {
            Form::Envsubst
        } else {
            Form::Tera
        };
        Self {
            text: text.into(),
            form,
        }
    }
}

/// The built-in templates, compiled once: a server makes a renderer for each cluster and look.
static BUILT_IN: LazyLock<Result<tera::Tera, RenderError>> =
    LazyLock::new(|| compiled(include_str!("templates/etcd.service")));

fn compiled(unit: &str) -> Result<tera::Tera, RenderError> {
    let mut tera = tera::Tera::new();
    tera.add_raw_templates([(UNIT, unit), (START, include_str!("templates/start.sh"))])
        .map_err(|error| RenderError::Template {
            template: UNIT,
            message: error.to_string(),
        })?;
    Ok(tera)
}

/// Renders artifacts. Made once a run.
pub struct Renderer {
    tera: Cow<'static, tera::Tera>,
    custom_unit: bool,
    /// A template for envsubst in place of tera's unit.
    envsubst: Option<String>,
}

impl Renderer {
    /// With the built-in templates, or this one in place of the unit's. One for tera may use
    /// `name`, `cluster`, `user`, `data`, `wal` (where it has one), `exec` (the whole command),
    /// `flags` (a list of `--flag=value`) and `unset`; one for envsubst every flag by its variable
    /// (`ETCD_NAME`), `INTERNAL_IP`, `ETCD_USER`, `ETCD_EXEC` and `ETCD_BIN`.
    ///
    /// # Errors
    /// When the text is no template.
    pub fn new(unit_template: Option<&UnitTemplate>) -> Result<Self, RenderError> {
        let of = |form| unit_template.filter(|template| template.form == form);
        let tera = match of(Form::Tera) {
            Some(template) => Cow::Owned(compiled(&template.text)?),
            None => Cow::Borrowed(BUILT_IN.as_ref().map_err(Clone::clone)?),
        };
        Ok(Self {
            tera,
            custom_unit: unit_template.is_some(),
            envsubst: of(Form::Envsubst).map(|template| template.text.clone()),
        })
    }

    /// The unit, from the user's own template for envsubst where there is one.
    pub(crate) fn fill_unit(
        &self,
        view: &impl Serialize,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<String, RenderError> {
        match &self.envsubst {
            Some(text) => substitute(text, variable),
            None => self.fill(UNIT, view),
        }
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

    /// A user's template must still hold the topology's flags, no more and no less. Once the
    /// cluster has formed, those of the first start no longer count: a template may go on saying
    /// `new`.
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
        let formed = wanted.get("initial-cluster-state") == Some("existing");
        let counts =
            |name: &str| !formed || lookup(name).is_none_or(|row| row.when == AppliesAt::Start);
        let mut differences: Vec<String> = Vec::new();
        for (name, value) in wanted
            .iter()
            .filter(|(name, value)| counts(name) && read.flags.get(name) != Some(value))
        {
            differences.push(match read.flags.get(name) {
                Some(found) => format!("--{name} is {found}, wanted {value}"),
                None => format!("--{name}={value} is missing"),
            });
        }
        for (name, value) in read
            .flags
            .iter()
            .filter(|(name, _)| counts(name) && wanted.get(name).is_none())
        {
            differences.push(format!("--{name}={value} is not in the topology"));
        }
        differences.extend(
            read.unknown_flags
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

/// Replaces `$NAME` and `${NAME}` as envsubst does, but refuses a variable that is not there:
/// envsubst would leave nothing in its place. `$$` is systemd's own and stays.
fn substitute(
    text: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<String, RenderError> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        filled.push_str(before);
        let braced = after
            .strip_prefix('{')
            .and_then(|inside| inside.split_once('}'));
        let bare = after.find(|c: char| !is_name(c)).unwrap_or(after.len());
        let (name, next) = braced.unwrap_or_else(|| after.split_at(bare));
        let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !starts_well || !name.chars().all(is_name) {
            filled.push('$');
            rest = after;
            if let Some(next) = after.strip_prefix('$') {
                filled.push('$');
                rest = next;
            }
            continue;
        }
        let value = variable(name).ok_or_else(|| RenderError::Template {
            template: UNIT,
            message: format!(
                "line {}: there is no ${name}; there are INTERNAL_IP, ETCD_EXEC, ETCD_BIN, ETCD_USER and every flag's, such as ETCD_NAME",
                filled.lines().count().max(1)
            ),
        })?;
        filled.push_str(&value);
        rest = next;
    }
    filled.push_str(rest);
    Ok(filled)
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_as_envsubst_does_and_missing_ones_refused() {
        let known = |name: &str| (name == "ETCD_NAME").then(|| "m1".to_owned());
        let filled = substitute("a ${ETCD_NAME}$ETCD_NAME/x $$ 5$ ${}", known).unwrap();
        assert_eq!(filled, "a m1m1/x $$ 5$ ${}");
        let error = substitute("one\ntwo $TYPO", known).unwrap_err().to_string();
        assert!(error.contains("line 2: there is no $TYPO"), "{error}");
    }
}
