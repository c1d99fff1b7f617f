//! The running kernel's types.

use std::sync::Arc;

use skep_btf::{Btf, Kind, TypeId};

/// The kernel's types; `None`, with the reason printed, where there are none.
fn vmlinux() -> Option<Btf> {
    match std::fs::read("/sys/kernel/btf/vmlinux") {
        Ok(bytes) => Some(Btf::parse(Arc::new(bytes)).expect("the kernel's BTF has a valid header")),
        Err(error) => {
            eprintln!("skipped: /sys/kernel/btf/vmlinux: {error}");
            None
        }
    }
}

#[test]
fn task_struct_is_found_with_its_members() {
    let Some(btf) = vmlinux() else { return };
    let id = btf.find("task_struct", Kind::Struct).expect("every kernel has tasks");
    let ty = btf.type_by_id(id).unwrap();
    assert_eq!(ty.name, "task_struct");
    let names: Vec<_> = ty.composite().unwrap().members.iter().map(|member| member.unwrap().name).collect();
    for name in ["pid", "tgid", "comm", "real_parent"] {
        assert!(names.contains(&name), "`{name}` is not a member of `struct task_struct`");
    }
    assert_eq!(btf.pointer_bytes() as usize, size_of::<usize>());
}

#[test]
fn every_type_reads_completely() {
    let Some(btf) = vmlinux() else { return };
    let mut count = 1;
    for ty in btf.types() {
        let ty = ty.unwrap();
        assert_eq!(btf.type_by_id(ty.id).unwrap().name, ty.name);
        if let Some(composite) = ty.composite() {
            assert!(composite.members.iter().all(|member| member.is_ok()), "type {}", ty.id);
        }
        count += 1;
    }
    assert_eq!(count, btf.len());
}

#[test]
fn a_missing_name_is_not_found() {
    let Some(btf) = vmlinux() else { return };
    assert_eq!(btf.find("no_such_struct_anywhere", Kind::Struct), None);
    assert_eq!(btf.find("task_struct", Kind::Union), None);
}

#[test]
fn many_look_ups_find_what_one_finds() {
    let Some(btf) = vmlinux() else { return };
    let mut first = std::collections::HashMap::new();
    for ty in btf.types().map(Result::unwrap).filter(|ty| !ty.name.is_empty()) {
        first.entry((ty.name, ty.kind())).or_insert(ty.id);
    }
    let wrong = first.iter().find(|((name, kind), id)| btf.find(name, *kind) != Some(**id));
    assert_eq!(wrong, None, "of {} names", first.len());
    for _ in 0..20 {
        assert_eq!(btf.find("no_such_struct_anywhere", Kind::Struct), None);
        assert_eq!(btf.find("no_such_function_anywhere", Kind::Func), None);
        assert_eq!(btf.find("", Kind::Struct), None);
    }
}

#[test]
fn threads_read_the_same_types_at_once() {
    let Some(btf) = vmlinux() else { return };
    let count = btf.types().count();
    let fresh = vmlinux().expect("it was there a moment ago");
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let (btf, fresh) = (&btf, &fresh);
            scope.spawn(move || {
                // Each begins somewhere else, so that they race for the blocks of the index.
                for step in 0..2000 {
                    let id = TypeId((thread * 31_337 + step * 7_919) % count as u32 + 1);
                    assert_eq!(fresh.name(id), btf.name(id));
                }
            });
        }
    });
    assert_eq!(fresh.len(), btf.len());
}
