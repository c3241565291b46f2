"""The scheduler and the workers that a study starts on this machine."""

from pathlib import Path
from urllib.request import urlopen

import psutil  # type: ignore[import-untyped]
import pytest

pytest.importorskip("optuna", reason="needs make search")
pytest.importorskip("distributed", reason="needs make search")

from search.workers import connect, local_scheduler
from tests.listening import listening_at


@pytest.mark.slow
def test_scheduler_worker_and_dashboard_can_be_reached_from_this_machine_only(tmp_path: Path) -> None:
    here = psutil.Process()
    before = {child.pid for child in here.children(recursive=True)}
    with local_scheduler([{}], tmp_path) as address:
        client = connect(address)
        with urlopen(client.dashboard_link) as page:
            assert b"Bokeh.embed.embed_items" in page.read()  # what the workers do, as Bokeh draws it
        workers = [child for child in here.children(recursive=True) if child.pid not in before]
        assert set.union(*map(listening_at, workers)) == {"127.0.0.1"}
        assert listening_at(here) == {"127.0.0.1"}
        client.close()
