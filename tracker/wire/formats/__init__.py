"""Formats that others made: each module reads one of them into fixes, and refuses what it cannot trust."""


def number(text: str | None) -> float | None:
    """A finite number, or nothing: what every text format makes of a field that may not hold one."""
    if not text or "_" in text:  # Python's own digit groups are nobody else's
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if -1e300 < value < 1e300 else None
