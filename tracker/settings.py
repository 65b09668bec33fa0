"""How this server is set: one frozen object, made once from the command line, each flag with a twin `TRACKER_*`."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from tracker.errors import SetupError
from tracker.store.private import default_data_dir


@dataclass(frozen=True, slots=True)
class Settings:
    """database None: a private cluster under `data`."""

    host: str
    port: int
    data: Path
    database: str | None = None
    admin_token: str | None = None
    hooks_allow: tuple[IPv4Network | IPv6Network, ...] = ()


def parse_listen(text: str) -> tuple[str, int]:
    """`127.0.0.1:8080`, `[::1]:8080` or `:8080` (every address).

    Raises:
        SetupError: it is none of these.
    """
    host, _, port = text.rpartition(":")
    if not port.isdigit() or not 0 <= int(port) <= 65_535:
        raise SetupError(f"--listen {text}: write address:port, as in 127.0.0.1:8080")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - asked for by leaving the address out


def parse_networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Comma-separated CIDRs.

    Raises:
        SetupError: one of them is not a network.
    """
    networks = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            networks.append(ip_network(part))
        except ValueError as error:
            raise SetupError(f"TRACKER_HOOKS_ALLOW: {part} is no network such as 10.0.0.0/8 ({error})") from error
    return tuple(networks)


def settings(
    listen: str, data: Path | None, database: str | None, admin_token: str | None, hooks_allow: str
) -> Settings:
    """Checked settings from the texts of flags and environment."""
    host, port = parse_listen(listen)
    if admin_token is not None and len(admin_token) < 16:
        raise SetupError("TRACKER_ADMIN_TOKEN has fewer than 16 characters; make one with: openssl rand -hex 32")
    return Settings(
        host, port, data or default_data_dir(), database or None, admin_token or None, parse_networks(hooks_allow)
    )
