//! Programs, maps and variables as the fields of the two structures of a skeleton.

use std::collections::HashSet;
use std::fmt::Write as _;

use skep_btf::{Result, TypeId};
use skep_isa::uapi::MapType;
use skep_obj::map::MapKind;
use skep_obj::{MapDef, Object, Variable};

use super::keyword_free;
use super::types::Types;

/// What a skeleton has fields for.
pub(super) struct Members {
    programs: Vec<Part>,
    maps: Vec<Part>,
    sections: Vec<Section>,
}

/// A program or a map: its field, its number in the object and, for maps, its type.
struct Part {
    field: String,
    name: String,
    number: usize,
    ty: String,
}

/// The variables of a section.
struct Section {
    field: String,
    name: String,
    is_constant: bool,
    variables: Vec<Field>,
}

struct Field {
    field: String,
    name: String,
    ty: String,
}

/// Names of fields, each once.
#[derive(Default)]
struct Names(HashSet<String>);

impl Names {
    fn take(&mut self, wanted: &str) -> String {
        let base = keyword_free(wanted);
        let mut name = base.clone();
        let mut number = 1;
        while !self.0.insert(name.clone()) {
            number += 1;
            name = format!("{base}_{number}");
        }
        name
    }
}

impl Members {
    pub(super) fn of(object: &Object, types: &mut Types<'_>) -> Result<Self> {
        let mut names = Names::default();
        let program = |(number, program): (usize, &skep_obj::Program)| Part {
            field: names.take(&program.name),
            name: program.name.clone(),
            number,
            ty: "Program".to_owned(),
        };
        let programs = object.programs.iter().enumerate().map(program).collect();
        let mut names = Names::default();
        let mut sections_names = Names::default();
        ["opened", "loaded", "programs", "maps", "links", "structs"].iter().for_each(|name| {
            sections_names.take(name);
        });
        let (mut maps, mut sections) = (Vec::new(), Vec::new());
        for (number, map) in object.maps.iter().enumerate() {
            match map.kind {
                MapKind::User | MapKind::Arena | MapKind::StructOps => {
                    let ty = map_type(map, types)?;
                    maps.push(Part { field: names.take(&map.name), name: map.name.clone(), number, ty });
                }
                _ => sections.extend(Section::of(object, number, map, &mut sections_names, types)?),
            }
        }
        Ok(Self { programs, maps, sections })
    }

    /// Writes both structures with their functions.
    pub(super) fn write(&self, out: &mut String, name: &str, camel: &str) {
        self.parts(out);
        self.open(out, name, camel);
        self.loaded(out, camel);
    }

    /// The structures that fields are grouped in.
    fn parts(&self, out: &mut String) {
        structure(
            out,
            "What is said of programs before they are loaded.",
            "ProgramOptions",
            &self.programs,
            |_| "::skep::typed::ProgramOptions".to_owned(),
        );
        structure(out, "What is said of maps before they are created.", "MapOptions", &self.maps, |_| {
            "::skep::typed::MapOptions".to_owned()
        });
        structure(out, "The programs.", "Programs", &self.programs, |_| "::skep::typed::Program".to_owned());
        structure(out, "The maps.", "Maps", &self.maps, |map| map.ty.clone());
        structure(out, "What holds programs to their hooks.", "Links", &self.programs, |_| {
            "Vec<::skep::runtime::Link>".to_owned()
        });
        for section in &self.sections {
            section.write(out);
        }
    }

    fn open(&self, out: &mut String, name: &str, camel: &str) {
        let _ = write!(
            out,
            "/// The object before it is loaded.\n#[derive(Clone, Debug)]\npub struct Open{camel} {{\n    opened: ::skep::typed::Opened,\n    \
             /// Options of its programs.\n    pub programs: ProgramOptions,\n    /// Options of its maps.\n    pub maps: MapOptions,\n"
        );
        for section in &self.sections {
            let _ = writeln!(
                out,
                "    /// Variables of `{}`.\n    pub {}: {},",
                section.name,
                section.field,
                section.values()
            );
        }
        let _ = write!(
            out,
            "}}\n\nimpl Open{camel} {{\n    /// The object with all the options and values that its source gives it.\n    \
             pub fn new() -> ::skep::Result<Self> {{\n        let opened = ::skep::typed::Opened::read(OBJECT, \"{name}.bpf.o\")?;\n        Ok(Self {{\n"
        );
        initial(out, "programs", "ProgramOptions", &self.programs, "program");
        initial(out, "maps", "MapOptions", &self.maps, "map");
        for section in &self.sections {
            let _ = writeln!(out, "            {}: {} {{", section.field, section.values());
            for variable in &section.variables {
                let _ = writeln!(
                    out,
                    "                {}: opened.variable(\"{}\"),",
                    variable.field, variable.name
                );
            }
            out.push_str("            },\n");
        }
        let _ = write!(
            out,
            "            opened,\n        }})\n    }}\n\n    /// The object itself, for what has no field here.\n    \
             pub fn object(&mut self) -> &mut ::skep::object::Object {{\n        self.opened.object()\n    }}\n\n    \
             /// Loads the object into a runtime.\n    \
             pub fn load(self, runtime: &::skep::runtime::SharedRuntime) -> ::skep::Result<{camel}> {{\n        \
             self.load_with(runtime, &::skep::load::Options::default())\n    }}\n\n    \
             /// Loads the object as the options say.\n    \
             pub fn load_with(mut self, runtime: &::skep::runtime::SharedRuntime, options: &::skep::load::Options) -> ::skep::Result<{camel}> {{\n"
        );
        for Part { field, number, .. } in &self.programs {
            let _ = writeln!(out, "        self.opened.set_program({number}, &self.programs.{field})?;");
        }
        for Part { field, number, .. } in &self.maps {
            let _ = writeln!(out, "        self.opened.set_map({number}, &self.maps.{field});");
        }
        for section in &self.sections {
            for variable in &section.variables {
                let _ = writeln!(
                    out,
                    "        self.opened.set_variable(\"{}\", &self.{}.{})?;",
                    variable.name, section.field, variable.field
                );
            }
        }
        let _ = write!(out, "        Ok({camel}::new(self.opened.load(runtime, options)?))\n    }}\n}}\n\n");
    }

    fn loaded(&self, out: &mut String, camel: &str) {
        let _ = write!(
            out,
            "/// The object in a runtime. Dropping it detaches and unloads what is not pinned.\n#[derive(Debug)]\npub struct {camel} {{\n    \
             /// Its programs.\n    pub programs: Programs,\n    /// Its maps.\n    pub maps: Maps,\n    \
             /// What holds its programs to their hooks.\n    pub links: Links,\n    \
             /// `struct_ops` structures that the kernel uses.\n    pub structs: Vec<::skep::load::Attached>,\n"
        );
        for section in &self.sections {
            let _ = writeln!(
                out,
                "    /// Variables of `{}`.\n    pub {}: {},",
                section.name,
                section.field,
                section.variables()
            );
        }
        let _ = write!(
            out,
            "    loaded: ::std::sync::Arc<::skep::Loaded>,\n}}\n\nimpl {camel} {{\n    \
             fn new(loaded: ::std::sync::Arc<::skep::Loaded>) -> Self {{\n        Self {{\n            programs: Programs {{\n"
        );
        for Part { field, number, .. } in &self.programs {
            let _ = writeln!(out, "                {field}: ::skep::typed::Program::new(&loaded, {number}),");
        }
        out.push_str("            },\n            maps: Maps {\n");
        for Part { field, number, ty, .. } in &self.maps {
            let constructor = ty.split('<').next().unwrap_or(ty);
            let _ = writeln!(out, "                {field}: {constructor}::new(&loaded, {number}),");
        }
        out.push_str(
            "            },\n            links: Links::default(),\n            structs: Vec::new(),\n",
        );
        for section in &self.sections {
            let _ = writeln!(out, "            {}: {} {{", section.field, section.variables());
            for variable in &section.variables {
                let _ = writeln!(
                    out,
                    "                {}: {}::new(&loaded, \"{}\"),",
                    variable.field,
                    section.kind(),
                    variable.name
                );
            }
            out.push_str("            },\n");
        }
        out.push_str(
            "            loaded,\n        }\n    }\n\n    /// Attaches every program that names a hook, and every `struct_ops` structure.\n    \
             pub fn attach(&mut self) -> ::skep::Result<()> {\n",
        );
        for Part { field, .. } in &self.programs {
            let _ = writeln!(
                out,
                "        if self.programs.{field}.is_loaded() {{\n            self.links.{field} = self.programs.{field}.attach()?;\n        }}"
            );
        }
        out.push_str(
            "        self.structs = self.loaded.attach_structs()?;\n        Ok(())\n    }\n\n    /// Detaches everything.\n    \
             pub fn detach(&mut self) {\n        self.links = Links::default();\n        self.structs.clear();\n    }\n\n    \
             /// The loaded object itself, for what has no field here.\n    pub fn loaded(&self) -> &::std::sync::Arc<::skep::Loaded> {\n        \
             &self.loaded\n    }\n}\n\n",
        );
    }
}

impl Section {
    /// The variables of a map that other objects can see and that have types; `None` if there are none.
    fn of(
        object: &Object,
        number: usize,
        map: &MapDef,
        names: &mut Names,
        types: &mut Types<'_>,
    ) -> Result<Option<Self>> {
        let mut found: Vec<&Variable> = object
            .variables
            .iter()
            .filter(|variable| variable.map == number && variable.global && variable.type_id.is_some())
            .collect();
        found.sort_by_key(|variable| variable.offset);
        let mut fields = Names::default();
        let mut variables = Vec::new();
        for variable in found {
            let id = variable.type_id.unwrap_or(TypeId::VOID);
            let ty = types.outside(id, variable.size, &variable.name)?;
            variables.push(Field { field: fields.take(&variable.name), name: variable.name.clone(), ty });
        }
        let Some(name) = object.variables.iter().find(|v| v.map == number).map(|v| v.section.clone()) else {
            return Ok(None);
        };
        if variables.is_empty() {
            return Ok(None);
        }
        let is_constant = map.is_frozen();
        Ok(Some(Self { field: names.take(name.trim_start_matches('.')), name, is_constant, variables }))
    }

    /// The structure of values before loading.
    fn values(&self) -> String {
        format!("{}Values", super::camel_case(self.field.trim_start_matches("r#")))
    }

    /// The structure of variables afterwards.
    fn variables(&self) -> String {
        format!("{}Variables", super::camel_case(self.field.trim_start_matches("r#")))
    }

    fn kind(&self) -> &'static str {
        if self.is_constant { "::skep::typed::Constant" } else { "::skep::typed::Variable" }
    }

    fn write(&self, out: &mut String) {
        let _ = writeln!(
            out,
            "/// Values that the variables of `{}` begin with.\n#[derive(Clone, Debug)]\npub struct {} {{",
            self.name,
            self.values()
        );
        for Field { field, ty, .. } in &self.variables {
            let _ = writeln!(out, "    pub {field}: {ty},");
        }
        let _ = writeln!(
            out,
            "}}\n\n/// The variables of `{}`.\n#[derive(Clone, Debug)]\npub struct {} {{",
            self.name,
            self.variables()
        );
        for Field { field, ty, .. } in &self.variables {
            let _ = writeln!(out, "    pub {field}: {}<{ty}>,", self.kind());
        }
        out.push_str("}\n\n");
    }
}

/// A structure with a field for each part.
fn structure(out: &mut String, doc: &str, name: &str, parts: &[Part], ty: impl Fn(&Part) -> String) {
    let derives = match name {
        "Links" => "Debug, Default",
        _ => "Clone, Debug",
    };
    let _ = writeln!(out, "/// {doc}\n#[derive({derives})]\npub struct {name} {{");
    for part in parts {
        let _ = writeln!(out, "    /// `{}`.\n    pub {}: {},", part.name, part.field, ty(part));
    }
    out.push_str("}\n\n");
}

/// The options that the object gives its parts.
fn initial(out: &mut String, field: &str, structure: &str, parts: &[Part], of: &str) {
    let _ = writeln!(out, "            {field}: {structure} {{");
    for Part { field, number, .. } in parts {
        let _ = writeln!(out, "                {field}: opened.{of}({number}),");
    }
    out.push_str("            },\n");
}

/// The type of a map's field.
fn map_type(map: &MapDef, types: &mut Types<'_>) -> Result<String> {
    let mut key = || types.outside(map.key_type, map.key_size, &format!("{}_key", map.name));
    let generic = match map.map_type {
        MapType::RINGBUF | MapType::PERF_EVENT_ARRAY => return Ok("::skep::typed::Buffer".to_owned()),
        MapType::USER_RINGBUF => return Ok("::skep::typed::UserBuffer".to_owned()),
        MapType::PROG_ARRAY => return Ok("::skep::typed::Programs".to_owned()),
        MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS => {
            return Ok(format!("::skep::typed::Maps<{}>", key()?));
        }
        MapType::QUEUE | MapType::STACK => {
            return Ok(format!("::skep::typed::Queue<{}>", value(map, types)?));
        }
        MapType::PERCPU_HASH | MapType::PERCPU_ARRAY | MapType::LRU_PERCPU_HASH => "PerCpuMap",
        MapType::HASH
        | MapType::ARRAY
        | MapType::LRU_HASH
        | MapType::LPM_TRIE
        | MapType::DEVMAP
        | MapType::DEVMAP_HASH
        | MapType::CPUMAP
        | MapType::XSKMAP
        | MapType::SOCKMAP
        | MapType::SOCKHASH
        | MapType::REUSEPORT_SOCKARRAY
        | MapType::CGROUP_ARRAY
        | MapType::SK_STORAGE
        | MapType::INODE_STORAGE
        | MapType::TASK_STORAGE
        | MapType::CGRP_STORAGE
        | MapType::CGROUP_STORAGE => "Map",
        _ => return Ok("::skep::typed::OtherMap".to_owned()),
    };
    let key = key()?;
    Ok(format!("::skep::typed::{generic}<{key}, {}>", value(map, types)?))
}

fn value(map: &MapDef, types: &mut Types<'_>) -> Result<String> {
    types.outside(map.value_type, map.value_size, &format!("{}_value", map.name))
}
