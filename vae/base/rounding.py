"""Numbers as text, with as many digits as they are worth."""

from math import floor, isnan, log10

MOST_DECIMALS = 2  # of nats


def with_error(value: float, error: float, *, signed: bool = False) -> str:
    """A value and its standard error, with two digits of the error: ``23.89 ± 0.31``. The error is not 0."""
    places = decimals(error)
    return f"{value:{'+' if signed else ''}.{places}f} ± {error:.{places}f}"


def decimals(error: float) -> int:
    """How many decimals show two digits of an error that is not 0."""
    return max(0, 1 - floor(log10(float(f"{error:.1e}"))))  # rounded first: 0.0999 is 0.10


def nats(value: float) -> str:
    """A number of nats with two decimals: ``103.08``; from a thousand on without any: ``8,020``."""
    return f"{value:,.{0 if abs(value) >= 999.5 else MOST_DECIMALS}f}"


def nats_with_error(value: float, error: float) -> str:
    """Nats and their standard error, if it is known: ``0.16 ± 0.35``, and ``812 ± 108``, not ``811.72 ± 108.05``."""
    if isnan(error):
        return nats(value)
    places = decimals_of_nats(error)
    return f"{value:,.{places}f} ± {error:,.{places}f}"


def decimals_of_nats(error: float) -> int:
    """How many decimals nats have with a standard error, which may be 0 or unknown (NaN)."""
    return min(decimals(error), MOST_DECIMALS) if error > 0 else MOST_DECIMALS
