"""The hub through ``huggingface_hub``, and what its errors mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, final

from tvbank.errors import ConflictError, StorageError
from tvbank.storage import Repository, hub_endpoint, hub_token, open_storage, words_of

_Result = TypeVar("_Result")

#: Answers of the hub that have a remedy which their words do not tell.
_REMEDIES = {
    401: "log in with `hf auth login`, or set HF_TOKEN to a token that may write",
    403: "the token may not write there: make one that may, or choose another repository",
    413: "the bank has too many objects for one commit: give chunks of more entries to `create`",
}


@final
class HubApi:
    """What ``push`` asks of the hub, about one repository."""

    def __init__(self, repository: Repository) -> None:
        """Make a client.

        Raises:
            StorageError: ``huggingface_hub`` is not installed.
        """
        try:
            import huggingface_hub
            import huggingface_hub.errors
        except ImportError:
            raise StorageError(
                "banks are written to the hub by its own library: pip install 'tvbank[hub]'"
            ) from None
        self._library = huggingface_hub
        self._repository = repository
        self._type = repository.kind.removesuffix("s")
        self._api = huggingface_hub.HfApi(endpoint=hub_endpoint(), token=hub_token())

    def head(self) -> str | None:
        """The branch's newest commit; ``None`` if there is no such repository or branch."""
        errors = self._library.errors
        try:
            found = self._call(
                "read",
                lambda: self._api.repo_info(**self._named, revision=self._repository.revision),
            )
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
            return None
        return found.sha

    def make(self, private: bool | None) -> str:
        """Make the repository and the branch, where they are not there yet; its newest commit."""
        self._call("create", lambda: self._api.create_repo(
            **self._named, private=private, exist_ok=True))  # fmt: skip
        if self._repository.revision != "main" and self.head() is None:
            self._call("create", lambda: self._api.create_branch(
                **self._named, branch=self._repository.revision, exist_ok=True))  # fmt: skip
        head = self.head()
        if head is None:
            raise StorageError(
                f"the hub has made {self._repository.name} and does not show it yet: push again"
            )
        return head

    def files(self, commit: str) -> dict[str, int]:
        """Paths of a commit's files, and their sizes in bytes."""
        tree = self._call("list", lambda: list(self._api.list_repo_tree(
            **self._named, revision=commit, recursive=True)))  # fmt: skip
        return {file.path: file.size for file in tree if hasattr(file, "size")}

    def read(self, commit: str, path: str, most: int) -> bytes:
        """A small file of a commit."""
        place = replace(self._repository, revision=commit, path="").url
        return open_storage(place).get(path, most)

    def commit(
        self, add: Mapping[str, str | bytes], delete: Sequence[str], message: str, parent: str
    ) -> tuple[str, str]:
        """One commit: its name, and the URL of its page.

        Args:
            add: path in the repository -> path of a file, or content.
            delete: paths that are no more.
            message: of the commit.
            parent: the commit on which it is made.

        Raises:
            ConflictError: the branch has another commit meanwhile.
        """
        library = self._library
        operations: list[Any] = [
            library.CommitOperationAdd(path_in_repo=path, path_or_fileobj=content)
            for path, content in add.items()
        ]
        operations += [library.CommitOperationDelete(path_in_repo=path) for path in delete]
        made = self._call("write", lambda: self._api.create_commit(
            **self._named, operations=operations, commit_message=message,
            revision=self._repository.revision, parent_commit=parent))  # fmt: skip
        return made.oid, made.commit_url

    @property
    def _named(self) -> dict[str, Any]:
        return {"repo_id": self._repository.name, "repo_type": self._type}

    def _call(self, verb: str, call: Callable[[], _Result]) -> _Result:
        """Ask the hub.

        Raises:
            RepositoryNotFoundError, RevisionNotFoundError: the library's own, if reading.
            ConflictError, StorageError: without what may hold secrets, as their cause.
        """
        errors = self._library.errors
        try:
            return call()
        except Exception as error:  # the library's, its client's, the operating system's
            missing = (errors.RepositoryNotFoundError, errors.RevisionNotFoundError)
            if verb == "read" and isinstance(error, missing):
                raise
            status = getattr(getattr(error, "response", None), "status_code", None)
            problem = self._problem(verb, error, status)
        raise problem

    def _problem(self, verb: str, error: Exception, status: int | None) -> StorageError:
        where = f"{self._repository.name} on the hub"
        if status in (409, 412) and verb == "write":
            return ConflictError(
                f"{where} has another commit meanwhile; nothing was written: push again"
            )
        causes = dict.fromkeys(
            words_of(e) or type(e).__name__ for e in (error, error.__cause__) if e
        )
        words = ": ".join(causes)
        remedy = _REMEDIES.get(status or 0)
        return StorageError(f"cannot {verb} {where}: {words}{f'; {remedy}' if remedy else ''}")
