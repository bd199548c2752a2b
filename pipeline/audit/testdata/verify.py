#!/usr/bin/env python3
"""Verifies an audit bundle: verify.py BUNDLE LOG.pub [WITNESS.pub...]. From docs/audit.md, with nothing of estop's code."""
import base64, hashlib, json, struct, sys
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

sha = lambda *parts: hashlib.sha256(b"".join(parts)).digest()
b64 = lambda text: base64.b64decode(text, validate=True)
u16 = lambda text: struct.pack(">H", len(text.encode())) + text.encode()
node = lambda left, right: sha(b"\x01", left, right)

def check(ok, what):
    if not ok:
        sys.exit("refused: " + what)

def load_key(path):
    name, key_id, data = open(path).read().strip().split("+", 2)
    raw = b64(data)
    check(sha(name.encode(), b"\n", raw)[:4].hex() == key_id, "a public key whose id is not its own")
    return name, raw[0], bytes.fromhex(key_id), Ed25519PublicKey.from_public_bytes(raw[1:])

def signed(note, key):
    """True where the key has signed the note; its signature, where there is one, must hold."""
    name, kind, key_id, public = key
    text, _, lines = note.partition("\n\n")
    text += "\n"
    for line in lines.splitlines():
        dash, who, sig = line.split(" ")
        sig = b64(sig)
        if dash != "\u2014" or who != name or sig[:4] != key_id:
            continue
        sig = sig[4:]
        message = text.encode()
        if kind == 4:
            message = b"cosignature/v1\ntime %d\n" % struct.unpack(">Q", sig[:8]) + message
            sig = sig[8:]
        try:
            public.verify(sig, message)
        except InvalidSignature:
            check(False, "the signature of " + name)
        return True
    return False

def tree_root(leaf, index, size, proof):
    """The root that an RFC 6962 inclusion proof leads to (RFC 9162, 2.1.3.2)."""
    fn, sn, r = index, size - 1, leaf
    for p in proof:
        check(sn > 0, "a proof that is too long")
        if fn & 1 or fn == sn:
            r = node(p, r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node(r, p)
        fn, sn = fn >> 1, sn >> 1
    check(sn == 0, "a proof that is too short")
    return r

def names(topic, b):
    return u16(topic) + u16(b["tenant"]) + u16(b["scope"]) + u16(b["subject"])

def leaf_hash(topic, b, l, prev, clock):
    if "salt" in l:
        payload = l["payload"].encode() if "payload" in l else b64(l.get("payload64", ""))
        commitment = sha(b64(l["salt"]), payload)
        if topic == "estop.calls" and b["subject"]:
            call = json.loads(payload)
            check((call["tenant"], call["agent"]) == (b["tenant"], b["subject"]), "a call of another agent")
    else:
        commitment = b64(l["commitment"])
    return sha(b"\x00estop leaf v1\n", struct.pack(">Q", l["seq"]), prev, struct.pack(">q", clock), bytes.fromhex(l["id"]),
               struct.pack(">IQIq", l["partition"], l["offset"], l["part"], l["appended"]), commitment, names(topic, b))

def map_root(key, proof, end):
    r = bytes(32)
    if end:
        r = sha(b"\x00", b64(end["key"]), struct.pack(">Q", end["seq"]), b64(end["last"]))
        same = int.from_bytes(key, "big") ^ int.from_bytes(b64(end["key"]), "big")
        check(same >> (256 - len(proof)) == 0, "the map's path is another key's")
    for depth in reversed(range(len(proof))):
        bit = key[depth // 8] >> (7 - depth % 8) & 1
        r = node(proof[depth], r) if bit else node(r, proof[depth])
    return r

def trail(b, t, chunk):
    key = sha(b"estop trail v1\n", names(t["topic"], b))
    proof, end = [b64(h) for h in t["map"] or []], t.get("end")
    check(map_root(key, proof, end) == b64(chunk["map"]), "the map's proof")
    if not end or b64(end["key"]) != key:
        check(not t["leaves"], "leaves of a trail that the map has not")
        return print(t["topic"] + ": nothing, and that is proved")
    prev = clock = seq = None
    for l in t["leaves"]:
        if prev is None:
            prev, clock, seq = b64(l["prev"]), l["clock"], l["seq"]
            check(clock >= l["appended"] and (seq > 1 or prev == bytes(32) and clock == l["appended"]), "the first leaf")
        else:
            clock, seq = max(clock, l["appended"]), seq + 1
        check(l["seq"] == seq, "a leaf is missing")
        prev = leaf_hash(t["topic"], b, l, prev, clock)
    check((seq, prev) == (end["seq"], b64(end["last"])), "the trail does not end where the map says")
    print(f"{t['topic']}: leaves {t['leaves'][0]['seq']} to {seq}, none missing")

def main(bundle, log, *witnesses):
    b = json.load(open(bundle))
    check(b["format"] == "estop audit bundle v1", "the format")
    for key in (log, *witnesses):
        check(signed(b["checkpoint"], load_key(key)), key + " did not sign the checkpoint")
    origin, size, root = b["checkpoint"].split("\n")[:3]
    index, entry = b["chunk"]["index"], b["chunk"]["entry"].encode()
    proof = [b64(h) for h in b["chunk"]["proof"] or []]
    check(0 <= index < int(size) and tree_root(sha(b"\x00", entry), index, int(size), proof) == b64(root), "the chunk is not in the log")
    lines = entry.decode().splitlines()
    check(lines[0] == "estop chunk v1", "the chunk")
    chunk = dict(line.split(" ", 1) for line in lines[1:])
    if "one" in b:
        one = b["one"]
        l = one["leaf"]
        first, last = map(int, chunk["offsets"].split())
        check((one["topic"], l["id"], l["partition"]) == (chunk["topic"], chunk["id"], int(chunk["partition"])) and first <= l["offset"] <= last, "the leaf is of another place")
        h = leaf_hash(one["topic"], b, l, b64(l["prev"]), l["clock"])
        check(0 <= one["index"] < int(chunk["leaves"]), "the leaf's index")
        check(tree_root(h, one["index"], int(chunk["leaves"]), [b64(p) for p in one["path"] or []]) == b64(chunk["root"]), "the leaf is not in its chunk")
        return print("genuine:", l.get("payload", "without its content"))
    check(index == int(size) - 1, "the map is not the last one")
    check(b["trails"], "nothing in it")
    for t in b["trails"]:
        trail(b, t, chunk)
    print("genuine")

if __name__ == "__main__":
    main(*sys.argv[1:])
