"""Where errors come from: attribution, sensitivity maps, the loss of chips, flipped signs."""

from xbar_spice.cosim.analysis.attribution import Attribution, attribute
from xbar_spice.cosim.analysis.chip_loss import allowed_options, chip_loss, chip_losses
from xbar_spice.cosim.analysis.product_cost import ProductCost, product_cost
from xbar_spice.cosim.analysis.sensitivity_map import DeviceMap, RankedDevice, SensitivityMap, sensitivity_map
from xbar_spice.cosim.analysis.sign_flips import SignFlips, sign_flips

__all__ = [
    "Attribution",
    "DeviceMap",
    "ProductCost",
    "RankedDevice",
    "SensitivityMap",
    "SignFlips",
    "allowed_options",
    "attribute",
    "chip_loss",
    "chip_losses",
    "product_cost",
    "sensitivity_map",
    "sign_flips",
]
