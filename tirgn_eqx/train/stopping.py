"""Early stopping by a validation figure, counted in epochs."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class EarlyStopping:
    """The best validation so far, and when to stop waiting for a better one.

    **Arguments:**

    - `patience`: epochs without a better validation before stopping; 0 = never stop.
    - `monitor`: `mrr` (greater is better) or `nll` (smaller is better).
    - `best_value`, `best_epoch`: the best validation so far, None before the first one.
    """

    patience: int
    monitor: Literal["mrr", "nll"] = "mrr"
    best_value: float | None = None
    best_epoch: int | None = None

    def update(self, epoch: int, value: float) -> tuple["EarlyStopping", bool]:
        """The state after a validation, and whether it is the best so far; NaN and ties never are."""
        better = self.best_value is None
        if self.best_value is not None:
            better = value > self.best_value if self.monitor == "mrr" else value < self.best_value
        if math.isnan(value) or not better:
            return self, False
        return dataclasses.replace(self, best_value=float(value), best_epoch=epoch), True

    def should_stop(self, epoch: int) -> bool:
        """Whether `patience` epochs have passed since the best validation, or since the start without one."""
        return self.patience > 0 and epoch - (self.best_epoch or 0) >= self.patience

    def message(self, epoch: int) -> str:
        """The message when the training stops early at `epoch`."""
        if self.best_value is None:
            return f"Early stopping at epoch {epoch}, no validation gave a number"
        figure = f"best {self.monitor.upper()} {self.best_value:.4f}"
        return f"Early stopping at epoch {epoch}, {figure} at epoch {self.best_epoch}"
