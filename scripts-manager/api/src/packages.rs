//! `pip_packages`: which packages a script names, and whether it may.
//!
//! A subset of PEP 508: a name, extras, version bounds. Whatever else pip understands (URLs, paths, options, markers)
//! would let a script choose where code comes from, and is refused. Knows nothing of indexes or of installing.

use std::{collections::BTreeSet, fmt, str::FromStr};

use crate::{MAX_PACKAGES, ScriptError, ScriptErrorCode};

/// Longest entry, in bytes. Real ones are far shorter.
const MAX_LENGTH: usize = 200;
/// Operators of version bounds, the longer ones first.
const OPERATORS: [&str; 7] = ["==", "!=", "<=", ">=", "~=", "<", ">"];
/// What an entry may look like, for messages.
const ALLOWED: &str = "allowed is a name with optional extras and versions, as in numpy, pandas==2.2.3 or \
                       uvicorn[standard]>=0.30,<1";

/// The name of a package, normalised as PEP 503 says: `Ruamel_YAML` is `ruamel-yaml`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageName(String);

/// One package that a script names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirement {
    name: PackageName,
    extras: BTreeSet<PackageName>,
    bounds: BTreeSet<String>,
}

/// The packages that a script names: each once, in order, in one spelling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirements(Vec<Requirement>);

/// Packages that may be named. What they need themselves comes with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allow {
    /// Every package of the index.
    Any,
    /// These.
    Only(BTreeSet<PackageName>),
}

impl Requirements {
    /// Reads `pip_packages`.
    ///
    /// # Errors
    /// [`ScriptErrorCode::InvalidRequest`] naming the entry, what is wrong with it and what is allowed.
    pub fn parse(entries: &[String]) -> Result<Self, ScriptError> {
        if entries.len() > MAX_PACKAGES {
            let message = format!(
                "pip_packages: {} entries; at most {MAX_PACKAGES} are allowed",
                entries.len()
            );
            return Err(ScriptError::invalid(message));
        }
        let mut all: Vec<Requirement> = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let wrong = |what: &str| ScriptError::invalid(format!("pip_packages[{index}]: {what}"));
            let requirement = Requirement::from_str(entry).map_err(|what| wrong(&what))?;
            if all.iter().any(|other| other.name == requirement.name) {
                let what = format!(
                    "{} is named twice; write all its versions in one entry",
                    requirement.name
                );
                return Err(wrong(&what));
            }
            all.push(requirement);
        }
        all.sort();
        Ok(Self(all))
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Requirement> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether each names one version.
    pub fn are_pinned(&self) -> bool {
        self.iter().all(Requirement::is_pinned)
    }
}

impl<'a> IntoIterator for &'a Requirements {
    type Item = &'a Requirement;
    type IntoIter = std::slice::Iter<'a, Requirement>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Requirements {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_list(formatter, &self.0, ", ")
    }
}

impl Requirement {
    /// The package.
    pub fn name(&self) -> &PackageName {
        &self.name
    }

    fn is_pinned(&self) -> bool {
        let one_version = |bound: &String| bound.starts_with("==") && !bound.ends_with(".*");
        self.bounds.iter().any(one_version)
    }
}

impl FromStr for Requirement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > MAX_LENGTH {
            return Err(format!(
                "{} bytes; at most {MAX_LENGTH} are allowed, and {ALLOWED}",
                text.len()
            ));
        }
        let whole = text.trim();
        let name_end = whole
            .find(|letter: char| !is_name_letter(letter))
            .unwrap_or(whole.len());
        let (name, rest) = whole.split_at(name_end);
        let refused = || format!("{text:?} {}; {ALLOWED}", what_is(whole));
        let name = PackageName::from_str(name).map_err(|_| refused())?;
        let (extras, rest) = match rest.trim_start().strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or_else(refused)?,
            None => ("", rest),
        };
        let extras = pieces(extras).map(str::parse).collect::<Result<_, _>>();
        let bounds = pieces(rest).map(bound).collect::<Option<_>>();
        Ok(Self {
            name,
            extras: extras.map_err(|_| refused())?,
            bounds: bounds.ok_or_else(refused)?,
        })
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.name)?;
        if !self.extras.is_empty() {
            formatter.write_str("[")?;
            write_list(formatter, &self.extras, ",")?;
            formatter.write_str("]")?;
        }
        write_list(formatter, &self.bounds, ",")
    }
}

impl PackageName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PackageName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let outer = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric());
        let (first, last) = (text.chars().next(), text.chars().next_back());
        if !(outer(first) && outer(last) && text.chars().all(is_name_letter) && text.len() <= MAX_LENGTH) {
            return Err(format!(
                "{text:?} is not the name of a package; it has letters, digits and single `-`, `_` or `.` between them"
            ));
        }
        let runs = text.split(['-', '_', '.']).filter(|run| !run.is_empty());
        Ok(Self(runs.collect::<Vec<_>>().join("-").to_ascii_lowercase()))
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Allow {
    /// Reads a list of names; `*` among them means every package.
    ///
    /// # Errors
    /// What is not a name.
    pub fn parse<S: AsRef<str>>(names: &[S]) -> Result<Self, String> {
        if names.iter().any(|name| name.as_ref() == "*") {
            return Ok(Self::Any);
        }
        let names = names.iter().map(|name| name.as_ref().parse());
        names.collect::<Result<_, _>>().map(Self::Only)
    }

    /// Whether `requirements` may be named by `whom`, who is part of the message.
    ///
    /// # Errors
    /// [`ScriptErrorCode::PackagesRefused`] naming the packages that may not, and those that may.
    pub fn check(&self, requirements: &Requirements, whom: &str) -> Result<(), ScriptError> {
        let Self::Only(allowed) = self else { return Ok(()) };
        let refused: Vec<_> = requirements
            .iter()
            .map(Requirement::name)
            .filter(|name| !allowed.contains(name))
            .map(PackageName::as_str)
            .collect();
        if refused.is_empty() {
            return Ok(());
        }
        let message = format!(
            "pip_packages: not allowed: {}; {whom} may use {self}",
            refused.join(", ")
        );
        Err(ScriptError::new(ScriptErrorCode::PackagesRefused, message))
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => formatter.write_str("any package"),
            Self::Only(names) if names.is_empty() => formatter.write_str("no package"),
            Self::Only(names) => write_list(formatter, names, ", "),
        }
    }
}

/// What somebody may have meant that is not allowed.
fn what_is(text: &str) -> &'static str {
    if text.contains("://") || text.contains('@') {
        "is a URL"
    } else if text.starts_with('-') {
        "is an option of pip"
    } else if text.contains(['/', '\\']) || text.starts_with('.') {
        "is a path"
    } else if text.contains(';') {
        "has an environment marker"
    } else if text.contains("===") {
        "compares with ==="
    } else {
        "is not understood"
    }
}

/// A bound of a version, without spaces: `>=1.2`. None when it is none.
fn bound(text: &str) -> Option<String> {
    let (operator, version) = OPERATORS
        .iter()
        .find_map(|operator| Some((*operator, text.strip_prefix(operator)?.trim_start())))?;
    let version = version.to_ascii_lowercase();
    let release = match (operator, version.strip_suffix(".*")) {
        ("==" | "!=", Some(prefix)) => is_release(prefix),
        ("~=", _) => is_version(&version) && version.contains('.'),
        _ => is_version(&version),
    };
    release.then(|| format!("{operator}{version}"))
}

/// The normal form of PEP 440: `[N!]N(.N)*[{a|b|rc}N][.postN][.devN][+local]`.
fn is_version(text: &str) -> bool {
    let (public, local) = text.split_once('+').unwrap_or((text, "local"));
    let mut rest = public;
    for (mark, is_last) in [
        (".dev", true),
        (".post", true),
        ("rc", false),
        ("b", false),
        ("a", false),
    ] {
        if let Some((before, number)) = rest.split_once(mark) {
            if !is_number(number) {
                return false;
            }
            rest = before;
            if !is_last {
                break;
            }
        }
    }
    let is_word = |word: &str| !word.is_empty() && word.chars().all(|letter| letter.is_ascii_alphanumeric());
    is_release(rest) && local.split('.').all(is_word)
}

/// `[N!]N(.N)*`.
fn is_release(text: &str) -> bool {
    let (epoch, release) = text.split_once('!').unwrap_or(("0", text));
    is_number(epoch) && release.split('.').all(is_number)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_name_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.')
}

/// The pieces between commas; none of nothing.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let text = text.trim();
    text.split(',').map(str::trim).filter(move |_| !text.is_empty())
}

fn write_list<T: fmt::Display>(
    formatter: &mut fmt::Formatter<'_>,
    items: impl IntoIterator<Item = T>,
    separator: &str,
) -> fmt::Result {
    for (index, item) in items.into_iter().enumerate() {
        let before = if index == 0 { "" } else { separator };
        write!(formatter, "{before}{item}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(entries: &[&str]) -> Result<Requirements, ScriptError> {
        Requirements::parse(&entries.iter().map(|&entry| entry.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn t16_one_spelling_for_what_means_the_same() {
        let cases = [
            ("numpy", "numpy"),
            (" NumPy ", "numpy"),
            ("Ruamel_.YAML", "ruamel-yaml"),
            ("pandas == 2.2.3", "pandas==2.2.3"),
            ("pandas<3 , >=2.1", "pandas<3,>=2.1"),
            ("uvicorn [Standard, http_2] ~= 0.30", "uvicorn[http-2,standard]~=0.30"),
            (
                "a!=1.*,==1!2.3rc4.post5.dev6+linux.7",
                "a!=1.*,==1!2.3rc4.post5.dev6+linux.7",
            ),
            ("a==1.0.dev1", "a==1.0.dev1"),
            ("a==2.0B1", "a==2.0b1"),
            ("a[]", "a"),
            ("7zip", "7zip"),
        ];
        for (entry, expected) in cases {
            assert_eq!(parse(&[entry]).unwrap().to_string(), expected, "{entry:?}");
        }
        assert_eq!(parse(&["zope", "Attrs"]).unwrap(), parse(&["attrs", "ZOPE"]).unwrap());
        assert!(parse(&["a==1", "b>=1,==2.0"]).unwrap().are_pinned());
        assert!(!parse(&["a==1", "b==2.*"]).unwrap().are_pinned());
        assert!(!parse(&["a"]).unwrap().are_pinned());
    }

    #[test]
    fn t16_what_is_not_a_package_is_refused_with_the_reason() {
        let cases = [
            ("", "is not understood"),
            ("git+https://example.org/a.git", "is a URL"),
            ("a @ file:///etc", "is a URL"),
            ("https://example.org/a.whl", "is a URL"),
            ("--index-url", "is an option"),
            ("-r", "is an option"),
            ("./a", "is a path"),
            ("../a", "is a path"),
            ("a/b", "is a path"),
            ("C:\\a", "is a path"),
            (".", "is a path"),
            ("a; python_version < '3'", "has an environment marker"),
            ("a===1", "compares with ==="),
            ("a b", "is not understood"),
            ("a==1 --pre", "is not understood"),
            ("a==1\n--pre", "is not understood"),
            ("a,b", "is not understood"),
            ("a==", "is not understood"),
            ("a=1", "is not understood"),
            ("a==1,", "is not understood"),
            ("a==1..2", "is not understood"),
            ("a==v1", "is not understood"),
            ("a>=1.*", "is not understood"),
            ("a~=1", "is not understood"),
            ("a==1+", "is not understood"),
            ("a==1rc", "is not understood"),
            ("a[b", "is not understood"),
            ("a[-b]", "is not understood"),
            ("a-", "is not understood"),
            ("numpý", "is not understood"),
            ("a\0", "is not understood"),
            ("$(id)", "is not understood"),
        ];
        for (entry, expected) in cases {
            let error = parse(&["fine", entry]).expect_err(entry);
            assert_eq!(error.code, ScriptErrorCode::InvalidRequest);
            let (message, start) = (&error.message, format!("pip_packages[1]: {entry:?} {expected}"));
            assert!(message.starts_with(&start), "{message}");
            assert!(message.contains("allowed is a name"), "{message}");
        }
        let twice = parse(&["Flask>1", "flask<3"]).unwrap_err().message;
        assert!(twice.starts_with("pip_packages[1]: flask is named twice"), "{twice}");
        let many = parse(&["a"; MAX_PACKAGES + 1]).unwrap_err().message;
        assert!(many.contains("at most 32"), "{many}");
        let long = parse(&[&"a".repeat(MAX_LENGTH + 1)]).unwrap_err().message;
        assert!(long.contains("at most 200"), "{long}");
    }

    /// Whatever comes in: what is accepted reads the same again, is an argument that pip cannot take for anything else,
    /// and holds none of the letters that a shell, a file system or a requirements file gives a meaning.
    #[test]
    fn t16_accepted_entries_are_harmless_and_stable() {
        let pieces = [
            "a", "B2", "-", "_", ".", "[", "]", ",", "=", "==", "<", ">", "~=", "!", "1", "1.0", "rc1", ".dev2", ".*",
            " ", "+", ";", "/", "@", "#", "\n", "é", "'", "\\",
        ];
        let (mut seed, mut accepted) = (7u64, 0);
        for _ in 0..200_000 {
            let mut entry = String::new();
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            for step in 0..1 + (seed >> 60) % 7 {
                entry += pieces[((seed >> (step * 8)) & 0xFF) as usize % pieces.len()];
            }
            let Ok(requirements) = parse(&[&entry]) else { continue };
            accepted += 1;
            let text = requirements.to_string();
            assert_eq!(parse(&[&text]).unwrap(), requirements, "{entry:?}");
            assert!(
                text.starts_with(|letter: char| letter.is_ascii_alphanumeric()),
                "{entry:?}"
            );
            let harmless = |letter: char| letter.is_ascii_alphanumeric() || "-.[],=<>~!*+".contains(letter);
            assert!(text.chars().all(harmless), "{entry:?}");
        }
        assert!(accepted > 1000, "{accepted}");
    }

    #[test]
    fn t16_an_allow_list_names_what_may_be_used() {
        let allow = Allow::parse(&["NumPy", "scikit_learn"]).unwrap();
        allow
            .check(&parse(&["numpy>1", "Scikit.Learn"]).unwrap(), "agent a")
            .unwrap();
        let error = allow
            .check(&parse(&["polars", "numpy", "os"]).unwrap(), "agent a")
            .unwrap_err();
        assert_eq!(error.code, ScriptErrorCode::PackagesRefused);
        assert_eq!(
            error.message,
            "pip_packages: not allowed: os, polars; agent a may use numpy, scikit-learn"
        );
        Allow::Any.check(&parse(&["os"]).unwrap(), "").unwrap();
        assert_eq!(Allow::parse(&["numpy", "*"]).unwrap(), Allow::Any);
        assert_eq!(Allow::parse::<&str>(&[]).unwrap().to_string(), "no package");
        assert!(Allow::parse(&["num*"]).unwrap_err().contains("\"num*\""));
    }
}
