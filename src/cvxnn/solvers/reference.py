"""The reference: the whole program as one cone program, solved by Clarabel's interior point."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from cvxnn.arrays import Array, double, like, namespace, to_numpy
from cvxnn.errors import CvxnnError
from cvxnn.functions import Nonnegative
from cvxnn.program import Iterate, Program
from cvxnn.solvers.conic import CENTRED, LOSSES, PENALTIES, Floats, Matrix, Piece, scaled
from cvxnn.solvers.fista import origin


class State(NamedTuple):
    """The point, and whether it is Clarabel's answer or only the start."""

    iterate: Iterate
    solved: bool


@dataclass(frozen=True)
class Reference:
    tol: float = 1e-10
    max_entries: int = 20_000_000
    passes: int = 3
    name = "reference"
    period = 1

    def why_not(self, program: Program) -> str | None:
        loss, penalty = type(program.loss.loss), type(program.penalty)
        if loss not in LOSSES:
            return f"no {loss.__name__}"
        if penalty not in PENALTIES:
            return f"no {penalty.__name__}"
        if program.constraint is not None and type(program.constraint.cone) is not Nonnegative:
            return "cone"
        entries = _entries(program)
        if entries > self.max_entries:
            return f"{entries} entries"
        return None

    def init(self, program: Program, start: Iterate | None) -> State:
        if start is not None:
            return State(start, False)
        blocks, free = origin(program)
        xp = namespace(free)
        return State(Iterate(blocks, free, xp.zeros_like(program.loss.target)), False)

    def step(self, program: Program, state: State) -> State:
        return State(_solve(program, self), True)

    def read(self, program: Program, state: State) -> Iterate:
        return state.iterate

    def done(self, state: State) -> bool:
        return state.solved


class Units(NamedTuple):
    prediction: float
    blocks: float
    free: float
    rows: Floats


def _solve(program: Program, solver: Reference) -> Iterate:
    target = to_numpy(double(program.loss.target))
    lift, free = dense_lift(program), to_numpy(double(program.free))
    c = target.shape[1]
    loss_type = type(program.loss.loss)
    centred = loss_type in CENTRED
    unit = _power(np.abs(target).max(initial=0.0)) if centred else 1.0
    blocks_unit = unit / _power(np.abs(lift.data).max(initial=0.0))
    free_unit = unit / _power(np.abs(free).max(initial=0.0))
    weights = np.repeat(to_numpy(double(program.loss.weights)).ravel(), c)
    loss = scaled(LOSSES[loss_type](program.loss.loss, target, weights), unit)
    penalty = scaled(PENALTIES[type(program.penalty)](program.penalty, program.lift.in_shape), blocks_unit)
    rows, sizes = cone_rows(program)
    eye = sparse.eye_array(target.size)
    A = sparse.block_array([
        [lift * (blocks_unit / unit), sparse.kron(free, np.eye(c)) * (free_unit / unit), -eye, None, None],
        [-rows, None, None, None, None],
        [penalty.on, None, None, penalty.own, None],
        [None, None, loss.on, None, loss.own]], format="csc")
    fits = target.ravel() / unit if centred else np.zeros(target.size)
    right = np.concatenate([fits, np.zeros(len(sizes)), penalty.right, loss.right])
    cones = [("zero", target.size), ("nonnegative", len(sizes)), *penalty.cones, *loss.cones]
    nb = free.shape[1] * c
    square = np.concatenate([penalty.square, np.zeros(nb), loss.square, penalty.own_square, loss.own_square])
    cost = np.concatenate([np.zeros(len(penalty.square) + nb + len(loss.square)), penalty.own_cost, loss.own_cost])
    scale = _power(program.loss.value(0 * program.loss.target)) 
    for _ in range(solver.passes):
        sol = _clarabel(square / scale, cost / scale, A, right, cones, solver)
        if DEBUG: print('   pass', sol.status, sol.iterations, 'scale %.1e'%scale, sol.obj_val, sol.obj_val-sol.obj_val_dual, sol.r_prim, sol.r_dual, round(sol.solve_time,4))
        x, z, scale0 = np.array(sol.x), np.array(sol.z), scale
        p = abs(sol.obj_val)
        if not 0 < p < 0.25: break
        scale *= _power(p)
    k = program.lift.in_shape
    size = math.prod(k)
    m = None
    if program.constraint is not None:
        m = np.zeros(len(sizes))
        m = z[target.size:target.size + len(sizes)] * scale0 / blocks_unit * sizes
        m = like(m.reshape(program.constraint.map.out_shape), double(program.free))
    u = x[:size].reshape(k) * blocks_unit; b = x[size:size + nb].reshape(-1, c) * free_unit
    v = -z[:target.size].reshape(target.shape) * scale0 / unit
    M = sparse.hstack([lift, sparse.kron(free, np.eye(c))]).toarray()
    v = snap(program, program.predict(u, b), v, unit) if MODE['snap'] else v
    if type(program.loss.loss).__name__ == 'CrossEntropy': v = v - v.mean(axis=1, keepdims=True)
    for _ in range(MODE['polish']):
        v = polish(program, M, v, m, 1)
        v = snap(program, program.predict(u, b), v, unit) if MODE['snap'] else v
    return Iterate(u, b, v, m)
    put = lambda a: like(a, double(program.free))
    return Iterate(put(x[:size].reshape(k) * blocks_unit), put(x[size:size + nb].reshape(-1, c) * free_unit),
        put(-z[:target.size].reshape(target.shape) * scale0 / unit), m)

DEBUG = False
MODE = dict(snap=0, polish=0)
def snap(program, f, v, unit):
    step = MODE.get('step', 100) * len(f) 
    if type(program.loss.loss).__name__ in ('Quantile',): step *= unit
    x = f - step * v
    point = program.loss.prox(x, step)
    if math.isfinite(program.loss.smoothness): return -program.loss.gradient(point)
    return (point - x) / step

def polish(program, M, v, m, times):
    for _ in range(times):
        g = program.lift.adjoint(v)
        if m is not None: g = g + program.constraint.map.adjoint(m)
        e = program.penalty.prox(g, 1.0)
        e = np.concatenate([e.ravel(), (program.free.T @ v).ravel()])
        d = np.linalg.lstsq(M.T, e, rcond=1e-10)[0].reshape(v.shape)
        if DEBUG: print('excess', np.abs(e).max(), 'shift', np.abs(d).max(), 'gauge', program.penalty.polar(g).max()-1, 'conj', program.loss.conjugate(-v), type(program.loss.loss))
        v = v - d
    return v

def _clarabel(square, cost, A, right, cones, solver):
    import clarabel
    kinds = {"zero": clarabel.ZeroConeT, "nonnegative": clarabel.NonnegativeConeT, "second order": clarabel.SecondOrderConeT,
        "psd": clarabel.PSDTriangleConeT, "exponential": lambda size: clarabel.ExponentialConeT()}
    s = clarabel.DefaultSettings()
    s.verbose = False
    s.presolve_enable = False
    s.chordal_decomposition_enable = False
    s.tol_gap_abs = s.tol_gap_rel = s.tol_feas = solver.tol
    for k, v in SET.items(): setattr(s, k, v)
    P = sparse.csc_matrix(sparse.diags_array(square))
    return clarabel.DefaultSolver(P, cost, sparse.csc_matrix(A), right, [kinds[k](n) for k, n in cones if n], s).solve()
SET = {}

def _power(x: float) -> float:
    return 2.0 ** round(math.log2(x)) if x > 0 else 1.0

def _entries(program: Program) -> int:
    n, c = program.lift.out_shape
    p, d, _ = program.lift.in_shape
    return n*p*d*c*(1 if program.constraint is None else 2)

def dense_lift(program):
    p, d, c = program.lift.in_shape
    f = double(program.free); xp=namespace(f)
    cols = []
    for b in range(p):
        one = program.lift.restrict(like(np.array([b]), xp.astype(f[:0,:0], xp.int64)))
        for j in range(d):
            e = np.zeros((1, d, c)); e[0, j, 0] = 1
            cols.append(to_numpy(one.apply(like(e, f)))[:, 0])
    M = np.stack(cols, axis=1)
    return sparse.csc_array(sparse.kron(M, np.eye(c)))

def cone_rows(program):
    p, d, c = program.lift.in_shape
    if program.constraint is None:
        return sparse.csc_array((0, p*d*c)), np.zeros(0)
    mats = [to_numpy(double(program.constraint.map.rows(b))) for b in range(p)]
    M = sparse.csc_array(sparse.kron(sparse.block_diag(mats), np.eye(c)))
    top = np.abs(M).max(axis=1).toarray().ravel()
    s = np.array([1/_power(t) for t in top])
    return sparse.diags_array(s) @ M, s
