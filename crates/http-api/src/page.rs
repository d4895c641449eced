//! The dashboard: four files with fixed names, in a build with the feature `dashboard`.

use http::{StatusCode, header};

use crate::call::{Answer, Call, Content};
use crate::problem::Problem;

/// What the page may do: its own scripts, its own styles, its own server; no markup made from text,
/// and in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

/// A file of the page.
struct File {
    name: &'static str,
    media: &'static str,
    bytes: &'static [u8],
}

#[cfg(feature = "dashboard")]
const FILES: &[File] = &[
    File {
        name: "",
        media: "text/html; charset=utf-8",
        bytes: include_bytes!("../dashboard/dist/index.html"),
    },
    File {
        name: "app.js",
        media: "text/javascript; charset=utf-8",
        bytes: include_bytes!("../dashboard/dist/app.js.gz"),
    },
    File {
        name: "app.css",
        media: "text/css; charset=utf-8",
        bytes: include_bytes!("../dashboard/dist/app.css.gz"),
    },
    File {
        name: "icon.svg",
        media: "image/svg+xml",
        bytes: include_bytes!("../dashboard/dist/icon.svg"),
    },
];

#[cfg(not(feature = "dashboard"))]
const FILES: &[File] = &[File {
    name: "",
    media: "text/plain; charset=utf-8",
    bytes: b"This build of etcdup has no page: `cargo xtask dashboard` makes it, and the feature\n\
             `dashboard` builds it in. The API is here all the same; /openapi.json describes it.\n",
}];

/// Whether this build has the page.
pub const HAS_DASHBOARD: bool = cfg!(feature = "dashboard");

pub(crate) async fn index(call: Call) -> Result<Answer, Problem> {
    file(&call, "")
}

pub(crate) async fn script(call: Call) -> Result<Answer, Problem> {
    file(&call, "app.js")
}

pub(crate) async fn style(call: Call) -> Result<Answer, Problem> {
    file(&call, "app.css")
}

pub(crate) async fn icon(call: Call) -> Result<Answer, Problem> {
    file(&call, "icon.svg")
}

fn file(call: &Call, name: &str) -> Result<Answer, Problem> {
    let found = FILES.iter().find(|file| file.name == name);
    let file = found.ok_or_else(|| Problem::not_found(format!("this build has no /{name}")))?;
    // A strong tag of what is in it: after an update nobody sees the page before it.
    let tag = format!("\"{}\"", etcdup_core::digest::sha256(file.bytes));
    let known = call.headers.get(header::IF_NONE_MATCH);
    let known = known.is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let (status, content) = match known {
        true => (StatusCode::NOT_MODIFIED, Content::Empty),
        false => (StatusCode::OK, Content::Bytes(file.media, file.bytes)),
    };
    let answer = Answer::of(status, content);
    let answer = answer
        .header(header::ETAG, &tag)
        .header(header::CACHE_CONTROL, "no-cache")
        .header(header::CONTENT_SECURITY_POLICY, POLICY);
    Ok(match file.bytes.starts_with(&[0x1f, 0x8b]) {
        // Every browser takes it; who asks by hand adds `--compressed`.
        true => answer.header(header::CONTENT_ENCODING, "gzip"),
        false => answer,
    })
}
