"""What a key set demands beside a good signature: which orders take two operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .revocation import Revocation

DEMANDS = {"release", "tenant", "global"}
MAX_APPROVALS = 4
_BREAK_GLASS_LIMIT = 15 * 60 * 10**9  # ns


@dataclass(frozen=True, slots=True)
class Rules:
    two_person: frozenset[str] = frozenset()
    break_glass: bool = False

    @classmethod
    def parse(cls, doc: Any) -> Rules:
        """Reads the member estop of a key set. What is not known here is refused: leaving out a
        demand would trust more than its author meant."""
        if doc is None:
            return cls()
        if not isinstance(doc, dict):
            raise ValueError("the key set's estop is not an object")
        if unknown := doc.keys() - {"two_person", "break_glass"}:
            raise ValueError(f"the key set demands what this version does not know: {sorted(unknown)}")
        demands, glass = doc.get("two_person", []), doc.get("break_glass", False)
        if not isinstance(demands, list) or not all(isinstance(d, str) for d in demands) or not isinstance(glass, bool):
            raise ValueError("the key set's estop is not as it must be")
        if unknown := set(demands) - DEMANDS:
            raise ValueError(f"two_person: {sorted(unknown)} are not known")
        return cls(frozenset(demands), glass)

    def want(self, r: Revocation) -> bool:
        """Whether r takes a second operator."""
        if self.break_glass and r.breaks_glass(_BREAK_GLASS_LIMIT):
            return False
        kind = "release" if r.action == "release" else r.scope if r.scope in ("tenant", "global") else ""
        return kind in self.two_person

    @property
    def guarded(self) -> bool:
        """Whether nothing in force may be weakened by one operator alone: an order that stops less
        would be a release under another name."""
        return "release" in self.two_person


def weakens(new: Revocation, old: Revocation) -> bool:
    """Whether new, in the place of old, would stop less."""
    if new.strength != old.strength:
        return new.strength < old.strength
    if old.strength == 0:
        return False  # one release in the place of another
    if new.until < old.until:
        return True
    if old.valid_after == 0:
        return new.valid_after != 0
    return 0 < new.valid_after < old.valid_after
