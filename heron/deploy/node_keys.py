"""Key pairs that authenticate SuperNodes, equal to those of `ssh-keygen -t ecdsa -b 384`. Needs `cryptography`."""

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


def make_node_key() -> tuple[bytes, bytes]:
    """Make an ECDSA P-384 key pair.

    Returns:
        Private key for `flower-supernode` (OpenSSH, not encrypted) and public key for `flwr supernode register`.
    """
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return private, key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b"\n"
