"""The commands, each a thin shell around a function of another room: read flags, show progress, say what happened."""

import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console

from tracker import __version__
from tracker.app import Server, serve
from tracker.settings import settings

app = typer.Typer(
    name="tracker", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich",
    help="Live geolocation tracking: devices stream fixes, geofences turn them into events, browsers see what is in view.",
    epilog="Begin with [bold]tracker demo[/bold]; then [bold]tracker serve[/bold]. Every flag has a twin TRACKER_*.",
)  # fmt: skip
console = Console(stderr=True)

Listen = Annotated[str, typer.Option(envvar="TRACKER_LISTEN", help="Address and port to listen on.", metavar="ADDRESS:PORT")]
Data = Annotated[
    Path | None,
    typer.Option(envvar="TRACKER_DATA", help="Where the private PostGIS lives; the user's data directory if left out.", metavar="DIR"),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(envvar="TRACKER_DATABASE", help="A PostGIS of your own, instead of the private one.", metavar="URL"),
]
AdminToken = Annotated[
    str | None,
    typer.Option(envvar="TRACKER_ADMIN_TOKEN", help="Presets a token with full rights, 16 characters or more.", metavar="TOKEN"),
]
HooksAllow = Annotated[
    str,
    typer.Option(envvar="TRACKER_HOOKS_ALLOW", help="Private networks that hooks may reach, comma-separated.", metavar="CIDRS"),
]


def configure_logging(level: int = logging.INFO) -> None:
    logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")


def _stop_event() -> asyncio.Event:
    """Set by SIGTERM or SIGINT; a second one ends the process at once."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        if stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return stop


def _announce(server: Server) -> None:
    console.print(f"tracker {__version__} listens on [bold]{server.url}[/bold]", highlight=False)
    if server.first_start is not None:
        console.print(f"Sign in (once, within a day): [bold]{server.url}{server.first_start.sign_in_path}[/bold]", highlight=False, soft_wrap=True)
        console.print(f"Admin token (shown only now): [bold]{server.first_start.admin_token}[/bold]", highlight=False, soft_wrap=True)


@app.command("serve")
def serve_command(
    listen: Listen = "127.0.0.1:8080", data: Data = None, database: DatabaseUrl = None, admin_token: AdminToken = None,
    hooks_allow: HooksAllow = "",
) -> None:  # fmt: skip
    """Run the server, with its own PostGIS unless --database names one. Ctrl-C or SIGTERM drains and ends it."""
    configure_logging()
    chosen = settings(listen, data, database, admin_token, hooks_allow)

    async def run() -> bool:
        return await serve(chosen, _stop_event(), _announce)

    if not uvloop.run(run()):
        raise typer.Exit(1)


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


