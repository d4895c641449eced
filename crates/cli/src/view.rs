//! What people and programs read.

pub(crate) mod ask;
pub(crate) mod error;
pub(crate) mod json;
#[cfg(test)]
mod pages;
pub(crate) mod plan;
pub(crate) mod print;
pub(crate) mod progress;
pub(crate) mod table;
pub(crate) mod verdicts;

pub(crate) use etcdup_core::plain::harmless;

pub(crate) use print::{age_of, count, outln, wrap, write};
