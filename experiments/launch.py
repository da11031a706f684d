"""Runs a launcher's `main`: flags parsed, libraries quiet, errors that a user can mend shown without a traceback."""

import sys
from collections.abc import Callable

from absl import app, logging

from tcr_jax.checkpoint import CheckpointError
from tcr_jax.config import ConfigError
from tcr_jax.loop import TrainingDiverged
from tcr_jax.store import StoreError

MENDABLE: tuple[type[Exception], ...] = (StoreError, ConfigError, CheckpointError, TrainingDiverged, OSError)


def run(main: Callable[[], None], *mendable: type[Exception]) -> None:
    """`app.run(main)`, exiting with status 1 and the message alone on the errors in `MENDABLE` and `mendable`."""

    def guarded(argv: list[str]) -> None:
        if argv[1:]:
            sys.exit(f"error: {' '.join(argv[1:])}: not a flag; flags look like --name=value, and --help lists them")
        try:
            main()
        except MENDABLE + mendable as error:
            sys.exit(f"error: {error}")

    logging.set_verbosity(logging.WARNING)  # the libraries' own diaries would drown ours
    app.run(guarded)
