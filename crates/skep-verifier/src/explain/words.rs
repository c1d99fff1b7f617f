//! What a register holds, in words.

use crate::log::value::Value;

/// Kinds of pointers whose name alone does not say what they point to.
const POINTERS: &[(&str, &str)] = &[
    ("ctx", "the context"),
    ("fp", "a pointer to the stack"),
    ("map_ptr", "a map"),
    ("map_key", "a pointer to a key of a map"),
    ("pkt", "a pointer into the packet"),
    ("pkt_meta", "a pointer to the packet's metadata"),
    ("pkt_end", "the end of the packet"),
    ("flow_keys", "a pointer to the flow's keys"),
    ("sock", "a socket"),
    ("sock_common", "a socket, of which only the common part is known"),
    ("tcp_sock", "a TCP socket"),
    ("xdp_sock", "an XDP socket"),
    ("tp_buffer", "a tracepoint's buffer"),
    ("mem", "a pointer to memory"),
    ("rdonly_mem", "a pointer to read-only memory"),
    ("ringbuf_mem", "a record of a ring buffer"),
    ("buf", "a pointer to a buffer"),
    ("rdonly_buf", "a pointer to a read-only buffer"),
    ("arena", "a pointer into the arena"),
    ("func", "a function"),
    ("dynptr_ptr", "a dynptr"),
    ("data", "data on the stack"),
];

/// The flags before a kernel type's name.
const FLAGS: &[(&str, &str)] = &[
    ("trusted_", "a valid"),
    ("rcu_", "an RCU-protected"),
    ("untrusted_", "a possibly stale"),
    ("percpu_", "a per-CPU"),
    ("user_", "a user-space"),
];

/// A value in words: `a value of map `counts` (8 bytes), or NULL`.
pub(super) fn describe(value: &Value) -> String {
    if value.is_scalar() {
        return number(value);
    }
    let base = value.kind.strip_suffix("_or_null").unwrap_or(&value.kind);
    let mut text = match (base, &value.map, value.value_size) {
        ("map_value", Some(map), Some(bytes)) => {
            format!("a pointer to a value of map `{map}` ({bytes} bytes)")
        }
        ("map_value", None, Some(bytes)) => format!("a pointer to a value of a map ({bytes} bytes)"),
        ("map_ptr", Some(map), _) => format!("the map `{map}`"),
        _ => pointer(base),
    };
    if let Some(size) = value.size {
        text += &format!(" ({size} bytes)");
    }
    text += &position(value);
    if let (true, Some(bytes @ 1..)) = (value.is_packet(), value.range) {
        text += &format!(", of which {bytes} bytes from its start are known to exist");
    }
    if value.may_be_null() {
        text += ", or NULL";
    }
    text
}

fn pointer(base: &str) -> String {
    if let Some((_, words)) = POINTERS.iter().find(|(name, _)| *name == base) {
        return (*words).to_owned();
    }
    let Some((flags, name)) = base.split_once("ptr_") else { return format!("a pointer of type `{base}`") };
    let name = name.strip_prefix("or_null_").unwrap_or(name);
    let flag = FLAGS.iter().find(|(flag, _)| flags.contains(flag)).map_or("a", |(_, words)| words);
    format!("{flag} pointer to `struct {name}`")
}

/// Where in its memory a pointer points.
fn position(value: &Value) -> String {
    let fixed = match (value.off, value.kind.as_str()) {
        (0, _) => String::new(),
        (off, "fp") => format!(" at {off}"),
        (off, _) => format!(" at offset {off}"),
    };
    let is_variable = value.umax.is_some() || value.smin.is_some() || value.smax.is_some();
    if is_variable { format!("{fixed} plus {}", number(value)) } else { fixed }
}

/// A number in words: `a number from 0 to 255`.
pub(super) fn number(value: &Value) -> String {
    if let Some(number) = value.number {
        return format!("the number {}", show(number));
    }
    // Ends this far out limit nothing.
    let near = |end: &i64| end.unsigned_abs() < 1 << 62;
    match (value.least().filter(near), value.umax, value.smax.filter(near)) {
        (Some(least), Some(most), _) if least >= 0 => {
            let least = value.umin.map_or(least as u64, |umin| umin.max(least as u64));
            format!("a number from {} to {}", show(least as i64), show_unsigned(most))
        }
        (Some(least), _, Some(most)) => format!("a number from {} to {}", show(least), show(most)),
        (None, _, Some(most)) => format!("a number of at most {}, perhaps negative", show(most)),
        (Some(least), _, None) => format!("a number of at least {}", show(least)),
        _ => match value.umin {
            Some(least) => {
                format!("a number of at least {} (unsigned), with no upper limit", show_unsigned(least))
            }
            None => "any number".to_owned(),
        },
    }
}

fn show(x: i64) -> String {
    if x.unsigned_abs() < 1 << 20 {
        x.to_string()
    } else if x < 0 {
        format!("-{:#x}", x.unsigned_abs())
    } else {
        format!("{x:#x}")
    }
}

fn show_unsigned(x: u64) -> String {
    if x < 1 << 20 { x.to_string() } else { format!("{x:#x}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let check =
            |text: &str, expected: &str| assert_eq!(describe(&Value::parse(text)), expected, "{text}");
        check(
            "map_value_or_null(id=1,map=counts,ks=4,vs=8)",
            "a pointer to a value of map `counts` (8 bytes), or NULL",
        );
        check("scalar()", "any number");
        check("5", "the number 5");
        check(
            "scalar(smin=smin32=0,smax=umax=smax32=umax32=255,var_off=(0x0; 0xff))",
            "a number from 0 to 255",
        );
        check("scalar(smax=99)", "a number of at most 99, perhaps negative");
        check("fp-16", "a pointer to the stack at -16");
        check("trusted_ptr_or_null_task_struct(id=1)", "a valid pointer to `struct task_struct`, or NULL");
        check("pkt(off=14,r=0)", "a pointer into the packet at offset 14");
        check("pkt(r=14)", "a pointer into the packet, of which 14 bytes from its start are known to exist");
    }
}
