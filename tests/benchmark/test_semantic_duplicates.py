"""The benchmark of semantic duplicates runs to its last row."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.perf.semantic_duplicates import main, random_vectors


def test_table_ends_with_what_a_million_clips_take(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["semantic_duplicates", "--clips", "300", "200", "--dim", "64"])
    main()
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0] for row in rows] == ["| 200", "| 300", "| 1,000,000, reckoned"]
    assert rows[-1][2] == "128"


def test_vectors_are_of_unit_length_and_apart():
    vectors = random_vectors(50, 768).astype(float)
    products = vectors @ vectors.T
    assert products.diagonal() == pytest.approx(1, abs=1e-3)
    np.fill_diagonal(products, 0)
    assert products.max() < 0.5
