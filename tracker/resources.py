"""Where the files that are not Python stand: beside the package in a checkout, inside it in an installed wheel."""

from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


@cache
def resource_dir(name: str) -> Path:
    """The folder `sql`, `web/templates` or `web/dist`, wherever this copy of the program keeps it."""
    for base in (PACKAGE, PACKAGE.parent):
        if (base / name).is_dir():
            return base / name
    raise FileNotFoundError(f"{name} is missing from this installation; in a checkout run `make setup`")
