"""The command line. Every flag has a twin `TRACKER_*`; what only the machine's owner can give ends with exit code 2
and the line to run.
"""

import sys

from tracker.errors import SetupError, TrackerError


def main() -> None:
    """The entry point `tracker`; the device SDK alone, without the server's dependencies, has no commands."""
    try:
        from tracker.commands import app
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "tracker":
            raise
        sys.exit(
            f"{error.name} is missing: this is the device SDK alone. For the server: pip install 'tracker[server]'"
        )
    try:
        app()
    except SetupError as error:
        sys.stderr.write(f"tracker: {error.message}\n")
        sys.exit(2)
    except TrackerError as error:
        sys.stderr.write(f"tracker: {error.message}\n")
        sys.exit(1)
