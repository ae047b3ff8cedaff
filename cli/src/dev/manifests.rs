//! Reads manifests: what `kubectl apply -f` takes, from files and directories. Knows nothing of what becomes of them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use rockbot_crds::{Agent, McpServer};
use rockbot_operator_plan::validate_secret;
use serde::{Deserialize, de::DeserializeOwned};
use serde_yaml::Value;

/// What the files define, by name. Namespaces do not count on one machine.
#[derive(Debug, Default)]
pub(crate) struct Manifests {
    /// Agents.
    pub(crate) agents: BTreeMap<String, Agent>,
    /// MCP servers.
    pub(crate) mcp_servers: BTreeMap<String, McpServer>,
    /// Secrets: their values by key.
    pub(crate) secrets: BTreeMap<String, BTreeMap<String, String>>,
    /// Kinds that were left alone, with the file they are in.
    pub(crate) ignored: Vec<String>,
}

/// The values of a Secret, as base64 and as text; text wins, as it does at the API server.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Secret {
    #[serde(default)]
    data: BTreeMap<String, String>,
    #[serde(default)]
    string_data: BTreeMap<String, String>,
}

impl Secret {
    fn values(self) -> anyhow::Result<BTreeMap<String, String>> {
        let mut values = BTreeMap::new();
        for (key, encoded) in self.data {
            // The decoder's error quotes the input, so it is left out.
            let bytes = BASE64
                .decode(encoded.trim())
                .map_err(|_| anyhow::anyhow!("data.{key}: not base64"))?;
            values.insert(
                key.clone(),
                String::from_utf8(bytes).map_err(|_| anyhow::anyhow!("data.{key}: not text"))?,
            );
        }
        values.extend(self.string_data);
        Ok(values)
    }
}

/// A file of manifests.
#[derive(PartialEq, Eq)]
pub(crate) struct Source {
    file: PathBuf,
    text: String,
}

/// Reads every file of `paths`; of a directory, its `*.yaml` and `*.yml` in order of their names.
///
/// # Errors
/// When one cannot be read.
pub(crate) fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Source>> {
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Source { file, text })
    };
    files(paths)?.into_iter().map(read).collect()
}

impl Manifests {
    /// What the files define.
    ///
    /// # Errors
    /// When an object is not what it says it is: the file, the object and the field.
    pub(crate) fn of(sources: &[Source]) -> anyhow::Result<Self> {
        let mut manifests = Self::default();
        for Source { file, text } in sources {
            for (index, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
                let position = || format!("{}, document {}", file.display(), index + 1);
                let value = Value::deserialize(document).with_context(|| format!("{}: not YAML", position()))?;
                manifests.add(value).with_context(position)?;
            }
        }
        Ok(manifests)
    }

    fn add(&mut self, value: Value) -> anyhow::Result<()> {
        if value.is_null() {
            return Ok(());
        }
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let (version, kind) = (text("apiVersion"), text("kind"));
        let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        match (version.as_str(), kind.as_str()) {
            ("", _) | (_, "") => bail!("apiVersion and kind must be given, as kubectl wants them"),
            ("v1", "List") => {
                let items = value["items"].as_sequence().cloned().unwrap_or_default();
                items.into_iter().try_for_each(|item| self.add(item))
            }
            (_, _) if name.is_empty() => bail!("{kind}: metadata.name must be given"),
            (_, _) if matches!(name.as_str(), "." | "..") || name.contains(['/', '%']) => {
                bail!("{kind} {name}: metadata.name must be a part of a path: not . or .., and without / and %")
            }
            ("rockbot.dev/v1alpha1", "Agent") => insert(&mut self.agents, "Agent", name, value),
            ("rockbot.dev/v1alpha1", "McpServer") => insert(&mut self.mcp_servers, "McpServer", name, value),
            ("v1", "Secret") => {
                let secret: Secret = parse_object("Secret", &name, value)?;
                let values = secret.values().with_context(|| format!("Secret {name}"))?;
                validate_secret(&name, values.keys()).with_context(|| format!("Secret {name}"))?;
                self.secrets.insert(name, values);
                Ok(())
            }
            _ => {
                self.ignored.push(format!("{kind} {name}"));
                Ok(())
            }
        }
    }
}

fn insert<T: DeserializeOwned>(
    into: &mut BTreeMap<String, T>,
    kind: &str,
    name: String,
    value: Value,
) -> anyhow::Result<()> {
    let object = parse_object(kind, &name, value)?;
    if into.insert(name.clone(), object).is_some() {
        bail!("{kind} {name} is defined twice; on one machine all namespaces are one");
    }
    Ok(())
}

/// Parses an object and names the field where that fails. A field that does not exist is an error, as it is for kubectl.
fn parse_object<T: DeserializeOwned>(kind: &str, name: &str, value: Value) -> anyhow::Result<T> {
    let mut unknown = Vec::new();
    let mut note = |path: serde_ignored::Path<'_>| unknown.push(path.to_string());
    let object = serde_path_to_error::deserialize(serde_ignored::Deserializer::new(value, &mut note))
        .map_err(|error| anyhow::anyhow!("{kind} {name}: {}: {}", error.path(), error.inner()))?;
    // Of foreign kinds only the part that is used here has a type, and metadata belongs to Kubernetes.
    unknown.retain(|path| path.starts_with("spec"));
    if !unknown.is_empty() && kind != "Secret" {
        bail!(
            "{kind} {name}: unknown field {}; `kubectl explain {}` lists them",
            unknown.join(", "),
            kind.to_lowercase()
        );
    }
    Ok(object)
}

fn files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = fs::read_dir(path).with_context(|| format!("cannot read the directory {}", path.display()))?;
        let mut found: Vec<_> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.is_file() && is_manifest_name(path))
            .collect();
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

/// Whether a file of a directory counts as a manifest.
pub(super) fn is_manifest_name(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "yaml" || extension == "yml")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> anyhow::Result<Manifests> {
        let directory = tempfile::tempdir()?;
        fs::write(directory.path().join("a.yaml"), text)?;
        Manifests::of(&read(&[directory.path().to_owned()])?)
    }

    #[test]
    fn reads_agents_servers_and_secrets_of_one_file() {
        let manifests = read_text(
            "
apiVersion: rockbot.dev/v1alpha1
kind: Agent
metadata: { name: a }
spec: { model: { provider: Demo } }
---
apiVersion: v1
kind: Secret
metadata: { name: s }
data: { other: b25l }
stringData: { key: value }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: c }
",
        )
        .unwrap();
        assert_eq!(manifests.agents.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(manifests.secrets["s"]["key"], "value");
        assert_eq!(manifests.secrets["s"]["other"], "one");
        assert_eq!(manifests.ignored, ["ConfigMap c"]);
    }

    #[test]
    fn errors_name_the_document_the_object_and_the_field() {
        let cases = [
            ("spec: { model: { provider: Demo, nam: x } }", "spec.model.nam"),
            ("spec: { model: { provider: Claude } }", "spec.model.provider"),
            ("spec: {}", "model"),
        ];
        for (spec, field) in cases {
            let text = format!("apiVersion: rockbot.dev/v1alpha1\nkind: Agent\nmetadata: {{ name: a }}\n{spec}\n");
            let error = format!("{:#}", read_text(&text).unwrap_err());
            assert!(
                error.contains("document 1: Agent a") && error.contains(field),
                "{error}"
            );
        }
    }

    #[test]
    fn one_name_twice_is_refused() {
        let agent = "apiVersion: rockbot.dev/v1alpha1\nkind: Agent\nmetadata: { name: a }\nspec: { model: { provider: Demo } }\n";
        let error = format!("{:#}", read_text(&format!("{agent}---\n{agent}")).unwrap_err());
        assert!(error.contains("Agent a is defined twice"), "{error}");
    }

    /// They are joined to the path of a folder.
    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for (kind, name, more, expected) in [
            ("Secret", "..", "", "metadata.name"),
            ("Secret", "/tmp/x", "", "metadata.name"),
            ("Secret", "A", "stringData: { key: value }", "metadata.name"),
            ("Secret", "s", "stringData: { /../../x: value }", "\"/../../x\""),
            ("Secret", "s", "data: { ..: dg== }", "\"..\""),
            ("Agent", "..", "spec: { model: { provider: Demo } }", "metadata.name"),
        ] {
            let version = if kind == "Secret" { "v1" } else { "rockbot.dev/v1alpha1" };
            let text = format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{ name: {name} }}\n{more}\n");
            let error = format!("{:#}", read_text(&text).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }
}
