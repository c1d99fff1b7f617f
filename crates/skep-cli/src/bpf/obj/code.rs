//! The code of an object's functions, with what instructions refer to: as text, as JSON, and as a graph for dot(1).

use skep::object::inspect::FunctionView;
use skep_isa::cfg::Cfg;
use skep_isa::disasm::{self, Line};
use skep_isa::table::{CALL, LD_IMM64};
use skep_isa::text::Style;
use skep_isa::{Insn, Reg};

use super::super::failure::{Failure, Outcome};
use super::super::json::Json;
use super::super::shell::Shell;

/// Lists the instructions.
pub(super) fn text(json: &mut Json, functions: &[&FunctionView<'_>]) {
    for (nth, function) in functions.iter().enumerate() {
        let gap = if nth > 0 { "\n" } else { "" };
        json.text(format_args!("{gap}{} in `{}`:\n", function.name, function.section));
        for line in disasm::lines(function.insns, Style::Kernel, &()) {
            json.text(format_args!("{:>4}: {}\n", line.pc, line_text(function, &line)));
        }
    }
}

/// An object for each function.
pub(super) fn json(json: &mut Json, functions: &[&FunctionView<'_>]) {
    json.begin_array();
    for function in functions {
        json.begin_object();
        json.string_field("name", function.name);
        json.string_field("section", function.section);
        json.name("insns");
        json.begin_array();
        for line in disasm::lines(function.insns, Style::Kernel, &()) {
            json.begin_object();
            json.unsigned_field("pc", line.pc as u64);
            json.string_field("disasm", &line.text.clone().unwrap_or_else(|e| e.to_string()));
            if let Some(name) = references(function, &line) {
                json.string_field("refers_to", &name);
            }
            json.end_object();
        }
        json.end_array();
        json.end_object();
    }
    json.end_array();
}

fn line_text(function: &FunctionView<'_>, line: &Line<'_>) -> String {
    let text = line.text.clone().unwrap_or_else(|e| e.to_string());
    match references(function, line) {
        Some(names) => format!("{text}    ; {names}"),
        None => text,
    }
}

fn references(function: &FunctionView<'_>, line: &Line<'_>) -> Option<String> {
    let slots = line.pc..line.pc + line.insns.len();
    let here = function.references.iter().filter(|reference| slots.contains(&reference.insn));
    let names: Vec<String> = here.map(|reference| format!("{} {}", reference.kind, reference.name)).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// The control flow, one cluster a function.
pub(super) fn graph(shell: &mut Shell, functions: &[&FunctionView<'_>]) -> Outcome {
    let mut out = String::from("digraph \"eBPF object\" {\n\tnode [shape=box, fontname=monospace];\n");
    for (number, function) in functions.iter().enumerate() {
        cluster(&mut out, number, function)?;
    }
    out.push_str("}\n");
    if shell.is_json() {
        shell.json.begin_object();
        shell.json.string_field("graph", &out);
        shell.json.end_object();
    } else {
        shell.json.bytes(out.as_bytes());
    }
    Ok(())
}

fn cluster(out: &mut String, number: usize, function: &FunctionView<'_>) -> Outcome {
    let flow = Cfg::build(&alone(function))
        .map_err(|e| Failure::new(format!("`{}` has no control flow: {e}", function.name)))?;
    out.push_str(&format!("\tsubgraph \"cluster_{number}\" {{\n\t\tlabel=\"{}\";\n", function.name));
    let lines: Vec<Line<'_>> = disasm::lines(function.insns, Style::Kernel, &()).collect();
    for (node, block) in flow.blocks.iter().enumerate() {
        let here = lines.iter().filter(|line| block.slots.contains(&line.pc));
        let label: String =
            here.map(|line| format!("{:>4}: {}\\l", line.pc, escaped(&line_text(function, line)))).collect();
        out.push_str(&format!("\t\tf{number}_{node} [label=\"{label}\"];\n"));
        for edge in &block.edges {
            out.push_str(&format!("\t\tf{number}_{node} -> f{number}_{};\n", edge.to.0));
        }
    }
    out.push_str("\t}\n");
    Ok(())
}

/// The function's instructions with calls of other functions, whose places are not known before linking, as calls of a
/// helper.
fn alone(function: &FunctionView<'_>) -> Vec<Insn> {
    let neutral = |insn: &Insn| match insn.code {
        CALL if insn.src() != Reg(0) => Insn::new(CALL, Reg(0), Reg(0), 0, 1),
        LD_IMM64 => insn.with_src(Reg(0)),
        _ => *insn,
    };
    function.insns.iter().map(neutral).collect()
}

/// Characters that mean something in dot's strings.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
