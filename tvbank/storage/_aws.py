"""Credentials for S3: AWS's own chain, as its other clients have it.

obstore itself reads the environment, roles of containers and of web identities, and asks the
machine's metadata service. Profiles, SSO and the files below ``~/.aws`` are read by botocore, which
comes with boto3 and with ``tvbank[aws]``. Nothing is kept here, and nothing of it is shown.
"""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime, timedelta
from typing import Any, final
from urllib.parse import urlsplit

from tvbank.errors import StorageError
from tvbank.storage._shown import words_of

#: Where obstore finds credentials by itself.
_SOURCES = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)

#: How long credentials are used before botocore is asked again; it renews them earlier than that.
_KEPT = timedelta(minutes=10)

#: Seconds for the metadata service to take a connection: it is within the machine.
_PATIENCE = 1.0

_METADATA = "http://169.254.169.254"

_NONE = (
    "there are no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE "
    "for a profile in ~/.aws (after `aws sso login`, where it needs that); AWS_SKIP_SIGNATURE=true "
    "reads public buckets"
)
_INSTALL = "pip install 'tvbank[aws]'"


def allowed(variable: str) -> bool:
    """Whether an environment variable says yes."""
    return os.environ.get(variable, "").lower() in ("1", "true", "yes", "on")


def find_credentials() -> AwsCredentials | None:
    """What asks AWS's chain for credentials; ``None`` where obstore finds them by itself.

    Raises:
        StorageError: the profile that ``AWS_PROFILE`` names cannot be read; says what to do.
    """
    profile = os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE")
    keys = os.environ.get("AWS_ACCESS_KEY_ID") and os.environ.get("AWS_SECRET_ACCESS_KEY")
    if keys or allowed("AWS_SKIP_SIGNATURE"):
        return None
    if not profile and any(map(os.environ.get, _SOURCES)):
        return None
    try:
        import botocore.session
    except ImportError:
        if not profile:
            return None
        raise StorageError(
            f"AWS_PROFILE names the profile {profile!r}, which is read through botocore: {_INSTALL}"
        ) from None
    problem = ""
    try:
        return AwsCredentials(botocore.session.Session())
    except Exception as error:  # botocore has errors of many kinds
        problem = words_of(error)
    raise StorageError(
        f"the AWS profile cannot be read: {problem} (read are AWS_PROFILE, ~/.aws/config and "
        "~/.aws/credentials)"
    )


@final
class AwsCredentials:
    """What obstore calls for credentials, whenever those it has have expired.

    Attributes:
        config: region and endpoint of the profile, where the environment names none.
    """

    def __init__(self, session: Any) -> None:
        """Read the profile; nobody is asked yet."""
        self._session = session
        endpoint = os.environ.get("AWS_METADATA_ENDPOINT")
        if endpoint:
            session.set_config_variable("ec2_metadata_service_endpoint", endpoint)
        self.config: dict[str, str] = {}
        profile = session.get_scoped_config()
        region = session.get_config_variable("region")
        if region and not os.environ.get("AWS_REGION"):
            self.config["region"] = region
        named = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
        if profile.get("endpoint_url") and not any(map(os.environ.get, named)):
            self.config["endpoint"] = profile["endpoint_url"]

    def __call__(self) -> dict[str, Any]:
        """Credentials, and until when obstore may use them.

        Raises:
            StorageError: there are none, or they cannot be renewed; says what to do.
        """
        problem = ""
        try:
            found = self._session.get_credentials()
            keys = found.get_frozen_credentials() if found is not None else None
        except Exception as error:  # such as an SSO session that has expired
            problem, keys = words_of(error), None
        if keys is None or not keys.access_key or not keys.secret_key:
            raise StorageError(problem or _NONE)
        return {
            "access_key_id": keys.access_key,
            "secret_access_key": keys.secret_key,
            "token": keys.token,
            "expires_at": datetime.now(UTC) + _KEPT,
        }


def refuse_silence() -> None:
    """Find out at once whether obstore's last resort, the metadata service, is there at all.

    Raises:
        StorageError: it is not, and nothing else names credentials.
    """
    if os.environ.get("AWS_ACCESS_KEY_ID") or allowed("AWS_SKIP_SIGNATURE"):
        return
    if any(map(os.environ.get, _SOURCES)):
        return
    place = urlsplit(os.environ.get("AWS_METADATA_ENDPOINT") or _METADATA)
    try:
        address = (place.hostname or "", place.port or 80)
        socket.create_connection(address, _PATIENCE).close()
    except (OSError, ValueError):
        files = f" (what is in ~/.aws is read through botocore: {_INSTALL})"
        raise StorageError(_NONE + files) from None
