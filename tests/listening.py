"""Where processes can be reached."""

import psutil  # type: ignore[import-untyped]


def listening_at(process: psutil.Process) -> set[str]:
    """The addresses at which a process accepts connections."""
    return {each.laddr.ip for each in process.net_connections("inet") if each.status == psutil.CONN_LISTEN}
