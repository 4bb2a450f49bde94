"""Making large networks binary and packing them stays cheap."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

import evenbit
from evenbit.deploy import passes, rewrite
from evenbit.deploy.capture import walk
from evenbit.deploy.lowering import Lowering
from evenbit.nn.trace import trace
from evenbit.ops import Op

# A process of its own, whose peak is that of nothing else. It measures the time of the processor, not of the clock, so
# that a busy machine makes little difference.
RESNET50 = """
import resource, time
import torch, transformers
import evenbit

torch.set_num_threads(1)
real = transformers.ResNetForImageClassification(transformers.ResNetConfig(num_labels=1000)).eval()
images = torch.zeros(1, 3, 224, 224)
start = time.process_time()
network, table = evenbit.binarize(real, images)
plan = evenbit.pack(network, images)
print(sum(row.is_binary for row in table), time.process_time() - start,
      resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="macOS counts the peak of memory in bytes, Linux in KiB")
def test_resnet50_at_224_pixels_takes_a_minute_and_2_gigabytes_at_most() -> None:
    run = subprocess.run([sys.executable, "-c", RESNET50], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    layers, seconds, peak = run.stdout.split()
    assert int(layers) == 48
    assert float(seconds) <= 60  # of the processor; more where others share its caches
    assert int(peak) <= 2_000_000


def test_twice_the_blocks_are_twice_the_work_of_the_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    def counted(op: Op) -> object:
        nonlocal looks
        looks += 1
        return count_reads(op)

    count_reads = rewrite.reads
    for module in (rewrite, passes):
        monkeypatch.setattr(module, "reads", counted)

    def looks_of(blocks: int) -> int:
        nonlocal looks
        body: list[nn.Module] = []
        for _ in range(blocks):
            body += [nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
        real = nn.Sequential(nn.Conv2d(1, 8, 1), *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
        images = torch.zeros(1, 1, 4, 4)
        network, _ = evenbit.binarize(real, images)
        looks = 0
        evenbit.pack(network.eval(), images)
        return looks

    assert 0 < looks_of(8) < 2.2 * looks_of(4)


def test_what_nothing_reads_any_more_is_forgotten() -> None:
    """The signs of a layer's weights, and the places of its tokens, are not kept until the end."""
    layers = (nn.Conv2d(1, 8, 1), nn.Flatten(2), nn.Linear(16, 16), nn.Linear(16, 16), nn.Flatten(), nn.Linear(128, 2))
    program = trace(nn.Sequential(*layers).eval(), (1, 4, 4))
    lowering = Lowering(program.graph)
    walk(program, lowering)
    for known in (lowering.constants, lowering.values, lowering.places):
        assert len(known) <= 1  # the logits
