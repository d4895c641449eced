//! Only renders: prints every unit of a topology file. Needs neither SSH nor etcd.
//!
//! `cargo run --package etcdup-render --example render -- examples/three-hosts/etcdup.toml`

use std::error::Error;

use etcdup_core::file::Document;
use etcdup_core::stage::Content;
use etcdup_core::topology::{ClusterState, resolve};
use etcdup_render::Renderer;

#[allow(
    clippy::disallowed_methods,
    reason = "whoever calls reads files: here that is us"
)]
fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "etcdup.toml".to_owned());
    let document = Document::parse(&file, &std::fs::read_to_string(&file)?, &[])?;
    let topology = resolve(&document.spec, |_| None)?;
    let renderer = Renderer::new(None)?;
    for member in &topology.members {
        for artifact in renderer.artifacts(&topology, member, ClusterState::New)? {
            if let Content::Text(text) = artifact.content {
                println!("# {} on {}\n{text}", artifact.path, member.host);
            }
        }
    }
    Ok(())
}
