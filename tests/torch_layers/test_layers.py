"""Torch layers on arrays: their derivatives, their life, and networks of them beside digital ones."""

import copy
import gc
import io

import numpy as np
import pytest
from support import engine_or_skip

import xbar_spice as xs
from xbar_spice.engines.ideal import IdealEngine
from xbar_spice.errors import DesignWarning, InvalidInputError

torch = pytest.importorskip("torch", reason="the extra [torch] is not installed")

from torch import nn  # noqa: E402
from torch.func import functional_call  # noqa: E402

from xbar_spice.torch import CrossbarConv2d, CrossbarLinear  # noqa: E402

WIRES = {"r_word": 3.0, "r_bit": 2.0, "r_driver": 40.0, "r_sense": 20.0}
DESIGNS = {
    "ideal": xs.Design(),
    "wires and drivers": xs.Design(**WIRES, tile=2, variation=xs.Variation(programming=0.1, stuck_off=0.1)),
    "nonlinear cells": xs.Design(**WIRES, device=xs.Sinh(0.3), mapping="interleaved"),
    "transistors": xs.Design(r_word=3.0, r_bit=2.0, device=xs.OneTransistorOneResistor()),
}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def double(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
def test_the_true_gradient_of_a_layer_is_that_of_its_reads(design):
    layer = CrossbarLinear(3, 2, design=design, dtype=torch.float64)

    def forward(x, weight, bias):
        return functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    assert torch.autograd.gradcheck(forward, (double(2, 3), layer.weight, layer.bias), atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"padding": 1},
        {"padding": "same", "dilation": 2},
        {"stride": 2, "groups": 2},
        {"padding": (1, 2), "padding_mode": "circular", "bias": False},
    ],
    ids=str,
)
def test_a_convolution_on_ideal_arrays_is_that_of_torch(options):
    torch.manual_seed(1)
    digital = nn.Conv2d(4, 6, 3, **options).double()
    torch.manual_seed(1)
    layer = CrossbarConv2d(4, 6, 3, **options).double()
    x = double(2, 4, 7, 8)
    torch.testing.assert_close(layer(x), digital(x), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(layer(x[0]), digital(x[0]), rtol=1e-12, atol=1e-13)
    for found, expected in zip(gradients(layer, x), gradients(digital, x), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-11)


def gradients(module, x):
    return torch.autograd.grad(module(x).square().sum(), [x, *module.parameters()])


def test_the_true_gradient_of_a_convolution():
    layer = CrossbarConv2d(1, 2, 2, design=xs.Design(**WIRES), dtype=torch.float64)
    x = double(1, 1, 3, 3)
    assert torch.autograd.gradcheck(lambda x, w: functional_call(layer, {"weight": w}, (x,)), (x, layer.weight))


def network(linear, **options):
    torch.manual_seed(3)
    return nn.Sequential(
        linear(6, 8, **options), nn.Tanh(), linear(8, 5, **options), nn.Tanh(), linear(5, 3, **options)
    ).double()


def trained(net, steps=12):
    generator = torch.Generator().manual_seed(5)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(steps):
        x = torch.randn(4, 6, dtype=torch.float64, generator=generator)
        loss = nn.functional.cross_entropy(net(x), torch.tensor([0, 1, 2, 0]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return [parameter.detach() for parameter in net.parameters()]


@pytest.mark.parametrize("gradient", ["transposed", "true", "digital"])
def test_a_network_on_ideal_arrays_trains_as_a_digital_one(gradient):
    on_arrays = trained(network(CrossbarLinear, gradient=gradient, engine="ideal"))
    for found, expected in zip(on_arrays, trained(network(nn.Linear)), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


def test_the_backward_pass_is_the_one_that_was_chosen():
    design = xs.Design(**WIRES)
    x = double(3, 4)
    found = {}
    for gradient in ("transposed", "true", "digital"):
        torch.manual_seed(7)
        layer = CrossbarLinear(4, 3, bias=False, design=design, gradient=gradient, dtype=torch.float64)
        matrix, w = layer.matrix, layer.weight.detach()
        found[gradient] = gradients(layer, x)
        cotangent = 2 * layer(x).detach()
        expected = {
            "transposed": matrix.T.mv(cotangent.T.numpy()).T,
            "true": cotangent.numpy() @ matrix.to_dense(),
            "digital": (cotangent @ w).numpy(),
        }
        np.testing.assert_allclose(found[gradient][0].numpy(), expected[gradient], rtol=1e-9, atol=1e-12)
    assert not torch.allclose(found["true"][1], found["digital"][1], rtol=1e-3)


@pytest.mark.ngspice
def test_ngspice_answers_like_the_exact_solver():
    engine_or_skip("ngspice")
    design, x = xs.Design(**WIRES), double(2, 3)
    answers = []
    for engine in ("nodal", "ngspice"):
        torch.manual_seed(2)
        layer = CrossbarLinear(3, 2, design=design, engine=engine, dtype=torch.float64)
        answers += [layer(x).detach()]
        layer.close()
    torch.testing.assert_close(*answers, rtol=1e-7, atol=1e-9)


def test_copies_files_and_state_dicts_are_the_same_chip():
    layer = CrossbarLinear(4, 3, design=DESIGNS["wires and drivers"])
    x = torch.randn(5, 4)
    expected = layer(x)
    file = io.BytesIO()
    torch.save(layer, file)
    other = CrossbarLinear(4, 3, design=DESIGNS["wires and drivers"])
    state = io.BytesIO()
    torch.save(layer.state_dict(), state)
    other.load_state_dict(torch.load(_rewound(state)))
    for same in (copy.deepcopy(layer), torch.load(_rewound(file), weights_only=False), other):
        torch.testing.assert_close(same(x), expected, rtol=0, atol=0)
    digital = nn.Linear(4, 3)
    other.load_state_dict(digital.state_dict())
    torch.testing.assert_close(other.weight, digital.weight)


def _rewound(file):
    file.seek(0)
    return file


class Counting(IdealEngine):
    """Counts the arrays that were freed."""

    def __init__(self):
        self.closed = 0

    def program_bank(self, crossbars):
        bank = super().program_bank(crossbars)
        close = bank.close

        def counted():
            self.closed += 1
            close()

        bank.close = counted
        return bank


def test_arrays_end_with_their_module_and_are_written_only_when_weights_change():
    engine, x = Counting(), torch.ones(2, 4)
    layer = CrossbarLinear(4, 3, engine=engine)
    layer(x), layer(x)
    assert layer.matrix is layer.matrix
    assert engine.closed == 0
    with torch.no_grad():
        layer.weight[0, 0] += 1e-3
    layer(x)
    assert engine.closed == 1
    del layer
    gc.collect()
    assert engine.closed == 2


def test_the_scale_stays_while_weights_fit_and_follows_them_when_they_do_not():
    layer = CrossbarLinear(2, 2, bias=False, dtype=torch.float64)
    scale = layer.matrix.mapped.siemens_per_weight
    with torch.no_grad():
        layer.weight *= 1.1
    assert layer.matrix.mapped.siemens_per_weight == scale
    with torch.no_grad():
        layer.weight *= 1.5
    assert layer.matrix.mapped.siemens_per_weight < scale
    assert layer.matrix.mapped.clipped == 0
    fixed = CrossbarLinear(2, 2, weight_range=0.01)
    with pytest.warns(DesignWarning, match=r"beyond weight_range=0\.01"):
        fixed(torch.ones(1, 2))


def test_layers_are_different_chips_unless_a_seed_says_which():
    design = xs.Design(variation=xs.Variation(programming=0.1))

    def slopes(**options):
        return CrossbarLinear(4, 4, design=design, **options).matrix.mapped.slope

    assert not np.allclose(slopes(), slopes())
    np.testing.assert_array_equal(slopes(seed=3), slopes(seed=3))
    assert not np.allclose(slopes(seed=3), slopes(seed=3, name="second"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"design": 3}, "design must be a Design"),
        ({"engine": "spice"}, "engine must be one of"),
        ({"gradient": "exact"}, "gradient must be one of 'transposed', 'true', 'digital'"),
        ({"design": xs.Design(compensated=True)}, "try gradient='transposed'"),
        ({"design": xs.Design(scale="tile")}, "try gradient='transposed'"),
        ({"weight_range": 0.0}, "weight_range"),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(InvalidInputError, match=message):
        CrossbarLinear(3, 2, **options)
