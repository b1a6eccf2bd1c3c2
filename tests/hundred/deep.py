"""Deep parallel networks: programs in CVXPY from masks by hand, and descents on the networks."""

from itertools import pairwise
from typing import Any

import cvxpy as cp
import numpy as np
from tests.hundred.descent import Parameters, constant, relu, times
from tests.hundred.networks import Data, System

from cvxnn import DeepGatedReLU, DeepLinear, DeepReLU

Floats = np.ndarray


def counts(data: Data) -> list[int]:
    """Units of every hidden layer of a sub-network."""
    fan_in = data.architecture.fan_in
    return [int(np.prod(fan_in[layer:])) for layer in range(len(fan_in) + 1)]


def layers_of(first: Any, edges: list[Any], data: Data) -> list[Any]:
    """What enters the units of every layer, (..., m, units), from the first and (..., m, units)."""
    found = [first]
    for weights, fan in zip(edges, data.architecture.fan_in, strict=True):
        sent = relu(found[-1]) * weights
        found.append(sent.reshape((*sent.shape[:-1], sent.shape[-1] // fan, fan)).sum(-1))
    return found


def split(edges: Any, data: Data) -> list[Any]:
    """Weights (..., m, e) between the layers, one array a layer."""
    ends = np.cumsum([0, *counts(data)[:-1]]).tolist()
    return [edges[..., a:b] for a, b in pairwise(ends)]


def along(values: list[Any], data: Data) -> Any:
    """The product along paths of values (..., units), layer after layer."""
    paths, total = counts(data)[0], values[0]
    for each in values[1:]:
        wide = [each[..., k : k + 1] for k in range(each.shape[-1])]
        total = total * join([one for one in wide for _ in range(paths // each.shape[-1])], total)
    return total


def join(parts: list[Any], beside: Any) -> Any:
    if isinstance(beside, np.ndarray):
        return np.concatenate(parts, axis=-1)
    import torch

    return torch.cat(parts, dim=-1)


def first_of(data: Data, u: Any) -> Any:
    """Z u of every path, (runs, n, m, paths), for u (runs, m, paths, d)."""
    runs, m, paths, d = u.shape
    Z = data.features
    return times(Z, u.reshape((runs, m * paths, d))).reshape((runs, len(Z), m, paths))


def relu_hidden(data: Data, p: Parameters) -> Any:
    edges = [each[:, None] for each in split(p["e"], data)]
    return relu(layers_of(first_of(data, p["w"]), edges, data)[-1][..., 0])


def gated_hidden(data: Data, p: Parameters) -> Any:
    rules, width = p["rules"], data.features.shape[1]
    paths = counts(data)
    edges = [
        rules[:, :, :: paths[0] // count, width + layer][:, None]
        for layer, count in enumerate(paths[:-1])
    ]
    open_here = [1.0 * (x >= 0) for x in layers_of(first_of(data, rules[..., :width]), edges, data)]
    bits = constant(along(open_here, data), p["w"])
    return (bits * first_of(data, p["w"]) * along(split(p["e"], data), data)[:, None]).sum(-1)


def linear_hidden(data: Data, p: Parameters) -> Any:
    return times(data.features, p["w"]) * p["e"].prod(-1)[:, None]


def root(x: Any) -> Any:
    return (x + 1e-300) ** 0.5


def decay(data: Data, p: Parameters) -> Any:
    """The sum over sub-networks of path norms, or products of layers' norms, times |a|, (runs,)."""
    out = root((p["a"] ** 2).sum(-1))
    if isinstance(data.architecture, DeepLinear):
        return (root((p["w"] ** 2).sum(-1)) * abs(p["e"].prod(-1)) * out).sum(-1)
    edges = split(p["e"], data)
    if data.architecture.decay == "path":
        squares = (p["w"] ** 2).sum(-1) * along(edges, data) ** 2
        return (root(squares.sum(-1)) * out).sum(-1)
    size = root((p["w"] ** 2).sum(-1).sum(-1))
    for each in edges:
        size = size * root((each**2).sum(-1))
    return (size * out).sum(-1)


def cones(data: Data, mask: Floats) -> tuple[list[Floats], list[Floats]]:
    """Of a signed mask (n, units + edges): D_p Z of every path, and rows of all paths, by unit."""
    Z, levels = data.features, counts(data)
    ends = np.cumsum([0, *levels]).tolist()
    bits = [mask[:, a:b].astype(float) for a, b in pairwise(ends)]
    signs = split(2.0 * mask[0, ends[-1] :] - 1, data)
    paths, rows = levels[0], []
    for layer, bit in enumerate(bits):
        for unit in range(bit.shape[1]):
            step = paths // bit.shape[1]
            above = np.prod([each[unit * step * len(each) // paths] for each in signs[layer:]])
            row = [np.zeros_like(Z)] * paths
            for path in range(unit * step, (unit + 1) * step):
                below = np.prod(
                    [each[:, path * each.shape[1] // paths] for each in bits[:layer]], axis=0
                )
                row[path] = (above * (2 * bit[:, unit] - 1) * below)[:, None] * Z
            rows.append(np.concatenate(row, axis=1))
    every = [
        np.prod([each[:, path * each.shape[1] // paths] for each in bits], axis=0)[:, None] * Z
        for path in range(paths)
    ]
    return every, rows


def sized(u: Any, data: Data) -> Any:
    """The norm of one block (paths d, 1) of one output."""
    d = data.features.shape[1]
    if data.architecture.decay == "path":
        return cp.norm(u[:, 0], 2)
    return sum(cp.norm(u[k : k + d, 0], 2) for k in range(0, u.shape[0], d))


def relu_program(data: Data, masks: Floats) -> Any:
    fit, size, rules = 0, 0, []
    for mask in masks:
        every, rows = cones(data, mask)
        for sign in (1.0, -1.0):
            u = cp.Variable((np.concatenate(every, axis=1).shape[1], 1))
            fit = fit + sign * (np.concatenate(every, axis=1) @ u)
            size = size + sized(u, data)
            faces = np.concatenate(rows)
            rules.append(np.unique(faces[faces.any(axis=1)], axis=0) @ u >= 0)
    return fit, size, rules


def gated_program(data: Data, masks: Floats) -> Any:
    Z, c, fit, size = data.features, data.Y.shape[1], 0, 0
    for mask in masks:
        parts = [cp.Variable((Z.shape[1], c)) for _ in range(mask.shape[1])]
        fit = fit + sum((bit[:, None] * Z) @ u for bit, u in zip(mask.T, parts, strict=True))
        groups = parts if data.architecture.decay == "layers" else [cp.vstack(parts)]
        size = size + sum(cp.norm(u[:, 0], 2) if c == 1 else cp.normNuc(u) for u in groups)
    return fit, size, []


def linear_program(data: Data, masks: Floats) -> Any:
    Z = cp.Variable((data.features.shape[1], data.Y.shape[1]))
    return data.features @ Z, cp.normNuc(Z), []


def tree_shapes(data: Data, count: int) -> dict[str, tuple[int, ...]]:
    levels = counts(data)
    return {"w": (count, levels[0], data.features.shape[1]), "e": (count, sum(levels[:-1]))}


TREE = {"w": "weights_in", "e": "weights_hidden"}


def fan(rng: np.random.Generator, *choices: tuple[int, ...]) -> tuple[int, ...]:
    return choices[int(rng.integers(len(choices)))]


def word(rng: np.random.Generator) -> str:
    return str(rng.choice(["path", "layers"]))


SYSTEMS = {
    "D deep of three layers": System(
        draw=lambda rng: DeepReLU(bias=False, fan_in=(2,), decay=word(rng)),
        program=relu_program,
        hidden=relu_hidden,
        shapes=lambda data: tree_shapes(data, 6),
        names=TREE,
        decay=decay,
        outputs=1,
        samples=5,
    ),
    "E deep of four layers": System(
        draw=lambda rng: DeepReLU(bias=False, fan_in=fan(rng, (2, 1), (1, 2)), decay="path"),
        program=relu_program,
        hidden=relu_hidden,
        shapes=lambda data: tree_shapes(data, 6),
        names=TREE,
        decay=decay,
        outputs=1,
        samples=5,
    ),
    "D deep_gated of three layers": System(
        draw=lambda rng: DeepGatedReLU(bool(rng.integers(2)), (2,), word(rng)),
        program=gated_program,
        hidden=gated_hidden,
        shapes=lambda data: tree_shapes(data, 6),
        names=TREE | {"rules": "rules"},
        decay=decay,
        gates="sample",
    ),
    "E deep_gated of four layers": System(
        draw=lambda rng: DeepGatedReLU(bool(rng.integers(2)), (2, 2), word(rng)),
        program=gated_program,
        hidden=gated_hidden,
        shapes=lambda data: tree_shapes(data, 6),
        names=TREE | {"rules": "rules"},
        decay=decay,
        gates="sample",
    ),
    "E deep_linear": System(
        draw=lambda rng: DeepLinear(bool(rng.integers(2)), int(rng.integers(3, 6))),
        program=linear_program,
        hidden=linear_hidden,
        shapes=lambda data: {
            "w": (4, data.features.shape[1]),
            "e": (4, data.architecture.depth - 2),
        },
        names=TREE,
        decay=decay,
        gates="auto",
    ),
}
