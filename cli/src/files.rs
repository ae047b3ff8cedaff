//! Files that a script made: what they are called, and where a person finds them.

use std::path::{Component, Path, PathBuf};

use anyhow::{Context, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use rockbot_scripts_api::OutputFile;

/// A file's name and size.
pub(crate) fn describe(file: &OutputFile) -> String {
    let bytes = file.size();
    let size = match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes.div_ceil(1 << 10)),
        _ => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
    };
    format!("{} ({size})", file.name)
}

/// Writes a file below `directory`, in place of one of the same name, and returns where it is.
pub(crate) fn keep(directory: &Path, file: &OutputFile) -> anyhow::Result<PathBuf> {
    let name = Path::new(&file.name);
    let is_below = name.components().all(|part| matches!(part, Component::Normal(_)));
    ensure!(
        is_below,
        "a file called {:?} cannot be kept: it is elsewhere",
        file.name
    );
    let path = directory.join(name);
    let data = BASE64_STANDARD
        .decode(&file.data)
        .with_context(|| format!("the content of {}", file.name))?;
    let folder = path.parent().unwrap_or(directory);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, data))
        .with_context(|| format!("--output-dir: cannot write {}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_written_elsewhere() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("inner");
        let file = |name: &str| OutputFile {
            name: name.to_owned(),
            media_type: "text/plain".to_owned(),
            data: "aGk=".to_owned(),
        };
        for name in ["../a", "/tmp/a", "a/../../b"] {
            assert!(keep(&inner, &file(name)).is_err(), "{name}");
        }
        assert!(!inner.exists());
        let path = keep(&inner, &file("a/b.txt")).unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "hi");
        assert_eq!(describe(&file("b.txt")), "b.txt (2 B)");
    }
}
