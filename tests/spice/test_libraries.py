"""Libraries of other people, as they come: what is read, what is left out, what is refused, and what they then do."""

import logging
from pathlib import Path

import numpy as np
import pytest
from support import engine_or_skip, relative, run_by_hand

from xbar_spice.engines.ngspice import engine
from xbar_spice.errors import DeviceError, InvalidInputError, SimulationError
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.cells import Sinh, SubcircuitCell
from xbar_spice.hardware.crossbar import Crossbar
from xbar_spice.hardware.subcircuit import Subcircuit
from xbar_spice.hardware.subcircuit.rails import on_rails
from xbar_spice.hardware.subcircuit.text import split_lines
from xbar_spice.spice.device_models import load_device, load_opamp
from xbar_spice.spice.netlist import bank_deck, netlist

CASES = Path(__file__).parents[1] / "cases"
OHMIC = ".subckt cell p n g=1e-4\nR1 p n {1/g}\n.ends\n"
AMPLIFIER = ".subckt opx p n out\nE1 out 0 p n 1e5\n.ends\n"
G = np.array([[1e-4, 2e-5], [3e-5, 4e-5], [1e-5, 1e-4]])
V = np.array([0.1, -0.2, 0.3])


@pytest.fixture(autouse=True)
def no_characterisation(monkeypatch):
    """What a lone cell does is measured in test_model_check; here it would double the time."""
    monkeypatch.setattr(engine, "check_cells", lambda crossbars: None)


def read(crossbars, volts=V, name="ngspice"):
    with engine_or_skip(name).program_bank(crossbars) as bank:
        return bank.read([np.reshape(volts, (-1, 1))] * len(crossbars), "rows")


def current(text, volts, name="cell", **more):
    """Amperes of a single cell of 1e-4 S."""
    device = SubcircuitCell(Subcircuit(name, text, **more))
    return read([Crossbar([[1e-4]], device=device)], [volts])[0].item()


# --- inputs that were given -----------------------------------------------------------------------------------------


@pytest.mark.ngspice
@pytest.mark.parametrize("name", ["latin1", "params", "end"])
def test_ohmic_cells_of_odd_files_are_ohmic(name):
    device = SubcircuitCell(Subcircuit.from_file(CASES / f"{name}.lib", "cell"))
    assert relative(read([Crossbar(G, device=device)])[0].ravel(), G.T @ V) < 1e-12


@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("name", "opamp"), [("quote_in_comment", "opx"), ("slash_in_name", "tia"), ("plus_minus_pins", "tia")]
)
def test_op_amps_of_odd_files_amplify(name, opamp):
    amplifier = Amplifier(1e4, opamp=Subcircuit.from_file(CASES / f"{name}.lib", opamp))
    found = read([Crossbar(G, amplifier=amplifier)])[0].ravel()
    assert np.abs(found / (G.T @ V) - 1).max() < (1 + 1e4 * G.sum(axis=0).max()) / 1e5


@pytest.mark.ngspice
def test_a_library_of_another_dialect():
    device = SubcircuitCell(Subcircuit.from_file(CASES / "pspice_if.lib", "cell", compat="psa"))
    assert read([Crossbar([[1e-4]], device=device)], [0.3])[0] == pytest.approx(3e-5)
    assert read([Crossbar([[1e-4]], device=device)], [-0.3])[0] == pytest.approx(-1.5e-5)


@pytest.mark.ngspice
def test_two_thresholds_in_series_conduct_above_both():
    device = SubcircuitCell(Subcircuit.from_file(CASES / "two_thresholds.lib", "cell"))
    found = read([Crossbar(np.full((2, 2), 1e-4), device=device)], [0.1, 0.2])[0]
    assert found.ravel() == pytest.approx([1.1e-5, 1.1e-5], rel=1e-6)


@pytest.mark.ngspice
def test_a_generic_op_amp_with_rails_is_nearly_ideal():
    conductance, volts = np.array([[1e-4, 2e-5], [3e-5, 4e-5], [1e-5, 1e-4], [5e-5, 6e-5]]), [0.1, -0.2, 0.3, 0.05]
    for opamp in (
        load_opamp(CASES / "opamp_A.toml"),
        on_rails(Subcircuit.from_file(CASES / "opamp_A.lib", "op5"), [-15, 15]),
    ):
        found = read([Crossbar(conductance, amplifier=Amplifier(1e4, opamp=opamp))], volts)[0].ravel()
        assert found == pytest.approx(conductance.T @ volts, rel=1e-5)


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.ngspice
def test_words_of_another_dialect_are_refused_by_their_name():
    with pytest.raises(DeviceError, match=r"line 2: ngspice knows 'IF\(' in the dialect of PSpice.*compat = 'psa'"):
        Subcircuit.from_file(CASES / "pspice_if.lib", "cell")
    assert current(".func if(a,b,c) {a>0 ? b : c}\n" + OHMIC.replace("{1/g}", "{if(1,1,2)/g}"), 0.3) == pytest.approx(
        3e-5
    )


@pytest.mark.parametrize(
    "content",
    [
        OHMIC.encode("utf-8-sig"),
        OHMIC.encode("utf-16"),
        OHMIC.encode("utf-16-le"),
        OHMIC.encode("utf-16-be"),
        "* 27 °C, 10 µs\n".encode("latin-1") + OHMIC.encode(),
        OHMIC.replace("\n", "\r\n").encode(),
        OHMIC.replace("\n", "\r").encode(),
        OHMIC.encode() + b"\x1a\0\0 leftovers",
        b"\x0c\n" + OHMIC.encode(),
        OHMIC.replace("R1 p n", "R1\xa0p n").encode(),
    ],
    ids=["mark", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "crlf", "cr", "ctrl-z", "form feed", "no-break space"],
)
def test_files_in_every_encoding(content, tmp_path):
    (tmp_path / "mine.lib").write_bytes(content)
    device = SubcircuitCell(Subcircuit.from_file(tmp_path / "mine.lib", "cell"))
    assert device.subcircuit.pins == ("p", "n")
    assert "R1 p n {1/g}" in split_lines(device.subcircuit.library)


@pytest.mark.ngspice
def test_a_library_includes_files_of_its_folder(tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "core.lib").write_text(".subckt core p n r=1\nR1 p n {r}\n.ends\n")
    (tmp_path / "cell.lib").write_text(
        '.include "parts/core.lib"\n.subckt cell p n g=1e-4\nX1 p n core r={1/g}\n.ends\n'
    )
    device = SubcircuitCell(Subcircuit.from_file(tmp_path / "cell.lib", "cell"))
    assert read([Crossbar([[1e-4]], device=device)], [0.3])[0] == pytest.approx(3e-5)


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (".include /etc/passwd", r"line 1: .*own folder alone, got \.include '/etc/passwd'; copy the file"),
        (".lib ../x.lib tt", r"line 1: .*own folder alone"),
        (".inc cell.lib", "line 1: the file 'cell.lib' includes itself"),
        (".include none.lib", "line 1: there is no file 'none.lib' in the folder"),
        (".include other.lib", r"other\.lib, line 2: .*got '\.control'"),
    ],
)
def test_included_files_that_are_refused(card, message, tmp_path):
    (tmp_path / "other.lib").write_text("* fine\n.control\n")
    (tmp_path / "cell.lib").write_text(f"{card}\n{OHMIC}")
    with pytest.raises(DeviceError, match=message):
        Subcircuit.from_file(tmp_path / "cell.lib", "cell")


def test_a_link_out_of_the_folder_is_elsewhere(tmp_path):
    (tmp_path / "secret.lib").write_text("* secret\n")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "link.lib").symlink_to(tmp_path / "secret.lib")
    (tmp_path / "models" / "cell.lib").write_text(".include link.lib\n" + OHMIC)
    with pytest.raises(DeviceError, match="own folder alone"):
        Subcircuit.from_file(tmp_path / "models" / "cell.lib", "cell")


def test_what_is_no_plain_file_is_not_read():
    with pytest.raises(DeviceError, match="name a regular file"):
        Subcircuit.from_file("/dev/zero", "cell")


# --- cards ----------------------------------------------------------------------------------------------------------


@pytest.mark.ngspice
@pytest.mark.parametrize(
    "text",
    [
        "*####################\n*# ------ #\n* \"quoted\" file= {( é\n" + OHMIC,
        "# a comment\n$ another\n" + OHMIC.replace("{1/g}", "{1/g} $comment \"x\"\n* within\n\n"),
        OHMIC.replace("{1/g}", "\n* within\n+ {1/g} // of \"x\"").replace(".ends", ".ENDS cell ; x"),
        OHMIC.replace(".subckt cell p n", ".SUBCKT cell (p, n)").replace("g=", "PARAMS: g = "),
        OHMIC.replace("p n g", "p n OPTIONAL: DPWR=$G_DPWR DGND=$G_DGND PARAMS: g"),
        OHMIC.replace(".subckt", ".macro").replace(".ends", ".eom cell"),
        OHMIC.replace("R1 p n {1/g}", ".param\tk=1\nR1 p n {k/g}"),
        OHMIC.replace("R1 p n {1/g}", ".params k=1\nR1 p n {k/g}"),
        ".lib typical\n.param k=1\n.endl typical\n" + OHMIC.replace("1/g", "k/g"),
        ".options gmin=1\n.temp 400\n.ic v(x)=3\n.tran 1 2\n.print v(x)\n.global vdd\n" + OHMIC + ".end\n",
        OHMIC.replace("cell p n", "cell IN+ -").replace("R1 p n", "R1 IN+ -"),
        OHMIC.replace("R1 p n {1/g}", "X1 (p n) sub/2-a+b params: r={1/g}")
        + ".subckt sub/2-a+b 1 2 r=1\nR1 1 2 {r}\n.ends sub/2-a+b\n",
        OHMIC.replace("R1 p n {1/g}", "R1 p n \\\\\n{1/g}"),
        OHMIC.replace("{1/g}", "{1e-6/(1µ*g)}"),
    ],
    ids=[
        "banners", "dollars", "continued", "parentheses", "optional", "macro", "tab", "params", "sections",
        "of another deck", "signs in pins", "signs in names", "backslashes", "micro",
    ],
)  # fmt: skip
def test_what_is_read_is_the_same_cell(text):
    assert current(text, 0.3) == pytest.approx(3e-5)


def test_what_is_left_out_is_said(tmp_path, caplog):
    (tmp_path / "mine.lib").write_text(".options reltol=1\n.temp 50\n" + OHMIC.replace("R1", ".save all\nR1"))
    with caplog.at_level(logging.WARNING):
        found = Subcircuit.from_file(tmp_path / "mine.lib", "cell")
    assert found.left_out == (".options reltol=1", ".temp 50", ".save all")
    assert "mine.lib: left out, because a deck has its own: .options reltol=1; .temp 50; .save all" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OHMIC + ".control\n.endc\n", r"line 4: .*got '\.control'; .*remove everything up to \.endc"),
        (OHMIC + ".shell rm\n", r"line 4: .*got '\.shell'; remove the card"),
        (OHMIC.replace("g=1e-4", "temper=1"), "line 1: ngspice takes temper for the temperature .*call it"),
        (".param TIME = 3\n" + OHMIC, "line 1: ngspice takes time for the time of the analysis"),
        (".func f(hertz) {hertz}\n" + OHMIC, "line 1: ngspice takes hertz for the frequency"),
        (OHMIC.replace("{1/g}", "4k7"), r"line 2: 4k7 has a letter.*write 4\.7k"),
        (OHMIC.replace("g=1e-4", "g=1e-4 r = 1Meg5"), r"line 1: 1Meg5 has a letter.*write 1\.5Meg"),
        (".param r=2n2\n" + OHMIC, r"line 1: 2n2 has a letter.*write 2\.2n"),
        (OHMIC.replace("R1", "Rü"), "line 2: cards are written in ASCII, got 'ü'"),
        (OHMIC.replace("{1/g}", "\u2028{1/g}"), r"line 2: control characters in a library, U\+2028"),
        ("+ g=1\n" + OHMIC, "line 1: a line goes on with"),
        (OHMIC.replace("{1/g}", '{1/g}\nV2 a b pwl file="x"'), "line 3: a library holds no names of files"),
        (OHMIC.replace("{1/g}", "{1/g}\n.model m d_source(input_file=x)"), "line 3: a library holds no names of files"),
        (".lib a\n.param k=1\n.endl\n.lib b\n.param k=2\n" + OHMIC + ".endl\n", "line 5: the sections a and b both"),
    ],
)  # fmt: skip
def test_refusals_name_line_reason_and_edit(text, message):
    with pytest.raises(DeviceError, match=message):
        Subcircuit("cell", text)


@pytest.mark.ngspice
@pytest.mark.parametrize("place", ["* a comment {}R9 p n 1", "R8 p n 1e9 ; {}R9 p n 1", "R8 p n 1e9 $ {}R9 p n 1"])
def test_a_comment_is_one_for_the_engine_and_by_hand(place, tmp_path):
    lines = [
        place.replace("8", str(20 + number)).format(char)
        for number, char in enumerate("\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\r\x00")
    ]
    text = OHMIC.replace("R1", "\n".join([*lines, "R1"]))
    crossbar = Crossbar([[1e-4]], device=SubcircuitCell(Subcircuit("cell", text)))
    right = 0.3 * (1e-4 + (1e-8 if "R8" in place else 0))
    assert read([crossbar], [0.3])[0] == pytest.approx(right, rel=1e-9)
    deck = netlist(crossbar, [0.3])
    assert deck.splitlines() == split_lines(deck)
    (tmp_path / "deck.cir").write_text(deck, encoding="utf-8")
    assert run_by_hand(tmp_path / "deck.cir")["vbottom0"] == pytest.approx(right, rel=1e-5)


def test_cleaning_changes_nothing_twice():
    text = '.options x\n.macro a/b (p n) g=1\n*## "\nR1 p n {1/g} // \x0b\n.eom a/b\n.end\n'
    once = Subcircuit("A/B", text)
    assert once.name == "a_b"
    assert Subcircuit(once.name, once.library) == once
    assert once.left_out == (".options x",)


# --- two libraries in one deck --------------------------------------------------------------------------------------


SCALED = """* scale in a comment
.param scale={first} other={{2*scale}}
.func law(x, y) {{x*y*scale}}
.model DX D(is={is_} n=1)
.model 1N4-x D(is={is_} n=2)
.subckt {name} p n g={{1e-4*SCALE/scale}} k={{other/scale}}
B1 p n I=scale==1 ? Law(v(p,n), g)*k/2 : law(V(p, n), g)*k/2
R1 p scale 1e12
D1 p n dx
D2 p n 1n4-X
X1 p n {name}_inner scale=1 r={{scale*1e5}}
D3 p n {name}
.model {name} D(is=1e-13)
.ends
.subckt {name}_inner p n scale=5 r=1
R1 p n {{r*scale}}
D1 p n DX area=2
.ends
"""


@pytest.mark.ngspice
def test_each_library_keeps_its_own_names():
    texts = [
        SCALED.format(name="one", first=1, is_="1e-14"),
        SCALED.format(name="two", first=3, is_="1e-12").replace(".param scale", ".PARAM Scale").replace("DX D", "Dx d"),
    ]
    crossbars = [
        Crossbar(G, 1, 1, device=SubcircuitCell(Subcircuit(name, text)))
        for name, text in zip(("one", "two"), texts, strict=True)
    ]
    alone = [read([crossbar])[0] for crossbar in crossbars]
    for pair in (crossbars, crossbars[::-1]):
        together = read(pair)
        for found, wanted in zip(together, alone if pair is crossbars else alone[::-1], strict=True):
            assert relative(found, wanted) < 1e-12
    assert relative(alone[0], alone[1]) > 0.1
    assert relative(read([crossbars[0], crossbars[0]])[1], alone[0]) < 1e-12


@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("head", "body"),
    [
        (".param g=7 k={}", "R1 p n {{k/g}}"),
        (".param k={}", "X1 p n {name}_in k={{k*2}} r={{k/g}}\n.ends\n.subckt {name}_in a b k=1 r=1\nR1 a b {{r*k}}"),
        (".param area={} m=2", "R1 p n {{area/g}} m={{m}}\nD1 p n DX area={{area}}\n.model DX D(is=1e-9)"),
        (
            ".param i0={}\n.model 1n4 D is={{i0*1e-10}}",
            "R1 p n {{1/g}}\nD1 p n 1N4\nV1 i0 0 1\nB2 x 0 V=v(I0)*i(V1)*i0",
        ),
        (".func f(k, g) {{k*g*{}}}", "B1 p n I=F(V(p,n),g)"),
    ],
)
def test_names_are_kept_apart_as_ngspice_finds_them(head, body):
    crossbars = []
    for name, value in (("one", 2), ("two", 3)):
        text = f"{head.format(value)}\n.subckt {name} p n g=1e-4\n{body.format(name=name)}\n.ends\n"
        crossbars.append(Crossbar(G, device=SubcircuitCell(Subcircuit(name, text))))
    alone = [read([crossbar])[0] for crossbar in crossbars]
    for found, wanted in zip(read(crossbars), alone, strict=True):
        assert relative(found, wanted) < 1e-12
    assert relative(*alone) > 0.1


def test_inner_subcircuits_of_one_name_do_not_fit_into_a_deck():
    texts = [
        f".subckt {name} p n g=1e-4\n.subckt inner a b r={number}\nR1 a b {{r}}\n.ends\nX1 p n inner r={{1/g}}\n.ends\n"
        for number, name in enumerate(("one", "two"))
    ]
    devices = [SubcircuitCell(Subcircuit(name, text)) for name, text in zip(("one", "two"), texts, strict=True)]
    with pytest.raises(InvalidInputError, match="two 'inner'; rename one"):
        bank_deck([Crossbar(G, device=device) for device in devices])


@pytest.mark.ngspice
def test_a_library_does_not_change_the_functions_of_other_cells():
    own = ".func sinh(x) {x}\n" + OHMIC.replace("R1 p n {1/g}", "B1 p n I=g*sinh(v(p,n))")
    crossbars = [Crossbar(G, device=SubcircuitCell(Subcircuit("cell", own))), Crossbar(G, device=Sinh(0.1))]
    found = read(crossbars)
    assert relative(found[0].ravel(), G.T @ V) < 1e-12
    assert relative(found[1], read(crossbars[1:], name="nodal")[0]) < 1e-9


def test_a_global_node_is_not_shared():
    one = ".global mid\n" + OHMIC.replace("R1 p n {1/g}", "R1 p mid {0.5/g}\nR2 mid n {0.5/g}")
    two = ".subckt other p n g=1\nR1 p mid {0.5/g}\nR2 mid n {0.5/g}\n.ends\n"
    devices = [SubcircuitCell(Subcircuit(name, text)) for name, text in (("cell", one), ("other", two))]
    with pytest.raises(InvalidInputError, match=r"makes mid one node of the whole deck.*rename it"):
        bank_deck([Crossbar(G, device=device) for device in devices])


def test_a_name_that_is_a_subcircuit_too_is_refused():
    one = ".param cell=1\n" + OHMIC
    two = ".param cell=2\n.subckt other p n g=1\nR1 p n {cell/g}\n.ends\n"
    devices = [SubcircuitCell(Subcircuit(name, text)) for name, text in (("cell", one), ("other", two))]
    with pytest.raises(InvalidInputError, match="have the name cell"):
        bank_deck([Crossbar(G, device=device) for device in devices])


# --- dialects -------------------------------------------------------------------------------------------------------


@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("compat", "law", "volts", "amperes"),
    [
        ("psa", "G1 p n VALUE={IF(V(p,n)>0,g,g/2)*V(p,n)}", -0.3, -1.5e-5),
        ("psa", "G1 p n VALUE={g*LIMIT(V(p,n),-0.1,0.1)}", 0.3, 1e-5),
        ("lt", "B1 p n I=g*v(p,n)^3", -0.3, -2.7e-6),
        ("lt", "R1 p n 4k7", 0.47, 1e-4),
        ("hs", "B1 p n I=g*v(p,n)**3", -0.3, -2.7e-6),
        ("lt", "R1 p m {1/g} noiseless\nC1 m n 1p Rpar={1e4 + 0} Rser = 5", 0.3, 1.5e-5),
    ],
)
def test_dialects_mean_what_they_mean(compat, law, volts, amperes, tmp_path):
    device = SubcircuitCell(Subcircuit("cell", OHMIC.replace("R1 p n {1/g}", law), compat=compat))
    crossbar = Crossbar([[1e-4]], device=device)
    deck = bank_deck([crossbar])
    assert f"run this deck by hand with ngspice -D ngbehavior={deck.behaviour} -b" in deck.text
    with engine_or_skip("ngspice").program(crossbar) as session:
        assert session.read([volts]) == pytest.approx(amperes, rel=1e-6)


def test_a_deck_has_one_dialect():
    devices = [
        SubcircuitCell(Subcircuit(name, OHMIC.replace("cell", name), compat=compat))
        for name, compat in (("a", "psa"), ("b", "lt"))
    ]
    with pytest.raises(InvalidInputError, match=r"a has compat='psa', that of b compat='lt'; write one"):
        bank_deck([Crossbar(G, device=device) for device in devices])
    powers = SubcircuitCell(Subcircuit("c", ".subckt c p n g=1\nB1 p n I=g*v(p,n)^2\n.ends\n"))
    with pytest.raises(InvalidInputError, match=r"takes .\^. for something else.* library of c holds it"):
        bank_deck([Crossbar(G, device=device) for device in (devices[0], powers)])
    with pytest.raises(DeviceError, match=r"compat must be one of psa, lt, hs, or left out, got 'pspice'"):
        Subcircuit("cell", OHMIC, compat="pspice")


def test_devices_that_only_another_simulator_has_are_refused():
    text = OHMIC.replace("R1", "A1 p 0 0 0 0 0 n 0 OTA G=1\nR1")
    with pytest.raises(DeviceError, match=r"line 2: OTA is a device of LTspice's own.*controlled source"):
        Subcircuit("cell", text, compat="lt")


@pytest.mark.ngspice
def test_an_error_says_how_to_run_the_deck_in_its_dialect(tmp_path):
    loop = Subcircuit("cell", OHMIC.replace("R1", "V1 a p 1\nV2 a p 2\nR1"), compat="psa")
    with pytest.raises(SimulationError, match=r"to reproduce: ngspice -D ngbehavior=psa -b /"):
        read([Crossbar([[1e-4]], device=SubcircuitCell(loop))], [0.3])


# --- what a TOML file may say ---------------------------------------------------------------------------------------


def write_model(folder, text, **keys):
    (folder / "mine.lib").write_text(text)
    lines = [f"{key} = {value!r}" for key, value in {"source": "a test", "library": "mine.lib", **keys}.items()]
    (folder / "mine.toml").write_text("\n".join(lines))
    return folder / "mine.toml"


@pytest.mark.ngspice
def test_a_resistance_can_be_handed_over(tmp_path):
    text = ".subckt cell p n r=1\nR1 p n {r}\n.ends\n"
    path = write_model(tmp_path, text, law="subcircuit", subcircuit="cell", resistance_parameter="r")
    assert relative(read([Crossbar(G, device=load_device(path))])[0].ravel(), G.T @ V) < 1e-12
    with pytest.raises(DeviceError, match=r"one parameter, got conductance_parameter='r' and resistance_parameter='r'"):
        SubcircuitCell(Subcircuit("cell", text), "r", "r")


@pytest.mark.ngspice
def test_a_model_says_its_dialect(tmp_path):
    text = OHMIC.replace("R1 p n {1/g}", "G1 p n VALUE={IF(V(p,n)>0, g*V(p,n), 0)}")
    path = write_model(tmp_path, text, law="subcircuit", subcircuit="cell", conductance_parameter="g", compat="psa")
    assert read([Crossbar([[1e-4]], device=load_device(path))], [0.3])[0] == pytest.approx(3e-5)


IN = ("in+", "in-")
RAILED = """.subckt op/2 in+ in- vcc vee out gain=1e5
E1 mid 0 VALUE={gain*V(in+,in-)}
R1 vcc vee 1e4
R2 mid out 10
.ends op/2
"""


@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (RAILED, {"supply": [-15, 15]}),
        (RAILED.replace("vcc vee out", "out vcc vee"), {"supply": [-5, 5], "pins": "in+ in- out v+ v-"}),
        (RAILED.replace("- vcc", "- g nc vcc"), {"supply": [0, 5], "pins": [*IN, "gnd", "open", "v+", "v-", "out"]}),
        (RAILED.replace(" vcc vee out", " out").replace("R1 vcc vee 1e4", ""), {"pins": "in+ in- out"}),
    ],
)  # fmt: skip
def test_an_op_amp_with_rails_is_wrapped(text, keys, tmp_path):
    opamp = load_opamp(write_model(tmp_path, text, subcircuit="op/2", **keys))
    assert opamp.pins == ("in", "out")
    found = read([Crossbar(G, amplifier=Amplifier(1e4, opamp=opamp))])[0].ravel()
    assert np.abs(found / (G.T @ V) - 1).max() < 1e-4


@pytest.mark.ngspice
def test_a_cell_and_an_op_amp_of_one_file(tmp_path):
    text = RAILED + OHMIC
    path = write_model(tmp_path, text, subcircuit="op/2", supply=[-15, 15])
    opamps = [load_opamp(path), load_opamp(write_model(tmp_path, text, subcircuit="op/2", supply=[-5, 5]))]
    device = SubcircuitCell(Subcircuit.from_file(tmp_path / "mine.lib", "cell"))
    crossbars = [Crossbar(G, device=device, amplifier=Amplifier(1e4, opamp=opamp)) for opamp in opamps]
    for found in read(crossbars):
        assert np.abs(found.ravel() / (G.T @ V) - 1).max() < 1e-4


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"supply": [15, -15]}, r"mine.toml: supply must be volts of the negative and the positive rail"),
        ({"supply": [-15, 15], "pins": "in+ in- out"}, r"has 5 pins \(in\+ in- vcc vee out\), got 3"),
        ({"pins": "in+ in- v+ v- out"}, r"needs a supply, such as supply = \[-15, 15\]"),
        ({"supply": [-15, 15], "pins": "in+ in+ v+ v- out"}, "once each"),
        ({"supply": [-15, 15], "pins": 3}, "pins must be what each pin"),
    ],
)
def test_rails_that_are_refused(keys, message, tmp_path):
    with pytest.raises(DeviceError, match=message):
        load_opamp(write_model(tmp_path, RAILED, subcircuit="op/2", **keys))


def test_unused_parts_of_a_library_stay_out_of_decks():
    unused = ".subckt other p n\nX1 p n inner\n.ends other\n.subckt inner p n\nR1 p n 1\n.ends inner\n"
    used = ".param k=2\n.subckt cell p n g=1e-6\nX1 p n part g={g}\n.ends cell\n"
    part = ".subckt part p n g=1e-6\nR1 p n\n+ {1/g}\n.ends part\n"
    text = netlist(Crossbar([[1e-4]], device=SubcircuitCell(Subcircuit("cell", unused + used + part))))
    assert ".subckt other" not in text
    assert ".subckt inner" not in text
    assert used + part in text
