"""Where numba is not installed, banks are read to the same bits; what needs it names the extra.

``python -m tools.release reading`` runs the same in an environment that really lacks it, and
``python -m tools.release plain`` decodes all vectors; here those that are short.
"""

import json
import subprocess
import sys
from pathlib import Path

from tools.release import reads

CHECK = Path(reads.__file__)
ROOT = CHECK.parents[2]
ABSENT = ("numba", "llvmlite", "torch", "zarr", "numcodecs")
_VECTORS = """
import sys, warnings
sys.path[:0] = ["tests/conformance", "."]
from tools.release.plain import block_numba
block_numba()
warnings.filterwarnings("error")
warnings.filterwarnings("ignore", "numba is not installed")
from test_fast_vectors import (
    INVALID_FRAMES, VALID_FRAMES, decode_frame, decode_sparse, test_invalid_frame, test_valid_frame,
)
valid = [vector for vector in VALID_FRAMES if vector.expected["entries"] <= 2000]
for vector in valid:
    test_valid_frame(vector)
    decode_frame(vector.data, vector.expected["entries"], vector.base)
for vector in INVALID_FRAMES:
    for decode in (decode_frame, decode_sparse):
        test_invalid_frame(vector, decode)
assert not {"numba", "llvmlite"} & sys.modules.keys()
print(len(valid), len(INVALID_FRAMES))
"""


def test_a_bank_is_read_where_only_what_reading_needs_is_installed(tmp_path):
    reads.write(tmp_path)
    command = [sys.executable, str(CHECK), "read", "--folder", str(tmp_path), "--block", *ABSENT]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("RuntimeWarning") == 1  # for all that was decoded
    assert "numba is not installed" in done.stderr
    assert "pip install 'tvbank[fast]'" in done.stderr
    refused = json.loads(done.stdout)
    assert refused["numba"]["add"] == (
        "compressing needs numba, which is not installed: pip install 'tvbank[fast]'"
    )
    assert refused["torch"].keys() > {"attach"}


def test_frames_are_decoded_and_refused_as_the_vectors_say():
    done = subprocess.run(
        [sys.executable, "-c", _VECTORS], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    valid, invalid = map(int, done.stdout.split())
    assert valid > 150
    assert invalid > 150
