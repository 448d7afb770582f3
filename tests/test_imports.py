"""Who may import whom, what stays out of `import vpdata`, and how long a file may grow."""

import ast
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEVELS = (
    {"errors"},
    {"extras"},
    {"records", "config", "codec", "storage", "ray_init"},
    {"options"},
    {"media"},
    {"models", "sources", "dataset"},
    {"backbones"},
    {"stages"},
    {"engine", "report", "train", "inpaint"},
    {"app"},
    {"build", "encode"},
    {"cli", "pipelines", "benchmark"},
    {"__main__"},
)
"""A module imports only from lower levels; those of one level do not import each other."""
LEVEL_OF = {name: level for level, names in enumerate(LEVELS) for name in names}
GENERAL_LIBRARIES = {
    "PIL",
    "av",
    "cv2",
    "filelock",
    "httpx",
    "msgspec",
    "numpy",
    "pyarrow",
    "safetensors",
    "torch",
    "torchvision",
    "yaml",
}
"""What any model file may use beside its one model library."""
HEAVY = ("torch", "ray", "cv2", "transformers")
MAX_LINES = 500
TOO_LONG: dict[str, str] = {}
"""File to reason. This list may only shrink."""


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imported_modules(path: Path) -> Iterator[str]:
    """Dotted names of all that a file imports anywhere; of `from a import b` both `a` and `a.b`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def unit_of(module: str) -> str | None:
    """The entry of `LEVELS` that a dotted name belongs to; None for other packages and for `vpdata` itself."""
    first, *rest = module.split(".")
    if first in ("pipelines", "benchmark"):
        return first
    return rest[0] if first == "vpdata" and rest else None


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


# The facade `vpdata/__init__.py` opens the reader on first use; everybody may import its version.
CHECKED = [path for path in python_files("vpdata", "pipelines", "benchmark") if path != ROOT / "vpdata/__init__.py"]


@pytest.mark.parametrize("path", CHECKED, ids=module_name)
def test_module_imports_only_from_lower_levels(path):
    own = unit_of(module_name(path))
    assert own in LEVEL_OF, f"{path}: give {own!r} a level in this test"
    for module in imported_modules(path):
        other = unit_of(module)
        if other in LEVEL_OF and other != own:
            assert LEVEL_OF[other] < LEVEL_OF[own], f"{path} imports {module} from its own or a higher level"


def test_only_the_ray_engine_the_launcher_of_trainings_and_what_both_share_import_ray():
    importers = {path for path in python_files("vpdata", "pipelines") if "ray" in set(imported_modules(path))}
    assert importers == {ROOT / "vpdata" / name for name in ("engine/ray.py", "train/launch.py", "ray_init.py")}


def test_each_model_library_is_imported_by_one_file_or_one_folder_of_its_own():
    importers = defaultdict(set)
    # Adapters of backbones open the parts of whole pipelines, some of which are transformers' own.
    for path in set(python_files("vpdata")) - set(python_files("vpdata/backbones")):
        for module in imported_modules(path):
            importers[module.partition(".")[0]].add(path)
    in_models = {
        name for name, paths in importers.items() if any(path.is_relative_to(ROOT / "vpdata/models") for path in paths)
    }
    libraries = in_models - set(sys.stdlib_module_names) - GENERAL_LIBRARIES - {"vpdata"}
    assert "scenedetect" in libraries
    for name in libraries:
        folders = {path.parent for path in importers[name]}
        has_own_folder = len(folders) == 1 and ROOT / "vpdata/models" not in folders
        assert len(importers[name]) == 1 or has_own_folder, f"{name} is imported by {sorted(map(str, importers[name]))}"


@pytest.mark.parametrize("argv", [["-c", "import vpdata"], ["-m", "vpdata.cli", "--help"]], ids=["import", "help"])
def test_light_use_loads_no_heavy_package(argv):
    if argv[0] == "-m":
        start = f"import runpy; sys.argv = {argv[1:]!r}; runpy.run_module({argv[1]!r}, run_name='__main__')"
    else:
        start = argv[1]
    report = f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]), file=sys.stderr)"
    code = f"import atexit, json, sys\natexit.register(lambda: {report})\n{start}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stderr) == []


def test_no_file_is_too_long():
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in python_files("vpdata", "pipelines", "benchmark", "tools", "tests")
    }
    assert {name for name, length in lengths.items() if length > MAX_LINES} == set(TOO_LONG)
