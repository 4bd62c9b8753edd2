"""What the writers to experiment trackers have in common: Weights & Biases, MLflow and Trackio."""

import importlib.util
from pathlib import Path
from typing import ClassVar

from tirgn_eqx.errors import ConfigError
from tirgn_eqx.tracking.background_writer import BackgroundWriter


class TrackerWriter(BackgroundWriter):
    """Writes entries to one run of an experiment tracker.

    **Arguments:** `timeout`: seconds that the start may take where the tracker bounds it, and that `close` waits;
    `project`, `name`, `config`: of the run; `folder`: that of the other logs.
    """

    package: ClassVar[str]  # what is imported, and the extra that installs it
    title: ClassVar[str]  # for messages

    def __init__(
        self, timeout: int | float, *, project: str, name: str | None, config: dict[str, object], folder: Path
    ):
        self._project, self._run_name, self._config, self._folder = project, name, config, folder
        super().__init__(self.title, "the training and TensorBoard go", timeout)

    @classmethod
    def check_installed(cls) -> None:
        """**Raises:** ConfigError where the package is not installed. Nothing is imported."""
        # A name that is None in `sys.modules` counts as missing, as it does for `import`.
        if importlib.util.find_spec(cls.package) is None:
            raise ConfigError(
                f"tracker = {cls.package!r}: the package is not installed; install it with: {cls._install()}, or "
                "choose another tracker"
            )

    @classmethod
    def _install(cls) -> str:
        return f"pip install 'tirgn-eqx[{cls.package}]'"

    def _reason(self, error: BaseException) -> str:
        if isinstance(error, ImportError):
            return f"{error}; install it with: {self._install()}"
        return super()._reason(error)
