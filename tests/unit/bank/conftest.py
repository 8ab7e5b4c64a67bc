"""A real S3 server for the tests of stores."""

import itertools

import pytest
import servers


@pytest.fixture(scope="session")
def s3_port():
    with servers.s3_server() as port:
        yield port


@pytest.fixture
def s3(s3_port):
    """The URL of an empty place in the bucket; its credentials are in the environment."""
    with servers.environment(servers.s3_environment(s3_port)):
        yield f"s3://bucket/place-{next(_numbers)}"


_numbers = itertools.count()
