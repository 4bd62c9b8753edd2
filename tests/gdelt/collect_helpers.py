"""Collections for tests, from a server on this machine."""

import datetime as dt
from pathlib import Path
from typing import Any

from tests.gdelt_server import FIRST, GDELT
from tirgn_eqx.gdelt.collect import collect
from tirgn_eqx.gdelt.feed import FEEDS
from tirgn_eqx.storage.download import Patience

QUARTER = dt.timedelta(minutes=15)
V2 = FEEDS["v2"]
QUICK = Patience(tries=3, timeout=5.0, backoff=0.001)


def run(gdelt: GDELT, place: Path, count: int = 4, **options: Any) -> dict[str, Any]:
    """The report of a collection of the first `count` quarter hours, as a document."""
    options = {"base_url": gdelt.url, "patience": QUICK, "workers": 3} | options
    return collect(place, FIRST, FIRST + (count - 1) * QUARTER, **options).model_dump()


def whole(gdelt: GDELT, place: Path) -> list[str]:
    """Names of the zips in `place`, each of which must be what the server has; no other file may be left over."""
    names = []
    for path in sorted(place.iterdir()):
        if path.name.endswith(".zip"):
            assert path.read_bytes() == gdelt.files[f"/gdeltv2/{path.name}"], path.name
            names.append(path.name)
        else:
            assert path.name in ("masterfilelist.txt", "collected.json", ".collect.lock"), path.name
    return names
