from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from benchmark.__main__ import main
from benchmark.bench import open_bench
from benchmark.methods.settings import MethodSettings
from benchmark.results import Results
from benchmark.studies.ablation_rows import method_of, read_rows
from benchmark.studies.altered_masks import MaskAlteration, altered, not_eroded
from tests.benchmark.benches import make_bench
from vpdata.engine.ray import connected

RUN_IN = MethodSettings(kind="vpdata")
TINY = {"backbone": {"tiny": "wan", "device": "cpu", "dtype": "float32"}}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_bench(tmp_path_factory.mktemp("bench"), num_short=8, num_long=1, num_edits=0, num_frames=4)


def trained(root, *names):
    """What of trained parts is looked at before they are loaded."""
    for name in names:
        is_adapter = name == "id_adapter"
        folder = root / name / ("id_adapter" if is_adapter else "context_encoder")
        folder.mkdir(parents=True)
        # As `vpdata train` names them.
        (folder / ("id_adapter_config.json" if is_adapter else "config.json")).write_text("{}")
    return root


def test_rows_are_the_papers():
    rows = read_rows()
    assert [row.published.values[0] for row in rows.values()] == [
        20.54, 21.92, 22.86, 20.94, 23.01, 23.32, 21.79, 22.19, 23.24, 23.17, 23.02, 22.46,
    ]  # fmt: skip
    assert [row.published.table for row in rows.values()] == ["5/7/9"] * 8 + ["8"] * 4


def test_a_row_without_weights_says_which_and_how_to_train_them(tmp_path):
    root, rows = trained(tmp_path, "context_encoder"), read_rows()
    got = {name: method_of(row, TINY, root, RUN_IN) for name, row in rows.items()}
    assert [name for name, one in got.items() if isinstance(one, MethodSettings)] == [
        "full", "long-no-resampling", "kernel-8", "kernel-16", "kernel-32", "squares",
    ]  # fmt: skip
    folder = root / "context_encoder_4_layers"
    assert got["layers-4"] == (
        f"no weights in {folder}; vpdata train --config configs/train/context_encoder.yaml --set encoder.num_layers=4 "
        f"--set output={folder}"
    )
    assert str(got["long-resampling"]).startswith(f"no weights in {root / 'id_adapter'}; vpdata train")


def test_resampling_is_the_adapter_alone(tmp_path):
    root, rows = trained(tmp_path, "context_encoder", "id_adapter"), read_rows()
    plain, resampling = (
        method_of(rows[f"long-{name}"], TINY, root, RUN_IN) for name in ("no-resampling", "resampling")
    )
    assert isinstance(plain, MethodSettings)
    assert isinstance(resampling, MethodSettings)
    assert resampling.options == {**plain.options, "id_adapter": str(root / "id_adapter/id_adapter")}
    assert plain.options["id_adapter"] is None


def test_a_backbone_that_was_not_fetched_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("VPDATA_WEIGHTS", str(tmp_path / "weights"))
    root = trained(tmp_path, "context_encoder_t2v")
    got = method_of(read_rows()["text-to-video"], {}, root, RUN_IN)
    assert "zai-org/CogVideoX-5b" in str(got)
    assert "vpdata models fetch" in str(got)


def test_masks_are_resized_by_half_the_kernel_and_equal_at_every_reading(made):
    bench = altered(made.bench, MaskAlteration(kind="resized", kernel_px=8))
    areas = {case.id: (bench.masks(case).sum(), made.masks[case.id].sum()) for case in bench.cases}
    grown = [case for case, (after, before) in areas.items() if after > before]
    shrunk = [case for case, (after, before) in areas.items() if after < before]
    assert grown
    assert shrunk
    assert len(grown) + len(shrunk) == len(areas)
    for case in bench.cases:
        after, before = bench.masks(case), made.masks[case.id]
        where = np.argwhere((after != before)[0])
        edge = np.argwhere(before[0] if case.id in grown else ~before[0])
        distances = np.sqrt(((where[:, None] - edge) ** 2).sum(axis=-1).min(axis=1))
        assert 3 < distances.max() <= 4
        assert (bench.media.masks(case, [2]) == after[2]).all()


def test_squares_are_as_large_as_the_mask(made):
    bench = altered(made.bench, MaskAlteration(kind="squares"))
    for case in bench.cases:
        squares, before = bench.masks(case), made.masks[case.id]
        for one in squares:
            y, x = np.nonzero(one)
            assert one.sum() == (np.ptp(y) + 1) * (np.ptp(x) + 1)
        assert squares.sum() <= before.sum() * 1.2
    assert bench.name == "drawn-squares"
    assert bench.cases[0].fps == Fraction(12)


def test_wrong_rows_are_refused(made, tmp_path, capsys):
    config = tmp_path / "inpaint.yaml"
    config.write_text("backbone: {tiny: wan}\n")
    options = ["--bench", str(made.folder), "--config", str(config), "--trained", str(tmp_path)]
    assert main(["ablation", *options, "--rows", "layers-3"]) == 1
    assert "got the rows layers-3, wanted some of single-branch, layers-1" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.ray
def test_weights_that_were_trained_anew_are_in_the_way_until_told(made, tmp_path, capsys):
    pytest.importorskip("diffusers")
    config, output, root = tmp_path / "inpaint.yaml", tmp_path / "out", trained(tmp_path, "context_encoder")
    config.write_text("backbone: {tiny: wan, device: cpu, dtype: float32}\n")
    options = ["--bench", str(made.folder), "--config", str(config), "--trained", str(root)]
    command = ["ablation", *options, "--output", str(output), "--rows", "long-no-resampling"]

    def reason():
        return Results(output / "drawn-L").outcome("long-no-resampling", "l-0").reason or ""

    assert main(command) == 0
    assert "holds no files that are wanted" in reason()
    weights = root / "context_encoder/context_encoder/model.safetensors"
    weights.write_bytes(b"one training")
    assert main(command) == 0
    assert "holds no files that are wanted" in reason(), "a failure is left alone"
    with connected("local"):
        assert main([*command, "--retry"]) == 0
        assert "holds no files that are wanted" not in (retried := reason())
        weights.write_bytes(b"another")
        capsys.readouterr()
        assert main([*command, "--retry"]) == 1
        said = capsys.readouterr().out
        assert "cannot run: see below" in said
        assert "weights differ" in said
        assert str(tmp_path) not in said
        assert reason() == retried
        assert main([*command, "--redo"]) == 0


def test_without_any_weights_every_row_says_why(made, tmp_path, capsys):
    config = tmp_path / "inpaint.yaml"
    config.write_text("backbone: {tiny: wan}\n")
    output = tmp_path / "out"
    options = ["--bench", str(made.folder), "--config", str(config), "--trained", str(tmp_path)]
    assert main(["ablation", *options, "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert printed == (output / "ablation.md").read_text()
    assert printed.count("cannot run: see below") == 12
    assert "| *quoted: table 8* | 22.46 | 0.73 | 9.37 | 0.94 | 3.75 | 7.81 | 19.88 | 0.21 |" in printed
    assert open_bench(made.folder).name in printed


@pytest.mark.slow
def test_what_a_reader_must_know_of_the_cases_is_under_the_table(made, tmp_path, capsys):
    pytest.importorskip("diffusers")
    config, root = tmp_path / "inpaint.yaml", trained(tmp_path, "context_encoder")
    config.write_text("backbone: {tiny: wan, device: cpu, dtype: float32}\n")
    options = ["--bench", str(made.folder), "--config", str(config), "--trained", str(root)]
    command = ["ablation", *options, "--output", str(tmp_path / "out"), "--rows", "kernel-32"]
    assert main([*command, "--protocol", "paper"]) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("- drawn-")]
    every = not_eroded(altered(made.bench, MaskAlteration(kind="resized", kernel_px=32)))
    thin = {case: num for case, num in every.items() if case.startswith("s-")}
    assert thin
    assert "not the published setting" in notes[0]
    assert len(notes) == 1 + len(thin)
    assert all(f"{case}: on {num} frames the mask is too thin" in " ".join(notes) for case, num in thin.items())
