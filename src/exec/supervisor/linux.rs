//! With subreapers, and in memory that is shared.

use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use super::{KILL_ALL, Program};
use crate::exec::trace::Ends;

/// What a command gets to end by itself after SIGINT.
const INTERRUPT_GRACE_MS: i64 = 5000;
/// What the processes that a command left running get after SIGTERM.
const LEFTOVER_GRACE_MS: i64 = 500;
/// Of the supervisor and, until it executes something, of the command: system calls need little.
const STACK: usize = 32 * 1024;

/// Where system calls can be made without the C library, memory is shared.
const SHARED: i32 = if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
    libc::CLONE_VM
} else {
    0
};

/// A process that runs, and the memory that it runs in.
pub struct Supervised {
    pub pid: libc::pid_t,
    /// Not to be given back before it has ended.
    _stacks: Box<[Stack; 2]>,
}

#[repr(align(16))]
struct Stack([MaybeUninit<u8>; STACK]);

impl Stack {
    fn top(&mut self) -> *mut libc::c_void {
        self.0.as_mut_ptr_range().end.cast()
    }
}

/// What the supervisor is told. It holds until the command is executed.
struct Order {
    forge: libc::pid_t,
    /// The process group of a command that owns the terminal; 0 for a session of its own: what has no terminal can't stop
    /// for ever on a password prompt.
    group: libc::pid_t,
    /// Standard input, and output and error; none for forge's own.
    streams: Option<(i32, i32)>,
    /// Where it is told that nothing could be executed, and why; closed when something was.
    problem: i32,
    dir: *const libc::c_char,
    candidates: *const *const libc::c_char,
    argv: *const *const libc::c_char,
    script: *mut *const libc::c_char,
    env: *const *const libc::c_char,
    /// What the command does to be traced; null for nothing.
    traced: *const Ends,
    /// [`SHARED`], or nothing: to be traced takes the C library.
    sharing: i32,
    command_stack: *mut libc::c_void,
}

/// Starts a program below a supervisor. Without `streams` (standard input; output and error) it owns the terminal.
/// It ends with the thread that starts it. `traced` is what the command does to be traced: it alone, not the supervisor.
///
/// # Errors
/// The program doesn't exist or can't be executed, the directory is missing, the system is out of processes.
pub fn start(
    program: &mut Program,
    streams: Option<(OwnedFd, OwnedFd)>,
    traced: Option<Ends>,
) -> io::Result<Supervised> {
    let (mut problem, writer) = io::pipe()?;
    // SAFETY: a stack holds bytes of which nothing is asked.
    let mut stacks = unsafe { Box::<[Stack; 2]>::new_uninit().assume_init() };
    let [own, commands] = &mut *stacks;
    // SAFETY: plain system calls.
    let (forge, group) = unsafe { (libc::getpid(), libc::getpgid(0)) };
    let mut order = Order {
        forge,
        group: if streams.is_none() { group } else { 0 },
        streams: streams
            .as_ref()
            .map(|(input, output)| (input.as_raw_fd(), output.as_raw_fd())),
        problem: writer.as_raw_fd(),
        dir: program.dir.as_ptr(),
        candidates: program.candidates.pointers.as_ptr(),
        argv: program.argv.pointers.as_ptr(),
        script: program.script.as_mut_ptr(),
        env: program.env.pointers.as_ptr(),
        traced: traced.as_ref().map_or(ptr::null(), ptr::from_ref),
        sharing: if traced.is_some() { 0 } else { SHARED },
        command_stack: commands.top(),
    };
    // SAFETY: the stacks live until the process is reaped, the order until the command is executed, which is waited for below.
    let pid = unsafe { clone_silently(own.top(), &mut order) }?;
    // And what the tracer waits for, if nothing was started.
    drop((writer, streams, traced));
    let supervised = Supervised {
        pid,
        _stacks: stacks,
    };
    let mut why = [0; 4];
    match problem.read_exact(&mut why) {
        // Nobody can tell any more: it was executed.
        Err(_) => Ok(supervised),
        Ok(()) => {
            // SAFETY: our own child.
            unsafe { libc::waitpid(pid, ptr::null_mut(), 0) };
            Err(io::Error::from_raw_os_error(i32::from_ne_bytes(why)))
        }
    }
}

/// Clones with all signals blocked: a handler of forge's must not run in the supervisor.
unsafe fn clone_silently(stack: *mut libc::c_void, order: &mut Order) -> io::Result<libc::pid_t> {
    // SAFETY: valid sets; what the caller promises.
    unsafe {
        let (mut all, mut before): (libc::sigset_t, libc::sigset_t) =
            (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let flags = order.sharing | libc::SIGCHLD;
        let order: *mut Order = order;
        let pid = libc::clone(supervise, stack, flags, order.cast());
        let error = io::Error::last_os_error();
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, ptr::null_mut());
        if pid < 0 { Err(error) } else { Ok(pid) }
    }
}

/// The supervisor's life.
extern "C" fn supervise(order: *mut libc::c_void) -> i32 {
    // SAFETY: see the module's words; `order` holds until the command is executed.
    unsafe {
        let told = &*order.cast::<Order>();
        call(libc::SYS_setpgid, [0, 0, 0, 0]);
        call(
            libc::SYS_prctl,
            [libc::PR_SET_CHILD_SUBREAPER as usize, 1, 0, 0],
        );
        call(
            libc::SYS_prctl,
            [libc::PR_SET_PDEATHSIG as usize, KILL_ALL as usize, 0, 0],
        );
        if call(libc::SYS_getppid, [0; 4]) != told.forge as isize {
            exit(1); // forge died before the line above
        }
        // This one goes on when the command is executed.
        let flags = told.sharing | libc::CLONE_VFORK | libc::SIGCHLD;
        let command = libc::clone(become_command, told.command_stack, flags, order);
        if command < 0 {
            report(told, libc::EAGAIN);
            exit(1);
        }
        // The pipes are the command's alone.
        call(libc::SYS_close_range, [0, u32::MAX as usize, 0, 0]);
        look_after(command)
    }
}

unsafe fn report(order: &Order, why: i32) {
    // SAFETY: an open descriptor and a number.
    unsafe {
        let why: *const i32 = &why;
        call(
            libc::SYS_write,
            [order.problem as usize, why as usize, 4, 0],
        );
    }
}

extern "C" fn become_command(order: *mut libc::c_void) -> i32 {
    // SAFETY: as for `supervise`, which waits meanwhile.
    unsafe {
        let order = &*order.cast::<Order>();
        call(
            libc::SYS_prctl,
            [
                libc::PR_SET_PDEATHSIG as usize,
                libc::SIGKILL as usize,
                0,
                0,
            ],
        );
        if order.group == 0 {
            call(libc::SYS_setsid, [0; 4]);
        } else {
            call(libc::SYS_setpgid, [0, order.group as usize, 0, 0]);
        }
        if let Some((input, output)) = order.streams {
            for (from, to) in [(input, 0), (output, 1), (output, 2)] {
                call(libc::SYS_dup3, [from as usize, to, 0, 0]);
            }
        }
        // What forge ignores the command shall not.
        let mut default: libc::sigaction = std::mem::zeroed();
        default.sa_sigaction = libc::SIG_DFL;
        libc::sigaction(libc::SIGPIPE, &default, ptr::null_mut());
        let none: u64 = 0;
        let set: *const u64 = &none;
        call(
            libc::SYS_rt_sigprocmask,
            [libc::SIG_SETMASK as usize, set as usize, 0, 8],
        );
        let moved = call(libc::SYS_chdir, [order.dir as usize, 0, 0, 0]);
        let why = if moved < 0 {
            -moved
        } else if let Some(Err(error)) = order.traced.as_ref().map(|traced| traced.enter()) {
            error.raw_os_error().unwrap_or(libc::EINVAL) as isize
        } else {
            execute(order)
        };
        report(order, why as i32);
        exit(127)
    }
}

/// Returns only if nothing can be executed: with the reason.
unsafe fn execute(order: &Order) -> isize {
    let mut why = libc::ENOENT as isize;
    let mut candidate = order.candidates;
    // SAFETY: strings and lists that end with a null.
    unsafe {
        while !(*candidate).is_null() {
            let path = *candidate;
            let argv = order.argv as usize;
            match -call(
                libc::SYS_execve,
                [path as usize, argv, order.env as usize, 0],
            ) as i32
            {
                libc::ENOENT | libc::ENOTDIR => {}
                libc::EACCES => why = libc::EACCES as isize,
                libc::ENOEXEC => {
                    // A script that doesn't say of what: of the shell.
                    *order.script.add(1) = path;
                    let (shell, argv) = (*order.script as usize, order.script as usize);
                    return -call(libc::SYS_execve, [shell, argv, order.env as usize, 0]);
                }
                other => return other as isize,
            }
            candidate = candidate.add(1);
        }
    }
    why
}

/// Signals as the kernel takes them.
const fn set_of(signals: &[i32]) -> u64 {
    let (mut set, mut at) = (0, 0);
    while at < signals.len() {
        set |= 1 << (signals[at] - 1);
        at += 1;
    }
    set
}

const WATCHED: u64 = set_of(&[
    libc::SIGCHLD,
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGTSTP,
    KILL_ALL,
]);

unsafe fn look_after(command: libc::pid_t) -> ! {
    unsafe {
        let mut grace: Option<i64> = None;
        let status = loop {
            if let Some(status) = reap(command) {
                break Some(status);
            }
            match wait_for_signal(grace) {
                libc::SIGCHLD => {}
                KILL_ALL | -1 => break None,
                signal => {
                    let end = now_ms() + INTERRUPT_GRACE_MS;
                    grace.get_or_insert(end);
                    // One that owns the terminal leads no group of its own.
                    if kill(-command, signal) != 0 {
                        kill(command, signal);
                    }
                }
            }
        };
        if status.is_some() {
            end_leftovers();
        }
        kill_all();
        leave(status.unwrap_or(libc::SIGKILL))
    }
}

/// Reaps whatever has ended; the status of `command` if that is among them.
unsafe fn reap(command: libc::pid_t) -> Option<i32> {
    let mut found = None;
    loop {
        let mut status = 0;
        // SAFETY: a plain system call.
        let pid = unsafe { wait(&mut status, libc::WNOHANG) };
        if pid <= 0 {
            return found;
        }
        if pid == command as isize {
            found = Some(status);
        }
    }
}

/// The next watched signal, or -1 when `until` (milliseconds of the monotonic clock) has passed.
unsafe fn wait_for_signal(until: Option<i64>) -> i32 {
    loop {
        let timeout = until.map(|until| {
            let left = (until - now_ms()).max(0);
            libc::timespec {
                tv_sec: left / 1000,
                tv_nsec: (left % 1000) * 1_000_000,
            }
        });
        let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
        let set: *const u64 = &WATCHED;
        // SAFETY: a plain system call on valid structures.
        let signal = unsafe {
            call(
                libc::SYS_rt_sigtimedwait,
                [set as usize, 0, timeout as usize, 8],
            )
        };
        if signal > 0 {
            return signal as i32;
        }
        if until.is_some_and(|until| now_ms() >= until) {
            return -1;
        }
    }
}

fn now_ms() -> i64 {
    // SAFETY: the structure is filled.
    unsafe {
        let mut now: libc::timespec = std::mem::zeroed();
        let to: *mut libc::timespec = &mut now;
        call(
            libc::SYS_clock_gettime,
            [libc::CLOCK_MONOTONIC as usize, to as usize, 0, 0],
        );
        now.tv_sec * 1000 + now.tv_nsec / 1_000_000
    }
}

/// Asks what the command left running to end, and waits a little for it.
unsafe fn end_leftovers() {
    unsafe {
        let terminate = |pid| {
            kill(pid, libc::SIGTERM);
        };
        if !has_children() || !each_child(terminate) {
            return;
        }
        let until = now_ms() + LEFTOVER_GRACE_MS;
        loop {
            reap(0);
            if !each_child(|_| {}) {
                return;
            }
            match wait_for_signal(Some(until)) {
                KILL_ALL | -1 => return,
                _ => {}
            }
        }
    }
}

/// Whether there is any, living or not.
unsafe fn has_children() -> bool {
    // SAFETY: a plain system call on a zeroed structure.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let to: *mut libc::siginfo_t = &mut info;
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        call(
            libc::SYS_waitid,
            [libc::P_ALL as usize, 0, to as usize, flags as usize],
        ) == 0
    }
}

/// Kills children until there are none: those of the killed become ours.
unsafe fn kill_all() {
    unsafe {
        while has_children() {
            let any = each_child(|pid| {
                kill(pid, libc::SIGKILL);
            });
            let mut status = 0;
            if wait(&mut status, if any { 0 } else { libc::WNOHANG }) < 0 || !any {
                return;
            }
        }
    }
}

/// Calls `action` for each living child; whether there was one.
/// `/proc/thread-self/children` lists them, zombies included, as decimal numbers with spaces.
unsafe fn each_child(mut action: impl FnMut(libc::pid_t)) -> bool {
    unsafe {
        let path = c"/proc/thread-self/children".as_ptr() as usize;
        let flags = (libc::O_RDONLY | libc::O_CLOEXEC) as usize;
        let file = call(libc::SYS_openat, [libc::AT_FDCWD as usize, path, flags, 0]);
        if file < 0 {
            return false;
        }
        let (mut any, mut number) = (false, 0);
        let mut buffer = [0u8; 1024];
        loop {
            let to = buffer.as_mut_ptr() as usize;
            let read = call(libc::SYS_read, [file as usize, to, buffer.len(), 0]);
            if read <= 0 {
                break;
            }
            for &byte in buffer.iter().take(read as usize) {
                if byte.is_ascii_digit() {
                    number = number * 10 + i32::from(byte - b'0');
                } else if number > 0 {
                    any = true;
                    action(number);
                    number = 0;
                }
            }
        }
        call(libc::SYS_close, [file as usize, 0, 0, 0]);
        if number > 0 {
            any = true;
            action(number);
        }
        any
    }
}

/// Ends as the command did, so that its parent sees the same status.
unsafe fn leave(status: i32) -> ! {
    unsafe {
        if libc::WIFEXITED(status) {
            exit(libc::WEXITSTATUS(status));
        }
        let signal = libc::WTERMSIG(status);
        let none = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        let limit: *const libc::rlimit = &none;
        call(
            libc::SYS_prlimit64,
            [0, libc::RLIMIT_CORE as usize, limit as usize, 0],
        );
        let mut default: libc::sigaction = std::mem::zeroed();
        default.sa_sigaction = libc::SIG_DFL;
        libc::sigaction(signal, &default, ptr::null_mut());
        let set = set_of(&[signal]);
        let set: *const u64 = &set;
        call(
            libc::SYS_rt_sigprocmask,
            [libc::SIG_UNBLOCK as usize, set as usize, 0, 8],
        );
        kill(call(libc::SYS_getpid, [0; 4]) as libc::pid_t, signal);
        exit(128 + signal)
    }
}

unsafe fn kill(pid: libc::pid_t, signal: i32) -> isize {
    // SAFETY: a plain system call.
    unsafe { call(libc::SYS_kill, [pid as usize, signal as usize, 0, 0]) }
}

unsafe fn wait(status: *mut i32, flags: i32) -> isize {
    // SAFETY: a plain system call.
    unsafe {
        call(
            libc::SYS_wait4,
            [-1i32 as usize, status as usize, flags as usize, 0],
        )
    }
}

unsafe fn exit(code: i32) -> ! {
    loop {
        // SAFETY: doesn't return.
        unsafe { call(libc::SYS_exit_group, [code as usize, 0, 0, 0]) };
    }
}

/// A system call; what is negative is an error's number.
#[cfg(target_arch = "x86_64")]
unsafe fn call(number: libc::c_long, words: [usize; 4]) -> isize {
    let answer: isize;
    // SAFETY: the caller's words; the kernel changes these registers and nothing else.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => answer,
            in("rdi") words[0],
            in("rsi") words[1],
            in("rdx") words[2],
            in("r10") words[3],
            in("r8") 0usize,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    answer
}

#[cfg(target_arch = "aarch64")]
unsafe fn call(number: libc::c_long, words: [usize; 4]) -> isize {
    let answer: isize;
    // SAFETY: as above.
    unsafe {
        std::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") words[0] as isize => answer,
            in("x1") words[1],
            in("x2") words[2],
            in("x3") words[3],
            in("x4") 0usize,
            options(nostack),
        );
    }
    answer
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn call(number: libc::c_long, words: [usize; 4]) -> isize {
    // SAFETY: the caller's words.
    let answer = unsafe { libc::syscall(number, words[0], words[1], words[2], words[3], 0usize) };
    match answer {
        -1 => -io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EINVAL) as isize,
        answer => answer as isize,
    }
}
