//! A static probe from its note to its program: compiled here, with a semaphore and an argument.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use skep_isa::uapi::{MapType, ProgType};
use skep_isa::{Op, Operand, Reg, Size};
use skep_obj::AttachPoint;
use skep_runtime::command::{MapCreate, ProgLoad};
use skep_runtime::{AttachOptions, Map, Program};

use crate::asm::{alu, call, leave, load, load_map, mov_reg, slots};
use crate::hooks::{count_and_answer, counted, counted_at_last, counter};
use crate::kernel;

const MAP_LOOKUP_ELEM: u32 = 1;
const GET_ATTACH_COOKIE: u32 = 174;

/// Passes its probe `skep:poke(42)` for each byte that it reads, if somebody traces it, and answers whether.
const SOURCE: &str = r#"
#include <unistd.h>
__attribute__((section(".probes"))) volatile unsigned short semaphore;
int main(void)
{
    char byte;
    while (read(0, &byte, 1) == 1) {
        char traced = semaphore ? 'y' : 'n';
        if (semaphore)
            __asm__ volatile("990: nop\n"
                ".pushsection .note.stapsdt,\"\",\"note\"\n"
                ".balign 4\n"
                ".4byte 992f-991f, 994f-993f, 3\n"
                "991: .asciz \"stapsdt\"\n"
                "992: .balign 4\n"
                "993: .8byte 990b, 0, semaphore\n"
                ".asciz \"skep\"\n.asciz \"poke\"\n.asciz \"4@$42\"\n"
                "994: .balign 4\n"
                ".popsection\n");
        write(1, &traced, 1);
    }
    return 0;
}
"#;

/// The program, or `None` with a printed reason.
fn compile(directory: &Path) -> Option<std::path::PathBuf> {
    let (source, binary) = (directory.join("poke.c"), directory.join("poke"));
    std::fs::write(&source, SOURCE).expect("there is room");
    // At fixed addresses, so that the note's need no base.
    match Command::new("cc").args(["-no-pie", "-o"]).arg(&binary).arg(&source).output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Some(binary)
        }
        Err(e) => {
            eprintln!("skipped: no C compiler: {e}");
            None
        }
    }
}

/// Has it pass its probe; does it say that it is traced?
fn poke(process: &mut Child) -> bool {
    process.stdin.as_mut().expect("it was piped").write_all(b"x").expect("it reads");
    let mut answer = [0];
    process.stdout.as_mut().expect("it was piped").read_exact(&mut answer).expect("it answers");
    answer == *b"y"
}

#[test]
fn static_probes_with_semaphores() {
    let Some(kernel) = kernel() else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let Some(binary) = compile(directory.path()) else { return };
    let specs = MapCreate::new(MapType::ARRAY, "__bpf_usdt_specs", 4, 208, 16);
    let specs = Map::create(&kernel, &specs, 1).expect("an array");
    let map = counter(&kernel);
    // The cookie is the number of the specification, which begins with the constant.
    let mut code = slots(&[
        call(GET_ATTACH_COOKIE),
        Op::Store { size: Size::W, base: Reg::R10, off: -8, src: Operand::Reg(Reg::R0) },
        load_map(Reg::R1, specs.fd()),
        mov_reg(Reg::R2, Reg::R10),
        alu(skep_isa::AluOp::Add, Reg::R2, -8),
        call(MAP_LOOKUP_ELEM),
        crate::asm::unless(Reg::R0, 0, 2),
    ]);
    code.extend(slots(&leave()));
    code.extend(slots(&[load(Size::DW, Reg::R1, Reg::R0, 0)]));
    code.extend(slots(&[
        Op::Jump { wide: true, op: skep_isa::JmpOp::Eq, dst: Reg::R1, src: Operand::Imm(42), off: 2 },
        leave()[0],
        leave()[1],
    ]));
    code.extend(slots(&count_and_answer(map.fd(), 0)));
    let program = Program::load(&kernel, &ProgLoad::new(ProgType::KPROBE, "usdt", &code, "GPL"));
    let program = program.expect("it is safe");

    let mut process =
        Command::new(&binary).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it was compiled");
    assert!(!poke(&mut process), "nobody traces it");
    let part = |text: &str| Some(text.to_owned());
    let point = AttachPoint::Usdt {
        path: part(&binary.display().to_string()),
        provider: part("skep"),
        name: part("poke"),
    };
    let options = AttachOptions { process: Some(process.id()), ..AttachOptions::default() };
    let link = program.attach(&point, &options).expect("the note says where");
    assert!(poke(&mut process), "the semaphore is up");
    assert!(poke(&mut process));
    assert_eq!(counted_at_last(&map, 2), 2);
    drop(link);
    assert!(!poke(&mut process), "the semaphore is down");
    assert_eq!(counted(&map), 2);
    let other = AttachPoint::Usdt {
        path: part(&binary.display().to_string()),
        provider: part("skep"),
        name: part("prod"),
    };
    let missing = program.attach(&other, &options).expect_err("there is one probe");
    assert!(missing.to_string().contains("`skep:prod`"), "{missing}");
    drop(process.stdin.take());
    process.wait().expect("it ends with its input");
}
