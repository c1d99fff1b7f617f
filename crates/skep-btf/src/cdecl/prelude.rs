//! Names that BPF programs get from headers which are not read: types, a few structures, and constants.
//!
//! A definition in the text goes before these, so they never clash with it.

/// Typedefs, each by its name and the type it stands for.
const TYPEDEFS: &[(&str, &str)] = &[
    ("__s8", "signed char"),
    ("__u8", "unsigned char"),
    ("__s16", "short"),
    ("__u16", "unsigned short"),
    ("__s32", "int"),
    ("__u32", "unsigned int"),
    ("__s64", "long long"),
    ("__u64", "unsigned long long"),
    ("__s128", "__int128"),
    ("__u128", "unsigned __int128"),
    ("s8", "__s8"),
    ("u8", "__u8"),
    ("s16", "__s16"),
    ("u16", "__u16"),
    ("s32", "__s32"),
    ("u32", "__u32"),
    ("s64", "__s64"),
    ("u64", "__u64"),
    ("s128", "__s128"),
    ("u128", "__u128"),
    ("int8_t", "signed char"),
    ("uint8_t", "unsigned char"),
    ("int16_t", "short"),
    ("uint16_t", "unsigned short"),
    ("int32_t", "int"),
    ("uint32_t", "unsigned int"),
    ("int64_t", "long"),
    ("uint64_t", "unsigned long"),
    ("u_int8_t", "unsigned char"),
    ("u_int16_t", "unsigned short"),
    ("u_int32_t", "unsigned int"),
    ("u_int64_t", "unsigned long"),
    ("int_least8_t", "signed char"),
    ("uint_least8_t", "unsigned char"),
    ("int_least32_t", "int"),
    ("uint_least32_t", "unsigned int"),
    ("__int128_t", "__int128"),
    ("__uint128_t", "unsigned __int128"),
    ("intmax_t", "long"),
    ("uintmax_t", "unsigned long"),
    ("intptr_t", "long"),
    ("uintptr_t", "unsigned long"),
    ("ptrdiff_t", "long"),
    ("size_t", "unsigned long"),
    ("ssize_t", "long"),
    ("__kernel_size_t", "unsigned long"),
    ("__kernel_ssize_t", "long"),
    ("__kernel_ulong_t", "unsigned long"),
    ("__kernel_long_t", "long"),
    ("__kernel_pid_t", "int"),
    ("__kernel_dev_t", "unsigned int"),
    ("__kernel_loff_t", "long long"),
    ("__kernel_time64_t", "long long"),
    ("__be16", "__u16"),
    ("__be32", "__u32"),
    ("__be64", "__u64"),
    ("__le16", "__u16"),
    ("__le32", "__u32"),
    ("__le64", "__u64"),
    ("__sum16", "__u16"),
    ("__wsum", "__u32"),
    ("__poll_t", "unsigned int"),
    ("__aligned_u64", "unsigned long long __attribute__((aligned(8)))"),
    ("__aligned_be64", "__be64 __attribute__((aligned(8)))"),
    ("bool", "_Bool"),
    ("uchar", "unsigned char"),
    ("ushort", "unsigned short"),
    ("uint", "unsigned int"),
    ("ulong", "unsigned long"),
    ("u_char", "unsigned char"),
    ("u_short", "unsigned short"),
    ("u_int", "unsigned int"),
    ("u_long", "unsigned long"),
    ("wchar_t", "int"),
    ("pid_t", "int"),
    ("tid_t", "int"),
    ("uid_t", "unsigned int"),
    ("gid_t", "unsigned int"),
    ("mode_t", "unsigned int"),
    ("umode_t", "unsigned short"),
    ("fmode_t", "unsigned int"),
    ("gfp_t", "unsigned int"),
    ("dev_t", "unsigned int"),
    ("ino_t", "unsigned long"),
    ("nlink_t", "unsigned int"),
    ("off_t", "long"),
    ("loff_t", "long long"),
    ("time_t", "long"),
    ("time64_t", "long long"),
    ("ktime_t", "long long"),
    ("clock_t", "long"),
    ("clockid_t", "int"),
    ("timer_t", "int"),
    ("key_t", "int"),
    ("socklen_t", "unsigned int"),
    ("sa_family_t", "unsigned short"),
    ("in_port_t", "unsigned short"),
    ("in_addr_t", "unsigned int"),
    ("sector_t", "u64"),
    ("blkcnt_t", "u64"),
    ("dma_addr_t", "u64"),
    ("phys_addr_t", "u64"),
    ("resource_size_t", "u64"),
    ("pgoff_t", "unsigned long"),
    ("kuid_t", "struct { uid_t val; }"),
    ("kgid_t", "struct { gid_t val; }"),
    ("atomic_t", "struct { int counter; }"),
    ("atomic64_t", "struct { s64 counter; }"),
];

/// Structures that records hold by value.
const RECORDS: &[(&str, &str)] = &[
    ("in_addr", "struct in_addr { __be32 s_addr; };"),
    (
        "in6_addr",
        "struct in6_addr { union { __u8 u6_addr8[16]; __be16 u6_addr16[8]; __be32 u6_addr32[4]; } in6_u; };",
    ),
    ("timespec", "struct timespec { long tv_sec; long tv_nsec; };"),
    ("timespec64", "struct timespec64 { time64_t tv_sec; long tv_nsec; };"),
    ("timeval", "struct timeval { long tv_sec; long tv_usec; };"),
    ("list_head", "struct list_head { struct list_head *next, *prev; };"),
    ("bpf_spin_lock", "struct bpf_spin_lock { __u32 val; };"),
    ("bpf_timer", "struct bpf_timer { __u64 __opaque[2]; } __attribute__((aligned(8)));"),
];

/// Values that array lengths are given with.
const CONSTANTS: &[(&str, i128)] = &[
    ("TASK_COMM_LEN", 16),
    ("NAME_MAX", 255),
    ("PATH_MAX", 4096),
    ("FILENAME_MAX", 4096),
    ("DISK_NAME_LEN", 32),
    ("IFNAMSIZ", 16),
    ("INET_ADDRSTRLEN", 16),
    ("INET6_ADDRSTRLEN", 46),
    ("BPF_TAG_SIZE", 8),
    ("BPF_OBJ_NAME_LEN", 16),
    ("BPF_BUILD_ID_SIZE", 20),
    ("PERF_MAX_STACK_DEPTH", 127),
    ("CHAR_BIT", 8),
    ("SCHAR_MAX", 127),
    ("UCHAR_MAX", 255),
    ("SHRT_MAX", 32767),
    ("USHRT_MAX", 65535),
    ("INT_MAX", i32::MAX as i128),
    ("INT_MIN", i32::MIN as i128),
    ("UINT_MAX", u32::MAX as i128),
    ("LONG_MAX", i64::MAX as i128),
    ("LONG_MIN", i64::MIN as i128),
    ("ULONG_MAX", u64::MAX as i128),
    ("U8_MAX", u8::MAX as i128),
    ("U16_MAX", u16::MAX as i128),
    ("U32_MAX", u32::MAX as i128),
    ("U64_MAX", u64::MAX as i128),
    ("PAGE_SIZE", 4096),
    ("NULL", 0),
    ("false", 0),
    ("true", 1),
];

/// The declaration of a typedef, as text.
pub(super) fn typedef(name: &str) -> Option<String> {
    lookup(TYPEDEFS, name).map(|of| format!("typedef {of} {name};"))
}

/// The declaration of `struct name`, as text.
pub(super) fn record(name: &str) -> Option<String> {
    lookup(RECORDS, name).map(ToOwned::to_owned)
}

pub(super) fn constant(name: &str) -> Option<i128> {
    lookup(CONSTANTS, name)
}

/// Names of all typedefs, for suggestions.
pub(super) fn typedef_names() -> impl Iterator<Item = &'static str> {
    TYPEDEFS.iter().map(|(name, _)| *name)
}

fn lookup<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.iter().find(|(n, _)| *n == name).map(|(_, value)| *value)
}

/// Words that say something to the kernel, sparse or the compiler, but nothing about a layout.
const ANNOTATIONS: &[&str] = &[
    "__user",
    "__kernel",
    "__iomem",
    "__percpu",
    "__rcu",
    "__force",
    "__bitwise",
    "__nocast",
    "__safe",
    "__private",
    "__randomize_layout",
    "__no_randomize_layout",
    "__kptr",
    "__kptr_untrusted",
    "__percpu_kptr",
    "__uptr",
    "__arena",
    "__maybe_unused",
    "__always_unused",
    "__weak",
    "__hidden",
    "__ksym",
    "__kconfig",
    "__may_alias",
    "__must_check",
    "__ctx_ptr",
    "__extension__",
];

pub(super) fn is_annotation(word: &str) -> bool {
    ANNOTATIONS.contains(&word)
}
