"""The folder of a training: on one disk that all its processes share, and of one training at a time."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from vpdata.dataset import lease
from vpdata.dataset.lease import LeaseProof
from vpdata.errors import ConfigError
from vpdata.storage import Folder
from vpdata.train.stopping import deadly_signals
from vpdata.train.world import World


@contextmanager
def held_output(folder: Path, *, world: World) -> Iterator[LeaseProof | None]:
    """Make the folder and hold it while the block runs, by a lease of the main process, which alone gets the proof.

    ConfigError where the processes do not share it or it cannot be written to, RunError where another training holds
    it. Called by all ranks together.
    """
    with ExitStack() as stack:
        with deadly_signals():
            _refuse_unshared(folder, world)
            proof = None
            with world.together(f"taking the lease of {folder}"):
                if world.is_main:
                    proof = stack.enter_context(lease.hold(Folder(folder), waits=True))
        yield proof


def _refuse_unshared(folder: Path, world: World) -> None:
    """ConfigError unless all ranks see there a file that the main one has just made."""
    # A name never asked for before: of those, no network disk remembers that they are not there.
    probe = folder / world.of_all(f".aside-probe-{uuid.uuid4().hex}")[0]
    try:
        with world.together(f"writing to {folder}"):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                if world.is_main:
                    probe.touch()
            except OSError as error:
                raise ConfigError(f"cannot write the training to {folder}: {error.strerror or error}") from error
        with world.together(f"looking into {folder}"):
            if not os.path.exists(probe):
                raise ConfigError(
                    f"got output {folder}, which is another folder for rank {world.rank} than for rank 0; wanted one "
                    "on a disk that all processes share"
                )
    finally:
        if world.is_main:
            with suppress(NotADirectoryError):
                probe.unlink(missing_ok=True)
