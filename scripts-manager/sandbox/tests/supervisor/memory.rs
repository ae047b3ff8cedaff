//! Whose memory ran out is the kernel's to say, in the files of two kinds of control groups.

use std::fs;

use tempfile::TempDir;

use crate::python;

/// The kernel's files are those below a directory of the test. `COUNT` is where the count is, if it is anywhere.
const SOURCE: &str = concat!(
    "import os, sys\nLOCAL = sys.argv[1] == 'local'\n",
    include_str!("../../python/memory.py"),
    r#"
def below(function):
    return lambda path, *arguments: function(sys.argv[2] + path, *arguments)


open, os.open = below(open), below(os.open)
kills = KillCount()
print(kills.killed(False), kills.killed(True))
if sys.argv[3]:
    with open(sys.argv[3], "r+") as file:
        text = file.read().replace("oom_kill 3", "oom_kill 4")
        file.seek(0)
        file.write(text)
print(kills.killed(False), kills.killed(True))
"#
);

const EVENTS: &str = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 3\noom_group_kill 9\n";
const CONTROL: &str = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";

#[test]
fn t17_the_kernels_count_of_kills_is_read_from_both_kinds_of_control_groups() {
    let v1 = "9:name=systemd:/\n4:cpuset,memory:/pods/one\n0::/\n";
    // Place, /proc/self/cgroup, the file with the count, and what is said before and after one more kill.
    let cases = [
        (
            "pod",
            "0::/\n",
            "/sys/fs/cgroup/memory.events",
            EVENTS,
            "False False\nTrue True\n",
        ),
        (
            "pod",
            "0::/pods/one\n",
            "/sys/fs/cgroup/pods/one/memory.events",
            EVENTS,
            "False False\nTrue True\n",
        ),
        // A container sees its own group as the root.
        (
            "pod",
            "0::/pods/one\n",
            "/sys/fs/cgroup/memory.events",
            EVENTS,
            "False False\nTrue True\n",
        ),
        (
            "pod",
            v1,
            "/sys/fs/cgroup/memory/memory.oom_control",
            CONTROL,
            "False False\nTrue True\n",
        ),
        (
            "pod",
            v1,
            "/sys/fs/cgroup/memory/pods/one/memory.oom_control",
            CONTROL,
            "False False\nTrue True\n",
        ),
        // Others may be in the group of a process of one machine: a kill is the script's if it was killed.
        (
            "local",
            "0::/user\n",
            "/sys/fs/cgroup/user/memory.events",
            EVENTS,
            "False False\nFalse True\n",
        ),
        // Nobody says: a kill that nobody ordered was one for memory.
        ("pod", "0::/\n", "", "", "False True\nFalse True\n"),
    ];
    for (place, groups, file, text, expected) in cases {
        let root = TempDir::new().unwrap();
        for (path, text) in [("/proc/self/cgroup", groups), (file, text)] {
            let path = root.path().join(path.trim_start_matches('/'));
            if path != root.path() {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
        }
        let said = python(SOURCE, &[place, root.path().to_str().unwrap(), file], root.path());
        assert_eq!(said, expected, "{place} {groups:?} {file}");
    }
}
