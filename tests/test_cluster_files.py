"""The files of docs/cluster.md: what they name exists, and a job's upload stays small."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import stat
import subprocess
import zipfile
from pathlib import Path

import pytest
import yaml

from vpdata.build import load_config
from vpdata.engine.plan import Node, Plan, make_plan
from vpdata.options import add_build_options
from vpdata.stages import STAGES

ROOT = Path(__file__).resolve().parents[1]
RAY_JOB = ROOT / "docs/cluster/rayjob.yaml"
SLURM = ROOT / "docs/cluster/slurm.sh"
MAX_UPLOAD_BYTES = 3 * 10**6
LEFT_BEHIND = (
    ".git/objects/pack",
    ".venv/lib",
    "runs/demo/shards",
    "footage/demo",
    "weights/sam",
    "latents/shards",
    "my_videos",
    ".cache",
    "vpdata/__pycache__",
)


def dockerfile() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile: upper-case name and the rest of the line, continuations joined."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines]


def pinned(package: str) -> str:
    """Version in constraints.txt."""
    return re.search(rf"^{package}==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M)[1]


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A copy of this checkout with what a working one also holds: an environment, runs, footage and weights."""
    copy = tmp_path / "checkout"
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    for folder in LEFT_BEHIND:
        (copy / folder).mkdir(parents=True)
        (copy / folder / "large.bin").write_bytes(os.urandom(1_000_000))
    (copy / "mine.yaml").write_text("cut: {}")
    return copy


@pytest.mark.parametrize("include_gitignore", [True, False])
def test_a_jobs_upload_holds_the_code_and_little_else(checkout, tmp_path, include_gitignore):
    from ray._private.runtime_env.packaging import create_package

    package = tmp_path / "package.zip"
    create_package(str(checkout), package, include_gitignore=include_gitignore)
    names = set(zipfile.ZipFile(package).namelist())
    assert {"pipelines/build_vpdata.py", "configs/embedded.yaml", "vpdata/records.py"} <= names
    assert "mine.yaml" in names
    assert not [name for name in names if name.endswith("large.bin")]
    assert package.stat().st_size < MAX_UPLOAD_BYTES


def test_this_checkouts_own_upload_is_small(tmp_path):
    from ray._private.runtime_env.packaging import create_package

    package = tmp_path / "package.zip"
    create_package(str(ROOT), package, include_gitignore=True)
    assert package.stat().st_size < MAX_UPLOAD_BYTES


def test_the_dockerfile_copies_what_exists_and_installs_the_pinned_packages():
    instructions = dockerfile()
    assert instructions[0] == ("FROM", "python:3.11-slim-bookworm")
    assert {name for name, _ in instructions} <= {"ARG", "FROM", "RUN", "WORKDIR", "COPY", "USER"}
    copied = [source for name, rest in instructions if name == "COPY" for source in rest.split()[:-1]]
    assert {"vpdata", "pipelines", "configs", "constraints.txt"} <= set(copied)
    assert all((ROOT / source).exists() for source in copied)
    assert ("ARG", "EXTRAS=cloud,models") in instructions
    assert ("RUN", 'pip install --no-cache-dir -c constraints.txt ".[${EXTRAS}]"') in instructions
    assert instructions[-1][0] == "USER", "nothing runs as root"


def test_the_ray_job_starts_the_pipeline_of_the_image_on_the_pinned_ray():
    job = yaml.safe_load(RAY_JOB.read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    workdir = dict(dockerfile())["WORKDIR"]
    named = re.findall(rf"{workdir}/(\S+)", job["spec"]["entrypoint"])
    assert named == ["pipelines/build_vpdata.py", "configs/vpdata.yaml"]
    assert all((ROOT / name).is_file() for name in named)
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["rayVersion"] == pinned("ray")
    assert cluster["authOptions"] == {"mode": "token"}


def test_every_container_of_the_ray_job_has_the_image_the_secret_and_bounded_resources():
    cluster = yaml.safe_load(RAY_JOB.read_text())["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    containers = [container for group in groups for container in group["template"]["spec"]["containers"]]
    assert len({container["image"] for container in containers}) == 1
    for container in containers:
        assert container["env"] == [{"name": "VPDATA_WEIGHTS", "value": "s3://my-bucket/weights"}]
        assert container["envFrom"] == [{"secretRef": {"name": "vpdata-s3"}}]
        assert container["resources"]["requests"] == container["resources"]["limits"]
    parameters = [value for group in groups for value in group["rayStartParams"].values()]
    assert all(isinstance(value, str) for value in parameters), "KubeRay takes strings alone"
    for group in cluster["workerGroupSpecs"]:
        pod = group["template"]["spec"]
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_no_worker_runs_beside_the_driver_of_the_ray_job():
    assert nodes_of_the_ray_job()[0].cpus == 0


def gib(text: str) -> float:
    """GB from such as 48Gi or, as Slurm writes it, 5G."""
    return int(text.removesuffix("i").removesuffix("G")) * 2**30 / 1e9


def nodes_of_the_ray_job() -> list[Node]:
    cluster = yaml.safe_load(RAY_JOB.read_text())["spec"]["rayClusterSpec"]
    nodes = []
    for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
        (container,) = group["template"]["spec"]["containers"]
        has = container["resources"]["limits"]
        node = Node(
            cpus=int(group["rayStartParams"].get("num-cpus", has["cpu"])),
            memory_gb=gib(has["memory"]),
            gpus=int(has.get("nvidia.com/gpu", 0)),
            gpu_memory_gb=80,
        )
        nodes += [node] * group.get("replicas", 1)
    return nodes


def nodes_of_the_slurm_job() -> list[Node]:
    asked = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)", SLURM.read_text(), re.M))
    num_cpus = int(asked["cpus-per-task"])
    memory_gb = num_cpus * gib(asked["mem-per-cpu"])
    node = Node(cpus=num_cpus, memory_gb=memory_gb, gpus=int(asked["gpus-per-node"]), gpu_memory_gb=80)
    return [node] * int(asked["nodes"])


def planned(words: list[str], nodes: list[Node]) -> Plan:
    """What the engine makes of the options of a build with the production config."""
    parser = argparse.ArgumentParser()
    add_build_options(parser)
    args = parser.parse_args(words)
    config = load_config(ROOT / "configs/vpdata.yaml", args.overrides)
    return make_plan({stage.name: getattr(config, stage.name).resources for stage in STAGES}, nodes)


def computed_workers() -> dict[str, int]:
    """By stage, for 866.7 h, in the table of docs/scaling.md."""
    rows = re.findall(r"^\| workers of (\w+), [^|]*\|[^|]*\| *([\d,]+) ", (ROOT / "docs/scaling.md").read_text(), re.M)
    return {stage: int(number.replace(",", "")) for stage, number in rows}


def test_open_pools_are_shared_out_as_the_computed_ones():
    shared_out, computed = planned([], nodes_of_the_ray_job()).workers, computed_workers()
    for stage, num_workers in computed.items():
        assert num_workers <= shared_out[stage], stage
    on_gpus = ("detect", "track", "caption")
    times_more = sum(shared_out[stage] for stage in on_gpus) / sum(computed[stage] for stage in on_gpus)
    for stage in on_gpus:
        assert shared_out[stage] == pytest.approx(times_more * computed[stage], abs=1)


def test_the_ray_job_has_the_computed_workers_and_its_nodes_hold_them_at_once():
    words = shlex.split(yaml.safe_load(RAY_JOB.read_text())["spec"]["entrypoint"])
    plan = planned(words[words.index("--config") :], nodes_of_the_ray_job())
    assert plan.workers == computed_workers()
    assert len(plan.groups) == 1


def test_the_slurm_job_holds_the_computed_workers_that_the_page_sets():
    page = (ROOT / "docs/cluster.md").read_text()
    options = " ".join(re.findall(r"^    (--set .*)$", page, re.M))
    plan = planned(shlex.split(options), nodes_of_the_slurm_job())
    assert plan.workers == computed_workers()
    assert len(plan.groups) == 1


def stub(folder: Path, name: str, script: str) -> None:
    """A program of that name for PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/bash\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def slurm_node(tmp_path):
    """Run the script as Slurm would on the first node, where each program only writes down how it was called."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/activate").write_text("")
    said = f'echo "$(basename "$0") $*" >> {tmp_path}/said'
    stub(tmp_path / "bin", "ray", f"{said}; stat -c 'token %a %s' \"$RAY_AUTH_TOKEN_PATH\" >> {tmp_path}/said")
    stub(tmp_path / "bin", "srun", said)
    stub(tmp_path / "bin", "python", f'[ "$1" = -c ] && exec python3 "$@"; {said}; [ "$1" = - ] || exit 3')

    def run(num_nodes: int, *options: str, **environment: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        slurm = {"SLURM_JOB_ID": "41", "SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_CPUS_PER_TASK": "16"}
        done = subprocess.run(
            ["bash", SLURM, *options],
            env={
                "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
                "SLURM_JOB_NUM_NODES": str(num_nodes),
                **slurm,
                **environment,
            },
            capture_output=True,
            text=True,
        )
        said_file = tmp_path / "said"
        return done, said_file.read_text().splitlines() if said_file.exists() else []

    return run


def test_the_slurm_script_is_valid_bash_and_may_be_run():
    subprocess.run(["bash", "-n", SLURM], check=True)
    assert SLURM.stat().st_mode & stat.S_IXUSR


def test_the_slurm_script_joins_the_nodes_builds_and_ends_with_the_builds_status(slurm_node, tmp_path):
    pool = ("--set", "track.resources.workers=33")
    done, said = slurm_node(4, *pool, VPDATA_INPUT="/in put", VPDATA_OUTPUT="/out", SLURM_GPUS_ON_NODE="8")
    assert done.returncode == 3, done.stderr
    assert said[0].startswith("ray start --head")
    assert "--num-cpus=16 --num-gpus=8" in said[0]
    assert "token 600 65" in said, "64 hex digits and a line end, for the owner alone"
    (workers,) = [line for line in said if line.startswith("srun")]
    assert "--nodes=3" in workers
    assert "ray start --address=" in workers
    assert "--num-cpus=16 --num-gpus=8" in workers
    assert "python - 4" in said
    build = "python pipelines/build_vpdata.py --config configs/vpdata.yaml --input /in put --output /out"
    assert f"{build} {' '.join(pool)}" in said
    assert not list(tmp_path.glob(".ray-token-*")), "the token goes with the job"


def test_the_slurm_script_needs_no_srun_on_one_node_and_no_gpu_for_the_embedded_models(slurm_node):
    _, said = slurm_node(1, VPDATA_INPUT="/in", VPDATA_OUTPUT="/out", VPDATA_CONFIG="configs/embedded.yaml")
    assert not [line for line in said if line.startswith("srun")]
    assert "--num-gpus=0" in said[0]
    assert "python pipelines/build_vpdata.py --config configs/embedded.yaml --input /in --output /out" in said


def test_the_slurm_script_stops_at_once_without_an_output(slurm_node):
    done, said = slurm_node(1, VPDATA_INPUT="/in")
    assert done.returncode != 0
    assert "VPDATA_OUTPUT" in done.stderr
    assert said == []


def test_files_and_variables_that_the_page_names_exist():
    page = (ROOT / "docs/cluster.md").read_text()
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert links
    for file, _, heading in (link.partition("#") for link in links):
        target = ROOT / "docs" / (file or "cluster.md")
        assert target.is_file()
        headings = re.findall(r"^#+ (.*)$", target.read_text(), re.M) if heading else []
        assert not heading or heading in [one.lower().replace(" ", "-") for one in headings]
    options = (ROOT / "vpdata/options.py").read_text()
    assert all(name in options for name in ("VPDATA_INPUT", "VPDATA_OUTPUT", "VPDATA_CONFIG"))
    assert os.access(ROOT / "pipelines/build_vpdata.py", os.X_OK), "ray job submit runs the script itself"
