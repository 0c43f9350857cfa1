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
    /// What must be there before they run.
    pub(crate) needs: &'static [Need],
}

/// In the order in which they run.
pub(crate) const GROUPS: &[Group] = &[
    Group {
        name: "tools",
        about: "what the other tests stand on: the test kit, this program, the benchmarks' parts",
        packages: &["dotpipe-testkit", "xtask", "dotpipe-bench"],
        needs: &[],
    },
    Group {
        name: "library",
        about: "the library, its examples and documentation",
        packages: &["dotpipe"],
        needs: &[],
    },
    Group {
        name: "cli",
        about: "the command line",
        packages: &["dotpipe-cli"],
        needs: &[],
    },
    Group {
        name: "interop",
        about: "against real .NET 3.1 and .NET 8, Python, Node and socat",
        packages: &["dotpipe-interop"],
        needs: &[Need::PYTHON, Need::NODE, Need::SOCAT, Need::Dotnet],
    },
];

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Without this a new crate's tests would silently never run.
    #[test]
    fn every_package_of_the_workspace_is_in_exactly_one_group() {
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
            let name = text
                .lines()
                .find_map(|line| line.strip_prefix("name = "))
                .unwrap()
                .trim_matches('"');
            let count = GROUPS.iter().filter(|group| group.packages.contains(&name)).count();
            assert_eq!(count, 1, "package {name} is in {count} groups");
            found += 1;
        }
        assert_eq!(found, GROUPS.iter().map(|group| group.packages.len()).sum::<usize>());
    }
}
