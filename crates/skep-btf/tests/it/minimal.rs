//! The part of a target's types that an object needs answers its relocations as the whole does.

use std::sync::Arc;

use skep_btf::core::{Minimal, Relo, ReloKind, Resolver};

use crate::relos::fixture;

#[test]
fn the_part_answers_as_the_whole() {
    let (local, ext, target) = fixture();
    let targets = [target];
    let mut minimal = Minimal::new(&targets);
    minimal.add(&local, &ext).unwrap();
    let part = [Arc::new(minimal.finish().unwrap().finish_btf(None).unwrap())];
    assert!(part[0].len() < targets[0].len(), "{} of {}", part[0].len(), targets[0].len());
    let (mut by_whole, mut by_part) = (Resolver::new(&local, &targets), Resolver::new(&local, &part));
    let mut compared = 0;
    for record in ext.core_relos().flat_map(|group| group.records().collect::<Vec<_>>()) {
        let relo = Relo::read(&local, &record).unwrap();
        let (whole, part) = (by_whole.resolve(&relo).unwrap(), by_part.resolve(&relo).unwrap());
        let describe = relo.describe(&local);
        // Ids of types are those of the types that are asked.
        if relo.kind != ReloKind::TypeIdTarget {
            assert_eq!(
                (whole.orig, whole.new, whole.access),
                (part.orig, part.new, part.access),
                "{describe}"
            );
        }
        assert_eq!(whole.missing.is_some(), part.missing.is_some(), "{describe}");
        compared += 1;
    }
    assert!(compared > 20, "only {compared} relocations");
}

#[test]
fn nothing_is_kept_for_nothing() {
    let (_, _, target) = fixture();
    let part = Minimal::new(&[target]).finish().unwrap().finish_btf(None).unwrap();
    assert!(part.is_empty());
}
