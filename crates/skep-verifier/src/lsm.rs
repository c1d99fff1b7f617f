//! Security hooks: which exist for programs, which may sleep, what they return. Names are without `bpf_lsm_`.

/// Hooks that are called where it is allowed to sleep (`sleepable_lsm_hooks`).
const SLEEPABLE: &[&str] = &[
    "bpf",
    "bpf_map",
    "bpf_map_create",
    "bpf_map_free",
    "bpf_prog",
    "bpf_prog_load",
    "bpf_token_capable",
    "bpf_token_cmd",
    "bpf_token_create",
    "bpf_token_free",
    "bprm_check_security",
    "bprm_committed_creds",
    "bprm_committing_creds",
    "bprm_creds_for_exec",
    "bprm_creds_from_file",
    "capget",
    "capset",
    "cred_prepare",
    "current_getlsmprop_subj",
    "current_getsecid_subj",
    "file_ioctl",
    "file_lock",
    "file_open",
    "file_post_open",
    "file_receive",
    "inode_create",
    "inode_free_security",
    "inode_getattr",
    "inode_getxattr",
    "inode_mknod",
    "inode_need_killpriv",
    "inode_post_setxattr",
    "inode_readlink",
    "inode_rename",
    "inode_rmdir",
    "inode_setattr",
    "inode_setxattr",
    "inode_symlink",
    "inode_unlink",
    "kernel_module_request",
    "kernel_read_file",
    "kernfs_init_security",
    "mmap_file",
    "netlink_send",
    "path_chmod",
    "path_chown",
    "path_link",
    "path_mkdir",
    "path_notify",
    "path_rename",
    "path_rmdir",
    "path_symlink",
    "path_truncate",
    "path_unlink",
    "release_secctx",
    "sb_alloc_security",
    "sb_eat_lsm_opts",
    "sb_kern_mount",
    "sb_mount",
    "sb_remount",
    "sb_set_mnt_opts",
    "sb_show_options",
    "sb_statfs",
    "sb_umount",
    "settime",
    "socket_accept",
    "socket_bind",
    "socket_connect",
    "socket_create",
    "socket_getpeername",
    "socket_getpeersec_dgram",
    "socket_getsockname",
    "socket_getsockopt",
    "socket_listen",
    "socket_post_create",
    "socket_recvmsg",
    "socket_sendmsg",
    "socket_shutdown",
    "socket_socketpair",
    "syslog",
    "task_alloc",
    "task_getlsmprop_obj",
    "task_getsecid_obj",
    "task_prctl",
    "task_setscheduler",
    "userns_create",
];

/// Hooks that do more than permit or refuse, which programs may not (`bpf_lsm_disabled_hooks`).
const DISABLED: &[&str] = &[
    "audit_rule_match",
    "getprocattr",
    "getselfattr",
    "inode_copy_up_xattr",
    "inode_getsecurity",
    "inode_listsecurity",
    "inode_need_killpriv",
    "ismaclabel",
    "key_getsecurity",
    "setprocattr",
    "vm_enough_memory",
    "xfrm_decode_session",
];

/// Hooks whose arguments may be on their way out, or in (`untrusted_lsm_hooks`).
const UNTRUSTED: &[&str] = &[
    "bpf_map_free",
    "bpf_prog_free",
    "file_alloc_security",
    "file_free_security",
    "sk_alloc_security",
    "sk_free_security",
    "task_free",
];

/// Hooks that answer yes or no; the others return an error or zero (`bool_lsm_hooks`).
const YES_OR_NO: &[&str] = &["audit_rule_known", "inode_xattr_skipcap", "xfrm_state_pol_flow_match"];

/// Hooks with a socket whose options a program of a cgroup may read and set.
const SOCKETS: &[&str] =
    &["inet_conn_established", "inet_csk_clone", "sock_graft", "socket_post_create", "socket_socketpair"];

/// A security hook, by the name of the kernel's function for programs.
#[derive(Clone, Copy)]
pub(crate) struct Hook<'a>(&'a str);

impl<'a> Hook<'a> {
    /// The hook behind `bpf_lsm_…`; one of no name, where the function is another.
    pub(crate) fn of(function: &'a str) -> Self {
        Self(function.strip_prefix("bpf_lsm_").unwrap_or_default())
    }

    pub(crate) fn may_sleep(self) -> bool {
        SLEEPABLE.contains(&self.0)
    }

    pub(crate) fn is_disabled(self) -> bool {
        DISABLED.contains(&self.0)
    }

    /// Does the kernel vouch for pointer arguments?
    pub(crate) fn vouches(self) -> bool {
        !UNTRUSTED.contains(&self.0)
    }

    pub(crate) fn has_socket_options(self) -> bool {
        SOCKETS.contains(&self.0)
    }

    /// What it returns, unless that is nothing (`bpf_lsm_get_retval_range`).
    pub(crate) fn range(self) -> (i32, i32) {
        const MAX_ERRNO: i32 = 4095;
        if YES_OR_NO.contains(&self.0) { (0, 1) } else { (-MAX_ERRNO, 0) }
    }
}
