//! Scopes: what a tool, hook, prompt or handoff demands of a caller. Who holds which scope is the server's to say.

/// Scope that every caller holds.
pub const ALL: &str = "all";

/// Scopes of which a caller must hold one.
///
/// `all < owner < admin`: who holds one of these holds those below it. Any other name admits those who hold exactly it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope(Vec<String>);

impl Scope {
    /// Admits who holds any of `names`; nobody when there are none.
    pub fn any_of(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }

    /// Whether a caller who holds `held` is admitted.
    pub fn admits(&self, held: &str) -> bool {
        self.0.iter().any(|demanded| match level(demanded) {
            Some(demanded) => level(held).unwrap_or_default() >= demanded,
            None => demanded == held,
        })
    }
}

impl Default for Scope {
    fn default() -> Self {
        Self::any_of([ALL])
    }
}

/// A scope of its own name is above `all` alone, as `all` is.
fn level(name: &str) -> Option<u8> {
    match name {
        ALL => Some(0),
        "owner" => Some(1),
        "admin" => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&["all"], &["all", "owner", "admin", "billing"])]
    #[case(&["owner"], &["owner", "admin"])]
    #[case(&["admin"], &["admin"])]
    #[case(&["billing"], &["billing"])]
    #[case(&["billing", "admin"], &["billing", "admin"])]
    #[case(&["owner", "all"], &["all", "owner", "admin", "billing"])]
    #[case(&[], &[])]
    fn d6_a_scope_admits_who_holds_enough(#[case] demanded: &[&str], #[case] admitted: &[&str]) {
        let scope = Scope::any_of(demanded.iter().copied());
        for held in ["all", "owner", "admin", "billing"] {
            assert_eq!(scope.admits(held), admitted.contains(&held), "{demanded:?} {held:?}");
        }
        assert!(
            !Scope::any_of(["owner"]).admits("Owner"),
            "a name that only looks like a level is none"
        );
    }
}
