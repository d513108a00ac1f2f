"""Linear systems that op-amps and arrays solve in one step, by feedback instead of iterations.

`FeedbackLoop` solves the systems of Newton's method, (I - c B D A) d = F, with the arrays of A and B as they are;
`FeedbackSolver` solves W x = b with a matrix that was programmed for it.
"""

from xbar_spice.feedback.answer import SolveRecord
from xbar_spice.feedback.linear_solver import Feedback
from xbar_spice.feedback.loop import FeedbackLoop
from xbar_spice.feedback.opamp import OpAmp
from xbar_spice.feedback.solver import FeedbackSolver

__all__ = ["Feedback", "FeedbackLoop", "FeedbackSolver", "OpAmp", "SolveRecord"]
