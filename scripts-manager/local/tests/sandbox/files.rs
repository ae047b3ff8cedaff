//! Files that a script leaves in its output directory come back; whatever else it leaves there does no harm.

use std::collections::BTreeMap;

use crate::run;

/// Runs a script in its output directory. Names of the files that came back with their content in base64, and of those
/// that did not with the reason.
async fn outputs(script: &str) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let result = run(&format!(
        "import os\nos.chdir(os.environ['ROCKBOT_OUTPUT_DIR'])\n{script}"
    ))
    .await;
    assert_eq!(result.exit_code, 0, "{}", result.stderr);
    let files = result.files.into_iter().map(|file| (file.name, file.data));
    let dropped = result.files_dropped.into_iter().map(|file| (file.name, file.reason));
    (files.collect(), dropped.collect())
}

#[tokio::test]
async fn t16_files_come_back_with_their_type() {
    let script = "import os\nos.chdir(os.environ['ROCKBOT_OUTPUT_DIR'])\nos.makedirs('a/b')\n\
                  open('plot.png', 'wb').write(b'\\x89PNG')\nopen('a/b/ünï cöde.csv', 'w').write('1,2')\n\
                  open('-empty', 'w')\nopen(os.path.expanduser('~/not here'), 'w').write('x')\nexit(3)";
    let result = run(script).await;
    assert_eq!(result.exit_code, 3);
    let files: Vec<_> = result
        .files
        .iter()
        .map(|file| (file.name.as_str(), file.media_type.as_str(), file.data.as_str()))
        .collect();
    let expected = [
        ("-empty", "application/octet-stream", ""),
        ("a/b/ünï cöde.csv", "text/csv", "MSwy"),
        ("plot.png", "image/png", "iVBORw=="),
    ];
    assert_eq!(files, expected);
    assert!(result.files_dropped.is_empty(), "{:?}", result.files_dropped);
}

#[tokio::test]
async fn t17_only_regular_files_come_back() {
    let script = "import socket\nopen('good', 'w').write('ok')\nopen(b'bytes\\xff', 'w')\nopen('line\\nbreak', 'w')\n\
                  os.symlink('/etc/passwd', 'link')\nos.symlink('/etc', 'directory')\nos.symlink('good', 'inner')\n\
                  os.mkfifo('pipe')\nos.link('good', 'twin')\nos.umask(0o777)\nos.mkdir('closed')\n\
                  open('unreadable', 'w').write('x')";
    let (files, dropped) = outputs(script).await;
    let expected = [
        ("bytes\\udcff", "its name is not printable text"),
        ("closed", "cannot be read: Permission denied"),
        ("directory", "not a regular file but a symbolic link"),
        ("good", "not a file of its own but a hard link"),
        ("inner", "not a regular file but a symbolic link"),
        ("line\\nbreak", "its name is not printable text"),
        ("link", "not a regular file but a symbolic link"),
        ("pipe", "not a regular file but a pipe"),
        ("twin", "not a file of its own but a hard link"),
        ("unreadable", "cannot be read: Permission denied"),
    ];
    assert!(files.is_empty(), "{files:?}");
    assert_eq!(
        dropped,
        expected
            .map(|(name, reason)| (name.to_owned(), reason.to_owned()))
            .into()
    );
}

#[tokio::test]
async fn t17_the_directory_cannot_be_made_to_lead_elsewhere() {
    let script = "os.chdir('..')\nos.rename('output', 'home/elsewhere')\nos.symlink('/etc', 'output')";
    let result = run(&format!(
        "import os\nos.chdir(os.environ['ROCKBOT_OUTPUT_DIR'])\n{script}"
    ))
    .await;
    assert!(result.files.is_empty(), "{:?}", result.files);
    let (files, _) =
        outputs("os.symlink('..', 'up')\nos.mkdir('d')\nos.symlink('../..', 'd/up')\nopen('d/f', 'w')").await;
    assert_eq!(files.into_keys().collect::<Vec<_>>(), ["d/f"]);
}

#[tokio::test]
async fn files_beyond_the_caps_are_dropped_and_named() {
    let script = "open('a', 'w').write('x' * (3 << 20))\nopen('b', 'w').write('x' * (2 << 20))\n\
                  open('c', 'w').write('x' * (1 << 20))\n\
                  os.truncate(os.open('sparse', os.O_CREAT | os.O_WRONLY), 200 << 20)";
    let (files, dropped) = outputs(script).await;
    assert_eq!(files.keys().collect::<Vec<_>>(), ["a", "c"], "{dropped:?}");
    assert_eq!(dropped["b"], "2097152 bytes; all files together may have 4194304");
    assert_eq!(
        dropped["sparse"],
        "209715200 bytes; all files together may have 4194304"
    );

    let (files, dropped) = outputs("for n in range(100): open('%03d' % n, 'w')").await;
    assert_eq!((files.len(), dropped.len()), (64, 33));
    assert_eq!((&*dropped["064"], &*dropped["."]), ("more than 64 files", "and 4 more"));

    let (files, dropped) = outputs("for n in range(3000): os.mkdir('%04d' % n)\nopen('last', 'w')").await;
    assert_eq!(
        (files.len(), &*dropped["."]),
        (0, "more than 1000 entries; the rest was not looked at")
    );

    let deep = "for n in range(30):\n    os.mkdir('d')\n    os.chdir('d')\n    open('f', 'w')";
    let (files, dropped) = outputs(deep).await;
    assert_eq!(files.len(), 15);
    assert_eq!(dropped[&["d"; 16].join("/")], "more than 16 directories deep");
}
