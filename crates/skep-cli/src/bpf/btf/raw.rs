//! Types as records: one line each, or one JSON object.

use skep::btf::{Btf, Enum, Int, Linkage, Shape, Type, TypeId};

use super::super::failure::Outcome;
use super::super::json::Json;

/// Writes types, with everything that their records hold.
pub(crate) struct Raw<'a> {
    pub(crate) json: &'a mut Json,
    pub(crate) is_json: bool,
    pub(crate) btf: &'a Btf,
}

/// What a name is shown as that is none.
const ANONYMOUS: &str = "(anon)";

impl Raw<'_> {
    /// All own types, or those with these ids.
    pub(crate) fn write(&mut self, roots: &[TypeId]) -> Outcome {
        if self.is_json {
            self.json.begin_object();
            self.json.name("types");
            self.json.begin_array();
        }
        let btf = self.btf;
        if roots.is_empty() {
            for ty in btf.types_from(btf.first_id()) {
                self.one(&ty?)?;
            }
        }
        for &root in roots {
            self.one(&btf.type_by_id(root)?)?;
        }
        if self.is_json {
            self.json.end_array();
            self.json.end_object();
        }
        Ok(())
    }

    fn one(&mut self, ty: &Type<'_>) -> Outcome {
        let kind = ty.kind().to_string().to_uppercase();
        if self.is_json {
            self.json.begin_object();
            self.json.unsigned_field("id", ty.id.0);
            self.json.string_field("kind", &kind);
            self.json.string_field("name", shown(ty.name));
        } else {
            self.json.text(format_args!("[{}] {kind} '{}'", ty.id, shown(ty.name)));
        }
        self.shape(ty)?;
        if self.is_json {
            self.json.end_object();
        } else {
            self.json.text(format_args!("\n"));
        }
        Ok(())
    }

    fn shape(&mut self, ty: &Type<'_>) -> Outcome {
        match ty.shape {
            Shape::Int(int) => self.int(int),
            Shape::Ptr(to)
            | Shape::Typedef(to)
            | Shape::Volatile(to)
            | Shape::Const(to)
            | Shape::Restrict(to) => {
                self.number("type_id", to.0);
            }
            Shape::TypeTag { ty: to, .. } => self.number("type_id", to.0),
            Shape::Array(array) => {
                self.number("type_id", array.elem.0);
                self.number("index_type_id", array.index.0);
                self.number("nr_elems", array.len);
            }
            Shape::Struct(record) | Shape::Union(record) => return self.record(record),
            Shape::Enum(values) => return self.values(values, false),
            Shape::Enum64(values) => return self.values(values, true),
            Shape::Fwd { union } => self.word("fwd_kind", if union { "union" } else { "struct" }),
            Shape::Func { proto, linkage } => {
                self.number("type_id", proto.0);
                self.word("linkage", linkage_word(linkage));
            }
            Shape::FuncProto(proto) => return self.proto(proto),
            Shape::Var { ty: to, linkage } => {
                if self.is_json {
                    self.number("type_id", to.0);
                } else {
                    self.json.text(format_args!(" type_id={},", to.0));
                }
                self.word("linkage", linkage_word(linkage));
            }
            Shape::Datasec(section) => return self.section(section),
            Shape::Float { bytes } => self.number("size", bytes),
            Shape::DeclTag { ty: to, component, .. } => {
                self.number("type_id", to.0);
                let component = component.map_or(-1, i64::from);
                if self.is_json {
                    self.json.name("component_idx");
                    self.json.signed(component);
                } else {
                    self.json.text(format_args!(" component_idx={component}"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn number(&mut self, name: &str, number: u32) {
        if self.is_json {
            self.json.unsigned_field(name, number);
        } else {
            self.json.text(format_args!(" {name}={number}"));
        }
    }

    fn word(&mut self, name: &str, word: &str) {
        if self.is_json {
            self.json.string_field(name, word);
        } else {
            self.json.text(format_args!(" {name}={word}"));
        }
    }

    fn int(&mut self, int: Int) {
        self.number("size", int.bytes);
        self.number("bits_offset", int.bit_offset.into());
        self.number("nr_bits", int.bits.into());
        let encoding = match (int.encoding.signed, int.encoding.char, int.encoding.bool) {
            (false, false, false) => "(none)",
            (true, false, false) => "SIGNED",
            (false, true, false) => "CHAR",
            (false, false, true) => "BOOL",
            _ => "UNKN",
        };
        self.word("encoding", encoding);
    }

    /// Begins a list of `name`, or, in text, says how many there are.
    fn list(&mut self, name: &str, count: usize, each: &mut dyn FnMut(&mut Self) -> Outcome) -> Outcome {
        self.number("vlen", u32::try_from(count).unwrap_or(u32::MAX));
        if self.is_json {
            self.json.name(name);
            self.json.begin_array();
        }
        each(self)?;
        if self.is_json {
            self.json.end_array();
        }
        Ok(())
    }

    /// One of a list: its name, then what `fields` writes.
    fn item(&mut self, name: Option<&str>, fields: &mut dyn FnMut(&mut Self)) {
        if self.is_json {
            self.json.begin_object();
            if let Some(name) = name {
                self.json.string_field("name", shown(name));
            }
            fields(self);
            self.json.end_object();
        } else {
            match name {
                Some(name) => self.json.text(format_args!("\n\t'{}'", shown(name))),
                None => self.json.text(format_args!("\n\t")),
            }
            fields(self);
        }
    }

    fn record(&mut self, record: skep::btf::Composite<'_>) -> Outcome {
        self.number("size", record.bytes);
        self.list("members", record.members.len(), &mut |raw| {
            for member in record.members.iter() {
                let member = member?;
                raw.item(Some(member.name), &mut |raw| {
                    raw.number("type_id", member.ty.0);
                    raw.number("bits_offset", member.bit_offset);
                    if member.bitfield_bits > 0 {
                        raw.number("bitfield_size", member.bitfield_bits.into());
                    }
                });
            }
            Ok(())
        })
    }

    fn values(&mut self, values: Enum<'_>, is_wide: bool) -> Outcome {
        self.word("encoding", if values.signed { "SIGNED" } else { "UNSIGNED" });
        self.number("size", values.bytes);
        self.list("values", values.values.len(), &mut |raw| {
            for value in values.values.iter() {
                let value = value?;
                raw.item(Some(value.name), &mut |raw| {
                    if raw.is_json {
                        raw.json.name("val");
                        raw.json.raw(&json_value(value.value, is_wide || values.signed).to_string());
                    } else {
                        let suffix = match (is_wide, values.signed) {
                            (false, _) => "",
                            (true, true) => "LL",
                            (true, false) => "ULL",
                        };
                        raw.json.text(format_args!(" val={}{suffix}", value.value));
                    }
                });
            }
            Ok(())
        })
    }

    fn proto(&mut self, proto: skep::btf::Proto<'_>) -> Outcome {
        self.number("ret_type_id", proto.ret.0);
        self.list("params", proto.params.len(), &mut |raw| {
            for param in proto.params.iter() {
                let param = param?;
                raw.item(Some(param.name), &mut |raw| raw.number("type_id", param.ty.0));
            }
            Ok(())
        })
    }

    fn section(&mut self, section: skep::btf::Datasec<'_>) -> Outcome {
        self.number("size", section.bytes);
        self.list("vars", section.vars.len(), &mut |raw| {
            for var in section.vars.iter() {
                let var = var?;
                let to = raw.btf.type_by_id(var.ty)?;
                let (kind, name) = (to.kind().to_string().to_uppercase(), to.name.to_owned());
                raw.item(None, &mut |raw| {
                    if raw.is_json {
                        raw.number("type_id", var.ty.0);
                    } else {
                        raw.json.text(format_args!("type_id={}", var.ty));
                    }
                    raw.number("offset", var.offset);
                    raw.number("size", var.bytes);
                    if !raw.is_json && !name.is_empty() {
                        raw.json.text(format_args!(" ({kind} '{name}')"));
                    }
                });
            }
            Ok(())
        })
    }
}

/// The records of narrow enumerations hold a signed word, which bpftool's JSON widens as one in those without a sign, too:
/// scripts that compare get the same number from both.
fn json_value(value: i128, is_exact: bool) -> i128 {
    match is_exact {
        true => value,
        false => (value as i32 as i64 as u64).into(),
    }
}

fn shown(name: &str) -> &str {
    if name.is_empty() { ANONYMOUS } else { name }
}

fn linkage_word(linkage: Linkage) -> &'static str {
    match linkage {
        Linkage::Static => "static",
        Linkage::Global => "global",
        Linkage::Extern => "extern",
        Linkage::Other(_) => "(unknown)",
    }
}
