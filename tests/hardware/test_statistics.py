"""Programming errors and drift against their published formulas, by moments, and slopes by differences."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kstest, norm
from support import truth

import xbar_spice as xs
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.drift import CmoDrift, Drift, PcmDrift
from xbar_spice.hardware.statistics import (
    FITS,
    Correlated,
    InTurn,
    Levels,
    MeasuredProgramming,
    PublishedError,
    Stuck,
)
from xbar_spice.hardware.variation import Variation

TRUTH = truth("programming")
TABLE = MeasuredProgramming((1e-6, 2e-5, 1e-4), (1.5e-6, 1.9e-5, 1.02e-4), (2e-7, 1e-6, 4e-6))
WINDOW = (1e-6, 1e-4)
DRAWS = 200_000


def micro(values):
    return 1e6 * np.asarray(values)


@pytest.mark.parametrize("case", TRUTH["pcm"], ids=lambda case: f"{case['G']:g} uS")
def test_pcm_programming(case):
    _, deviation = PublishedError("pcm")._law(np.array([case["G"] * 1e-6]), 25e-6)[:2]
    assert micro(deviation) == pytest.approx(case["sigma_prog"], rel=1e-9)
    half = PublishedError("pcm")._law(np.array([case["G"] * 5e-7]), 12.5e-6)[1]
    assert half == pytest.approx(0.5 * deviation, rel=1e-12)


@pytest.mark.parametrize("case", TRUTH["wan_sigma"], ids=lambda case: f"{case['G']:g} uS")
def test_hfox_programming(case):
    target = np.array([case["G"] * 1e-6])
    assert micro(PublishedError("hfox_wan_crosssim")._law(target, 1.0)[1]) == pytest.approx(case["crosssim_cubic"])
    for day, wanted in zip(("1s", "1d", "2d"), case["aihwkit"], strict=True):
        assert micro(PublishedError(f"hfox_wan_aihwkit_{day}")._law(target, 1.0)[1]) == pytest.approx(wanted)


@pytest.mark.parametrize("case", TRUTH["cmo_hfox"], ids=lambda case: f"{case['G']:g} uS")
def test_cmo_programming_and_drift(case):
    target = np.array([case["G"] * 1e-6])
    assert micro(PublishedError("cmo_hfox_2pct")._law(target, 1.0)[1]) == pytest.approx(
        case["sigma_prog_2pct"], rel=1e-6
    )
    found = PublishedError("cmo_hfox_0.2pct")._law(target, 1.0)[1]
    assert micro(found) == pytest.approx(case["sigma_prog_0p2pct"], rel=1e-6)
    many = np.full(DRAWS, target)
    later = micro(CmoDrift().drifted(many, many, 0.0, 1.0, case["t"], np.random.default_rng(0)).conductance)
    assert later.mean() - case["G"] == pytest.approx(case["mean_shift"], abs=4 * case["sigma_drift"] / np.sqrt(DRAWS))
    assert later.std() == pytest.approx(case["sigma_drift"], rel=0.01)


@pytest.mark.parametrize("case", TRUTH["pcm"], ids=lambda case: f"{case['G']:g} uS")
def test_pcm_drift(case):
    target = np.full(DRAWS, case["G"] * 1e-6)
    for after in case["after"]:
        later = PcmDrift().drifted(target, target, 0.0, 25e-6, after["t"], np.random.default_rng(1))
        nu = -np.log(later.conductance / target) / np.log((after["t"] + 20) / 20)
        folded = np.abs(case["nu_mean"] + case["nu_sigma"] * np.random.default_rng(2).standard_normal(DRAWS))
        assert np.quantile(nu, [0.1, 0.5, 0.9]) == pytest.approx(np.quantile(folded, [0.1, 0.5, 0.9]), rel=0.02)
        assert (later.slope == later.conductance / target).all() or np.allclose(
            later.slope, later.conductance / target, rtol=1e-14
        )


def test_a_device_keeps_its_exponent():
    g = np.array([[1e-5, 2e-5]])
    days = [
        Drift(0.05, 0.01).drifted(g, g, *WINDOW, after, np.random.default_rng(3)).conductance for after in (1e3, 1e6)
    ]
    exponents = [-np.log(day / g) / np.log((t + 20) / 20) for day, t in zip(days, (1e3, 1e6), strict=True)]
    assert exponents[0] == pytest.approx(exponents[1], rel=1e-12)
    assert exponents[0][0, 0] != exponents[0][0, 1]


EFFECTS = [
    PublishedError("hfox_milo"),
    PublishedError("pcm"),
    TABLE,
    Levels(16),
    Levels(7, "stochastic"),
    Levels((1e-6, 3e-5, 1.1e-4), "stochastic"),
    Stuck(0.1, 0.2, word_lines=0.05),
    Correlated(0.1, 3.0),
]


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: type(effect).__name__)
def test_moments_are_those_of_the_draws(effect):
    target = np.linspace(5.1e-5, 9e-5, 4)[:, np.newaxis, np.newaxis] * np.ones((1, 300, 300))
    if isinstance(effect, Correlated):
        target = target[:, :, :1] * np.ones((1, 1, 1))
    drawn = np.stack([effect.program(target, *WINDOW, np.random.default_rng(s)).conductance for s in range(40)])
    mean, std = effect.moments(target, *WINDOW)
    size = drawn.shape[0] * drawn.shape[2] * drawn.shape[3]
    loose = 20 if isinstance(effect, Correlated | Stuck) else 1  # neighbours are no independent draws
    found = drawn.mean(axis=(0, 2, 3))
    assert np.abs(found - mean[:, 0, 0]) == pytest.approx(0, abs=5 * loose * std.max() / np.sqrt(size) + 1e-18)
    assert drawn.std(axis=(0, 2, 3)) == pytest.approx(std[:, 0, 0], rel=0.05, abs=1e-12)


def test_normal_laws_are_normal():
    target = np.full(5000, 6e-5)
    drawn = TABLE.program(target, *WINDOW, np.random.default_rng(8)).conductance
    mean, std = (float(x[0]) for x in TABLE.moments(target[:1], *WINDOW))
    assert kstest(drawn, norm(mean, std).cdf).pvalue > 0.01


@pytest.mark.parametrize(
    "effect", [PublishedError("hfox_milo"), PublishedError("pcm"), TABLE, Variation(0.2), Correlated(0.2, 2.0)]
)
def test_slopes_are_those_of_the_same_draw(effect):
    target = np.linspace(5.1e-5, 9.5e-5, 60).reshape(1, 10, 6)
    step = 1e-9
    one, up, down = (
        effect.program(t, *WINDOW, np.random.default_rng(7)) for t in (target, target + step, target - step)
    )
    assert one.slope == pytest.approx((up.conductance - down.conductance) / (2 * step), rel=1e-5, abs=1e-6)


def test_effects_in_turn_draw_from_streams_of_their_own():
    target = np.full((2, 8, 8), 6e-5)
    both = InTurn((PublishedError("hfox_milo"), Stuck(off=0.2)))
    alone = InTurn((PublishedError("hfox_milo"), Stuck()))
    with_stuck, without = (e.program(target, *WINDOW, np.random.default_rng(1)).conductance for e in (both, alone))
    moved = with_stuck != without
    assert (with_stuck[moved] == WINDOW[0]).all()
    assert 0 < moved.sum() < moved.size
    assert both.without("stuck devices") == alone


@pytest.mark.parametrize("levels", [2, 5, 16])
def test_levels_are_a_finite_set(levels, rng):
    target = rng.uniform(*WINDOW, 500)
    nearest = Levels(levels).program(target, *WINDOW, None).conductance
    assert len(np.unique(nearest)) <= levels
    assert np.abs(nearest - target).max() <= 0.5 * (WINDOW[1] - WINDOW[0]) / (levels - 1) * (1 + 1e-12)


def test_a_table_and_raw_samples_are_read(tmp_path, rng):
    table = tmp_path / "table.csv"
    table.write_text("# a chip\ntarget_S,mean_S,std_S\n5e-5,5.1e-5,1e-6\n1e-6,1.2e-6,2e-7\n")
    read = MeasuredProgramming.from_csv(table)
    assert read == MeasuredProgramming((1e-6, 5e-5), (1.2e-6, 5.1e-5), (2e-7, 1e-6))
    raw = tmp_path / "raw.csv"
    rows = [f"{t},{t * 1.1 + 1e-7 * x}" for t in (1e-6, 1e-5) for x in rng.standard_normal(400)]
    raw.write_text("\n".join(["target_S, programmed_S", *rows]))
    found = MeasuredProgramming.from_csv(raw)
    assert found.mean == pytest.approx([1.1e-6, 1.1e-5], rel=0.02)
    assert found.std == pytest.approx([1e-7, 1e-7], rel=0.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first line must name the columns"),
        ("target_S,mean_S\n1,2\n", "first line must name the columns target_S, mean_S, std_S or"),
        ("target_S,mean_S,std_S\n1e-6,1e-6,1e-7\n", "at least 2"),
        ("target_S,mean_S,std_S\n1e-6,1e-6,1e-7\n1e-6,2e-6,1e-7\n", "targets must ascend"),
        ("target_S,mean_S,std_S\n1e-6,nan,1e-7\n2e-6,2e-6,1e-7\n", "row 2, column mean_S: must be a finite number"),
        ("target_S,mean_S,std_S\n1e-6,1e-6\n2e-6,2e-6,1e-7\n", "row 2, column std_S"),
        ("target_S,mean_S,std_S\n1e-6,1e-6,-1e-7\n2e-6,2e-6,1e-7\n", "std must be"),
        ("target_S,programmed_S\n1e-6,1e-6\n2e-6,2e-6\n", "two samples or more"),
    ],
)
def test_hostile_tables_are_refused(text, message, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InvalidInputError, match=message):
        MeasuredProgramming.from_csv(tmp_path / "t.csv")


def test_targets_outside_the_known_range_are_refused():
    with pytest.raises(InvalidInputError, match=r"'hfox_milo' is known for targets from 5e-05 to 0\.000225 S"):
        xs.map_weights([[1.0]], xs.Design(variation="published(fit='hfox_milo')"), rng=np.random.default_rng(0))
    with pytest.raises(InvalidInputError, match="fit must be one of"):
        PublishedError("pcm2")
    assert all(fit.source for fit in FITS.values())


def test_a_chip_one_day_later():
    W = np.array([[1.0, -0.5], [0.25, 0.75]])
    fresh = xs.Design(g_max=2.5e-5, variation=PublishedError("pcm"))
    day = xs.Design(g_max=2.5e-5, variation=PublishedError("pcm"), drift="pcm", after=86400.0)
    one, other = (xs.map_weights(W, design, rng=np.random.default_rng(4)) for design in (fresh, day))
    ratio = other.arrays[0].crossbar.conductance / one.arrays[0].crossbar.conductance
    assert ((ratio > 0.4) & (ratio < 0.8)).all()
    assert (other.slope / one.slope)[0].T[:1] == pytest.approx(ratio.T[:1], rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"after": 10.0}, "drift and after need each other"),
        ({"drift": "pcm"}, "drift and after need each other"),
        ({"drift": "pcm", "after": -1.0}, "after must be finite"),
        ({"drift": "slow"}, "drift must be one of 'none', 'power_law', 'pcm', 'cmo_hfox'"),
    ],
)
def test_drift_without_time_is_refused(changes, message):
    with pytest.raises(InvalidInputError, match=message):
        xs.Design(**changes)


def test_a_measured_error_from_a_study_and_its_file(tmp_path):
    from xbar_spice.study.study_file import parse_study

    study = parse_study(
        {
            "name": "levels",
            "model": {"weights": "w.npz"},
            "circuit": {"variation": "levels(levels=8)", "drift": "power_law(nu=0.1)", "after": 100.0},
        }
    )
    design = study.points()[0][1].design()
    assert design.variation == Levels(8)
    assert design.drift == Drift(0.1)
    assert Path(__file__).exists()


def test_programming_is_another_word_for_variation(rng):
    error = PublishedError("hfox_milo")
    design = xs.Design(programming=error, g_min=5e-5, g_max=2e-4)
    assert design == xs.Design(variation=error, g_min=5e-5, g_max=2e-4)
    assert replace(design, r_word=1.0).variation == error
    assert replace(design, variation=xs.Variation()).variation == xs.Variation()
    with pytest.raises(InvalidInputError, match="two words for one thing"):
        xs.Design(programming=error, variation=xs.Variation(0.1))
    with xs.program([[1.0]], design, engine="ideal", programming="levels(levels=4)", rng=rng) as matrix:
        assert matrix.mapped.design.variation == Levels(4)


def test_a_programming_table_by_name(tmp_path, rng):
    (tmp_path / "programming.csv").write_text("target_S,mean_S,std_S\n1e-6,1e-6,0\n1e-4,9e-5,1e-6\n")
    text = f"in_turn(effects=('levels(levels=4)', \"table(file='{tmp_path}/programming.csv')\"))"
    design = xs.Design(programming=text)
    assert design.variation == InTurn((Levels(4), MeasuredProgramming.from_csv(tmp_path / "programming.csv")))
    assert xs.map_weights(np.eye(2), design, rng=rng).drawn.shape == (2, 2, 2)


def test_drift_without_spread_draws_nothing():
    design = xs.Design(drift=Drift(0.1), after=60.0)
    assert not design.random
    assert xs.map_weights([[1.0]], design).drawn[0, 0, 0] == pytest.approx(1e-4 * 4**-0.1)


def test_dead_lines_stay_dead(rng):
    design = xs.Design(programming=Stuck(word_lines=0.5), drift="cmo_hfox", after=60.0, g_min=1e-5, g_max=8e-5)
    drawn = xs.map_weights(rng.standard_normal((6, 6)), design, rng=rng).drawn
    assert (drawn == 0).any()
    assert ((drawn == 0) | (drawn >= 1e-5)).all()
