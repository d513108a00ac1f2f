"""Parameter sets of devices: what is shipped, files of the user's own, and errors that name the file."""

import pytest

from xbar_spice.errors import DeviceError
from xbar_spice.hardware.cells import Ohmic, OneSelectorOneResistor, OneTransistorOneResistor, Polynomial, Sinh
from xbar_spice.spice.device_models import device_names, load_device


def test_shipped_parameter_sets():
    assert device_names() == (
        "ohmic",
        "diode_1s1r",
        "hfo2_milo2021",
        "hfo2_polynomial",
        "hp_biolek",
        "hp_joglekar",
        "hp_prodromakis",
        "neurosim_1t1r",
        "pershin",
        "selector_1s1r",
        "sinh_series",
        "stanford_gap",
        "stanford_gap_dynamic",
        "vteam",
        "vteam_read",
        "yakopcic_fast",
        "yakopcic_i",
        "yakopcic_iii",
    )
    assert load_device("ohmic") == Ohmic()
    assert load_device("hfo2_milo2021") == Polynomial()
    assert load_device("stanford_gap") == Sinh(0.25)
    assert load_device("selector_1s1r") == OneSelectorOneResistor()
    transistor = load_device("neurosim_1t1r")
    assert isinstance(transistor, OneTransistorOneResistor)
    assert 1 / (transistor.beta * transistor.v_on) == pytest.approx(15e3)


def test_a_folder_of_ones_own_comes_first(tmp_path):
    (tmp_path / "stanford_gap.toml").write_text('law = "sinh"\n[parameters]\nv0 = 0.5\n')
    assert load_device("stanford_gap", [tmp_path]) == Sinh(0.5)
    assert load_device(tmp_path / "stanford_gap.toml") == Sinh(0.5)
    assert load_device("hfo2_milo2021", [tmp_path]) == Polynomial()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("law = ", "cannot read"),
        ("law = " + "[" * 10_000, "nested too deeply"),
        ("law = " + "9" * 10_000, "not valid TOML"),
        ("#" * 2**20 + "#", "more than 1 MiB"),
        ('law = "magic"', "law is one of ohmic, sinh"),
        ('law = "sinh"\nv0 = 0.1', "keys source, law and parameters"),
        ('law = "sinh"\n[parameters]\nv1 = 0.1', "v1"),
        ('law = "sinh"\n[parameters]\nv0 = -1.0', "v0"),
        ('law = "sinh"\n[parameters]\nv0 = "high"', "mine.toml"),
    ],
)
def test_errors_name_the_file(text, problem, tmp_path):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(DeviceError, match=problem) as raised:
        load_device("mine", [tmp_path])
    assert "mine.toml" in str(raised.value)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(
        DeviceError, match=r"'ohmic', 'diode_1s1r', 'hfo2_milo2021', .*, 'stanford_gap', .*, or a TOML file, got"
    ):
        load_device("magic")
