"""The operating system's user who runs PostgreSQL: its programs refuse root, so root lends them another.

As root that is whoever owns the cluster already, else `postgres`, else a system user `tracker` made for it.
"""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tracker.errors import SetupError

PACKAGED_USER: Final = "postgres"
OWN_USER: Final = "tracker"


@dataclass(frozen=True, slots=True)
class Account:
    """A user, with no groups but its own."""

    uid: int
    gid: int
    name: str

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a program as this user, in a session of its own so that the terminal's Ctrl-C does not reach it.

        Blocking, and not asyncio's subprocess: uvloop's cannot change the user.
        """
        # The caller's PG* variables speak of other servers; its language would change the messages we look at.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")} | {"LC_ALL": "C"}
        drop = os.geteuid() == 0
        return subprocess.run(
            command,
            user=self.uid if drop else None,
            group=self.gid if drop else None,
            extra_groups=[] if drop else None,
            cwd="/",
            env=environment,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def may_enter(self, directory: Path) -> bool:
        return self.run("test", "-x", directory).returncode == 0

    def take(self, path: Path) -> None:
        """Make it this user's own; only root can, and only root needs to."""
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid)


def account_for(cluster: Path) -> Account:
    """Who runs the cluster at this path, whether it exists yet or not."""
    owner = _owner(cluster)
    if os.geteuid() == 0:
        return owner if owner is not None and owner.uid != 0 else _lent_account()
    if owner is not None and owner.uid != os.geteuid():
        raise SetupError(
            f"{cluster} belongs to the user {owner.name}: start as that user or as root, "
            "or choose another directory with --data."
        )
    return Account(os.geteuid(), os.getegid(), _user_name(os.geteuid()))


def _owner(path: Path) -> Account | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return Account(status.st_uid, status.st_gid, _user_name(status.st_uid))


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # a container may run under a number that nobody named
        return str(uid)


def _lent_account() -> Account:
    for name in (PACKAGED_USER, OWN_USER):
        if account := _named(name):
            return account
    useradd = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if useradd is None:
        raise SetupError("PostgreSQL does not run as root, and there is no useradd here: start as an ordinary user.")
    command = [useradd, "--system", "--user-group", "--no-create-home", "--home-dir", "/", OWN_USER]
    subprocess.run([*command, "--shell", "/usr/sbin/nologin"], check=True, capture_output=True)
    return _named(OWN_USER) or _missing(OWN_USER)


def _named(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(entry.pw_uid, entry.pw_gid, name)


def _missing(name: str) -> Account:
    raise SetupError(f"PostgreSQL does not run as root: make a system user {name} for it, or start as another user.")
