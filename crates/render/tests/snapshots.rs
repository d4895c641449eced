//! What people read: the unit of each minor, and the start file, as snapshots.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

use etcdup_core::file::Document;
use etcdup_core::stage::Content;
use etcdup_core::topology::{ClusterState, resolve};
use etcdup_render::{RenderError, Renderer, UnitTemplate};

fn rendered(head: &str, template: Option<&str>) -> Result<String, RenderError> {
    let text = format!(
        "format = 1\ncluster = \"prod\"\n{head}\n[[member]]\nname = \"m1\"\nhost = \"10.0.1.10\"\n"
    );
    let topology = resolve(
        &Document::parse("etcdup.toml", &text, &[]).unwrap().spec,
        |_| None,
    )
    .unwrap();
    let member = &topology.members[0];
    let artifact = Renderer::new(
        template
            .map(|text| UnitTemplate::from_file("etcd.service", text))
            .as_ref(),
    )?
    .start(
        &topology,
        member,
        &topology.flags(member, ClusterState::New),
    )?;
    let Content::Text(text) = artifact.content else {
        panic!("a start file is text")
    };
    Ok(text.to_string())
}

#[test]
fn the_unit_of_each_minor() {
    for version in ["3.4.23", "3.5.33", "3.6.14", "3.7.2"] {
        let unit = rendered(&format!("etcd = \"{version}\""), None).unwrap();
        insta::assert_snapshot!(format!("unit-{version}"), unit);
    }
}

/// It is written to, and mounted into a pod, where it has a directory of its own.
#[test]
fn a_log_of_its_own() {
    let head = "etcd = \"3.5.33\"\nlayout = { wal = \"/fast/etcd\" }";
    let unit = rendered(head, None).unwrap();
    assert!(
        unit.contains("ReadWritePaths=/var/lib/etcd /fast/etcd\n"),
        "{unit}"
    );
    assert!(unit.contains("--wal-dir=/fast/etcd/wal"), "{unit}");
    let pod = rendered(&format!("runtime = \"static-pod\"\n{head}"), None).unwrap();
    assert!(pod.contains("mountPath: /fast/etcd"), "{pod}");
}

/// K1, K8: the directory must be there, since one that the kubelet makes would be filled as a new
/// member's; beside it what kubeadm writes for etcd of each minor.
#[test]
fn the_manifest_of_each_minor() {
    for (version, kubeadms) in [
        ("3.4.23", &["--snapshot-count=10000"][..]),
        (
            "3.5.33",
            &[
                "--snapshot-count=10000",
                "--experimental-initial-corrupt-check=true",
                "--experimental-watch-progress-notify-interval=5s",
            ],
        ),
        (
            "3.6.14",
            &[
                "--snapshot-count=10000",
                "--feature-gates=InitialCorruptCheck=true",
                "--watch-progress-notify-interval=5s",
            ],
        ),
    ] {
        let head = format!("etcd = \"{version}\"\nruntime = \"static-pod\"");
        let manifest = rendered(&head, None).unwrap();
        for flag in kubeadms {
            assert!(
                manifest.contains(flag),
                "{version} lacks {flag}:\n{manifest}"
            );
        }
        let data = "path: /var/lib/etcd\n      type: Directory\n";
        assert!(manifest.contains(data), "{manifest}");
        insta::assert_snapshot!(format!("manifest-{version}"), manifest);
    }
}

#[test]
fn the_start_file_of_a_process() {
    let file = rendered(
        "etcd = \"3.5.33\"\nruntime = \"process\"\nflags = { log-outputs = [\"stderr\"] }",
        None,
    )
    .unwrap();
    insta::assert_snapshot!("start-file", file);
}

#[test]
fn a_template_of_ones_own_that_loses_flags_is_refused() {
    let good = "[Service]\nUser={{ user }}\nExecStart={{ exec }}\n";
    assert!(rendered("etcd = \"3.5.33\"", Some(good)).is_ok());
    let typo = "[Service]\nEnvironment=ETCD_TYPO=1\nExecStart={{ exec }}\n";
    let error = rendered("etcd = \"3.5.33\"", Some(typo))
        .unwrap_err()
        .to_string();
    assert!(error.contains("`ETCD_TYPO` is no flag of etcd"), "{error}");
    let undefined = rendered("etcd = \"3.5.33\"", Some("ExecStart={{ nothing }}")).unwrap_err();
    assert!(matches!(undefined, RenderError::Template { .. }));
}
