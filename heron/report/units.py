"""Numbers in the form that people read."""

_KIB = 1024
_TWO_MINUTES_S = _TWO_HOURS_MIN = 120


def bytes_text(count: float) -> str:
    """`count` bytes with a binary unit and about three digits: 532 B, 1.5 KiB, 244 MiB."""
    value, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < _KIB or unit == "TiB":
            break
        value /= _KIB
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def flops_text(count: float) -> str:
    """`count` floating-point operations with a decimal prefix: 1.2 MFLOP, 39.9 GFLOP."""
    value, prefix = float(count), ""
    for prefix in ("", "k", "M", "G", "T"):
        if value < 1000 or prefix == "T":
            break
        value /= 1000
    return f"{value:.0f} {prefix}FLOP" if value >= 100 else f"{value:.1f} {prefix}FLOP"


def seconds_text(seconds: float | None) -> str:
    """Simulated seconds with about three digits: 0.0123 s, 45.2 s, 12.5 min, 3.4 h; `-` if unknown."""
    if seconds is None:
        return "-"
    if seconds < _TWO_MINUTES_S:
        return f"{seconds:.3g} s"
    minutes = seconds / 60
    return f"{minutes:.1f} min" if minutes < _TWO_HOURS_MIN else f"{minutes / 60:.1f} h"


def percent_text(share: float | None) -> str:
    """A share in percent with one decimal; `-` if unknown."""
    return "-" if share is None else f"{100 * share:.1f}"
