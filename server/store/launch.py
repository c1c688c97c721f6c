"""Runs a PostgreSQL program as an ordinary user that dies with its starter: ``python launch.py PROGRAM ARGUMENT...``.

A program of its own, so that nothing of ours runs between fork and exec in a process with threads.
PostgreSQL refuses to be root. Inside a user namespace (user_namespaces(7)) root appears under an ordinary name
and still owns its files, so no folder has to be opened to anybody else.
"""

import ctypes
import os
import pwd
import signal
import sys
from pathlib import Path

_CLONE_NEWUSER = 0x1000_0000
_PR_SET_PDEATHSIG = 1


def stand_in() -> pwd.struct_passwd:
    """The account that root appears as: the first ordinary one that is not the overflow user.

    Every account without a mapping looks like the overflow user (65534), so it must not be the one we trust.
    """
    return next(entry for entry in pwd.getpwall() if entry.pw_uid not in (0, 65534))


def _leave_root(libc: ctypes.CDLL) -> None:
    group, account = os.getegid(), stand_in()
    if libc.unshare(_CLONE_NEWUSER) != 0:
        sys.exit("No user namespace can be made here: run as an ordinary user, or set HUTONG_DATABASE_URL.")
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{account.pw_uid} 0 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{account.pw_gid} {group} 1", encoding="ascii")


def main(program: str, *arguments: str) -> None:
    """Replaces this process by ``program``."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if os.geteuid() == 0:
            _leave_root(libc)
        # After the change of user, which would clear it: prctl(2).
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
    os.execv(program, [program, *arguments])


if __name__ == "__main__":
    main(*sys.argv[1:])
