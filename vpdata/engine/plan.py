"""What runs where: how many workers of each stage fit, what runs stage by stage, and what can never fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from vpdata.dataset import layout
from vpdata.errors import ConfigError
from vpdata.stages.base import Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What one machine has."""

    cpus: float
    gpus: float = 0.0
    memory_gb: float
    gpu_memory_gb: float = 0.0
    """Of one GPU; 0: unknown, then it is not checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which stages run at the same time."""

    groups: tuple[tuple[str, ...], ...]
    """One group: all at once; one per stage: one after the other over the durable parts."""
    workers: Mapping[str, int]
    """By stage, in the order of `placing_order`."""
    text: str
    """A table for people."""


def make_plan(needs: Mapping[str, Resources], nodes: Sequence[Node], *, at_once: bool = True) -> Plan:
    """Plan the stages, given in order; ConfigError with the numbers of all that can never fit.

    With `at_once` all stages run at the same time where one worker of each fits.
    """
    asked, needs = needs, {stage: replace(need, gpus=gpu_share(need, nodes)) for stage, need in needs.items()}
    unfit = [stage for stage, need in needs.items() if not _fits({stage: need}, {stage: need.workers or 1}, nodes)]
    if unfit:
        raise ConfigError("\n".join(_refusal(stage, needs[stage], nodes, asked[stage]) for stage in unfit))
    least = {stage: need.workers or 1 for stage, need in needs.items()}
    if at_once and _fits(needs, least, nodes):
        groups = (tuple(needs),)
        workers = _grown(needs, least, nodes)
    else:
        groups = tuple((stage,) for stage in needs)
        workers = {stage: _grown({stage: need}, {stage: least[stage]}, nodes)[stage] for stage, need in needs.items()}
    in_order = {stage: workers[stage] for stage in placing_order(needs)}
    return Plan(groups=groups, workers=in_order, text=_table(needs, workers, groups, nodes))


def gpu_share(need: Resources, nodes: Sequence[Node]) -> float:
    """How much of a GPU a worker holds: `need.gpus`, or more where that is less of its memory than it may take.

    Ray counts shares and no memory, and would put two workers of half a GPU and 40 GB on one of 48 GB.
    """
    sizes_gb = [node.gpu_memory_gb for node in nodes if node.gpus and node.gpu_memory_gb >= need.gpu_memory_gb > 0]
    if not 0 < need.gpus < 1 or not sizes_gb:
        return need.gpus
    # To four decimals, as Ray counts, and down, so that three thirds are no more than one.
    return max(need.gpus, math.floor(need.gpu_memory_gb / min(sizes_gb) * 1e4) / 1e4)


def placing_order(needs: Mapping[str, Resources]) -> list[str]:
    """The stages, those with most GPU first: small shares of GPUs fit beside large ones, seldom the other way round."""
    return sorted(needs, key=lambda stage: (-needs[stage].gpus, -needs[stage].cpus, -needs[stage].memory_gb))


def _grown(needs: Mapping[str, Resources], least: Mapping[str, int], nodes: Sequence[Node]) -> dict[str, int]:
    """More workers as long as there is room, the next always for the stage that the others would wait for longest.

    Those of a fixed pool stay.
    """
    workers = dict(least)
    growing = [stage for stage, need in needs.items() if need.workers is None]
    most = max(1, int(sum(node.cpus for node in nodes)))
    while growing:
        slowest = max(growing, key=lambda stage: needs[stage].s_per_clip / workers[stage])
        more = workers | {slowest: workers[slowest] + 1}
        if more[slowest] <= most and _fits(needs, more, nodes):
            workers = more
        else:
            growing.remove(slowest)
    return workers


def _fits(needs: Mapping[str, Resources], workers: Mapping[str, int], nodes: Sequence[Node]) -> bool:
    """Whether the workers can be placed, in the order of `placing_order`, each on the first node with room."""
    free = [_Free(node) for node in nodes]
    for stage in placing_order(needs):
        for _ in range(workers[stage]):
            if not any(node.place(needs[stage]) for node in free):
                return False
    return True


class _Free:
    """What is left on a node. GPUs are kept apart: a fraction lives on one of them, with its memory."""

    def __init__(self, node: Node) -> None:
        self._left = node
        self._gpus = [(1.0, node.gpu_memory_gb)] * int(node.gpus)
        self._checks_gpu_memory = node.gpu_memory_gb > 0

    def place(self, need: Resources) -> bool:
        left = self._left
        if need.cpus > left.cpus + 1e-9 or need.memory_gb > left.memory_gb + 1e-9:
            return False
        if need.gpus > 0 and not self._place_gpu(need):
            return False
        self._left = replace(left, cpus=left.cpus - need.cpus, memory_gb=left.memory_gb - need.memory_gb)
        return True

    def _place_gpu(self, need: Resources) -> bool:
        num_whole = int(need.gpus) if need.gpus >= 1 else 1
        share = min(need.gpus, 1.0)
        memory_gb = need.gpu_memory_gb / num_whole if self._checks_gpu_memory else 0.0
        fitting = [
            index
            for index, (left, left_gb) in enumerate(self._gpus)
            if left >= share - 1e-9 and left_gb >= memory_gb - 1e-9
        ][:num_whole]
        if len(fitting) < num_whole:
            return False
        for index in fitting:
            left, left_gb = self._gpus[index]
            self._gpus[index] = (left - share, left_gb - memory_gb)
        return True


def _refusal(stage: str, need: Resources, nodes: Sequence[Node], asked: Resources) -> str:
    has = "; ".join(_node_text(node) for node in nodes) or "no node"
    lacks, way_out = "", "add nodes"
    if need.gpus and not any(node.gpus for node in nodes):
        lacks = ", and no node has a GPU"
        way_out = f"add nodes with GPUs; without any, `{stage}.resources.gpus: 0` needs `device: cpu` for its models"
    if need.gpus > asked.gpus:
        lacks = f", a larger share than {asked.gpus:g} since the smallest GPU that holds its memory sets it"
        way_out = "leave nodes with smaller GPUs out, or add some with larger ones"
    setting = "engine.pack_memory_gb" if stage == layout.PACK else f"{stage}.resources"
    return (
        f"stage {stage} can never run here: got nodes of {has}; wanted {need.workers or 1} x ({need_text(need)})"
        f"{lacks}. Lower {setting}, or {way_out}"
    )


def _table(
    needs: Mapping[str, Resources], workers: Mapping[str, int], groups: Sequence[Sequence[str]], nodes: Sequence[Node]
) -> str:
    how = "all stages at once" if len(groups) == 1 else "stage by stage"
    lines = [f"plan: {how}, on {len(nodes)} node(s): " + "; ".join(_node_text(node) for node in nodes)]
    lines += [f"  {stage:<8} {workers[stage]:>4} worker(s) x {need_text(need)}" for stage, need in needs.items()]
    return "\n".join(lines)


def need_text(need: Resources) -> str:
    """What one worker holds, for people."""
    text = f"{need.cpus:g} cpu, {need.memory_gb:g} GB"
    if need.gpus:
        text += f", {need.gpus:g} gpu" + (f" ({need.gpu_memory_gb:g} GB of its memory)" if need.gpu_memory_gb else "")
    return text


def _node_text(node: Node) -> str:
    text = f"{node.cpus:g} cpu, {node.memory_gb:.1f} GB"
    if node.gpus:
        text += f", {node.gpus:g} gpu" + (f" of {node.gpu_memory_gb:g} GB" if node.gpu_memory_gb else "")
    return text
