//! `cargo xtask bench vm`: small computations in C, as native code and in virtual machines.
//!
//! Each is compiled when the benchmark runs: natively with and without the vectoriser, and as BPF. All engines are in this
//! process and run in turns, and what they return and leave in memory is compared with native code before anything is
//! timed. Times are of this thread on a processor, and the least of the rounds counts: other work on the machine only adds.

mod build;
#[path = "../maps/clock.rs"]
mod clock;
mod engine;
mod kernel;
mod report;

/// Computations: files of `bench/vm`.
const KERNELS: &[&str] = &[
    "nop",
    "csum1500",
    "memcpy1500",
    "crc32",
    "jhash",
    "fib",
    "sieve",
    "sort64",
    "strcmp",
    "log2hist",
    "pkt5",
    "calls",
];

/// Bytes that a computation works on, and how many of them it only reads.
const MEMORY: usize = 3072;
const INPUT: usize = 1536;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let as_json = args.iter().any(|arg| arg == "-j");
    let rounds =
        args.iter().position(|arg| arg == "-r").and_then(|at| args.get(at + 1)?.parse().ok()).unwrap_or(41);
    let wanted = |name: &str| {
        let names: Vec<&String> = args.iter().filter(|arg| KERNELS.contains(&arg.as_str())).collect();
        names.is_empty() || names.iter().any(|arg| *arg == name)
    };
    let mut rows = Vec::new();
    for name in KERNELS.iter().filter(|name| wanted(name)) {
        match measure(name, rounds) {
            Ok(row) => rows.push(row),
            Err(why) => {
                eprintln!("error: {name}: {why}");
                std::process::exit(1);
            }
        }
    }
    if as_json {
        println!("{:#}", report::to_json(&rows));
    } else {
        print!("{}", report::to_text(&rows));
    }
}

/// What one computation came to.
struct Row {
    name: &'static str,
    /// Nanoseconds of a run by engine; nothing where the engine does not run it.
    times: Vec<(&'static str, Option<f64>)>,
    /// Instructions of the program, bytes of our code and microseconds to make it.
    insns: usize,
    /// Instructions that a run executes.
    executed: u64,
    code_bytes: usize,
    compile_us: f64,
    /// Microseconds from a verified program to the end of its first run: interpreted, compiled later, compiled.
    first_us: [f64; 3],
}

fn measure(name: &'static str, rounds: usize) -> Result<Row, String> {
    let built = build::build(name)?;
    let mut engines = engine::all(&built)?;
    let native =
        engines.iter().position(|engine| engine.name() == engine::NATIVE).ok_or("there is no native code")?;
    let expected = engines[native].check(&input())?;
    for engine in &mut engines {
        let found = engine.check(&input()).map_err(|e| format!("{}: {e}", engine.name()))?;
        if found != expected {
            let what = if found.0 == expected.0 { "memory" } else { "result" };
            return Err(format!(
                "{}: the {what} differs: {:#x}, natively {:#x}",
                engine.name(),
                found.0,
                expected.0
            ));
        }
    }
    let mut least = vec![f64::INFINITY; engines.len()];
    for _ in 0..rounds {
        for (least, engine) in least.iter_mut().zip(&mut engines) {
            *least = least.min(engine.time()?);
        }
    }
    let mut times: Vec<(&'static str, Option<f64>)> =
        engine::NAMES.iter().map(|name| (*name, None)).collect();
    for (engine, least) in engines.iter().zip(least) {
        for (name, time) in &mut times {
            if *name == engine.name() {
                *time = Some(least);
            }
        }
    }
    let compiled = engine::compiled(&built)?;
    Ok(Row {
        name,
        times,
        insns: built.insns_of_global().len(),
        executed: engine::executed(&built, &input())?,
        code_bytes: compiled.code_bytes,
        compile_us: compiled.time.as_secs_f64() * 1e6,
        first_us: engine::first_runs(&built)?,
    })
}

/// The memory at the beginning: a packet with headers, numbers, and two strings that are equal for a while.
fn input() -> Vec<u8> {
    let mut memory = vec![0; MEMORY];
    let mut state = 0x1234_5678_u32;
    for byte in &mut memory[..INPUT] {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    }
    memory[12..14].copy_from_slice(&[0x08, 0x00]);
    memory[14] = 0x45;
    memory[23] = 17;
    for n in 0..250 {
        let letter = b'a' + (n % 26) as u8;
        (memory[600 + n], memory[900 + n]) = (letter, letter);
    }
    (memory[850], memory[1150]) = (1, 2);
    memory[1500..1502].copy_from_slice(&300u16.to_le_bytes());
    memory
}
