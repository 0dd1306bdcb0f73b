"""``acestep-server``, also ``python -m acestep.server``: the REST server of this project.

In: arguments, the environment. Out: a server until it is interrupted; an exit code. Heavy imports happen inside the
functions, so that ``--help`` and bad arguments answer at once.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from importlib.util import find_spec

from acestep.checkpoints.files import WEIGHTS_ENV
from acestep.errors import UnsupportedError
from acestep.server.options import API_KEY, Options, read_options
from acestep.terminal import finish_command

PROGRAM = "acestep-server"
_NEEDED = ("fastapi", "uvicorn", "python_multipart")
logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until interrupted.

    Returns:
        The exit code.
    """
    logging.basicConfig(format=f"{PROGRAM}: %(message)s")
    logging.getLogger("acestep").setLevel(logging.INFO)
    return finish_command(PROGRAM, partial(_run, argv))


def _run(argv: Sequence[str] | None) -> None:
    options = read_options(argv, os.environ)
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise UnsupportedError(
            f"The server needs {', '.join(missing)}; install it with `pip install 'acestep-cog[server]'`."
        )
    if options.checkpoint_root is not None:
        os.environ[WEIGHTS_ENV] = str(options.checkpoint_root)  # where everything looks for weights
    if not options.download:
        os.environ["HF_HUB_OFFLINE"] = "1"  # adapters too: the library of the hub reads it when it is imported
    if not options.on_loopback and not options.api_key:
        logger.warning("Everybody who reaches %s may use this server; set --api-key or %s.", options.host, API_KEY)
    _serve(options)


def _serve(options: Options) -> None:
    from acestep.server.serving import StationServer
    from acestep.server.station import Station

    with Station.opened(options) as station:
        if options.preload:
            logger.info("Ready after %.1f s of loading.", station.preload())
        with suppress(KeyboardInterrupt):  # uvicorn has heard it, and repeats it when all is closed
            StationServer(station).run()


if __name__ == "__main__":
    sys.exit(main())
