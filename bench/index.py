"""Ways to search vectors: NumPy, FAISS and USearch.

python bench/index.py [TRACKS]      default 100000; takes some minutes

One thread. Vectors of 200 numbers in 500 clusters, of unit length, whose directions matter less and less, as those of
embeddings do. Each contender runs in a process of its own. Both graphs have 32 links a vector at their lowest level and
are built equally wide; each is then searched as widely as it takes to find 98 % of the true ten nearest. The ratios
compare one query at a time with NumPy's exact search; of three passes the fastest counts.
"""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import psutil

SIZE, QUERIES, MORE, RECALL, LINKS, BUILD = 200, 500, 1000, 0.98, 16, 64


def vectors(count: int, *, seed: int) -> np.ndarray:
    "Unit vectors; the clusters are the same for every seed."
    fall = 1 / np.sqrt(np.arange(1, SIZE + 1))
    centres = np.random.default_rng(0).normal(0, fall, (500, SIZE))
    rng = np.random.default_rng(seed)
    made = centres[rng.integers(0, 500, count)] + rng.normal(0, 0.7 * fall, (count, SIZE))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


class Numpy:
    "Every similarity, and the best of them."

    widths: tuple[int, ...] = (0,)

    def build(self, data: np.ndarray) -> None:
        self.index: Any = data

    def search(self, queries: np.ndarray, width: int) -> np.ndarray:  # rows, shape (queries, 10)
        return np.argpartition(queries @ self.index.T, -10, axis=1)[:, -10:]

    def add(self, more: np.ndarray) -> None:
        self.index = np.concatenate([self.index, more])

    def save(self, path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, self.index)

    def reopen(self, path: Path) -> None:
        self.index = np.load(path, mmap_mode="r")


class Faiss(Numpy):
    "An index of FAISS."

    def __init__(self, factory: str, knob: str, widths: tuple[int, ...]) -> None:
        self.factory, self.knob, self.widths = factory, knob, widths

    def build(self, data: np.ndarray) -> None:
        import faiss

        faiss.omp_set_num_threads(1)
        self.faiss, self.index = faiss, faiss.index_factory(SIZE, self.factory, faiss.METRIC_INNER_PRODUCT)
        if "HNSW" in self.factory:
            self.index.hnsw.efConstruction = BUILD
        self.index.train(data)
        self.index.add(data)

    def search(self, queries: np.ndarray, width: int) -> np.ndarray:
        if self.knob:
            self.faiss.ParameterSpace().set_index_parameter(self.index, self.knob, width)
        return self.index.search(queries, 10)[1]

    def add(self, more: np.ndarray) -> None:
        self.index.add(more)

    def save(self, path: Path) -> None:
        self.faiss.write_index(self.index, str(path))

    def reopen(self, path: Path) -> None:
        self.index = self.faiss.read_index(str(path), self.faiss.IO_FLAG_MMAP_IFC)


class Usearch(Numpy):
    "An index of USearch."

    def __init__(self, dtype: str, widths: tuple[int, ...]) -> None:
        self.dtype, self.widths = dtype, widths

    def build(self, data: np.ndarray) -> None:
        from usearch.index import Index

        self.index = Index(ndim=SIZE, metric="ip", dtype=self.dtype, connectivity=LINKS, expansion_add=BUILD)
        self.index.add(np.arange(len(data)), data, threads=1)

    def search(self, queries: np.ndarray, width: int) -> np.ndarray:
        self.index.expansion_search = width
        return self.index.search(queries, 10, threads=1).keys.reshape(len(queries), 10).astype(np.int64)

    def add(self, more: np.ndarray) -> None:
        self.index.add(np.arange(len(more)) + len(self.index), more, threads=1)

    def save(self, path: Path) -> None:
        self.index.save(str(path))

    def reopen(self, path: Path) -> None:
        self.index = type(self.index).restore(str(path), view=True)


WIDTHS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024)
CONTENDERS = {
    "NumPy, exact": Numpy(),
    "FAISS, flat": Faiss("Flat", "", (0,)),
    "FAISS, IVF": Faiss("IVF1024,Flat", "nprobe", (1, 2, 4, 8, 16, 32, 64, 128, 256)),
    "FAISS, HNSW": Faiss(f"HNSW{LINKS},Flat", "efSearch", WIDTHS),
    "USearch, float32": Usearch("f32", WIDTHS),
    "USearch, float16": Usearch("f16", WIDTHS),
}


def seconds(work: Callable[[], Any]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def measure(name: str, count: int, truth: np.ndarray) -> dict[str, Any]:
    "All figures of one contender."
    one, data, queries = CONTENDERS[name], vectors(count, seed=1), vectors(QUERIES, seed=2)
    before = psutil.Process().memory_info().rss
    said: dict[str, Any] = {"build": seconds(lambda: one.build(data))}
    said["held"] = (psutil.Process().memory_info().rss - before) / 1e6
    for width in one.widths:
        found = one.search(queries, width)
        recall = float(np.mean([len({*a} & {*b}) / 10 for a, b in zip(found, truth, strict=True)]))
        said |= {"width": width, "recall": recall}
        if recall >= RECALL:
            break
    singly, together = lambda: [one.search(query[None], width) for query in queries], lambda: one.search(queries, width)
    said["single"], said["batch"] = (min(seconds(work) for _ in range(3)) / QUERIES for work in (singly, together))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "index")
        one.save(path)
        said["size"] = path.stat().st_size / 1e6
        more = vectors(MORE, seed=3)
        said["add"] = seconds(lambda: one.add(more)) / MORE
        said["opened"] = seconds(lambda: (one.reopen(path), one.search(queries[:1], width)))
    return said


def line(name: str, said: dict[str, Any], floor: float) -> str:
    "The figures in words."
    parts = [
        f"{name:17} width {said['width']:4} finds {said['recall']:.3f}   {floor / said['single']:6.1f} x exact",
        f"{1000 * said['single']:7.3f} ms a query, {1000 * said['batch']:.3f} in a batch",
        f"built in {said['build']:5.1f} s, +{said['held']:.0f} MB, {1000 * said['add']:.2f} ms to add one",
        f"file {said['size']:.0f} MB, opened and asked in {1000 * said['opened']:.0f} ms",
    ]
    return "   ".join(parts)


def main(count: int) -> None:
    print(f"{count} vectors of {SIZE} numbers, {QUERIES} queries, one thread")
    exact = Numpy()
    exact.build(vectors(count, seed=1))
    floor = 0.0
    with tempfile.TemporaryDirectory() as folder:
        truth = Path(folder, "truth.npy")
        np.save(truth, exact.search(vectors(QUERIES, seed=2), 0))
        for name in CONTENDERS:
            command = [sys.executable, __file__, str(count), name, str(truth)]
            said = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
            floor = floor or said["single"]
            print(line(name, said, floor), flush=True)


if __name__ == "__main__":
    if sys.argv[2:]:
        print(json.dumps(measure(sys.argv[2], int(sys.argv[1]), np.load(sys.argv[3]))))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 100_000)
