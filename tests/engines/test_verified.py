"""A sample of the reads on another engine: how many, how far apart, and what the record says."""

from dataclasses import replace

import numpy as np
import pytest

import xbar_spice as xs
from xbar_spice.engines.verified import Verdict, VerifiedEngine
from xbar_spice.errors import InvalidInputError


def test_a_record_says_how_far_the_judge_is(dense):
    one = replace(dense, model=replace(dense.model, steps=1, method="forward_euler"))
    design = xs.Design(r_driver=50.0)
    engine = VerifiedEngine(xs.get_engine("nodal"), xs.get_engine("ideal"), 0.5)
    verdicts = [xs.cosimulate(one, design, engine=engine).record.verified for _ in range(2)]
    plain = xs.cosimulate(one, design, engine="nodal").record
    assert verdicts[0] == verdicts[1]
    assert isinstance(verdicts[0], Verdict)
    assert verdicts[0].engine == "ideal"
    assert 0 < verdicts[0].reads <= verdicts[0].of == sum(plain.reads.values())
    assert 1e-4 < verdicts[0].worst < 0.1
    assert plain.verified is None


def test_an_engine_cannot_judge_itself():
    with pytest.raises(InvalidInputError, match="cannot judge itself"):
        VerifiedEngine(xs.get_engine("nodal"), xs.get_engine("nodal"))
    assert np.isfinite(VerifiedEngine(xs.get_engine("nodal"), xs.get_engine("ideal")).share)
