//! What the documentation says of the charts and the custom resources: every field, no other, and links that lead somewhere.

use std::{collections::BTreeSet, fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use rockbot_chart_tests::{repository, values::entries};
use serde_json::Value;

#[test]
fn k3_the_docs_have_every_field_of_the_custom_resources() -> Result<()> {
    for (crd, page) in [("agents", "docs/agents.md"), ("mcpservers", "docs/mcp.md")] {
        let crd: Value = serde_yaml::from_str(&read(&format!("crds/generated/{crd}.yaml"))?)?;
        let spec = crd
            .pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec")
            .context("no spec")?;
        let fields = fields(spec, "");
        let documented: BTreeSet<_> = table_keys(&read(page)?).collect();
        // A section is documented by its fields, and a field by its section where that is a switch by itself.
        let covered = |field: &String| {
            documented.iter().any(|row| {
                row == field || row.starts_with(&format!("{field}.")) || row.starts_with(&format!("{field}["))
            })
        };
        let missing: Vec<_> = fields.iter().filter(|field| !covered(field)).collect();
        ensure!(missing.is_empty(), "{page} lacks {missing:?}");
        let unknown: Vec<_> = documented.iter().filter(|row| !fields.contains(*row)).collect();
        ensure!(unknown.is_empty(), "{page} has fields that do not exist: {unknown:?}");
    }
    Ok(())
}

#[test]
fn k3_the_docs_name_values_that_exist() -> Result<()> {
    let known: Vec<_> = entries(&read("helm/rockbot/values.yaml")?)?
        .into_iter()
        .map(|entry| entry.path)
        .collect();
    let sections: BTreeSet<_> = known
        .iter()
        .filter_map(|path| path.split_once('.'))
        .map(|(section, _)| section)
        .collect();
    for page in pages()? {
        let text = fs::read_to_string(&page)?;
        for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '.') {
            let Some((section, _)) = word.split_once('.') else {
                continue;
            };
            let word = word.trim_end_matches('.');
            let exists = known
                .iter()
                .any(|path| path == word || path.starts_with(&format!("{word}.")));
            // `agent.spec` and the like are not values.
            let value = sections.contains(section) && !word.starts_with("agent.spec");
            ensure!(
                !value || exists || word == section,
                "{}: {word} is no value",
                page.display()
            );
        }
    }
    Ok(())
}

#[test]
fn k3_links_between_the_docs_lead_somewhere() -> Result<()> {
    for page in pages()? {
        for link in fs::read_to_string(&page)?.split("](").skip(1) {
            let (target, _) = link.split_once(')').context("an open link")?;
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            if target.contains("://") {
                continue;
            }
            let file = if file.is_empty() {
                page.clone()
            } else {
                page.with_file_name("").join(file)
            };
            ensure!(file.exists(), "{} links to {target}", page.display());
            ensure!(
                anchor.is_empty() || anchors(&fs::read_to_string(&file)?).any(|a| a == anchor),
                "no {target}"
            );
        }
    }
    Ok(())
}

/// Paths of everything that a person may write below `schema`; `[]` for the items of a list.
fn fields(schema: &Value, path: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let mut path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        found.insert(path.clone());
        found.extend(self::fields(field, &path));
        path += "[]";
        found.extend(self::fields(&field["items"], &path));
    }
    found
}

/// First cells of the table whose heading is `Field`.
fn table_keys(page: &str) -> impl Iterator<Item = String> {
    let rows = page.lines().skip_while(|line| !line.starts_with("| Field |")).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .filter_map(|line| line.split('`').nth(1))
        .map(str::to_owned)
}

/// Headings as the anchors that they become.
fn anchors(page: &str) -> impl Iterator<Item = String> {
    let headings = page
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim());
    headings.map(|heading| {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect()
    })
}

fn pages() -> Result<Vec<PathBuf>> {
    let mut pages = vec![repository("helm/rockbot/README.md")];
    for file in fs::read_dir(repository("docs"))? {
        pages.push(file?.path());
    }
    Ok(pages)
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(repository(path)).with_context(|| path.to_owned())
}
