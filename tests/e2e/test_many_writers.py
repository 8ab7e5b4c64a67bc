"""Many processes add to one bank, on a disk and in S3: none lost, none torn, readers see wholes.

``python -m tools.soak writers`` does it at full size: 8 processes with 25 tasks each.
"""

import pytest
import servers
import writers


@pytest.mark.parametrize("kind", ["disk", "s3"])
def test_none_lost_and_none_torn(kind, tmp_path):
    if kind == "disk":
        writers.together(str(tmp_path / "bank"), tmp_path / "stop", 2, 5, readers=1)
        return
    with servers.s3_server() as port, servers.environment(servers.s3_environment(port)):
        writers.together("s3://bucket/bank", tmp_path / "stop", 2, 5, readers=1)
