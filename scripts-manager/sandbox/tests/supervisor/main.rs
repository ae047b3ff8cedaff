//! T17: parts of the supervisor's source by themselves, in an interpreter of their own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{path::Path, process::Command};

mod filter;
mod memory;

/// What `source`, parts of the supervisor and what a test does with them, prints. `arguments` are the supervisor's.
fn python(source: &str, arguments: &[&str], directory: &Path) -> String {
    let output = Command::new("python3")
        .args(["-I", "-S", "-c", source])
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
