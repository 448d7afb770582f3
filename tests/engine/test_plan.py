"""What fits where: numbers worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from vpdata.engine.plan import Node, gpu_share, make_plan
from vpdata.engine.settings import EngineSettings
from vpdata.errors import ConfigError
from vpdata.stages.base import Resources

CPU = Resources(cpus=1, memory_gb=1)
GPU = Resources(cpus=1, gpus=1, memory_gb=8, gpu_memory_gb=30)


def test_stages_that_fit_run_at_once_and_share_what_is_left_in_turn() -> None:
    plan = make_plan({"cut": CPU, "detect": CPU}, [Node(cpus=5, memory_gb=100)])
    assert plan.groups == (("cut", "detect"),)
    assert plan.workers == {"cut": 3, "detect": 2}


def test_slower_stages_get_more_workers_in_proportion() -> None:
    slow = Resources(cpus=1, memory_gb=1, s_per_clip=6)
    plan = make_plan({"detect": CPU, "track": slow, "caption": CPU}, [Node(cpus=8, memory_gb=100)])
    assert plan.workers == {"detect": 1, "track": 6, "caption": 1}
    # A worker more for `track` no longer fits, one for the others does.
    wide = Resources(cpus=3, memory_gb=1, s_per_clip=30)
    assert make_plan({"detect": CPU, "track": wide}, [Node(cpus=9, memory_gb=100)]).workers == {"detect": 3, "track": 2}
    with pytest.raises(ValueError, match="s_per_clip: got 0, wanted more than 0"):
        Resources(s_per_clip=0)


@pytest.mark.parametrize("number", [math.nan, math.inf, -1.0])
@pytest.mark.parametrize("name", ["cpus", "gpus", "memory_gb", "gpu_memory_gb", "s_per_clip"])
def test_resources_that_are_no_amount_are_refused(name: str, number: float) -> None:
    with pytest.raises(ValueError, match=f"{name}: got"):
        Resources(**{name: number})


_NO_AMOUNTS = (math.nan, math.inf, -1)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        *((name, number) for name in ("shard_mb", "pack_memory_gb", "prefetch_mb") for number in (*_NO_AMOUNTS, -0.5)),
        *((name, number) for name in ("flush_every_s", "wait_for_s") for number in _NO_AMOUNTS),
        *(("near_duplicate_frac", number) for number in (0.3, 10, *_NO_AMOUNTS)),
        *(("semantic_duplicate_cosine", number) for number in (0.1, 1.1, *_NO_AMOUNTS)),
        *((name, 0) for name in ("videos_per_part", "clips_per_part", "workers", "prefetch_threads")),
    ],
)
def test_settings_of_the_engine_out_of_range_are_refused(name: str, number: float) -> None:
    with pytest.raises(ValueError, match=f"{name}: got {number}, wanted"):
        EngineSettings(**{name: number})


def test_stages_that_do_not_fit_at_once_each_get_everything_in_turn() -> None:
    plan = make_plan({"cut": CPU, "detect": CPU, "track": CPU}, [Node(cpus=2, memory_gb=100)])
    assert plan.groups == (("cut",), ("detect",), ("track",))
    assert plan.workers == {"cut": 2, "detect": 2, "track": 2}


def test_a_fixed_pool_keeps_its_size() -> None:
    fixed = Resources(cpus=1, memory_gb=1, workers=2)
    assert make_plan({"cut": fixed, "detect": CPU}, [Node(cpus=8, memory_gb=100)]).workers == {"cut": 2, "detect": 6}


def test_memory_limits_workers_as_cpus_do() -> None:
    hungry = Resources(cpus=1, memory_gb=30)
    assert make_plan({"cut": hungry}, [Node(cpus=8, memory_gb=100)]).workers == {"cut": 3}


def test_a_worker_does_not_spread_over_nodes() -> None:
    wide = Resources(cpus=3, memory_gb=1)
    assert make_plan({"cut": wide}, [Node(cpus=4, memory_gb=9), Node(cpus=4, memory_gb=9)]).workers == {"cut": 2}
    with pytest.raises(ConfigError, match=r"got nodes of 2 cpu, 9\.0 GB; 2 cpu, 9\.0 GB; wanted 1 x \(3 cpu, 1 GB\)"):
        make_plan({"cut": wide}, [Node(cpus=2, memory_gb=9), Node(cpus=2, memory_gb=9)])


def test_all_that_can_never_fit_is_named_and_so_is_a_missing_gpu():
    wide = Resources(cpus=3, memory_gb=1)
    with pytest.raises(ConfigError) as refused:
        make_plan({"cut": CPU, "detect": GPU, "track": wide}, [Node(cpus=2, memory_gb=99)])
    detect, track = str(refused.value).splitlines()
    assert detect.startswith(
        "stage detect can never run here: got nodes of 2 cpu, 99.0 GB; wanted 1 x (1 cpu, 8 GB, 1 gpu"
    )
    assert "and no node has a GPU" in detect
    assert track.startswith("stage track can never run here")
    assert "GPU" not in track


def test_gpu_memory_is_summed_per_gpu() -> None:
    # Half a GPU each by count, but 30 GB + 30 GB do not fit into one of 40.
    half = Resources(cpus=1, gpus=0.5, memory_gb=8, gpu_memory_gb=30)
    assert make_plan({"track": half}, [Node(cpus=8, gpus=2, memory_gb=99, gpu_memory_gb=40)]).workers == {"track": 2}
    assert make_plan({"track": half}, [Node(cpus=8, gpus=2, memory_gb=99, gpu_memory_gb=80)]).workers == {"track": 4}
    with pytest.raises(ConfigError, match="stage track can never run here"):
        make_plan({"track": half}, [Node(cpus=8, gpus=2, memory_gb=99, gpu_memory_gb=24)])


def test_share_of_a_gpu_holds_its_memory_on_the_smallest_gpu_that_does() -> None:
    # 40 of 48 GB are 0.83333, of which Ray counts four decimals; half of that GPU would be 24 GB.
    half = Resources(cpus=1, gpus=0.5, memory_gb=8, gpu_memory_gb=40)
    small, large = (
        Node(cpus=8, gpus=2, memory_gb=99, gpu_memory_gb=48),
        Node(cpus=8, gpus=1, memory_gb=99, gpu_memory_gb=80),
    )
    assert gpu_share(half, [small, large]) == 0.8333
    plan = make_plan({"caption": half}, [small, large])
    assert plan.workers == {"caption": 3}
    assert "0.8333 gpu (40 GB of its memory)" in plan.text
    # GPUs that are too small for it, or of unknown size, say nothing of the others.
    tiny, unknown = Node(cpus=8, gpus=1, memory_gb=99, gpu_memory_gb=24), Node(cpus=8, gpus=1, memory_gb=99)
    assert gpu_share(half, [tiny, large, unknown]) == 0.5
    assert gpu_share(GPU, [small]) == 1
    with pytest.raises(ConfigError, match=r"4 x \(.*a larger share than 0\.5 since the smallest GPU.*smaller GPUs out"):
        make_plan({"caption": replace(half, workers=4)}, [small, large])


def test_equal_shares_of_a_gpu_fill_it() -> None:
    third = Resources(cpus=1, gpus=0.25, memory_gb=8, gpu_memory_gb=16)
    assert make_plan({"track": third}, [Node(cpus=8, gpus=1, memory_gb=99, gpu_memory_gb=48)]).workers == {"track": 3}


def test_workers_are_named_in_the_order_in_which_they_are_placed() -> None:
    # Of a GPU of 48 GB `track` holds three quarters, more than the half of `caption`.
    needs = {
        "cut": CPU,
        "caption": Resources(cpus=1, gpus=0.5, memory_gb=8, gpu_memory_gb=12),
        "track": Resources(cpus=1, gpus=0.25, memory_gb=8, gpu_memory_gb=36),
    }
    plan = make_plan(needs, [Node(cpus=8, gpus=2, memory_gb=99, gpu_memory_gb=48)])
    assert list(plan.workers) == ["track", "caption", "cut"]


def test_one_gpu_runs_gpu_stages_one_after_the_other() -> None:
    plan = make_plan({"cut": CPU, "detect": GPU, "track": GPU}, [Node(cpus=8, gpus=1, memory_gb=64, gpu_memory_gb=80)])
    assert plan.groups == (("cut",), ("detect",), ("track",))
    assert plan.workers == {"cut": 8, "detect": 1, "track": 1}
