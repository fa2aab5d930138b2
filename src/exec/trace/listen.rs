//! The thread that answers stopped calls, and what the command does to be heard by it.
//!
//! The command installs the filter itself, between fork and exec, and passes the descriptor on which its calls
//! are told through a socket. From then on each of its calls waits for an answer; when nobody is left who could call, the
//! kernel hangs up.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::calls::Call;
use super::filter;
use super::{Access, Watcher};
use crate::exec::sandbox::Fence;

/// Of the descriptor of calls: whoever is told is woken where the caller was. Not in the C library's headers yet.
const SYNC_WAKE_UP: u64 = 1;

/// Answers the calls of one command; waits for its thread when it is dropped.
pub struct Tracer {
    thread: Option<JoinHandle<()>>,
    /// Closing it ends the thread, whatever the kernel says.
    stop: Option<UnixStream>,
}

/// The command's part.
pub struct Ends {
    filter: Vec<libc::sock_filter>,
    socket: UnixStream,
    fence: Option<Arc<Fence>>,
}

impl Tracer {
    /// Whether the kernel can.
    ///
    /// # Errors
    /// One line for people.
    pub fn available() -> Result<(), String> {
        let action = libc::SECCOMP_RET_USER_NOTIF;
        // SAFETY: a system call that reads a number.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_GET_ACTION_AVAIL,
                0,
                &action,
            )
        };
        if answer == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        Err(format!(
            "this system can't trace commands: seccomp user notification (Linux 5.5) isn't there ({error})"
        ))
    }

    /// Starts the thread that will answer a command which is yet to be forked.
    ///
    /// # Errors
    /// The system is out of descriptors or threads.
    pub fn start(watcher: Arc<dyn Watcher>, fence: Option<Arc<Fence>>) -> io::Result<(Self, Ends)> {
        let (ours, theirs) = UnixStream::pair()?;
        let (stop, stopped) = UnixStream::pair()?;
        let filter = filter::program(watcher.calls());
        let thread = thread::Builder::new()
            .name("tracer".into())
            .spawn(move || {
                // A command that was never executed passes nothing on.
                if let Ok(calls) = receive(&ours) {
                    answer_all(&calls, &stopped, &*watcher);
                }
            })?;
        let tracer = Self {
            thread: Some(thread),
            stop: Some(stop),
        };
        let ends = Ends {
            filter,
            socket: theirs,
            fence,
        };
        Ok((tracer, ends))
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Ends {
    /// In the process that goes on to execute the command. Only system calls: see the supervisor.
    ///
    /// # Errors
    /// The kernel won't have the filter: another one with a listener is there already.
    ///
    /// # Safety
    /// Between fork and exec.
    pub unsafe fn enter(&self) -> io::Result<()> {
        unsafe {
            if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
                return Err(io::Error::last_os_error());
            }
            if let Some(fence) = &self.fence {
                fence.enter()?;
            }
            let program = libc::sock_fprog {
                len: self.filter.len() as u16,
                filter: self.filter.as_ptr().cast_mut(),
            };
            let install = |flags: libc::c_ulong| {
                let mode = libc::SECCOMP_SET_MODE_FILTER;
                libc::syscall(libc::SYS_seccomp, mode, flags, &program)
            };
            // A call that waits is not to be begun again for each signal; kernels before 5.19 can't do otherwise.
            let listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
            let calls = match install(listener | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
                -1 => install(listener),
                calls => calls,
            };
            if calls < 0 {
                return Err(io::Error::last_os_error());
            }
            let sent = send(self.socket.as_raw_fd(), calls as i32);
            libc::close(calls as i32);
            sent
        }
    }
}

/// Room for a control message with one descriptor.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// Passes a descriptor through a socket.
unsafe fn send(socket: i32, descriptor: i32) -> io::Result<()> {
    unsafe {
        let mut control = Control([0; 64]);
        let mut byte = 0u8;
        let mut part = libc::iovec {
            iov_base: (&raw mut byte).cast(),
            iov_len: 1,
        };
        let message = message(&mut part, &mut control);
        let header = libc::CMSG_FIRSTHDR(&message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<i32>() as u32) as _;
        libc::CMSG_DATA(header)
            .cast::<i32>()
            .write_unaligned(descriptor);
        match libc::sendmsg(socket, &message, libc::MSG_NOSIGNAL) {
            1 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

fn message(part: &mut libc::iovec, control: &mut Control) -> libc::msghdr {
    // SAFETY: all zero is a message with nothing in it; the lengths are those of what is pointed at.
    unsafe {
        let mut message: libc::msghdr = zeroed();
        message.msg_iov = part;
        message.msg_iovlen = 1;
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(size_of::<i32>() as u32) as _;
        message
    }
}

fn receive(socket: &UnixStream) -> io::Result<OwnedFd> {
    let mut control = Control([0; 64]);
    let mut byte = 0u8;
    let mut part = libc::iovec {
        iov_base: (&raw mut byte).cast(),
        iov_len: 1,
    };
    let mut message = message(&mut part, &mut control);
    // SAFETY: the message describes buffers that live here; a descriptor that came is ours.
    unsafe {
        let flags = libc::MSG_CMSG_CLOEXEC;
        let header = match libc::recvmsg(socket.as_raw_fd(), &mut message, flags) {
            1 => libc::CMSG_FIRSTHDR(&message),
            _ => return Err(io::ErrorKind::UnexpectedEof.into()),
        };
        if header.is_null() || (*header).cmsg_type != libc::SCM_RIGHTS {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let descriptor = libc::CMSG_DATA(header).cast::<i32>().read_unaligned();
        Ok(OwnedFd::from_raw_fd(descriptor))
    }
}

fn answer_all(calls: &OwnedFd, stopped: &UnixStream, watcher: &dyn Watcher) {
    // SAFETY: an ioctl that takes a number; kernels that don't know it go on as before.
    unsafe {
        let set_flags = libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS;
        libc::ioctl(calls.as_raw_fd(), set_flags as _, SYNC_WAKE_UP);
    }
    loop {
        let watch = |fd: i32| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        let mut polls = [watch(calls.as_raw_fd()), watch(stopped.as_raw_fd())];
        // SAFETY: two valid pollfds.
        let ready = unsafe { libc::poll(polls.as_mut_ptr(), 2, -1) };
        if ready < 0 && io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return;
        }
        if polls[0].revents & libc::POLLIN != 0 {
            answer(calls, watcher);
        } else if polls[0].revents != 0 || polls[1].revents != 0 {
            return; // nobody is left who could call
        }
    }
}

/// One call. One that is gone before its answer is nobody's business any more.
fn answer(calls: &OwnedFd, watcher: &dyn Watcher) {
    let calls = calls.as_raw_fd();
    // SAFETY: the kernel wants it zeroed, and fills it.
    let mut call: libc::seccomp_notif = unsafe { zeroed() };
    // SAFETY: ioctls on a valid descriptor with the structures that they take.
    let (received, is_valid) = unsafe {
        let received = libc::ioctl(calls, libc::SECCOMP_IOCTL_NOTIF_RECV as _, &mut call);
        let id = call.id;
        let is_valid =
            move || libc::ioctl(calls, libc::SECCOMP_IOCTL_NOTIF_ID_VALID as _, &id) == 0;
        (received, is_valid)
    };
    if received != 0 {
        return;
    }
    let allowed = match Call::accesses(call.pid, &call.data) {
        // Numbers of processes are used again: was it still the one that called?
        Ok(accesses) => !is_valid() || tell(&accesses, watcher),
        Err(error) => {
            if is_valid() && !is_callers(&error) {
                watcher.missed(&error.to_string());
            }
            true
        }
    };
    let mut response = libc::seccomp_notif_resp {
        id: call.id,
        val: 0,
        error: if allowed { 0 } else { -libc::EACCES },
        flags: if allowed {
            libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32
        } else {
            0
        },
    };
    // SAFETY: as above.
    unsafe { libc::ioctl(calls, libc::SECCOMP_IOCTL_NOTIF_SEND as _, &mut response) };
}

/// Up to the first that may not be.
fn tell(accesses: &[Access], watcher: &dyn Watcher) -> bool {
    accesses.iter().all(|access| watcher.sees(access))
}

/// A wrong address, descriptor or length is the caller's own mistake, and the kernel will tell it so.
fn is_callers(error: &io::Error) -> bool {
    let own = [
        libc::EFAULT,
        libc::ENAMETOOLONG,
        libc::ENOENT,
        libc::EBADF,
        libc::ESRCH,
    ];
    error.raw_os_error().is_some_and(|code| own.contains(&code))
        || error.kind() == io::ErrorKind::UnexpectedEof
}
