//! What becomes of every system call, on each architecture that the supervisor has a filter for: decided by the very
//! programs that its kernel would be given, and by names from the kernel's own tables. `UPDATE=1` rewrites the golden files.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
};

use syscalls::{aarch64, x86_64};

use crate::python;

/// Puts up both layers for each architecture, and prints the programs instead of giving them to this kernel.
const SOURCE: &str = concat!(
    include_str!("../../python/settings.py"),
    include_str!("../../python/walls.py"),
    r#"
import json

LANDLOCK, programs = 0, {}


def install_filter(*tables):
    programs[machine].append(filter_program(*tables).hex())


def prctl(*_):
    return 0


for (machine, _), ARCHITECTURE in ARCHITECTURES.items():
    programs[machine] = []
    harden(SETTINGS)
    confine()
print(json.dumps(programs))
"#
);

/// How the kernel calls the architectures, and 32-bit ARM and x86, whose programs run on them, too.
const AUDIT_X86_64: u32 = 0xC000_003E;
const AUDIT_AARCH64: u32 = 0xC000_00B7;
const AUDIT_I386: u32 = 0x4000_0003;
const AUDIT_ARM: u32 = 0x4000_0028;
/// The first call of x32, another set on x86_64.
const X32: u32 = 0x4000_0000;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
/// The first number that none of the supervisor's tables knows.
const FIRST_UNKNOWN: u32 = 470;

/// One architecture: its name, the kernel's number for it, and the names of its calls.
type Architecture = (&'static str, u32, fn(u32) -> Option<&'static str>);

const ARCHITECTURES: [Architecture; 2] = [
    ("x86_64", AUDIT_X86_64, |number| {
        Some(x86_64::Sysno::new(number as usize)?.name())
    }),
    ("aarch64", AUDIT_AARCH64, |number| {
        Some(aarch64::Sysno::new(number as usize)?.name())
    }),
];

/// What a filter sees of a call. It looks at 32 bits of an argument.
#[derive(Clone, Copy)]
struct Call {
    audit: u32,
    number: u32,
    arguments: [u32; 3],
}

/// What becomes of a call. The more it is restricted, the less it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Killed,
    Fails(u32),
    Allowed,
}

/// The filters of a script's process, in the order in which they were put up.
struct Filters(Vec<Vec<u8>>);

impl Filters {
    /// By architecture.
    fn of(place: &str) -> BTreeMap<String, Self> {
        let printed = python(SOURCE, &[place], Path::new("/"));
        let programs: BTreeMap<String, Vec<String>> = serde_json::from_str(&printed).unwrap();
        let bytes = |hex: &String| -> Vec<u8> {
            let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
            digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
        };
        let filters = programs.into_iter();
        filters
            .map(|(name, all)| (name, Self(all.iter().map(bytes).collect())))
            .collect()
    }

    /// As the kernel decides: what restricts most; of two errors that of the newer filter.
    fn judge(&self, call: Call) -> Verdict {
        let kind = |verdict: &Verdict| match verdict {
            Verdict::Fails(_) => Verdict::Fails(0),
            other => *other,
        };
        let newest_first = self.0.iter().rev().map(|program| run(program, call));
        newest_first.min_by_key(kind).unwrap()
    }
}

/// Runs a program of classic BPF, as far as filters use it.
fn run(program: &[u8], call: Call) -> Verdict {
    let (mut at, mut value) = (0, 0);
    loop {
        let step = &program[8 * at..8 * at + 8];
        let code = u16::from_ne_bytes([step[0], step[1]]);
        let operand = u32::from_ne_bytes([step[4], step[5], step[6], step[7]]);
        let jump = |condition: bool| usize::from(step[if condition { 2 } else { 3 }]);
        at += 1;
        match code {
            0x20 => {
                value = match operand {
                    0 => call.number,
                    4 => call.audit,
                    offset => call.arguments[(offset as usize - 16) / 8],
                }
            }
            0x54 => value &= operand,
            0x15 => at += jump(value == operand),
            0x35 => at += jump(value >= operand),
            0x06 => {
                return match operand {
                    0x8000_0000 => Verdict::Killed,
                    0x7FFF_0000 => Verdict::Allowed,
                    error => Verdict::Fails(error - 0x0005_0000),
                };
            }
            other => unreachable!("{other:#x} is no instruction that a filter here has"),
        }
    }
}

/// What may become of a call of this number, whatever its arguments.
fn verdicts(filters: &Filters, audit: u32, number: u32) -> BTreeSet<Verdict> {
    let values = [0, 1, u32::MAX];
    let pairs = values.into_iter().flat_map(|a| values.map(|b| (a, b)));
    let all = pairs.flat_map(|(a, b)| values.map(|c| [a, b, c]));
    all.map(|arguments| {
        filters.judge(Call {
            audit,
            number,
            arguments,
        })
    })
    .collect()
}

fn in_words(verdicts: &BTreeSet<Verdict>) -> String {
    let word = |verdict: &Verdict| match verdict {
        Verdict::Killed => "killed".to_owned(),
        Verdict::Fails(0) => "ignored".to_owned(),
        Verdict::Fails(EPERM) => "EPERM".to_owned(),
        Verdict::Fails(ENOSYS) => "ENOSYS".to_owned(),
        Verdict::Fails(other) => format!("error {other}"),
        Verdict::Allowed => "allowed".to_owned(),
    };
    verdicts.iter().map(word).collect::<Vec<_>>().join(" or ")
}

#[test]
fn t17_the_same_calls_are_refused_on_every_architecture() {
    for place in ["pod", "local"] {
        let filters = Filters::of(place);
        assert_eq!(filters.len(), ARCHITECTURES.len(), "an architecture without a test");
        let mut table: BTreeMap<&str, [String; 2]> = BTreeMap::new();
        for (column, (name, audit, name_of)) in ARCHITECTURES.into_iter().enumerate() {
            for number in 0..FIRST_UNKNOWN {
                let verdicts = verdicts(&filters[name], audit, number);
                match name_of(number) {
                    Some(call) => table.entry(call).or_default()[column] = in_words(&verdicts),
                    None => assert_eq!(in_words(&verdicts), "allowed", "{name}: {number} is no call"),
                }
            }
        }
        let mut text = format!("{:<24} {:<18} aarch64\n", "call", "x86_64");
        for (call, [one, other]) in &table {
            if [one, other]
                .iter()
                .any(|words| !matches!(words.as_str(), "" | "allowed"))
            {
                let shown = |words: &String| {
                    if words.is_empty() {
                        "-".to_owned()
                    } else {
                        words.clone()
                    }
                };
                text += &format!("{call:<24} {:<18} {}\n", shown(one), shown(other));
            }
            let both_have_it = !one.is_empty() && !other.is_empty();
            assert!(!both_have_it || one == other, "{call}: {one}, but {other} on aarch64");
        }
        golden(&format!("filter-{place}.txt"), &text);
    }
}

#[test]
fn t17_whoever_comes_from_elsewhere_is_killed_and_whatever_is_new_is_not_there() {
    for place in ["pod", "local"] {
        for (name, filters) in Filters::of(place) {
            let (own, others) = match name.as_str() {
                "x86_64" => (AUDIT_X86_64, [AUDIT_I386, AUDIT_AARCH64]),
                _ => (AUDIT_AARCH64, [AUDIT_ARM, AUDIT_X86_64]),
            };
            let judge = |audit, number| {
                filters.judge(Call {
                    audit,
                    number,
                    arguments: [0; 3],
                })
            };
            for (audit, number) in others
                .into_iter()
                .flat_map(|audit| [(audit, 0), (audit, 39), (audit, FIRST_UNKNOWN)])
            {
                assert_eq!(
                    judge(audit, number),
                    Verdict::Killed,
                    "{place} {name}: {audit:#x} {number}"
                );
            }
            let x32 = if name == "x86_64" {
                Verdict::Killed
            } else {
                Verdict::Fails(ENOSYS)
            };
            assert_eq!(judge(own, X32 | 39), x32, "{place} {name}");
            for number in [FIRST_UNKNOWN, 1000, X32 - 1] {
                assert_eq!(judge(own, number), Verdict::Fails(ENOSYS), "{place} {name}: {number}");
            }
        }
    }
}

#[test]
fn t17_arguments_that_would_lead_out_are_refused_and_all_others_are_not() {
    const NEWUSER: u32 = 0x1000_0000;
    const NEWCGROUP: u32 = 0x0200_0000;
    /// Threads and `vfork` share memory and more, and are no namespaces.
    const THREAD: u32 = 0x003D_0F00;
    let cases: [(&str, [u32; 3], bool, bool); 25] = [
        // Call, arguments, whether it is allowed in a pod, and on one machine.
        ("socket", [1, 1, 0], true, false),
        ("socket", [2, 1, 0], false, false),
        ("socket", [10, 2, 0], false, false),
        ("socket", [16, 3, 0], false, false),
        ("socket", [40, 1, 0], false, false),
        ("socketpair", [1, 1, 0], true, true),
        ("socketpair", [1, 1 | 0o2_000_000, 0], true, true),
        ("socketpair", [1, 2, 0], true, false),
        ("socketpair", [2, 1, 0], false, false),
        ("clone", [17, 0, 0], true, true),
        ("clone", [THREAD, 0, 0], true, true),
        ("clone", [17 | NEWUSER, 0, 0], false, false),
        ("clone", [17 | NEWCGROUP, 0, 0], false, false),
        ("mknodat", [0, 0, 0o010_600], true, true),
        ("mknodat", [0, 0, 0o020_600], false, false),
        ("mknodat", [0, 0, 0o060_600], false, false),
        ("prlimit64", [0, 7, 0], true, true),
        ("prlimit64", [1, 7, 0], false, false),
        ("setpriority", [0, 0, 5], true, true),
        ("setpriority", [0, 1, 5], false, false),
        ("setpriority", [2, 0, 5], false, false),
        ("ioprio_set", [1, 0, 0], true, true),
        ("ioprio_set", [1, 1, 0], false, false),
        ("sched_setaffinity", [0, 8, 0], true, true),
        ("sched_setaffinity", [1, 8, 0], false, false),
    ];
    for (place, local) in [("pod", false), ("local", true)] {
        let filters = Filters::of(place);
        for (name, audit, name_of) in ARCHITECTURES {
            for (call, arguments, in_a_pod, on_one_machine) in cases {
                let number = (0..FIRST_UNKNOWN)
                    .find(|&number| name_of(number) == Some(call))
                    .unwrap();
                let verdict = filters[name].judge(Call {
                    audit,
                    number,
                    arguments,
                });
                let allowed = if local { on_one_machine } else { in_a_pod };
                let expected = if allowed {
                    Verdict::Allowed
                } else {
                    Verdict::Fails(EPERM)
                };
                assert_eq!(verdict, expected, "{place} {name}: {call}{arguments:?}");
            }
        }
    }
}

fn golden(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/supervisor")
        .join(file);
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, text).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == text,
        "{} differs; UPDATE=1 rewrites it, `git diff` shows what changed",
        path.display()
    );
}
