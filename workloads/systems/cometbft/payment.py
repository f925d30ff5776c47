"""A payment of the Cosmos SDK, encoded and signed as Injective's chain wants it, without its program.

A message of Protocol Buffers is a row of fields (protobuf.dev/programming-guides/encoding). What is
signed is `SignDoc` of the SDK's SIGN_MODE_DIRECT, by the Keccak-256 of it, as in Ethereum.
"""

from Cryptodome.Hash import keccak
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

# The order of secp256k1 (SEC 2).
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
CHAIN, COIN = "schism-1", "inj"
GAS, FEE = 200_000, 32_000_000_000_000


def varint(number):
    made = b""
    while number > 127:
        made += bytes([number & 127 | 128])
        number >>= 7
    return made + bytes([number])


def field(number, value):
    """A field; one of zero is left out, as Protocol Buffers want it."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value) if value else b""
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def fields(message):
    """What a message has by its fields' numbers; of fields that repeat the last."""
    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            value |= (byte & 127) << shift
            at, shift = at + 1, shift + 7
            if byte < 128:
                return value

    found, at = {}, 0
    while at < len(message):
        tag = number()
        value = number()
        if tag & 7 == 2:
            value, at = message[at:at + value], at + value
        elif tag & 7 != 0:
            raise ValueError(f"a field of type {tag & 7}")
        found[tag >> 3] = value
    return found


def any_of(url, message):
    return field(1, url) + field(2, message)


class Payer:
    def __init__(self, address, secret, held):
        """`held` is what nobody else has while this lives."""
        self.address, self.held = address, held
        self.secret = ec.derive_private_key(int(secret, 16), ec.SECP256K1())
        public = self.secret.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        self.key = any_of("/injective.crypto.v1beta1.ethsecp256k1.PubKey", field(1, public))

    def pays(self, memo, account, sequence):
        """The transaction by which it pays one of the smallest coins to itself."""
        def coin(amount):
            return field(1, COIN) + field(2, str(amount))

        send = field(1, self.address) + field(2, self.address) + field(3, coin(1))
        body = field(1, any_of("/cosmos.bank.v1beta1.MsgSend", send)) + field(2, memo)
        mode = field(1, field(1, 1))
        signer = field(1, self.key) + field(2, mode) + field(3, sequence)
        terms = field(1, signer) + field(2, field(1, coin(FEE)) + field(2, GAS))
        what = field(1, body) + field(2, terms)
        return what + field(3, self.signed(what + field(3, CHAIN) + field(4, account)))

    def signed(self, message):
        digest = keccak.new(digest_bits=256, data=message).digest()
        r, s = decode_dss_signature(self.secret.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256()))))
        # Of the two that are right only the lesser is taken.
        return r.to_bytes(32, "big") + min(s, ORDER - s).to_bytes(32, "big")
