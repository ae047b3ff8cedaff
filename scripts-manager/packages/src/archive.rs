//! Looking into an archive before it is kept: nothing in it may reach beyond the directory that it is unpacked into.
//!
//! Whoever made it runs where a network is, so its word counts for nothing here.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufReader, Read},
    path::{Component, Path},
};

use flate2::bufread::GzDecoder;
use tar::{Archive, EntryType};
use thiserror::Error;

use crate::{MAX_BYTES, MAX_FILES};

/// Headers and padding of a file beside its content, long names included.
const OVERHEAD: u64 = 4 << 10;

/// What an archive that may be kept holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    pub files: u64,
    pub bytes: u64,
    /// Names at the top that `import` may find.
    pub top: BTreeSet<String>,
}

/// Why an archive may not be kept.
#[derive(Debug, Error)]
pub(crate) enum Unfit {
    #[error("{name:?} is neither a file nor a directory")]
    Type { name: String },
    #[error("{name:?} leads out of its directory")]
    Outside { name: String },
    #[error("{name:?} would run when an interpreter starts")]
    StartUp { name: String },
    #[error("{files} files of {bytes} bytes")]
    TooLarge { files: u64, bytes: u64 },
    #[error("its archive cannot be read: {0}")]
    Broken(#[from] io::Error),
}

/// Reads an archive to its end. Blocks.
pub(crate) fn inspect(path: &Path) -> Result<Contents, Unfit> {
    let unpacked = GzDecoder::new(BufReader::new(File::open(path)?));
    // What goes on beyond every limit is not read on.
    let mut archive = Archive::new(unpacked.take(MAX_BYTES + MAX_FILES * OVERHEAD));
    let mut contents = Contents::default();
    for entry in archive.entries()? {
        let entry = entry?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        match entry.header().entry_type() {
            EntryType::Regular => {
                contents.files += 1;
                contents.bytes = contents.bytes.saturating_add(entry.size());
            }
            EntryType::Directory => {}
            _ => return Err(Unfit::Type { name }),
        }
        if contents.files > MAX_FILES || contents.bytes > MAX_BYTES {
            let Contents { files, bytes, .. } = contents;
            return Err(Unfit::TooLarge { files, bytes });
        }
        let mut components = Path::new(&name).components();
        let is_inside = |component| matches!(component, Component::Normal(_));
        if name.is_empty() || name.contains(['\0', '\u{FFFD}']) || !components.all(is_inside) {
            return Err(Unfit::Outside { name });
        }
        let (first, is_alone) = name
            .split_once('/')
            .map_or((name.as_str(), true), |(first, _)| (first, false));
        if is_alone && first.ends_with(".pth") {
            return Err(Unfit::StartUp { name });
        }
        contents.top.insert(first.split('.').next().unwrap_or(first).to_owned());
    }
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use tar::{Builder, Header};
    use tempfile::NamedTempFile;

    use super::*;

    /// An archive with one entry of any name and type, as no library would write it.
    fn archive(name: &str, kind: EntryType, size: u64, content: &[u8]) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        let mut builder = Builder::new(GzEncoder::new(&mut file, Compression::fast()));
        let mut header = Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o644);
        if matches!(kind, EntryType::Symlink | EntryType::Link) {
            header.set_link_name("/etc/passwd").unwrap();
        }
        header.set_cksum();
        builder.append(&header, content).unwrap();
        builder.into_inner().unwrap().finish().unwrap();
        file
    }

    fn verdict(name: &str, kind: EntryType) -> String {
        let file = archive(name, kind, 0, b"");
        inspect(file.path()).map_or_else(|error| error.to_string(), |_| "kept".into())
    }

    #[test]
    fn t18_an_archive_holds_files_inside_its_directory_alone() {
        let cases = [
            ("pkg/__init__.py", EntryType::Regular, "kept"),
            ("pkg", EntryType::Directory, "kept"),
            ("pkg/nested.pth", EntryType::Regular, "kept"),
            ("pkg/link", EntryType::Symlink, "neither"),
            ("pkg/link", EntryType::Link, "neither"),
            ("pipe", EntryType::Fifo, "neither"),
            ("device", EntryType::Char, "neither"),
            ("device", EntryType::Block, "neither"),
            ("/etc/passwd", EntryType::Regular, "leads out"),
            ("../beside", EntryType::Regular, "leads out"),
            ("pkg/../../beside", EntryType::Regular, "leads out"),
            ("..", EntryType::Directory, "leads out"),
            ("", EntryType::Regular, "leads out"),
            ("start.pth", EntryType::Regular, "would run"),
        ];
        for (name, kind, expected) in cases {
            let found = verdict(name, kind);
            assert!(found.contains(expected), "{name:?} {kind:?}: {found}");
        }
    }

    #[test]
    fn t18_an_archive_that_promises_or_holds_too_much_is_not_read_to_its_end() {
        let promised = archive("big", EntryType::Regular, MAX_BYTES + 1, b"");
        assert!(matches!(inspect(promised.path()), Err(Unfit::TooLarge { .. })));
        let mut many = NamedTempFile::new().unwrap();
        let mut builder = Builder::new(GzEncoder::new(&mut many, Compression::fast()));
        for number in 0..=MAX_FILES {
            let mut header = Header::new_ustar();
            header.set_size(0);
            builder
                .append_data(&mut header, format!("f{number}"), &b""[..])
                .unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap();
        assert!(matches!(inspect(many.path()), Err(Unfit::TooLarge { files, .. }) if files == MAX_FILES + 1));
        // A file that unpacks to far more than it is.
        let mut bomb = NamedTempFile::new().unwrap();
        let mut zipped = GzEncoder::new(&mut bomb, Compression::fast());
        for _ in 0..(MAX_BYTES + MAX_FILES * OVERHEAD) >> 20 {
            zipped.write_all(&[b'a'; 1 << 20]).unwrap();
        }
        zipped.finish().unwrap();
        inspect(bomb.path()).unwrap_err();
    }

    #[test]
    fn t18_what_is_not_an_archive_is_refused() {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(b"not an archive").unwrap();
        assert!(matches!(inspect(file.path()), Err(Unfit::Broken(_))));
        let whole = archive("pkg/__init__.py", EntryType::Regular, 5, b"x = 1");
        let contents = inspect(whole.path()).unwrap();
        assert_eq!((contents.files, contents.bytes), (1, 5));
        assert_eq!(contents.top, BTreeSet::from(["pkg".to_owned()]));
        let half = std::fs::read(whole.path()).unwrap();
        std::fs::write(whole.path(), &half[..half.len() / 2]).unwrap();
        inspect(whole.path()).unwrap_err();
    }
}
