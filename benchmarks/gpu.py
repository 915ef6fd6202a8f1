"""What a GPU makes of fine-tuning: tokens a second, share of its peak, a large day's time, and is it right?

    python benchmarks/gpu.py [--base NAME] [--impressions 100000] [--peak-tflops T] [--device cuda] [--json]

encoding  all titles of the catalogue through the encoder, in bf16.
training  steps of the phase that trains the network (the default recipe: LoRA in the top layers), in bf16;
          frozen layers were run before. Counted are the tokens of a step's distinct items.
a day     a portal of MIND's sizes: 37 candidates an impression, histories of 32, titles of twelve words.
          From rows to challenger: counts by hour, the champion's scores of the whole day, 4,096 shots,
          fine-tuning, and both rankers on the holdout. Nothing is cached before.
correct   scores and one training step's gradients, on the device in fp32 and in bf16, against float32 on
          the processor. Of the scores the largest difference in log-odds, of the gradient ‖g − g'‖ / ‖g'‖.

Tokens are real ones, not padding. A token's forward pass through one layer of width W, feed-forward width
F and a text of T tokens takes

    8 W² + 4 W F + 4 T W    FLOPs

(four projections, two feed-forward matrices, scores and values of the attention). A training step counts
one such pass and one back through what is trained, each at this cost: frozen weights need no gradient of
their own. What GradCache computes twice is counted once. The peak is that of dense bf16 as
the vendor states it; `--peak-tflops` overrules the table.

Without CUDA it says so and exits with 2. `--device cpu` runs all of it on the processor, to be tested.
"""

import argparse
import json
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

from tasks.environment import prepare_environment

sys.path.insert(0, str(Path(__file__).parent))
from gpu_day import make_day

PEAK_TFLOPS = {
    "H200": 989.4,
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.4,
    "A100": 312.0,
    "RTX 4090": 165.2,
    "L4": 121.0,
}
"""Dense bf16 with float32 sums, by a part of the device's name; the first that fits."""
TOLERANCES = {
    "fp32": {"scores": 0.01, "gradient": 0.01},
    "bf16": {"scores": 0.25, "gradient": 0.15},
}
"""Vectors are cached at half precision, whose last digit moves a score by 0.005; bf16 has 8 bits."""
CHECKED = 64
"""Impressions whose scores and gradient are compared."""

SHOTS = 4096


def main() -> int:
    """Measure, print one table or one JSON document; 2 without the device, 1 if something is wrong."""
    arguments = _arguments()
    prepare_environment()
    import torch

    if arguments.device.startswith("cuda") and not torch.cuda.is_available():
        print("no CUDA device here: run this on a GPU, or with --device cpu", file=sys.stderr)
        return 2
    found = measure(arguments)
    print(json.dumps(found, indent=2) if arguments.json else table(found))
    return 0 if all(check["within"] for check in found["correct"]) else 1


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All that the table says."""
    day = make_day(arguments.impressions, arguments.items)
    device = arguments.device
    peak = (arguments.peak_tflops or _peak(_name(device)) or 0.0) * 1e12
    found: dict[str, Any] = {"device": _name(device), "peak_tflops": peak / 1e12 or None}
    with TemporaryDirectory() as folder:
        print("correctness", file=sys.stderr)
        found["correct"] = correctness(arguments.base, device, day, Path(folder))
        print("throughput", file=sys.stderr)
        found["encoding"] = encoding(arguments.base, device, day, peak)
        found["training"] = training(
            arguments.base, device, day, peak, Path(folder), arguments.steps
        )
        print("a day", file=sys.stderr)
        found["day"] = whole_day(arguments.base, device, day, Path(folder) / "day")
    return found


def encoding(base: str, device: str, day: Any, peak: float) -> dict[str, Any]:
    """Tokens a second of the encoder alone."""
    from tasks.recommender.hybrid import zero_shot

    encoder = zero_shot(base, device=device, precision="bf16").encoder
    texts = day.catalogue["title"].to_pylist()
    tokens = sum(len(ids) for ids in encoder.tokenize(texts))
    encoder.encode(texts[:CHECKED])
    seconds = _seconds(device, lambda: encoder.encode(texts))
    flops = _forward_flops(encoder.network.config, tokens, len(texts))
    return _rate(tokens, seconds, flops * encoder.network.config.num_hidden_layers, peak)


def training(
    base: str, device: str, day: Any, peak: float, folder: Path, steps: int
) -> dict[str, Any]:
    """Tokens a second of the steps that train the network."""
    from tasks.recommender.adapter_phase import backward_step
    from tasks.recommender.adapter_step import AdapterStep
    from tasks.recommender.draw import draw_slates
    from tasks.recommender.hybrid import zero_shot
    from tasks.recommender.recipe import Lora, Recipe

    recipe = Recipe(tuning=Lora())
    ranker = zero_shot(base, device=device, precision="bf16")
    run, texts = _adapter_run(ranker, day, recipe, recipe.adapter_slates, folder)
    lengths = np.array([len(ids) for ids in run.encoder.tokenize(texts)])
    size = recipe.adapter_slates_per_step
    slates = run.shots.slates
    parts = np.array_split(np.arange(len(slates.history)), -(-len(slates.history) // size))

    def items(part: Any) -> Any:
        most = len(texts) + len(slates.slate)
        drawn = {"max_items": most, "max_history": slates.history.shape[1], "negatives": most}
        return draw_slates(slates, part, **drawn, rng=np.random.default_rng(0)).items

    def train() -> None:
        for number in range(steps):
            backward_step(AdapterStep(run, parts[number % len(parts)]), recipe)

    backward_step(AdapterStep(run, parts[0]), recipe)
    seconds = _seconds(device, train)
    embedded = [items(parts[number % len(parts)]) for number in range(steps)]
    tokens = int(sum(lengths[part].sum() for part in embedded))
    config, lowest = run.encoder.network.config, run.encoder.lowest
    flops = _forward_flops(config, tokens, sum(len(part) for part in embedded))
    trained = config.num_hidden_layers - (lowest or 0)
    return _rate(tokens, seconds, 2 * trained * flops, peak)


def whole_day(base: str, device: str, day: Any, folder: Path) -> dict[str, Any]:
    """Seconds of each stage from rows to challenger."""
    from tasks.recommender.context import Context
    from tasks.recommender.finetune import finetune
    from tasks.recommender.hybrid import zero_shot
    from tasks.recommender.recipe import Lora, Recipe
    from tasks.recommender.score import score
    from tasks.recommender.shots import select_shots, split_by_time
    from tasks.recommender.statistics import count_item_hours

    stages: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        began = perf_counter()
        result = work()
        stages[name] = perf_counter() - began
        return result

    start = zero_shot(base, device=device, precision="bf16")
    hours = timed("counts by hour", lambda: count_item_hours(day.rows))
    context = Context(day.catalogue, hours, None, folder)
    timed("champion's scores of the day", lambda: score(start, day.rows, context))
    parts = timed(
        "split", lambda: split_by_time(day.rows, validation_share=0.15, holdout_share=0.3)
    )
    empty = parts.shots.slice(0, 0)
    shots = timed(
        "choice of shots",
        lambda: select_shots(parts.shots, empty, shots=SHOTS, replay_share=0.0, seed=0),
    )
    tuned = timed(
        "fine-tuning",
        lambda: finetune(start, shots, parts.validation, context, Recipe(tuning=Lora())),
    )
    for name, ranker in (("champion", start), ("challenger", tuned.ranker)):
        timed(f"{name} on the holdout", lambda ranker=ranker: score(ranker, parts.holdout, context))
    return {"rows": len(day.rows), "kept": tuned.kept, "stages": stages}


def correctness(base: str, device: str, day: Any, folder: Path) -> list[dict[str, Any]]:
    """How far scores and gradients on the device are from float32 on the processor."""
    from tasks.recommender.hybrid import zero_shot

    reference = zero_shot(base, device="cpu", precision="fp32")
    _give_weights(reference, day, folder / "reference")
    scores, gradient = _outcome(reference, day, folder / "reference")
    found = []
    for precision, tolerance in TOLERANCES.items():
        ranker = zero_shot(base, device=device, precision=precision)
        ranker.head = deepcopy(reference.head).to(ranker.device)
        own_scores, own_gradient = _outcome(ranker, day, folder / precision)
        apart = {
            "scores": float(np.abs(own_scores - scores).max()),
            "gradient": float(
                np.linalg.norm(own_gradient - gradient) / max(np.linalg.norm(gradient), 1e-12)
            ),
        }
        within = all(apart[name] <= tolerance[name] for name in tolerance)
        found.append({"precision": precision, **apart, "tolerance": tolerance, "within": within})
    return found


def _give_weights(ranker: Any, day: Any, folder: Path) -> None:
    """A head that looks at every feature, as one that was trained does."""
    import torch

    _, prepared = _prepared(ranker, day, CHECKED, folder)
    ranker.head.standardise_on(prepared.features)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in (ranker.head.linear, ranker.head.mixed):
            weight.copy_(0.1 * torch.randn(weight.shape, generator=draw))


def _outcome(ranker: Any, day: Any, folder: Path) -> tuple[Any, Any]:
    """(N,) scores in log-odds, and the gradient of a step of all CHECKED impressions."""
    import torch

    from tasks.recommender.adapter_phase import backward_step
    from tasks.recommender.adapter_step import AdapterStep
    from tasks.recommender.recipe import Lora, Recipe

    _, prepared = _prepared(ranker, day, CHECKED, folder)
    with torch.inference_mode():
        scores = ranker.head.eval()(prepared.features).cpu().double().numpy()
    recipe = Recipe(tuning=Lora(), adapter_max_items=10**9)
    run, _ = _adapter_run(ranker, day, recipe, CHECKED, folder)
    run.head.eval()
    backward_step(AdapterStep(run, np.arange(len(run.shots.slates.history))), recipe)
    weights = [*run.head.parameters(), *run.encoder.trained_parameters()]
    parts = [w.grad.float().cpu().numpy().ravel() for w in weights if w.grad is not None]
    return scores, np.concatenate(parts).astype(np.float64)


def _adapter_run(
    ranker: Any, day: Any, recipe: Any, impressions: int, folder: Path
) -> tuple[Any, list[str]]:
    """A run over the day's first impressions, and its texts."""
    from tasks.recommender.adapter_phase import prepare_run
    from tasks.recommender.labelled import label_rows

    rows, shots = _prepared(ranker, day, impressions, folder)
    _, held = _prepared(ranker, day, 1, folder)
    labels = label_rows(ranker.head, shots, recipe, np.ones(len(rows)))
    run = prepare_run(ranker.encoder, ranker.head, shots, labels, held, recipe)
    texts = [shots.items.texts[item] for item in run.shots.items]
    return run, texts


def _prepared(ranker: Any, day: Any, impressions: int, folder: Path) -> tuple[Any, Any]:
    """The rows of the day's first impressions, and what the ranker makes of them."""
    from tasks.recommender.context import Context
    from tasks.recommender.statistics import count_item_hours

    rows = day.rows.slice(0, impressions * day.slate_size)
    context = Context(day.catalogue, count_item_hours(rows), None, folder)
    return rows, ranker.prepare(rows, context)


def _forward_flops(config: Any, tokens: int, texts: int) -> float:
    """FLOPs of some texts' tokens through one layer; each text as long as the mean."""
    width, inner = config.hidden_size, config.intermediate_size
    return tokens * (8 * width**2 + 4 * width * inner + 4 * (tokens / texts) * width)


def _rate(tokens: int, seconds: float, flops: float, peak: float) -> dict[str, Any]:
    return {
        "tokens": tokens,
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "tflops": flops / seconds / 1e12,
        "share_of_peak": flops / seconds / peak if peak else None,
    }


def _seconds(device: str, work: Callable[[], object]) -> float:
    """Wall clock of some work, to its end on the device."""
    import torch

    def wait() -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    wait()
    began = perf_counter()
    work()
    wait()
    return perf_counter() - began


def _name(device: str) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def _peak(name: str) -> float | None:
    return next((peak for part, peak in PEAK_TFLOPS.items() if part in name), None)


def table(found: dict[str, Any]) -> str:
    """The findings as Markdown tables."""
    lines = [f"{found['device']}\n", "| what | tokens/s | TFLOP/s | share of peak bf16 |"]
    lines.append("|---|---:|---:|---:|")
    for what in ("encoding", "training"):
        part = found[what]
        share = "unknown" if part["share_of_peak"] is None else f"{part['share_of_peak']:.1%}"
        rate = f"{part['tokens_per_second']:,.0f} | {part['tflops']:.3f}"
        lines.append(f"| {what} | {rate} | {share} |")
    stages = found["day"]["stages"]
    lines += [f"\n{found['day']['rows']:,} rows to a challenger ({found['day']['kept']})\n"]
    lines += ["| stage | seconds |", "|---|---:|"]
    lines += [f"| {name} | {seconds:.1f} |" for name, seconds in stages.items()]
    lines += [f"| all | {sum(stages.values()):.1f} |", ""]
    lines += [
        "| against fp32 on the processor | scores | gradient | within |",
        "|---|---:|---:|---|",
    ]
    for check in found["correct"]:
        limits = check["tolerance"]
        told = [f"{check[name]:.5f} (of {limits[name]:g})" for name in limits]
        lines.append(f"| {check['precision']} | {' | '.join(told)} | {check['within']} |")
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--base", default="all-MiniLM-L6-v2", help="encoder, by name or folder")
    parser.add_argument("--impressions", type=int, default=100_000)
    parser.add_argument(
        "--items", type=int, default=51_282, help="of the catalogue; MIND's by default"
    )
    parser.add_argument("--steps", type=int, default=20, help="of training that are timed")
    parser.add_argument("--peak-tflops", type=float, help="of the device, in dense bf16")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try the script")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
