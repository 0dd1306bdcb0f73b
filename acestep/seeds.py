"""One effective seed per song of a batch, and the log line when a given seed overrides "random"."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from acestep.constants import SEED_MAX
from acestep.errors import InputError


def check_seed(value: int, field: str = "seed") -> int:
    """``value`` as a seed, where -1 means random.

    Raises:
        InputError: not a whole number from -1 to 2**32 - 1.
    """
    if not -1 <= value <= SEED_MAX:
        raise InputError.must(field, f"be -1 (random) or a whole number from 0 to {SEED_MAX}", value)
    return value


def random_seed() -> int:
    """A fresh seed from the system's entropy."""
    return secrets.randbelow(SEED_MAX + 1)


def resolve_seeds(seed: int, seeds: Sequence[int] | int | None, batch_size: int) -> tuple[int, ...]:
    """The seed of each song.

    A list fills the songs in order and the rest is random; surplus entries are an error. One seed for a batch counts
    upwards (modulo 2**32), so that song ``i`` can be made again alone.

    Raises:
        InputError: a value out of range, or more seeds than songs.
    """
    if isinstance(seeds, int):
        seed, seeds = check_seed(seeds, "seeds"), None
    if seeds:
        given = [check_seed(value, "seeds") for value in seeds]
        if len(given) > batch_size:
            raise InputError(
                f"seeds has {len(given)} entries for a batch_size of {batch_size}; give at most one per song.",
                field="seeds",
                value=seeds,
            )
        given += [-1] * (batch_size - len(given))
        return tuple(random_seed() if value < 0 else value for value in given)
    if check_seed(seed) < 0:
        return tuple(random_seed() for _ in range(batch_size))
    return tuple((seed + index) % (SEED_MAX + 1) for index in range(batch_size))
