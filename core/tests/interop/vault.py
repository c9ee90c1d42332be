"""Rekindle's vault in Python: written from docs/vault-format.md, with PyNaCl and the standard library.

Reads one JSON object of tasks from the standard input and writes their answers, by the same names, as another. Bytes are
hex in both.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt as decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt as encrypt,
)
from nacl.exceptions import CryptoError

VERSION, SUITE = 1, 1
# That it is not told when a key was made.
UNTOLD = bytes(6)


# Keys and what is derived from them


def derive(key, info):
    assert len(key) == 32
    extracted = hmac.digest(bytes(32), key, hashlib.sha256)
    return hmac.digest(extracted, info + b"\x01", hashlib.sha256)


def key_id(key, made):
    return made + derive(key, b"rekindle/v1/key-id" + made)[:26]


def is_id_of(key, id):
    return id == key_id(key, id[:6])


def cipher_key(key):
    return derive(key, b"rekindle/v1/xchacha20poly1305")


def index_key(key):
    return derive(key, b"rekindle/v1/identity-index")


def identity_hash(key, parts):
    message = b"".join(len(part).to_bytes(8, "big") + part for part in map(str.encode, parts))
    digest = hmac.digest(index_key(key), message, hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


# Places and envelopes


def associated_data(place):
    parts = [
        place["log"].encode(),
        (place["tenant"] or "").encode(),
        place["subject"].encode(),
        bytes.fromhex(place["event"].replace("-", "")),
        place["resource"].encode(),
        place["record"].encode(),
        place["action"].encode(),
        place["version"].to_bytes(4, "big"),
        place["section"].encode(),
    ]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def seal(key, made, nonce, place, plaintext):
    sealed = encrypt(plaintext, associated_data(place), nonce, cipher_key(key))
    return bytes([VERSION, SUITE]) + key_id(key, made) + nonce + sealed


class Refused(Exception):
    """Its text is the name of the fault."""


def id_in(envelope):
    if len(envelope) < 74 or envelope[:2] != bytes([VERSION, SUITE]):
        raise Refused("Tampered")
    return envelope[2:34]


def open_with(key, place, envelope):
    if not is_id_of(key, id_in(envelope)):
        raise Refused("WrongKey")
    try:
        return decrypt(envelope[58:], associated_data(place), envelope[34:58], cipher_key(key))
    except CryptoError:
        raise Refused("Tampered") from None


# Rows of keys


class Reader:
    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, length):
        piece = self.data[self.at : self.at + length]
        assert len(piece) == length, "the row is cut"
        self.at += length
        return piece

    def number(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def signed(self):
        value = self.number()
        return value >> 1 if value % 2 == 0 else -(value >> 1) - 1

    def sized(self):
        return self.take(self.number())

    def text(self):
        return self.sized().decode()


def number(value):
    encoded = b""
    while value >= 0x80:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


def signed(value):
    return number(value * 2 if value >= 0 else -value * 2 - 1)


def sized(data):
    return number(len(data)) + data


def read_ring(body):
    reader = Reader(body)
    assert reader.take(1) == b"\x01", "another version of rows"
    ring = {"forgotten": None, "keys": []}
    if reader.number() == 1:
        ring["forgotten"] = {
            "at": reader.signed(),
            "reason": reader.text(),
            "event": reader.sized().hex(),
            "done": reader.take(1) == b"\x01",
        }
    for _ in range(reader.number()):
        key = {"generation": reader.number(), "id": reader.take(32).hex()}
        if reader.number() == 0:
            key |= {"kek": reader.text(), "wrapped": reader.sized().hex()}
        else:
            key |= {"kek": reader.text(), "destroyed": reader.signed(), "reason": reader.text()}
        ring["keys"].append(key)
    assert reader.at == len(body), "the row is too long"
    return ring


def write_ring(ring):
    body = bytes([1])
    forgotten = ring["forgotten"]
    if forgotten is None:
        body += number(0)
    else:
        body += number(1) + signed(forgotten["at"]) + sized(forgotten["reason"].encode())
        body += sized(bytes.fromhex(forgotten["event"])) + bytes([forgotten["done"]])
    body += number(len(ring["keys"]))
    for key in ring["keys"]:
        body += number(key["generation"]) + bytes.fromhex(key["id"])
        if "wrapped" in key:
            body += number(0) + sized(key["kek"].encode()) + sized(bytes.fromhex(key["wrapped"]))
        else:
            body += number(1) + sized(key["kek"].encode())
            body += signed(key["destroyed"]) + sized(key["reason"].encode())
    return body


# Key-encryption keys


def read_keks(text):
    text = json.loads(text)
    keks = {name: base64.b64decode(key, validate=True) for name, key in text["keys"].items()}
    assert text["primary"] in keks
    return text["primary"], keks


def place_of_key(row, generation):
    place = {"event": "", "resource": "", "record": "", "action": "", "version": generation, "section": "key"}
    return place | {name: row[name] for name in ("log", "tenant", "subject")}


def unwrapped(keks, row):
    """The data keys of a row that are there, by their ids."""
    keys = {}
    for key in read_ring(bytes.fromhex(row["body"]))["keys"]:
        if "wrapped" in key:
            place = place_of_key(row, key["generation"])
            data_key = open_with(keks[key["kek"]], place, bytes.fromhex(key["wrapped"]))
            id = bytes.fromhex(key["id"])
            assert is_id_of(data_key, id), "it is another key"
            keys[id] = data_key
    return keys


# The tasks


def task_open(task):
    """Opens envelopes with the keys of a row, each in its place."""
    _, keks = read_keks(task["keks"])
    keys = unwrapped(keks, task["row"])
    answers = []
    for place in task["places"]:
        envelope = bytes.fromhex(place["envelope"])
        answers.append(open_with(keys[id_in(envelope)], place, envelope).hex())
    return answers


def task_open_members(task):
    """Opens the members of a JSON object that are sealed."""
    _, keks = read_keks(task["keks"])
    keys = unwrapped(keks, task["row"])
    members = json.loads(task["json"])
    for name in members.pop("$sealed"):
        envelope = base64.b64decode(members[name], validate=True)
        place = place_of_member(task["place"], name)
        members[name] = json.loads(open_with(keys[id_in(envelope)], place, envelope))
    return members


def place_of_member(place, name):
    return place | {"section": place["section"] + "/" + name}


def seal_members(data_key, made, task):
    members = json.loads(task["json"])
    for name in task["names"]:
        place = place_of_member(task["place"], name)
        envelope = seal(data_key, made, os.urandom(24), place, json.dumps(members[name]).encode())
        members[name] = base64.b64encode(envelope).decode()
    members["$sealed"] = sorted(task["names"], key=str.encode)
    return json.dumps(members)


def task_seal(task):
    """Makes a data key, wraps it, writes its row, and seals with it."""
    primary, keks = read_keks(task["keks"])
    data_key, made = os.urandom(32), (time.time_ns() // 1_000_000).to_bytes(6, "big")
    row = task["row"]
    wrapped = seal(keks[primary], UNTOLD, os.urandom(24), place_of_key(row, 1), data_key)
    key = {"generation": 1, "id": key_id(data_key, made).hex(), "kek": primary, "wrapped": wrapped.hex()}
    body = write_ring({"forgotten": None, "keys": [key]})
    envelopes = []
    for place in task["places"]:
        plaintext = bytes.fromhex(place["plaintext"])
        envelopes.append(seal(data_key, made, os.urandom(24), place, plaintext).hex())
    objects = [seal_members(data_key, made, task) for task in task["objects"]]
    return {"id": key["id"], "body": body.hex(), "envelopes": envelopes, "objects": objects}


def task_faults(task):
    """Which fault each of these envelopes is, if it is opened with a key in a place."""
    faults = []
    for case in task:
        try:
            open_with(bytes.fromhex(case["key"]), case, bytes.fromhex(case["envelope"]))
            faults.append("none")
        except Refused as refused:
            faults.append(str(refused))
    return faults


def task_derive(task):
    key, made = bytes.fromhex(task["key"]), bytes.fromhex(task["made"])
    return {"id": key_id(key, made).hex(), "cipher": cipher_key(key).hex(), "index": index_key(key).hex()}


def task_places(task):
    return [associated_data(place).hex() for place in task]


def task_hash(task):
    return identity_hash(bytes.fromhex(task["key"]), task["parts"])


def task_index(task):
    """The hash of an identity, by the key in the row of the index."""
    _, keks = read_keks(task["keks"])
    (key,) = unwrapped(keks, task["row"]).values()
    return identity_hash(key, task["parts"])


def task_rings(task):
    """Each row, read and written again."""
    rings = [read_ring(bytes.fromhex(body)) for body in task]
    return {"read": rings, "written": [write_ring(ring).hex() for ring in rings]}


TASKS = {
    "open": task_open,
    "open_members": task_open_members,
    "seal": task_seal,
    "faults": task_faults,
    "derive": task_derive,
    "places": task_places,
    "hash": task_hash,
    "index": task_index,
    "rings": task_rings,
}

if __name__ == "__main__":
    json.dump({name: TASKS[name](task) for name, task in json.load(sys.stdin).items()}, sys.stdout)
