//! The chain of agents through whose hands a request has come. Pure.

/// Agents that a request may come through.
const LONGEST: usize = 8;

/// The chain of a request that `this` agent, which was asked through `before`, hands to `next`.
///
/// # Errors
/// In words that name the chain, when it would be a circle or too long.
pub(super) fn extend(before: &[String], this: &str, next: &str) -> Result<Vec<String>, String> {
    let mut chain = before.to_vec();
    chain.push(this.to_owned());
    let whole = || format!("{} → {next}", chain.join(" → "));
    if chain.iter().any(|agent| agent == next) {
        return Err(format!(
            "it is in this chain of handoffs already: {}; answer without it, or ask somebody else",
            whole()
        ));
    }
    if chain.len() > LONGEST {
        return Err(format!(
            "a chain of more than {LONGEST} handoffs is not allowed: {}; answer without it",
            whole()
        ));
    }
    Ok(chain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d4_a_circle_and_an_endless_chain_are_named() {
        let names = |names: &str| names.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let seven = "s t u v w x y";
        for (before, this, next, expected) in [
            ("", "a", "b", Ok("a")),
            ("a b", "c", "d", Ok("a b c")),
            (seven, "z", "a", Ok("s t u v w x y z")),
            ("a b", "c", "a", Err("a → b → c → a")),
            ("", "a", "a", Err("a → a")),
            (
                "r s t u v w x y",
                "z",
                "a",
                Err("r → s → t → u → v → w → x → y → z → a"),
            ),
        ] {
            match (extend(&names(before), this, next), expected) {
                (Ok(chain), Ok(expected)) => assert_eq!(chain, names(expected)),
                (Err(error), Err(expected)) => assert!(error.contains(expected), "{error}"),
                (found, expected) => panic!("{before} {this} {next}: {found:?}, not {expected:?}"),
            }
        }
    }
}
