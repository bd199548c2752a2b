"""The guard passes the test vectors of the protocol."""

import json
import unittest
from pathlib import Path

from estop_guard import Call, Keys
from estop_guard.core import Core
from estop_guard.jws import Refused
from estop_guard.names import tenant_key, token
from estop_guard.risk import Risks

VECTORS = json.loads((Path(__file__).parents[3] / "testdata" / "vectors.json").read_text())


class Vectors(unittest.TestCase):
    def test_names(self) -> None:
        for n in VECTORS["names"]:
            self.assertEqual(token(n["name"]), n["token"])
        for t in VECTORS["tenants"]:
            self.assertEqual(tenant_key(t["name"]).hex(), t["key"])

    def test_cases(self) -> None:
        for case in VECTORS["cases"]:
            now = 0
            core = Core(Keys.parse(json.dumps(case.get("keys", VECTORS["keys"]))), case["serves"], clock=lambda: now)
            for i, step in enumerate(case["steps"]):
                now = int(step["now"])
                with self.subTest(case["name"], step=i):
                    self.assertEqual(play(core, step), (step["outcome"] + (
                        ": " + step["reason"] if "reason" in step else ""), step.get("by", "")))

    def test_key_sets(self) -> None:
        self.assertTrue(VECTORS["key_sets"])
        for k in VECTORS["key_sets"]:
            with self.subTest(k["name"]):
                if k["taken"]:
                    Keys.parse(json.dumps(k["keys"]))
                else:
                    self.assertRaises(ValueError, Keys.parse, json.dumps(k["keys"]))

    def test_a_key_with_what_is_not_known_is_refused(self) -> None:
        with self.assertRaises(ValueError):
            Keys.parse(json.dumps({"keys": [{**VECTORS["keys"]["keys"][0], "only_on": "Monday"}]}))

    def test_risks(self) -> None:
        self.assertTrue(VECTORS["risks"])
        for case in VECTORS["risks"]:
            risks = Risks(Keys.parse(json.dumps(VECTORS["keys"])))
            for i, step in enumerate(case["steps"]):
                with self.subTest(case["name"], step=i):
                    self.assertEqual(ask(risks, step), (step["outcome"], step.get("reason", ""), step.get("score", 0)))


def ask(risks: Risks, step: dict) -> tuple[str, str, int]:
    now = int(step["now"])
    if agent := step.get("agent"):
        level, score = risks.of(agent["tenant"], agent["agent"], now)
        return level, "", score
    try:
        risks.take(step["message"]["subject"], step["message"]["token"].encode(), now)
    except Refused as e:
        return "refused", e.reason, 0
    return "believed", "", 0


def play(core: Core, step: dict) -> tuple[str, str]:
    if m := step.get("message"):
        return core.take(m["subject"], m["token"].encode(), m.get("sequence", 0))[0], ""
    if beat := step.get("beat"):
        match = core.hear_beat(beat.encode())
        return (match if match.startswith("refused") else core.pulse.compare(read=True)), ""
    if c := step.get("call"):
        d = core.check(Call(**{**c, "credential_issued_at": int(c.get("credential_issued_at", 0))}))
        return d.verdict, d.revocation.id if d.revocation else ""
    want = step["digest"]
    view = core.pulse.ledger.at(want["as_of"])
    key = (tenant_key(want["tenant"]),) if "tenant" in want else ()
    got = view.count(*key), view.digest(*key).hex()
    return ("same" if got == (want["count"], want["digest"]) else "differs"), ""


if __name__ == "__main__":
    unittest.main()
