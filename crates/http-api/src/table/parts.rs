//! What rows of the table are put together from.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::call::{Call, Handled, MOST_EVENTS};
use crate::row::{Gives, Method, Parameter, ParameterPlace, ParameterValue, Verb};
use crate::token::Role;

pub(super) fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

pub(super) const fn get(
    role: Option<Role>,
    about: &'static str,
    answers: &'static [(u16, Gives)],
    handler: fn(Call) -> Handled,
) -> Method {
    Method {
        verb: Verb::Get,
        role,
        about,
        parameters: &[],
        takes: None,
        answers,
        problems: &[],
        handler,
    }
}

pub(super) const VIEWER: Option<Role> = Some(Role::Viewer);
pub(super) const OPERATOR: Option<Role> = Some(Role::Operator);
pub(super) const ADMIN: Option<Role> = Some(Role::Admin);
pub(super) const ANYONE: Option<Role> = None;

pub(super) const LIMIT: Parameter = Parameter {
    name: "limit",
    about: "how many at most",
    value: ParameterValue::Number(200),
    place: ParameterPlace::Query,
};
pub(super) const SINCE: Parameter = Parameter {
    name: "since",
    about: "the number of the first event",
    value: ParameterValue::Number(MOST_EVENTS),
    place: ParameterPlace::Query,
};

pub(super) const ON: Parameter = Parameter {
    name: "on",
    about: "a host of the cluster that it is done on, instead of this machine",
    value: ParameterValue::Text,
    place: ParameterPlace::Query,
};

pub(super) const IF_MATCH: Parameter = Parameter {
    name: "If-Match",
    about: "the tag that was read: nobody else's change is written over",
    value: ParameterValue::Text,
    place: ParameterPlace::Header,
};
pub(super) const IF_NONE_MATCH: Parameter = Parameter {
    name: "If-None-Match",
    about: "`*`: only where there is none yet",
    value: ParameterValue::OneOf(&["*"]),
    place: ParameterPlace::Header,
};
pub(super) const LAST_EVENT_ID: Parameter = Parameter {
    name: "Last-Event-ID",
    about: "the ID of the last event that came: what follows it is sent",
    value: ParameterValue::Text,
    place: ParameterPlace::Header,
};
pub(super) const LAST_EVENT: Parameter = Parameter {
    about: "the number of the last event that came: what follows it is sent",
    value: ParameterValue::Pattern("^[0-9]{1,15}$"),
    ..LAST_EVENT_ID
};
pub(super) const IDEMPOTENCY_KEY: Parameter = Parameter {
    name: "Idempotency-Key",
    about: "the same key begins nothing twice within 24 hours",
    value: ParameterValue::Pattern("^[!-~]{1,255}$"),
    place: ParameterPlace::Header,
};
