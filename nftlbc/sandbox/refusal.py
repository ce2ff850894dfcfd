"""Why this system allows no namespaces, and what to run so that it does."""

import errno
import os
from pathlib import Path

_LIMITS = ("max_user_namespaces", "max_pid_namespaces", "max_net_namespaces")


def explain_refusal(number: int, *, root: bool | None = None, proc: Path = Path("/proc")) -> str:
    """What refused, and what to run.

    number: the errno of the refused call.
    root: whether the caller is root, for whom the limits of ordinary users do not count;
        None: find out.
    """
    if root is None:
        root = os.geteuid() == 0
    remedy = (
        _limit(number, proc)
        or (None if root else _for_users(proc))
        or _read_only(number, root)
        or _kernel(number)
        or _container(root, proc)
        or ("root lacks CAP_SYS_ADMIN here" if root else "run it as root")
    )
    name = errno.errorcode.get(number, str(number))
    return f"this system allows no network namespaces here ({name}): {remedy}"


def _limit(number: int, proc: Path) -> str | None:
    limits = {name: _read(proc / "sys/user" / name) for name in _LIMITS}
    for name, value in limits.items():
        if value == "0":
            return f"user.{name} is 0; run: sysctl -w user.{name}=10000 (as root)"
    if number in (errno.ENOSPC, errno.EUSERS):
        found = ", ".join(f"user.{name}={value}" for name, value in limits.items())
        return f"a limit is reached; raise one of {found} with sysctl -w (as root)"
    return None


def _for_users(proc: Path) -> str | None:
    kernel = proc / "sys/kernel"
    # Debian before 11 and Arch's hardened kernel.
    if _read(kernel / "unprivileged_userns_clone") == "0":
        return (
            "kernel.unprivileged_userns_clone is 0; run it as root, "
            "or once as root: sysctl -w kernel.unprivileged_userns_clone=1"
        )
    # Ubuntu since 23.10: the namespace can be made, but gives no rights.
    if _read(kernel / "apparmor_restrict_unprivileged_userns") == "1":
        return (
            "kernel.apparmor_restrict_unprivileged_userns is 1; run it as root, "
            "or once as root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
        )
    return None


def _read_only(number: int, root: bool) -> str | None:
    if number != errno.EROFS:
        return None
    return f"/proc/sys is read-only, as in most containers; {_allow_container(root)}"


def _kernel(number: int) -> str | None:
    if number in (errno.EINVAL, errno.ENOSYS):
        return (
            "the kernel is older than 5.3, or lacks CONFIG_USER_NS, CONFIG_PID_NS or CONFIG_NET_NS"
        )
    return None


def _container(root: bool, proc: Path) -> str | None:
    filtered = "Seccomp:\t2" in (_read(proc / "self/status") or "")
    if filtered or any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv")):
        return f"a container's seccomp filter or missing rights; {_allow_container(root)}"
    return None


def _allow_container(root: bool) -> str:
    who = "" if root else " and run it as root there"
    return f"start the container with --privileged{who}, or run it outside"


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None
