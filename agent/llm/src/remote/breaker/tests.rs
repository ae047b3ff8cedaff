//! Stories of endpoints, told to the state machine.

use super::*;

enum Step {
    /// At this second, admitted or refused for so many seconds.
    Admit(u64, Result<(), u64>),
    Succeed,
    Fail(u64),
    Abandon(u64),
}

/// What happens, step by step, and what it shows.
fn stories() -> Vec<(&'static str, Vec<Step>)> {
    use Step::*;
    let failing = |times: usize| std::iter::repeat_with(|| Fail(0)).take(times).collect::<Vec<_>>();
    let then = |mut steps: Vec<Step>, more: Vec<Step>| {
        steps.extend(more);
        steps
    };
    vec![
        ("few failures change nothing", then(failing(4), vec![Admit(0, Ok(()))])),
        (
            "a success forgets failures",
            then(failing(4), vec![Succeed, Fail(0), Admit(0, Ok(()))]),
        ),
        (
            "the fifth opens",
            then(failing(5), vec![Admit(0, Err(5)), Admit(4, Err(1))]),
        ),
        (
            "late failures do not prolong it",
            then(failing(9), vec![Admit(0, Err(5))]),
        ),
        (
            "one request finds out, others wait",
            then(
                failing(5),
                vec![Admit(5, Ok(())), Admit(5, Err(5)), Succeed, Admit(5, Ok(()))],
            ),
        ),
        (
            "each failed attempt doubles the pause",
            then(
                failing(5),
                vec![
                    Admit(5, Ok(())),
                    Fail(6),
                    Admit(6, Err(10)),
                    Admit(16, Ok(())),
                    Fail(16),
                    Admit(16, Err(20)),
                ],
            ),
        ),
        (
            "an attempt that ends without a verdict lets the next one try",
            then(
                failing(5),
                vec![
                    Admit(5, Ok(())),
                    Abandon(6),
                    Admit(6, Ok(())),
                    Fail(6),
                    Admit(6, Err(10)),
                ],
            ),
        ),
        (
            "the pause has a bound",
            then(
                failing(5),
                (1..9)
                    .flat_map(|round| [Admit(round * 100, Ok(())), Fail(round * 100)])
                    .chain([Admit(800, Err(60))])
                    .collect(),
            ),
        ),
    ]
}

#[test]
fn an_endpoint_that_fails_is_left_alone_and_then_asked_once() {
    use Step::*;
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    for (name, steps) in stories() {
        let mut breaker = Breaker::default();
        for step in steps {
            match step {
                Admit(second, expected) => {
                    assert_eq!(
                        breaker.admit(at(second)),
                        expected.map_err(Duration::from_secs),
                        "{name}"
                    );
                }
                Succeed => breaker.succeed(),
                Fail(second) => breaker.fail(at(second)),
                Abandon(second) => breaker.abandon(at(second)),
            }
        }
    }
}

#[test]
fn a_pass_that_is_dropped_lets_the_next_one_try() {
    let now = Instant::now();
    let pause = FIRST_PAUSE;
    let gate = Gate(Mutex::new(Breaker::Open { until: now, pause }));
    let pass = gate.admit().unwrap();
    assert!(gate.admit().is_err());
    drop(pass);
    gate.admit().unwrap().close(Verdict::Works);
    assert_eq!(*gate.lock(), Breaker::default());
}
