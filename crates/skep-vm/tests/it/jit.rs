//! Compiled programs do what the interpreter does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use skep_isa::asm::assemble;
use skep_isa::uapi::{MapType, ProgType};
use skep_verifier::{Input as Verify, MapInfo, Outcome, Target, Verified, prove};
use skep_vm::{Engine, Env, Map, MapRef, MapSpec, NoEnv, Program, ProgramInfo};

/// Bytes of the context, which programs of this type may read and write as they like.
const CONTEXT: usize = 64;

fn verified(text: &str, prog_type: ProgType, maps: &[Arc<Map>]) -> Verified {
    let insns = assemble(&text.replace("; ", "\n")).unwrap_or_else(|e| panic!("{e}: {text}")).insns;
    let infos: Vec<MapInfo> = maps.iter().map(|map| info_of(map)).collect();
    let (target, sleepable) = (Target::default(), prog_type == ProgType::SYSCALL);
    let input = Verify { sleepable, ..Verify::new("test", prog_type, &insns, &infos, &target) };
    match prove(&input).outcome {
        Outcome::Accept(verified) => verified,
        other => panic!("{text}: {other:?}"),
    }
}

fn info_of(map: &Map) -> MapInfo {
    let spec = map.spec();
    MapInfo {
        flags: spec.map_flags,
        ..MapInfo::new(&spec.name, spec.map_type, spec.key_size, spec.value_size, spec.max_entries)
    }
}

fn prepared(verified: &Verified, maps: &[Arc<Map>], engine: Engine) -> Program {
    let find = |reference| match reference {
        MapRef::Index(n) => maps.get(n as usize).cloned(),
        MapRef::Fd(_) => None,
    };
    let info = ProgramInfo { engine, ..ProgramInfo::new("test", verified.prog_type()) };
    Program::prepare_verified(verified, &find, info).expect("the test prepares")
}

/// A program in compiled code; that it is, is checked.
fn compiled(text: &str, maps: &[Arc<Map>]) -> Program {
    let program = prepared(&verified(text, ProgType::SYSCALL, maps), maps, Engine::Jit);
    let outcome = program.compiled().expect("it was asked for");
    outcome.unwrap_or_else(|declined| panic!("{text}: {declined}"));
    program
}

fn context() -> [u8; CONTEXT] {
    std::array::from_fn(|n| (n as u8).wrapping_mul(37) ^ 0xa5)
}

/// Runs a program on both engines; `r0` and context must come out the same.
fn check(text: &str) {
    check_with(text, &|| Vec::new());
}

fn check_with(text: &str, maps: &dyn Fn() -> Vec<Arc<Map>>) {
    let (mut one, mut other) = (context(), context());
    let own = maps();
    let interpreter = prepared(&verified(text, ProgType::SYSCALL, &own), &own, Engine::Interpreter);
    let expected = interpreter.run(&mut one, &mut NoEnv).unwrap_or_else(|fault| panic!("{text}: {fault}"));
    let own = maps();
    let result =
        compiled(text, &own).run(&mut other, &mut NoEnv).unwrap_or_else(|fault| panic!("{text}: {fault}"));
    assert_eq!(result, expected, "{text}");
    assert_eq!(one, other, "{text}");
}

/// Two numbers of the context in `r2` and `r3`, and what is made of them in `r0`.
fn on_numbers(body: &str) -> String {
    format!("r6 = r1; r2 = *(u64 *)(r6 + 0); r3 = *(u64 *)(r6 + 8); {body}; exit")
}

#[test]
fn arithmetic_of_both_widths() {
    for op in ["+=", "-=", "*=", "/=", "%=", "|=", "&=", "^=", "s/=", "s%="] {
        for (dst, src) in [("r2", "r3"), ("w2", "w3"), ("r2", "7"), ("w2", "7"), ("r2", "-1"), ("w2", "-1")] {
            check(&on_numbers(&format!("{dst} {op} {src}; r0 = r2")));
        }
    }
    for op in ["<<=", ">>=", "s>>="] {
        for (dst, by) in [("r2", 1), ("r2", 31), ("r2", 32), ("r2", 63), ("w2", 1), ("w2", 31)] {
            check(&on_numbers(&format!("{dst} {op} {by}; r0 = r2")));
        }
        check(&on_numbers(&format!("r3 &= 63; r2 {op} r3; r0 = r2")));
        check(&on_numbers(&format!("w3 &= 31; w2 {op} w3; r0 = r2")));
    }
}

#[test]
fn divisions_that_machines_do_not_define() {
    for (dst, src) in [("r2", "r3"), ("w2", "w3")] {
        for op in ["/=", "%=", "s/=", "s%="] {
            for divisor in [0, -1, 1] {
                check(&on_numbers(&format!("{src} = {divisor}; {dst} {op} {src}; r0 = r2")));
                let least = "r2 = 1; r2 <<= 63; w4 = 1; w4 <<= 31";
                check(&on_numbers(&format!(
                    "{least}; r3 = {divisor}; r2 {op} r3; w3 = {divisor}; w4 {op} w3; r0 = r2; r0 ^= r4"
                )));
            }
        }
    }
}

#[test]
fn moves_signs_and_byte_order() {
    for body in [
        "r0 = (s8)r2",
        "r0 = (s16)r2",
        "r0 = (s32)r2",
        "w0 = (s8)w2",
        "w0 = (s16)w2",
        "w0 = w2",
        "r0 = r2",
        "r2 = -r2; r0 = r2",
        "w2 = -w2; r0 = r2",
        "r2 = be16 r2; r0 = r2",
        "r2 = be32 r2; r0 = r2",
        "r2 = be64 r2; r0 = r2",
        "r2 = le16 r2; r0 = r2",
        "r2 = le32 r2; r0 = r2",
        "r2 = bswap16 r2; r0 = r2",
        "r2 = bswap32 r2; r0 = r2",
        "r2 = bswap64 r2; r0 = r2",
        "r0 = 0x1122334455667788 ll",
        "r2 <<= 32; r2 >>= 32; r0 = r2",
        "r2 <<= 32; r2 s>>= 32; r0 = r2",
        "w4 = w2; w2 <<= 7; w4 >>= 25; w2 |= w4; r0 = r2",
    ] {
        check(&on_numbers(body));
    }
}

#[test]
fn loads_and_stores_of_every_size() {
    for size in ["u8", "u16", "u32", "u64", "s8", "s16", "s32"] {
        check(&on_numbers(&format!("r0 = *({size} *)(r6 + 16)")));
    }
    for size in ["u8", "u16", "u32", "u64"] {
        check(&on_numbers(&format!("*({size} *)(r6 + 24) = r2; *({size} *)(r6 + 40) = -2; r0 = 0")));
        check(&on_numbers(&format!(
            "*(u64 *)(r10 - 8) = r3; *({size} *)(r10 - 8) = r2; *({size} *)(r10 - 16) = -2; r0 = *(u64 *)(r10 - 8)"
        )));
    }
}

#[test]
fn jumps_of_every_kind() {
    for op in ["==", "!=", ">", ">=", "<", "<=", "s>", "s>=", "s<", "s<=", "&"] {
        for (dst, src) in [("r2", "r3"), ("w2", "w3"), ("r2", "5"), ("w2", "-5"), ("r2", "r2")] {
            check(&on_numbers(&format!("r0 = 1; if {dst} {op} {src} goto +1; r0 = 2")));
        }
    }
    check("r0 = 0; r1 = 0; loop: r0 += r1; r1 += 1; if r1 < 100 goto loop; exit");
    check("w0 = 0; w1 = 0; loop: w0 += w1; w1 += 1; if w1 != 100 goto loop; exit");
}

#[test]
fn atomic_operations() {
    for (size, src) in [("u64", "r2"), ("u32", "w2")] {
        for op in ["+=", "|=", "&=", "^="] {
            check(&on_numbers(&format!(
                "*(u64 *)(r10 - 8) = r3; lock *({size} *)(r10 - 8) {op} {src}; r0 = *(u64 *)(r10 - 8)"
            )));
        }
        for op in ["atomic_fetch_add", "atomic_fetch_or", "atomic_fetch_and", "atomic_fetch_xor"] {
            check(&on_numbers(&format!(
                "*(u64 *)(r10 - 8) = r3; {src} = {op}(({size} *)(r10 - 8), {src}); r0 = *(u64 *)(r10 - 8); r0 += r2"
            )));
        }
    }
}

#[test]
fn functions_of_the_program() {
    check("r6 = 5; r1 = 7; r2 = 3; call f; r0 += r6; exit; f: r6 = r1; r6 *= r2; r0 = r6; exit");
    check(
        "r1 = 1; call f; exit; f: *(u64 *)(r10 - 8) = r1; r1 = r10; r1 += -8; call g; exit; g: r0 = *(u64 *)(r1 + 0); r0 += 1; exit",
    );
}

#[test]
fn unwritten_stack_is_zero() {
    // What a deeper call leaves on the native stack is not seen by the next.
    let text = "call f; call g; exit; f: r1 = -1; *(u64 *)(r10 - 64) = r1; *(u64 *)(r10 - 8) = r1; r0 = 0; exit; \
                g: r0 = *(u64 *)(r10 - 64); exit";
    check(text);
}

fn some_maps() -> Vec<Arc<Map>> {
    let make = |map_type, key, value, entries| {
        Map::create(MapSpec::new(map_type, "m", key, value, entries)).expect("the test's map is valid")
    };
    vec![make(MapType::ARRAY, 4, 8, 4), make(MapType::HASH, 4, 8, 4), make(MapType::RINGBUF, 0, 0, 4096)]
}

#[test]
fn maps_and_their_values() {
    for map in 0..2 {
        let text = format!(
            "*(u32 *)(r10 - 4) = 2; *(u64 *)(r10 - 16) = 5; r1 = map[idx:{map}]; r2 = r10; r2 += -4; r3 = r10; \
             r3 += -16; r4 = 0; call 2; r6 = r0; r1 = map[idx:{map}]; r2 = r10; r2 += -4; call 1; \
             if r0 == 0 goto out; r1 = 3; lock *(u64 *)(r0 + 0) += r1; r6 += *(u64 *)(r0 + 0); out: r0 = r6; exit"
        )
        .replace("r6 += *(u64 *)(r0 + 0)", "r1 = *(u64 *)(r0 + 0); r6 += r1");
        check_with(&text, &some_maps);
    }
    let record = "r1 = map[idx:2]; r2 = 16; r3 = 0; call 131; if r0 == 0 goto out; r1 = 7; *(u64 *)(r0 + 8) = r1; \
                  *(u64 *)(r0 + 0) = 9; r1 = r0; r2 = 0; call 132; out: r0 = 1; exit";
    let maps = some_maps();
    assert_eq!(compiled(record, &maps).run(&mut context(), &mut NoEnv), Ok(1));
    let mut records = Vec::new();
    maps[2].ring().expect("it is one").drain(&mut |record| {
        records.push(record.to_vec());
        std::ops::ControlFlow::Continue(())
    });
    assert_eq!(records, [[9u64.to_ne_bytes(), 7u64.to_ne_bytes()].concat()]);
}

#[test]
fn callbacks_reach_the_frame_of_their_caller() {
    check(
        "*(u64 *)(r10 - 8) = 0; r1 = 10; r2 = subprog[+7]; r3 = r10; r3 += -8; r4 = 0; call 181; \
         r0 = *(u64 *)(r10 - 8); exit; r3 = *(u64 *)(r2 + 0); r3 += r1; *(u64 *)(r2 + 0) = r3; r0 = 0; exit",
    );
}

#[test]
fn may_goto_ends_loops() {
    check("r0 = 0; loop: may_goto out; r0 += 1; goto loop; out: exit");
}

/// A world in which kernel memory is all sevens.
struct Sevens;

impl Env for Sevens {
    fn pid_tgid(&mut self) -> u64 {
        1 << 32 | 2
    }
}

#[test]
fn helpers_see_the_world() {
    let program = compiled("call 14; exit", &[]);
    assert_eq!(program.run(&mut context(), &mut Sevens), Ok(1 << 32 | 2));
}

#[test]
fn a_context_that_is_too_short_is_left_to_the_interpreter() {
    let program = compiled("r0 = *(u64 *)(r1 + 24); exit", &[]);
    assert!(program.run(&mut [0; 32], &mut NoEnv).is_ok());
    let fault = program.run(&mut [0; 31], &mut NoEnv).expect_err("one byte is missing");
    assert!(fault.to_string().contains("byte 24 of the context, which has 31"), "{fault}");
}

/// The shortest programs do little else than entering and leaving.
#[cfg(target_arch = "x86_64")]
#[test]
fn who_calls_nothing_has_no_frame() {
    let push = |program: &Program| program.machine_code().expect("it is compiled").starts_with(&[0x55]);
    let short = compiled("r0 = *(u64 *)(r1 + 0); if r0 == 1 goto out; r0 = 2; out: exit", &[]);
    assert!(!push(&short));
    for (first, expected) in [(1u64, 1), (5, 2)] {
        assert_eq!(short.run(&mut first.to_ne_bytes(), &mut NoEnv), Ok(expected));
    }
    for holding in ["*(u64 *)(r10 - 8) = r1; r0 = *(u64 *)(r10 - 8); r0 = 0; exit", "call 7; r0 = 0; exit"] {
        let program = compiled(holding, &[]);
        assert!(push(&program), "{holding}");
        assert_eq!(program.run(&mut [0; 8], &mut NoEnv), Ok(0), "{holding}");
    }
}

/// Does machine code hold a constant: as it is, or in pieces of 16 bits where instructions have no room for more?
fn holds_constant(code: &[u8], bytes: &[u8]) -> bool {
    if cfg!(not(target_arch = "aarch64")) {
        return code.windows(bytes.len()).any(|window| window == bytes);
    }
    let words = code.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word));
    // `movz` and `movk`.
    let moves = words.filter(|word| matches!(word & 0x7f80_0000, 0x5280_0000 | 0x7280_0000));
    let pieces: Vec<u16> = moves.map(|word| (word >> 5) as u16).collect();
    bytes.as_chunks().0.iter().all(|piece| pieces.contains(&u16::from_le_bytes(*piece)))
}

#[test]
fn constants_can_be_blinded() {
    let needle = 0x1122_3344_5566_7788u64;
    let verified =
        verified(&format!("r0 = {needle:#x} ll; w1 = 0x41424344; r0 ^= r1; exit"), ProgType::SYSCALL, &[]);
    let holds = |blind_constants| {
        let info = ProgramInfo {
            engine: Engine::Jit,
            blind_constants,
            ..ProgramInfo::new("test", ProgType::SYSCALL)
        };
        let program =
            Program::prepare_verified(&verified, &|_: MapRef| None, info).expect("the test prepares");
        assert_eq!(program.run(&mut [], &mut NoEnv), Ok(needle ^ 0x4142_4344));
        let code = program.machine_code().expect("it is compiled").to_vec();
        holds_constant(&code, &needle.to_le_bytes())
            || holds_constant(&code, &0x4142_4344u32.to_le_bytes())
            || holds_constant(&code, &(needle ^ 0x4142_4344).to_le_bytes())
    };
    assert!(holds(false), "the constant is in plain code");
    assert!(!holds(true), "the constant is in blinded code");
}

#[test]
fn code_is_made_in_the_background() {
    let program = prepared(&verified("r0 = 7; exit", ProgType::SYSCALL, &[]), &[], Engine::Auto);
    let started = Instant::now();
    while program.compiled().is_none() && started.elapsed() < Duration::from_secs(20) {
        assert_eq!(program.run(&mut [], &mut NoEnv), Ok(7));
    }
    assert!(program.compiled().is_some_and(|compiled| compiled.is_ok()));
    assert_eq!(program.run(&mut [], &mut NoEnv), Ok(7));
}

/// The compiler compares loop counters after they are counted, which must not matter where they wrap.
#[test]
fn loops_that_compare_what_was_counted() {
    let cases = [
        (0i64, 2, "<", 20),
        (0, 2, "<=", 20),
        (0, 1, "!=", 9),
        (30, -3, ">", 4),
        (30, -3, ">=", 5),
        (-6, 2, ">", 5),
        (-6, 2, ">=", 5),
        (-8, 3, "s<", 7),
        (9, -2, "s>", -7),
        (4, -1, "<=", 4),
        (0x7fff_fff8, 3, "s>", 5),
        (5, 1, "==", 5),
    ];
    for (start, step, condition, limit) in cases {
        for register in ["r", "w"] {
            // What is compared with the limit: the number before it was counted.
            let text = format!(
                "r0 = 0; {register}2 = {start}; r4 = 0; \
                 loop: {register}3 = {register}2; r0 += r3; {register}2 += {step}; r4 += 1; if r4 > 40 goto out; \
                 if {register}3 {condition} {limit} goto loop; out: r0 *= 100; r0 += r4; r0 += r2; exit"
            );
            check(&text);
        }
    }
}

#[test]
fn loops_that_are_left_in_the_middle() {
    let copy: String = (0..64)
        .step_by(8)
        .map(|at| format!("r2 = *(u64 *)(r1 + {at}); *(u64 *)(r10 - {}) = r2; ", 64 - at))
        .collect();
    check(&format!(
        "{copy}r6 = r10; r6 += -64; r0 = 0; r2 = 0; \
         loop: r3 = r6; r3 += r2; r4 = *(u8 *)(r3 + 0); if r4 == 0x5b goto found; r0 += r4; r2 += 1; \
         if r2 != 64 goto loop; r0 = 0xff; goto out; found: r0 <<= 8; r0 |= r2; out: exit"
    ));
    // Both counters are the same all the time.
    check(&format!(
        "{copy}r6 = r10; r6 += -64; r0 = 0; w2 = 3; r3 = r2; \
         loop: r4 = r6; r4 += r2; *(u8 *)(r4 + 0) = 9; r3 += 5; r2 = r3; w5 = w3; w5 += 1; r0 += r5; \
         if r3 < 60 goto loop; r0 += r2; exit"
    ));
}

/// Sums that are made in two widths, loops whose test stands at their beginning, and both.
#[test]
fn loops_that_count_twice_and_test_first() {
    let clear: String = (8..=64).step_by(8).map(|off| format!("*(u64 *)(r10 - {off}) = 0; ")).collect();
    check(&format!(
        "{clear}r6 = r10; r6 += -64; r1 = 3; r2 = 5; r0 = 0; \
         loop: r3 = r6; r3 += r1; *(u8 *)(r3 + 0) = 7; r4 = r1; r4 += r2; w5 = w2; w5 += w1; w5 &= 0xc0; r1 = r4; \
         r0 += r5; if w5 == 0 goto loop; r2 = *(u64 *)(r10 - 64); r0 += r2; r2 = *(u64 *)(r10 - 24); r0 ^= r2; exit"
    ));
    for (wide, narrow) in [("r4 -= r2", "w5 -= w2"), ("r4 *= r2", "w5 *= w2"), ("r4 ^= 77", "w5 ^= 77")] {
        check(&on_numbers(&format!("r4 = r3; w5 = w3; {wide}; {narrow}; r0 = r4; r0 += r5")));
        check(&on_numbers(&format!("w5 = w3; r4 = r3; {narrow}; {wide}; r0 = r4; r0 ^= r5")));
    }
    check(
        "r6 = 0; r0 = 1; head: w1 = w6; w1 &= 3; if w1 == 0 goto other; r0 *= 3; goto next; other: r0 += 5; \
         next: r6 += 1; if r6 == 20 goto out; goto head; out: exit",
    );
    check("r6 = 9; r0 = 0; head: if r6 == 0 goto out; r6 += -1; r0 += r6; goto head; out: r0 <<= 1; exit");
}

/// Records of several ring buffers, which helpers write to, given back in any order, or by the end of a run that fails.
#[test]
fn records_of_ring_buffers() {
    let ring = || Map::create(MapSpec::new(MapType::RINGBUF, "r", 0, 0, 4096)).expect("the map is valid");
    let drained = |map: &Map| {
        let mut records = Vec::new();
        map.ring().expect("it is one").drain(&mut |record| {
            records.push(record.to_vec());
            std::ops::ControlFlow::Continue(())
        });
        records
    };
    let reserve = |map: usize| format!("r1 = map[idx:{map}]; r2 = 16; r3 = 0; call 131; ");
    let text = format!(
        "{}if r0 == 0 goto out; r6 = r0; {}if r0 == 0 goto one; r7 = r0; r1 = r6; r2 = 16; call 16; r1 = r7; r2 = 16; \
         call 16; *(u64 *)(r7 + 8) = 5; {}if r0 == 0 goto two; r1 = r0; r2 = 0; call 133; two: r1 = r7; r2 = 0; call 132; \
         one: r1 = r6; r2 = 0; call 132; out: r0 = 0; exit",
        reserve(0),
        reserve(1),
        reserve(0),
    );
    for engine in [Engine::Interpreter, Engine::Jit] {
        let maps = vec![ring(), ring()];
        let program = prepared(&verified(&text, ProgType::SYSCALL, &maps), &maps, engine);
        assert_eq!(program.run(&mut context(), &mut NoEnv), Ok(0));
        let [one, other] = [drained(&maps[0]), drained(&maps[1])];
        assert_eq!(one, [[0; 16]], "{engine:?}");
        assert_eq!(other, [[[0; 8], 5u64.to_ne_bytes()].concat()], "{engine:?}");
    }
    let text = format!(
        "{}if r0 == 0 goto out; r6 = r0; r1 = 100000; r2 = subprog[+9]; r3 = 0; r4 = 0; call 181; r1 = r6; r2 = 0; call 132; \
         out: r0 = 0; exit; r0 = 0; exit",
        reserve(0),
    );
    for engine in [Engine::Interpreter, Engine::Jit] {
        let maps = vec![ring()];
        let verified = verified(&text, ProgType::SYSCALL, &maps);
        let find = |_: MapRef| maps.first().cloned();
        let info = ProgramInfo { engine, budget: 1000, ..ProgramInfo::new("test", ProgType::SYSCALL) };
        let program = Program::prepare_verified(&verified, &find, info).expect("the test prepares");
        program.run(&mut context(), &mut NoEnv).expect_err("it goes round too often");
        assert_eq!(drained(&maps[0]), Vec::<Vec<u8>>::new(), "{engine:?}");
        let ring = maps[0].ring().expect("it is one");
        assert!(ring.reserve(4000).is_some(), "{engine:?}: the record was given back");
    }
}

/// A small function with a loop takes the place of its call, and takes the address of its global along.
#[test]
fn small_functions_with_loops_over_globals() {
    check_with(
        "r6 = 5; r1 = 3; call f; r7 = r0; r1 = 4; call f; r0 += r7; r0 += r6; exit; \
         f: r9 = 0; loop: r8 = map[idx:0]+8; r2 = *(u64 *)(r8 + 0); r2 += r1; *(u64 *)(r8 + 0) = r2; r9 += 1; \
         if r9 != 4 goto loop; r0 = r2; exit",
        &|| vec![Map::create(MapSpec::new(MapType::ARRAY, "m", 4, 16, 1)).expect("the map is valid")],
    );
}

/// These need no run, because it is proved which map they are on.
#[test]
fn operations_on_known_maps() {
    let kinds = [
        (MapType::ARRAY, 4, 8),
        (MapType::ARRAY, 4, 4),
        (MapType::ARRAY, 4, 72),
        (MapType::HASH, 4, 8),
        (MapType::HASH, 12, 24),
        (MapType::LRU_HASH, 8, 8),
        (MapType::PERCPU_ARRAY, 4, 8),
        (MapType::PERCPU_HASH, 8, 16),
    ];
    for (map_type, key, value) in kinds {
        let spec = MapSpec::new(map_type, "m", key, value, 5);
        let maps = || vec![Map::create(spec.clone()).expect("the map is valid")];
        let mut text = "r6 = r1; r7 = 0".to_owned();
        for off in (8..=96).step_by(8) {
            text += &format!("; r1 = {off}; *(u64 *)(r10 - {off}) = r1");
        }
        for (call, first, flags) in [
            (2, 1, 0),
            (1, 1, 0),
            (1, 9, 0),
            (2, 3, 1),
            (2, 1, 1),
            (2, 9, 2),
            (3, 1, 0),
            (1, 1, 0),
            (2, 2, 4),
        ] {
            text += &format!(
                "; *(u32 *)(r10 - 96) = {first}; r1 = map[idx:0]; r2 = r10; r2 += -96; r3 = r10; r3 += -80; \
                 r4 = {flags}; call {call}"
            );
            text += &match call {
                1 => format!("; if r0 == 0 goto +1; r0 = *(u{} *)(r0 + 0)", 8 * value.min(8)),
                _ => String::new(),
            };
            text += "; r7 *= 31; r7 += r0";
        }
        check_with(&(text + "; r0 = r7; exit"), &maps);
    }
}

/// Where the address of an element has been tested, it is known whether there is one; and the processor is asked for before
/// loops.
#[test]
fn elements_found_and_missed_in_loops() {
    for map_type in [MapType::ARRAY, MapType::PERCPU_ARRAY] {
        let maps = || {
            let map = Map::create(MapSpec::new(map_type, "m", 4, 8, 5)).expect("the map is valid");
            let values = map.spec().value_stride() / 8;
            for key in 0..5u32 {
                let value = u64::from(key * 7 + 1).to_ne_bytes().repeat(values);
                map.update(&key.to_ne_bytes(), &value, 0).expect("the key exists");
            }
            vec![map]
        };
        let tests = [
            "if r0 == 0 goto missing; r1 = *(u64 *)(r8 + 0); r6 += r1; missing:",
            "if r8 != 0 goto found; r6 += 1000; goto on; found: r1 = *(u64 *)(r0 + 0); r6 += r1; on:",
            "if r0 == 0 goto missing; r6 += 5; missing: if r8 == 0 goto none; r1 = *(u64 *)(r8 + 0); \
             r6 += r1; none: r6 *= 3",
            "call 8; r7 -= r0; r7 += r0; if r8 == 0 goto missing; r6 += r0; call 8; r6 -= r0; missing:",
        ];
        for test in tests {
            let text = format!(
                "r6 = 0; r7 = 0; loop: *(u32 *)(r10 - 4) = r7; r1 = map[idx:0]; r2 = r10; r2 += -4; call 1; \
                 r8 = r0; {test}; r7 += 1; if r7 != 8 goto loop; r0 = r6; exit"
            );
            check_with(&text, &maps);
        }
        let sum = compiled(
            "r6 = 0; r7 = 0; loop: *(u32 *)(r10 - 4) = r7; r1 = map[idx:0]; r2 = r10; r2 += -4; call 1; \
             if r0 == 0 goto missing; r1 = *(u64 *)(r0 + 0); r6 += r1; goto on; missing: r6 += 1000; on: r7 += 1; \
             if r7 != 8 goto loop; r0 = r6; exit",
            &maps(),
        );
        assert_eq!(sum.run(&mut context(), &mut NoEnv), Ok(3000 + 5 + 7 * 10), "{map_type}");
    }
}
