"""A guard of estop, the emergency stop for AI agents: it denies the calls of what is revoked, and cancels
those that are under way."""

from .active import Call, Decision
from .guard import Guard, Revoked
from .jws import Keys
from .revocation import Revocation

__all__ = ["Call", "Decision", "Guard", "Keys", "Revocation", "Revoked"]
