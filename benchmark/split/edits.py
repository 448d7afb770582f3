"""VPBench-Edit: edits of the clips that are in the benchmark, the four operations in equal shares."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count

from benchmark.bench import Operation, Subset
from benchmark.split.cases import MadeCase, Material, make_case
from benchmark.split.draw import place
from benchmark.split.operations import OPERATIONS, EditWords, offer_for
from benchmark.split.unusable import UnusableError
from vpdata.codec import to_builtins

WriteWords = Callable[[MadeCase, Operation, Material], EditWords]


def make_edits(
    clips: Sequence[str],
    material_of: Callable[[str], Material],
    *,
    num: int,
    first_turn: int,
    subset: Subset,
    max_s: float,
    seed: int,
    write_words: WriteWords,
    unusable: Callable[[str, UnusableError], None],
) -> list[MadeCase]:
    """At most `num` edits, one of each clip: the operations take turns, from number `first_turn` on, and each takes the
    next clip that bears it. `unusable` is told of clips that did not.
    """
    queues = {one: deque(sorted(clips, key=lambda clip: place(seed, "edit", one, clip))) for one in OPERATIONS}
    made: dict[str, MadeCase] = {}
    for turn in count(first_turn):
        operation = OPERATIONS[turn % len(OPERATIONS)]
        queue = queues[operation]
        if len(made) == num or not any(queues.values()):
            break
        has_made = False
        while queue and not has_made:
            clip = queue.popleft()
            if clip in made:
                continue
            try:
                made[clip] = _edit(material_of(clip), operation, subset, max_s, seed, write_words)
                has_made = True
            except UnusableError as error:
                unusable(clip, error)
    return list(made.values())


def _edit(
    material: Material, operation: Operation, subset: Subset, max_s: float, seed: int, write_words: WriteWords
) -> MadeCase:
    offer = offer_for(operation, material.record)
    made = make_case(material, offer, subset=subset, max_s=max_s, seed=seed)
    words = write_words(made, operation, material)
    return dataclasses.replace(made, case=dataclasses.replace(made.case, operation=operation, **to_builtins(words)))
