//! A program as the verifier left it, as a listing with its functions and source lines.

use skep::btf::{Btf, Shape, TypeId};
use skep::runtime::SharedRuntime;
use skep::runtime::info::{ProgArray, ProgInfo};
use skep_isa::cfg::Cfg;
use skep_isa::disasm::{self, Line};
use skep_isa::table::{CALL, LD_IMM64};
use skep_isa::{CallTarget, Insn, Op};

use super::super::failure::{Failure, Outcome};
use super::super::json::Json;
use super::super::select;
use super::symbols::{STYLE, Symbols};
use crate::bpf::btf::signature::signature;

/// A translated program with what is known of it.
pub(crate) struct Xlated {
    /// As the kernel gives them.
    raw: Vec<Insn>,
    /// As they are read: calls inside the program have their distance where instructions have it.
    insns: Vec<Insn>,
    symbols: Symbols,
    /// Addresses of its functions, in their order.
    ksyms: Vec<u64>,
    pub(crate) source: Source,
}

/// Functions and source lines, where the program has types.
#[derive(Default)]
pub(crate) struct Source {
    btf: Option<Btf>,
    /// Slot and type of each function.
    functions: Vec<(u32, TypeId)>,
    lines: Vec<SourceLine>,
}

#[derive(Clone, Copy)]
struct SourceLine {
    slot: u32,
    file: u32,
    text: u32,
    column: u32,
}

/// What only the kernel writes is taken back. A program that is compiled has the number of the function in a call's `imm`, and
/// the distance in `off`; a function's address has the number in its second slot. A move that makes an address that of this
/// processor's copy is marked by its `off`.
fn as_loaded(raw: &[Insn]) -> Vec<Insn> {
    const PSEUDO_CALL: skep_isa::Reg = skep_isa::Reg(1);
    const PSEUDO_FUNC: skep_isa::Reg = skep_isa::Reg(4);
    const MOV64_REG: u8 = 0xbf;
    /// `BPF_ADDR_PERCPU`
    const PERCPU: i16 = -1;
    let mut insns = raw.to_vec();
    for at in 0..insns.len() {
        let insn = insns[at];
        if insn.code == CALL && insn.src() == PSEUDO_CALL && insn.off != 0 {
            insns[at] = Insn { imm: insn.off.into(), off: 0, ..insn };
        } else if insn.code == LD_IMM64
            && insn.src() == PSEUDO_FUNC
            && let Some(second) = insns.get_mut(at + 1)
        {
            second.imm = 0;
        } else if insn.code == MOV64_REG && insn.off == PERCPU {
            insns[at].off = 0;
        }
    }
    insns
}

/// What a listing shows beside the instructions.
#[derive(Clone, Copy, Default)]
pub(crate) struct Shown {
    pub(crate) opcodes: bool,
    pub(crate) linum: bool,
}

impl Xlated {
    /// Takes it from information that was asked for with its code, functions and lines.
    pub(crate) fn of(runtime: &SharedRuntime, info: &ProgInfo) -> Outcome<Self> {
        let bytes = info.bytes(ProgArray::Xlated);
        if bytes.is_empty() {
            return Err(Failure::new("the kernel does not show this program's instructions")
                .hint("`bpf_jit_harden` or `kptr_restrict` may be set, or privileges missing"));
        }
        let raw: Vec<Insn> = bytes.as_chunks().0.iter().map(|&bytes| Insn::from_le_bytes(bytes)).collect();
        let ksyms = info.longs(ProgArray::JitedKsyms);
        let insns = as_loaded(&raw);
        let symbols = Symbols::find(&insns, &ksyms);
        let source = Source::of(runtime, info)?;
        Ok(Self { raw, insns, symbols, ksyms, source })
    }

    fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        disasm::lines(&self.insns, STYLE, &self.symbols)
    }

    /// An instruction's text; calls inside the program get the name of what they call.
    fn text(&self, line: &Line<'_>) -> String {
        let text = plain(line);
        let callee = usize::try_from(self.raw[line.pc].imm).ok().and_then(|nth| self.ksyms.get(nth));
        match (skep_isa::decode_xlated(&self.insns, line.pc), callee) {
            (Ok(Op::Call(CallTarget::Local(_))), Some(&address)) => {
                format!("{text}#{}", self.symbol(address))
            }
            _ => text,
        }
    }

    fn symbol(&self, address: u64) -> String {
        self.symbols.at(address).map_or_else(|| format!("{address:#x}"), str::to_owned)
    }

    /// The listing as text.
    pub(crate) fn write_text(&self, json: &mut Json, shown: Shown) -> Outcome {
        for line in self.lines() {
            let pc = line.pc as u32;
            if let Some(function) = self.source.function(pc)? {
                json.text(format_args!("{function}:\n"));
            }
            if let Some(source) = self.source.line(pc)? {
                json.text(format_args!("; {}", source.text));
                if shown.linum {
                    let (file, line, column) = (source.file, source.line, source.column);
                    json.text(format_args!(" [file:{file} line_num:{line} line_col:{column}]"));
                }
                json.text(format_args!("\n"));
            }
            json.text(format_args!("{pc:>4}: {}\n", self.text(&line)));
            if shown.opcodes {
                let bytes: Vec<String> = self.raw[line.pc..line.pc + line.insns.len()]
                    .iter()
                    .flat_map(|insn| insn.to_le_bytes())
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                json.text(format_args!("       {}\n", bytes.join(" ")));
            }
        }
        Ok(())
    }

    /// The listing as an array of objects.
    pub(crate) fn write_json(&self, json: &mut Json, shown: Shown) -> Outcome {
        json.begin_array();
        for line in self.lines() {
            let pc = line.pc as u32;
            json.begin_object();
            if let Some(function) = self.source.function(pc)? {
                json.string_field("proto", &function);
            }
            if let Some(source) = self.source.line(pc)? {
                json.string_field("src", source.text);
                if shown.linum {
                    source.write_json(json);
                }
            }
            json.string_field("disasm", &self.text(&line));
            if shown.opcodes {
                opcodes(json, &self.raw[line.pc..line.pc + line.insns.len()]);
            }
            json.end_object();
        }
        json.end_array();
        Ok(())
    }

    /// The control flow as a graph for dot(1).
    pub(crate) fn dot(&self) -> Outcome<String> {
        let mut out = String::new();
        let graph = Cfg::build(&self.insns).map_err(|e| Failure::new(format!("no control flow: {e}")))?;
        out.push_str("digraph \"DOT graph for eBPF program\" {\n");
        for (number, subprog) in graph.subprogs.iter().enumerate() {
            self.cluster(&mut out, &graph, number, subprog.blocks.clone());
        }
        out.push_str("}\n");
        Ok(out)
    }

    /// One function: its entry is node 0, its exit node 1, its blocks follow.
    fn cluster(&self, out: &mut String, graph: &Cfg, number: usize, blocks: std::ops::Range<usize>) {
        out.push_str(&format!("subgraph \"cluster_{number}\" {{\n\tstyle=\"dashed\";\n\tcolor=\"black\";\n"));
        out.push_str(&format!("\tlabel=\"func_{number} ()\";\n"));
        out.push_str(&format!("\tfn_{number}_bb_0 [shape=Mdiamond,style=filled,label=\"ENTRY\"];\n\n"));
        // Each function counts from its own beginning.
        let start = graph.blocks.get(blocks.start).map_or(0, |block| block.slots.start);
        for (node, block) in graph.blocks[blocks.clone()].iter().enumerate() {
            let lines: Vec<String> = self
                .lines()
                .filter(|line| block.slots.contains(&line.pc))
                .map(|line| format!("{:>4}: {}\\l\\\n", line.pc - start, escaped(&plain(&line))))
                .collect();
            let label = lines.join(" | ");
            out.push_str(&format!(
                "\tfn_{number}_bb_{} [shape=record,style=filled,label=\"{{{label}}}\"];\n\n",
                node + 2
            ));
        }
        out.push_str(&format!("\tfn_{number}_bb_1 [shape=Mdiamond,style=filled,label=\"EXIT\"];\n\n"));
        let mut edge = |from: usize, to: usize, style: &str| {
            out.push_str(&format!("\tfn_{number}_bb_{from}:s -> fn_{number}_bb_{to}:n [{style}];\n"));
        };
        edge(0, 2, SOLID);
        for (node, block) in graph.blocks[blocks.clone()].iter().enumerate() {
            for to in &block.edges {
                edge(node + 2, to.to.0 - blocks.start + 2, SOLID);
            }
            if block.edges.is_empty() {
                edge(node + 2, 1, SOLID);
            }
        }
        edge(0, 1, "style=\"invis\", constraint=true");
        out.push_str("}\n");
    }
}

/// An instruction's text by itself.
fn plain(line: &Line<'_>) -> String {
    line.text.clone().unwrap_or_else(|e| format!("(bad) {e}"))
}

const SOLID: &str = "style=\"solid,bold\", color=black, weight=10, constraint=true";

/// Characters that mean something in dot's labels.
fn escaped(text: &str) -> String {
    text.chars()
        .flat_map(|c| matches!(c, '<' | '>' | '{' | '}' | '|' | '"').then_some('\\').into_iter().chain([c]))
        .collect()
}

fn opcodes(json: &mut Json, insns: &[Insn]) {
    let bytes = insns[0].to_le_bytes();
    json.name("opcodes");
    json.begin_object();
    json.string_field("code", &format!("{:#04x}", bytes[0]));
    json.string_field("src_reg", &format!("{:#x}", bytes[1] >> 4));
    json.string_field("dst_reg", &format!("{:#x}", bytes[1] & 15));
    json.name("off");
    json.hex(&bytes[2..4]);
    json.name("imm");
    let imm: Vec<u8> =
        bytes[4..].iter().copied().chain(insns.iter().skip(1).flat_map(|i| i.to_le_bytes())).collect();
    json.hex(&imm);
    json.end_object();
}

/// A source line as it is shown.
pub(crate) struct Place<'a> {
    pub(crate) text: &'a str,
    pub(crate) file: &'a str,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Place<'_> {
    /// Numbers that are zero are unknown, and left out.
    fn write_json(&self, json: &mut Json) {
        json.string_field("file", self.file);
        for (name, number) in [("line_num", self.line), ("line_col", self.column)] {
            if number != 0 {
                json.unsigned_field(name, number);
            }
        }
    }
}

impl Source {
    pub(crate) fn of(runtime: &SharedRuntime, info: &ProgInfo) -> Outcome<Self> {
        if info.btf_id == 0 {
            return Ok(Self::default());
        }
        let word = |bytes: &[u8], at: usize| {
            bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_ne_bytes)
        };
        let functions = info.bytes(ProgArray::FuncInfo).chunks_exact((info.func_info_bytes as usize).max(8));
        let lines = info.bytes(ProgArray::LineInfo).chunks_exact((info.line_info_bytes as usize).max(16));
        Ok(Self {
            btf: Some(select::btf(runtime, info.btf_id)?),
            functions: functions.map(|f| (word(f, 0), TypeId(word(f, 4)))).collect(),
            lines: lines
                .map(|l| SourceLine {
                    slot: word(l, 0),
                    file: word(l, 4),
                    text: word(l, 8),
                    column: word(l, 12),
                })
                .collect(),
        })
    }

    /// The signature of the function that begins at a slot.
    pub(crate) fn function(&self, slot: u32) -> Outcome<Option<String>> {
        let Some(btf) = &self.btf else { return Ok(None) };
        match self.functions.iter().find(|(at, _)| *at == slot) {
            Some(&(_, id)) => Ok(Some(signature(btf, id)?)),
            None => Ok(None),
        }
    }

    /// The name of the function that begins at a slot.
    pub(crate) fn function_name(&self, nth: usize) -> Option<&str> {
        let btf = self.btf.as_ref()?;
        let (_, id) = *self.functions.get(nth)?;
        let ty = btf.type_by_id(id).ok()?;
        matches!(ty.shape, Shape::Func { .. }).then_some(ty.name)
    }

    /// The source line that begins at a slot. The lower ten bits of its place are the column.
    fn line(&self, slot: u32) -> Outcome<Option<Place<'_>>> {
        let Some(btf) = &self.btf else { return Ok(None) };
        let Some(line) = self.lines.iter().find(|line| line.slot == slot) else { return Ok(None) };
        Ok(Some(Place {
            text: btf.string(line.text)?.trim_start(),
            file: btf.string(line.file)?,
            line: line.column >> 10,
            column: line.column & 0x3ff,
        }))
    }
}
