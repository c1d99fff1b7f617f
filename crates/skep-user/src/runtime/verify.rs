//! Verification of a program that is loaded: what bpf(2) says of it as the verifier takes it, and what comes of the verdict.
//!
//! The verifier refers to maps by number, so descriptors become numbers here. A program that is accepted is run with those,
//! and compiled when it has run a few times. What the verifier cannot judge yet runs as it was given: the interpreter checks
//! every access anyway.

use std::sync::Arc;

use skep_btf::{Btf, Kind, TypeId};
use skep_isa::table::LD_IMM64;
use skep_isa::uapi::{AttachType, MapType, ProgType};
use skep_isa::{Insn, Reg};
use skep_runtime::command::ProgLoad;
use skep_runtime::{Error, Fd, Result};
use skep_verifier::log::{Level, Recording};
use skep_verifier::{Attach, Input, MapInfo, Outcome, Rejection, Target, prove, verify_recorded};
use skep_vm::env::KERNEL_HALF;
use skep_vm::map::flags;
use skep_vm::{Map, MapRef, PrepareError, PrepareErrorKind, Program, ProgramInfo, Resolve};

use super::{Diagnostic, GPL_COMPATIBLE, UserRuntime};
use crate::objects::Types;

/// `BPF_F_SLEEPABLE`.
const SLEEPABLE: u32 = 1 << 4;

/// Advice for whoever wants to see what a rejected program does.
const ANYWAY: &str = "`--unverified` runs it anyway, with every access checked";

impl UserRuntime {
    /// Makes a program ready to run: verified, or where the configuration says so, as it is.
    pub(super) fn prepare(&self, spec: &ProgLoad<'_>, info: ProgramInfo) -> Result<Program> {
        let insns = self.without_absent(spec.insns);
        let spec = &ProgLoad { insns: &insns, ..spec.clone() };
        if self.shared.config.unverified {
            return self.prepare_unverified(spec, info);
        }
        let maps = NumberedMaps::of(self, spec)?;
        let types = spec.btf.map(|fd| self.objects.types(fd)).transpose()?;
        match self.judge(spec, &maps, types.as_deref()) {
            Outcome::Accept(verified) => {
                let map = |reference: MapRef| match reference {
                    MapRef::Index(index) => maps.maps.get(usize::try_from(index).ok()?).cloned(),
                    MapRef::Fd(_) => None,
                };
                let resolve = References { map, kernel: self.types() };
                Program::prepare_verified(&verified, &resolve, info).map_err(|e| self.not_prepared(&e))
            }
            Outcome::Reject(rejection) => Err(self.refusal(&rejection, spec, &maps, types.as_deref())),
            Outcome::Unsupported(unsupported) => {
                self.tell(Diagnostic::Unverified {
                    program: spec.name.to_owned(),
                    reason: unsupported.to_string(),
                });
                self.prepare_unverified(spec, info)
            }
        }
    }

    /// The instructions with 0 as the address of kernel functions that are not here. They are asked for by programs that
    /// can do without them, as the kernel's loader lets them do on kernels that lack one.
    fn without_absent(&self, insns: &[Insn]) -> Vec<Insn> {
        let mut insns = insns.to_vec();
        let kernel = References { map: |_| None, kernel: self.types() };
        for at in 0..insns.len().saturating_sub(1) {
            let first = insns[at];
            if first.code == LD_IMM64
                && first.src() == BTF_ID
                && kernel.kfunc(first.imm, insns[at + 1].imm as i16).is_some()
                && kernel.ksym(first.imm.cast_unsigned(), insns[at + 1].imm).is_none()
            {
                insns[at] = Insn { imm: 0, ..first.with_src(Reg(0)) };
                insns[at + 1].imm = 0;
            }
        }
        insns
    }

    /// Every access is checked when it happens.
    fn prepare_unverified(&self, spec: &ProgLoad<'_>, info: ProgramInfo) -> Result<Program> {
        super::check_licence(spec)?;
        let map = |reference: MapRef| self.map_of(reference, spec);
        let resolve = References { map, kernel: self.types() };
        Program::prepare(spec.insns, &resolve, info).map_err(|e| self.not_prepared(&e))
    }

    fn not_prepared(&self, error: &PrepareError) -> Error {
        let errno = error.errno().0;
        let PrepareErrorKind::Ksym(id) = error.kind else { return Error::os(errno, error.to_string()) };
        let name = self.types().name(TypeId(id)).unwrap_or_default();
        Error::os(
            errno,
            format!("instruction {}: user space does not have the kernel's `{name}`", error.insn),
        )
        .hint("leave the program out with `--without PROGRAM`, or use the kernel runtime")
    }

    /// The map that an instruction refers to.
    pub(super) fn map_of(&self, reference: MapRef, spec: &ProgLoad<'_>) -> Option<Arc<Map>> {
        let fd = match reference {
            MapRef::Fd(fd) => Fd(fd),
            MapRef::Index(index) => *spec.fd_array.get(usize::try_from(index).ok()?)?,
        };
        self.objects.map(fd).ok()
    }

    fn judge(&self, spec: &ProgLoad<'_>, maps: &NumberedMaps, types: Option<&Types>) -> Outcome {
        self.with_input(spec, maps, types, |input| prove(input).outcome)
    }

    /// The verifier's answer in the form of the kernel's: the log of the path that fails, which the verifier walks once more.
    /// The errno is the one that the kernel most often gives.
    fn refusal(
        &self,
        rejection: &Rejection,
        spec: &ProgLoad<'_>,
        maps: &NumberedMaps,
        types: Option<&Types>,
    ) -> Error {
        /// Of a long path the end says why.
        const KEPT_BYTES: usize = 64 << 10;
        let mut log = String::new();
        self.with_input(spec, maps, types, |input| {
            let recording = Recording {
                level: Some(Level::Path),
                keep_bytes: KEPT_BYTES,
                sink: Some(Box::new(|text: &str| log.push_str(text))),
                ..Recording::default()
            };
            verify_recorded(input, recording);
        });
        if log.is_empty() {
            log = format!("the verifier rejects program `{}`: {rejection}", spec.name);
        }
        Error::rejected(libc::EACCES, log).hint(ANYWAY)
    }

    /// Says of a program what the verifier wants to know.
    fn with_input<T>(
        &self,
        spec: &ProgLoad<'_>,
        maps: &NumberedMaps,
        types: Option<&Types>,
        then: impl FnOnce(&Input<'_>) -> T,
    ) -> T {
        let kernel = Target {
            btf: Some(Arc::clone(self.types())),
            modules: Vec::new(),
            cpus: skep_vm::possible_cpus(),
        };
        let infos: Vec<MapInfo> = maps.maps.iter().map(|map| map_info(map, types)).collect();
        let btf: Option<Arc<Btf>> = types.map(|types| Arc::clone(&types.btf));
        let input = Input {
            name: spec.name,
            prog_type: spec.prog_type,
            attach_type: spec.expected_attach_type.unwrap_or(AttachType(0)),
            attach: attach(spec),
            gpl: GPL_COMPATIBLE.contains(&spec.license),
            sleepable: spec.prog_flags & SLEEPABLE != 0,
            flags: spec.prog_flags,
            insns: &maps.insns,
            maps: &infos,
            btf,
            func_info: &func_info(spec),
            kfunc_modules: &[],
            module_vars: &[],
            target: &kernel,
        };
        then(&input)
    }

    /// Tells whoever listens.
    fn tell(&self, diagnostic: Diagnostic) {
        if let Some(hear) = &self.shared.config.diagnostics {
            hear(diagnostic);
        }
    }
}

/// What instructions refer to: maps, and kernel functions by their types.
struct References<'a, F> {
    map: F,
    kernel: &'a Btf,
}

impl<F: Fn(MapRef) -> Option<Arc<Map>>> Resolve for References<'_, F> {
    fn map(&self, reference: MapRef) -> Option<Arc<Map>> {
        (self.map)(reference)
    }

    /// There are no kernel variables here; functions have addresses that nobody can use but to see that there are such.
    fn ksym(&self, btf_id: u32, _: i32) -> Option<u64> {
        let name = self.kfunc(btf_id.cast_signed(), 0)?;
        skep_vm::helper::is_kfunc_served(&name).then(|| KERNEL_HALF | u64::from(btf_id) << 4)
    }

    fn kfunc(&self, btf_id: i32, fd_idx: i16) -> Option<String> {
        let id = TypeId(u32::try_from(btf_id).ok().filter(|_| fd_idx == 0)?);
        let is_function = self.kernel.type_by_id(id).is_ok_and(|ty| ty.kind() == Kind::Func);
        is_function.then(|| self.kernel.name(id).ok()).flatten().map(str::to_owned)
    }
}

/// A program whose map references are numbers of `maps`.
struct NumberedMaps {
    insns: Vec<Insn>,
    maps: Vec<Arc<Map>>,
}

/// Pseudo sources of `LD_IMM64`: a map's descriptor or number, and the same for an address in its value.
const MAP_FD: Reg = Reg(1);
const MAP_VALUE: Reg = Reg(2);
const MAP_IDX: Reg = Reg(5);
const MAP_IDX_VALUE: Reg = Reg(6);
/// A variable or function of the kernel (`BPF_PSEUDO_BTF_ID`).
const BTF_ID: Reg = Reg(3);

impl NumberedMaps {
    fn of(runtime: &UserRuntime, spec: &ProgLoad<'_>) -> Result<Self> {
        let mut numbered = Self { insns: spec.insns.to_vec(), maps: Vec::new() };
        let mut pc = 0;
        while pc < numbered.insns.len() {
            let insn = numbered.insns[pc];
            let (reference, pseudo) = match insn.src() {
                MAP_FD => (Some(MapRef::Fd(insn.imm)), MAP_IDX),
                MAP_VALUE => (Some(MapRef::Fd(insn.imm)), MAP_IDX_VALUE),
                MAP_IDX | MAP_IDX_VALUE => (Some(MapRef::Index(insn.imm)), insn.src()),
                _ => (None, insn.src()),
            };
            let wide = insn.code == LD_IMM64;
            if let Some(reference) = reference.filter(|_| wide) {
                let map = runtime.map_of(reference, spec).ok_or_else(|| no_map(pc, reference))?;
                numbered.insns[pc] = Insn { imm: numbered.number(map), ..insn.with_src(pseudo) };
            }
            pc += if wide { 2 } else { 1 };
        }
        Ok(numbered)
    }

    fn number(&mut self, map: Arc<Map>) -> i32 {
        let known = self.maps.iter().position(|known| Arc::ptr_eq(known, &map));
        known.unwrap_or_else(|| {
            self.maps.push(map);
            self.maps.len() - 1
        }) as i32
    }
}

fn no_map(pc: usize, reference: MapRef) -> Error {
    let message = match reference {
        MapRef::Fd(fd) => format!("instruction {pc}: descriptor {fd} is no map"),
        MapRef::Index(index) => format!("instruction {pc}: there is no map of index {index}"),
    };
    Error::os(libc::EBADF, message)
}

/// A map as the verifier takes it. Types count where they are those of the program.
fn map_info(map: &Map, types: Option<&Types>) -> MapInfo {
    let spec = map.spec();
    let value = spec.types.filter(|of| types.is_some_and(|types| types.id == of.btf_id));
    MapInfo {
        name: spec.name.clone(),
        ty: spec.map_type,
        key_size: spec.key_size,
        value_size: spec.value_size,
        max_entries: spec.max_entries,
        flags: spec.map_flags,
        value_type: value.map_or(0, |types| types.value),
        frozen: constant(map),
        inner: spec.inner.as_deref().map(|inner| Box::new(map_info(inner, types))),
    }
}

/// Contents that neither programs nor bpf(2) can change any more.
fn constant(map: &Map) -> Option<Arc<[u8]>> {
    let spec = map.spec();
    let fixed = spec.map_type == MapType::ARRAY
        && spec.max_entries == 1
        && spec.map_flags & flags::RDONLY_PROG != 0
        && map.is_frozen();
    let mut value = vec![0; spec.value_stride()];
    (fixed && map.lookup(&[0; 4], &mut value, 0).is_ok()).then(|| {
        value.truncate(spec.value_size as usize);
        Arc::from(value)
    })
}

/// What the program attaches to, where its type says that by a kernel type.
fn attach(spec: &ProgLoad<'_>) -> Attach {
    match spec.prog_type {
        ProgType::TRACING if spec.attach_btf_id != 0 => Attach::Kernel { obj: 0, id: spec.attach_btf_id },
        ProgType::TRACING => Attach::Missing("a tracepoint".to_owned()),
        _ => Attach::None,
    }
}

/// First instruction and type of each function.
fn func_info(spec: &ProgLoad<'_>) -> Vec<(u32, u32)> {
    let (bytes, size) = spec.func_info;
    let word = |record: &[u8], at: usize| Some(u32::from_ne_bytes(record.get(at..at + 4)?.try_into().ok()?));
    let records = bytes.chunks_exact((size as usize).max(8));
    records.filter_map(|record| Some((word(record, 0)?, word(record, 4)?))).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use skep_isa::assemble;
    use skep_runtime::command::{Command, MapCreate, Reply};
    use skep_runtime::{ErrorKind, SharedRuntime};

    use super::*;
    use crate::Config;

    fn runtime(config: Config) -> SharedRuntime {
        UserRuntime::new(config).expect("a runtime")
    }

    fn load_insns(runtime: &SharedRuntime, insns: &[Insn]) -> Result<Fd> {
        let spec = ProgLoad::new(ProgType::RAW_TRACEPOINT, "test", insns, "GPL");
        match runtime.bpf(Command::ProgLoad(&spec))? {
            Reply::Fd(fd) => Ok(fd),
            other => panic!("no program but {other:?}"),
        }
    }

    fn load(runtime: &SharedRuntime, text: &str) -> Result<Fd> {
        load_insns(runtime, &assemble(text).expect("the program can be assembled").insns)
    }

    #[test]
    fn rejected_programs_are_refused_in_the_kernels_words() {
        let reads_nothing = "r0 = r2\nexit";
        let error = load(&runtime(Config::default()), reads_nothing).expect_err("`r2` holds nothing");
        assert_eq!((error.kind(), error.errno()), (ErrorKind::Rejected, libc::EACCES));
        assert!(error.to_string().contains("R2 !read_ok"), "{error}");
        let unverified = runtime(Config { unverified: true, ..Config::default() });
        load(&unverified, reads_nothing).expect("the interpreter checks what it does");
    }

    #[test]
    fn calls_that_no_run_comes_to_need_not_be_served() {
        let runtime = runtime(Config::default());
        load(&runtime, "r0 = 0\nif r0 == 0 goto +1\ncall 195896080\nexit").expect("it is never called");
        let error = load(&runtime, "call 195896080\nexit").expect_err("it is called");
        assert!(error.to_string().contains("invalid func unknown#195896080"), "{error}");
    }

    #[test]
    fn descriptors_of_maps_become_numbers() {
        let runtime = runtime(Config::default());
        let values = MapCreate::new(MapType::ARRAY, "values", 4, 8, 1);
        let Ok(Reply::Fd(map)) = runtime.bpf(Command::MapCreate(&values)) else { panic!("no map") };
        let with = |off: u32| {
            let text = format!("r1 = map[idx:0]+{off}\nr0 = *(u64 *)(r1 + 0)\nexit");
            let mut insns = assemble(&text).expect("the program can be assembled").insns;
            insns[0] = Insn { imm: map.0, ..insns[0].with_src(MAP_VALUE) };
            load_insns(&runtime, &insns)
        };
        with(0).expect("the value is in bounds");
        let error = with(4).expect_err("the access goes over the end of the value");
        assert!(error.to_string().contains("outside of the allowed memory range"), "{error}");
    }

    #[test]
    fn what_cannot_be_judged_runs_checked_and_is_told() {
        let told: Arc<Mutex<Vec<Diagnostic>>> = Arc::default();
        let hear = Arc::clone(&told);
        let diagnostics: crate::Diagnostics = Arc::new(move |said| hear.lock().expect("no panic").push(said));
        let runtime = runtime(Config { diagnostics: Some(diagnostics), ..Config::default() });
        load(&runtime, "r1 = 1\ncallx r1\nr0 = 0\nexit").expect("an indirect call is not judged");
        let told = told.lock().expect("no panic");
        assert!(
            matches!(&told[..], [Diagnostic::Unverified { program, .. }] if program == "test"),
            "{told:?}"
        );
    }
}
