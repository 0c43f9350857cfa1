//! The groups of tests. A new group is one entry of [`GROUPS`].

use crate::setup::Need;

/// Tests that run together and need the same things.
pub(crate) struct Group {
    /// What one types.
    pub(crate) name: &'static str,
    /// One line for the usage text.
    pub(crate) about: &'static str,
    /// The packages whose tests these are.
    pub(crate) packages: &'static [&'static str],
    /// Where they run.
    pub(crate) system: System,
    /// The one test program of the package that this group is. It belongs to another group too, and a run of all
    /// groups leaves it to that one.
    pub(crate) part: Option<&'static str>,
    /// What must be there before they run.
    pub(crate) needs: &'static [Need],
}

/// The system for which a group's tests are built, and on which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// This one.
    Here,
    /// Windows, by way of Wine.
    Windows,
}

/// In the order in which they run.
pub(crate) const GROUPS: &[Group] = &[
    Group {
        name: "tools",
        about: "what the other tests stand on: the test kit, this program, the benchmarks' parts",
        packages: &["dotpipe-testkit", "xtask", "dotpipe-bench"],
        system: System::Here,
        part: None,
        needs: &[],
    },
    Group {
        name: "library",
        about: "the library, its examples and documentation",
        packages: &["dotpipe"],
        system: System::Here,
        part: None,
        needs: &[Need::STRACE],
    },
    Group {
        name: "conformance",
        about: "the library's behaviour against docs/conformance.md, with counts per status",
        packages: &["dotpipe"],
        system: System::Here,
        part: Some("conformance"),
        needs: &[],
    },
    Group {
        name: "ring",
        about: "the shared-memory ring: against a queue, a lying peer, another process, kills; loom's models",
        packages: &["dotpipe-ring"],
        system: System::Here,
        part: None,
        needs: &[],
    },
    Group {
        name: "cli",
        about: "the command line",
        packages: &["dotpipe-cli"],
        system: System::Here,
        part: None,
        needs: &[],
    },
    Group {
        name: "interop",
        about: "against real .NET 3.1 and .NET 8, Python, Node and socat",
        packages: &["dotpipe-interop"],
        system: System::Here,
        part: None,
        needs: &[Need::PYTHON, Need::NODE, Need::SOCAT, Need::Dotnet],
    },
    Group {
        name: "windows",
        about: "the library and its test kit for Windows, under Wine",
        packages: &["dotpipe", "dotpipe-testkit"],
        system: System::Windows,
        part: None,
        needs: &[Need::Windows],
    },
];

/// The packages that have models for loom, in `tests/loom.rs`.
pub(crate) const MODELLED: &[&str] = &["dotpipe-ring"];

/// The groups that together run every test once.
pub(crate) fn whole() -> Vec<&'static Group> {
    GROUPS.iter().filter(|group| group.part.is_none()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn here() -> impl Iterator<Item = &'static Group> {
        whole().into_iter().filter(|group| group.system == System::Here)
    }

    /// Without this a new crate's tests would silently never run.
    #[test]
    fn every_package_of_the_workspace_is_in_exactly_one_group_for_this_system() {
        let root = crate::root();
        let crates = fs::read_dir(root.join("crates")).unwrap();
        let folders = fs::read_dir(&root)
            .unwrap()
            .chain(crates)
            .map(|entry| entry.unwrap().path());
        let mut found = 0;
        for manifest in folders
            .map(|folder| folder.join("Cargo.toml"))
            .filter(|path| path.is_file())
        {
            let text = fs::read_to_string(&manifest).unwrap();
            // A workspace of its own, such as the fuzz targets', whose bodies run as tests elsewhere.
            if root.join("Cargo.toml") != manifest && text.contains("\n[workspace]\n") {
                continue;
            }
            let name = text
                .lines()
                .find_map(|line| line.strip_prefix("name = "))
                .unwrap()
                .trim_matches('"');
            let count = here().filter(|group| group.packages.contains(&name)).count();
            assert_eq!(count, 1, "package {name} is in {count} groups");
            found += 1;
        }
        assert_eq!(found, here().map(|group| group.packages.len()).sum::<usize>());
    }
}
