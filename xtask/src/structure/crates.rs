//! What every crate may use and do.

use std::process::Command;

use serde_json::Value;

use super::{File, Tree};

/// A crate of the workspace and its rules.
struct Rules {
    name: &'static str,
    /// Crates of the workspace it may depend on.
    crates: &'static [&'static str],
    /// Crates of others it may depend on.
    external: &'static [&'static str],
    may: May,
}

/// What a crate may do apart from computing.
enum May {
    /// Nothing: no I/O, and `unsafe` is forbidden.
    Compute,
    /// I/O; `unsafe` in these modules and those in them.
    Act(&'static [&'static str]),
}

/// The architecture: a crate uses those above it, and `skep-kernel` and `skep-user` do not know each other.
#[rustfmt::skip]
const CRATES: &[Rules] = &[
    Rules { name: "skep-isa", crates: &[], external: &[], may: May::Compute },
    Rules { name: "skep-btf", crates: &["skep-isa"], external: &["memchr", "serde_json"], may: May::Compute },
    Rules { name: "skep-obj", crates: &["skep-isa", "skep-btf"], external: &["object"], may: May::Compute },
    Rules { name: "skep-cc", crates: &["skep-isa"], external: &["tempfile"], may: May::Act(&[]) },
    Rules {
        name: "skep-skel",
        crates: &["skep-isa", "skep-btf", "skep-obj", "skep-cc"],
        external: &[],
        may: May::Act(&[]),
    },
    Rules { name: "skep-runtime", crates: &["skep-isa", "skep-btf", "skep-obj"], external: &[], may: May::Compute },
    Rules { name: "skep-binary", crates: &["skep-runtime"], external: &["libc", "object"], may: May::Act(&[]) },
    Rules { name: "skep-verifier", crates: &["skep-isa", "skep-btf", "skep-obj"], external: &[], may: May::Compute },
    Rules {
        name: "skep-vm",
        crates: &["skep-isa", "skep-btf", "skep-obj", "skep-verifier"],
        external: &["cranelift-codegen", "cranelift-native", "libc", "rustix"],
        may: May::Act(&["clock", "direct", "jit/native", "memory"]),
    },
    Rules {
        name: "skep-user",
        crates: &["skep-isa", "skep-btf", "skep-obj", "skep-runtime", "skep-binary", "skep-verifier", "skep-vm"],
        external: &["iced-x86", "libc", "rustix", "sha2"],
        may: May::Act(&["sys"]),
    },
    Rules {
        name: "skep-kernel",
        crates: &["skep-isa", "skep-btf", "skep-obj", "skep-runtime", "skep-binary"],
        external: &["libc", "rustix"],
        may: May::Act(&["sys"]),
    },
    Rules {
        name: "skep-remote",
        crates: &["skep-isa", "skep-obj", "skep-runtime"],
        external: &["postcard", "rustix", "serde"],
        may: May::Act(&[]),
    },
    Rules {
        name: "skep",
        crates: &[
            "skep-isa", "skep-btf", "skep-obj", "skep-cc", "skep-runtime", "skep-verifier", "skep-vm", "skep-user",
            "skep-kernel",
        ],
        external: &["flate2", "memmap2", "rustix", "serde_json", "tokio"],
        may: May::Act(&["host/mapping"]),
    },
    Rules {
        name: "skep-cli",
        crates: &[
            "skep-isa", "skep-btf", "skep-obj", "skep-cc", "skep-runtime", "skep-binary", "skep-verifier", "skep-vm", "skep-user",
            "skep-kernel", "skep-remote", "skep", "skep-skel",
        ],
        external: &["clap", "clap_complete", "clap_mangen", "iced-x86", "mimalloc", "rustix", "serde_json", "signal-hook"],
        may: May::Act(&["memory"]),
    },
    Rules {
        name: "skep-fuzz",
        crates: &[
            "skep-isa", "skep-btf", "skep-obj", "skep-runtime", "skep-verifier", "skep-vm", "skep-user", "skep-kernel", "skep",
        ],
        external: &["rustix"],
        may: May::Act(&[]),
    },
    Rules { name: "bench-load", crates: &["skep", "skep-kernel"], external: &["rustix"], may: May::Act(&[]) },
    Rules { name: "execmon", crates: &["skep", "skep-skel"], external: &[], may: May::Act(&[]) },
    Rules {
        name: "xtask",
        crates: &["skep-isa", "skep-btf", "skep-obj", "skep-cc", "skep-runtime", "skep-verifier", "skep-vm", "skep-kernel", "skep"],
        external: &["object", "serde_json", "rustix"],
        may: May::Act(&[]),
    },
];

/// The crates that have `unsafe`, with the modules that it is in, as Rust names them.
pub(super) fn with_unsafe() -> impl Iterator<Item = (&'static str, Vec<String>)> {
    CRATES.iter().filter_map(|rules| match rules.may {
        May::Act(modules @ [_, ..]) => {
            Some((rules.name, modules.iter().map(|module| module.replace('/', "::")).collect()))
        }
        _ => None,
    })
}

/// Checks dependencies and `unsafe` of every crate.
pub(super) fn check(tree: &Tree) -> Result<Vec<String>, String> {
    let mut findings = Vec::new();
    for package in packages(tree)? {
        match CRATES.iter().find(|rules| rules.name == package.name) {
            Some(rules) => {
                findings.extend(check_dependencies(rules, &package));
                findings.extend(check_unsafe(rules, &package, tree));
            }
            None => findings.push(format!("{}: has no row in xtask/src/structure/crates.rs", package.name)),
        }
    }
    findings.extend(check_explanations(tree));
    Ok(findings)
}

/// A crate as cargo knows it.
pub(super) struct Package {
    pub(super) name: String,
    /// Its directory, from the root, with a `/` at the end.
    directory: String,
    /// What it needs to be built and to run; what only its tests need is its own affair.
    dependencies: Vec<String>,
}

/// The crates of the workspace.
pub(super) fn packages(tree: &Tree) -> Result<Vec<Package>, String> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(&tree.root)
        .output()
        .map_err(|e| format!("cannot run cargo: {e}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata failed:\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    let metadata: Value =
        serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata: {e}"))?;
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    packages.iter().map(|package| read_package(package, tree)).collect()
}

fn read_package(package: &Value, tree: &Tree) -> Result<Package, String> {
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or("cargo metadata: a name is missing");
    let manifest = text(&package["manifest_path"])?;
    let directory = manifest.trim_end_matches("Cargo.toml").trim_start_matches(&*tree.root.to_string_lossy());
    let dependencies = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
    let needed = dependencies.iter().filter(|dependency| dependency["kind"].as_str() != Some("dev"));
    Ok(Package {
        name: text(&package["name"])?,
        directory: directory.trim_start_matches('/').to_owned(),
        dependencies: needed.map(|dependency| text(&dependency["name"])).collect::<Result<_, _>>()?,
    })
}

fn check_dependencies(rules: &Rules, package: &Package) -> Vec<String> {
    let allowed = |name: &str| rules.crates.contains(&name) || rules.external.contains(&name);
    let forbidden = package.dependencies.iter().filter(|name| !allowed(name));
    forbidden
        .map(|name| format!("{}Cargo.toml: `{}` may not depend on `{name}`", package.directory, rules.name))
        .collect()
}

fn check_unsafe(rules: &Rules, package: &Package, tree: &Tree) -> Vec<String> {
    let source = format!("{}src/", package.directory);
    match rules.may {
        May::Compute => {
            let root = tree.file(&format!("{source}lib.rs"));
            let forbids = root.is_some_and(|file| file.text.contains("#![forbid(unsafe_code)]"));
            let finding = format!("{source}lib.rs: `#![forbid(unsafe_code)]` is missing");
            if forbids { Vec::new() } else { vec![finding] }
        }
        May::Act(modules) => {
            let files = tree.rust().filter(|file| file.path.starts_with(&source));
            let named = |file: &File| modules.iter().any(|module| is_in(&file.path[source.len()..], module));
            let others = files.filter(|file| !named(file));
            others.flat_map(unsafe_turned_on).collect()
        }
    }
}

/// Whether a file, from `src`, is a module's own or that of one in it.
fn is_in(file: &str, module: &str) -> bool {
    file.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// Lines that allow `unsafe`, which the workspace denies.
fn unsafe_turned_on(file: &File) -> Vec<String> {
    let is_attribute = |line: &str| line.trim_start().starts_with('#');
    let turns_on = |line: &str| line.contains("allow(unsafe_code") || line.contains("expect(unsafe_code");
    let lines = file.production().filter(|(_, line)| is_attribute(line) && turns_on(line));
    lines
        .map(|(number, _)| format!("{}:{number}: `unsafe` outside the modules named for it", file.path))
        .collect()
}

/// Every external dependency has a comment above it in the root manifest.
fn check_explanations(tree: &Tree) -> Vec<String> {
    let Some(manifest) = tree.file("Cargo.toml") else { return vec!["Cargo.toml: missing".to_owned()] };
    let lines: Vec<&str> = manifest.text.lines().collect();
    let start = lines.iter().position(|line| *line == "[workspace.dependencies]").unwrap_or(lines.len());
    let section = lines.iter().enumerate().skip(start + 1).take_while(|(_, line)| !line.starts_with('['));
    let external = section
        .filter(|(_, line)| line.contains(" = ") && !line.starts_with('#') && !line.contains("path = "));
    external
        .filter(|(index, _)| !lines[index - 1].starts_with('#'))
        .map(|(index, line)| format!("Cargo.toml:{}: no comment says what `{line}` is for", index + 1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[&str]) -> Package {
        Package {
            name: name.into(),
            directory: format!("crates/{name}/"),
            dependencies: dependencies.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn rules(name: &str) -> &'static Rules {
        CRATES.iter().find(|rules| rules.name == name).expect("a row of the table")
    }

    #[test]
    fn a_forbidden_dependency_is_found() {
        let check =
            |name, dependencies: &[&str]| check_dependencies(rules(name), &package(name, dependencies));
        assert!(check("skep-obj", &["skep-isa", "skep-btf", "object"]).is_empty());
        assert_eq!(
            check("skep-obj", &["skep-isa", "libc"]),
            ["crates/skep-obj/Cargo.toml: `skep-obj` may not depend on `libc`"]
        );
        assert_eq!(check("skep-user", &["skep-kernel"]).len(), 1);
        assert_eq!(check("skep-kernel", &["skep-vm", "skep-user"]).len(), 2);
    }

    #[test]
    fn every_row_uses_only_rows_above_it() {
        for (index, rules) in CRATES.iter().enumerate() {
            let above: Vec<&str> = CRATES[..index].iter().map(|rules| rules.name).collect();
            assert!(rules.crates.iter().all(|name| above.contains(name)), "{}", rules.name);
        }
    }

    #[test]
    fn unsafe_is_found_where_it_may_not_be() {
        let tree = Tree::of(&[
            ("crates/skep-isa/src/lib.rs", "//! Pure.\n#![forbid(unsafe_code)]\n"),
            ("crates/skep-btf/src/lib.rs", "//! Not.\n"),
            ("crates/skep-user/src/sys.rs", "#![expect(unsafe_code)]\n"),
            ("crates/skep-user/src/sys/time.rs", "#![expect(unsafe_code)]\n"),
            ("crates/skep-user/src/tracer.rs", "//! Sly.\n#[allow(unsafe_code)]\nfn f() {}\n"),
        ]);
        let check = |name| check_unsafe(rules(name), &package(name, &[]), &tree);
        assert!(check("skep-isa").is_empty());
        assert_eq!(check("skep-btf"), ["crates/skep-btf/src/lib.rs: `#![forbid(unsafe_code)]` is missing"]);
        assert_eq!(
            check("skep-user"),
            ["crates/skep-user/src/tracer.rs:2: `unsafe` outside the modules named for it"]
        );
    }

    #[test]
    fn a_dependency_without_a_sentence_is_found() {
        let manifest = "[workspace.dependencies]\nskep = { path = \"x\" }\n# Says why.\nlibc = \"1\"\nfoo = \"2\"\n[x]\ny = 1\n";
        let found = check_explanations(&Tree::of(&[("Cargo.toml", manifest)]));
        assert_eq!(found, ["Cargo.toml:5: no comment says what `foo = \"2\"` is for"]);
    }
}
