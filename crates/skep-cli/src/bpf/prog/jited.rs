//! A program as machine code, function by function.

use iced_x86::{Decoder, DecoderOptions, Formatter, GasFormatter, Instruction};
use skep::runtime::SharedRuntime;
use skep::runtime::info::{ProgArray, ProgInfo};

use super::super::failure::{Failure, Outcome};
use super::super::json::Json;
use super::symbols::Symbols;
use super::xlated::{Shown, Source};

/// Machine code with the functions that it consists of.
pub(crate) struct Jited<'a> {
    info: &'a ProgInfo,
    symbols: Symbols,
    source: Source,
}

impl<'a> Jited<'a> {
    pub(crate) fn of(runtime: &SharedRuntime, info: &'a ProgInfo) -> Outcome<Self> {
        if cfg!(not(target_arch = "x86_64")) {
            return Err(Failure::new("machine code of this architecture cannot be disassembled")
                .hint("`file FILE` writes it as it is"));
        }
        if info.bytes(ProgArray::Jited).is_empty() {
            return Err(Failure::new(
                "the program is not compiled, or the kernel does not show its machine code",
            ));
        }
        let symbols = Symbols::find(&[], &info.longs(ProgArray::JitedKsyms));
        Ok(Self { info, symbols, source: Source::of(runtime, info)? })
    }

    /// Name, address and code of each function.
    fn functions(&self) -> Vec<(String, u64, &[u8])> {
        let code = self.info.bytes(ProgArray::Jited);
        let addresses = self.info.longs(ProgArray::JitedKsyms);
        let lengths = self.info.words(ProgArray::JitedFuncLens);
        if lengths.is_empty() {
            return vec![(self.info.name.clone(), 0, code)];
        }
        let mut rest = code;
        let mut functions = Vec::new();
        for (nth, (&length, &address)) in lengths.iter().zip(&addresses).enumerate() {
            let (this, behind) = rest.split_at(rest.len().min(length as usize));
            rest = behind;
            let by_type = self.source.function_name(nth);
            let name =
                self.symbols.at(address).or(by_type).map_or_else(|| format!("{address:#x}"), str::to_owned);
            functions.push((name, address, this));
        }
        functions
    }

    pub(crate) fn write(&self, json: &mut Json, is_json: bool, shown: Shown) {
        if is_json {
            json.begin_array();
        }
        for (name, address, code) in self.functions() {
            if is_json {
                function_json(json, &name, address, code, shown);
            } else {
                function_text(json, &name, address, code, shown);
            }
        }
        if is_json {
            json.end_array();
        }
    }
}

fn function_text(json: &mut Json, name: &str, address: u64, code: &[u8], shown: Shown) {
    json.text(format_args!("{name}:\n"));
    each(code, address, &mut |offset, mnemonic, operands, bytes| {
        json.text(format_args!("{offset:>4x}:\t{mnemonic:<7}{operands}\n"));
        if shown.opcodes {
            let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json.text(format_args!("\t{}\n", bytes.join(" ")));
        }
    });
    json.text(format_args!("\n"));
}

fn function_json(json: &mut Json, name: &str, address: u64, code: &[u8], shown: Shown) {
    json.begin_object();
    json.string_field("name", name);
    json.name("insns");
    json.begin_array();
    each(code, address, &mut |offset, mnemonic, operands, bytes| {
        json.begin_object();
        json.string_field("pc", &format!("{offset:#x}"));
        json.string_field("operation", mnemonic);
        json.name("operands");
        json.begin_array();
        split(operands).for_each(|operand| json.string(operand));
        json.end_array();
        if shown.opcodes {
            json.name("opcodes");
            json.hex(bytes);
        }
        json.end_object();
    });
    json.end_array();
    json.end_object();
}

/// Operands, which commas outside of parentheses separate.
fn split(operands: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    let parts = operands.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    });
    parts.filter(|operand| !operand.is_empty())
}

/// Takes offset, mnemonic, operands and bytes.
type Sink<'a> = dyn FnMut(u64, &str, &str, &[u8]) + 'a;

/// Hands on every instruction: offset, mnemonic, operands, bytes.
fn each(code: &[u8], address: u64, sink: &mut Sink<'_>) {
    let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    let mut formatter = GasFormatter::new();
    let mut instruction = Instruction::default();
    while decoder.can_decode() {
        let start = decoder.position();
        decoder.decode_out(&mut instruction);
        let (mut mnemonic, mut operands) = (String::new(), String::new());
        formatter.format_mnemonic(&instruction, &mut mnemonic);
        formatter.format_all_operands(&instruction, &mut operands);
        sink(start as u64, &mnemonic, &operands, &code[start..decoder.position()]);
    }
}
