"""From a trained network to one on arrays, and from a network to a file of weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from torch import nn

from xbar_spice.checks import warn
from xbar_spice.engines.base import Engine
from xbar_spice.errors import InvalidInputError
from xbar_spice.mapping.design import Design
from xbar_spice.torch.arrays import ArraySettings, GradientKind
from xbar_spice.torch.ends import classifier_of, encoder_of, named_parts
from xbar_spice.torch.layers import CrossbarConv2d, CrossbarLinear, OnArrays
from xbar_spice.torch.ode import OdeBlock
from xbar_spice.weights import save_model

__all__ = ["convert", "export"]

_WITHOUT_EFFECT = (nn.Identity, nn.Dropout, nn.Flatten)
"""Modules that leave the numbers of an evaluated network as they are."""


def convert(
    module: nn.Module,
    design: Design | None = None,
    *,
    engine: str | Engine = "nodal",
    gradient: GradientKind = "true",
    seed: int | None = None,
    skip: Sequence[str] = (),
) -> nn.Module:
    """A copy of a network whose linear, convolutional and ODE parts are on arrays.

    `torch.nn.Linear`, `torch.nn.Conv2d` and a digital `OdeBlock` are taken, wherever they stand, with the same
    parameters; a layer that stands in two places is one set of arrays. A warning names every other module that has
    parameters: it stays as it is.

    Args:
        module: The network; it is not changed.
        design: How the arrays are built; the default design when left out.
        engine: Who answers the reads.
        gradient: Where the backward pass comes from, see `ArraySettings`.
        seed: Which chip; layers have different devices. None takes one from the weights of each layer.
        skip: Names of modules, such as "head" or "blocks.0.norm", that stay digital without a word, with all in them.

    Raises:
        InvalidInputError: A name of `skip` is not one of a module, or the design does not fit, see `ArraySettings`.

    Example:
        >>> convert(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), Design(r_word=1.0))[0].in_features
        4
    """
    chip = ArraySettings(Design() if design is None else design, engine, gradient, seed)
    known = dict(module.named_modules())
    if unknown := sorted(set(skip) - set(known)):
        raise InvalidInputError(f"skip: no module is called {', '.join(unknown)}; there are {', '.join(known)}")
    whole = copy.deepcopy(module)
    made: dict[int, nn.Module] = {}
    left: list[str] = []
    found = _converted(whole, "", chip, frozenset(skip), made, left)
    if left:
        warn(f"convert leaves these modules as they are: {', '.join(left)}; name them in skip=[...] if that is meant")
    return found


def _converted(
    module: nn.Module, name: str, chip: ArraySettings, skip: frozenset[str], made: dict[int, nn.Module], left: list[str]
) -> nn.Module:
    if name in skip:
        return module
    if id(module) in made:
        return made[id(module)]
    new = _on_arrays(module, f"layer_{name.replace('.', '_')}" if name else "weight", chip)
    made[id(module)] = module if new is None else new
    if new is not None:
        return new.train(module.training)
    if next(module.parameters(recurse=False), None) is not None and not isinstance(module, OnArrays):
        left.append(f"{name or 'the module itself'} ({type(module).__name__})")
    for child, part in _children(module):
        path = f"{name}.{child}" if name else child
        setattr(module, child, _converted(part, path, chip, skip, made, left))
    return module


def _on_arrays(module: nn.Module, name: str, chip: ArraySettings) -> nn.Module | None:
    """The module on arrays, with the same parameters; None for one of another kind, subclasses included."""
    options: dict[str, Any] = {
        "design": chip.design, "engine": chip.engine, "gradient": chip.gradient, "seed": chip.seed, "name": name,
        "device": "meta",
    }  # fmt: skip
    if type(module) is OdeBlock:
        return module.on_arrays(chip, name) if module.chip is None else None
    new: CrossbarLinear | CrossbarConv2d
    if type(module) is nn.Linear:
        new = CrossbarLinear(module.in_features, module.out_features, module.bias is not None, **options)
    elif type(module) is nn.Conv2d:
        new = CrossbarConv2d(
            module.in_channels, module.out_channels, module.kernel_size, module.stride, module.padding,
            module.dilation, module.groups, module.bias is not None, module.padding_mode, **options,
        )  # fmt: skip
    else:
        return None
    new.weight, new.bias = module.weight, module.bias
    return new


def export(module: nn.Module, path: str | PathLike[str], *, image_shape: tuple[int, int] | None = None) -> Path:
    """Write a network around one neural ODE as a file of weights, which every verb of the command line takes.

    Taken are, one after the other: linear layers and convolutions that make states of inputs (the encoder), each with
    a normalisation, an activation and a pooling behind it, the `OdeBlock`, and layers that score its last states (the
    classifier), each with the same in front of it; on arrays or digital. Dropout and flattening do nothing to an
    evaluated network; a warning names them.

    Args:
        module: An `OdeBlock`, or a `torch.nn.Sequential` of such parts; of a class of one's own give the parts, as
            `nn.Sequential(net.encoder, net.ode, net.head)`.
        path: A file ending in .npz, .safetensors or .pt.
        image_shape: (height, width) of what goes into the first part that convolves or pools images.

    Returns:
        The path.

    Raises:
        InvalidInputError: There is not exactly one neural ODE, or a part would be lost.
        WeightsError: The file cannot be written.
    """
    parts = list(_parts(module, ""))
    blocks = [place for place, (_, part) in enumerate(parts) if isinstance(part, OdeBlock)]
    if len(blocks) != 1:
        raise InvalidInputError(
            f"export needs exactly one OdeBlock, found {len(blocks)} among {named_parts(parts) or 'no parts'}; weights "
            "of other layers are kept by torch.save(module.state_dict(), file)"
        )
    idle = [entry for entry in parts if isinstance(entry[1], _WITHOUT_EFFECT)]
    before, behind = (
        [entry for entry in side if not isinstance(entry[1], _WITHOUT_EFFECT)]
        for side in (parts[: blocks[0]], parts[blocks[0] + 1 :])
    )
    block = parts[blocks[0]][1]
    assert isinstance(block, OdeBlock)
    encoder = encoder_of(before, image_shape)
    classifier = classifier_of(behind, encoder, image_shape)
    if idle:
        warn(f"export leaves out what does nothing to an evaluated network: {named_parts(idle)}")
    file = Path(path)
    save_model(file, block.model(encoder=encoder, classifier=classifier))
    return file


def _children(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules right in one, by name; one that stands there twice comes twice, unlike in `named_children`."""
    return [(name, part) for name, part in module._modules.items() if part is not None]


def _parts(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """What a network does, one after the other."""
    if isinstance(module, nn.Sequential):
        for child, part in _children(module):
            yield from _parts(part, f"{name}.{child}" if name else child)
    else:
        yield name, module
