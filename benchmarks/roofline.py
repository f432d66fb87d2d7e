"""Where a training step's time goes, against what the machine can do.

The rates of plain matrix products of the backbone's shapes, the step's own rate beside them, and the step's time by
kind of operation (torch's profiler, which itself costs a little).
"""

import statistics
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, _ExperimentalConfig, profile

from benchmarks.setting import (
    NUM_CLASSES,
    PRECISIONS,
    build_config,
    choose_size,
    draw_examples,
    find_device,
    load_data,
    parse_arguments,
    print_ratios,
    print_table,
    take,
)
from xpe_core.backbones.backbone import load_backbone
from xpe_core.pack import Pack
from xpe_core.training.meter import measure_peak
from xpe_core.training.training import Report, train

KINDS = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::addmm_"),
    "attention": ("aten::bmm", "aten::_softmax", "aten::_scaled_dot_product"),
    "GELU": ("aten::gelu",),
    "layer norm": ("aten::native_layer_norm",),
    "copies, casts, fills": ("aten::copy_", "aten::fill_", "aten::cat", "aten::index", "aten::zero"),
    "sums and products by element": ("aten::add", "aten::mul", "aten::div", "aten::sub", "aten::where", "aten::lerp"),
}


def main() -> None:
    """Print the tables, and the share of a plain float32 product's rate that a whole step reaches."""
    arguments = parse_arguments(__doc__ or "", runs=(2, "runs in the pack"))
    ratios: dict[str, float] = {}
    for precision in PRECISIONS:
        ratios[f"step_{precision}_of_float32_product"] = show_step(arguments, precision)
    print_ratios(ratios)


def show_step(arguments: Namespace, precision: str) -> float:
    """Print where the steps of one precision spend their time; return their rate over a plain float32 product's."""
    num_steps, num_rounds = choose_size(arguments, (10, 5), (4, 5), (1, 1))
    config = build_config(arguments, precision, num_steps)
    backbone = load_backbone(config.backbone, find_device())
    data = load_data(config)

    def run(number: int) -> Report:
        configs = [config.with_seed(seed) for seed in range(1, arguments.runs + 1)]
        model = Pack(backbone, configs, NUM_CLASSES)
        *_, report = train(model, take(data, draw_examples(data, config, number)))
        return report

    run(0)
    rates, shares = [], []
    for number in range(1, num_rounds + 1):
        work = run(number).work
        rates.append(work.num_operations / work.seconds)
        product = _time_product(backbone.model.config.hidden_size, backbone.model.config.intermediate_size)
        shares.append(rates[-1] / product)
    peaks = {name: measure_peak(backbone, name) for name in PRECISIONS}
    rate = statistics.median(rates)
    rows = [(f"matrix product, {name}", peak / 1e9) for name, peak in peaks.items()]
    print_table(f"{precision}", ("", "GFLOP/s"), [*rows, ("whole step", rate / 1e9)])
    seconds = _profile(lambda: run(num_rounds + 1))
    total = sum(seconds.values())
    print_table(
        f"one step of {arguments.runs} runs, {precision}, by kind (time of all threads)",
        ("operation", "share"),
        [(kind, f"{part / total:.1%}") for kind, part in seconds.most_common()],
    )
    return statistics.median(shares)


def _time_product(size: int, wide: int) -> float:
    """Return the rate of a float32 product right now: a machine's rate changes within minutes."""
    device = find_device()
    left, right = torch.randn(2_048, size, device=device), torch.randn(wide, size, device=device)
    times = []
    for _ in range(20):
        started = time.perf_counter()
        torch.mm(left, right.T)
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return 2.0 * 2_048 * size * wide / statistics.median(times)


def _profile(run: Callable[[], object]) -> Counter[str]:
    """Return the seconds of every kind of operation in a run."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if find_device() == "cuda" else [])]
    # without this, passes in other threads would be missing
    with profile(activities=activities, experimental_config=_ExperimentalConfig(profile_all_threads=True)) as profiler:
        run()
    seconds: Counter[str] = Counter()
    for event in profiler.key_averages():
        spent = event.self_device_time_total if find_device() == "cuda" else event.self_cpu_time_total
        kinds = [kind for kind, names in KINDS.items() if event.key.startswith(names)]
        seconds[kinds[0] if kinds else "everything else"] += spent / 1e6
    return seconds


if __name__ == "__main__":
    main()
