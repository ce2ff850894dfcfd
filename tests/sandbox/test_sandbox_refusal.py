"""Where namespaces are not allowed, the message names what to change."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nftlbc.sandbox.refusal import explain_refusal

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("files", "number", "root", "told"),
    [
        (
            {"sys/kernel/unprivileged_userns_clone": "0"},
            errno.EPERM,
            False,
            "sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        (
            {"sys/kernel/apparmor_restrict_unprivileged_userns": "1"},
            errno.EPERM,
            False,
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        (
            {"sys/user/max_user_namespaces": "0"},
            errno.ENOSPC,
            False,
            "sysctl -w user.max_user_namespaces=10000",
        ),
        (
            {"sys/user/max_net_namespaces": "0", "sys/user/max_user_namespaces": "9"},
            errno.ENOSPC,
            True,
            "sysctl -w user.max_net_namespaces=10000",
        ),
        ({"sys/user/max_net_namespaces": "3"}, errno.ENOSPC, True, "user.max_net_namespaces=3"),
        ({"self/status": "Name:\tx\nSeccomp:\t2\n"}, errno.EPERM, True, "--privileged"),
        ({}, errno.EROFS, True, "/proc/sys is read-only"),
        ({}, errno.EINVAL, True, "CONFIG_USER_NS"),
        # Root is not subject to the switches for ordinary users.
        (
            {"sys/kernel/unprivileged_userns_clone": "0", "self/status": "Seccomp:\t2"},
            errno.EPERM,
            True,
            "seccomp",
        ),
    ],
)
def test_the_remedy_is_the_one_for_the_cause(tmp_path, files, number, root, told):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    message = explain_refusal(number, root=root, proc=tmp_path)
    assert told in message
    assert errno.errorcode[number] in message


TRY = """
import sys
sys.path.insert(0, sys.argv[1])
from nftlbc.sandbox import Layout, Sandbox, SandboxNotAllowed
try:
    with Sandbox(Layout(("10.3.0.1",), ("10.2.0.1",))):
        print("it worked")
except SandboxNotAllowed as refusal:
    print(refusal)
"""

# Here, in a user namespace of its own, the limit may be set without touching the machine's;
# without capabilities, the sandbox then needs a user namespace and gets none.
LIMITED = """
echo 0 > /proc/sys/user/max_user_namespaces &&
exec setpriv --inh-caps=-all --bounding-set=-all "$@"
"""


@pytest.mark.kernel
def test_a_real_refusal():
    if not (shutil.which("unshare") and shutil.which("setpriv")):
        pytest.skip("util-linux is not installed")
    done = subprocess.run(
        ["unshare", "-Ur", "sh", "-c", LIMITED, "sh", sys.executable, "-c", TRY, str(REPOSITORY)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "user.max_user_namespaces is 0" in done.stdout, done.stdout + done.stderr


# x86-64: let unshare (272) fail with EPERM, as a container's filter does.
SECCOMP = """
import ctypes, struct
program = b"".join(
    struct.pack("HBBI", *step)
    for step in ((0x20, 0, 0, 0), (0x15, 0, 1, 272), (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7FFF0000))
)
steps = ctypes.create_string_buffer(program)
filter = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 4, ctypes.addressof(steps)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, filter, 0, 0) == 0
"""


@pytest.mark.kernel
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the filter is for x86-64")
def test_a_container_s_filter():
    done = subprocess.run(
        [sys.executable, "-c", SECCOMP + TRY, str(REPOSITORY)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "seccomp" in done.stdout, done.stdout + done.stderr
    assert "--privileged" in done.stdout
