#!/usr/bin/env bash
# What a new installation must do, without torch: name what is on a photo, by a network that is given.
set -euo pipefail
golden="$(dirname "$0")/../golden/evb-v1"
folder="$(mktemp -d)"
trap 'rm -r "$folder"' EXIT
python -c "from PIL import Image; Image.new('RGB', (20, 30), 'red').save('$folder/photo.png')"
evenbit predict "$golden/network.evb" "$folder/photo.png" --json
evenbit info "$golden/network.evb"
python - "$golden" <<'END'
import sys
import numpy as np
from evenbit import Engine
folder = sys.argv[1]
logits = Engine.load(f"{folder}/network.evb")(np.load(f"{folder}/images.npy"))
assert logits.tobytes() == np.load(f"{folder}/logits.npy").tobytes(), logits
assert "torch" not in sys.modules
END
