//! `examples/template` becomes a project that compiles, by the rules of `cargo generate`: `{{name}}` is replaced, a file's
//! ending `.liquid` goes, `cargo-generate.toml` stays behind.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

#[test]
fn a_project_made_from_the_template_compiles() -> Result<()> {
    let workspace = fs::canonicalize(WORKSPACE)?;
    let folder = tempfile::tempdir()?;
    let values = BTreeMap::from([
        ("project-name", "dice-agent".to_owned()),
        ("rockbot", workspace.display().to_string()),
        ("registry", "registry.example.com/agents".to_owned()),
    ]);
    let declared = fs::read_to_string(workspace.join("examples/template/cargo-generate.toml"))?;
    for name in values.keys().filter(|name| **name != "project-name") {
        ensure!(
            declared.contains(&format!("[placeholders.{name}]")),
            "{name} is asked for"
        );
    }
    instantiate(&workspace.join("examples/template"), folder.path(), &values)?;
    let made = |name: &str| fs::read_to_string(folder.path().join(name)).with_context(|| name.to_owned());
    ensure!(made("agent.yaml")?.contains("image: registry.example.com/agents/dice-agent:0.1.0\n"));
    let base = format!("FROM docker.io/rockbot/agent:{}\n", env!("CARGO_PKG_VERSION"));
    ensure!(
        made("Dockerfile")?.contains(&base),
        "the Dockerfile starts from another version"
    );
    let how_to_link = fs::read_to_string(workspace.join(".cargo/config.toml"))?;
    assert_eq!(
        without_comments(&made(".cargo/config.toml")?),
        without_comments(&how_to_link)
    );

    // The same versions of everything, without asking a registry; what is built already is not built again.
    fs::copy(workspace.join("Cargo.lock"), folder.path().join("Cargo.lock"))?;
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .context("no target directory")?;
    let checked = Command::new(env!("CARGO"))
        .args(["check", "--offline", "--quiet", "--target-dir"])
        .arg(target)
        .current_dir(folder.path())
        .output()?;
    let said = String::from_utf8_lossy(&checked.stderr);
    ensure!(checked.status.success() && said.is_empty(), "{said}");
    Ok(())
}

fn instantiate(from: &Path, to: &Path, values: &BTreeMap<&str, String>) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).context("no name")?;
        let target = to.join(name.strip_suffix(".liquid").unwrap_or(name));
        if path.is_dir() {
            instantiate(&path, &target, values)?;
        } else if name != "cargo-generate.toml" {
            let mut text = fs::read_to_string(&path)?;
            for (name, value) in values {
                text = text.replace(&format!("{{{{{name}}}}}"), value);
            }
            ensure!(
                !text.contains("{{"),
                "{}: a placeholder is left: {text}",
                path.display()
            );
            fs::write(target, text)?;
        }
    }
    Ok(())
}

fn without_comments(toml: &str) -> Vec<&str> {
    toml.lines().filter(|line| !line.starts_with('#')).collect()
}
