"""Cells and op-amps from SPICE libraries: what is read, what they do, and what is refused."""

from pathlib import Path

import pytest
from support import engine_or_skip, relative

from xbar_spice.errors import DeviceError, InvalidInputError
from xbar_spice.hardware.cells import OneSelectorOneResistor, Polynomial, Sinh, SubcircuitCell
from xbar_spice.hardware.crossbar import Crossbar
from xbar_spice.hardware.subcircuit import Subcircuit
from xbar_spice.spice.device_models import load_device, load_opamp, opamp_names
from xbar_spice.spice.netlist import bank_deck, netlist

CELL = ".subckt cell p n g=1e-6 rs=1\nR1 p m {1/g}\nR2 m n {rs}\n.ends\n"
THERMAL_VOLTAGE = 1.38064852e-23 * 300.15 / 1.6021766208e-19  # at 27 degrees Celsius, with ngspice's constants


def read(engine, crossbar, volts, side="rows"):
    with engine_or_skip(engine).program(crossbar) as session:
        return session.read(volts, side)


@pytest.mark.parametrize(
    ("name", "law", "tolerance"),
    [
        ("hfo2_polynomial", Polynomial(), 1e-9),
        ("diode_1s1r", OneSelectorOneResistor(2 * 5e-8, THERMAL_VOLTAGE), 1e-5),  # reverse current: ngspice's formula
    ],
)
@pytest.mark.filterwarnings("ignore:cells outside")  # both continue the fit in the same way
def test_shipped_libraries_follow_their_laws(name, law, tolerance, rng):
    conductance = 10 ** rng.uniform(-4.6, -3.4, (4, 3))
    wires, volts = (20, 30, 50, 25), rng.uniform(-0.4, 0.4, (4, 2))
    found = read("ngspice", Crossbar(conductance, *wires, device=load_device(name)), volts)
    assert relative(found, read("nodal", Crossbar(conductance, *wires, device=law), volts)) < tolerance


def test_contacts_are_resistors_in_series(rng):
    conductance, volts = rng.uniform(5e-5, 2e-4, (3, 1)), rng.uniform(-0.4, 0.4, (3, 2))
    found = read("ngspice", Crossbar(conductance, device=load_device("sinh_series")), volts)
    assert relative(found, read("nodal", Crossbar(conductance, r_driver=1e3, device=Sinh(0.25)), volts)) < 1e-9


def test_a_library_of_ones_own(tmp_path, rng):
    (tmp_path / "mine.lib").write_text(CELL)
    (tmp_path / "mine.toml").write_text(
        'source = "a test"\nlaw = "subcircuit"\nlibrary = "mine.lib"\nsubcircuit = "cell"\n'
        'conductance_parameter = "g"\n[parameters]\nrs = 500.0\n'
    )
    device = load_device("mine", [tmp_path])
    assert device == load_device(tmp_path / "mine.toml")
    assert device == SubcircuitCell(Subcircuit("cell", CELL, (("rs", 500.0),)))
    conductance, volts = rng.uniform(5e-5, 2e-4, (3, 2)), rng.uniform(-0.4, 0.4, (3, 2))
    found = read("ngspice", Crossbar(conductance, 1, 2, 3, 4, device=device), volts)
    in_series = 1 / (1 / conductance + 500.0)
    assert relative(found, read("nodal", Crossbar(in_series, 1, 2, 3, 4), volts)) < 1e-11


def test_a_deck_holds_the_library_once_and_one_instance_for_each_cell():
    device = SubcircuitCell(Subcircuit("cell", CELL, (("rs", 500.0),)))
    crossbar = Crossbar([[1e-4, 0.0], [2e-4, 4e-4]], 1, 1, device=device)
    for deck in (netlist(crossbar), bank_deck([crossbar, crossbar]).text):
        assert deck.count(CELL.strip()) == 1
        assert "\nX1_1 w1_1 b1_1 cell g=0.0004 rs=500\n" in deck
        assert "X0_1 " not in deck


@pytest.mark.parametrize("engine", ["ideal", "nodal"])
def test_engines_without_spice_refuse_it(engine):
    crossbar = Crossbar([[1e-4]], device=load_device("sinh_series"))
    with pytest.raises(DeviceError, match=r"'sinh_series' is known to its subcircuit alone.*engine='ngspice'"):
        read(engine, crossbar, [0.1])


def test_two_subcircuits_of_one_name_do_not_fit_into_a_deck():
    one, other = (SubcircuitCell(Subcircuit("cell", text)) for text in (CELL, CELL.replace("rs=1", "rs=2")))
    crossbars = [Crossbar([[1e-4]], device=device) for device in (one, other)]
    with pytest.raises(InvalidInputError, match="two 'cell'; rename one"):
        bank_deck(crossbars)
    with pytest.raises(InvalidInputError, match="two 'cell'; rename one"):
        bank_deck(crossbars[:1], names=["cell"])


def test_shipped_op_amps():
    assert opamp_names() == ("loaded",)
    assert load_opamp("loaded").parameters == (("gain", 1e4), ("r_in", 1e6), ("r_out", 100.0))
    with pytest.raises(DeviceError, match="op-amp must be one of 'loaded', or a TOML file, got 'magic'"):
        load_opamp("magic")


@pytest.mark.parametrize(
    "text",
    [
        "* comment\n.subckt cell p n\n+ g=1e-6 ; trailing\n+ rs = {1 + 2}\nR1 p n {1/g}\n.ends cell\n",
        ".SUBCKT Cell P N params: G=1e-6 rs='a b'\nR1 p n {1/g}\n.ENDS\n",
        ".param a=1\n.model d1 d(is=1e-9)\n.subckt cell p n g=1 rs=2\n.subckt inner a b\nR1 a b 1\n.ends\n"
        "X1 p n inner\n.ends\n",
    ],
    ids=["continued", "upper case", "nested"],
)
def test_libraries_are_read_as_spice_reads_them(text):
    found = Subcircuit("cell", text)
    assert [pin.lower() for pin in found.pins] == ["p", "n"]
    assert found.parameter_names == ("g", "rs")
    assert found.definitions == ("cell",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CELL + ".control\nshell rm\n.endc\n", r"line 5.*got '\.control'"),
        (".include /etc/passwd\n" + CELL, r"line 1.*got '\.include'"),
        (CELL.replace("R1 p", ".lib x\nR1 p"), r"line 2.*got '\.lib'"),
        ("*# shell rm\n" + CELL, r"line 1: .*no commands"),
        (CELL.replace("R1", '.model m filesource(file="x")\nR1'), "line 2: .*no names of files"),
        (CELL.replace("R1", ".model m d_process()\nR1"), "line 2: .*no commands"),
        (CELL + "V1 a 0 1\n", "line 5: an element stands within .subckt and .ends"),
        (CELL + CELL, "line 5: a second subcircuit of the name cell"),
        (CELL.replace(".ends", ""), "has no .ends"),
        (".ends\n", "line 1: .ends without .subckt"),
        (CELL.replace("R1", "R1\x07"), "line 2: control characters"),
        (".subckt cell p$ n g=1\n.ends\n", "plain names"),
        ("* nothing\n", "it has none"),
        (CELL.replace("cell", "other"), r"defines \(other\), got 'cell'"),
    ],
)
def test_what_is_not_a_circuit_is_refused(text, message):
    with pytest.raises(DeviceError, match=message):
        Subcircuit("cell", text)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Subcircuit("cell", CELL, (("q", 1.0),)), "has the parameters g, rs, got 'q'"),
        (lambda: Subcircuit("cell", CELL, (("rs", float("nan")),)), "rs of subcircuit cell must be a finite number"),
        (lambda: Subcircuit("cell", CELL, (("rs", "1 rs=2"),)), "must be a finite number, got '1 rs=2'"),
        (lambda: Subcircuit("cell\n.control", CELL), "subcircuit must be one that the library defines"),
        (lambda: SubcircuitCell(Subcircuit("cell", CELL), "w"), "has the parameters g, rs, got 'w'"),
        (lambda: SubcircuitCell(Subcircuit("cell", CELL, (("g", 1.0),))), "parameter g takes the conductance"),
        (
            lambda: SubcircuitCell(Subcircuit("cell", CELL.replace("p n", "p n gate"))),
            r"a cell has two pins.*subcircuit cell has 3 \(p n gate\)",
        ),
        (lambda: Subcircuit.from_file(Path("/nowhere/x.lib"), "cell"), "/nowhere/x.lib: No such file"),
    ],
)
def test_parameters_pins_and_files_are_checked(make, message):
    with pytest.raises(DeviceError, match=message):
        make()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('law = "subcircuit"', "library must be a text, got None"),
        ('law = "subcircuit"\nlibrary = "x.lib"\nsubcircuit = "cell"\nconductance_parameter = "g"', "x.lib: No such"),
        (
            'law = "subcircuit"\nlibrary = "/dev/zero"\nsubcircuit = "cell"\nconductance_parameter = "g"',
            "it is a device",
        ),
        ('law = "subcircuit"\nlibrary = "mine.lib"\nsubcircuit = "cel"', "defines .cell., got 'cel'"),
        ('law = "subcircuit"\nlibrary = "mine.lib"\nsubcircuit = "cell"\npins = 2', "the keys are"),
        ('law = "subcircuit"\nlibrary = "mine.lib"\nsubcircuit = "cell"', "conductance_parameter must be a text"),
        ('law = "subcircuit"\nlibrary = "mine.lib"\nsubcircuit = "cell"\nparameters = 3', "a table of numbers"),
    ],
)
def test_errors_name_the_file(text, message, tmp_path):
    (tmp_path / "mine.lib").write_text(CELL)
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(DeviceError, match=message) as raised:
        load_device("mine", [tmp_path])
    assert "mine.toml" in str(raised.value)
