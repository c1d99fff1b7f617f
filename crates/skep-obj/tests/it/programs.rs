//! Programs, subprograms, variables: what an object says, and what linking makes of it.

use skep_btf::{Kind, Linkage, Shape};
use skep_isa::uapi::{MapType, ProgType};
use skep_obj::{AttachPoint, ErrorKind, LinkedProgram, MapKind, Object, Target};

use crate::fixture::{link, object};

const CALL: u8 = 0x85;
const LD_IMM64: u8 = 0x18;

#[test]
fn a_context_says_the_type() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/xdp-filter.bpf.o");
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let filter = Object::read(&bytes, "xdp-filter.bpf.o").expect("an object");
    assert_eq!(filter.type_by_context(&filter.programs[0]), Some(ProgType::XDP));
    let untyped = object("programs");
    assert_eq!(untyped.type_by_context(&untyped.programs[3]), None);
}

#[test]
fn object_says_what_it_holds() {
    let object = object("programs");
    assert_eq!((object.name.as_str(), object.license.as_str()), ("programs", "Dual MIT/GPL"));
    assert_eq!(object.kern_version, 0x60c00);
    let programs: Vec<_> =
        object.programs.iter().map(|p| (p.name.as_str(), p.prog_type, p.autoload)).collect();
    let expected = [
        ("on_open", ProgType::TRACEPOINT, true),
        ("on_exit", ProgType::TRACEPOINT, true),
        ("off", ProgType::RAW_TRACEPOINT, false),
        ("misspelt", ProgType::UNSPEC, true),
    ];
    assert_eq!(programs, expected);
    let error = object.programs[3].section_error.as_ref().expect("the section is unknown");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("unknown section `tracepont/oops/nowhere`"), "{error}");
    assert!(error.advice().is_some_and(|hint| hint.contains("tracepoint/oops/nowhere")), "{error:?}");
}

#[test]
fn maps_of_variables_are_named_as_libbpf_names_them() {
    let object = object("programs");
    let mut maps: Vec<_> = object.maps.iter().map(|m| (m.name.as_str(), m.kind, m.map_flags)).collect();
    maps.sort_by_key(|m| m.0);
    let expected = [
        (".data.custom", MapKind::Data, 0x400),
        ("counts", MapKind::User, 0),
        ("programs.bss", MapKind::Bss, 0x400),
        ("programs.data", MapKind::Data, 0x400),
        ("programs.rodata", MapKind::Rodata, 0x480),
    ];
    assert_eq!(maps, expected);
    let counts = object.map("counts").expect("the map");
    assert_eq!(
        (counts.map_type, counts.key_size, counts.value_size, counts.max_entries),
        (MapType::HASH, 4, 8, 128)
    );
}

#[test]
fn variables_have_places_and_values() {
    let mut object = object("programs");
    let value = |name: &str, object: &Object| object.variable_bytes(name).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(value("limit", &object), 7u32.to_le_bytes());
    assert_eq!(value("greeting", &object), b"hello\0");
    assert_eq!(value("total", &object), 5u64.to_le_bytes());
    assert_eq!(value("calls", &object), [0; 8]);
    assert!(!object.variable("hidden_count").expect("a static variable").global);
    assert!(!object.variable("shadow").expect("a hidden variable").global);

    object.set_variable_bytes("limit", &9u32.to_le_bytes()).expect("it fits");
    object.set_variable_bytes("calls", &1u64.to_le_bytes()).expect("it fits");
    let linked = link(&object, &Target::default());
    for name in ["limit", "calls"] {
        let variable = object.variable(name).expect("it exists");
        assert_ne!(linked.maps[variable.map].data[variable.offset as usize], 0);
    }

    let error = object.set_variable_bytes("limit", &[1, 2]).expect_err("too short");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("`limit`: 2 bytes do not fit a variable of 4"), "{error}");
    let error = object.variable("limits").expect_err("no such variable");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(
        error.advice().is_some_and(|hint| hint.contains("calls, custom, greeting, limit, total")),
        "{error:?}"
    );
}

/// First slots of the functions that calls and function addresses lead to, in the order of the code.
fn callees(program: &LinkedProgram) -> Vec<usize> {
    let local = |code: u8, src: u8| (code == CALL && src == 1) || (code == LD_IMM64 && src == 4);
    let insns = program.insns.iter().enumerate().filter(|(_, i)| local(i.code, i.src().0));
    insns.map(|(at, insn)| (at as i64 + i64::from(insn.imm) + 1) as usize).collect()
}

#[test]
fn programs_bring_the_functions_they_call() {
    let object = object("programs");
    let linked = link(&object, &Target::default());
    let program = |name: &str| linked.programs.iter().find(|p| p.name == name).expect(name);
    for (name, functions) in [("on_open", 4), ("on_exit", 5), ("off", 1)] {
        let program = program(name);
        assert_eq!(program.result, Ok(()), "{name}");
        let starts: Vec<_> = program.func_info.iter().map(|info| info.insn as usize).collect();
        assert_eq!(starts.len(), functions, "{name}");
        for callee in callees(program) {
            assert!(starts.contains(&callee), "{name}: {callee} is none of {starts:?}");
        }
        assert_eq!(program.func_info_bytes().len(), functions * 8);
        assert!(!program.line_info_bytes().is_empty());
    }
    assert!(matches!(program("on_open").attach, AttachPoint::Tracepoint { .. }));
    let error = program("misspelt").result.clone().expect_err("its type is unknown");
    assert!(
        error.to_string().starts_with("programs.bpf.o: section `tracepont/oops/nowhere`: `misspelt`: "),
        "{error}"
    );
}

#[test]
fn references_name_maps_and_offsets() {
    let object = object("programs");
    let linked = link(&object, &Target::default());
    let program = &linked.programs[0];
    let mut named: Vec<_> = program
        .map_refs
        .iter()
        .map(|reference| {
            let (first, second) = (program.insns[reference.insn], program.insns[reference.insn + 1]);
            assert_eq!((first.code, first.imm as usize), (LD_IMM64, reference.map));
            assert_eq!(first.src().0, if reference.value_off.is_some() { 6 } else { 5 });
            assert_eq!(second.imm as u32, reference.value_off.unwrap_or(0));
            let inside =
                |v: &&skep_obj::Variable| v.map == reference.map && Some(v.offset) == reference.value_off;
            match object.variables.iter().find(inside) {
                Some(variable) => variable.name.as_str(),
                None => linked.maps[reference.map].name.as_str(),
            }
        })
        .collect();
    named.sort_unstable();
    named.dedup();
    assert_eq!(named, ["calls", "counts", "greeting", "hidden_count", "limit", "shadow", "total"]);
}

#[test]
fn hidden_functions_are_verified_with_their_callers() {
    let linked = link(&object("programs"), &Target::default());
    let btf = linked.btf.expect("types");
    let linkage = |name: &str| {
        let id = btf.find(name, Kind::Func).expect(name);
        match btf.type_by_id(id).expect(name).shape {
            Shape::Func { linkage, .. } => linkage,
            other => panic!("{name}: {other:?}"),
        }
    };
    assert_eq!(linkage("covert"), Linkage::Static);
    assert_eq!(linkage("leaf"), Linkage::Global);
}

#[test]
fn instructions_lead_to_source_lines() {
    let linked = link(&object("programs"), &Target::default());
    let program = &linked.programs[0];
    let first = program.source_line(0).expect("the first instruction has a line");
    assert!(first.file.ends_with("programs.bpf.c"), "{first}");
    let lines: Vec<_> = (0..program.insns.len()).filter_map(|insn| program.source_line(insn)).collect();
    assert_eq!(lines.len(), program.insns.len());
    // The functions linked in have theirs.
    assert!(lines.iter().any(|line| line.text.contains("hidden_count += x")), "{lines:#?}");
}
