//! What the table of paths is made of.

use schemars::{Schema, SchemaGenerator};

use crate::call::{Call, Handled};
use crate::token::Role;

/// A path, and what it takes.
pub struct Row {
    /// The path; `{name}` stands for a part of it.
    pub path: &'static str,
    /// Its methods.
    pub methods: &'static [Method],
}

/// A method, where HTTP has many more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `GET`.
    Get,
    /// `PUT`.
    Put,
    /// `POST`.
    Post,
    /// `DELETE`.
    Delete,
}

impl Verb {
    /// As HTTP writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Put => "PUT",
            Verb::Post => "POST",
            Verb::Delete => "DELETE",
        }
    }
}

/// A method of a path.
pub struct Method {
    /// The method.
    pub verb: Verb,
    /// The least role that it takes; none where it is open to all.
    pub role: Option<Role>,
    /// One line about it.
    pub about: &'static str,
    /// What its query may hold.
    pub parameters: &'static [Parameter],
    /// The body that it takes.
    pub takes: Option<Takes>,
    /// What it answers when all is well.
    pub answers: &'static [(u16, Gives)],
    /// Statuses of the problems that are its own; those of its role, its parameters and its body go
    /// without saying.
    pub problems: &'static [u16],
    pub(crate) handler: fn(Call) -> Handled,
}

/// What a body holds.
#[derive(Clone, Copy)]
pub enum Takes {
    /// JSON.
    Json(SchemaOf),
    /// A topology as a person writes it.
    Topology,
}

/// A parameter of a query.
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub about: &'static str,
    /// What it may be.
    pub value: ParameterValue,
    /// Where it stands.
    pub place: ParameterPlace,
}

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterPlace {
    /// In the query.
    Query,
    /// Among the headers.
    Header,
}

/// What a parameter may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterValue {
    /// A whole number of at most this.
    Number(u64),
    /// Any text.
    Text,
    /// A text of this pattern.
    Pattern(&'static str),
    /// One of these.
    OneOf(&'static [&'static str]),
}

/// A schema, by the generator that collects what it refers to.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What an answer holds.
#[derive(Clone, Copy)]
pub enum Gives {
    /// JSON.
    Json(SchemaOf),
    /// JSON, or what is in it as a value a line, where `Accept` asks for that.
    JsonOrLines(SchemaOf),
    /// Text of this media type.
    Text(&'static str),
    /// Server-sent events, each with JSON.
    Events(SchemaOf),
    /// Nothing.
    Nothing,
}
