//! Programs: descriptors put in place of numbers, and loaded.

use skep_isa::{Insn, Reg};
use skep_obj::map::MapKind;
use skep_obj::source::{FuncInfo, LineInfo};
use skep_obj::{Linked, LinkedProgram};
use skep_runtime::command::{Command, ProgLoad};
use skep_runtime::{Fd, Program, SharedRuntime};

use super::types::Types;
use super::{LoadedMap, LoadedProgram, Options, extend, refusal};
use crate::Result;

/// Pseudo sources of `LD_IMM64` (`include/uapi/linux/bpf.h`).
const PSEUDO_MAP_FD: Reg = Reg(1);
const PSEUDO_MAP_VALUE: Reg = Reg(2);
/// Opcode of a call, and a helper that does not exist: what stands where a map is referred to that was not created. The
/// verifier minds only when the program can come there.
const CALL: u8 = 0x85;
const NO_MAP: i32 = 0x7fff_0000;

/// Loads the programs that the object wants and that could be linked.
pub(super) fn load(
    runtime: &SharedRuntime,
    linked: &Linked,
    maps: &[Option<LoadedMap>],
    types: &Types,
    options: &Options,
) -> Result<Vec<Option<LoadedProgram>>> {
    let fd_array: Vec<Fd> = match linked.kfunc_modules.is_empty() {
        true => Vec::new(),
        // Index 0 means the kernel itself, and is not looked at.
        false => [Some(Fd(0))]
            .into_iter()
            .chain(linked.kfunc_modules.iter().map(|&module| types.module(Some(module))))
            .map(|fd| fd.unwrap_or(Fd(-1)))
            .collect(),
    };
    let load = |program: &LinkedProgram| -> Result<Option<LoadedProgram>> {
        if !program.autoload || program.result.is_err() {
            return Ok(None);
        }
        let insns = with_descriptors(program, maps, types);
        let (functions, lines) = (program.func_info_bytes(), program.line_info_bytes());
        let extends = extend::target(runtime, program, options)?;
        let spec = ProgLoad {
            expected_attach_type: program.expected_attach_type,
            kern_version: linked.kern_version,
            prog_flags: program.flags,
            btf: types.own(),
            func_info: (&functions, FuncInfo::SIZE),
            line_info: (&lines, LineInfo::SIZE),
            attach_btf_id: extends.map_or(program.attach_btf.map_or(0, |ty| ty.id.0), |(_, id)| id),
            attach_btf_obj: program.attach_btf.and_then(|ty| types.module(ty.module)),
            attach_prog: extends.map(|(fd, _)| fd),
            fd_array: &fd_array,
            token: options.token,
            ..ProgLoad::new(program.prog_type, &program.name, &insns, &linked.license)
        };
        let loaded = Program::load(runtime, &spec)
            .map_err(|e| refusal::explained(program, linked, types.refused(), e))?;
        bind_constants(runtime, &loaded, maps);
        Ok(Some(LoadedProgram { linked: program.clone(), program: loaded }))
    };
    linked.programs.iter().map(load).collect()
}

/// Has the object's constants live as long as the program, also where it does not read them: they say whose it is and which
/// version (`bpf_metadata_*`). Runtimes and kernels that cannot do that run the program as well.
fn bind_constants(runtime: &SharedRuntime, program: &Program, maps: &[Option<LoadedMap>]) {
    for constants in maps.iter().flatten().filter(|map| map.def.kind == MapKind::Rodata) {
        let _ = runtime.bpf(Command::ProgBindMap { prog: program.fd(), map: constants.map.fd() });
    }
}

/// The program's code with descriptors in place of numbers of maps and modules.
fn with_descriptors(program: &LinkedProgram, maps: &[Option<LoadedMap>], types: &Types) -> Vec<Insn> {
    let mut insns = program.insns.clone();
    for reference in &program.map_refs {
        let at = reference.insn;
        match maps.get(reference.map).and_then(Option::as_ref) {
            Some(loaded) => {
                let pseudo = if reference.value_off.is_some() { PSEUDO_MAP_VALUE } else { PSEUDO_MAP_FD };
                insns[at] = Insn { imm: loaded.map.fd().0, ..insns[at].with_src(pseudo) };
            }
            None => {
                let number = i32::try_from(reference.map).unwrap_or(0xffff) & 0xffff;
                let poison = Insn::new(CALL, Reg(0), Reg(0), 0, NO_MAP | number);
                insns[at..].iter_mut().take(2).for_each(|insn| *insn = poison);
            }
        }
    }
    for reference in &program.module_refs {
        if let (Some(fd), Some(second)) =
            (types.module(Some(reference.module)), insns.get_mut(reference.insn + 1))
        {
            second.imm = fd.0;
        }
    }
    insns
}

/// The map that a call of a helper that does not exist stands for.
pub(super) fn missing_map(helper: i32) -> Option<usize> {
    (helper & !0xffff == NO_MAP).then_some((helper & 0xffff) as usize)
}
