"""Every error of the toolkit, so that a caller can catch `XbarError` and mean all of them."""

__all__ = [
    "CharacterisationError",
    "ConvergenceError",
    "ConvergenceWarning",
    "DataError",
    "DesignWarning",
    "DeviceError",
    "EngineUnavailableError",
    "FileError",
    "IdleSettingError",
    "InvalidInputError",
    "NonConvergenceError",
    "ReadTimeoutError",
    "SimulationError",
    "SimulatorCrashError",
    "SimulatorExitError",
    "SingularCircuitError",
    "StabilityError",
    "StabilityWarning",
    "StudyError",
    "WeightsError",
    "XbarError",
]


class XbarError(Exception):
    """Anything that goes wrong in xbar-spice."""


class InvalidInputError(XbarError, ValueError):
    """An argument is outside what is allowed; the text says what was given and what to try."""


class IdleSettingError(InvalidInputError):
    """A setting was given that nothing uses; the text says which other one it needs."""


class WeightsError(InvalidInputError):
    """A weight file lacks a tensor, or holds one of the wrong shape or with values that are not finite."""


class DataError(InvalidInputError):
    """A file of samples lacks an array or a column, or holds one of the wrong shape or with values that do not fit."""


class DeviceError(InvalidInputError):
    """A device model is unknown or cannot do what was asked of it."""


class StudyError(InvalidInputError):
    """A study file or a store of results cannot be used as it is."""


class FileError(XbarError):
    """A file or folder cannot be read or written; the text says which, why, and what to try."""


class EngineUnavailableError(XbarError):
    """An engine needs something that this machine lacks; the text says how to install it."""


class SimulationError(XbarError):
    """A simulator ran and failed; the text carries the deck, its last lines and how to reproduce it."""


class SimulatorCrashError(SimulationError):
    """The simulator's process died in the middle of a read, and again when the read was retried."""


class SimulatorExitError(SimulationError):
    """The simulator ended its process by itself in the middle of a read, and again when the read was retried."""


class SingularCircuitError(SimulationError):
    """The equations of a circuit have no unique solution: a part of it floats, or voltage sources form a loop."""


class NonConvergenceError(SimulationError):
    """The simulator's iteration found no solution of a nonlinear circuit."""


class CharacterisationError(SimulationError):
    """A read through the netlist differs from the transfer matrix that stands for it."""


class ReadTimeoutError(SimulationError):
    """A read took longer than its time limit, and again when it was retried."""


class ConvergenceError(XbarError):
    """An iteration did not converge and the caller asked for an exception."""


class StabilityError(XbarError):
    """A feedback circuit does not settle; the text says by how much, and what to try."""


class DesignWarning(UserWarning):
    """A circuit is allowed, but hardly what was meant, or outside what its device was fitted to."""


class ConvergenceWarning(UserWarning):
    """An iteration did not converge; the result says which samples are concerned."""


class StabilityWarning(UserWarning):
    """A method of integration amplifies a part of the state that the equation damps; the text says what to try."""
