"""Who runs the program: the user's login and the machine."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket


def user_name() -> str:
    """Return the user's login name; empty where the system knows none."""
    # A container's user may have neither a name nor an environment (OSError since Python 3.13).
    with contextlib.suppress(OSError, KeyError, ImportError):
        return getpass.getuser()
    return ""


def login_names() -> frozenset[str]:
    """Return the user's login names: by the environment, which the user can set, and by the id."""
    names = {user_name()}
    with contextlib.suppress(OSError, KeyError, ImportError):
        import pwd  # noqa: PLC0415  (not on Windows)

        names.add(pwd.getpwuid(os.getuid()).pw_name)
    return frozenset(names - {""})


def host_name() -> str:
    """Return the name of the machine; empty where it has none."""
    with contextlib.suppress(OSError):
        return socket.gethostname()
    return ""
