"""Runs a launcher's `main`: flags parsed, libraries quiet, errors that a user can mend shown without a traceback."""

import contextlib
import re
import sys
from collections.abc import Callable, Iterator

from absl import app, flags, logging

from tcr_jax.checkpoint import CheckpointError
from tcr_jax.loop import TrainingDiverged

MENDABLE: tuple[type[Exception], ...] = (ValueError, CheckpointError, TrainingDiverged, OSError)


def run(main: Callable[[], None], *mendable: type[Exception]) -> None:
    """`app.run(main)`, exiting with status 1 and the message alone on the errors in `MENDABLE` and `mendable`."""

    def guarded(argv: list[str]) -> None:
        if argv[1:]:
            sys.exit(f"error: {' '.join(argv[1:])}: not a flag; flags look like --name=value, and --help lists them")
        if logging.get_verbosity() <= logging.WARNING:  # Orbax keeps a diary there; what matters it raises
            logging.get_absl_logger().setLevel("ERROR")
        try:
            main()
        except MENDABLE + mendable as error:
            sys.exit(f"error: {error}")

    logging.set_verbosity(logging.WARNING)  # the libraries' own diaries would drown ours
    app.run(guarded, flags_parser=_parse)


@contextlib.contextmanager
def extra(name: str) -> Iterator[None]:
    """Around imports of what only the package's extra `name` installs: exits with the mend where it is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        sys.exit(f"error: the package {error.name} is missing; pip install 'tcr_jax[{name}]'")


def _parse(argv: list[str]) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        text = re.sub(r"flag --\w+=None: Flag (--\w+) must have a value.*", r"\1 is missing", str(error))
        sys.exit(f"error: {'; '.join(text.splitlines())}; --help lists the flags")
