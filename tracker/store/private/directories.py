"""The directories of a private cluster: the data, made and locked; the socket's, short and nobody else's."""

import contextlib
import fcntl
import hashlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Final

from tracker.errors import SetupError, StoreError
from tracker.store.private.account import Account

# The longest path that fits a socket's address: 108 bytes on Linux, 104 on macOS, with the final zero.
SOCKET_PATH_BYTES: Final = 107 if sys.platform == "linux" else 103
ROOTS_DATA_DIR: Final = Path("/var/lib/tracker")


def default_data_dir() -> Path:
    """Where the data stand when nobody says otherwise."""
    if os.geteuid() == 0:
        return ROOTS_DATA_DIR
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "tracker"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "tracker"


def made_data_dir(data: Path) -> Path:
    try:
        if not data.exists():
            data.mkdir(parents=True)
            data.chmod(0o755)  # whatever the umask: as root, another user passes through it
    except OSError as error:
        raise SetupError(f"{data} cannot be made ({error.strerror}): choose a directory with --data.") from error
    if not os.access(data, os.W_OK | os.X_OK):
        raise SetupError(f"{data} is not writable for you: choose another directory with --data.")
    return data


def locked(data: Path) -> int:
    """A lock on the directory itself, held by an open file that no child inherits."""
    handle = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if not isinstance(error, BlockingIOError):
            raise StoreError(f"{data} cannot be locked ({error.strerror}): choose a local disk with --data.") from error
        raise StoreError(f"Another server uses {data}: stop it, or choose another directory with --data.") from None
    return handle


def socket_dir(cluster: Path, account: Account) -> Path:
    """A short path of its own in the first directory for temporary files that the account can reach."""
    name = f"tracker-{account.uid}-{hashlib.sha256(os.fsencode(cluster)).hexdigest()[:8]}"
    for base in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 - short, always there; the directory is checked
        path = base / name
        if len(os.fsencode(path / ".s.PGSQL.5432")) <= SOCKET_PATH_BYTES and account.may_enter(base):
            return _own_directory(path, account)
    raise SetupError(f"The user {account.name} cannot reach /tmp, where the database's socket stands.")


def _own_directory(path: Path, account: Account) -> Path:
    """Made, or found to be ours: the directory guards the socket, which asks for no password."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    status = path.lstat()
    if path.is_symlink() or status.st_uid not in (account.uid, os.geteuid()):
        raise SetupError(f"{path} belongs to somebody else: remove it, or set TMPDIR to a directory of your own.")
    path.chmod(0o700)
    account.take(path)
    return path
