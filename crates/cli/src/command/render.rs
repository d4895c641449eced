//! `etcdup render`: every file, without touching a host.

use crate::view::outln;
use std::path::Path;

use etcdup_core::stage::{Artifact, Content};
use etcdup_core::topology::ClusterState;
use etcdup_deploy::{DeployError, describe_file, unit_template};
use etcdup_render::Renderer;

use crate::arguments::Render;
use crate::command::context::Context;
use crate::exit;
use crate::view;

pub(crate) async fn run(context: &Context, arguments: &Render) -> u8 {
    let files = match files(context).await {
        Ok(files) => files,
        Err(error) => return context.fail(&error),
    };
    if let Some(wanted) = &arguments.stdout {
        let found = files
            .iter()
            .find(|(name, _)| name == wanted || name.ends_with(&format!("/{wanted}")));
        return match found {
            Some((_, text)) => {
                anstream::print!("{text}");
                exit::DONE
            }
            None => {
                let names = files
                    .iter()
                    .map(|(name, _)| name.as_str())
                    .collect::<Vec<_>>()
                    .join("\n  ");
                view::error::plain(&format!("there is no `{wanted}`; there are\n  {names}"));
                exit::USAGE
            }
        };
    }
    let Some(out) = &arguments.out else {
        return exit::USAGE;
    };
    for (name, text) in &files {
        if let Err(error) = write(&out.join(name), text) {
            view::error::plain(&format!("{}: {error}", out.join(name).display()));
            return exit::FAILED;
        }
    }
    if context.json() {
        let wrote: Vec<_> = files.iter().map(|(name, _)| out.join(name)).collect();
        view::json::print("render", &serde_json::json!({ "wrote": wrote }));
    } else {
        outln!("wrote {} files below {}", files.len(), out.display());
    }
    exit::DONE
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, text)
}

/// Every file by `MEMBER/NAME`.
async fn files(context: &Context) -> Result<Vec<(String, String)>, DeployError> {
    let (topology, base) = context.topology().await?;
    let template = unit_template(topology.unit_template.as_deref(), &base)?;
    let renderer = Renderer::new(template.as_ref())?;
    let mut files = Vec::new();
    for member in &topology.members {
        for artifact in renderer.artifacts(&topology, member, ClusterState::Existing)? {
            files.push((
                format!("{}/{}", member.name, artifact.path.file_name()),
                text(&artifact),
            ));
        }
    }
    Ok(files)
}

/// What is not known before execution is described: a rendering never holds a key.
fn text(artifact: &Artifact) -> String {
    match &artifact.content {
        Content::Text(text) => text.to_string(),
        Content::Ca | Content::Issued { .. } | Content::Provided(_) | Content::OnHost(_) => {
            format!("# {}; made at apply\n", describe_file(artifact))
        }
    }
}
