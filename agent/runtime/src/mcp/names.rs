//! Names under which the tools of an MCP server are offered: `{server}__{tool}`, as far as OpenAI's rule allows.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
};

/// OpenAI: at most 64 letters, digits, `_` and `-`.
const LONGEST: usize = 64;

/// Names for `tools`, in their order, no two the same.
pub(super) fn offered<'a>(server: &str, tools: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut taken = HashSet::new();
    tools
        .map(|tool| {
            let full = format!("{server}__{tool}");
            let plain: String = full.chars().map(allowed).collect();
            let name = if plain.len() <= LONGEST && !taken.contains(&plain) {
                plain
            } else {
                distinct(&full, &plain)
            };
            taken.insert(name.clone());
            name
        })
        .collect()
}

fn allowed(letter: char) -> char {
    if letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-') {
        letter
    } else {
        '_'
    }
}

/// The beginning of the name and a hash of all of it, the same in every process.
fn distinct(full: &str, plain: &str) -> String {
    let mut hasher = DefaultHasher::new();
    full.hash(&mut hasher);
    let hash = format!("_{:08x}", hasher.finish() & 0xffff_ffff);
    format!("{}{hash}", &plain[..plain.len().min(LONGEST - hash.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t5_names_are_allowed_and_distinct() {
        let long = "t".repeat(80);
        let names = offered("time.zones", ["get_time", "a b", "a.b", "größe", &long].into_iter());
        assert_eq!(names[..2], ["time_zones__get_time", "time_zones__a_b"]);
        assert!(names[2].starts_with("time_zones__a_b_"), "{names:?}");
        assert_eq!(names[3], "time_zones__gr__e");
        assert_eq!(names[4].len(), LONGEST);
        assert!(
            names
                .iter()
                .all(|name| name.len() <= LONGEST && name.chars().all(|c| allowed(c) == c))
        );
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    }
}
