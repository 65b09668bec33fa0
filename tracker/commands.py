"""The commands, each a thin shell around a function of another room: read flags, show progress, say what happened."""

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Self

import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from tracker import __version__
from tracker.access.roles import Role
from tracker.administration import Api, migrate_database, prune_database, seal_database, sign_in_path
from tracker.app import Server, serve
from tracker.backtest import BacktestBar, Result, geofence_in, write_csv
from tracker.backtest import run as run_backtest
from tracker.bench.command import Asked, run_bench
from tracker.demo import demo, with_free_port
from tracker.doctor import examine
from tracker.errors import SetupError
from tracker.fleet.simulate import Progress, simulate
from tracker.replay import Progress as ReplayProgress
from tracker.replay import ReplayBar, replay
from tracker.settings import settings
from tracker.store.private import default_data_dir, url_of_running
from tracker.store.sealer import first_open_day

app = typer.Typer(
    name="tracker",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Live geolocation tracking: devices stream fixes, geofences turn them into events, browsers see their view.",
    epilog="Begin with [bold]tracker demo[/bold]; then [bold]tracker serve[/bold]. Every flag has a twin TRACKER_*.",
)
console = Console(stderr=True)

Listen = Annotated[
    str, typer.Option(envvar="TRACKER_LISTEN", help="Address and port to listen on.", metavar="ADDRESS:PORT")
]
Data = Annotated[
    Path | None,
    typer.Option(
        envvar="TRACKER_DATA",
        help="Where the private PostGIS lives; the user's data directory if left out.",
        metavar="DIR",
    ),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(envvar="TRACKER_DATABASE", help="A PostGIS of your own, instead of the private one.", metavar="URL"),
]
AdminToken = Annotated[
    str | None,
    typer.Option(
        envvar="TRACKER_ADMIN_TOKEN", help="Presets a token with full rights, 16 characters or more.", metavar="TOKEN"
    ),
]
HooksAllow = Annotated[
    str,
    typer.Option(
        envvar="TRACKER_HOOKS_ALLOW", help="Private networks that hooks may reach, comma-separated.", metavar="CIDRS"
    ),
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
        console.print(
            f"Sign in (once, within a day): [bold]{server.url}{server.first_start.sign_in_path}[/bold]",
            highlight=False,
            soft_wrap=True,
        )
        console.print(
            f"Admin token (shown only now): [bold]{server.first_start.admin_token}[/bold]",
            highlight=False,
            soft_wrap=True,
        )


@app.command("serve")
def serve_command(
    listen: Listen = "127.0.0.1:8080",
    data: Data = None,
    database: DatabaseUrl = None,
    admin_token: AdminToken = None,
    hooks_allow: HooksAllow = "",
) -> None:
    """Run the server, with its own PostGIS unless --database names one. Ctrl-C or SIGTERM drains and ends it."""
    configure_logging()
    chosen = settings(listen, data, database, admin_token, hooks_allow)

    async def run() -> bool:
        return await serve(chosen, _stop_event(), _announce)

    if not uvloop.run(run()):
        raise typer.Exit(1)


DEMO_DATA: Final = "tracker-demo"

Url = Annotated[str, typer.Option(envvar="TRACKER_URL", help="The server.", metavar="URL")]
Token = Annotated[
    str, typer.Option("--token", envvar="TRACKER_ADMIN_TOKEN", help="An admin's token of that server.", metavar="TOKEN")
]
Couriers = Annotated[
    int, typer.Option(min=1, max=2_000, help="How many couriers drive; trams, ships and flights come on top.")
]


class _Line:
    """One line at the bottom of the terminal that says how far it is; plain lines, one a stage, where there is no
    terminal.
    """

    def __init__(self) -> None:
        self._status = console.status("Starting …")
        self._stage = ""

    def __enter__(self) -> Self:
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def say(self, text: str) -> None:
        self._status.update(text)

    def fleet(self, progress: Progress) -> None:
        texts = {
            "streets": "Reading the streets of Helsinki …",
            "devices": f"Making {progress.members} devices …",
            "geofences": "Drawing geofences …",
            "history": f"Bringing in the last half hour … {progress.acked:,} fixes durable",
            "streaming": f"{progress.members} devices are moving · {progress.acked:,} fixes durable · "
            f"{progress.pending:,} under way · {progress.out_of_reach} out of reach   (Ctrl-C ends)",
            "done": "Ending …",
        }
        self.say(texts[progress.stage])
        if progress.stage != self._stage and not console.is_terminal:
            console.print(texts[progress.stage], highlight=False)
        self._stage = progress.stage
        for refused in progress.stopped:
            console.print(f"[red]{refused}[/red]", highlight=False)


@app.command("demo")
def demo_command(listen: Listen = "127.0.0.1:8080", data: Data = None, couriers: Couriers = 40) -> None:
    """Start a server with a simulated fleet and print the link to its map. Its data stay apart from those of
    [bold]serve[/bold].
    """
    configure_logging(logging.WARNING)
    chosen = with_free_port(settings(listen, data or default_data_dir().with_name(DEMO_DATA), None, None, ""))

    async def run() -> bool:
        with _Line() as line:
            line.say("Starting PostGIS and the server …")

            def ready(url: str, path: str) -> None:
                console.print(
                    f"\n  Open the map:  [bold link={url}{path}]{url}{path}[/]\n", highlight=False, soft_wrap=True
                )

            return await demo(
                chosen, couriers=couriers, backfill_s=1800, until=_stop_event(), ready=ready, on_progress=line.fleet
            )

    if not uvloop.run(run()):
        raise typer.Exit(1)


@app.command("simulate")
def simulate_command(
    token: Token,
    url: Url = "http://127.0.0.1:8080",
    couriers: Couriers = 40,
    seed: Annotated[int, typer.Option(help="Another number, another fleet.")] = 1,
    speed: Annotated[float, typer.Option(min=0.1, max=100, help="How fast the simulated world runs.")] = 1.0,
    minutes: Annotated[float, typer.Option(min=0, help="How long; 0: until Ctrl-C.")] = 0,
) -> None:
    """Drive a plausible fleet into a running server: couriers on real streets, trams, ships, flights, with the faults
    of real receivers.
    """

    async def run() -> None:
        with _Line() as line:
            driving = asyncio.ensure_future(
                simulate(
                    url,
                    token,
                    couriers=couriers,
                    seed=seed,
                    speed=speed,
                    duration_s=minutes * 60 or None,
                    on_progress=line.fleet,
                )
            )
            stopping = asyncio.ensure_future(_stop_event().wait())
            await asyncio.wait([driving, stopping], return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            driving.cancel()
            with suppress(asyncio.CancelledError):
                await driving

    uvloop.run(run())


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise typer.BadParameter("a number over 0, such as 600, or max")
    return speed


@app.command("replay")
def replay_command(
    file: Annotated[
        Path, typer.Argument(help="A CSV (device,time_ms,lat,lon,…; .gz too) or GPX file.", exists=True, dir_okay=False)
    ],
    url: Url = "http://127.0.0.1:8080",
    token: Annotated[
        str | None, typer.Option(envvar="TRACKER_ADMIN_TOKEN", help="An admin's token: devices are made by name.")
    ] = None,
    device_token: Annotated[str | None, typer.Option(help="Or one device's token, for everything.")] = None,
    speed: Annotated[str, typer.Option(help="Times as fast as it was recorded, or max.")] = "1",
    shift_to_now: Annotated[
        bool, typer.Option("--shift-to-now", help="Each fix carries the moment it is sent.")
    ] = False,
    loop: Annotated[bool, typer.Option("--loop", help="Begin again at the end.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first fixes of the file.")] = None,
) -> None:
    """Stream a recorded file through the device SDK into a running server."""

    async def run() -> ReplayProgress:
        with ReplayBar(console) as bar:
            return await replay(
                file,
                url,
                admin_token=token,
                device_token=device_token,
                speed=_speed(speed),
                loop=loop,
                shift_to_now=shift_to_now,
                limit=limit,
                on_progress=bar.show,
            )

    uvloop.run(run())


@app.command("backtest")
def backtest_command(
    geofence: Annotated[
        str, typer.Argument(help="A GeoJSON file with one Feature, or the id of a geofence (gf_…).", metavar="FENCE")
    ],
    token: Token,
    since: Annotated[str, typer.Option("--from", help="The first instant, as 2026-01-31T00:00:00Z.", metavar="TIME")],
    until: Annotated[str, typer.Option("--to", help="The last instant.", metavar="TIME")],
    url: Url = "http://127.0.0.1:8080",
    asset: Annotated[
        list[str] | None, typer.Option(help="Only this asset (ast_…); may be given again.", metavar="ID")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where the events go as CSV; else to the output.")] = None,
) -> None:
    """Say what a geofence would have reported on stored history, without making it: the events as CSV, in the order of
    time.

    The file is what POST /v1/geofences takes, options in its properties included:

    {"type":"Feature","geometry":{"type":"Point","coordinates":[24.94,60.17]},"properties":{"radius_m":200,"confirm_fixes":2}}

    Change an option, run it again, compare: nothing is stored, and nobody is told.
    """
    asked = {**geofence_in(geofence), "from": since, "to": until, **({"assets": asset} if asset else {})}

    async def ask() -> Result:
        with BacktestBar(console) as bar:
            return await run_backtest(url, token, asked, bar.show)

    result = uvloop.run(ask())
    if out is None:
        write_csv(result.events, sys.stdout)
    else:
        with out.open("w", encoding="utf-8", newline="") as file:
            write_csv(result.events, file)
    console.print(result.sentence + (f" → {out}" if out else ""), highlight=False, soft_wrap=True)


@app.command("bench")
def bench_command(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            help="ingest, latency, fences, backlog, fanout, history, memory, start, scale; all if left out.",
            metavar="WHAT",
        ),
    ] = None,
    short: Annotated[bool, typer.Option("--short", help="Small sizes, one round: under two minutes for all.")] = False,
    url: Annotated[
        str | None, typer.Option(help="A running server; if left out, one of its own that is removed.", metavar="URL")
    ] = None,
    token: Annotated[
        str | None, typer.Option(envvar="TRACKER_ADMIN_TOKEN", help="With --url: an admin's token.", metavar="TOKEN")
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="How long a round lasts, 5.")] = None,
    devices: Annotated[int | None, typer.Option(min=1, max=20_000, help="How many devices send, 2,000.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Only json, or only binary frames.")] = None,
    fixes_per_frame: Annotated[int | None, typer.Option(min=1, max=1_000, help="Only frames of so many fixes.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write every figure of every round there.", metavar="FILE")
    ] = None,
    charts: Annotated[
        Path | None, typer.Option(help="Where scale writes its curves as SVG.", metavar="DIR", file_okay=False)
    ] = None,
) -> None:
    """Measure how much this machine takes and how soon: against a server of its own, or a running one.

    [bold]ingest[/bold]   durable fixes a second, as fast as acks allow, beside a server that stores nothing
    [bold]latency[/bold]  the time to an ack at fixed rates, counted from when a frame was due
    [bold]fences[/bold]   adding, moving and deleting a geofence among many, and how long acks wait for it
    [bold]backlog[/bold]  a device that returns with a month of fixes, on time or late, and what others notice
    [bold]fanout[/bold]   from a fix to its bytes at maps of all sizes, and what a map costs
    [bold]history[/bold]  tracks and the fleet in the past
    [bold]memory[/bold]   what an idle device, an idle map and a slow map take
    [bold]start[/bold]    until ready, with much to read
    [bold]scale[/bold]    how the cost of a fix grows with devices, geofences, maps and history

    All together takes about ten minutes. A running server gets devices and geofences named bench, which are taken away
    at the end. The table on the output is Markdown.

      tracker bench ingest --encoding json --fixes-per-frame 10 --devices 500
      tracker bench all --json figures.json --charts .
    """
    names = tuple(what or ["all"])
    run_bench(Asked(names, short, url, token, seconds, devices, encoding, fixes_per_frame, json_file, charts), console)


@app.command("doctor")
def doctor_command(listen: Listen = "127.0.0.1:8080", data: Data = None, database: DatabaseUrl = None) -> None:
    """Say what this machine has and lacks, and what to do. Exit code 1: something would keep a server from starting."""
    marks = {True: "[green]ok[/green]      ", False: "[red]missing[/red] ", None: "        "}
    findings = list(examine(settings(listen, data, database, None, "")))
    for finding in findings:
        console.print(marks[finding.ok], finding.text, highlight=False, soft_wrap=True)
    raise typer.Exit(int(any(finding.ok is False for finding in findings)))


@app.command("migrate")
def migrate_command(data: Data = None, database: DatabaseUrl = None) -> None:
    """Bring a database's schema up to date. [bold]serve[/bold] does so by itself."""
    done = asyncio.run(migrate_database(data or default_data_dir(), database))
    console.print("\n".join(f"applied {title}" for title in done) or "The schema is up to date.")


@app.command("seal")
def seal_command(
    data: Data = None,
    database: DatabaseUrl = None,
    before: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], help="Seal the UTC days before this one; if left out, those that the server would."
        ),
    ] = None,
) -> None:
    """Pack the history of closed days, as the server does by itself: a quarter of the bytes, read like the rest.

    A running server goes on meanwhile, and nothing is lost if this is interrupted.
    """
    today = datetime.now(UTC).date()
    open_day = first_open_day(datetime.now(UTC)) if before is None else before.date()
    if open_day > today:
        raise SetupError(f"--before {open_day}: only days that are over can be sealed; write {today} or earlier.")
    with Bar(
        TextColumn("sealing"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %  {task.completed:,.0f} fixes"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task("sealing", total=None)
        done = asyncio.run(
            seal_database(
                data or default_data_dir(),
                database,
                open_day,
                lambda done, total: bar.update(task, completed=done, total=total),
            )
        )
    console.print(f"{done:,} fixes sealed of the days before {open_day}.", highlight=False)


@app.command("prune")
def prune_command(data: Data = None, database: DatabaseUrl = None) -> None:
    """Remove the fixes of deleted assets for good, wherever they are stored. Their events and visits stay."""
    pruned = asyncio.run(prune_database(data or default_data_dir(), database))
    waiting = (
        f" {pruned.waiting} more have fixes that are not filed yet: try again in some minutes."
        if pruned.waiting
        else ""
    )
    console.print(f"{pruned.fixes:,} fixes of {pruned.assets:,} deleted assets are gone.{waiting}", highlight=False)


@app.command("psql", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql_command(context: typer.Context, data: Data = None) -> None:
    """Open psql in the private database of a running server; what follows goes to psql."""
    directory = data or default_data_dir()
    url = url_of_running(directory)
    if url is None:
        raise SetupError(f"No server runs on {directory}; start it, or name its directory with --data.")
    os.execvp("psql", ["psql", url, *context.args])  # noqa: S606 - the user's own psql


devices_app = typer.Typer(no_args_is_help=True, help="Make and list devices.")
tokens_app = typer.Typer(no_args_is_help=True, help="Make, list and revoke tokens; make sign-in links.")
app.add_typer(devices_app, name="device")
app.add_typer(tokens_app, name="token")


@devices_app.command("add")
def device_add(name: str, token: Token, url: Url = "http://127.0.0.1:8080") -> None:
    """Make a device and print its token, which is shown only now, with a line that sends its first fix."""
    made = asyncio.run(Api(url, token).call("POST", "/v1/devices", {"name": name}))
    print(made["token"])
    console.print(
        f"{made['id']} follows {made['asset']['id']}. Its first fix:\n"
        f"  curl {url}/v1/ingest -H 'Authorization: Bearer {made['token']}' -d '{{\"lon\":24.94,\"lat\":60.17}}'",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )


@devices_app.command("list")
def device_list(token: Token, url: Url = "http://127.0.0.1:8080") -> None:
    """Every device and the asset it follows."""
    for device in asyncio.run(Api(url, token).all("/v1/devices", "devices")):
        print(f"{device['id']}\t{device['name']}\t{device['asset']['id']}")


@tokens_app.command("add")
def token_add(
    name: str,
    token: Token,
    url: Url = "http://127.0.0.1:8080",
    role: Annotated[
        str, typer.Option(help="viewer, dispatcher or admin; or gateway, which sends for any device.")
    ] = "viewer",
) -> None:
    """Make a token and print it; it is shown only now."""
    kind = {"kind": "gateway"} if role == "gateway" else {"kind": "api", "role": role}
    print(asyncio.run(Api(url, token).call("POST", "/v1/tokens", {"name": name, **kind}))["token"])


@tokens_app.command("list")
def token_list(token: Token, url: Url = "http://127.0.0.1:8080") -> None:
    """Every live token, never its secret."""
    for each in asyncio.run(Api(url, token).all("/v1/tokens", "tokens")):
        print(f"{each['id']}\t{each['kind']}\t{each.get('role') or ''}\t{each['name']}")


@tokens_app.command("revoke")
def token_revoke(token_id: str, token: Token, url: Url = "http://127.0.0.1:8080") -> None:
    """End a token, its sessions and its sockets, now."""
    asyncio.run(Api(url, token).call("DELETE", f"/v1/tokens/{token_id}"))


@tokens_app.command("link")
def token_link(
    url: Url = "http://127.0.0.1:8080",
    data: Data = None,
    database: DatabaseUrl = None,
    role: Annotated[str, typer.Option(help="viewer, dispatcher or admin.")] = "admin",
) -> None:
    """Print a link that signs in once, within a day. Needs no token but access to the database: the way back in when
    all are lost.
    """
    if role not in (each.label for each in Role):
        raise SetupError(f"--role {role}: it is viewer, dispatcher or admin")
    print(url.rstrip("/") + asyncio.run(sign_in_path(data or default_data_dir(), database, Role.of(role))))


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)
