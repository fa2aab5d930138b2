//! Which system calls stop: a classic BPF program, as seccomp takes it.
//!
//! Calls of another architecture (32-bit programs on a 64-bit system) and `io_uring`, through which files can be opened without a
//! call, fail with "not implemented": better that than to go by unseen.

use std::mem::offset_of;

use libc::{c_long, sock_filter};

use super::Calls;

#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xC000_003E; // AUDIT_ARCH_X86_64
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xC000_00B7; // AUDIT_ARCH_AARCH64

/// Set in the numbers of x32, a third way into the kernel.
#[cfg(target_arch = "x86_64")]
const X32: u32 = 0x4000_0000;

/// What opens, executes or changes.
const TOUCHING: &[c_long] = &[
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_truncate,
    libc::SYS_renameat2,
    libc::SYS_renameat,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_unlinkat,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_creat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_link,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_symlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mknod,
];

/// What looks or lists.
const LOOKING: &[c_long] = &[
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_getdents,
];

/// Looks, unless this argument says that the descriptor itself is meant: every read of a file asks for its size so.
const LOOKING_UNLESS_EMPTY: &[(c_long, u32)] = &[(libc::SYS_newfstatat, 3), (libc::SYS_statx, 2)];

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const SET: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// The program.
pub fn program(calls: Calls) -> Vec<sock_filter> {
    let refuse = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    let number = offset_of!(libc::seccomp_data, nr) as u32;
    let mut program = vec![
        step(LOAD, offset_of!(libc::seccomp_data, arch) as u32),
        jump(EQUAL, ARCH, 1, 0),
        step(RETURN, refuse),
        step(LOAD, number),
    ];
    #[cfg(target_arch = "x86_64")]
    program.extend([jump(SET, X32, 0, 1), step(RETURN, refuse)]);
    program.extend(answer(libc::SYS_io_uring_setup, refuse));
    let looking = match calls {
        Calls::All => LOOKING,
        Calls::Touching => &[],
    };
    for call in TOUCHING.iter().chain(looking) {
        program.extend(answer(*call, libc::SECCOMP_RET_USER_NOTIF));
    }
    if calls == Calls::All {
        for (call, flags) in LOOKING_UNLESS_EMPTY {
            program.extend(unless_empty(*call, *flags));
        }
    }
    program.push(step(RETURN, libc::SECCOMP_RET_ALLOW));
    program
}

/// With the call's number loaded: this answer to that call.
fn answer(call: c_long, answer: u32) -> [sock_filter; 2] {
    [jump(EQUAL, call as u32, 0, 1), step(RETURN, answer)]
}

fn unless_empty(call: c_long, flags: u32) -> [sock_filter; 5] {
    // The lower half of an argument: both architectures put it first.
    let flags = offset_of!(libc::seccomp_data, args) as u32 + flags * 8;
    [
        jump(EQUAL, call as u32, 0, 4),
        step(LOAD, flags),
        jump(SET, libc::AT_EMPTY_PATH as u32, 0, 1),
        step(RETURN, libc::SECCOMP_RET_ALLOW),
        step(RETURN, libc::SECCOMP_RET_USER_NOTIF),
    ]
}

fn step(code: u16, k: u32) -> sock_filter {
    jump(code, k, 0, 0)
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}
