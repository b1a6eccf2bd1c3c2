"""Arrays and JSON in one safetensors file under a checksum; reading one runs no code."""

import json
import os
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxnn.errors import ModelFormatError

Arrays = dict[str, NDArray[Any]]

_KEY = "cvxnn"
"""The entry of the safetensors metadata that holds the JSON, which begins with the checksum."""
_MARK = b'\\"sha256\\":\\"'
"""How the checksum is announced: JSON inside a JSON string, so with its quotes escaped."""
_BLANK = b"0" * 64
"""What stands for the checksum while it is computed."""


def write(path: str | os.PathLike[str], header: dict[str, Any], arrays: Arrays) -> None:
    """Write a file that is either whole or not there: under another name first, then renamed."""
    from safetensors.numpy import save

    text = json.dumps({"sha256": _BLANK.decode(), **header}, separators=(",", ":"))
    blank = save({name: np.array(x, order="C") for name, x in arrays.items()}, {_KEY: text})
    begin = _place_of_checksum(blank)
    content = blank[:begin] + _checksum(blank, begin) + blank[begin + len(_BLANK) :]
    target = Path(path)
    draft = target.with_name(f".{target.name}.{token_hex(4)}")
    try:
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Arrays]:
    """Return the JSON and the arrays of a file; ModelFormatError if a bit of it has changed."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    content = Path(path).read_bytes()
    begin = _place_of_checksum(content)
    if begin < 0:
        raise ModelFormatError(f"{path} is not a model file of cvxnn; pass a file that it saved")
    if content[begin : begin + len(_BLANK)] != _checksum(content, begin):
        raise ModelFormatError(
            f"{path} was truncated or altered since it was saved, as its checksum shows; get it "
            "again from where it was saved"
        )
    try:
        length = int.from_bytes(content[:8], "little")
        header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][_KEY])
        header.pop("sha256")
        return header, {name: np.array(x) for name, x in load(content).items()}
    except (
        SafetensorError,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        RecursionError,
    ) as error:
        raise ModelFormatError(
            f"{path} is not a model file of cvxnn ({error}); pass a file that it saved"
        ) from error


def _place_of_checksum(content: bytes) -> int:
    """Return where the checksum begins in the header, or -1."""
    mark = content.find(_MARK, 8, 8 + int.from_bytes(content[:8], "little"))
    return mark + len(_MARK) if mark >= 0 else -1


def _checksum(content: bytes, begin: int) -> bytes:
    """Return the SHA-256 of everything but itself, in hexadecimal digits."""
    digest = sha256(content[:begin])
    digest.update(_BLANK)
    digest.update(memoryview(content)[begin + len(_BLANK) :])
    return digest.hexdigest().encode()
