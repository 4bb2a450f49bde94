from __future__ import annotations

import os

# For torch, here and in every process that a test starts: small maps gain nothing from more threads, and on a busy
# machine the threads wait for each other. Read when torch is imported.
os.environ["OMP_NUM_THREADS"] = "1"
