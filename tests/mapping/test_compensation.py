"""Compensated arrays read as wanted, by another simulator too; what cannot be reached is reported."""

import numpy as np
import pytest
from support import engine_or_skip

from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.cells import Sinh
from xbar_spice.hardware.crossbar import Crossbar
from xbar_spice.mapping.compensation import compensate


@pytest.mark.ngspice
def test_a_compensated_array_reads_as_wanted_in_ngspice(rng):
    wanted = rng.uniform(20e-6, 80e-6, (6, 5))
    found = compensate(Crossbar(wanted, 10, 10, 50, 50), wanted, 1e-6, 200e-6)
    assert not found.limited.any()
    assert np.abs(found.error).max() <= 1e-9 * wanted.max()
    with engine_or_skip("ngspice").program(found.crossbar) as session:
        assert pytest.approx(wanted, rel=1e-7) == session.read(np.eye(6)).T


def test_what_the_window_forbids_is_reported(rng):
    wanted = rng.uniform(20e-6, 80e-6, (6, 5))
    plain = Crossbar(wanted, 50, 50, 200, 200)
    found = compensate(plain, wanted, 1e-6, 80e-6)
    assert found.limited.any()
    assert found.crossbar.conductance.max() <= 80e-6
    assert np.abs(found.error).max() > 1e-9 * wanted.max()
    uncompensated = compensate(plain, wanted, 1e-6, 80e-6, tolerance=10.0)
    assert np.linalg.norm(found.error) < 0.5 * np.linalg.norm(uncompensated.error)


def test_devices_at_zero_find_their_conductance_and_open_rows_stay(rng):
    wanted = rng.uniform(20e-6, 80e-6, (6, 5))
    found = compensate(Crossbar(np.zeros_like(wanted), 10, 10, 50, 50), wanted, 0.0, 200e-6)
    assert np.abs(found.error).max() <= 1e-9 * wanted.max()
    open_row = compensate(Crossbar(wanted, 10, 10, 50, 50, open_rows=(2,)), wanted, 1e-6, 200e-6)
    np.testing.assert_array_equal(open_row.crossbar.conductance[2], wanted[2])
    assert np.abs(np.delete(open_row.error, 2, axis=0)).max() <= 1e-6 * wanted.max()


@pytest.mark.parametrize(("size", "ohm"), [(24, 20.0), (64, 1.0)])
def test_an_array_that_loses_a_sixth_is_compensated_in_few_steps(size, ohm, rng, monkeypatch):
    monkeypatch.setattr("xbar_spice.mapping.compensation.ITERATIONS", 15)
    wanted = rng.uniform(2e-6, 40e-6, (size, size))
    plain = Crossbar(wanted, ohm, ohm, 50, 20)
    with engine_or_skip("nodal").program(plain) as session:
        kept = session.read(np.eye(size)).T / wanted
    assert kept.min() < 5 / 6
    found = compensate(plain, wanted, 1e-6, 400e-6, tolerance=1e-6)
    assert np.abs(found.error).max() <= 1e-6 * wanted.max()


@pytest.mark.parametrize(
    ("crossbar", "wanted", "window"),
    [
        (Crossbar([[1e-4]]), [[1e-4, 1e-4]], (0, 1e-3)),
        (Crossbar([[1e-4]]), [[1e-4]], (1e-3, 1e-4)),
        (Crossbar([[1e-4]], device=Sinh()), [[1e-4]], (0, 1e-3)),
    ],
)
def test_senseless_requests_are_refused(crossbar, wanted, window):
    with pytest.raises(InvalidInputError):
        compensate(crossbar, wanted, *window)
