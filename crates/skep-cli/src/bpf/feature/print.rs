//! What was found out about features, in bpftool's three forms: text, JSON, and macros for C.

use skep::features::Support;

use super::super::json::Json;

/// Writes in one of the forms.
pub(super) struct Printer<'a> {
    pub(super) json: &'a mut Json,
    form: Form,
}

/// How it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Json,
    /// With this in front of every name.
    Macros(String),
}

impl<'a> Printer<'a> {
    pub(super) fn new(json: &'a mut Json, is_json: bool, macros: Option<String>) -> Self {
        let form = match macros {
            _ if is_json => Form::Json,
            Some(prefix) => Form::Macros(prefix),
            None => Form::Text,
        };
        Self { json, form }
    }

    pub(super) fn is_json(&self) -> bool {
        self.form == Form::Json
    }

    pub(super) fn is_macros(&self) -> bool {
        matches!(self.form, Form::Macros(_))
    }

    pub(super) fn begin(&mut self) {
        if self.is_json() {
            self.json.begin_object();
        }
    }

    pub(super) fn end(&mut self) {
        if self.is_json() {
            self.json.end_object();
        }
    }

    /// Begins a section: its name in JSON, and its titles elsewhere.
    pub(super) fn section(&mut self, name: &str, title: &str, comment: &str) {
        match self.form {
            Form::Json => {
                self.json.name(name);
                self.json.begin_object();
            }
            Form::Text => self.json.text(format_args!("{title}\n")),
            Form::Macros(_) => self.json.text(format_args!("/*** {comment} ***/\n")),
        }
    }

    pub(super) fn end_section(&mut self) {
        if self.is_json() {
            self.json.end_object();
        } else {
            self.json.text(format_args!("\n"));
        }
    }

    /// One feature. What may not be found out is `null` in JSON, and no macro.
    pub(super) fn feature(&mut self, field: &str, plain: &str, define: &str, support: &Support) {
        match (&self.form, support) {
            (Form::Json, Support::Unknown(_)) => {
                self.json.name(field);
                self.json.null();
            }
            (Form::Json, support) => self.json.bool_field(field, support.is_yes()),
            (Form::Macros(_), Support::Unknown(reason)) => {
                self.json.text(format_args!("/* {define}: {} */\n", one_line(reason)));
            }
            (Form::Macros(prefix), support) => {
                let no = if support.is_yes() { "" } else { "NO_" };
                self.json.text(format_args!("#define {prefix}{no}HAVE_{define}\n"));
            }
            (Form::Text, Support::Yes) => self.json.text(format_args!("{plain} is available\n")),
            (Form::Text, Support::No(_)) => self.json.text(format_args!("{plain} is NOT available\n")),
            (Form::Text, Support::Unknown(reason)) => {
                self.json.text(format_args!("{plain} may be available: {}\n", one_line(reason)));
            }
        }
    }

    /// A type of programs, maps or hooks: `eBPF map_type hash`, `have_hash_map_type`, `HASH_MAP_TYPE`.
    pub(super) fn typed(&mut self, noun: &str, suffix: &str, name: &str, support: &Support) {
        let define = format!("{}_{}", name.to_uppercase(), suffix.to_uppercase());
        self.feature(&format!("have_{name}_{suffix}"), &format!("eBPF {noun} {name}"), &define, support);
    }

    pub(super) fn number(&mut self, field: &str, plain: &str, define: &str, unit: &str, number: Option<u32>) {
        match (&self.form, number) {
            (Form::Json, Some(number)) => self.json.unsigned_field(field, number),
            (Form::Json, None) => {
                self.json.name(field);
                self.json.null();
            }
            (Form::Macros(prefix), Some(number)) => {
                self.json.text(format_args!("#define {prefix}{define} {number}\n"));
            }
            (Form::Macros(_), None) => {}
            (Form::Text, Some(number)) => self.json.text(format_args!("{plain} is {number} {unit}\n")),
            (Form::Text, None) => self.json.text(format_args!("{plain} cannot be found out\n")),
        }
    }

    /// How C asks whether a program may call a helper.
    pub(super) fn helper_macro(&mut self) {
        let Form::Macros(p) = &self.form else { return };
        self.json.text(format_args!(
            "/* {p}HAVE_PROG_TYPE_HELPER(xdp, bpf_redirect) is 1 where XDP programs may call the helper, else 0. */\n\
             #define {p}HAVE_PROG_TYPE_HELPER(prog_type, helper)\t\\\n\
             \t{p}BPF__PROG_TYPE_ ## prog_type ## __HELPER_ ## helper\n"
        ));
    }

    /// The helpers of one type of programs.
    pub(super) fn helpers<'h>(
        &mut self,
        prog_type: &str,
        is_supported: bool,
        answers: impl Iterator<Item = (&'h str, bool)>,
    ) {
        match self.form {
            Form::Json => {
                self.json.name(&format!("{prog_type}_available_helpers"));
                self.json.begin_array();
            }
            Form::Text => {
                self.json.text(format_args!("eBPF helpers supported for program type {prog_type}:"));
            }
            Form::Macros(_) => {}
        }
        let mut any = false;
        for (helper, is_there) in answers {
            any |= is_there;
            match &self.form {
                Form::Json if is_there => self.json.string(helper),
                Form::Text if is_there => self.json.text(format_args!("\n\t- {helper}")),
                Form::Macros(prefix) => {
                    let value = u8::from(is_there);
                    self.json.text(format_args!(
                        "#define {prefix}BPF__PROG_TYPE_{prog_type}__HELPER_{helper} {value}\n"
                    ));
                }
                _ => {}
            }
        }
        match (&self.form, any, is_supported) {
            (Form::Json, ..) => self.json.end_array(),
            (Form::Text, true, _) => self.json.text(format_args!("\n")),
            (Form::Text, false, true) => {
                self.json.text(format_args!("\n\tCould not determine which helpers are available\n"));
            }
            (Form::Text, false, false) => self.json.text(format_args!("\n\tProgram type not supported\n")),
            (Form::Macros(_), ..) => {}
        }
    }

    /// `#define`, with the prefix.
    pub(super) fn define(&mut self, name: &str, value: &str) {
        if let Form::Macros(prefix) = &self.form {
            self.json.text(format_args!("#define {prefix}{name} {value}\n"));
        }
    }
}

/// Verifier logs have many lines.
fn one_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
