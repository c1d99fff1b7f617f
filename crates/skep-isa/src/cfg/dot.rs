//! The graph as text for Graphviz, one cluster a subprogram, as `bpftool prog dump xlated visual` draws it.

use std::fmt::Write;

use super::{Block, BlockId, Cfg, EdgeKind, Subprog};
use crate::disasm::{Names, lines};
use crate::insn::Insn;
use crate::text::Style;

impl Cfg {
    /// Draws the graph of `insns`, which it was built of, in the DOT language. Blocks that no way leads to are dashed.
    pub fn dot(&self, insns: &[Insn], style: Style, names: &dyn Names) -> String {
        let mut out = String::from("digraph \"DOT graph for eBPF program\" {\n");
        for (index, subprog) in self.subprogs.iter().enumerate() {
            let blocks = self.blocks.get(subprog.blocks.clone()).unwrap_or_default();
            out.push_str(&cluster(index, subprog, blocks, insns, style, names));
        }
        for call in self.subprogs.iter().flat_map(|subprog| &subprog.calls) {
            let callee = self.subprogs.get(call.callee.0);
            let (Some(BlockId(from)), Some(callee)) = (self.block_at(call.pc), callee) else { continue };
            let (to, label) = (callee.blocks.start, if call.is_address { "address" } else { "call" });
            push(&mut out, format_args!("  bb_{from} -> bb_{to} [style=dashed, label=\"{label}\"];"));
        }
        out.push_str("}\n");
        out
    }
}

fn cluster(
    index: usize,
    subprog: &Subprog,
    blocks: &[Block],
    insns: &[Insn],
    style: Style,
    names: &dyn Names,
) -> String {
    let mut out = format!("  subgraph cluster_{index} {{\n    label=\"func_{index}\"; style=dashed;\n");
    for (id, block) in subprog.blocks.clone().zip(blocks) {
        let label = label(block, insns, style, names);
        let look = if block.reachable { "filled" } else { "dashed" };
        push(&mut out, format_args!("    bb_{id} [shape=record, style={look}, label=\"{{{label}}}\"];"));
    }
    for (id, block) in subprog.blocks.clone().zip(blocks) {
        for edge in &block.edges {
            let look = match edge.kind {
                EdgeKind::Next => "solid",
                EdgeKind::Jump => "bold",
            };
            push(&mut out, format_args!("    bb_{id}:s -> bb_{}:n [style={look}];", edge.to.0));
        }
    }
    out.push_str("  }\n");
    out
}

/// The instructions of a block, one a line, with what DOT's records give a meaning escaped.
fn label(block: &Block, insns: &[Insn], style: Style, names: &dyn Names) -> String {
    let mut out = String::new();
    for line in lines(insns.get(block.slots.clone()).unwrap_or_default(), style, names) {
        let text = line.text.as_deref().unwrap_or("<unknown>");
        out.push_str(&escape(&format!("{}: {text}", block.slots.start + line.pc)));
        out.push_str("\\l");
    }
    out
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '{' | '}' | '|' | '<' | '>' | '"' | '\\' | ' ') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn push(out: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(out, "{line}").expect("invariant: a string takes any text");
}
