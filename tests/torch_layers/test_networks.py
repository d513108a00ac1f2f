"""Neural ODEs as torch modules, networks put on arrays, and what is written of them."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from support import relative

import xbar_spice as xs
from xbar_spice.errors import DesignWarning, InvalidInputError
from xbar_spice.solve.fields import ActivationField, HamiltonianField, LayerField

torch = pytest.importorskip("torch", reason="the extra [torch] is not installed")

from torch import nn  # noqa: E402
from torch.func import functional_call  # noqa: E402

from xbar_spice.torch import CrossbarConv2d, CrossbarLinear, OdeBlock, convert, export  # noqa: E402

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "torch_network.ipynb"
WIRES = xs.Design(r_word=3.0, r_bit=2.0, r_driver=40.0, r_sense=20.0)
SOLVER = xs.SolverOptions(newton=xs.NewtonOptions(), krylov=xs.KrylovOptions())


def fields(rng):
    A, B, K = rng.standard_normal((3, 2)), rng.standard_normal((2, 3)) / 2, rng.standard_normal((2, 2)) / 2
    return {
        "activation": ActivationField(A, B, "tanh", bias=0.3 * rng.standard_normal(3)),
        "layer": LayerField(K, rng.standard_normal(2), "tanh"),
        "hamiltonian": HamiltonianField(rng.standard_normal((1, 1)), rng.standard_normal(1), "tanh"),
    }


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    "design", [None, WIRES, xs.Design(r_word=3.0, device=xs.Sinh(0.5))], ids=["digital", "wires", "nonlinear cells"]
)
@pytest.mark.parametrize("kind", ["activation", "layer"])
def test_the_gradient_of_a_block_is_that_of_its_steps(kind, design, rng):
    model = xs.Model(field=fields(rng)[kind], h=0.25, steps=2)
    block = OdeBlock(model, design=design, solver=SOLVER, dtype=torch.float64)
    names = [name for name, _ in block.named_parameters()]
    z0 = torch.randn(1, model.states, dtype=torch.float64, requires_grad=True)

    def forward(z, *tensors):
        return functional_call(block, dict(zip(names, tensors, strict=True)), (z,))

    parameters = [parameter.detach().clone().requires_grad_() for parameter in block.parameters()]
    assert torch.autograd.gradcheck(forward, (z0, *parameters), atol=1e-6, rtol=1e-5)


def test_a_block_is_the_run_of_its_model(rng):
    for field in fields(rng).values():
        model = xs.Model(field=field, h=0.25, steps=3, method="rk4")
        block, z0 = OdeBlock(model, dtype=torch.float64), rng.standard_normal((4, model.states))
        expected = xs.integrate(model.field, z0.T, "rk4", h=0.25, steps=3).z[-1].T
        assert relative(block(torch.from_numpy(z0)).detach().numpy(), expected) < 1e-13
        assert dict(block.named_parameters()).keys() == {name.replace(".", "_") for name in model.tensors}


def classifier(rng):
    A, B = torch.tensor(rng.standard_normal((6, 4))), torch.tensor(rng.standard_normal((4, 6)) / 6)
    ode = OdeBlock(xs.Model(A.numpy(), B.numpy(), h=0.25, steps=3), dtype=torch.float64)
    return nn.Sequential(nn.Linear(5, 4).double(), nn.Tanh(), ode, nn.Dropout(0.5), nn.Linear(4, 3).double()).eval()


def test_a_converted_classifier_is_the_digital_one_on_ideal_arrays(rng):
    net, x = classifier(rng), torch.tensor(rng.standard_normal((7, 5)))
    on_arrays = convert(net, xs.Design())
    torch.testing.assert_close(on_arrays(x), net(x), rtol=1e-7, atol=1e-8)
    kinds = [type(part) for part in on_arrays if not isinstance(part, nn.Tanh | nn.Dropout)]
    assert kinds == [CrossbarLinear, OdeBlock, CrossbarLinear]
    assert on_arrays[2].chip is not None
    assert net[2].chip is None
    assert not on_arrays.training
    wired = convert(net, WIRES, gradient="transposed")
    assert relative(wired(x).detach().numpy(), net(x).detach().numpy()) > 1e-3
    wired(x).sum().backward()
    assert all(parameter.grad is not None for parameter in wired.parameters())


def test_what_convert_leaves_it_names():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    net.append(net[3].__class__(3, 2))
    with pytest.warns(DesignWarning, match=r"leaves these modules as they are: 1 \(BatchNorm2d\)"):
        found = convert(net, WIRES)
    assert isinstance(found[0], CrossbarConv2d)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = convert(net, WIRES, skip=["1", "4"])
    assert type(found[4]) is nn.Linear
    with pytest.raises(InvalidInputError, match=r"no module is called head; there are .*0, 1"):
        convert(net, WIRES, skip=["head"])
    shared = nn.Linear(3, 3)
    twice = convert(nn.Sequential(shared, nn.ReLU(), shared), WIRES)
    assert twice[0] is twice[2]


def test_a_file_holds_the_network(rng, tmp_path):
    net, x = classifier(rng), rng.standard_normal((7, 5))
    with pytest.warns(DesignWarning, match=r"does nothing to an evaluated network: 3 \(Dropout\)"):
        path = export(convert(net, WIRES), tmp_path / "net.npz")
    model = xs.load_model(path)
    run = xs.integrate(model.field, model.initial(x.T), model.method, h=model.h, steps=model.steps)
    scores = model.classifier.logits(run.z[-1]).T
    assert relative(scores, net(torch.from_numpy(x)).detach().numpy()) < 1e-7
    for wrong, message in (
        (nn.Linear(3, 2), "exactly one OdeBlock, found 0"),
        (nn.Sequential(nn.Conv2d(1, 1, 2), net[2]), r"cannot keep 0 \(Conv2d\) without the pixels .* image_shape"),
        (nn.Sequential(nn.Bilinear(4, 4, 4), net[2], net[4]), r"cannot keep 0 \(Bilinear\)"),
        (nn.Sequential(net[2], net[4], nn.Tanh()), r"cannot keep 2 \(Tanh\)"),
        (nn.Sequential(net[2], nn.LeakyReLU(0.3), net[4]), r"cannot keep 1 \(LeakyReLU\) with negative_slope=0.3"),
        (nn.Sequential(net[2], nn.Tanh(), nn.BatchNorm1d(4), net[4]), r"cannot keep 1 \(Tanh\), 2 \(BatchNorm1d\)"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            export(wrong, tmp_path / "wrong.npz")
    assert not (tmp_path / "wrong.npz").exists()


def test_ends_of_several_layers_are_kept(rng, tmp_path):
    """Convolutions of odd and even size, normalisations of both kinds, pooling; in front of the block and behind it."""
    A, B = rng.standard_normal((6, 8)), rng.standard_normal((8, 6)) / 6
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 4, 2, 1), nn.GroupNorm(2, 4), nn.SiLU(),
        nn.Conv2d(4, 2, 3, padding=1, padding_mode="circular", bias=False), nn.ELU(), nn.MaxPool2d(2), nn.Flatten(),
        OdeBlock(xs.Model(A, B, h=0.25, steps=2)),
        nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3),
    ).double()  # fmt: skip
    x = torch.tensor(rng.standard_normal((4, 1, 11, 10)))
    net(x)  # gives the normalisation its statistics
    net.eval()
    with pytest.warns(DesignWarning, match=r"does nothing to an evaluated network: 9 \(Flatten\)"):
        model = xs.load_model(export(net, tmp_path / "net.npz", image_shape=(11, 10)))
    z0 = model.initial(x.flatten(1).numpy().T)
    run = xs.integrate(model.field, z0, model.method, h=model.h, steps=model.steps)
    assert relative(model.classifier.logits(run.z[-1]).T, net(x).detach().numpy()) < 1e-6
    assert (len(model.encoder.layers), len(model.classifier.layers)) == (3, 2)


def test_a_block_writes_what_its_model_says(rng):
    """K - K^T, and not K, where that is on the array."""
    field = xs.antisymmetric_field(rng.standard_normal((3, 3)), rng.standard_normal(3))
    models = [
        xs.Model(field=field, h=0.1, steps=2, on_arrays=on) for on in ((), ("difference",), ("bias", "difference"))
    ]
    z = torch.tensor(rng.standard_normal((2, 3)))
    ends = [OdeBlock(model, design=xs.Design(), engine="ideal", dtype=torch.float64)(z) for model in models]
    for end in ends[1:]:
        torch.testing.assert_close(end, ends[0], rtol=1e-6, atol=1e-8)


def test_torch_reads_a_file_that_is_written_without_it(tmp_path):
    field = xs.ActivationField(np.arange(6.0).reshape(3, 2), np.ones((2, 3)), "tanh", bias=[0.5, -1.0, 2.0])
    model = xs.Model(field=field, h=0.25, steps=4, classifier=xs.Classifier(np.eye(2)), frozen=("bias",))
    xs.save_model(tmp_path / "net.pt", model)
    state = torch.load(tmp_path / "net.pt", weights_only=True)
    assert (state["h"], state["steps"], state["activation"], state["frozen"]) == (0.25, 4, "tanh", "bias")
    for name, value in model.tensors.items():
        np.testing.assert_array_equal(state[name].numpy(), value)
    torch.save(state, tmp_path / "again.pt")
    again = xs.load_model(tmp_path / "again.pt")
    assert all(np.array_equal(again.tensors[name], value) for name, value in model.tensors.items())


def test_a_layer_that_is_written_by_pulses_learns(rng):
    design = xs.Design(
        device=xs.load_device("yakopcic_fast"), g_min=5e-6, g_max=1.2e-4, r_word=1.0, r_bit=1.0,
        programming=xs.WriteVerify(tolerance=0.05, together="row"),
    )  # fmt: skip
    layer = CrossbarLinear(4, 3, design=design, dtype=torch.float64)
    x, wanted = torch.tensor(rng.standard_normal((32, 4))), torch.tensor(rng.standard_normal((4, 3)))
    optimiser, losses = torch.optim.SGD(layer.parameters(), lr=0.05), []
    for _ in range(4):
        losses.append((layer(x) - x @ wanted).square().mean())
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    assert losses[0] > losses[1] > losses[2] > losses[3]
    assert relative(layer.matrix.mapped.programmed, layer.weight.detach().numpy()) < 0.1


def test_a_layer_in_the_field_of_torchdiffeq(rng):
    torchdiffeq = pytest.importorskip("torchdiffeq", reason="torchdiffeq is not installed")

    class Flow(nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def forward(self, t, z):
            return torch.tanh(self.layer(z))

    digital = Flow(nn.Linear(2, 2).double())
    on_arrays = convert(digital, xs.Design())
    z0, times = torch.tensor(rng.standard_normal((3, 2))), torch.linspace(0, 1, 3, dtype=torch.float64)
    solved = [torchdiffeq.odeint(flow, z0, times, method="rk4") for flow in (digital, on_arrays)]
    torch.testing.assert_close(*solved, rtol=1e-10, atol=1e-12)
    for flow, z in zip((digital, on_arrays), solved, strict=True):
        z[-1].square().sum().backward()
        assert flow.layer.weight.grad is not None
    torch.testing.assert_close(on_arrays.layer.weight.grad, digital.layer.weight.grad, rtol=1e-8, atol=1e-10)


def test_the_notebook_runs(monkeypatch):
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    names = {}
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), NOTEBOOK.name, "exec"), names)
    plt.close("all")
    assert names["accuracy"](names["chips"][64]) > names["before"]
    assert np.argmin(names["on_arrays"]) == len(names["sizes"]) - 1
