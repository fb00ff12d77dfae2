"""Signs and verifies a text: by an SSH key (``ssh-keygen -Y``), or by a key file (HMAC-SHA256).

An SSH signature proves who signed. An HMAC proves only that the signer has the key file: the name
is what the signer entered.

Source: ``man ssh-keygen``, "-Y sign", "-Y find-principals", "-Y verify", "ALLOWED SIGNERS".
"""

from __future__ import annotations

import hashlib
import hmac
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bulk_reset.core.errors import InputError
from bulk_reset.core.input_file import open_input
from bulk_reset.core.option_names import option
from bulk_reset.core.safe_text import one_line
from bulk_reset.core.temporary_folder import temporary_folder

NAMESPACE: Final = "bulk-reset-plan"
"""A signature for another purpose, such as a commit, is never one of a plan."""
_SHORTEST_KEY_BYTES: Final = 16
_LONGEST_KEY_BYTES: Final = 1 << 16
_VERIFY_S: Final = 30.0
_START: Final = "-----BEGIN SSH SIGNATURE-----\n"


def sign_by_ssh(content: bytes, key: Path) -> str:
    """Return a signature; the program asks for a passphrase or a touch where the key has one.

    Args:
        key: a private key, or the public key of one that an agent holds.

    Raises:
        InputError: there is no ``ssh-keygen``, or it cannot sign with this key.
    """
    _require_file(key)
    done = _ssh_keygen(["sign", "-n", NAMESPACE, "-f", str(key.absolute())], content, None)
    signature = done.stdout.decode("ascii", "replace")
    if done.returncode or not signature.startswith(_START):
        why = one_line(done.stderr.decode("utf-8", "replace")).rstrip(".")
        raise InputError(
            f"{key}: ssh-keygen cannot sign with it ({why or 'no signature'}). Use a private key "
            "that ssh-keygen -y accepts, or ssh-add it and use its public key."
        )
    return signature


def ssh_signer(content: bytes, signature: str, allowed_signers: Path, name: str) -> str | None:
    """Return the principal of the allowed signers that signed a text; None if none of them did.

    Args:
        name: the principal to try first. A line of the file may allow any name by a pattern.

    Raises:
        InputError: there is no ``ssh-keygen``, or the file cannot be read.
    """
    _require_file(allowed_signers)
    with tempfile.TemporaryDirectory(dir=temporary_folder(), prefix="bulk-reset-") as folder:
        file = Path(folder) / "signature"
        file.write_text(signature, encoding="ascii", errors="replace")
        where = ["-f", str(allowed_signers.absolute()), "-s", str(file)]
        found = _ssh_keygen(["find-principals", *where], b"", _VERIFY_S)
        listed = (
            found.stdout.decode("utf-8", "replace").splitlines() if not found.returncode else []
        )
        for principal in dict.fromkeys([name, *_plain_names(listed)]):
            words = ["verify", *where, "-n", NAMESPACE, "-I", principal]
            if not _ssh_keygen(words, content, _VERIFY_S).returncode:
                return principal
    return None


def _plain_names(lines: list[str]) -> Iterator[str]:
    """Yield the principals of lines, which may have several; a pattern is not a name."""
    for line in lines:
        for one in line.split(","):
            if one and not set("*?!") & set(one):
                yield one


def _ssh_keygen(
    words: list[str], content: bytes, timeout_s: float | None
) -> subprocess.CompletedProcess[bytes]:
    program = shutil.which("ssh-keygen")
    if program is None:
        raise InputError(
            "ssh-keygen: no such program on the PATH. Install OpenSSH, or use "
            f"{option('hmac_key_file', 'FILE')}."
        )
    try:
        return subprocess.run(  # noqa: S603  (no shell; the words are ours)
            [program, "-Y", *words],
            input=content,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as exc:
        raise InputError(f"{program}: cannot be run ({exc}). Check the installation.") from exc


def hmac_of(content: bytes, key_file: Path) -> str:
    """Return the HMAC of a text, in hexadecimal.

    Raises:
        InputError: the key file cannot be read, or is too short.
    """
    key = _key_of(key_file)
    return hmac.new(key, NAMESPACE.encode() + b"\0" + content, hashlib.sha256).hexdigest()


def is_hmac_of(content: bytes, signature: str, key_file: Path) -> bool:
    """Return whether a signature is the HMAC of a text; raises as ``hmac_of``."""
    return hmac.compare_digest(hmac_of(content, key_file).encode(), signature.encode())


def _key_of(path: Path) -> bytes:
    try:
        with open_input(path, accepts_pipe=True) as file:
            key = file.read(_LONGEST_KEY_BYTES).strip()
    except OSError as exc:
        raise _unreadable(path, exc) from exc
    if len(key) < _SHORTEST_KEY_BYTES:
        raise InputError(
            f"{path}: the key has {len(key)} bytes; the minimum is {_SHORTEST_KEY_BYTES}. Make one "
            "with: openssl rand -hex 32."
        )
    return key


def _require_file(path: Path) -> None:
    try:
        with open_input(path):
            return
    except OSError as exc:
        raise _unreadable(path, exc) from exc


def _unreadable(path: Path, exc: OSError) -> InputError:
    return InputError(
        f"{path}: cannot be read ({exc.strerror or exc}). Check the name, and make the file "
        "readable for this user."
    )
