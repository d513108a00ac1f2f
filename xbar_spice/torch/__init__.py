"""Torch modules whose products are reads of arrays: layers for any network, trained with any optimiser.

The forward pass is answered by an engine, the backward pass by a choice: transposed reads, the exact derivative of the
circuit, or the digital weights. Needs the extra `torch`; nothing else of the package does.
"""

try:
    import torch  # noqa: F401 - only to say what is missing
except ImportError as error:
    raise ImportError(
        f"xbar_spice.torch needs PyTorch, which cannot be imported here ({error}); install it with "
        "pip install 'xbar-spice[torch]', or a CPU build of it from the instructions of pytorch.org"
    ) from error

from xbar_spice.torch.conversion import convert, export
from xbar_spice.torch.layers import CrossbarConv2d, CrossbarLinear
from xbar_spice.torch.ode import OdeBlock

__all__ = ["CrossbarConv2d", "CrossbarLinear", "OdeBlock", "convert", "export"]
