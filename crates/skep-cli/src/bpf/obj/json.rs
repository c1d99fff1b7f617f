//! An object as JSON.

use skep::object::{MapDef, Object};

use super::super::json::Json;
use super::File;
use super::text::{count_types, extern_kind, type_name};

/// Writes all of it as one document.
pub(super) fn show(json: &mut Json, file: &File) {
    let object = &file.object;
    json.begin_object();
    json.string_field("file", &file.name);
    json.unsigned_field("bytes", file.bytes as u64);
    json.string_field("license", &object.license);
    list(json, "sections", &file.sections, |json, section| {
        json.string_field("name", &section.name);
        json.string_field("kind", section.kind);
        json.unsigned_field("bytes", section.bytes);
        json.unsigned_field("relocations", section.relocations as u64);
        json.unsigned_field("functions", section.functions as u64);
    });
    functions(json, object);
    list(json, "maps", &object.maps, |json, map| write_map(json, object, map));
    list(json, "variables", &object.variables, |json, variable| {
        json.string_field("name", &variable.name);
        json.string_field("section", &variable.section);
        json.unsigned_field("offset", variable.offset);
        json.unsigned_field("bytes", variable.size);
        json.bool_field("global", variable.global);
        if let Some(name) = variable.type_id.and_then(|id| type_name(object, id)) {
            json.string_field("type", &name);
        }
    });
    list(json, "externs", &object.externs, |json, wanted| {
        json.string_field("name", &wanted.name);
        json.string_field("kind", extern_kind(&wanted.kind));
        json.bool_field("weak", wanted.weak);
    });
    types(json, object);
    json.end_object();
}

fn list<T>(json: &mut Json, name: &str, items: &[T], each: impl Fn(&mut Json, &T)) {
    json.name(name);
    json.begin_array();
    for item in items {
        json.begin_object();
        each(json, item);
        json.end_object();
    }
    json.end_array();
}

fn functions(json: &mut Json, object: &Object) {
    let all = object.functions();
    let (programs, others): (Vec<_>, Vec<_>) = all.iter().partition(|function| function.is_program);
    for (name, functions) in [("programs", programs), ("functions", others)] {
        list(json, name, &functions, |json, function| {
            json.string_field("name", function.name);
            json.string_field("section", function.section);
            json.string_field("linkage", function.linkage);
            json.unsigned_field("insns", function.insns.len() as u64);
            if let Some(program) = object.program(function.name).filter(|_| function.is_program) {
                json.string_field("type", &program.prog_type.to_string());
                if let Some(attach_type) = program.expected_attach_type {
                    json.string_field("attach_type", &attach_type.to_string());
                }
                json.bool_field("sleepable", program.sleepable());
                json.bool_field("autoload", program.autoload);
            }
            list(json, "relocations", &function.references, |json, reference| {
                json.unsigned_field("insn", reference.insn as u64);
                json.string_field("kind", reference.kind);
                json.string_field("to", &reference.name);
            });
        });
    }
}

fn write_map(json: &mut Json, object: &Object, map: &MapDef) {
    json.string_field("name", &map.name);
    json.string_field("type", &map.map_type.to_string());
    json.unsigned_field("bytes_key", map.key_size);
    json.unsigned_field("bytes_value", map.value_size);
    json.unsigned_field("max_entries", map.max_entries);
    json.unsigned_field("flags", map.map_flags);
    for (name, id) in [("key_type", map.key_type), ("value_type", map.value_type)] {
        if let Some(text) = type_name(object, id) {
            json.string_field(name, &text);
        }
    }
    if let Some(inner) = &map.inner {
        json.name("inner_map");
        json.begin_object();
        write_map(json, object, inner);
        json.end_object();
    }
    json.bool_field("autocreate", map.autocreate);
}

fn types(json: &mut Json, object: &Object) {
    json.name("types");
    match count_types(object) {
        Ok(Some(counts)) => {
            json.begin_object();
            counts.iter().for_each(|(kind, count)| json.unsigned_field(kind, *count as u64));
            json.end_object();
        }
        _ => json.null(),
    }
}
