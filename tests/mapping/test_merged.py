"""Reads as one product: the same as reads of all tiles, and only where the arrays are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from support import relative

from xbar_spice.engines.base import Bank
from xbar_spice.engines.nodal.elimination import STACKED_TO, transfer_matrices, transfer_matrix
from xbar_spice.engines.nodal.engine import NodalEngine
from xbar_spice.engines.nodal.grid import place
from xbar_spice.engines.registry import get_engine
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.cells import Sinh
from xbar_spice.hardware.converters import Converters
from xbar_spice.hardware.crossbar import Crossbar, Terminations
from xbar_spice.hardware.read_noise import ReadNoise
from xbar_spice.hardware.variation import Variation
from xbar_spice.mapping.analog_matrix import AnalogMatrix, program
from xbar_spice.mapping.matrix import Design, map_weights
from xbar_spice.mapping.merged import MergedReads, summed_tiles
from xbar_spice.mapping.trace import ReadTrace


class Counted(Bank):
    """A bank that counts how often its arrays are read."""

    def __init__(self, bank):
        super().__init__(bank.crossbars)
        self._bank, self.reads = bank, 0

    def transfers(self, side):
        return self._bank.transfers(side)

    def _read(self, drives, side):
        self.reads += 1
        return self._bank.read(drives, side)


def counted(weights, design, engine="nodal", noise_seed=None, trace=None):
    mapped = map_weights(weights, design, rng=np.random.default_rng(3))
    bank = Counted(get_engine(engine).program_bank(mapped.crossbars))
    return AnalogMatrix(weights, mapped, bank, trace=trace), bank


designs = st.builds(
    Design,
    mapping=st.sampled_from(["differential", "interleaved"]),
    tile=st.sampled_from([None, 2, 3, 5]),
    r_word=st.sampled_from([0.0, 2.0]),
    r_bit=st.sampled_from([0.0, 3.0]),
    r_driver=st.sampled_from([0.0, 50.0]),
    r_sense=st.sampled_from([0.0, 20.0]),
    terminations=st.builds(
        Terminations,
        drive=st.sampled_from(["single", "double"]),
        transposed=st.sampled_from(["same_ends", "swapped_ends", "far_ends"]),
    ),
    variation=st.sampled_from([Variation(), Variation(programming=0.1, stuck_off=0.2, stuck_on=0.1)]),
    amplifier=st.sampled_from([Amplifier(), Amplifier(r_feedback=1e4, gain=100.0)]),
    converters=st.sampled_from([Converters(), Converters(dac_bits=4)]),
    skip_empty=st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(design=designs, seed=st.integers(0, 2**16), engine=st.sampled_from(["nodal", "ideal"]))
def test_merged_reads_are_tile_reads(design, seed, engine):
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((6, 7)) * (rng.random((6, 7)) > 0.5)
    mapped = map_weights(weights, design, rng=np.random.default_rng(3))
    bank = get_engine(engine).program_bank(mapped.crossbars)
    merged = MergedReads(mapped, bank)
    for side, ports in (("rows", 7), ("cols", 6)):
        vectors = rng.standard_normal((ports, 4))
        vectors[:, 1] = 0.0
        drives = mapped.drives(vectors, side)
        by_tiles = mapped.products(bank.read(drives, side), vectors, side)
        at_once = merged.products(vectors, side)
        assert at_once is not None
        # Currents of plus and minus devices cancel; both ways round off what is left of them.
        largest = design.g_max / mapped.siemens_per_weight * np.abs(vectors).sum(axis=0)
        assert (np.abs(at_once - by_tiles) <= 1e-14 * largest).all()


@pytest.mark.parametrize("mapping", ["differential", "interleaved"])
def test_few_tiles_are_never_a_dense_matrix(mapping, rng):
    weights = np.kron(np.eye(5), rng.standard_normal((4, 4)))[:18]
    design = Design(mapping=mapping, tile=4, r_word=5.0, r_bit=2.0, skip_empty=True)
    analog, bank = counted(weights, design)
    for read in (analog, analog.T):
        vectors = rng.standard_normal((read.shape[1], 3))
        first, later = read.mv(vectors), read.mv(vectors)
        assert relative(later, first) < 1e-14
        known = summed_tiles(analog.mapped, bank.transfers("rows" if read is analog else "cols"))
        assert type(known) is csr_array
    assert bank.reads == 2


@pytest.mark.parametrize("side", ["rows", "cols"])
def test_only_the_first_read_of_a_side_goes_to_the_arrays(side, rng):
    weights, trace = rng.standard_normal((6, 7)), ReadTrace()
    analog, bank = counted(weights, Design(r_word=1.0, r_bit=1.0, tile=3), trace=trace)
    read = analog if side == "rows" else analog.T
    vectors = rng.standard_normal((read.shape[1], 3))
    products = [read.mv(vectors) for _ in range(4)]
    assert bank.reads == 1
    assert max(relative(later, products[0]) for later in products) < 1e-14
    assert len(trace) == 4
    first, *later = trace
    assert {record.relative_error for record in later} == {later[0].relative_error}
    assert first.relative_error == pytest.approx(later[0].relative_error)
    with analog:
        pass
    with pytest.raises(InvalidInputError, match="closed"):
        read.mv(vectors)


def test_no_read_is_forced_to_know_the_arrays(rng):
    analog, bank = counted(rng.standard_normal((6, 7)), Design(r_word=1.0, tile=3), NodalEngine("iterative"))
    for _ in range(3):
        analog.mv(np.ones(7))
    assert bank.reads == 3


@pytest.mark.parametrize(
    "design",
    [
        Design(tile=3, r_word=1.0, converters=Converters(adc_bits=6)),
        Design(tile=3, r_word=1.0, device=Sinh(0.3)),
        Design(tile=3, r_word=1.0, amplifier=Amplifier(r_feedback=1e4, gain=1e5, saturation=1.0)),
    ],
)
def test_what_happens_to_lines_needs_lines(design, rng):
    analog, bank = counted(rng.standard_normal((6, 7)), design)
    for _ in range(3):
        analog.mv(np.ones(7))
    assert bank.reads == 3


def test_noise_is_drawn_by_line_in_every_read(rng):
    design = Design(tile=3, r_word=1.0, noise=ReadNoise(device=0.1))
    with program(rng.standard_normal((6, 7)), design, noise_rng=np.random.default_rng(0)) as analog:
        reads = [analog.mv(np.ones(7)) for _ in range(3)]
    assert (reads[0] != reads[1]).all()
    assert (reads[1] != reads[2]).all()


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 9),
    cols=st.integers(1, 9),
    wires=st.sampled_from([(0.0, 0.0, 0.0, 0.0), (1.0, 2.0, 5.0, 3.0), (0.0, 1e5, 10.0, 0.0), (1e6, 1e-3, 0.0, 1e8)]),
    double=st.booleans(),
    decades=st.sampled_from([1.0, 12.0]),
    seed=st.integers(0, 2**16),
)
def test_a_stack_is_eliminated_like_each_of_its_arrays(rows, cols, wires, double, decades, seed):
    rng = np.random.default_rng(seed)
    ends = Terminations(drive="double" if double else "single")
    grids = [
        place(Crossbar(10 ** rng.uniform(-3 - decades, -3, (rows, cols)), *wires, terminations=ends), "rows")[0]
        for _ in range(3)
    ]
    together = transfer_matrices(np.stack([grid.conductance for grid in grids]), grids[0].lines)
    alone = np.stack([transfer_matrix(grid) for grid in grids])
    assert cols <= STACKED_TO
    assert np.allclose(together, alone, rtol=1e-13, atol=0.0)
