"""What a co-simulation measures beside its run: growth along it, and a run parallel in time on the same arrays."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import xbar_spice as xs
from xbar_spice.cli.app import app
from xbar_spice.errors import InvalidInputError, StudyError
from xbar_spice.report.quantities import columns_of
from xbar_spice.study.study_file import parse_study

RNG = np.random.default_rng(0)
MODEL = xs.Model(
    field=xs.LayerField(RNG.normal(size=(3, 3)), activation="tanh"), h=0.1, steps=4, method="forward_euler"
)
PROBLEM = xs.Problem(MODEL, RNG.normal(size=(3, 5)), xs.SquaredDistance(np.zeros((3, 5))))
DESIGN = xs.Design(r_word=5.0, r_bit=5.0)


@pytest.mark.parametrize("products", [2, 3, 99])
def test_growth_is_that_of_the_runs(products: int) -> None:
    found = xs.cosimulate(PROBLEM, DESIGN, engine="nodal", monitors=xs.Monitors(growth=products))
    without = xs.cosimulate(PROBLEM, DESIGN, engine="nodal")
    entry = found.record.growth
    assert entry is not None
    run = xs.integrate(MODEL.field, PROBLEM.z0, MODEL.method, **MODEL.times)
    wanted = xs.growth(run, products if products < 3 else None)
    np.testing.assert_allclose(entry["digital"].abscissa, wanted.abscissa.max(axis=1), rtol=1e-12)
    assert entry["digital"].bound == pytest.approx(wanted.bound[-1].max(), rel=1e-12)
    assert entry["analog"].abscissa != entry["digital"].abscissa
    counts = Counter(read.direction for read in found.trace)
    counts.subtract(read.direction for read in without.trace)
    assert {name: count for name, count in counts.items() if count} == {"forward": 4 * min(products, 3)}
    assert found.record.state == without.record.state


def test_a_parallel_run_converges_to_the_run_on_the_arrays() -> None:
    """Exact after as many iterations as there are slices."""
    entries = [
        xs.cosimulate(
            PROBLEM, DESIGN, engine="nodal", monitors=xs.Monitors(coarsening=2, iterations=rounds)
        ).record.parallel
        for rounds in (0, 2)
    ]
    assert [len(one.errors) for one in entries if one] == [1, 3]
    assert entries[1] is not None
    assert entries[1].errors[0] > 1e-4
    assert entries[1].errors[2] < 1e-12
    assert (entries[1].sequential, entries[1].steps) == (4, 2 * 4 + 2 * 3)


def test_they_are_options_and_keys_of_studies_with_columns(tmp_path: Path) -> None:
    xs.save_model(tmp_path / "m.npz", MODEL)
    words = f"cosim {tmp_path}/m.npz --data random --engine ideal --growth 3 --coarsening 2 --relaxation FCF"
    shown = CliRunner().invoke(app, words.split(), catch_exceptions=False).output
    assert "growth           analog: abscissa up to" in shown
    assert "parallel in time" in shown
    study = {"name": "watched", "model": {"weights": "m.npz"}, "monitors": {"growth": 3, "coarsening": 2}}
    ((_, settings),) = parse_study(study).points()
    assert settings.watched() == xs.Monitors(growth=3, coarsening=2)
    cases = columns_of(xs.cosimulate(PROBLEM, xs.Design(), engine="ideal", monitors=settings.watched()).record)
    assert cases["growth.analog.abscissa"] == pytest.approx(cases["growth.digital.abscissa"], rel=1e-9)
    assert cases["parallel.error"] < cases["parallel.coarse_error"]


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="coarsening"):
        xs.Monitors(iterations=3)
    with pytest.raises(InvalidInputError, match="coarsening must divide the number of steps, 4"):
        xs.cosimulate(PROBLEM, DESIGN, engine="ideal", monitors=xs.Monitors(coarsening=3))
    with pytest.raises(StudyError, match="growth"):
        parse_study({"name": "x", "model": {"weights": "m.npz"}, "monitors": {"growth": 0}})
