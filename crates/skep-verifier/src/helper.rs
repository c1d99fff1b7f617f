//! Helpers as the verifier sees them: who may call them, with what arguments, and what each does to the state.

pub(crate) mod allowed;
pub(crate) mod proto;
pub(crate) mod set;
mod table;

use proto::Proto;
use skep_isa::uapi::ProgType;

/// The prototype of helper `id` for programs of this type.
pub(crate) fn find(id: u32, prog: ProgType) -> Option<&'static Proto> {
    let first = *FIRST.get(id as usize)?;
    table::ROWS[first as usize..]
        .iter()
        .take_while(|row| row.id == id)
        .find(|row| row.when.is_empty() || row.when.contains(&prog))
}

/// Where the rows of each helper start.
static FIRST: [u16; skep_isa::helper::ALL.len() + 1] = {
    let mut first = [table::ROWS.len() as u16; _];
    let mut i = table::ROWS.len();
    while i > 0 {
        i -= 1;
        first[table::ROWS[i].id as usize] = i as u16;
    }
    first
};

/// The name of helper `id` without `bpf_`.
pub(crate) fn short_name(id: u32) -> &'static str {
    skep_isa::helper::by_id(id)
        .map_or("unknown", |helper| helper.name.strip_prefix("bpf_").unwrap_or(helper.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_helper_has_a_prototype_with_as_many_arguments_as_its_declaration() {
        for helper in skep_isa::helper::ALL {
            let proto =
                find(helper.id, ProgType::UNSPEC).unwrap_or_else(|| panic!("{} has no row", helper.name));
            assert_eq!(proto.id, helper.id);
            let variadic = helper.args.iter().any(|(ty, _)| *ty == "...");
            if !variadic {
                assert!(proto.args.len() <= helper.args.len().max(2), "{}", helper.name);
            }
        }
    }

    #[test]
    fn sizes_follow_memory() {
        for id in 1..=211 {
            let Some(proto) = find(id, ProgType::UNSPEC) else { continue };
            for (i, arg) in proto.args.iter().enumerate() {
                if matches!(arg.kind, proto::ArgKind::Size { .. }) {
                    assert!(
                        i > 0 && proto.args[i - 1].kind == proto::ArgKind::Mem,
                        "helper {id} argument {i}"
                    );
                }
            }
        }
    }
}
