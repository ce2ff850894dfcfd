"""The processes that hold a sandbox's namespaces; nothing here runs in the parent.

    parent ─ holder ─ init ┬ keeper of the balancer ─ jobs ...
                           ├ keeper of the clients ─ jobs ...
                           └ keeper of the servers ─ jobs ...

The holder ends when the parent ends or closes the sandbox, and the init with the holder.
The init is process 1 of a process namespace: whatever was started below it, daemons too,
is killed by the kernel when it ends, and with the last process go the network namespaces.
"""

import ctypes
import os
import select
import signal
import socket
import sys
from pathlib import Path

from nftlbc.sandbox.channel import Channel, Ready, Refused
from nftlbc.sandbox.keeper import keep
from nftlbc.sandbox.request import HOSTS

# <linux/sched.h>, <linux/prctl.h>, and a system call number that is the same everywhere:
# os.unshare() is new in Python 3.12, and os.pidfd_open() is missing where Python was built
# against old headers.
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWPID = 0x20000000
_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_SYS_PIDFD_OPEN = 434

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Arguments: the parent's process number; sockets for the holder and the three keepers."""
    parent_pid, control_fd, *door_fds = map(int, sys.argv[1:])
    control = Channel(socket.socket(fileno=control_fd))
    try:
        parent = _pidfd_open(parent_pid)
        if os.getppid() != parent_pid:
            return
        _enter_namespaces()
        myself = _pidfd_open(os.getpid())
        init_pid = os.fork()
    except OSError as error:
        control.send(Refused(error.errno or 0))
        return
    if init_pid == 0:
        try:
            _init(control, [Channel(socket.socket(fileno=fd)) for fd in door_fds], myself)
        finally:
            os._exit(1)
    for fd in door_fds:
        os.close(fd)
    init = _pidfd_open(init_pid)
    # Not PR_SET_PDEATHSIG: that strikes when the parent's *thread* ends.
    select.select([parent, control.fileno(), init], [], [])
    os.kill(init_pid, signal.SIGKILL)
    # Returns when the last process of the namespace is gone.
    os.waitpid(init_pid, 0)


def _enter_namespaces() -> None:
    """Root keeps its user namespace, for in any other nft cannot force its socket buffer,
    and a transaction is limited to about 150 KB of script."""
    flags = _CLONE_NEWPID | _CLONE_NEWNET
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        try:
            _unshare(flags)
        except PermissionError:
            pass  # root without CAP_SYS_ADMIN, as in many containers
        else:
            return
    _unshare(flags | _CLONE_NEWUSER)
    # Without CAP_SETGID outside, the group map may only be written once setgroups is denied.
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")


def _init(control: Channel, doors: list[Channel], holder: int) -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if select.select([holder], [], [], 0)[0]:
        return  # it ended before the call above
    os.close(holder)
    keepers = set()
    for host, door in zip(HOSTS, doors, strict=True):
        keeper = os.fork()
        keepers.add(keeper)
        if keeper == 0:
            for channel in (control, *doors):
                if channel is not door:
                    channel.close()
            try:
                _keeper(door, own_network=host != "balancer")
            finally:
                os._exit(1)
    control.close()
    for door in doors:
        door.close()
    # Reaps what a job's commands leave behind. A keeper's death ends all: the sandbox is
    # of no use without it.
    while os.wait()[0] not in keepers:
        pass


def _keeper(door: Channel, *, own_network: bool) -> None:
    try:
        # The balancer lives in the namespace that the holder has made.
        if own_network:
            _unshare(_CLONE_NEWNET)
    except OSError as error:
        door.send(Refused(error.errno or 0))
        return
    door.send(Ready(int(Path("/proc/self").readlink().name)))
    keep(door)


def _unshare(flags: int) -> None:
    if _libc.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _pidfd_open(pid: int) -> int:
    """A descriptor that is readable once the process has ended."""
    fd: int = _libc.syscall(_SYS_PIDFD_OPEN, pid, 0)
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return fd
