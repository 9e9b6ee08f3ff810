"""Feature matrices with known geometry, and slow, obvious forms of the diagnostics."""

import numpy as np


def random_rows(n: int = 60, dim: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, dim))


def aligned_pair(n: int = 80, dim: int = 8, noise: float = 0.3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two modalities that see the same signal with noise of their own."""
    generator = np.random.default_rng(seed)
    signal = generator.standard_normal((n, dim))
    return tuple(signal + noise * generator.standard_normal((n, dim)) for _ in range(2))  # type: ignore[return-value]


def rotation(dim: int, seed: int = 0) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, dim)))[0]


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def dense_graph(columns: np.ndarray) -> np.ndarray:
    """bool [item, item]: a row per item, true at its neighbours."""
    graph = np.zeros((len(columns), len(columns)), dtype=bool)
    for item, others in enumerate(columns):
        graph[item, others] = True
    return graph
