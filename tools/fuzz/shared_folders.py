"""What is fuzzed beside the readers of `readers.py`: folders of TGB 2.0, and studies that workers share."""

import json
import pickle
import tempfile
from pathlib import Path
from typing import Literal

import numpy as np

from tirgn_eqx import TiRGNTrainingConfig, simulate
from tirgn_eqx.data import load_graph
from tirgn_eqx.data.readers.tgb_negatives import TGBNegatives
from tirgn_eqx.tune.search import default_space
from tirgn_eqx.tune.study import SharedStudy
from tools.fuzz.damage import Files

_SPACE_SEED = 3


def _facts() -> list[tuple[int, int, int, int]]:
    """(time, head, tail, relation) of twelve days."""
    return [(1000 + 86400 * t, s, (s + 1 + t % 2) % 6, t % 2) for t in range(12) for s in range(6)]


def tgb() -> list[Files]:
    """tkgl-polecat, in numbers; and tkgl-wikidata, in names, with a static graph and pickled negatives."""
    head = "timestamp,head,tail,relation_type\n"
    plain = head + "".join(f"{t},{s},{o},{r}\n" for t, s, o, r in _facts())
    named = head + "".join(f"{t},Q{s + 40},Q{o + 40},P{r + 40}\n" for t, s, o, r in _facts())
    static = "head,tail,relation_type\n" + "".join(f"Q{number + 40},Q{100 + number % 3},P7\n" for number in range(6))
    files = {"tkgl-wikidata_edgelist.csv": named.encode(), "tkgl-wikidata_static_edgelist.csv": static.encode()}
    for protocol, short in ((4, "val"), (pickle.HIGHEST_PROTOCOL, "test")):
        drawn = {
            (np.int64(t), np.int64(s), np.int64(r + side)): np.arange(4)
            for t, s, o, r in _facts()[-24:]
            for s, side in ((s, 0), (o, 2))
        }
        files[f"tkgl-wikidata_{short}_ns.pkl"] = pickle.dumps(drawn, protocol=protocol)
    return [{"tkgl-polecat_edgelist.csv": plain.encode()}, files]


def load_tgb(place: Path) -> None:
    """The facts, and where there are any the drawn negatives of both splits."""
    graph = load_graph(place)
    if list(place.glob("*.pkl")):
        for split in ("valid", "test"):
            TGBNegatives(graph, split)


def _study(place: Path) -> SharedStudy:
    config = TiRGNTrainingConfig(epochs=2)
    space = {"learning_rate": default_space(config, False)["learning_rate"]}
    graph = simulate(num_entities=8, num_relations=2, num_days=10, facts_per_day=5, seed=1).graph
    return SharedStudy(place / "study.journal", graph, config, space, seed=_SPACE_SEED)


def study() -> list[Files]:
    """A study with a finished trial and one that is given back."""
    with tempfile.TemporaryDirectory() as work:
        shared = _study(Path(work))
        trials: list[tuple[Literal["complete", "failed"], float | None]] = [("complete", 0.25), ("failed", None)]
        for state, mrr in trials:
            claim = shared.claim(8)
            assert claim is not None
            if mrr is not None:
                shared.report(claim, 1, mrr)
            shared.finish(claim, state, mrr)
            claim.release()
        return [{"study.journal": (Path(work) / "study.journal").read_bytes()}]


def go_on(place: Path) -> None:
    """What a worker does that joins: looks at all trials, draws the next one, and finishes it."""
    shared = _study(place)
    json.dumps([shared.rows(), shared.best()])
    claim = shared.claim(8)
    if claim is not None:
        shared.report(claim, 1, 0.5)
        shared.finish(claim, "complete", 0.5)
        claim.release()
