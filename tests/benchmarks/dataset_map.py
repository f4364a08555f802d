"""`datasets.map` twice over the rows of the chain, in one process: no journal, no steps, no other process."""

import json
import sys
import tempfile
import time

import datasets


def main() -> None:
    """`dataset_map.py ROWS`: prints one JSON line."""
    rows = int(sys.argv[1])
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory(prefix="distilmq-bench-") as cache:
        start = time.perf_counter()
        dataset = datasets.Dataset.from_generator(_rows, gen_kwargs={"rows": rows}, cache_dir=cache)
        for _ in range(2):
            dataset = dataset.map(_same, batched=True, batch_size=50)
        seconds = time.perf_counter() - start
    print("RESULT " + json.dumps({"seconds": seconds, "datasets": datasets.__version__}), flush=True)


def _rows(rows: int):
    for number in range(rows):
        yield {"id": number, "text": (f"{number:08d} " * 23)[:200]}


def _same(batch: dict[str, list[object]]) -> dict[str, list[object]]:
    return batch


if __name__ == "__main__":
    main()
