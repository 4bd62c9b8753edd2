"""`python worker.py STUDY TRIALS SECONDS`: one worker of a search whose trainings are played, SECONDS an epoch.

Every epoch of a training leaves a line in `played.txt` of its trial's folder, so that what was done twice shows.
"""

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

from tirgn_eqx import TiRGNTrainingConfig, simulate
from tirgn_eqx.train.events import ValidationRecord
from tirgn_eqx.tune import search

EPOCHS = 5
SPACE = {"learning_rate": search.default_space(TiRGNTrainingConfig(), False)["learning_rate"]}


def graph():
    return simulate(num_entities=8, num_relations=2, num_days=10, facts_per_day=5, seed=1).graph


def config(**changes):
    return TiRGNTrainingConfig(**{"epochs": EPOCHS, "eval_interval": 1, **changes})


def mrr(config, epoch):
    """Best at 1e-3, and growing by the epoch."""
    return (1 - abs(math.log10(config.learning_rate) + 3) / 2) * epoch / config.epochs


def play(seconds=0.0):
    """What stands in for `train_tirgn`: its records, its state after every epoch, its result."""

    def train(graph, config, *, model_dir, on_record, run_name, resume, stop) -> dict[str, Any]:
        state = Path(model_dir) / "tirgn_state.npz"
        done = int(state.read_text()) if resume else 0
        result = {"epochs_trained": done, "best_epoch": done, "total_time": 0.1, "best_mrr": mrr(config, done)}
        for epoch in range(done + 1, config.epochs + 1):
            time.sleep(seconds)
            if stop():
                return result | {"status": "interrupted"}
            with open(Path(model_dir) / "played.txt", "a") as log:
                log.write(f"{epoch}\n")
            on_record(ValidationRecord(epoch, False, {"mrr": mrr(config, epoch)}))
            state.write_text(str(epoch))
            (Path(model_dir) / "tirgn_best.npz").write_text("weights")
            result |= {"epochs_trained": epoch, "best_epoch": epoch, "best_mrr": mrr(config, epoch)}
            if stop() and epoch < config.epochs:
                return result | {"status": "interrupted"}
        return result | {"status": "complete"}

    return train


def main() -> None:
    study, trials, seconds = sys.argv[1:]
    search.train_tirgn = play(float(seconds))
    search._PAUSE = 0.1

    def said(record):
        return print(json.dumps(vars(record) | {"kind": type(record).__name__}), flush=True)

    search.tune(graph(), config(), study=study, trials=int(trials), space=SPACE, startup=2, on_record=said)


if __name__ == "__main__":
    main()
