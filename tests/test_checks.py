"""The rules of what a value may be, and settings that nothing uses."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import eye_array

import xbar_spice as xs
from xbar_spice.checks import (
    DEVIATION,
    Array,
    Flag,
    Function,
    Instance,
    Many,
    OneOf,
    Optional,
    Place,
    Real,
    Text,
    Whole,
    given,
)
from xbar_spice.errors import DesignWarning, DeviceError, IdleSettingError, InvalidInputError

REFUSED = [
    (Real("ohm", least=0), -1.0, r"x must be finite and >= 0 ohm, got -1\.0"),
    (Real(), "1.0", r"x must be finite, got '1\.0'; a text is no number"),
    (Real(), 1j, "got 1j; take its real part"),
    (Real(), True, "got True; True and False are no numbers"),
    (Real(), np.nan, "x must be finite, got nan"),
    (Real(), 10**400, "x must be finite"),
    (Real(), 10**5000, "too large to print"),
    (Real(), np.array([1.0]), r"got an array of shape \(1,\) and type float64"),
    (Real(), np.ma.masked, "x must be finite, got masked"),
    (Real(), Decimal(1), "x must be finite, got Decimal"),
    (Real(infinite=True, least=0), np.nan, "x must be >= 0, got nan"),
    (Real(above=0, below=1), 1.0, "x must be finite and > 0 and < 1, got 1.0"),
    (DEVIATION, 5, "were 5 % meant"),
    (Whole(1), 1.7, "x must be a whole number >= 1, got 1.7"),
    (Whole(1), 0, "x must be a whole number >= 1, got 0"),
    (Whole(1), np.inf, "x must be a whole number >= 1, got inf"),
    (Whole(2, 32), 33, "x must be a whole number from 2 to 32, got 33"),
    (Flag(), 1, "x must be True or False, got 1"),
    (OneOf("a", "b"), "c", "x must be one of 'a', 'b', got 'c'"),
    (OneOf("a", "b"), np.array(["a", "b"]), "x must be one of 'a', 'b', got an array"),
    (Instance(xs.Sinh, example="Sinh(0.25)"), xs.Sinh, r"got the class Sinh; make one: Sinh\(\.\.\.\)"),
    (Instance(xs.Sinh, xs.Ohmic), None, "x must be a Sinh or an Ohmic, got None"),
    (Function(), 1.0, "x must be a function, got 1.0"),
    (Function(), dict, "x must be a function, got the class dict"),
    (Text(), "", "x must be a text, got ''"),
    (Place(), 3, "x must be a path, got 3"),
    (Optional(Real(), "for none"), "a", "x must be finite, or None for none, got 'a'"),
    (Many(Real(), 2), (1.0,), r"x must be 2 values, each finite, got \(1\.0,\)"),
    (Many(Whole(0, 3)), (1.7,), r"x must be a sequence, each a whole number from 0 to 3, got \(1\.7,\)"),
    (Many(Whole()), 1, r"got 1; put it into a tuple"),
    (Many(Text()), "ab", "got 'ab'; put it into a tuple"),
    (Array(), [[1.0], [2.0, 3.0]], "its rows have different lengths"),
    (Array(), np.ma.masked_equal([1.0, 2.0], 2.0), "values are masked"),
    (Array(), np.array([1.0 + 1j]), "take the real part"),
    (Array(), ["1.0"], "it holds values of type <U3"),
    (Array(), "1.0", "a text is no array"),
    (Array(), None, "x must be an array of finite real numbers, got None"),
    (Array(), np.array([1.0, None], dtype=object), "it holds None"),
    (Array(), [np.nan], "there is NaN or infinity in it"),
    (Array(), [10**400], "there is NaN or infinity in it"),
    (Array(), eye_array(2), r"\.toarray\(\)"),
    (Array(), xs.Ohmic, "got the class Ohmic"),
    (Array(), {"a": 1}, "x must be an array"),
    (Array(), np.array(["2020-01-01"], dtype="datetime64[D]"), "datetime64"),
]


@pytest.mark.parametrize(("rule", "value", "text"), REFUSED, ids=lambda part: given(part)[:40])
def test_a_rule_says_what_was_given_what_is_allowed_and_what_to_try(rule, value, text):
    with pytest.raises(InvalidInputError, match=text):
        rule("x", value)


@pytest.mark.parametrize(
    ("rule", "value", "kept"),
    [
        (Real(), np.float32(0.5), 0.5),
        (Real(), Fraction(1, 2), 0.5),
        (Real(), np.array(2.0), 2.0),
        (Real(), 3, 3),
        (Real(infinite=True), np.inf, np.inf),
        (Whole(), 4.0, 4),
        (Whole(), np.int64(4), 4),
        (Flag(), np.True_, True),
        (Many(Whole()), np.array([1, 2]), (1, 2)),
        (Place(), "a/b", Path("a/b")),
        (Optional(Real()), None, None),
    ],
    ids=lambda part: given(part)[:40].partition(" object at")[0],
)
def test_what_is_allowed_is_kept_as_plain_values(rule, value, kept):
    found = rule("x", value)
    assert found == kept
    assert type(found) is type(kept)


def test_arrays_keep_every_number():
    exact = np.array([1.0, 2.0])
    assert Array()("x", exact) is exact
    for value in (
        [1, 2],
        np.array([1, 2], dtype=np.int8),
        np.array([1, Fraction(2)], dtype=object),
        np.ma.array([1, 2]),
    ):
        found = Array()("x", value)
        assert type(found) is np.ndarray
        assert (found == exact).all()
    assert np.isnan(Array(finite=False)("x", [np.nan])).all()


def test_a_rule_raises_the_error_of_its_caller():
    with pytest.raises(DeviceError, match="v0 must be"):
        xs.Sinh("0.25")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: xs.Crossbar([[1.5]]), "cells of more than 1 S carry amperes"),
        (lambda: xs.Design(g_max=2.0), "cells of more than 1 S carry amperes"),
        (lambda: xs.Crossbar([[1e-5]], device=xs.Polynomial()), "cells outside 5e-05 .. 0.000225 S"),
        (lambda: xs.Design(device=xs.load_device("hfo2_milo2021")), "where Polynomial was fitted"),
        (lambda: replace(xs.Design(), device=xs.Polynomial()), "where Polynomial was fitted"),
    ],
)
def test_what_is_hardly_meant_is_said_at_the_line_that_caused_it(make, text):
    with pytest.warns(DesignWarning, match=text) as caught:
        make()
    assert {warning.filename for warning in caught} == {__file__}


def test_cells_within_the_range_of_a_fit_are_quiet():
    xs.Crossbar([[0.0, 1e-4]], device=xs.Polynomial())
    xs.Design(g_min=5e-5, g_max=2e-4, device=xs.Polynomial())


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: xs.Amplifier(gain=5.0), "gain has no effect without r_feedback, got gain = 5.0 and r_feedback = 0.0"),
        (lambda: xs.Amplifier(saturation=0.5), "saturation has no effect without r_feedback"),
        (lambda: xs.Amplifier(opamp=xs.load_opamp("loaded")), "opamp has no effect without r_feedback"),
        (lambda: xs.Converters(adc_range=0.5), "adc_range has no effect without adc_bits"),
        (lambda: xs.Converters(dac_bits=8, adc_reference="devices"), "adc_reference has no effect without adc_bits"),
        (lambda: xs.Converters(subtraction="analog"), "subtraction has no effect without adc_bits"),
        (lambda: xs.ReadNoise(law="pcm", sense=1e-9), "law has no effect without device"),
        (lambda: xs.Variation(distribution="lognormal"), "distribution has no effect without programming"),
    ],
)
def test_a_setting_that_nothing_uses_is_refused(make, text):
    with pytest.raises(IdleSettingError, match=text):
        make()
